"""Judging a detector, calibrating its scores, and the card that tells both."""

import dataclasses
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import detector_bundle as bundle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

import nets
import vj
from nets import cards
from nets.cards import logit
from nets.detectors.facenet import FaceNetDetector, model_of
from nets.detectors.training import card as card_module
from nets.detectors.training.calibrate import calibrate, default_threshold
from nets.detectors.training.card import TERMS, write_card
from nets.detectors.training.data import Data, read_data, read_pictures, read_wild
from nets.detectors.training.judge import Judged, judge
from nets.detectors.training.recipe import RECIPES, Recipe, train
from nets.models.face import FaceNet
from vj.detect.registry import list_detectors, open_detector
from vj.detections import Detections
from vj.errors import NetError, TrainingError
from vj.evaluate import Curve
from vj.evaluate import match as vj_match

QUICK = Recipe({"stem": (8, 8), "width": 8}, size=64, batch_size=2, batches=2, epochs=1, mining=())


def boxes(rng, n):
    corner = rng.integers(0, 60, (n, 2))
    return np.concatenate([corner, corner + rng.integers(5, 40, (n, 2))], 1).astype(np.float32)


class Script:
    """Finds what it was told to find, picture after picture."""

    def __init__(self, found):
        self.found = iter(found)

    def detect(self, image):
        return next(self.found)


class Nothing:
    def pixels(self, entry):
        return np.zeros((8, 8, 4), np.uint8)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 12), st.integers(0, 5), st.integers(0, 3))
def test_figures_are_those_of_the_evaluation(seed, n, faces, skipped):
    rng = np.random.default_rng(seed)
    pictures, found, verdicts, scores = [], [], [], []
    for _ in range(2):
        truth = boxes(rng, faces)
        near = truth[rng.integers(0, faces, n)] + rng.normal(0, 3, (n, 4)) if faces else None
        got = np.where(rng.random((n, 1)) < 0.6, near, boxes(rng, n)) if faces else boxes(rng, n)
        got[:, 2:] = np.maximum(got[:, 2:], got[:, :2] + 1)
        entry = SimpleNamespace(entry=None, boxes=truth, ignore=boxes(rng, skipped))
        one = Detections(got.astype(np.float32), rng.permutation(n).astype(np.float32)).sorted()
        pictures.append(entry)
        found.append(one)
        theirs = vj_match(one.xyxy, one.score, truth, entry.ignore).verdict
        verdicts.append(theirs)
        scores.append(one.score)
    ours = judge(Script(found), pictures, Nothing())
    theirs = Curve.of(verdicts, scores, 2 * faces)
    assert ours.ap == pytest.approx(theirs.ap, abs=1e-12)
    for alarms in (0, 1, 5):
        assert ours.recall_at(alarms) == pytest.approx(theirs.recall_at(alarms))


# --------------------------------------------------------------------------- calibration


def drawn(slope, intercept, n=20_000, seed=0):
    """Scores whose detections are faces with the probability that slope and intercept say."""
    rng = np.random.default_rng(seed)
    score = np.sort(rng.uniform(0.02, 0.99, n))[::-1]
    hit = rng.random(n) < 1 / (1 + np.exp(-(slope * logit(score) + intercept)))
    return Judged(hit, score, int(hit.sum()))


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (2.5, 1.0), (0.6, -2.0)])
def test_calibration_finds_what_made_the_scores(slope, intercept):
    found = calibrate(drawn(slope, intercept))
    np.testing.assert_allclose(found, (slope, intercept), atol=0.1)


def test_calibration_is_the_best_there_is():
    judged = drawn(1.7, -0.4, n=200)
    x, hits = logit(judged.score), judged.hit.sum()
    goal = np.where(judged.hit, (hits + 1) / (hits + 2), 1 / (200 - hits + 2))

    def surprise(at):
        odds = at[0] * x + at[1]
        return np.sum(np.logaddexp(0, odds) - goal * odds)

    best = minimize(surprise, (1.0, 0.0), method="BFGS", options={"gtol": 1e-8})
    np.testing.assert_allclose(calibrate(judged), best.x, atol=1e-4)


def test_scores_that_separate_perfectly_stay_finite():
    score = np.concatenate([np.linspace(0.99, 0.9, 50), np.linspace(0.1, 0.02, 50)])
    slope, intercept = calibrate(Judged(score > 0.5, score, 50))
    assert 0 < slope < 100
    assert abs(intercept) < 100


