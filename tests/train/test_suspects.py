"""Boxes beside their objects and backgrounds that show the object are named, or left out."""

import json
import re

import numpy as np
import pytest
from train import plates
from train.test_trainer import digest, train

from vj.io.images import read_image
from vj.train.augment import Augment
from vj.train.inspection import Inspection
from vj.train.mining import NegativePool
from vj.train.objects import ObjectSet
from vj.train.samples import PatchStream
from vj.train.sheets import framed, titled_rows
from vj.train.sources import gather_scenes
from vj.train.suspects import Suspect, chunk, in_words
from vj.train.trainer import CascadeTrainer

MISPLACED, HELD, SPOILT = {10, 20, 50}, {0, 40}, {3, 13, 23}  # pictures; HELD are held out
SETTINGS = {"n_positives": 300, "n_negatives": 400, "n_stages": 6, "augment": Augment(flip=0)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("spoilt")
    plates.write_set(root / "labels", np.random.default_rng(1), 60, misplaced=MISPLACED)
    plates.write_set(root / "held", np.random.default_rng(1), 60, misplaced=HELD)
    plates.write_backgrounds(root / "bg", np.random.default_rng(3), 30, spoilt=SPOILT)
    return root


def fit(folders, labels="labels", **more):
    told = []
    options = {**SETTINGS, "surroundings": False, "on_event": told.append, **more}
    trainer = CascadeTrainer(**options).fit(folders / labels, folders / "bg")
    return trainer, [event for event in told if event["event"] == "suspects"]


@pytest.fixture(scope="module")
def named(folders):
    return fit(folders)


def pictures(suspects, background):
    """Numbers of the pictures that are suspected."""
    names = [s.name for s in suspects if (s.kind == "background") == background]
    return {int(re.search(r"(?:bg|street) (\d+)\.png", name)[1]) for name in names}


def test_what_is_wrong_is_named_from_the_third_stage_on_and_nothing_else(named):
    trainer, told = named
    assert (told[0]["stage"], told[0]["left_out"]) == (2, [])
    assert pictures(map(Suspect.of_dict, told[0]["found"]), background=False) <= MISPLACED
    assert pictures(trainer.report_.suspects, background=False) == MISPLACED
    assert pictures(trainer.report_.suspects, background=True) == SPOILT
    assert "objects that are unlike the others" in told[0]["text"]
    for suspect in trainer.report_.suspects:
        assert Suspect.of_dict(json.loads(json.dumps(suspect.to_dict()))) == suspect


def test_a_stage_that_misses_its_goal_is_reason_enough(folders):
    trainer, told = fit(folders, "held", n_stages=1, max_trees=40)
    assert [event["stage"] for event in told] == [0]
    assert pictures(trainer.report_.suspects, background=False) == HELD
    assert set() < pictures(trainer.report_.suspects, background=True) <= SPOILT
    assert trainer.report_.stages[0]["false_alarm"] > 0.6
    assert any("stage 0 missed the goal" in hint for hint in trainer.report_.hints)
    again, _ = fit(folders, "held", n_stages=1, max_trees=40, drop_suspects=True)
    (stage,) = again.report_.stages
    assert stage["reached"]
    assert stage["trees"] <= 10


def test_the_report_shows_them(named, tmp_path):
    report = named[0].report_
    report.save_html(tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert "Samples that look wrong" in text
    assert "bg 013.png" in text
    assert text.index("<h2>Stages") < text.index("<h2>Samples that") < text.index("<h2>Settings")
    assert report.pictures["suspects"].shape[0] > 6 * 60
    assert any("6 samples look wrong" in hint for hint in report.hints)
    report.save_json(tmp_path / "r.json")
    rows = [r for r in json.loads((tmp_path / "r.json").read_text())["log"]
            if r["event"] == "suspects"]  # fmt: skip
    assert sum(len(row["found"]) for row in rows) == 6


def test_clean_samples_are_not_suspected(tmp_path):
    plates.write_set(tmp_path / "labels", np.random.default_rng(1), 60)
    plates.write_backgrounds(tmp_path / "bg", np.random.default_rng(3), 30)
    trainer, told = fit(tmp_path, surroundings=True)
    assert told == []
    assert trainer.report_.suspects == ()
    assert "suspects" not in trainer.report_.pictures


class Crash(Exception):
    pass


@pytest.mark.parametrize(
    ("labels", "stage", "more", "kinds"),
    [
        ("labels", 4, {}, {"object"}),
        ("held", 0, {"n_stages": 3, "max_trees": 40}, {"held", "background"}),
    ],
)
def test_suspects_are_left_out_and_so_they_are_after_an_interruption(
    folders, tmp_path, labels, stage, more, kinds, monkeypatch
):
    monkeypatch.setattr("vj.train.loop.PARTIAL_EVERY", 1)
    seen = []

    def crash(event):
        seen.append(event["event"])
        if "suspects" in seen and (event["event"], event.get("stage")) == ("tree", stage):
            raise Crash

    options = {**more, "drop_suspects": True}
    whole, told = fit(folders, labels, **options)
    assert set(told[0]["left_out"]) == kinds
    assert all(row["reached"] for row in whole.report_.stages)
    folder = tmp_path / "ck"
    with pytest.raises(Crash):
        fit(folders, labels, checkpoint=folder, **{**options, "on_event": crash})
    resumed, _ = fit(folders, labels, checkpoint=folder, resume=True, n_jobs=2, **options)
    assert digest(resumed.cascade_, tmp_path) == digest(whole.cascade_, tmp_path)
    assert resumed.report_.suspects == whole.report_.suspects


def test_naming_changes_no_bytes(tmp_path, monkeypatch):
    usual = train(n_stages=4)
    monkeypatch.setattr(Inspection, "look", lambda *_: None)
    assert digest(train(n_stages=4).cascade_, tmp_path) == digest(usual.cascade_, tmp_path)


def test_suspects_may_be_left_out_from_the_resumption_on(folders, tmp_path):
    def crash(event):
        if event["event"] == "tree" and event["stage"] == 3:
            raise Crash

    with pytest.raises(Crash):
        fit(folders, checkpoint=tmp_path / "ck", on_event=crash)
    resumed, _ = fit(
        folders, drop_suspects=True, checkpoint=tmp_path / "ck", resume=True, n_stages=6
    )
    first = next(row for row in resumed.report_.log if row["event"] == "suspects")
    assert first["left_out"] == ["object"]


def test_what_is_left_out_never_comes_back():
    rng = np.random.default_rng(0)
    scenes = gather_scenes([rng.integers(0, 255, (40, 40)).astype(np.uint8) for _ in range(10)])
    pool = NegativePool(scenes, (12, 12), views=2, contrast=False)
    pool.patches = np.zeros((10, 12, 12), np.uint8)
    pool.scene = np.arange(10, dtype=np.int32)
    pool._next_jobs(7)
    seen = {job[0] for job in pool._jobs[:7]}
    gone = {min(seen), 9}
    pool.leave_out(gone)
    assert set(pool.scene) == set(range(10)) - gone
    assert len(pool._jobs) == 16
    assert not gone & {scene for scene, _ in pool._next_jobs(16)}
    assert not pool._held[list(gone)].any()


def test_variants_of_objects_that_are_left_out_end(named):
    crops = [s for s in range(9)]
    stream = PatchStream(crops, (8, 8), Augment(), 0)
    side = ObjectSet(stream, 5)
    side.source = stream.source(0, 20)
    side.patches, side.next = np.zeros((20, 8, 8), np.uint8), 20
    assert set(side.source[:9]) == set(range(9))
    side.leave_out({2, 5})
    assert len(side.patches) == len(side.source)
    assert not {2, 5} & set(side.source)
    assert side.next == 3 * 7  # a fourth variant of each
    assert not {2, 5} & set(stream.source(0, 50))


def test_too_many_to_be_outliers_are_only_named(folders):
    scenes = gather_scenes([np.zeros((40, 40), np.uint8)] * 8)
    pool = NegativePool(scenes, (12, 12))
    inspection = Inspection(None, {}, pool, None, drop=True)
    suspects = [Suspect("background", k, str(k), "why") for k in range(3)]
    inspection.found.update({("background", s.index): s for s in suspects})
    assert inspection._leave_out(suspects) == []
    assert len(pool._jobs) == 8
    del inspection.found["background", 2]
    assert inspection._leave_out(suspects[:2]) == ["background"]
    assert len(pool._jobs) == 6


def test_searches_go_round_the_backgrounds():
    assert chunk(10, 3, 1.0, 0) == list(range(10))
    first, second = (set(chunk(100, stage, 0.5, 0)) for stage in (3, 6))
    assert len(first) == len(second) == 50
    assert not first & second
    assert len(chunk(20, 3, 1e-9, 0)) == 8


def test_many_are_counted():
    many = [Suspect("object", k, f"n{k}", "") for k in range(7)]
    assert in_words(many).endswith("n0; n1; n2; n3; n4 and 2 more")


def test_contact_sheets_hold_names_of_any_length_and_script(tmp_path):
    tile = framed(np.full((30, 30), 128, np.uint8), (-5, 10, 12, 8))
    assert tile.shape[2] == 3
    sheet = titled_rows([("ein langer Name äöü 東京.png: " + "x" * 90, [tile, tile]), ("b", [])])
    assert sheet.shape[1] > 500
    assert read_image is not None
