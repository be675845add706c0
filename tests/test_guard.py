"""Every kernel between guard pages, and what the guard notices."""

import signal
import subprocess
import sys

import numpy as np
import pytest
from numba import config, float32, void

from tests import guard
from vj.kernels.jit import kernel, ro, rw
from vj.kernels.simd import at, load8, store

pytestmark = pytest.mark.skipif(
    config.DISABLE_JIT or not hasattr(guard._libc, "mprotect"), reason="needs machine code"
)


@kernel(void(ro(float32, 1), rw(float32, 1)))
def reads_behind(x, y):
    y[0] = at(x, x.size) * float32(0)


@kernel(void(ro(float32, 1), rw(float32, 1)))
def reads_before(x, y):
    y[0] = at(x, -1) * float32(0)


@kernel(void(ro(float32, 1), rw(float32, 1)))
def writes_behind(x, y):
    store(y, y.size - 7, load8(x, 0))


@kernel(void(ro(float32, 1), rw(float32, 1)))
def writes_before(x, y):
    store(y, -1, load8(x, 0))


@kernel(void(ro(float32, 1), rw(float32, 1)))
def writes_input(x, y):
    store(x, 0, load8(y, 0))


@kernel(void(ro(float32, 1), rw(float32, 1)))
def adds_in_place(x, y):
    store(y, 0, load8(x, 0) + load8(y, y.size - 8))


def call(function):
    x, y = np.arange(8, dtype=np.float32), np.ones(11, np.float32)
    with guard.Guard():
        function(x, y)
    return y


def test_arrays_are_as_after_an_ordinary_call():
    np.testing.assert_array_equal(call(adds_in_place), [*range(1, 9), 1, 1, 1])


@pytest.mark.parametrize("name", ["reads_behind", "reads_before", "writes_behind"])
def test_an_access_beyond_an_array_ends_the_process(name):
    code = f"from tests import test_guard as t; t.call(t.{name})"
    done = subprocess.run([sys.executable, "-c", code], cwd=guard.ROOT)
    assert done.returncode in (-signal.SIGSEGV, -signal.SIGBUS)


@pytest.mark.parametrize(
    ("function", "says"),
    [(writes_before, "writes beside an array"), (writes_input, "that it only reads")],
)
def test_what_does_not_end_it_is_an_error(function, says):
    with pytest.raises(AssertionError, match=says):
        call(function)


def test_overlapping_arrays_stay_so():
    whole = np.zeros(24, np.float32)
    with guard.Guard():
        adds_in_place(whole[2:10], whole[4:20])
    np.testing.assert_array_equal(whole, 0)
    whole[:] = np.arange(24)
    wanted = whole.copy()
    wanted[4:12] += whole[2:10] + whole[12:20] - whole[4:12]
    with guard.Guard():
        adds_in_place(whole[2:10], whole[4:20])
    np.testing.assert_array_equal(whole, wanted)


def test_every_kernel():
    """A crash or an error names its case and seed: ``python -m tests.guard --here --case ...``."""
    pytest.importorskip("onnx")
    status, report = guard.run("--rounds", 3, "--minutes", 10)
    assert status == 0, report
    assert report.endswith("not called: -"), report
