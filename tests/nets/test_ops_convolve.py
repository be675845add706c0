"""Convolution, transposed convolution and linear layers: results and gradients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nets
from nets.autograd.ops.convolution import conv2d, conv_transpose2d, linear
from nets.autograd.tensor import Tensor
from nets.runtime.threads import thread_count
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
        max(1, (k - 1) * d + 1 - 2 * p) for k, d, p in zip(side, dilation, padding, strict=True)
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
@settings(max_examples=60)
def test_conv2d_matches_torch(layer):
    found, g = ours(conv2d, *layer)
    assert_equal(found, theirs(conv2d, *layer, g))


@given(layers(transposed=True))
@settings(max_examples=60)
def test_conv_transpose2d_matches_torch(layer):
    found, g = ours(conv_transpose2d, *layer)
    assert_equal(found, theirs(conv_transpose2d, *layer, g))


@given(layers(depthwise=True))
@settings(max_examples=60)
def test_depthwise_matches_torch(layer):
    found, g = ours(conv2d, *layer)
    assert_equal(found, theirs(conv2d, *layer, g))


@st.composite
def neurons(draw):
    """Arrays x, weight, bias (or None) of a linear layer; x with any number of axes."""
    inputs, outputs = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    before = draw(st.lists(st.integers(0, 9), max_size=3))
    rng = np.random.default_rng(draw(seeds))
    bias = integers(rng, outputs) if draw(st.booleans()) else None
    return integers(rng, *before, inputs), integers(rng, outputs, inputs), bias


@given(neurons())
@settings(max_examples=60)
def test_linear_matches_torch(arrays):
    found, g = ours(linear, arrays, {})
    assert_equal(found, theirs(linear, arrays, {}, g))


# Sizes that take each of the ways through: many weights or few, many images at a time or one, with
# zeros around them or without, maps of a few pixels side by side, a prime number of rows.
LARGE = [
    (conv2d, (5, 40, 9, 11), (72, 40, 3, 3), {"padding": (1, 1), "stride": (2, 2)}),
    (conv2d, (6, 256, 4, 4), (136, 256, 3, 3), {"padding": (1, 1), "stride": (2, 2)}),
    (conv2d, (19, 160, 2, 2), (328, 160, 1, 1), {}),
    (conv2d, (16, 24, 33, 31), (40, 24, 1, 1), {}),
    (conv2d, (3, 20, 40, 50), (24, 20, 5, 3), {"padding": (2, 1)}),
    (conv2d, (2, 3, 65, 67), (16, 3, 7, 7), {"padding": (3, 3), "stride": (2, 2)}),
    (conv2d, (1, 16, 90, 100), (20, 16, 3, 3), {"padding": (2, 2), "dilation": (2, 2)}),
    (conv2d, (12, 48, 20, 24), (48, 1, 3, 3), {"padding": (1, 1), "groups": 48}),
    (conv_transpose2d, (2, 40, 20, 21), (40, 24, 4, 4), {"padding": (1, 1), "stride": (2, 2)}),
    (conv_transpose2d, (3, 100, 1, 1), (100, 136, 4, 4), {}),
    (linear, (64, 400), (120, 400), {}),
    (linear, (2003, 40), (24, 40), {}),
]


def layer_of(case, rng):
    function, x, weight, options = case
    outputs = weight[1] if function is conv_transpose2d else weight[0]
    return function, (integers(rng, *x), integers(rng, *weight), integers(rng, outputs)), options


@pytest.mark.parametrize("case", LARGE, ids=lambda case: f"{case[0].__name__}-{case[1]}")
def test_large_layers_match_torch_with_any_number_of_threads(case):
    function, arrays, options = layer_of(case, np.random.default_rng(0))
    found, g = ours(function, arrays, options)
    assert_equal(found, theirs(function, arrays, options, g))
    with nets.threads(3):
        assert_equal(ours(function, arrays, options, g)[0], found)


@pytest.mark.parametrize(
    ("images", "inputs", "outputs", "size", "padding"),
    [
        (3, 32, 48, (8, 9), 1),
        (2, 64, 32, (13, 6), 0),
        (16, 32, 32, (2, 2), 1),
        (1, 48, 64, (5, 7), 2),
        (40, 64, 64, (16, 16), 1),
    ],
)
def test_winograd_is_near_torch_and_the_same_with_two_threads(
    images, inputs, outputs, size, padding
):
    rng = np.random.default_rng(0)
    arrays = [
        rng.standard_normal(shape, dtype=np.float32)
        for shape in ((images, inputs, *size), (outputs, inputs, 3, 3), (outputs,))
    ]
    options = {"padding": (padding, padding)}
    g = rng.standard_normal(conv2d(*arrays, **options).shape, dtype=np.float32)
    found, _ = ours(conv2d, arrays, options, g)
    for a, b in zip(found, theirs(conv2d, arrays, options, g), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * np.abs(b).max())
    with nets.threads(2):
        assert_equal(ours(conv2d, arrays, options, g)[0], found)


@given(layers())
@settings(max_examples=15)
def test_results_and_gradients_in_float64_are_those_of_numpy(layer):
    """The plain products are what checks of whole networks stand on."""
    arrays, options = layer
    exact = [None if a is None else Tensor(a, True, dtype=np.float64) for a in arrays]
    y = conv2d(*exact, **options)
    g = integers(np.random.default_rng(0), *y.shape)
    y.backward(g)
    found = [y.data, *(t.grad for t in exact if t is not None)]
    assert_equal(found, ours(conv2d, arrays, options, g)[0])


@pytest.mark.parametrize("function", [conv2d, conv_transpose2d])
@pytest.mark.parametrize("groups", [1, 4])
def test_gradients_are_central_differences(function, groups):
    rng = np.random.default_rng(0)
    shapes = (2, 4, 5, 6), (4, 4 // groups, 3, 2), (4,)
    arrays = [rng.standard_normal(shape) for shape in shapes]
    options = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": groups}

    def value(*arrays):
        y = function(*(Tensor(a, dtype=np.float64) for a in arrays), **options)
        return float((y.data * weights).sum())

    y = function(*(Tensor(a, dtype=np.float64) for a in arrays), **options)
    weights = rng.standard_normal(y.shape)
    tensors = [Tensor(a, requires_grad=True) for a in arrays]
    function(*tensors, **options).backward(weights)
    for n, tensor in enumerate(tensors):
        slopes = np.empty(tensor.shape)
        for at in np.ndindex(*tensor.shape):
            ends = []
            for step in (1e-4, -1e-4):
                moved = [a.copy() for a in arrays]
                moved[n][at] += step
                ends.append(value(*moved))
            slopes[at] = (ends[0] - ends[1]) / 2e-4
        np.testing.assert_allclose(tensor.grad, slopes, rtol=1e-4, atol=1e-4)


def test_work_is_skipped_where_no_gradient_is_needed():
    x, w = Tensor(np.ones((1, 3, 4, 4))), Tensor(np.ones((2, 3, 3, 3)), requires_grad=True)
    conv2d(x, w).sum().backward()
    assert x.grad is None
    assert w.grad.shape == w.shape


def zeros(*shape):
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conv2d(zeros(3, 8, 8), zeros(4, 3, 3, 3)), r"four axes.*\(3, 8, 8\)"),
        (lambda: conv2d(zeros(1, 4, 8, 8), zeros(4, 3, 3, 3)), r"3 channels.*\(1, 4, 8, 8\)"),
        (lambda: conv2d(zeros(1, 4, 8, 8), zeros(3, 2, 3, 3), groups=2), "groups 2"),
        (lambda: conv2d(zeros(1, 3, 2, 8), zeros(4, 3, 3, 3)), "2x8.*smaller.*3x3"),
        (lambda: conv2d(zeros(1, 3, 8, 8), zeros(4, 3, 3, 3), zeros(3)), r"bias.*\(4,\).*\(3,\)"),
        (lambda: conv2d(zeros(1, 3, 8, 8), zeros(4, 3, 3, 3), stride=(0, 1)), "stride.*least 1"),
        (lambda: conv2d(zeros(1, 3, 8, 8), zeros(4, 3, 3, 3), padding=1), "padding.*got 1"),
        (lambda: conv2d(zeros(1, 3, 8, 8), zeros(4, 3, 3, 3), groups=0), "groups.*got 0"),
        (lambda: conv2d(zeros(1, 3, 8, 8), np.zeros((4, 3, 3, 3))[:, :2]), "2 channels"),
        (lambda: conv_transpose2d(zeros(1, 3, 8, 8), zeros(4, 3, 3, 3)), "4 channels"),
        (
            lambda: conv_transpose2d(zeros(1, 3, 8, 8), zeros(3, 2, 3, 3), output_padding=(1, 0)),
            "output_padding.*less than stride",
        ),
        (
            lambda: conv_transpose2d(zeros(1, 3, 1, 1), zeros(3, 2, 3, 3), padding=(2, 2)),
            "leaves nothing",
        ),
        (lambda: linear(zeros(2, 5), zeros(4, 6)), r"\(4, 6\).*\(2, 5\)"),
        (lambda: nets.threads(0), "at least 1, got 0"),
        (lambda: nets.threads(2.0), "at least 1, got 2.0"),
    ],
)
def test_bad_input_is_told_in_one_line(call, message):
    with pytest.raises(NetError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_threads_give_way_to_the_number_before():
    with nets.threads(2):
        with nets.threads(3):
            assert thread_count() == 3
        assert thread_count() == 2
    assert thread_count() == 1
