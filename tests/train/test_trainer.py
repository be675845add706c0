"""Whole trainings: what comes out detects, is the same every time, and survives what happens."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from vj.cascade.opencv_xml import read
from vj.detect import pyramid
from vj.detect.detector import CascadeDetector
from vj.errors import ParameterError, SourceError, TrainingError
from vj.io.images import write_image
from vj.train.augment import PLAIN, Augment
from vj.train.trainer import CascadeTrainer

WINDOW = (14, 14)
QUICK = {
    "window": WINDOW,
    "n_positives": 150,
    "n_negatives": 150,
    "n_stages": 3,
    "max_trees": 20,
    "hit_rate": 0.98,
    "augment": Augment(flip=0),
}


def clutter(rng, rows=110, cols=130):
    """Blocks of gray, with discs and crosses lying about that are no targets."""
    coarse = rng.integers(30, 226, (rows // 5 + 1, cols // 5 + 1)).repeat(5, 0).repeat(5, 1)
    scene = (coarse[:rows, :cols] + rng.integers(-8, 9, (rows, cols))).clip(0, 255)
    for k in range(10):
        side = int(rng.integers(16, 40))
        x, y = rng.integers(0, cols - side), rng.integers(0, rows - side)
        decoy = target(rng, side)
        decoy[: side // 2] = 255 - decoy[: side // 2] if k % 2 else decoy[0, 0]
        scene[y : y + side, x : x + side] = decoy
    return scene.astype(np.uint8)


def target(rng, side=28):
    """A dark disc with a bright cross on it: dim or bright, off centre, noisy, half in shade."""
    dx, dy = rng.normal(0, 0.06, 2)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    x, y = x - dx, y - dy
    disc = np.where(np.hypot(x, y) < 0.85, 70.0, rng.uniform(90, 190))
    disc[np.minimum(abs(x), abs(y)) < 0.16] = rng.uniform(120, 230)
    light = rng.uniform(0.5, 1.1) + x * rng.normal(0, 0.25)
    return (disc * light + rng.normal(0, 14, disc.shape)).clip(0, 255).astype(np.uint8)


def task(seed=0):
    rng = np.random.default_rng(seed)
    return [target(rng) for _ in range(80)], [clutter(rng) for _ in range(12)]


def train(tmp_path=None, **more):
    positives, negatives = task()
    return CascadeTrainer(**{**QUICK, **more}).fit(positives, negatives)


def digest(cascade, folder):
    path = Path(folder) / "c.xml"
    cascade.save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def trained():
    return train()


def test_the_cascade_finds_new_objects_and_little_else():
    model = train(n_stages=7, hit_rate=0.995, n_positives=600, n_negatives=600).cascade_
    rng, detector = np.random.default_rng(5), CascadeDetector(model, min_neighbors=3)
    hits = alarms = 0
    for _ in range(12):
        scene = clutter(rng, 120, 160)
        x, y = rng.integers(0, 160 - 36), rng.integers(0, 120 - 36)
        scene[y : y + 36, x : x + 36] = target(rng, 36)
        found = detector.detect(scene)
        near = np.abs(found.xyxy - [x, y, x + 36, y + 36]).max(axis=1) < 12
        hits += near.any()
        alarms += (~near).sum()
    assert hits >= 11
    assert alarms <= 48  # four a picture, of 12,000 windows and ten decoys


def test_the_report_tells_what_happened(trained, tmp_path):
    report = trained.report_
    assert report.reason
    assert len(report.stages) == trained.cascade_.n_stages
    assert 0.9 < report.hit_rate <= 1
    for row in report.stages:
        assert row["hit_rate"] >= 0.98
        assert row["roc"][-1][1] == 1
    mined = [row for row in report.log if row["event"] == "mined"]
    assert mined[1]["rate"] < mined[0]["rate"] == 1
    report.save_json(tmp_path / "log.json")
    assert json.loads((tmp_path / "log.json").read_text())["reason"] == report.reason


@pytest.mark.parametrize(
    "more",
    [
        {"features": "BASIC"},
        {"features": "LBP", "depth": 2},
        {"features": "ALL", "search": "random", "boost": "real"},
        {"multi_exit": True, "boost": "logit"},
        {"features": "CORE", "depth": 4, "boost": "discrete"},
    ],
    ids=["haar", "lbp-depth2", "tilted-random", "multi-exit", "depth4"],
)
def test_same_bytes_for_any_threads(more, tmp_path):
    one, two = train(**more), train(n_jobs=2, **more)
    assert digest(one.cascade_, tmp_path) == digest(two.cascade_, tmp_path)
    assert digest(one.cascade_, tmp_path) != digest(
        train(**{**more, "random_state": 1}).cascade_, tmp_path
    )


def test_stages_of_a_multi_exit_cascade_are_nested():
    stages = train(multi_exit=True).cascade_.stages
    for before, after in pairwise(stages):
        assert len(after.trees) >= 1.5 * len(before.trees) - 1
        for a, b in zip(before.trees, after.trees, strict=False):
            np.testing.assert_array_equal(a.leaf, b.leaf)


@pytest.mark.parametrize("features", ["ALL", "LBP"])
def test_cv2_decides_the_same_on_a_million_windows(features, tmp_path):
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2, "CascadeClassifier"):
        pytest.skip("this cv2 has no CascadeClassifier")
    model = train(features=features, depth=2, n_stages=2).cascade_
    path = str(tmp_path / "c.xml")
    model.save(path)
    theirs = cv2.CascadeClassifier(path)
    assert not theirs.empty()
    ours = CascadeDetector(read(path), min_neighbors=0)
    cv2.setNumThreads(1)
    gray = clutter(np.random.default_rng(9), 800, 1000)
    every = pyramid.levels(gray.shape, WINDOW, 1.1, None, None)
    assert sum(level.window_rows * level.window_cols for level in every) > 10**6
    want = theirs.detectMultiScale(gray, 1.1, 0)
    got = ours.detect(gray).xywh.astype(int)
    assert len(want) > 20
    assert sorted(map(tuple, got.tolist())) == sorted(map(tuple, want.tolist()))


KILLED = """
import os, signal, sys
sys.path.insert(0, {folder!r})
import test_trainer as t
def tell(event):
    if event["event"] == "tree" and event["stage"] == 1 and event["trees"] == 2:
        os.kill(os.getpid(), signal.SIGKILL)
