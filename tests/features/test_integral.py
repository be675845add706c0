import cv2
import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import vj
from vj.errors import ImageError, ParameterError
from vj.features.integral import MAX_PIXELS

small = arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 40)))
KINDS = ["integral_image", "squared_integral_image", "tilted_integral_image"]


@given(small)
def test_matches_naive(gray):
    for kind in KINDS:
        np.testing.assert_array_equal(getattr(vj, kind)(gray), getattr(naive, kind)(gray), kind)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_bit_equal_to_opencv(rows, cols, seed):
    gray = np.random.default_rng(seed).integers(0, 256, (rows, cols), dtype=np.uint8)
    theirs = cv2.integral3(gray, sdepth=cv2.CV_32S, sqdepth=cv2.CV_64F)
    for kind, want, dtype in zip(KINDS, theirs, ["i4", "i8", "i4"], strict=True):
        got = getattr(vj, kind)(gray)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, want, kind)


def test_exact_up_to_the_documented_size():
    white = np.full((2048, MAX_PIXELS // 2048), 255, np.uint8)
    assert vj.integral_image(white)[-1, -1] == 255 * white.size
    assert vj.squared_integral_image(white)[-1, -1] == 255**2 * white.size
    # From the middle of the lower edge the quarter plane covers all of a tall image.
    assert vj.tilted_integral_image(white.T)[-1, 1024] > 0.7 * 255 * white.size


def test_squares_know_no_limit():
    wide = np.full((2, MAX_PIXELS), 255, np.uint8)
    assert vj.squared_integral_image(wide)[-1, -1] == 255**2 * wide.size


@pytest.mark.parametrize("kind", ["integral_image", "tilted_integral_image"])
def test_refuses_what_could_overflow(kind):
    large = np.broadcast_to(np.uint8(0), (2049, MAX_PIXELS // 2048))
    with pytest.raises(ImageError, match=r"the limit is 8421504 px"):
        getattr(vj, kind)(large)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (np.zeros((4, 4), np.float32), "uint8"),
        (np.zeros((4, 4, 2), np.uint8), "channels"),
        (np.zeros((0, 4), np.uint8), "no pixels"),
    ],
)
def test_refuses(kind, bad, says):
    with pytest.raises(ImageError, match=says):
        getattr(vj, kind)(bad)


def test_takes_what_cameras_and_memory_maps_hand_out(astronaut):
    read_only = astronaut.copy()
    read_only.flags.writeable = False
    gray = cv2.cvtColor(astronaut, cv2.COLOR_RGB2GRAY)
    np.testing.assert_array_equal(vj.integral_image(read_only), vj.integral_image(gray))
    np.testing.assert_array_equal(
        vj.integral_image(gray[::-2, 7::3]), cv2.integral(gray[::-2, 7::3])
    )


@st.composite
def image_and_boxes(draw, tilted):
    gray = draw(arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20))))
    rows, cols = gray.shape
    boxes = []
    for _ in range(draw(st.integers(0, 5))):
        w = draw(st.integers(0, min(rows, cols) if tilted else cols))
        h = draw(st.integers(0, min(rows - w, cols - w) if tilted else rows))
        x = draw(st.integers(h, cols - w) if tilted else st.integers(0, cols - w))
        y = draw(st.integers(0, rows - w - h if tilted else rows - h))
        boxes.append((x, y, w, h))
    return gray, boxes


@pytest.mark.parametrize("tilted", [False, True])
@given(data=st.data())
def test_rect_sum_in_both_ways_is_the_sum_of_the_pixels(tilted, data):
    gray, boxes = data.draw(image_and_boxes(tilted))
    ii = vj.tilted_integral_image(gray) if tilted else vj.integral_image(gray)
    want = [naive.rect_sum(gray, box, tilted) for box in boxes]
    assert vj.rect_sum(ii, boxes, tilted).tolist() == want
    assert vj.rect_sum_naive(gray, boxes, tilted).tolist() == want
    if boxes:
        assert vj.rect_sum(ii, boxes[0], tilted) == want[0]
    if not tilted:
        want = [naive.rect_sum(gray.astype(int) ** 2, box) for box in boxes]
        assert vj.rect_sum(vj.squared_integral_image(gray), boxes).tolist() == want


@pytest.mark.parametrize(
    ("rects", "tilted", "says"),
    [
        ([[0, 0, 6, 1]], False, r"rects\[0\]` = \[0, 0, 6, 1\] .* is not inside the image of 5x4"),
        ([[0, 0, 1, 1], [0, 0, 1, 5]], False, r"rects\[1\]"),
        ([[-1, 0, 1, 1]], False, r"not inside"),
        ([[0, 0, -1, 1]], False, r"not inside"),
        ([[2**62, 0, 2**62, 1]], False, r"not inside"),
        ([[0, 0, 1, 1]], True, r"tilted\) is not inside"),
        ([[1, 3, 1, 1]], True, r"not inside"),
        ([[0, 0, 1]], False, r"shape \(n, 4\)"),
        ([[0.5, 0, 1, 1]], False, r"must be integers"),
    ],
)
def test_rect_sum_refuses(rects, tilted, says):
    gray = np.zeros((4, 5), np.uint8)
    with pytest.raises(ParameterError, match=says):
        vj.rect_sum(vj.integral_image(gray), rects, tilted)
    with pytest.raises(ParameterError, match=says):
        vj.rect_sum_naive(gray, rects, tilted)


def test_rect_sum_refuses_what_is_no_integral_image():
    with pytest.raises(ImageError, match="int32 or int64"):
        vj.rect_sum(np.zeros((4, 4), np.uint8), [[0, 0, 1, 1]])
