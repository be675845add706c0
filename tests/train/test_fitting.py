"""Fitting of boxes and confidences on pictures whose answer is known."""

import numpy as np
import pytest
from train.test_trainer import clutter, target, train

from vj.datasets.annotations import Picture
from vj.detect.scoring import Scoring
from vj.errors import TrainingError
from vj.evaluate.evaluation import evaluate
from vj.io.images import write_image
from vj.train.fitting import ScoredDetector, bayes, fit_scoring


@pytest.fixture(scope="module")
def cascade():
    return train(n_stages=6, hit_rate=0.995, n_positives=500, n_negatives=500).cascade_


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Targets of 28 pixels, drawn as boxes that are a quarter narrower and end higher."""
    folder, rng, out = tmp_path_factory.mktemp("p"), np.random.default_rng(3), []
    for k in range(40):
        scene = clutter(rng)
        x, y = rng.integers(5, 90), rng.integers(5, 70)
        scene[y : y + 28, x : x + 28] = target(rng)
        write_image(folder / f"{k}.png", scene)
        box = np.array([[x + 3.5, y, x + 24.5, y + 24]], float)
        out.append(Picture(f"{k}.png", folder / f"{k}.png", box, source=str(k % 2)))
    return out


def test_the_drawn_box_is_recovered(cascade, pictures):
    scoring = fit_scoring(cascade, pictures)
    dx, dy, width, height = scoring.box
    assert abs(dx) < 0.05
    assert dy == pytest.approx(-2 / 28, abs=0.05)
    assert width == pytest.approx(0.75, abs=0.1)
    assert height == pytest.approx(24 / 28, abs=0.1)
    plain = evaluate(ScoredDetector(cascade, Scoring()), pictures, iou=0.6)
    fitted = evaluate(ScoredDetector(cascade, scoring), pictures, iou=0.6)
    assert fitted.ap > plain.ap
    slope, intercept = scoring.calibration
    assert slope > 0
    assert scoring.confidence(np.array([scoring.least])) == pytest.approx(0.5, abs=0.01)
    assert np.isfinite(intercept)


def test_bayes_by_hand():
    rng = np.random.default_rng(0)
    hits, alarms = rng.normal(2, 0.7, 40_000), rng.normal(0.5, 0.7, 20_000)
    verdict = np.concatenate([np.ones(40_000, np.int8), np.zeros(20_000, np.int8)])
    slope, intercept = bayes(verdict, np.exp(np.concatenate([hits, alarms])))
    assert slope == pytest.approx(1.5 / 0.49, rel=0.05)
    assert intercept == pytest.approx(np.log(2) - slope * 1.25, rel=0.05)


def test_refuses_what_cannot_be_fitted(cascade, pictures):
    with pytest.raises(TrainingError, match="objects of the pictures are found; 20 are needed"):
        fit_scoring(cascade, pictures[:2])
    with pytest.raises(TrainingError, match="0 false alarms are too few"):
        bayes(np.ones(9, np.int8), np.arange(1.0, 10))
    with pytest.raises(TrainingError, match="score as high as hits"):
        bayes(np.array([1, 1, 0, 0], np.int8), np.array([1.0, 2, 10, 12]))
