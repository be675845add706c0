from dataclasses import replace

import cv2
import naive
import numpy as np
import pytest
from cascades import any_cascade, random_cascade
from hypothesis import given, settings
from hypothesis import strategies as st

import vj
from vj.detect import window
from vj.detect.explain import explain, heatmap_picture, reject_depth_map
from vj.errors import ImageError, ParameterError


def noise(rows, cols, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (rows, cols), dtype=np.uint8)


@given(any_cascade(), st.integers(0, 2**32), st.sampled_from([1, 2]))
@settings(max_examples=60)
def test_depth_of_every_window_matches_naive(cascade, seed, step):
    rows, cols = cascade.window
    level = noise(rows + 5, cols + 4, seed)
    level[:, : cols // 2] = level[0, 0]  # some windows without contrast
    depth, _ = window.evaluate(cascade, level, step, to_the_end=False)
    assert depth.shape == (5 // step + 1, 4 // step + 1)
    for y, x in np.ndindex(depth.shape):
        pixels = level[step * y : step * y + rows, step * x : step * x + cols]
        assert depth[y, x] == naive.stages_passed(cascade, pixels), (y, x)


@given(any_cascade(), st.integers(0, 2**32))
@settings(max_examples=60)
def test_stages_of_one_window_match_naive(cascade, seed):
    pixels = noise(*cascade.window, seed)
    rows, cols = cascade.window
    told = explain(cascade, pixels, (0, 0, cols, rows))
    sums = naive.stage_sums(cascade, pixels)
    assert told.rect == (0, 0, cols, rows)
    assert told.scale == 1
    np.testing.assert_array_equal(told.pixels, pixels)
    assert told.has_contrast == (sums is not None)
    assert told.accepted == (naive.stages_passed(cascade, pixels) == cascade.n_stages)
    if sums is None:
        assert (told.stages, told.votes, told.rejected_by) == ((), (), None)
        assert "not looked at" in told.verdict
        return
    np.testing.assert_array_equal([s.sum for s in told.stages], sums)
    assert [s.limit for s in told.stages] == cascade.stage_limit.tolist()
    assert [s.passed for s in told.stages] == [not s.margin < 0 for s in told.stages]
    failed = [s.stage for s in told.stages if not s.passed]
    assert told.rejected_by == (failed[0] if failed else None)
    decisive = failed[0] if failed else cascade.n_stages - 1
    norm = naive.window_norm(pixels) if cascade.feature_type == "HAAR" else np.float32(1)
    for vote in told.votes:
        assert vote.stage == decisive
        tree = int(cascade.stage_first[decisive]) + vote.tree
        leaf = cascade.leaf[naive.tree_leaf(cascade, tree, pixels, norm)]
        np.testing.assert_equal(vote.leaf, float(leaf))
        first, stop = cascade.tree_first[tree : tree + 2]
        assert vote.features[0] == cascade.node_feature[first]
        assert 1 <= len(vote.features) == len(vote.values) <= stop - first
        if cascade.feature_type == "LBP":
            assert vote.values[0] == naive.lbp_code(pixels, cascade.rects[vote.features[0], 0])
    order = [vote.contribution for vote in told.votes]
    assert order == sorted(order, reverse=told.accepted)


@pytest.mark.parametrize(
    "name",
    [
        "haarcascade_frontalface_alt2",  # trees
        "haarcascade_eye_tree_eyeglasses",  # deeper trees, tilted
        "haarcascade_upperbody",
        "lbpcascade_frontalface",
    ],
)
def test_windows_that_opencv_accepts_have_its_rectangle_and_weight(name, tmp_path, astronaut):
    gray = cv2.cvtColor(astronaut, cv2.COLOR_RGB2GRAY)[:400]
    cascade = vj.load_cascade(name)
    cascade.save(tmp_path / "copy.xml")
    cv2.setNumThreads(1)
    detector = cv2.CascadeClassifier(str(tmp_path / "copy.xml"))
    rects, _, weights = detector.detectMultiScale3(gray, 1.2, 0, outputRejectLevels=True)
    assert len(rects) > 0
    for (x, y, w, h), weight in zip(rects[:40].tolist(), weights.tolist(), strict=False):
        told = explain(cascade, gray, (x, y, x + w, y + h), scale_factor=1.2)
        assert told.rect == (x, y, w, h)
        assert told.accepted
        assert told.stages[-1].sum == weight


def test_a_point_finds_the_window_that_comes_furthest(astronaut):
    cascade = vj.load_cascade("haarcascade_frontalface_alt2")
    told = explain(cascade, astronaut, (225, 105))
    assert told.accepted
    assert told.verdict.startswith("accepted: it passes all 20 stages")
    for point in ((0, 0), (511, 511), (225.5, 3), (400, 300)):
        told = explain(cascade, astronaut, point)
        (x, y, w, h), slack = told.rect, told.scale  # the level may be a pixel short of the image
        assert x - slack <= point[0] <= x + w + slack
        assert y - slack <= point[1] <= y + h + slack
    wall = explain(cascade, astronaut, (400, 300))
    assert not wall.accepted
    assert f"rejected by stage {wall.rejected_by} of 20" in str(wall)
    assert str(wall).count("fails") >= 1


def test_a_box_leaving_the_image_is_moved_into_it():
    cascade = random_cascade(np.random.default_rng(0), window=(9, 11))
    told = explain(cascade, noise(30, 40), (-500, 25, -489, 34))
    assert told.rect == (0, 21, 11, 9)
    assert told.place == (0, 21)


def test_a_flat_window_is_not_looked_at():
    told = explain(vj.load_cascade("haarcascade_eye"), np.full((40, 40), 99, np.uint8), (5, 5))
    assert not told.accepted
    assert told.contrast == 0
    assert "its contrast is 0.0" in str(told)
    assert told.picture().shape[2] == 3


def test_leaves_that_are_not_a_number_pass_and_are_named_first():
    made = random_cascade(np.random.default_rng(2), "LBP", n_stages=1, nodes=(1, 1))
    leaf = made.leaf.copy()
    leaf[2:4] = np.nan
    cascade = replace(made, leaf=leaf, stage_threshold=[1e9])
    told = explain(cascade, noise(*cascade.window), (0, 0, 11, 9))
    assert told.accepted
    assert told.votes[0].tree == 1
    assert told.votes[0].contribution == np.inf
    assert reject_depth_map(cascade, noise(20, 20), scale=1).max() == 1


def test_depth_map_of_one_scale():
    cascade = random_cascade(np.random.default_rng(5), window=(9, 11), n_stages=4)
    image = noise(33, 41)
    depth = reject_depth_map(cascade, image, scale=2)
    assert depth.shape == image.shape
    assert depth.dtype == np.int32
    level = window.make_level(image, np.float32(2))
    assert level.shape == (16, 20)
    for y, x in np.ndindex(8, 10):  # step 1 at this scale; (2 * x + 11, 2 * y + 9) is the centre
        wanted = naive.stages_passed(cascade, level[y : y + 9, x : x + 11])
        assert depth[2 * y + 9, 2 * x + 11] == wanted
    assert (depth[:8] == -1).all()
    assert (depth[:, :10] == -1).all()
    np.testing.assert_array_equal(
        reject_depth_map(cascade, image, scale_factor=1.5).clip(0),
        np.max(
            [reject_depth_map(cascade, image, scale=f).clip(0) for f in (1, 1.5, 2.25, 3.375)],
            axis=0,
        ),
    )


def test_depth_map_of_a_large_image_is_made_band_by_band(monkeypatch):
    cascade = random_cascade(np.random.default_rng(5), window=(9, 11), n_stages=4)
    for step in (1, 2):
        level = noise(33, 41)
        at_once = window.depths(cascade, level, step)
        monkeypatch.setattr(window, "_BAND", 3)
        np.testing.assert_array_equal(window.depths(cascade, level, step), at_once)
        monkeypatch.undo()


def test_depth_map_is_deepest_at_the_face(astronaut):
    cascade = vj.load_cascade("frontalface")
    depth = reject_depth_map(cascade, astronaut, scale_factor=1.2)
    y, x = np.median(np.argwhere(depth == cascade.n_stages), axis=0)
    assert 190 < x < 260
    assert 80 < y < 160
    picture = heatmap_picture(astronaut, depth, cascade.n_stages)
    assert picture.shape == (512, 512, 3)
    assert picture.dtype == np.uint8
    gray = vj.as_gray(astronaut)
    outside = depth < 0
    np.testing.assert_array_equal(picture[outside], np.stack([gray[outside]] * 3, axis=1))
    hot = picture[depth == cascade.n_stages].mean(axis=0)
    cold = picture[(depth >= 0) & (depth < 3)].mean(axis=0)
    assert hot[0] > cold[0] + 80  # yellow against violet


@pytest.mark.parametrize("name", ["haarcascade_frontalface_alt2", "frontalface"])
def test_picture_shows_the_features(name, astronaut):
    told = explain(vj.load_cascade(name), astronaut, (225, 105))
    picture = told.picture(panel=96)
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    assert picture.shape[1] == 400  # four panels and their margins
    first, second = picture[20:114, 2:98], picture[20:114, 102:198]
    assert len(np.unique(first.reshape(-1, 3) @ [1, 256, 65536])) > 50
    drawn = (second == (255, 200, 0)).all(axis=2)
    assert drawn.sum() > 20
    assert not (first == (255, 200, 0)).all(axis=2).any()
    taller = told.picture(astronaut, panel=96)
    assert taller.shape[0] > picture.shape[0] + 380  # the square photograph, 392 pixels wide
    assert taller.shape[1] == picture.shape[1]


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda c: explain(c, noise(8, 30), (0, 0)), ImageError, "smaller than the window of 11x9"),
        (lambda c: explain(c, noise(30, 30), (1, 2, 3)), ParameterError, "`box` must be x1, y1"),
        (lambda c: explain(c, noise(30, 30), (1, 2, 3, np.nan)), ParameterError, "`box` must"),
        (lambda c: explain(c, noise(30, 30), (9, 9, 5, 20)), ParameterError, "x1 < x2"),
        (lambda c: explain(c, noise(30, 30), (30, 3)), ParameterError, "a point in the image"),
        (lambda c: explain(c, noise(30, 30), "face"), ParameterError, "`box` must be x1, y1"),
        (
            lambda c: explain(c, noise(30, 30), (0, 0), scale_factor=1),
            ParameterError,
            "`scale_factor` must be a finite number above 1, got 1",
        ),
        (
            lambda c: explain(c, noise(30, 30), (0, 0), scale_factor=1 + 1e-9),
            ParameterError,
            "makes more than .* pyramid levels",
        ),
        (lambda c: reject_depth_map(c, noise(8, 30)), ImageError, "smaller than the window"),
        (
            lambda c: reject_depth_map(c, noise(30, 30), scale=5),
            ParameterError,
            "`scale` must be 1 to 2.727 for this image, got 5",
        ),
        (
            lambda c: heatmap_picture(noise(30, 30), np.zeros((3, 3), np.int32), 5),
            ParameterError,
            r"`depth` must have the shape of the image \(30, 30\), got \(3, 3\)",
        ),
    ],
)
def test_refuses(call, error, says):
    with pytest.raises(error, match=says):
        call(random_cascade(np.random.default_rng(0), window=(9, 11)))
