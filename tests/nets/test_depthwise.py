"""Depthwise convolution: exact on whole numbers, with and without fused pooling."""

import arena
import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

few, sizes, pads = st.integers(1, 3), st.integers(1, 15), st.tuples(*4 * [st.integers(0, 3)])


@st.composite
def layers(draw, sides, size=sizes):
    kernel, stride, dilation = (draw(st.tuples(s, s)) for s in (sides, few, few))
    padding, channels = draw(pads), draw(st.one_of(st.integers(1, 70), st.sampled_from([8, 32])))
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    rows, cols = (
        max(draw(size), e - before - after)
        for e, before, after in zip(extent, padding[:2], padding[2:], strict=True)
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    arrays = (
        arena.integers(rng, draw(few), channels, rows, cols),
        arena.integers(rng, channels, 1, *kernel),
        arena.integers(rng, channels),
    )
    return arrays, {"stride": stride, "padding": padding, "dilation": dilation}


@given(layers(st.integers(1, 5), st.integers(1, 5)))
@settings(max_examples=20)
def test_matches_naive(layer):
    (x, w, b), options = layer
    want = naive.conv2d(x, w, b, **options, groups=len(w))
    np.testing.assert_array_equal(arena.conv(x, w, b, **options, how="depthwise"), want)


@given(layers(st.one_of(st.just(3), st.integers(1, 5))), st.lists(st.integers(0, 40), max_size=3))
@settings(max_examples=150)
def test_matches_direct_with_groups_in_any_bands(layer, bands):
    (x, w, b), options = layer
    want = arena.conv(x, w, b, **options, groups=len(w))
    got = arena.conv(x, w, b, **options, how="depthwise", bands=bands)
    np.testing.assert_array_equal(got, want)


@given(layers(st.just(3), st.integers(2, 15)), st.booleans(), st.lists(st.integers(0, 9)))
@settings(max_examples=80)
def test_fused_pooling_is_the_maximum_of_two_by_two(layer, bend, bands):
    (x, w, b), options = layer
    options["slope"] = np.full(len(w), 0.5, np.float32) if bend else None
    options["how"] = "depthwise"
    plain = arena.conv(x, w, b, **options, clamp=(-20, 20))
    count, channels, rows, cols = plain.shape
    if min(rows, cols) < 2:
        return
    even = plain[:, :, : rows // 2 * 2, : cols // 2 * 2]
    want = even.reshape(count, channels, rows // 2, 2, cols // 2, 2).max((3, 5))
    got = arena.conv(x, w, b, **options, clamp=(-20, 20), pool=True, bands=bands)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("channels", [16, 24])
@pytest.mark.parametrize("width", [1, 5, 6, 7, 13])
def test_bands_give_the_identical_answer(channels, width):
    rng = np.random.default_rng(width)
    x = rng.standard_normal((2, channels, 9, width), dtype=np.float32)
    w = rng.standard_normal((channels, 1, 3, 3), dtype=np.float32)
    options = {"padding": (1, 1, 1, 1), "how": "depthwise"}
    whole = arena.conv(x, w, w[:, 0, 0, 0], **options)
    for bands in ([1], [3, 7, 8], range(18)):
        banded = arena.conv(x, w, w[:, 0, 0, 0], **options, bands=bands)
        np.testing.assert_array_equal(banded, whole)
