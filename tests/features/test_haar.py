import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.feature import haar_like_feature, haar_like_feature_coord

import vj
from vj.errors import ParameterError
from vj.features.haar import FAMILIES, HaarFeatures

SKIMAGE = {"x2": "type-2-x", "y2": "type-2-y", "x3": "type-3-x", "y3": "type-3-y", "x2y2": "type-4"}


def noise(rows, cols, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (rows, cols), dtype=np.uint8)


@pytest.mark.parametrize(
    ("mode", "count"), [("BASIC", 162_336), ("CORE", 210_400), ("ALL", 261_600)]
)
def test_counts_of_opencv_traincascade(mode, count):
    features = vj.enumerate_haar((24, 24), mode)
    assert len(features) == count
    assert features.rects.shape == (count, 3, 4)
    assert features.rects.dtype == np.int32
    assert features.weights.shape == (count, 3)
    assert features.weights.dtype == np.float32
    assert features.tilted.shape == (count,)
    assert features.tilted.dtype == np.bool_


def test_counts_of_other_windows():
    assert len(vj.enumerate_haar((20, 20), "ALL")) == 125_199
    assert len(vj.enumerate_haar((32, 32), "CORE")) == 664_057


@pytest.mark.parametrize("mode", ["BASIC", "CORE", "ALL"])
@pytest.mark.parametrize("window", [(7, 9), (9, 6), (1, 2), (1, 1)])
def test_enumeration_matches_naive_in_order(mode, window):
    features = vj.enumerate_haar(window, mode)
    want = list(naive.enumerate_haar(*window, mode))
    assert len(features) == len(want)
    for i, (whole, dark, weight, tilted) in enumerate(want):
        n = 1 + len(dark)
        assert features.rects[i].tolist() == [list(b) for b in (whole, *dark)] + [[0] * 4] * (3 - n)
        assert features.weights[i].tolist() == [-1, *[weight] * (n - 1), *[0] * (3 - n)]
        assert features.tilted[i] == tilted


@pytest.mark.parametrize("family", SKIMAGE)
def test_responses_equal_those_of_skimage(family):
    gray = noise(12, 14)
    features = vj.enumerate_haar((12, 14), families=[family])
    coords, _ = haar_like_feature_coord(14, 12, SKIMAGE[family])
    theirs = haar_like_feature(
        vj.integral_image(gray)[1:, 1:].astype(np.int64), 0, 0, 14, 12, SKIMAGE[family]
    )
    # Theirs is light minus dark without weights, and the order and the dark cells differ: line up
    # the features by the box that they fill.
    boxes = [
        np.concatenate([np.array(cells).min((0, 1)), np.array(cells).max((0, 1))])
        for cells in coords
    ]
    x, y, w, h = features.rects[:, 0].T
    mine = {tuple(b): i for i, b in enumerate(np.stack([y, x, y + h - 1, x + w - 1], 1).tolist())}
    order = [mine[tuple(box.tolist())] for box in boxes]
    assert sorted(order) == list(range(len(features)))
    sums = vj.haar_features(gray, features)[order]
    if family in ("x3", "y3"):  # their middle cell weighs 1, ours 2 after the whole block's -1
        middle = vj.rect_sum(vj.integral_image(gray), features.rects[:, 1])[order]
        sums = sums - middle
    np.testing.assert_array_equal(np.abs(sums), np.abs(theirs))


@given(st.integers(0, 2**32 - 1))
def test_responses_match_naive(seed):
    rng = np.random.default_rng(seed)
    gray = noise(15, 17, seed)
    every = vj.enumerate_haar((9, 10), "ALL")
    features = every[rng.integers(0, len(every), 12)]
    features = HaarFeatures(
        features.rects, features.weights * np.float32(rng.uniform(-2, 2)), features.tilted
    )
    at = np.stack([rng.integers(0, 17 - 10 + 1, 4), rng.integers(0, 15 - 9 + 1, 4)], axis=1)
    plain = vj.haar_features(gray, features, at)
    means = vj.haar_features(gray, features, at, convention="mean")
    normed = vj.haar_features(gray, features, at, window=(9, 10))
    for i, (x, y) in enumerate(at):
        window = gray[y : y + 9, x : x + 10]
        for f in range(len(features)):
            arrays = features.rects[f], features.weights[f], features.tilted[f]
            response = naive.haar_response(window, *arrays)
            assert plain[i, f] == response
            assert normed[i, f] == np.float32(response * naive.window_norm(window))
            sign = np.sign(features.weights[f, 1])
            contrast = sign * naive.haar_contrast(window, *arrays)
            assert means[i, f] == pytest.approx(contrast, abs=1e-4)


def test_flat_image_has_no_response():
    flat = np.full((24, 24), 77, np.uint8)
    features = vj.enumerate_haar((24, 24), "ALL")[::37]
    for options in ({}, {"convention": "mean"}, {"window": (24, 24)}):
        assert not vj.haar_features(flat, features, **options).any(), options


def test_mean_is_dark_minus_light():
    edge = np.uint8([[10, 10, 10, 90, 90, 90]] * 2)
    left_right = HaarFeatures(
        np.int32([[[0, 0, 6, 2], [3, 0, 3, 2], [0, 0, 0, 0]]]),
        np.float32([[-1, 2, 0]]),
        np.array([False]),
    )
    assert vj.haar_features(edge, left_right, convention="mean").tolist() == [80]
    assert vj.haar_features(255 - edge, left_right, convention="mean").tolist() == [-80]


