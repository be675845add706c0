"""Winograd against direct convolution: F(2x2) and F(3x3) are exact on whole numbers."""

import arena
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

few = st.integers(1, 3)


@st.composite
def layers(draw):
    """3 x 3 layers at stride 1, dilated, with an output."""
    padding, dilation = draw(st.tuples(*4 * [st.integers(0, 3)])), draw(st.tuples(few, few))
    rows, cols = (
        max(draw(st.integers(1, 15)), 2 * d + 1 - before - after)
        for d, before, after in zip(dilation, padding[:2], padding[2:], strict=True)
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    inputs, outputs = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    x = arena.integers(rng, draw(few), inputs, rows, cols)
    w = arena.integers(rng, outputs, inputs, 3, 3)
    return (x, w, arena.integers(rng, outputs)), {"padding": padding, "dilation": dilation}


@given(layers(), st.lists(st.integers(0, 9), max_size=3))
@settings(max_examples=100)
def test_tiles_of_two_equal_direct_exactly(layer, bands):
    arrays, options = layer
    want = arena.conv(*arrays, **options)
    np.testing.assert_array_equal(arena.conv(*arrays, **options, how=2, bands=bands), want)


@given(layers(), st.lists(st.integers(0, 9), max_size=3))
@settings(max_examples=100)
def test_tiles_of_four_equal_direct_to_five_digits(layer, bands):
    (x, w, b), options = layer
    want = arena.conv(x, w, b, **options)
    scale = arena.conv(abs(x), abs(w), abs(b), **options).max()
    got = arena.conv(x, w, b, **options, how=4, bands=bands)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("how", [2, 4])
@pytest.mark.parametrize("width", [1, 4, 7, 30])
def test_bands_give_the_identical_answer(how, width):
    rng = np.random.default_rng(width)
    x = rng.standard_normal((2, 19, 17, width), dtype=np.float32)
    w = rng.standard_normal((24, 19, 3, 3), dtype=np.float32)
    options = {"padding": (1, 1, 1, 1), "how": how}
    whole = arena.conv(x, w, w[:, 0, 0, 0], **options)
    for bands in ([1], [3, 5], range(20)):
        banded = arena.conv(x, w, w[:, 0, 0, 0], **options, bands=bands)
        np.testing.assert_array_equal(banded, whole)


def test_error_of_tiles_of_four_on_real_numbers():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 128, 28, 28), dtype=np.float32)
    w = rng.standard_normal((128, 128, 3, 3), dtype=np.float32)
    want = arena.conv(x, w, w[:, 0, 0, 0], padding=(1, 1, 1, 1))
    got = arena.conv(x, w, w[:, 0, 0, 0], padding=(1, 1, 1, 1), how=4)
    assert abs(got - want).max() < 3e-5 * abs(want).max()