def test_scores_that_say_nothing():
    few = Judged(np.array([True] * 19 + [False] * 90), np.linspace(0.9, 0.1, 109), 19)
    with pytest.raises(TrainingError, match="19 faces and 90 false alarms are too few"):
        calibrate(few)
    swapped = drawn(2.0, 0.0)
    with pytest.raises(TrainingError, match="false alarms score as high as faces"):
        calibrate(swapped._replace(hit=~swapped.hit))


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 20), st.floats(-20, 20), st.lists(st.floats(0, 1, width=32), min_size=2))
def test_confidence_keeps_the_order_of_scores(slope, intercept, scores):
    known = dataclasses.replace(nets.list_models()["yunet-n"], calibration=(slope, intercept))
    confidence = known.confidence(np.sort(np.array(scores, np.float32)))
    assert confidence.dtype == np.float32
    assert (np.diff(confidence) >= 0).all()
    assert ((confidence >= 0) & (confidence <= 1)).all()


def test_a_detector_says_what_its_card_knows():
    nets.nn.init.seed(1)
    net = FaceNet(**QUICK.net).eval()
    net.answer.bias.data[:2] = 0
    net.answer.weight.data *= 20
    image = np.random.default_rng(3).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    detector = FaceNetDetector(model_of(net), score_threshold=0.3)
    plain = detector.detect(image)
    assert len(plain)
    assert np.array_equal(plain.confidence, plain.score)
    known = nets.list_models()["yunet-n"]
    detector.card = dataclasses.replace(known, calibration=(2.0, -1.0))
    found = detector.detect(image)
    assert np.array_equal(found.score, plain.score)
    odds = (plain.score / (1 - plain.score)).astype(float) ** 2 * np.exp(-1)
    np.testing.assert_allclose(found.confidence, odds / (1 + odds), rtol=1e-4)
    for wrong in ((0.0, 1.0), (-1.0, 0.0), (1.0, float("nan")), (1.0,)):
        with pytest.raises(NetError, match="card of 'yunet-n': `calibration` must be a positive"):
            dataclasses.replace(known, calibration=wrong)


def test_the_default_threshold_by_counting():
    """From .6 on 97 of 100 are faces; two of 40 face-free pictures may have a false positive."""
    score = np.linspace(0.999, 0.5, 500).round(3)
    hit = np.ones(500, bool)
    hit[np.arange(40, 400, 33)] = False  # 11 of 400 down to .6
    hit[400:] = False
    judged = Judged(hit, score, 500)
    kept = score[np.flatnonzero(hit.cumsum() / np.arange(1, 501) >= 0.97)[-1]]
    none = np.empty(0, np.float32)
    assert default_threshold(judged, none, 40) == pytest.approx(kept)
    assert 0.55 < kept < 0.61
    assert default_threshold(judged, np.array([0.9, 0.8], np.float32), 40) == pytest.approx(kept)
    raised = default_threshold(judged, np.array([0.7, 0.9, 0.8, 0.1], np.float32), 40)
    assert 0.7 < raised <= 0.701
    assert default_threshold(Judged(~hit[:5], score[:5], 5), none, 40) is None
    assert default_threshold(judged, np.ones(9, np.float32), 40) is None


def test_a_card_names_the_threshold_of_its_weights(trained, tmp_path, monkeypatch):
    weights, parts, folder = trained
    path = write_card(weights, "face-tiny", parts, folder)
    card = cards.read_card(path, weights)
    monkeypatch.setattr("nets.registry.card_of", lambda _: card)
    assert nets.load(weights).score_threshold == 0.77
    path.write_text(json.dumps(json.loads(path.read_text()) | {"score_threshold": 0.612}))
    card = cards.read_card(path, weights)
    assert "score_threshold" not in card.details
    assert nets.load(weights).score_threshold == 0.612
    assert nets.load(weights, score_threshold=0.3).score_threshold == 0.3
    assert open_detector(str(weights), min_score=0.4).score_threshold == 0.4
    for wrong in (0, 1, 1.5):
        with pytest.raises(NetError, match="`score_threshold` must be between 0 and 1, got"):
            dataclasses.replace(card, score_threshold=wrong)


