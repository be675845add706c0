"""Products of matrices: against NumPy's, and in no more threads than were asked for."""

import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nets.autograd.ops import recurrent
from nets.autograd.ops.matmul import product
from nets.autograd.tensor import Tensor
from nets.runtime.threads import threads

sides = st.integers(0, 40)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@settings(deadline=None, max_examples=80)
@given(sides, sides, sides, st.integers(0, 3), st.booleans(), st.booleans())
@example(7, 5, 17, 2, True, True)
@example(50, 700, 25, 0, False, False)  # more rows than lie in the cache at once
@example(5, 0, 3, 1, False, False)
def test_as_numpys(rows, inner, columns, stack, alike, turned):
    a = numbers(*([stack] * bool(stack)), rows, inner)
    b = numbers(*([stack] * (bool(stack) and alike)), inner, columns, seed=1)
    if turned:  # same numbers, other order in memory
        a = np.ascontiguousarray(a.swapaxes(-1, -2)).swapaxes(-1, -2)
        b = np.ascontiguousarray(b.swapaxes(-1, -2)).swapaxes(-1, -2)
    found = product(a, b)
    assert found.dtype == np.float32
    wanted = a.astype(np.float64) @ b.astype(np.float64)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-4)


def test_a_column_of_another_matrix():
    a, b = numbers(6, 9), numbers(1, 7, seed=1)
    np.testing.assert_allclose(product(a[:, 3:4], b), a[:, 3:4] * b, rtol=1e-6)
    np.testing.assert_allclose(product(a.T, a[:, 3:4]), a.T @ a[:, 3:4], rtol=1e-5, atol=1e-5)


def test_stacks_are_broadcast():
    a, b = numbers(3, 1, 4, 5), numbers(2, 5, 6, seed=1)
    np.testing.assert_allclose(product(a, b), a @ b, rtol=1e-5, atol=1e-5)


def test_nan_stays_in_its_row_and_its_column():
    a, b = numbers(9, 20), numbers(20, 21, seed=1)
    a[4, 3], b[7, 20] = np.nan, np.nan
    bad = np.isnan(product(a, b))
    assert bad[4].all()
    assert bad[:, 20].all()
    assert bad.sum() == 9 + 21 - 1


def test_same_bits_for_any_number_of_threads():
    a, b = numbers(200, 190), numbers(190, 201, seed=1)
    found = []
    for n in (1, 3):
        with threads(n):
            found.append(product(a, b))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru", "matmul"])
def test_one_thread_is_one_thread(kind):
    """No other thread of the process has worked when the op is done."""
    gates = {"rnn": 1, "lstm": 4, "gru": 3, "matmul": 1}[kind]
    size, n = 192, 48
    args = [numbers(12, n, size), *[numbers(n, size)] * (2 if kind == "lstm" else 1)]
    args += [numbers(gates * size, size)] * 2

    def step():
        if kind == "matmul":
            return Tensor(args[-1], True) @ Tensor(args[-2], True)
        return getattr(recurrent, kind)(*(Tensor(a, True) for a in args))[0]

    def work(seconds):
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            y = step()
            y.backward(np.ones(y.shape, np.float32))

    with threads(1):
        work(0)  # compiles
        everyone, own = time.process_time(), time.thread_time()
        work(0.2)
        everyone, own = time.process_time() - everyone, time.thread_time() - own
    assert everyone - own < 0.3 * own
