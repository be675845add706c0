"""Transposed convolution by phases: exact on whole numbers, and the adjoint of the plain one."""

import arena
import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

few, many = st.integers(1, 3), st.integers(1, 70)
sides, sizes = st.integers(1, 5), st.integers(1, 9)


@st.composite
def layers(draw, channels=many, side=sides, size=sizes):
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    per_group, outputs = (-(-draw(channels) // groups) for _ in range(2))
    kernel, dilation, stride = (draw(st.tuples(s, s)) for s in (side, few, few))
    extra = tuple(
        draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)
    )
    rows, cols = draw(st.tuples(size, size))
    # At least one row and column must be left of the output.
    reach = [(k - 1) * d + e for k, d, e in zip(kernel, dilation, extra, strict=True)]
    full = [(n - 1) * s + r for n, s, r in zip((rows, cols), stride, reach, strict=True)]
    padding = tuple(draw(st.integers(0, min(4, f // 2))) for f in full)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = arena.integers(rng, draw(few), groups * per_group, rows, cols)
    w = arena.integers(rng, groups * per_group, outputs, *kernel)
    options = {"stride": stride, "padding": padding, "output_padding": extra}
    options |= {"dilation": dilation, "groups": groups}
    return (x, w, arena.integers(rng, groups * outputs)), options


@given(layers(st.integers(1, 10), few, st.integers(1, 4)))
@settings(max_examples=25)
def test_matches_naive(layer):
    arrays, options = layer
    want = naive.conv_transpose2d(*arrays, **options)
    np.testing.assert_array_equal(arena.conv_transpose(*arrays, **options), want)


@given(layers(), st.lists(st.integers(0, 9), max_size=3))
@settings(max_examples=150)
def test_matches_torch_in_any_bands(layer, bands):
    torch = pytest.importorskip("torch", reason="the oracle is torch")
    arrays, options = layer
    exact = (torch.from_numpy(a.astype("f8")) for a in arrays)
    want = torch.nn.functional.conv_transpose2d(*exact, **options).numpy()
    np.testing.assert_array_equal(arena.conv_transpose(*arrays, **options, bands=bands), want)


@st.composite
def windows(draw):
    """Layers whose kernel is twice or thrice the stride."""
    stride = draw(st.integers(1, 3))
    times = 3 if stride == 1 else draw(st.sampled_from([2, 3])) if stride == 2 else 2
    side = times * stride
    extra = draw(st.tuples(*2 * [st.integers(0, stride - 1)]))
    padding = draw(st.tuples(*2 * [st.integers(0, side // 2 - 1)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    inputs, outputs, rows, cols = (draw(st.integers(1, n)) for n in (40, 40, 11, 11))
    x = arena.integers(rng, draw(few), inputs, rows, cols)
    w = arena.integers(rng, inputs, outputs, side, side)
    options = {"stride": (stride, stride), "padding": padding, "output_padding": extra}
    return (x, w, arena.integers(rng, outputs)), options


@given(windows(), st.lists(st.integers(0, 9), max_size=3))
@settings(max_examples=100)
def test_winograd_equals_direct(layer, bands):
    arrays, options = layer
    want = arena.conv_transpose(*arrays, **options)
    got = arena.conv_transpose(*arrays, **options, how="winograd", bands=bands)
    scale = arena.conv_transpose(*map(abs, arrays), **options).max()
    exact = arrays[1].shape[2] == 2 * options["stride"][0]  # F(3x3, 2x2)
    np.testing.assert_allclose(got, want, rtol=0, atol=0 if exact else 1e-5 * scale)


@pytest.mark.parametrize("how", ["direct", "winograd"])
def test_residual_slope_and_clamp_follow_the_sum(how):
    rng = np.random.default_rng(0)
    x, w = arena.integers(rng, 1, 16, 5, 6), arena.integers(rng, 16, 20, 4, 4)
    b, slope = arena.integers(rng, 20), np.full(20, 0.5, np.float32)
    residual = 50 * arena.integers(rng, 1, 20, 10, 12)
    options = {"stride": (2, 2), "padding": (1, 1), "how": how}
    total = arena.conv_transpose(x, w, b, **options) + residual
    want = np.clip(np.where(total < 0, total / 2, total), -60, 60)
    options |= {"slope": slope, "residual": residual, "clamp": (-60, 60)}
    np.testing.assert_array_equal(arena.conv_transpose(x, w, b, **options), want)


@given(layers(st.integers(1, 20)))
@settings(max_examples=60)
def test_adjoint_of_convolution(layer):
    (y, w, _), options = layer
    extra = options.pop("output_padding")
    zero = np.zeros(w.shape[1] * options["groups"], np.float32)
    back = arena.conv_transpose(y, w, zero, **options, output_padding=extra)
    x = arena.integers(np.random.default_rng(0), *back.shape)
    top, left = options.pop("padding")
    forth = arena.conv(x, w, np.zeros(y.shape[1], np.float32), **options, padding=(top, left) * 2)
    rows, cols = y.shape[2:]
    assert forth.shape == y.shape or extra != (0, 0)
    forth = forth[:, :, :rows, :cols]
    assert (np.float64(forth) * y).sum() == (np.float64(x) * back).sum()
