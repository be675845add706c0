import cv2
import naive
import numpy as np
import pytest
import skimage.feature
from hypothesis import given, settings
from hypothesis import strategies as st

import vj
from vj.errors import ImageError, ParameterError
from vj.features.matching import METHODS


@settings(max_examples=30)
@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(0, 20), st.integers(0, 20),
    st.sampled_from([2, 256]), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_matches_naive(h, w, rows, cols, levels, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, levels, (h + rows, w + cols), dtype=np.uint8)
    template = rng.integers(0, levels, (h, w), dtype=np.uint8)
    for method in METHODS:
        want = naive.match_template(image, template, method)
        got = vj.match_template(image, template, method)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, want, rtol=2e-7, atol=2e-7, err_msg=method)


@pytest.mark.parametrize("shape", [(3, 3), (8, 16), (16, 16), (17, 40), (90, 61)])
def test_close_to_opencv_and_scikit_image(shape, astronaut):
    # Texture all over: on smooth windows the float32 sums of OpenCV err by a few percent.
    rng = np.random.default_rng(0)
    gray = cv2.cvtColor(astronaut, cv2.COLOR_RGB2GRAY)[100:300, 100:330] // 2
    image = gray + rng.integers(0, 128, gray.shape, dtype=np.uint8)
    template = np.ascontiguousarray(image[50 : 50 + shape[0], 60 : 60 + shape[1]])
    for number, method in enumerate(METHODS):
        got, theirs = (
            vj.match_template(image, template, method),
            cv2.matchTemplate(image, template, number),
        )
        scale = 1 if method.endswith("normed") else abs(theirs).max()
        np.testing.assert_allclose(got, theirs, rtol=0, atol=1e-5 * scale, err_msg=method)
        if method not in ("ccorr", "ccoeff"):  # they may like a brighter window better
            best = np.argmin(got) if "sqdiff" in method else np.argmax(got)
            assert np.unravel_index(best, got.shape) == (50, 60)
    np.testing.assert_allclose(
        vj.match_template(image, template),
        skimage.feature.match_template(image, template),
        atol=1e-6,
    )


def test_large_templates_are_exact():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (300, 420), dtype=np.uint8)
    template = rng.integers(0, 256, (120, 200), dtype=np.uint8)
    got = vj.match_template(image, template, "ccorr")
    for y, x in rng.integers(0, 180, (20, 2)):
        window = image[y : y + 120, x : x + 200].astype(np.int64)
        assert got[y, x] == np.float32((window * template).sum())


def test_flat_regions_score_nothing():
    image = np.zeros((12, 12), np.uint8)
    image[4:7, 4:7] = [[10, 90, 10], [90, 10, 90], [10, 90, 10]]
    template = image[4:7, 4:7].copy()
    for method in ("ccoeff_normed", "ccorr_normed"):
        scores = vj.match_template(image, template, method)
        assert scores[4, 4] == 1
        assert scores[0, 0] == 0
        assert np.isfinite(scores).all()
    assert not vj.match_template(image, np.full((3, 3), 7, np.uint8)).any()
    distance = vj.match_template(image, template, "sqdiff_normed")
    assert distance[4, 4] == 0
    assert distance[0, 0] == 1


def test_colour_is_turned_to_gray(astronaut):
    template = astronaut[100:140, 200:230]
    scores = vj.match_template(astronaut, template)
    assert scores.shape == (473, 483)
    assert np.unravel_index(scores.argmax(), scores.shape) == (100, 200)
    assert scores.max() == 1


@pytest.mark.parametrize(
    ("image", "template", "method", "error", "says"),
    [
        ((4, 4), (5, 4), "ccoeff", ParameterError, "`template` of 4x5 px is larger"),
        ((4, 4), (4, 5), "ccoeff", ParameterError, "`template` of 5x4 px is larger"),
        ((4, 4), (2, 2), "TM_CCOEFF", ParameterError, "`method` must be one of sqdiff"),
        ((4, 4), (0, 2), "ccoeff", ImageError, "`template` has no pixels"),
    ],
)
def test_refuses(image, template, method, error, says):
    with pytest.raises(error, match=says):
        vj.match_template(np.zeros(image, np.uint8), np.zeros(template, np.uint8), method)
