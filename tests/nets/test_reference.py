"""The readable loops against SciPy, NumPy operators and each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal
from scipy.special import expit

from nets import reference as ref
from nets.graph.ir import Node
from nets.operators.evaluate import evaluate

small = st.integers(1, 3)
pairs = st.tuples(small, small)


def operator(op, *arrays, opset=21, outputs=1, **attrs):
    """A NumPy operator on arrays."""
    names = tuple(f"y{k}" for k in range(outputs))
    node = Node(op, "n", tuple(map(str, range(len(arrays)))), names, attrs, opset)
    return evaluate("test", node, list(arrays))


@settings(max_examples=30)
@given(st.integers(0, 99), pairs, pairs)
def test_correlation_and_convolution(seed, size, more):
    rng = np.random.default_rng(seed)
    kernel = rng.standard_normal(size)
    image = rng.standard_normal((size[0] + more[0], size[1] + more[1]))
    np.testing.assert_allclose(
        ref.correlate2d(image, kernel), signal.correlate2d(image, kernel, "valid"), atol=1e-12
    )
    np.testing.assert_allclose(
        ref.convolve2d(image, kernel), signal.convolve2d(image, kernel, "valid"), atol=1e-12
    )
    turned = kernel[::-1, ::-1]
    np.testing.assert_allclose(ref.convolve2d(image, kernel), ref.correlate2d(image, turned))


@st.composite
def layers(draw):
    """A convolution of any geometry that fits: x, weights, bias, keywords."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    groups, stride, dilation = draw(small), draw(pairs), draw(pairs)
    kernel = draw(pairs)
    padding = tuple(draw(st.integers(0, k - 1)) for k in kernel)
    size = tuple(
        draw(st.integers(max(1, (k - 1) * d + 1 - 2 * p), (k - 1) * d + 5))
        for k, d, p in zip(kernel, dilation, padding, strict=True)
    )
    x = rng.standard_normal((draw(st.integers(1, 2)), groups * draw(small), *size))
    w = rng.standard_normal((groups * draw(small), x.shape[1] // groups, *kernel))
    keys = {"stride": stride, "dilation": dilation, "padding": padding, "groups": groups}
    return x, w, rng.standard_normal(len(w)), keys


def attributes(keys):
    return {
        "strides": keys["stride"], "dilations": keys["dilation"], "group": keys["groups"],
        "pads": [*keys["padding"]] * 2,
    }  # fmt: skip


@settings(max_examples=60)
@given(layers())
def test_conv2d(layer):
    x, w, b, keys = layer
    (want,) = operator("Conv", x, w, b, **attributes(keys))
    np.testing.assert_allclose(ref.conv2d(x, w, b, **keys), want, atol=1e-10)


@settings(max_examples=60)
@given(layers(), st.integers(0, 99))
def test_transposed_convolution_is_the_transpose(layer, seed):
    """<conv(x), y> = <x, conv_transpose(y)>, and the operator agrees."""
    x, w, _, keys = layer
    out = ref.conv2d(x, w, **keys)
    y = np.random.default_rng(seed).standard_normal(out.shape)
    extra = tuple(
        n - ((m - 1) * s - 2 * p + d * (k - 1) + 1)
        for n, m, s, p, d, k in zip(
            x.shape[2:], out.shape[2:], keys["stride"], keys["padding"], keys["dilation"],
            w.shape[2:], strict=True,
        )
    )  # fmt: skip
    back = ref.conv_transpose2d(y, w, output_padding=extra, **keys)
    np.testing.assert_allclose((out * y).sum(), (x * back).sum(), atol=1e-9)
    (want,) = operator("ConvTranspose", y, w, output_padding=extra, **attributes(keys))
    np.testing.assert_allclose(back, want, atol=1e-10)


@settings(max_examples=40)
@given(st.integers(0, 99), pairs, pairs, st.booleans())
def test_pooling(seed, kernel, stride, include):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 9, (2, 2, 6, 7)).astype(float)
    padding = tuple(rng.integers(0, k) for k in kernel)
    attrs = {"kernel_shape": kernel, "strides": stride, "pads": [*padding] * 2}
    best, switches = ref.max_pool2d(x, kernel, stride, padding)
    want, index = operator("MaxPool", x, outputs=2, **attrs)
    np.testing.assert_array_equal(best, want)
    u, v = np.divmod(switches, kernel[1])
    rows = np.arange(best.shape[2])[:, None] * stride[0] + u - padding[0]
    cols = np.arange(best.shape[3]) * stride[1] + v - padding[1]
    planes = np.arange(4).reshape(2, 2, 1, 1) * 42
    np.testing.assert_array_equal(rows * 7 + cols + planes, index)
    (mean,) = operator("AveragePool", x, count_include_pad=int(include), **attrs)
    got = ref.avg_pool2d(x, kernel, stride, padding, include_pad=include)
    np.testing.assert_allclose(got, mean, atol=1e-12)


def test_unpooling_puts_the_largest_back():
    x = np.random.default_rng(0).standard_normal((1, 3, 6, 8))
    best, switches = ref.max_pool2d(x, (2, 2))
    back = ref.max_unpool2d(best, switches, (6, 8), (2, 2))
    assert np.count_nonzero(back) == best.size
    np.testing.assert_array_equal(back[back != 0], x[back != 0])
    np.testing.assert_array_equal(ref.max_pool2d(back, (2, 2))[0], np.maximum(best, 0))


def test_adaptive_pooling():
    x = np.random.default_rng(0).standard_normal((1, 2, 7, 5))
    np.testing.assert_allclose(ref.adaptive_avg_pool2d(x, (1, 1)), x.mean((2, 3), keepdims=True))
    np.testing.assert_allclose(ref.adaptive_avg_pool2d(x, (7, 5)), x)
    np.testing.assert_allclose(
        ref.adaptive_avg_pool2d(x, (3, 2))[0, 0, 1, 0], x[0, 0, 2:5, :3].mean()
    )


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_upsampling(factor):
    x = np.random.default_rng(0).standard_normal((1, 2, 4, 5))
    scales = np.array([1, 1, factor, factor], np.float32)
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    (nearest,) = operator("Resize", x, None, scales, mode="nearest", **how)
    np.testing.assert_array_equal(ref.upsample_nearest(x, factor), nearest)
    (linear,) = operator("Resize", x, None, scales, mode="linear")
    np.testing.assert_allclose(ref.upsample_bilinear(x, factor), linear, atol=1e-12)


@pytest.mark.parametrize("factor", [2, 4])
def test_bilinear_upsampling_is_a_transposed_convolution(factor):
    x = np.random.default_rng(0).standard_normal((1, 1, 5, 6))
    kernel = ref.bilinear_kernel(factor)[None, None]
    got = ref.conv_transpose2d(
        x, kernel, stride=(factor, factor), padding=(factor // 2, factor // 2)
    )
    want = ref.upsample_bilinear(x, factor)
    inside = (..., slice(factor, -factor), slice(factor, -factor))
    np.testing.assert_allclose(got[inside], want[inside], atol=1e-12)


def test_normalisation():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 6, 3, 4))
    a, b, m = rng.standard_normal((3, 6))
    v = rng.uniform(0.5, 2, 6)
    (want,) = operator("BatchNormalization", x, a, b, m, v, epsilon=1e-3)
    np.testing.assert_allclose(ref.batch_norm(x, a, b, m, v, 1e-3), want)
    for groups in (1, 2, 3, 6):
        (want,) = operator("GroupNormalization", x, a, b, num_groups=groups, epsilon=1e-3)
        np.testing.assert_allclose(ref.group_norm(x, groups, a, b, 1e-3), want)
    (want,) = operator("LRN", x, size=3, alpha=0.2, beta=0.6, bias=2.0)
    np.testing.assert_allclose(ref.local_response_norm(x, 3, 0.2, 0.6, 2.0), want)


