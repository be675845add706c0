"""Kernels as plain Python, and machine code that checks bounds: the same tests in other modes.

Any other test runs like that by hand: ``NUMBA_DISABLE_JIT=1 pytest tests/nets/test_conv.py``.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from numba import config

from vj.kernels import simd
from vj.kernels.simd import plain

ROOT = Path(__file__).parents[2]
# Files, and behind a colon what is chosen of them.
TESTS = {
    "NUMBA_DISABLE_JIT": [
        "tests/kernels/bounds.py",
        "tests/kernels: not photograph",
        "tests/nets/test_ops_threads.py: bands or order or signatures or errors or dismissed",
    ],
    "NUMBA_BOUNDSCHECK": ["tests/kernels/bounds.py", "tests/kernels"],
}


in_the_usual_mode = pytest.mark.skipif(
    bool(config.DISABLE_JIT or config.BOUNDSCHECK), reason="starts such a mode itself"
)


def test_every_word_has_a_plain_twin():
    words = {name for name in dir(simd) if callable(getattr(simd, name))}
    assert len(words) > 50
    assert not [name for name in words if not hasattr(plain, name)]


def run(*args, mode):
    """What Python prints in a mode."""
    done = subprocess.run(
        [sys.executable, *args],
        cwd=ROOT,
        env={**os.environ, mode: "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    return done.stdout


@in_the_usual_mode
@pytest.mark.parametrize("mode", TESTS)
def test_kernels_pass_in_another_mode(mode):
    for line in TESTS[mode]:
        path, _, chosen = line.partition(":")
        run("-m", "pytest", "-q", "-rN", path, "-k", chosen.strip(), mode=mode)


@in_the_usual_mode
def test_plain_kernels_answer_as_machine_code(tmp_path):
    pytest.importorskip("onnx")
    calls = str(tmp_path / "calls")
    run("-m", "tests.replay", calls, "--record", mode="COMPILED")
    print(run("-m", "tests.replay", calls, mode="NUMBA_DISABLE_JIT"))


DETECT = """
import numpy as np, nets
image = np.random.default_rng(1).integers(0, 256, (30, 37, 3), dtype=np.uint8)
for n_jobs in (1, 2):
    found = nets.load("face-tiny", score_threshold=0.01, n_jobs=n_jobs).detect(image)
    print(len(found) > 3, found.xyxy.tolist(), found.score.tolist())
"""


@in_the_usual_mode
def test_a_network_of_plain_kernels_finds_the_same():
    found = run("-c", DETECT, mode="NUMBA_DISABLE_JIT")
    assert found == run("-c", DETECT, mode="COMPILED")
    first, second = found.splitlines()
    assert first.startswith("True")
    assert first == second
