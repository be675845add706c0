"""The vocabulary of vectors, word by word, against NumPy."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import float32, int32, int64, void

from vj.kernels.jit import kernel, ro, rw
from vj.kernels.simd import (
    address,
    atomic_add,
    atomic_load,
    atomic_store,
    eq,
    fabs,
    floor,
    fma,
    from_bits,
    gather8,
    ge,
    gt,
    interleave,
    lane,
    lane_sum,
    lanes_of,
    last_lane,
    le,
    load8,
    lt,
    mask_bits,
    prefix_sum,
    select,
    splat8,
    splat_like,
    sqrt,
    store,
    to_f32,
    to_i32,
    transpose8,
    vmax,
    vmin,
)


@kernel(void(ro(float32, 1), rw(float32, 1), rw(int64, 1)))
def speak_floats(x, out, bits):
    a, b = load8(x, 0), load8(x, 8)
    first, second = interleave((a, b))
    words = (
        a + b, a - b, a * b, a / b, fma(a, b, a), sqrt(fabs(a)), floor(a), vmax(a, b), vmin(a, b),
        select(lt(a, b), a, b), last_lane(a), first, second, splat8(lane(a, bits[0])),
        splat_like(a, x[9]),
    )  # fmt: skip
    for n in range(len(words)):
        store(out, 8 * n, words[n])
    bits[0] = mask_bits(lt(a, b))
    bits[1] = mask_bits(le(a, b))
    bits[2] = mask_bits(gt(a, b))
    bits[3] = mask_bits(ge(a, b))
    bits[4] = mask_bits(eq(a, b))
    bits[5] = lanes_of(a)


@kernel(void(ro(int32, 1), rw(int32, 1), rw(float32, 1), rw(int64, 1)))
def speak_integers(i, out, table, counter):
    a, b = load8(i, 0), load8(i, 8)
    words = (a + b, a - b, a * b, a & b, a | b, a ^ b, a << b, a >> b, prefix_sum(a),
             to_i32(to_f32(b)))  # fmt: skip
    for n in range(len(words)):
        store(out, 8 * n, words[n])
    store(table, 8, gather8(table, i, 8))
    store(table, 16, from_bits(a))
    counter[1] = atomic_add(counter, 0, int64(lane_sum(b)))
    counter[2] = atomic_load(counter, 0)


numbers = st.floats(-1e6, 1e6, width=32) | st.just(float("nan"))


@settings(max_examples=60)
@given(st.lists(numbers, min_size=16, max_size=16), st.integers(0, 7))
def test_floats(values, which):
    x, out, bits = np.array(values, np.float32), np.zeros((15, 8), np.float32), np.zeros(6, int)
    bits[0] = which
    speak_floats(x, out.reshape(-1), bits)
    a, b = x[:8], x[8:]
    both = np.stack([a, b], 1).ravel()
    with np.errstate(all="ignore"):
        want = [
            a + b, a - b, a * b, a / b, (a.astype(float) * b + a).astype(np.float32),
            np.sqrt(np.abs(a)), np.floor(a), np.where(a > b, a, b), np.where(a < b, a, b),
            np.where(a < b, a, b), a[[7] * 8], both[:8], both[8:], a[[which] * 8], b[[1] * 8],
        ]  # fmt: skip
    exact = [n for n in range(15) if n != 4]
    np.testing.assert_array_equal(out[exact], np.array(want)[exact])
    np.testing.assert_allclose(out[4], want[4], rtol=1e-6)
    masks = [a < b, a <= b, a > b, a >= b, a == b]
    assert bits.tolist() == [sum(1 << k for k in np.flatnonzero(mask)) for mask in masks] + [8]


@settings(max_examples=60)
@given(
    st.lists(st.integers(-(2**31), 2**31 - 1), min_size=8, max_size=8),
    st.lists(st.integers(0, 7), min_size=8, max_size=8),
)
def test_integers(some, places):
    i, out = np.array([*some, *places], np.int32), np.zeros((10, 8), np.int32)
    table, counter = np.arange(24, dtype=np.float32) * 3, np.array([5, 0, 0])
    speak_integers(i, out.reshape(-1), table, counter)
    a, b = i[:8], i[8:]
    with np.errstate(all="ignore"):
        want = [a + b, a - b, a * b, a & b, a | b, a ^ b, a << b, a >> b,
                np.cumsum(a, dtype=np.int32), b]  # fmt: skip
    np.testing.assert_array_equal(out, want)
    np.testing.assert_array_equal(table[8:16], 3.0 * b)
    np.testing.assert_array_equal(table[16:].view(np.int32), a)
    assert counter.tolist() == [5 + sum(places), 5, 5 + sum(places)]


@kernel(void(ro(float32, 1), rw(float32, 1)))
def turn(x, out):
    columns = transpose8(
        (
            load8(x, 0), load8(x, 8), load8(x, 16), load8(x, 24),
            load8(x, 32), load8(x, 40), load8(x, 48), load8(x, 56),
        )
    )  # fmt: skip
    for n in range(8):
        store(out, 8 * n, columns[n])


def test_rows_become_columns():
    x, out = np.arange(64, dtype=np.float32), np.zeros(64, np.float32)
    turn(x, out)
    np.testing.assert_array_equal(out.reshape(8, 8), x.reshape(8, 8).T)


@kernel(void(rw(int64, 1)))
def share_number(x):
    atomic_store(x, 0, address(x))


def test_a_number_is_stored_for_all_threads():
    x = np.zeros(2, np.int64)
    share_number(x)
    assert x[0] == x.ctypes.data
