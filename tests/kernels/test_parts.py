"""Loads and stores of less than a vector touch nothing else."""

import numpy as np
import pytest
from numba import float32, int64, void

from nets.kernels.masked import masked_load, masked_store
from vj.kernels.jit import kernel, ro, rw
from vj.kernels.simd import load8_part, store_part


@kernel(void(ro(float32, 1), int64, rw(float32, 1), int64, int64))
def move(x, i, y, k, count):
    store_part(y, k, load8_part(x, i, count), count)


@kernel(void(ro(float32, 1), rw(float32, 1), int64))
def move_all(x, y, count):
    for i in range(0, count, 8):
        masked_store(y, i, masked_load(x, i, count - i), count - i)


@pytest.mark.parametrize("count", range(10))
def test_part_of_a_vector(count):
    x, y = np.arange(1, 31, dtype="f4"), np.zeros(30, "f4")
    move(x, 3, y, 11, count)
    wanted = np.zeros(30, "f4")
    many = min(count, 8)
    wanted[11 : 11 + many] = x[3 : 3 + many]
    np.testing.assert_array_equal(y, wanted)


def test_nothing_behind_the_end_is_read():
    """The numbers stand at the very end of a page, and the page behind it may not be read."""
    mmap, ctypes = pytest.importorskip("mmap"), pytest.importorskip("ctypes")
    libc = ctypes.CDLL(None, use_errno=True)
    pages = mmap.mmap(-1, 2 * mmap.PAGESIZE)
    whole = np.frombuffer(pages, np.float32)
    behind = ctypes.c_void_p(whole.ctypes.data + mmap.PAGESIZE)
    if not hasattr(libc, "mprotect") or libc.mprotect(behind, mmap.PAGESIZE, 0):
        pytest.skip("memory cannot be protected here")
    end = mmap.PAGESIZE // 4
    x = whole[end - 13 : end]
    x[:] = np.arange(13)
    y = np.full(20, -1, "f4")
    move_all(x, y, 13)
    np.testing.assert_array_equal(y, [*range(13), *[-1] * 7])
    move_all(y, x, 13)
    libc.mprotect(behind, mmap.PAGESIZE, 3)
