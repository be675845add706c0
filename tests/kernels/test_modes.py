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


def test_every_word_has_a_plain_twin():
    words = {name for name in dir(simd) if callable(getattr(simd, name))}
    assert len(words) > 50
    assert not [name for name in words if not hasattr(plain, name)]


@pytest.mark.skipif(config.DISABLE_JIT or config.BOUNDSCHECK, reason="is run in such a mode")
@pytest.mark.parametrize("mode", TESTS)
def test_kernels_pass_in_another_mode(mode):
    for line in TESTS[mode]:
        path, _, chosen = line.partition(":")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-rN", path, "-k", chosen.strip()],
            cwd=ROOT,
            env={**os.environ, mode: "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