def test_one_place_gives_a_row_and_several_give_a_matrix():
    gray, features = noise(30, 30), vj.enumerate_haar((4, 4))
    assert vj.haar_features(gray, features, (3, 5)).shape == (len(features),)
    assert vj.haar_features(gray, features, [(3, 5)]).shape == (1, len(features))
    assert vj.haar_features(gray, features, np.zeros((0, 2), int)).shape == (0, len(features))
    assert vj.haar_features(gray, features[:0], (3, 5)).shape == (0,)


def one(rects, weights, tilted=False):
    return HaarFeatures(np.int32([rects]), np.float32([weights]), np.array([tilted]))


EDGE = one([[0, 0, 4, 4], [2, 0, 2, 4], [0, 0, 0, 0]], [-1, 2, 0])


@pytest.mark.parametrize(
    ("features", "options", "says"),
    [
        (EDGE, {"at": (5, 4)}, r"`at` = \(5, 4\) puts a box outside the image of 8x8 px"),
        (EDGE, {"at": (-1, 0)}, r"`at` = \(-1, 0\)"),
        (EDGE, {"at": [(0, 0), (0, 5)]}, r"`at` = \(0, 5\)"),
        (EDGE, {"at": (2**62, 0)}, r"outside the image"),
        (EDGE, {"at": (0.5, 0)}, r"must be integers x, y"),
        (EDGE, {"at": (1, 2, 3)}, r"shape \(2,\) or \(n, 2\)"),
        (EDGE, {"convention": "median"}, r"'opencv' or 'mean', got 'median'"),
        (EDGE, {"convention": "mean", "window": (4, 4)}, r"`window` normalises"),
        (EDGE, {"window": (2, 4)}, r"at least 3"),
        (EDGE, {"window": (9, 4)}, r"outside the image"),
        (one([[1, 0, 2, 2]] * 3, [1, 1, 1], tilted=True), {}, r"outside the image"),
        (one([[0, 0, -1, 1]] * 3, [1, 1, 1]), {}, r"negative width"),
        (one([[0, 0, 2, 2]] * 3, [-1, 2, 0]), {"convention": "mean"}, r"first box that contains"),
        (
            one([[0, 0, 2, 4], [2, 0, 1, 1], [0] * 4], [-1, 2, 0]),
            {"convention": "mean"},
            r"first box that contains",
        ),
        (HaarFeatures(EDGE.rects, EDGE.weights[:, :2], EDGE.tilted), {}, r"weights \(F, 3\)"),
    ],
)
def test_refuses(features, options, says):
    with pytest.raises(ParameterError, match=says):
        vj.haar_features(noise(8, 8), features, **options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mode": "basic"}, r"`mode` must be one of BASIC, CORE, ALL"),
        ({"families": ["x2", "z9"]}, r"`families` must be among x2, .*'z9'"),
        ({"families": []}, r"`families`"),
        ({"window": (0, 24)}, r"`window` must be \(rows, cols\)"),
        ({"window": 24}, r"`window`"),
        ({"window": (24.0, 24.0)}, r"`window`"),
    ],
)
def test_enumeration_refuses(options, says):
    with pytest.raises(ParameterError, match=says):
        vj.enumerate_haar(**options)


@pytest.mark.parametrize("family", FAMILIES)
def test_drawing_covers_exactly_the_pixels_that_are_summed(family):
    gray = np.full((30, 34), 128, np.uint8)
    features = vj.enumerate_haar((24, 24), families=[family])
    feature = features[len(features) // 3]
    x, y = 4, 3
    picture = vj.draw_feature(gray, feature, at=(x, y), opacity=1)
    shade = np.where((picture == picture[..., :1]).all(axis=2), picture[..., 0], 128)
    for value, sign in ((0, 1), (255, -1)):
        region = (shade == value).astype(np.uint8)
        # Measured on the mask of one of its regions the feature sees that region alone, and all of
        # it.
        weight = feature.weights[0, 1] - 1 if sign > 0 else -1
        assert vj.haar_features(region, feature, at=(x, y)) == weight * int(region.sum())
        assert vj.haar_features(region, feature, at=(x, y), convention="mean") == sign
    assert (gray == 128).all()


def test_drawing_scales_with_the_window(astronaut):
    feature = vj.enumerate_haar((24, 24), families=["x2"])[40]
    x, y, w, h = feature.rects[0, 0]
    picture = vj.draw_feature(astronaut, feature, at=(200, 100), scale=2.5, opacity=1)
    changed = (picture != astronaut).any(axis=2)
    ys, xs = np.nonzero(changed)
    assert abs(xs.min() - (200 + 2.5 * x)) <= 2
    assert abs(xs.max() - (200 + 2.5 * (x + w))) <= 2
    assert abs(ys.min() - (100 + 2.5 * y)) <= 2
    assert abs(ys.max() - (100 + 2.5 * (y + h))) <= 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"scale": 0}, "`scale`"),
        ({"scale": float("nan")}, "`scale`"),
        ({"at": (1,)}, "`at`"),
        ({"at": (float("inf"), 0)}, "`at`"),
        ({"opacity": 2}, "`opacity`"),
    ],
)
def test_drawing_refuses(options, says):
    with pytest.raises(ParameterError, match=says):
        vj.draw_feature(noise(8, 8), EDGE, **options)
