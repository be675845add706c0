import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.feature import multiblock_lbp

import vj
from vj.errors import ParameterError


def test_counts_of_opencv_traincascade():
    blocks = vj.enumerate_lbp((24, 24))
    assert blocks.shape == (8464, 4)
    assert blocks.dtype == np.int32
    assert len(vj.enumerate_lbp((20, 20))) == 3969
    assert len(vj.enumerate_lbp((48, 48))) == 141_376


def test_order_of_opencv_traincascade():
    want = [
        [x, y, w, h]
        for x in range(10)
        for y in range(7)
        for w in range(1, 4)
        for h in range(1, 3)
        if x + 3 * w <= 10 and y + 3 * h <= 7
    ]
    assert vj.enumerate_lbp((7, 10)).tolist() == want


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 256]))
def test_codes_match_naive_and_skimage(seed, levels):
    rng = np.random.default_rng(seed)
    gray = rng.integers(0, levels, (16, 18), dtype=np.uint8)  # two levels: many equal cells
    every = vj.enumerate_lbp((9, 12))
    blocks = every[rng.integers(0, len(every), 10)]
    at = np.stack([rng.integers(0, 7, 3), rng.integers(0, 8, 3)], axis=1)
    codes = vj.lbp_codes(gray, blocks, at)
    assert codes.dtype == np.uint8
    theirs = vj.integral_image(gray)[1:, 1:].astype(np.float32)
    for i, (x, y) in enumerate(at.tolist()):
        for f, (bx, by, w, h) in enumerate(blocks.tolist()):
            assert codes[i, f] == naive.lbp_code(gray, (x + bx, y + by, w, h))
            assert codes[i, f] == multiblock_lbp(theirs, y + by, x + bx, w, h)


@pytest.mark.parametrize("bit", range(8))
def test_bits_go_clockwise_from_the_top_left(bit):
    place = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)][bit]
    gray = np.zeros((3, 3), np.uint8)
    gray[1, 1], gray[place] = 5, 5
    assert vj.lbp_codes(gray, [[0, 0, 1, 1]]).tolist() == [128 >> bit]


@pytest.mark.parametrize(
    ("blocks", "at", "says"),
    [
        ([[0, 0, 3, 3]], (0, 0), r"outside the image of 8x8"),
        ([[0, 0, 1, 1]], (6, 0), r"`at` = \(6, 0\)"),
        ([[0, 0, 2**61, 1]], (0, 0), r"outside the image"),
        ([[0, 0, 1]], (0, 0), r"shape \(F, 4\)"),
        ([[0.0, 0, 1, 1]], (0, 0), r"must be integers"),
    ],
)
def test_refuses(blocks, at, says):
    with pytest.raises(ParameterError, match=says):
        vj.lbp_codes(np.zeros((8, 8), np.uint8), blocks, at)