# --------------------------------------------------------------------------- the card


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny net, its data, and its card."""
    folder = tmp_path_factory.mktemp("card")
    bundle.build(folder)
    shutil.copytree(folder / "boxes_more", folder / "boxes_dev")
    first, second = read_data(folder)
    every = Data(*([*getattr(first, n), *getattr(second, n)] for n in Data.__slots__))
    weights = train(QUICK, folder / "run", data=every, workers=0)
    return weights, (every, every), folder


def test_a_card_is_what_the_registry_reads(trained, tmp_path, monkeypatch):
    weights, parts, folder = trained
    path = write_card(weights, "face-cnn", parts, folder)
    assert path == weights.with_suffix(".json")
    shutil.copy(weights, tmp_path / "face-cnn.safetensors")
    shutil.copy(path, tmp_path / "face-cnn.json")
    shutil.copy(cards._FOLDER / "published.json", tmp_path)
    monkeypatch.setattr(cards, "_FOLDER", tmp_path)
    cards._cards.cache_clear()
    try:
        card = nets.list_models()["face-cnn"]
        detector = nets.load("face-cnn")
        assert {"face-cnn", "hybrid"} <= set(list_detectors())
        hybrid = open_detector("hybrid", min_score=0.2, side=64)
        vj.detect(vj.sample("astronaut"), hybrid)
    finally:
        cards._cards.cache_clear()
    assert hybrid.judge.card == detector.card == card
    assert (hybrid.judge.score_threshold, hybrid.side) == (0.2, 64)
    assert card.details["recipe"]["epochs done"] == 1
    assert card.details["recipe"]["batch_size"] == 2
    assert card.details["architecture"]["parameters"] == FaceNet(**QUICK.net).n_parameters
    assert set(card.scores) == {"AP", "recall at 50 false alarms"}
    rows = {row["source"]: row for row in card.details["data"]}
    assert rows["mask853"] == {
        "source": "mask853", "pictures": 12, "faces": 24, "terms": TERMS["mask853"],
    }  # fmt: skip
    assert rows["utk"]["crops"] == 6


def test_a_card_of_scores_that_can_be_calibrated(trained, monkeypatch):
    weights, parts, folder = trained
    monkeypatch.setattr(card_module, "judge", lambda *_: drawn(1.5, -0.5, n=500))
    entries = json.loads(write_card(weights, "face-tiny", parts, folder / "nowhere").read_text())
    np.testing.assert_allclose(entries["calibration"], (1.5, -0.5), atol=0.4)
    assert "not calibrated" not in entries


def test_a_card_of_what_has_seen_the_world_is_judged_by_it(trained, monkeypatch):
    """Calibrated and cut by held-out pictures of boxes_wider, scored on those of `read_wild`."""
    weights, (data, _), folder = trained
    shutil.copytree(folder / "boxes_train", folder / "boxes_wider", dirs_exist_ok=True)
    own = [p for p in read_pictures(folder / "boxes_wider")]
    as_wider = [replace(p, entry=replace(p.entry, source="wider_face")) for p in own[1:4]]
    wild = [p.entry.name for p in read_wild(folder)]
    as_object = replace(data.backgrounds[0], source="caltech101")
    learned = replace(data, pictures=[*data.pictures, *as_wider])
    held = Data([*data.pictures, *as_wider], (), [*data.backgrounds, as_object])
    shown = []

    def judge(detector, pictures, store):
        shown.append([p.entry.name for p in pictures])
        return drawn(1.5, -0.5, n=500)

    monkeypatch.setattr(card_module, "judge", judge)
    entries = json.loads(write_card(weights, "face-tiny", (learned, held), folder).read_text())
    assert shown[0] == [*(p.entry.name for p in as_wider), *wild]
    assert shown[2] == wild
    assert 0 < entries["score_threshold"] < 1
    assert entries["held out"]["pictures"] == 3 + len(wild)
    assert entries["wild"]["AP"] == round(drawn(1.5, -0.5, n=500).ap, 4)
    assert "YuNet" in entries["teacher"]
    plain = json.loads(write_card(weights, "face-tiny", (data, data), folder).read_text())
    assert not {"teacher", "wild", "score_threshold"} & set(plain)


@pytest.mark.parametrize("mixture", [recipe.mixture for recipe in RECIPES.values()])
def test_every_source_of_the_data_has_its_terms(mixture):
    assert {name for name, _ in (*mixture.pictures, *mixture.crops)} <= set(TERMS)
