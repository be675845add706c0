"""Windows found for mining: the detector's own, cut pixel-exactly, away from objects."""

import cascades
import naive
import numpy as np
import pytest

from vj.detect import pyramid
from vj.detect.packing import pack
from vj.detect.scanner import Scanner
from vj.train.mining import NegativePool
from vj.train.sources import Scene
from vj.train.windows import SCALE_FACTOR, VIEWS, WindowFinder, _outside, _turn, _view
from vj.train.workers import Workers

WINDOW = (9, 11)


def picture(seed, rows=60, cols=70):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (rows // 3 + 1, cols // 3 + 1)).repeat(3, 0).repeat(3, 1)
    return coarse[:rows, :cols].astype(np.uint8)


def scene(seed, **more):
    return Scene(f"s{seed}", picture(seed).view, **more)


def cascade(seed, kind="HAAR"):
    return cascades.random_cascade(np.random.default_rng(seed), kind, WINDOW, n_stages=2)


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("kind", ["HAAR", "LBP"])
@pytest.mark.parametrize("seed", range(4))
def test_every_window_that_the_detector_accepts_and_no_other(kind, seed):
    model, gray = cascade(seed, kind), picture(seed)
    levels = pyramid.levels(gray.shape, WINDOW, SCALE_FACTOR, None, None)
    wide = [level for k, level in enumerate(levels) if level.window[1] > ([0] + [
        lv.window[1] for lv in levels])[k]]  # fmt: skip
    rects, _ = Scanner(pack(model)).candidates(gray, wide)
    found = WindowFinder(model, WINDOW, kind == "HAAR").find(scene(seed), 0, None, rng())
    assert found.passed == len(found.patches) == len(rects)
    assert found.visited == sum(level.window_rows * level.window_cols for level in wide)
    for patch in found.patches[:: max(len(rects) // 40, 1)]:
        assert naive.stages_passed(model, patch) == 2


def test_random_windows_come_from_all_scales_and_have_contrast():
    found = WindowFinder(None, WINDOW, contrast=True).find(scene(1), 0, 200, rng())
    assert len(found.patches) == 200
    assert (found.patches[:, 1:-1, 1:-1].reshape(200, -1).std(axis=1) > 10).all()
    again = WindowFinder(None, WINDOW, contrast=True).find(scene(1), 0, 200, rng())
    np.testing.assert_array_equal(found.patches, again.patches)
    flat = Scene("flat", np.full((40, 40), 7, np.uint8).view)
    assert not len(WindowFinder(None, WINDOW, contrast=True).find(flat, 0, 50, rng()).patches)
    assert len(WindowFinder(None, WINDOW, contrast=False).find(flat, 0, 50, rng()).patches)


def test_windows_on_objects_are_left_out():
    rects = np.array([[0, 0, 20, 20], [5, 5, 25, 25], [100, 100, 120, 120], [0, 0, 90, 90.0]])
    boxes, ignore = np.array([[0.0, 0, 20, 20]]), np.array([[98.0, 98, 130, 130]])
    assert _outside(rects, boxes, ignore).tolist() == [False, False, False, True]
    everywhere = np.array([[0.0, 0.0, 70.0, 60.0]])
    found = WindowFinder(cascade(0), WINDOW, True).find(scene(0, ignore=everywhere), 0, None, rng())
    assert (len(found.patches), found.passed) == (0, 0)
    assert found.visited > 0


@pytest.mark.parametrize("view", range(VIEWS))
def test_boxes_turn_with_their_picture(view):
    gray = np.zeros((30, 50), np.uint8)
    gray[4:10, 20:35] = 9
    ((x1, y1, x2, y2),) = _turn(np.array([[20.0, 4, 35, 10]]), gray.shape, view).astype(int)
    turned = _view(gray, view)
    assert (turned[y1:y2, x1:x2] == 9).all()
    assert (turned == 9).sum() == (x2 - x1) * (y2 - y1)


def test_problems_are_told_not_raised():
    def broken():
        from vj.errors import ImageError

        raise ImageError("b.png: broken picture")

    finder = WindowFinder(None, WINDOW, True)
    assert finder.find(Scene("b", broken), 0, 5, rng()).problem == "b.png: broken picture"
    small = Scene("t", np.zeros((5, 5), np.uint8).view)
    assert finder.find(small, 0, 5, rng()).problem == "t: 5x5 px is smaller than the window"


def pool(**more):
    return NegativePool([scene(k) for k in range(10)], WINDOW, seed=4, **more)


def test_a_full_scan_finds_everything_once_and_then_scans_no_more():
    model, mine, workers = cascade(2), pool(), Workers()
    seen = mine.refill(model, 1, 10**6, workers)
    assert mine.complete
    finder = WindowFinder(model, WINDOW, True)
    assert len(mine.patches) == sum(finder.find(scene(k), 0, None, rng()).passed for k in range(10))
    assert mine.windows == seen.visited > 0
    assert mine.refill(model, 2, 10**6, workers).visited == 0


def test_the_same_negatives_for_any_threads_and_after_a_restart():
    model, workers = cascade(2), Workers(2)
    one, two = pool(capacity=100), pool(capacity=100)
    for mine, jobs in ((one, Workers()), (two, workers)):
        mine.refill(None, 0, 40, jobs)
        mine.keep(np.arange(len(mine.patches)) % 2 == 0)
    three = pool(capacity=100)
    three.restore(one.state())
    for mine, jobs in ((one, Workers()), (two, workers), (three, Workers())):
        mine.refill(model, 1, 60, jobs)
    for other in (two, three):
        np.testing.assert_array_equal(one.patches, other.patches)
        np.testing.assert_array_equal(one.held, other.held)
    workers.close()
    assert not one.complete


def test_random_windows_are_never_taken_for_all_there_are():
    tiny = NegativePool([Scene("t", picture(0, 12, 14).view)], WINDOW)
    tiny.refill(None, 0, 1000, Workers())
    assert not tiny.complete
    assert 0 < len(tiny.patches) < 1000


def test_held_out_negatives_come_from_scenes_of_their_own():
    mine = pool()
    mine.refill(None, 0, 200, Workers())
    held, train = (set(mine.scene[mine.held == side].tolist()) for side in (True, False))
    assert held
    assert train
    assert not held & train
    few = NegativePool([scene(0)], WINDOW)
    few.refill(None, 0, 50, Workers())
    assert 0 < few.held.sum() < len(few.patches)
