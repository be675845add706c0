"""Convolution, transposed convolution and linear layers: results and gradients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nets
from nets.ops.convolve import conv2d, conv_transpose2d, linear
from nets.tensor import Tensor
from vj.errors import NetError

few, seeds = st.integers(1, 3), st.integers(0, 2**32 - 1)


def integers(rng, *shape):
    """Whole numbers, on which float32 is exact in any order of sums."""
    return rng.integers(-3, 4, shape).astype(np.float32)


@st.composite
def layers(draw, transposed=False, depthwise=False):
    """Arrays x, weight, bias (or None) and options of a layer that has an output."""
    groups = draw(st.integers(1, 40)) if depthwise else draw(st.sampled_from([1, 1, 1, 2, 3]))
    inputs, outputs = (1 if depthwise else draw(st.integers(1, 40 // groups)) for _ in range(2))
    side, stride, dilation = (draw(st.tuples(few, few)) for _ in range(3))
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    least = [
        max(1, (k - 1) * d + 1 - 2 * p)
        for k, d, p in zip(side, dilation, padding, strict=True)
    ]
    if transposed:
        least = [2 * p + 1 for p in padding]
        options["output_padding"] = tuple(
            draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)
        )
    size = [least[i] + draw(st.integers(0, 14)) for i in range(2)]
    rng = np.random.default_rng(draw(seeds))
    pair = (groups * inputs, outputs) if transposed else (groups * outputs, inputs)
    x = integers(rng, draw(st.integers(1, 9)), groups * inputs, *size)
    bias = integers(rng, groups * outputs) if draw(st.booleans()) else None
    return (x, integers(rng, *pair, *side), bias), options


def ours(function, arrays, options, g=None):
    """Result and gradients of the arrays that exist."""
    tensors = [None if a is None else Tensor(a, requires_grad=True) for a in arrays]
    y = function(*tensors, **options)
    if g is None:
        g = integers(np.random.default_rng(y.size), *y.shape)
    y.backward(g)
    return [y.data, *(t.grad for t in tensors if t is not None)], g


def theirs(function, arrays, options, g):
    torch = pytest.importorskip("torch", reason="the oracle is torch")
    tensors = [
        None if a is None else torch.from_numpy(a.astype("f8")).requires_grad_() for a in arrays
    ]
    y = getattr(torch.nn.functional, function.__name__)(*tensors, **options)
    y.backward(torch.from_numpy(g.astype("f8")))
    return [y.detach().numpy(), *(t.grad.numpy() for t in tensors if t is not None)]


def assert_equal(found, wanted):
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


@given(layers())
@settings(max_examples=150)
def test_conv2d_matches_torch(layer):
    found, g = ours(conv2d, *layer)
    assert_equal(found, theirs(conv2d, *layer, g))


@given(layers(transposed=True))
@settings(max_examples=100)
def test_conv_transpose2d_matches_torch(layer):
    found, g = ours(conv_transpose2d, *layer)
    assert_equal(found, theirs(conv_transpose2d, *layer, g))


@given(layers(depthwise=True))
@settings(max_examples=100)
def test_depthwise_matches_torch(layer):
    found, g = ours(conv2d, *layer)
    assert_equal(found, theirs(conv2d, *layer, g))
