import cv2
import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vj.kernels.resize import resize_bilinear


def resized(gray, rows, cols):
    out = np.full((rows, cols), 123, np.uint8)
    resize_bilinear(gray, np.empty((4, cols), np.int32), out)
    return out


side = st.integers(1, 200)


@given(side, side, side, side, st.integers(0, 2**32 - 1))
def test_bit_equal_to_opencv(rows, cols, out_rows, out_cols, seed):
    gray = np.random.default_rng(seed).integers(0, 256, (rows, cols), dtype=np.uint8)
    want = cv2.resize(gray, (out_cols, out_rows), interpolation=cv2.INTER_LINEAR_EXACT)
    np.testing.assert_array_equal(resized(gray, out_rows, out_cols), want)


@pytest.mark.parametrize("shape", [(5, 7), (1, 9), (9, 1), (1, 1), (17, 20)])
@pytest.mark.parametrize("target", [(5, 7), (1, 1), (3, 40), (21, 2)])
def test_matches_naive(shape, target):
    gray = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(resized(gray, *target), naive.resize_bilinear(gray, *target))


def test_pyramid_of_a_photograph(astronaut):
    gray = cv2.cvtColor(astronaut, cv2.COLOR_RGB2GRAY)
    for level in range(1, 20):
        rows, cols = (round(side / 1.1**level) for side in gray.shape)
        want = cv2.resize(gray, (cols, rows), interpolation=cv2.INTER_LINEAR_EXACT)
        np.testing.assert_array_equal(resized(gray, rows, cols), want)