def test_activations():
    for x in (-800.0, -7.5, -1.0, 0.0, 0.3, 2.9, 6.5):
        one = np.array([x])
        assert ref.relu(x) == operator("Relu", one)[0][0]
        assert ref.leaky_relu(x, 0.1) == operator("LeakyRelu", one, alpha=0.1)[0][0]
        assert ref.relu6(x) == np.clip(x, 0, 6)
        np.testing.assert_allclose(ref.sigmoid(x), expit(x), atol=1e-300)
        np.testing.assert_allclose(ref.hard_swish(x), operator("HardSwish", one)[0][0], atol=1e-15)
    values = np.array([1.0, 2.0, -3.0])
    np.testing.assert_allclose(ref.softmax(values), operator("Softmax", values)[0])
    x = np.random.default_rng(0).standard_normal((1, 6, 2, 2))
    np.testing.assert_array_equal(ref.maxout(x, 3), x.reshape(1, 2, 3, 2, 2).max(2))


def test_memory_cells():
    rng = np.random.default_rng(0)
    x, h, c = rng.standard_normal((3, 4)), rng.standard_normal(5), rng.standard_normal(5)
    w, r, b = rng.standard_normal((20, 4)), rng.standard_normal((20, 5)), rng.standard_normal(40)
    _, last_h, last_c = operator(
        "LSTM", x[:, None], w[None], r[None], b[None], None, h[None, None], c[None, None],
        outputs=3, hidden_size=5,
    )  # fmt: skip
    state = h, c
    for row in x:
        state = ref.lstm_step(row, *state, w, r, b[:20] + b[20:])
    np.testing.assert_allclose(state[0], last_h[0, 0])
    np.testing.assert_allclose(state[1], last_c[0, 0])
    _, last = operator(
        "GRU", x[:, None], w[None, :15], r[None, :15], b[None, :30], None, h[None, None],
        outputs=2, hidden_size=5, linear_before_reset=1,
    )  # fmt: skip
    for row in x:
        h = ref.gru_step(row, h, w[:15], r[:15], b[:15], b[15:30])
    np.testing.assert_allclose(h, last[0, 0])
