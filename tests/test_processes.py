"""Forked processes, and processes that end: nothing waits for threads that do not exist."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks are POSIX")

SETUP = """
import atexit, faulthandler, os, signal, sys, threading, time, traceback, warnings
import numpy as np
import nets, vj

faulthandler.register(signal.SIGALRM, chain=True)  # says where, then the alarm ends the process
warnings.simplefilter("ignore")  # of Python 3.12 about forks beside threads
image = vj.sample("astronaut")[:200, 100:350]
DETECTORS = {
    "network": lambda jobs: nets.load("face-tiny", n_jobs=jobs),
    "cascade": lambda jobs: vj.CascadeDetector("frontalface-fast", n_jobs=jobs),
}

def in_child(work):
    "Whether work does in a forked process, within a minute."
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0

def beside(work):
    "Do work over and over in another thread, which lets the process end."
    def run():
        while True:
            work()
    threading.Thread(target=run, daemon=True).start()
    time.sleep(0.2)
"""


def run(script, *args):
    """Run a script in a fresh interpreter; its output."""
    done = subprocess.run(
        [sys.executable, "-c", SETUP + script, *args],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("kind", ["network", "cascade"])
def test_forked_while_others_detect(kind, jobs):
    """A child has neither the threads of its parent nor the locks that they held."""
    run(
        """
detector = DETECTORS[sys.argv[1]](int(sys.argv[2]))
want = detector.detect(image)
assert len(want) > 0

def same():
    for found in (detector.detect(image), *detector.detect_many([image, image])):
        np.testing.assert_array_equal(found.xyxy, want.xyxy)
        np.testing.assert_array_equal(found.score, want.score)

same()  # compiles what children are not to compile
in_child(same)
in_child(lambda: in_child(same))
beside(lambda: detector.detect(image))
for _ in range(5):
    in_child(same)
same()
""",
        kind,
        jobs,
    )


@pytest.mark.parametrize("kind", ["network", "cascade"])
def test_worker_processes_that_fork(kind):
    run(
        """
import multiprocessing
detector = DETECTORS[sys.argv[1]](2)
want = len(detector.detect(image))
signal.alarm(120)
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert [len(found) for found in pool.map(detector.detect, [image] * 6)] == [want] * 6
""",
        kind,
    )


def test_forked_while_others_train():
    """The thread pool of the ops and the memory they share."""
    run(
        """
from nets.nn.layers import Conv2d

nets.threads(2)
layer = Conv2d(8, 8, 3, padding=1)
x = nets.Tensor(np.ones((2, 8, 64, 64), np.float32))

def step():
    y = layer(x)
    (y * y).sum().backward()
    return y.numpy()

want = step()
beside(step)
for _ in range(20):
    in_child(lambda: np.testing.assert_array_equal(step(), want))
"""
    )


def test_forked_while_others_take_memory():
    run(
        """
from nets.runtime import memory

held = threading.Event()

def hold():
    with memory._store.lock:
        held.set()
        time.sleep(100)

threading.Thread(target=hold, daemon=True).start()
held.wait()
in_child(lambda: memory.empty(1 << 20))
"""
    )


def test_forked_while_others_compile():
    """The fork waits until the compiler is free: its locks are held by a thread that is no more."""
    run(
        """
from vj.kernels.scan import scan_haar

compiling = threading.Event()
compile_now = scan_haar.dispatcher.compile

def slowly(signature):
    compiling.set()
    time.sleep(1)
    return compile_now(signature)

scan_haar.dispatcher.compile = slowly
threading.Thread(target=lambda: scan_haar.address, daemon=True).start()
compiling.wait()
in_child(lambda: scan_haar.address)
"""
    )


@pytest.mark.parametrize("jobs", ["1", "2", "3"])
@pytest.mark.parametrize("kind", ["network", "cascade"])
def test_detection_when_the_process_ends(kind, jobs):
    """In `atexit` handlers, be it the first one, and in a thread that outlives the main one."""
    out = run(
        """
detector, fresh = (DETECTORS[sys.argv[1]](int(sys.argv[2])) for _ in range(2))

def detect(detector):
    print(len(detector.detect(image)), len(detector.detect_many([image])[0]))

def outlive():
    threading.main_thread().join()
    detect(detector)

detect(detector)
atexit.register(detect, fresh)
atexit.register(detect, detector)
threading.Thread(target=outlive).start()
""",
        kind,
        jobs,
    )
    lines = out.splitlines()
    assert len(lines) == 4
    assert len(set(lines)) == 1
    assert lines[0].split()[0] != "0"