positives, negatives = t.task()
t.CascadeTrainer(**t.QUICK, checkpoint={checkpoint!r}, on_event=tell).fit(positives, negatives)
"""


def test_the_same_bytes_after_kill_9_and_resume(trained, tmp_path):
    code = KILLED.format(folder=str(Path(__file__).parent), checkpoint=str(tmp_path / "ck"))
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    told = []
    resumed = train(checkpoint=tmp_path / "ck", resume=True, on_event=told.append)
    assert {"event": "resume", "stages": 1, "trees": 0} in told
    assert digest(resumed.cascade_, tmp_path) == digest(trained.cascade_, tmp_path)


def test_the_same_bytes_when_resumed_within_a_stage(tmp_path, monkeypatch):
    monkeypatch.setattr("vj.train.loop.PARTIAL_EVERY", 3)
    hard = {"n_stages": 1, "false_alarm": 1e-6, "search": "exact"}

    class Crash(Exception):
        pass

    def crash(event):
        if event["event"] == "tree" and event["trees"] == 5:
            raise Crash

    with pytest.raises(Crash):
        train(checkpoint=tmp_path / "ck", on_event=crash, **hard)
    told = []
    resumed = train(checkpoint=tmp_path / "ck", resume=True, on_event=told.append, **hard)
    assert {"event": "resume", "stages": 0, "trees": 3} in told
    assert digest(resumed.cascade_, tmp_path) == digest(train(**hard).cascade_, tmp_path)


def test_a_finished_stage_is_not_boosted_again(trained, tmp_path):
    class Crash(Exception):
        pass

    def crash(event):
        if event["event"] == "mining" and event["stage"] == 2:
            raise Crash

    with pytest.raises(Crash):
        train(checkpoint=tmp_path, on_event=crash)
    told = []
    resumed = train(checkpoint=tmp_path, resume=True, on_event=told.append)
    trees = [event["stage"] for event in told if event["event"] == "tree"]
    assert trees
    assert min(trees) == 2
    assert digest(resumed.cascade_, tmp_path) == digest(trained.cascade_, tmp_path)


def test_resuming_with_other_settings_shows_the_difference(tmp_path):
    train(checkpoint=tmp_path, n_stages=1)
    with pytest.raises(TrainingError, match=r"max_trees: 20 then, 30 now"):
        train(checkpoint=tmp_path, resume=True, n_stages=1, max_trees=30)
    positives, negatives = task(seed=3)
    with pytest.raises(TrainingError, match=r"objects: '80 \(\w+\)' then, '80 \(\w+\)' now"):
        CascadeTrainer(**{**QUICK, "n_stages": 1}, checkpoint=tmp_path, resume=True).fit(
            positives, negatives
        )
    with pytest.raises(TrainingError, match="nothing to resume: start without resuming"):
        train(checkpoint=tmp_path / "other", resume=True)
    (tmp_path / "state.npz").write_bytes(b"PK")
    with pytest.raises(TrainingError, match=r"state\.npz: damaged checkpoint"):
        train(checkpoint=tmp_path, resume=True, n_stages=1)


def test_a_full_disk_at_a_checkpoint_costs_the_checkpoint_only(tmp_path, full_disk):
    told = []
    model = train(checkpoint=tmp_path / "ck", n_stages=1, on_event=told.append).cascade_
    assert model.n_stages == 1
    warnings = [event["text"] for event in told if event["event"] == "warning"]
    assert any("checkpoint not saved, training goes on" in text for text in warnings)
    assert not (tmp_path / "ck" / "state.npz").exists()


@pytest.mark.parametrize("kind", ["stage", "tree"])
def test_the_time_limit_leaves_the_best_cascade_so_far(kind, monkeypatch):
    seen, now = [], [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def tell(event):
        if event["event"] == kind and event["stage"] == 1:
            now[0] = 100.0

    quick = CascadeTrainer(
        **{**QUICK, "n_stages": 9}, time_limit=60, on_event=tell, on_cascade=seen.append
    ).fit(*task())
    assert quick.report_.reason == "the time is up"
    assert "resume" in quick.report_.advice
    assert len(seen) == quick.cascade_.n_stages
    assert len(seen) == 2 or (kind == "tree" and len(seen) == 1)


def test_exhausted_backgrounds_are_told_with_the_rate_reached():
    positives, negatives = task()
    report = CascadeTrainer(**{**QUICK, "n_stages": 20}).fit(positives, negatives[:2]).report_
    assert "background windows still pass: the false-alarm rate is below" in report.reason
    assert "more, larger or harder ones" in report.advice


def test_objects_that_the_detector_would_refuse_are_counted_not_waited_for():
    positives, negatives = task()
    rng = np.random.default_rng(0)
    dull = [(90 + rng.integers(0, 5, (28, 28))).astype(np.uint8) for _ in range(78)]
    trainer = CascadeTrainer(**{**QUICK, "augment": PLAIN})
    check = trainer.check([*positives[:2], *dull], negatives)
    assert "78 objects have so little contrast" in str(check)
    with pytest.raises(TrainingError, match=r"only \d+ of 150 objects still pass: raise"):
        trainer.fit([*positives[:2], *dull], negatives)


def test_objects_that_run_out_leave_the_cascade_so_far():
    rng = np.random.default_rng(0)
    alike = [clutter(rng) for _ in range(12)]  # objects that nothing tells from the backgrounds
    places = rng.integers(0, 90, (80, 2)).tolist()
    objects = [alike[k % 12][y : y + 20, x : x + 20] for k, (x, y) in enumerate(places)]
    hard = {"n_stages": 9, "hit_rate": 0.05, "false_alarm": 1e-3, "max_trees": 4}
    trainer = CascadeTrainer(**{**QUICK, **hard, "augment": Augment(noise=80, contrast=0.5)})
    report = trainer.fit(objects, alike).report_
    assert re.match(r"only \d+ of 150 objects still pass", report.reason)
    assert "raise the hit rate" in report.advice
    assert 1 <= len(report.stages) < 9


def test_of_very_many_objects_only_some_are_read(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "pos").mkdir()
    for k in range(300):
        write_image(tmp_path / "pos" / f"{k}.png", target(rng, 16))
    (tmp_path / "pos" / "0.png").write_bytes(b"no picture")
    trainer = CascadeTrainer(**{**QUICK, "n_positives": 50, "n_stages": 1})
    told = trainer.fit(tmp_path / "pos", task()[1]).report_.check
    assert "200 objects, drawn from 300; " in str(told) or "199 objects" in str(told)
    every = trainer.check(tmp_path / "pos", task()[1])
    assert every.objects == 299
    assert "1 pictures cannot be read" in str(every)


def test_negatives_that_are_objects_are_told_apart_by_nothing():
    rng = np.random.default_rng(0)
    same = rng.integers(0, 256, (40, 14, 14)).astype(np.uint8)
    wall = np.concatenate(np.concatenate(same.reshape(5, 8, 14, 14), axis=1), axis=1)
    with pytest.raises(TrainingError, match=r"no stage could be trained: .*contact sheet"):
        CascadeTrainer(**{**QUICK, "max_trees": 1, "hit_rate": 0.999, "augment": PLAIN}).fit(
            [np.roll(wall, (k, 3 * k), (0, 1))[:14, :14] for k in range(60)], [wall] * 5
        )


def test_a_target_rate_ends_the_training():
    report = train(n_stages=20, target_rate=0.2).report_
    assert "as asked for" in report.reason


@pytest.mark.parametrize(
    ("positives", "negatives", "more", "error", "says"),
    [
        ([], None, {}, TrainingError, "no objects to learn: no picture has a box"),
        (None, [], {}, TrainingError, "no negatives: give pictures that hold no object"),
        (None, None, {"window": (40, 40)}, TrainingError, "the window of 40x40 is larger than the "
         r"boxes \(median 28x28\)"),
        ([np.full((30, 30), 90, np.uint8)], None, {}, TrainingError, "no object has the contrast"),
        (None, [np.zeros((9, 9), np.uint8)], {}, TrainingError, "smaller than the window"),
        (None, [np.full((90, 90), 9, np.uint8)], {}, TrainingError, "only 0 windows with contrast"),
        ("/nowhere/at all", None, {}, SourceError, "no such file or folder"),
    ],
    ids=["no-objects", "no-negatives", "window", "flat-object", "small", "flat-background", "path"],
)  # fmt: skip
def test_hopeless_samples_are_refused_before_training(positives, negatives, more, error, says):
    good = task()
    trainer = CascadeTrainer(**{**QUICK, **more})
    with pytest.raises(error, match=says):
        trainer.fit(
            good[0] if positives is None else positives, good[1] if negatives is None else negatives
        )


def test_one_object_is_allowed_with_a_warning():
    positives, negatives = task()
    check = CascadeTrainer(**QUICK).check(positives[:1], negatives)
    assert check.errors == []
    assert "one object teach little more" in check.warnings[0]
    model = CascadeTrainer(**{**QUICK, "n_stages": 1}).fit(positives[:1], negatives).cascade_
    assert model.n_stages == 1


def test_duplicates_and_objects_among_the_backgrounds_are_left_out(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("pos", "neg"):
        (tmp_path / folder).mkdir()
    for k in range(4):
        write_image(tmp_path / "pos" / f"o{k}.png", target(rng))
        write_image(tmp_path / "neg" / f"b{k}.png", clutter(rng))
    (tmp_path / "pos" / "copy.png").write_bytes((tmp_path / "pos" / "o0.png").read_bytes())
    (tmp_path / "neg" / "o1.png").write_bytes((tmp_path / "pos" / "o1.png").read_bytes())
    (tmp_path / "neg" / "twice.png").write_bytes((tmp_path / "neg" / "b0.png").read_bytes())
    check = CascadeTrainer(**QUICK).check(tmp_path / "pos", tmp_path / "neg")
    text = str(check)
    assert (check.objects, check.scenes) == (4, 4)
    assert "1 objects are exact copies" in text
    assert "1 backgrounds are pictures of objects too" in text
    assert "1 backgrounds are exact copies" in text
    assert "MB and" in text


def test_every_unreadable_background_is_named_with_the_reason(tmp_path):
    rng = np.random.default_rng(0)
    write_image(tmp_path / "good.png", clutter(rng))
    (tmp_path / "bad.jpg").write_bytes(b"not a picture")
    (tmp_path / "bg.txt").write_bytes(b"\r\ngood.png\r\nbad.jpg\r\ngone.png\r\n")
    check = CascadeTrainer(**QUICK).check(task()[0], tmp_path / "bg.txt")
    (text,) = (w for w in check.warnings if "cannot be read" in w)
    assert text.startswith("2 backgrounds cannot be read")
    assert "bad.jpg: no picture that can be read" in text
    assert "bg.txt:4: no picture at" in text
    assert (check.scenes, check.errors) == (1, [])


def test_where_no_box_is_there_is_a_negative(tmp_path):
    rng = np.random.default_rng(0)
    entries = []
    for k in range(6):
        scene = clutter(rng)
        scene[20:48, 30:58] = target(rng)
        write_image(tmp_path / f"{k}.png", scene)
        entries.append({"file": f"{k}.png", "boxes": [[30, 20, 28, 28]]})
    (tmp_path / "annotations.json").write_text(json.dumps(entries))
    check = CascadeTrainer(**QUICK).check(tmp_path)
    assert (check.objects, check.scenes, check.errors) == (6, 6, [])
    alone = CascadeTrainer(**QUICK, surroundings=False).check
    with pytest.raises(TrainingError, match="no negatives"):
        alone(tmp_path)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"hitrate": 0.9}, "no parameter is named `hitrate`: did you mean `hit_rate`?"),
        ({"features": "HOG"}, "`features` must be one of BASIC, CORE, ALL, LBP, got 'HOG'"),
        ({"window": (4, 24)}, "`window` sides must be 6 to 256 pixels, got 24x4"),
        ({"hit_rate": [0.9, 1.5]}, "`hit_rate` must be between 0 and 1, got 1.5"),
        ({"n_stages": 0}, "`n_stages` must be 1 to 100, got 0"),
        ({"n_stages": 2.5}, "`n_stages` must be a whole number, got 2.5"),
        ({"random_state": None, "views": "2"}, "`views` must be a whole number, got '2'"),
        ({"window": 24}, r"`window` must be \(rows, cols\) or 'auto', got 24"),
        ({"window": (24.0, 24)}, r"`window` must be \(rows, cols\) or 'auto'"),
        ({"views": 9}, "`views` must be 1 to 8, got 9"),
        ({"n_jobs": 0}, "`n_jobs` must be at least 1"),
        ({"time_limit": 0}, "`time_limit` must be above 0 seconds"),
        ({"depth": [1, 5]}, "`depth` must be 1 to 4, got 5"),
        ({"depth": []}, "a sequence of one value a stage must not be empty"),
    ],
)
def test_refuses_nonsense(more, says):
    with pytest.raises(ParameterError, match=says.replace("?", r"\?")):
        CascadeTrainer(**more)


def test_settings_say_what_they_are():
    settings = CascadeTrainer(hit_rate=[0.9, 0.99], false_alarm=0.4).settings
    assert [settings.goal(k).hit_rate for k in range(3)] == [0.9, 0.99, 0.99]
    mixed = CascadeTrainer(depth=[1, 2]).settings
    assert [mixed.recipe(k).depth for k in range(3)] == [1, 2, 2]
    assert replace(settings, memory=1 << 30).capacity == int(0.4 * (1 << 30) / 576)
