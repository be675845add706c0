"""Activations beside PyTorch's."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from twins import check_gradient, compare, torch

from nets.autograd.ops import activation
from nets.autograd.tensor import Tensor
from nets.runtime.threads import threads
from vj.errors import NetError

F = torch.nn.functional
ASK = settings(max_examples=40)
shapes = array_shapes(max_dims=4, max_side=7)
seeds = st.integers(0, 99)
SINGLE = {
    "relu": (activation.relu, F.relu),
    "relu6": (activation.relu6, F.relu6),
    "leaky": (
        lambda x: activation.leaky_relu(x, slope=0.2),
        lambda x: F.leaky_relu(x, 0.2),
    ),
    "hardswish": (activation.hardswish, F.hardswish),
    "sigmoid": (activation.sigmoid, torch.sigmoid),
    "tanh": (activation.tanh, torch.tanh),
    "softplus": (activation.softplus, F.softplus),
}
EDGES = np.array([0, -0.0, 6, 3, -3, 1e-30, 90, -90, 200, -200, np.inf, -np.inf, np.nan], "f4")


def numbers(seed, shape, spread=1.0):
    return (spread * np.random.default_rng(seed).standard_normal(shape)).astype("f4")


@ASK
@given(st.sampled_from([*SINGLE]), shapes, seeds)
@example("relu", (1, 3, 200, 201), 0)
@example("sigmoid", (70001,), 0)
def test_as_in_pytorch(name, shape, seed):
    compare(*SINGLE[name], numbers(seed, shape, 4.0), tolerance=1e-6)


@pytest.mark.parametrize("name", SINGLE)
def test_as_in_pytorch_at_the_edges(name):
    x = EDGES
    if name == "hardswish":  # 0 * inf there: PyTorch's vectors and its scalars differ themselves
        x = x[np.abs(x) < 1e9]
    if name == "softplus":  # PyTorch is exact to 2e-9 only: it is linear from 20 on
        x = x[np.isfinite(x)]
    if name == "leaky":  # PyTorch multiplies a gradient at NaN by the slope
        x = x[~np.isnan(x)]
    ours, theirs = SINGLE[name]
    t, u = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = ours(t), theirs(u)
    np.testing.assert_allclose(y.numpy(), z.detach(), rtol=1e-6, atol=1e-30)
    g = np.arange(1, len(x) + 1, dtype="f4")
    y.backward(g)
    z.backward(torch.tensor(g))
    np.testing.assert_allclose(t.grad, u.grad, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", SINGLE)
def test_gradients_by_central_differences(name):
    check_gradient(SINGLE[name][0], numbers(0, (3, 4), 3.0))


def test_sigmoid_and_softplus_are_exact_in_float32():
    x = np.linspace(-80, 80, 10007).astype("f4")
    exact = 1 / (1 + np.exp(-x.astype("f8")))
    np.testing.assert_allclose(activation.sigmoid(Tensor(x)).numpy(), exact, rtol=5e-7)
    exact = np.logaddexp(0, x.astype("f8"))
    np.testing.assert_allclose(activation.softplus(Tensor(x)).numpy(), exact, rtol=5e-7)


@pytest.mark.parametrize("name", ["relu", "sigmoid"])
def test_same_bits_for_any_number_of_threads(name):
    x = numbers(1, (3, 5, 70, 71))
    with threads(3):
        shared = SINGLE[name][0](Tensor(x)).numpy()
    np.testing.assert_array_equal(SINGLE[name][0](Tensor(x)).numpy(), shared)


@ASK
@given(shapes, st.data(), st.floats(0.1, 30), seeds)
def test_softmax_as_in_pytorch(shape, data, spread, seed):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = numbers(seed, shape, spread)
    for ours, theirs in [
        (activation.softmax, F.softmax),
        (activation.log_softmax, F.log_softmax),
    ]:
        compare(lambda x, f=ours: f(x, axis=axis), lambda x, f=theirs: f(x, axis), x)


def test_softmax_of_huge_and_impossible_logits():
    x = np.array([[1e30, 0, -1e30], [0, -np.inf, 0], [np.nan, 0, 0]], "f4")
    for ours, theirs in [
        (activation.softmax, F.softmax),
        (activation.log_softmax, F.log_softmax),
    ]:
        np.testing.assert_allclose(ours(Tensor(x), axis=1).numpy(), theirs(torch.tensor(x), 1))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_by_central_differences(axis):
    x = numbers(0, (3, 4, 2))
    check_gradient(lambda x: activation.softmax(x, axis=axis), x)
    check_gradient(lambda x: activation.log_softmax(x, axis=axis), x)


@ASK
@given(array_shapes(min_dims=2, max_dims=4, max_side=6), st.booleans(), seeds)
def test_prelu_as_in_pytorch(shape, single, seed):
    slope = numbers(seed + 1, 1 if single else shape[1])
    compare(activation.prelu, F.prelu, numbers(seed, shape), slope)


def test_prelu_by_central_differences():
    check_gradient(activation.prelu, numbers(0, (2, 3, 2, 2)), numbers(1, 3))


@ASK
@given(
    st.integers(1, 3), st.integers(1, 5), st.integers(1, 4), st.sampled_from([(), (3, 2)]), seeds
)
def test_maxout_as_in_pytorch(n, channels, pieces, rest, seed):
    x = numbers(seed, (n, channels * pieces, *rest))
    compare(
        lambda x: activation.maxout(x, pieces=pieces),
        lambda x: x.reshape(n, channels, pieces, *rest).amax(2), x,
    )  # fmt: skip
    last = np.moveaxis(x, 1, -1)
    y = activation.maxout(Tensor(last), pieces=pieces, axis=-1).numpy()
    want = activation.maxout(Tensor(x), pieces=pieces).numpy()
    np.testing.assert_array_equal(np.moveaxis(y, -1, 1), want)


def test_maxout_by_central_differences():
    check_gradient(lambda x: activation.maxout(x, pieces=3), numbers(0, (2, 6, 2)))


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_dropout(p):
    x = Tensor(1 + numbers(0, (50, 8, 9, 9)) ** 2, requires_grad=True)
    y = activation.dropout(x, p=p, rng=np.random.default_rng(1))
    again = activation.dropout(x, p=p, rng=np.random.default_rng(1)).numpy()
    np.testing.assert_array_equal(y.numpy(), again)
    kept = y.numpy() != 0
    assert abs(kept.mean() - (1 - p)) < 0.01
    factor = np.float32(1 / (1 - p) if p < 1 else 0)
    np.testing.assert_allclose(y.numpy(), np.where(kept, x.numpy() * factor, 0), rtol=1e-6)
    y.backward(np.ones(x.shape))
    np.testing.assert_allclose(x.grad, kept * factor)


REFUSED = {
    r"x of shape \(4, 6\) has no axis 2": lambda x: activation.softmax(x, axis=2),
    "6 channels of x .* do not divide into pieces of 4": lambda x: activation.maxout(x, pieces=4),
    r"slope of shape \(5,\) does not fit x": lambda x: activation.prelu(x, Tensor(np.ones(5))),
    "`p` must be from 0 to 1, got 1.5": lambda x: activation.dropout(
        x, p=1.5, rng=np.random.default_rng()
    ),
}


@pytest.mark.parametrize("says", REFUSED)
def test_refuses(says):
    with pytest.raises(NetError, match=says):
        REFUSED[says](Tensor(np.zeros((4, 6))))
