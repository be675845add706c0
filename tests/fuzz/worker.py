"""The process that reads: it may crash, hang or eat memory, and is started again then."""

import multiprocessing
import os
import re
import resource
from pathlib import Path

from tests.fuzz import run, targets

SECONDS, BYTES = 20, 2 << 30  # that an input may take
GREEDY = "takes more memory than it may"


def work(pipe, readers, folder, most):
    """Judge the inputs that come through the pipe; what needs the compiler is read before."""
    for reader in readers:
        run.sound(reader, folder)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    space = pages * os.sysconf("SC_PAGE_SIZE") + 3 * most  # of addresses, not all of it used
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    before = _peak()
    pipe.send("ready")
    while True:
        target, reader, index, chosen, data = pipe.recv()
        got = run.outcome(target, reader, index, run.write(folder, chosen, data))
        if _peak() - before > most:
            got = run.Finding(reader, index, GREEDY, GREEDY)
        pipe.send(got)


def _peak():
    """Most memory in use so far, in bytes; getrusage would tell of the parent's too."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


class Worker:
    """The process that reads, started again after a crash."""

    def __init__(self, readers, folder, seconds=SECONDS, most=BYTES):
        self.args, self.seconds = (readers, folder, most), seconds
        self.process = None

    def start(self):
        """Ready for inputs; AssertionError if a reader refuses a sound file."""
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, *self.args), daemon=True)
        self.process.start()
        theirs.close()
        try:
            self.pipe.recv()
        except EOFError:
            raise AssertionError("a sound file is not read: see above") from None

    def outcome(self, reader, index, chosen, data, target=None):
        """What comes of an input, as `run.outcome`, in whatever way the process ends."""
        if self.process is None:
            self.start()
        self.pipe.send((target or targets.TARGETS[reader], reader, index, chosen, data))
        got = None
        try:
            if self.pipe.poll(self.seconds):
                got = self.pipe.recv()
            what = f"takes more than {self.seconds} s"
        except EOFError:
            self.process.join()
            what = f"ends the process with {self.process.exitcode}"
        if got is not None and getattr(got, "place", "") != GREEDY:
            return got
        self.stop()
        return got or run.Finding(reader, index, what, what)

    def stop(self):
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
        self.process = None
