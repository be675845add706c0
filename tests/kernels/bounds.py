"""Loads and stores beyond an array are errors where bounds are checked.

Ordinary machine code checks none, so that `test_modes` alone runs these tests.
"""

import numpy as np
import pytest
from numba import float32, int64, void

from vj.kernels.jit import kernel, ro, rw
from vj.kernels.simd import (
    at,
    call,
    gather8,
    load8,
    load8_part,
    load_like,
    splat8,
    store,
    store_part,
    tile_fma,
    tile_load,
    tile_outer,
    tile_slide,
    tile_store,
)

N = 40


@kernel(void(ro(float32, 1), rw(float32, 1), int64))
def move(x, y, i):
    store(y, 0, load8(x, i))


@kernel(void(ro(float32, 1), rw(float32, 1), int64))
def move_back(x, y, i):
    store(y, i, load8(x, 0))


@kernel(void(ro(float32, 1), rw(float32, 1), int64))
def move_part(x, y, i):
    store_part(y, 0, load8_part(x, i, 5), 5)


@kernel(void(ro(float32, 1), rw(float32, 1), int64))
def move_part_back(x, y, i):
    store_part(y, i, load8_part(x, 0, 5), 5)


@kernel(void(ro(float32, 1), rw(float32, 1), int64))
def read_one(x, y, i):
    y[0] = at(x, i)


@kernel(void(ro(float32, 1), rw(float32, 1), int64))
def read_halves(x, y, i):
    like = splat8(float32(0))
    store(y, 0, load_like(like, x, (int64(0), i), int64(2)))


@kernel(void(ro(float32, 1), rw(float32, 1), int64))
def tile_at(x, y, i):
    v = splat8(float32(1))
    store(y, 0, tile_fma((v, v), x, (int64(0), i), int64(3), v)[1])


@kernel(void(ro(float32, 1), rw(float32, 1), int64))
def spread_at(x, y, i):
    v = splat8(float32(1))
    store(y, 0, tile_outer((v, v), x, (int64(0), i), int64(3), v)[1])


@kernel(void(ro(float32, 1), rw(float32, 1), int64))
def slide_at(x, y, i):
    v = splat8(float32(1))
    store(y, 0, tile_slide((v, v), x, i, int64(2), (v, v, v))[1])


@kernel(void(ro(float32, 1), rw(float32, 1), int64))
def lines_at(x, y, i):
    store(y, 0, tile_load(splat8(float32(0)), x, i, int64(3))[3])


@kernel(void(ro(float32, 1), rw(float32, 1), int64))
def tile_back(x, y, i):
    v = load8(x, 0)
    tile_store((v, v), y, (int64(0), i), int64(1))


@kernel(void(ro(float32, 1), ro(int64, 1), rw(float32, 1), int64))
def gather_at(x, index, y, i):
    store(y, 0, gather8(x, index, i))


# Each kernel, and how many numbers from its index on it uses.
REACH = [
    (move, 8), (move_back, 8), (move_part, 5), (move_part_back, 5), (read_one, 1),
    (read_halves, 6), (tile_at, 11), (spread_at, 4), (slide_at, 14), (lines_at, 17),
    (tile_back, 9),
]  # fmt: skip


@pytest.mark.parametrize(("function", "reach"), REACH, ids=lambda v: getattr(v, "__name__", v))
def test_up_to_the_end_and_no_further(function, reach):
    x, y = np.zeros(N, np.float32), np.zeros(N, np.float32)
    function(x, y, N - reach)
    for place in (N - reach + 1, N + 100, -20):
        with pytest.raises(IndexError):
            function(x, y, place)


def test_gathered_places():
    x, y, index = np.zeros(N, np.float32), np.zeros(N, np.float32), np.arange(N - 16, N)
    gather_at(x, index, y, 8)
    for place, wrong in ((9, index), (8, index + 1), (0, index - N)):
        with pytest.raises(IndexError):
            gather_at(x, wrong, y, place)


def test_plain_indices():
    """Those that Numba itself compiles."""

    @kernel(void(ro(float32, 1), rw(float32, 1), int64))
    def copy(x, y, i):
        y[0] = x[i]

    with pytest.raises(IndexError):
        copy(np.zeros(N, np.float32), np.zeros(N, np.float32), N)


@kernel(void(rw(float32, 1), int64))
def add_one(y, i):
    y[i] += float32(1)


@kernel(void(rw(float32, 1), int64, int64))
def add_twice(y, address, i):
    call(address, (y, i))
    call(address, (y, int64(0)))


def test_errors_of_kernels_that_are_called_by_address():
    y = np.zeros(N, np.float32)
    add_twice(y, add_one.address, 1)
    assert y[:3].tolist() == [1, 1, 0]
    with pytest.raises(IndexError):
        add_twice(y, add_one.address, N)
    assert y[0] == 1
