"""Direct convolution: exact on whole numbers, whatever the stride, padding, dilation, groups."""

import arena
import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

few, many = st.integers(1, 3), st.integers(1, 70)
sides, sizes = st.integers(1, 5), st.integers(1, 13)


@st.composite
def layers(draw, channels=many, side=sides, size=sizes):
    """Integer input, weights, bias and the options of a convolution with an output."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, 4]))
    per_group, outputs = (-(-draw(channels) // groups) for _ in range(2))
    kernel, dilation, stride = (draw(st.tuples(s, s)) for s in (side, few, few))
    padding = draw(st.tuples(*4 * [st.integers(0, 3)]))
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    rows, cols = (
        max(draw(size), e - before - after)
        for e, before, after in zip(extent, padding[:2], padding[2:], strict=True)
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = arena.integers(rng, draw(few), groups * per_group, rows, cols)
    w = arena.integers(rng, groups * outputs, per_group, *kernel)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return (x, w, arena.integers(rng, len(w))), options


@given(layers(channels=st.integers(1, 12), side=few, size=st.integers(1, 6)))
@settings(max_examples=25)
def test_matches_naive(layer):
    arrays, options = layer
    np.testing.assert_array_equal(arena.conv(*arrays, **options), naive.conv2d(*arrays, **options))


@given(layers(), st.lists(st.integers(0, 40), max_size=3))
@settings(max_examples=150)
def test_matches_torch_in_any_bands(layer, bands):
    torch = pytest.importorskip("torch", reason="the oracle is torch")
    (x, w, b), options = layer
    top, left, bottom, right = options["padding"]
    x64, w64, b64 = (torch.from_numpy(a.astype("f8")) for a in (x, w, b))
    x64 = torch.nn.functional.pad(x64, (left, right, top, bottom))
    rest = {key: options[key] for key in ("stride", "dilation", "groups")}
    want = torch.nn.functional.conv2d(x64, w64, b64, **rest).numpy()
    np.testing.assert_array_equal(arena.conv(x, w, b, **options, bands=bands), want)


@given(st.integers(1, 70), st.integers(1, 4), st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_input_may_be_stored_without_padding_channels(channels, side, seed):
    rng = np.random.default_rng(seed)
    x = arena.integers(rng, 2, channels, 7, 9)
    w, b = arena.integers(rng, 17, channels, side, side), arena.integers(rng, 17)
    np.testing.assert_array_equal(
        arena.conv(x, w, b, stride=(2, 2), pixel=channels), arena.conv(x, w, b, stride=(2, 2))
    )


@pytest.mark.parametrize("width", range(1, 8))
@pytest.mark.parametrize("outputs", [8, 21, 32])
def test_bands_and_narrow_maps_give_the_identical_answer(width, outputs):
    rng = np.random.default_rng(width)
    x = rng.standard_normal((2, 19, 11, width), dtype=np.float32)
    w = rng.standard_normal((outputs, 19, 3, 3), dtype=np.float32)
    b = rng.standard_normal(outputs, dtype=np.float32)
    whole = arena.conv(x, w, b, padding=(1, 1, 1, 1))
    for bands in ([1], [3, 7, 8], range(22)):
        banded = arena.conv(x, w, b, padding=(1, 1, 1, 1), bands=bands)
        np.testing.assert_array_equal(banded, whole)


@pytest.mark.parametrize("outputs", [16, 20, 24])
@pytest.mark.parametrize("how", ["direct", "depthwise", 2])
def test_residual_slopes_and_clamp_follow_the_sum(how, outputs):
    rng = np.random.default_rng(outputs)
    x = arena.integers(rng, 2, outputs, 9, 10)
    w = arena.integers(rng, outputs, 1 if how == "depthwise" else outputs, 3, 3)
    b, residual = arena.integers(rng, outputs), 50 * arena.integers(rng, 2, outputs, 9, 10)
    slope = np.float32(rng.choice([0.25, 0.5, -1, 2], outputs))
    pad = (1, 1, 1, 1)
    total = arena.conv(x, w, b, padding=pad, how=how) + residual
    assert (total > 60).any()
    assert (total < -60).any()
    bent = np.where(total < 0, total * slope[:, None, None], total)
    options = {"padding": pad, "how": how, "slope": slope, "residual": residual}
    np.testing.assert_array_equal(arena.conv(x, w, b, **options), bent)
    got = arena.conv(x, w, b, **options, clamp=(-60, 60))
    np.testing.assert_array_equal(got, np.clip(bent, -60, 60))


@pytest.mark.parametrize("how", ["direct", "depthwise", 2, 4])
def test_nan_stays_nan(how):
    x = np.full((1, 16, 6, 6), np.nan, np.float32)
    w = np.ones((16, 1 if how == "depthwise" else 16, 3, 3), np.float32)
    got = arena.conv(x, w, w[:, 0, 0, 0], how=how, clamp=(0, 6), finite=False)
    assert np.isnan(got).all()
