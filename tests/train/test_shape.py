"""The window follows the shape of the objects, and says so where it does not."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from train import plates
from train.test_trainer import QUICK, clutter, digest, target, task

from vj.detect.detector import CascadeDetector
from vj.errors import ParameterError, SourceError
from vj.evaluate import evaluate
from vj.io.images import write_image
from vj.train.augment import Augment
from vj.train.shape import AUTO, SQUARE, list_shaped, median_aspect, suited_window
from vj.train.trainer import CascadeTrainer
from vj.train.vec import write_vec


@given(st.floats(0.05, 20))
def test_windows_have_the_shape_of_the_objects_and_the_area_of_the_square(aspect):
    rows, cols = suited_window(aspect)
    assert (cols, rows) == suited_window(1 / aspect)
    assert min(rows, cols) >= 10
    assert max(rows, cols) <= 120
    if 0.8 < aspect < 1.25:
        assert (rows, cols) == SQUARE
    elif 1 / 5 < aspect < 5:
        assert cols / rows == pytest.approx(aspect, rel=0.08)
        assert rows * cols == pytest.approx(576, rel=0.1)


def test_the_median_decides():
    assert median_aspect([(30, 10), (60, 20), (10, 10), (0, 5)]) == 3
    assert median_aspect([]) == 1


def test_shapes_of_boxes_of_crops_and_of_arrays(tmp_path):
    plates.write_set(tmp_path / "labels", np.random.default_rng(0), 3)
    assert list_shaped(tmp_path / "labels", AUTO)[0] == (14, 42)
    assert list_shaped(tmp_path / "labels", (20, 20))[0] == (20, 20)
    (tmp_path / "crops").mkdir()
    for k in range(3):
        write_image(tmp_path / "crops" / f"{k}.png", np.zeros((60, 20), np.uint8))
    (tmp_path / "crops" / "3.png").write_bytes(b"no picture")
    assert list_shaped(tmp_path / "crops", AUTO)[0] == (42, 14)
    assert list_shaped([np.zeros((20, 40), np.uint8)], AUTO)[0] == (17, 34)
    assert list_shaped(iter([np.zeros((20, 21), np.uint8)]), AUTO)[0] == SQUARE


def test_the_window_of_a_vec_file_is_that_of_its_samples(tmp_path):
    write_vec(tmp_path / "a.vec", np.zeros((4, 20, 20), np.uint8))
    window, _, arrays = list_shaped(tmp_path / "a.vec", AUTO)
    assert (window, len(arrays)) == ((20, 20), 4)
    write_vec(tmp_path / "b.vec", np.zeros((4, 20, 30), np.uint8))
    with pytest.raises(SourceError, match=r"600 pixels, not 24x24: give the width and height"):
        list_shaped(tmp_path / "b.vec", AUTO)
    assert list_shaped(tmp_path / "b.vec", (20, 30))[1] == []


def test_square_objects_get_the_bytes_of_the_square_window(tmp_path):
    quick = {**QUICK, "n_stages": 2}
    del quick["window"]
    auto, square = (
        CascadeTrainer(**quick, **more).fit(*task()) for more in ({}, {"window": (24, 24)})
    )
    assert auto.cascade_.window == (24, 24)
    assert digest(auto.cascade_, tmp_path) == digest(square.cascade_, tmp_path)
    assert auto.report_.settings["window"] == (24, 24)


@pytest.fixture(scope="module")
def streets(tmp_path_factory):
    root = tmp_path_factory.mktemp("streets")
    plates.write_set(root / "labels", np.random.default_rng(1), 60)
    plates.write_backgrounds(root / "bg", np.random.default_rng(3), 10)
    plates.write_set(root / "test", np.random.default_rng(2), 12)
    return root


def test_plates_are_found_without_a_word_about_windows(streets, tmp_path):
    trainer = CascadeTrainer(
        n_positives=300, n_negatives=400, n_stages=8, augment=Augment(flip=0),
        checkpoint=tmp_path / "ck",
    )  # fmt: skip
    trainer.fit(streets / "labels", streets / "bg")
    assert trainer.cascade_.window == (14, 42)
    found = evaluate(CascadeDetector(trainer.cascade_), streets / "test")
    assert found.default.recall >= 0.9
    told = []
    again = CascadeTrainer(
        n_positives=300, n_negatives=400, n_stages=8, augment=Augment(flip=0),
        checkpoint=tmp_path / "ck", resume=True, on_event=told.append,
    ).fit(streets / "labels", streets / "bg")  # fmt: skip
    assert "resume" in [event["event"] for event in told]
    assert digest(again.cascade_, tmp_path) == digest(trainer.cascade_, tmp_path)


def test_a_window_of_another_shape_is_warned_of(streets):
    check = CascadeTrainer(window=(24, 24)).check(streets / "labels", streets / "bg")
    (text,) = (w for w in check.warnings if "as wide as high" in w)
    assert text.startswith("the objects are 3 times as wide as high (median), the window of 24x24")
    assert "67% of it shows what is around them; give --window auto or 42x14" in text
    assert "suggests a window of 42x14 (in use: 24x24)" in str(check)
    check = CascadeTrainer().check(streets / "labels", streets / "bg")
    assert check.warnings == []
    assert "suggests a window of 42x14\n" in str(check)


def test_annotated_pictures_without_boxes_are_backgrounds(tmp_path):
    rng = np.random.default_rng(0)
    entries = []
    for k in range(8):
        scene = clutter(rng)
        boxes = [[30, 20, 28, 28]] if k < 4 else []
        if boxes:
            scene[20:48, 30:58] = target(rng)
        write_image(tmp_path / f"{k}.png", scene)
        entries.append({"file": f"{k}.png", "boxes": boxes})
    (tmp_path / "annotations.json").write_text(json.dumps(entries))
    check = CascadeTrainer(**QUICK).check(tmp_path)
    assert (check.objects, check.scenes) == (4, 8)
    assert not [text for text in check.warnings if "pictures of objects too" in text]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"features": "lbp"}, ("features", "LBP")),
        ({"features": "Core"}, ("features", "CORE")),
        ({"boost": "Gentle"}, ("boost", "gentle")),
        ({"boost": "gab"}, ("boost", "gentle")),
        ({"search": "EXACT"}, ("search", "exact")),
    ],
)
def test_names_in_any_case_of_letters(given, kept):
    assert getattr(CascadeTrainer(**given).settings, kept[0]) == kept[1]


def test_one_class_may_be_a_text(tmp_path):
    rng = np.random.default_rng(0)
    scene = clutter(rng)
    write_image(tmp_path / "a.png", scene)
    shapes = [
        {"label": label, "points": [[x, 10], [x + 28, 38]]} for x, label in ((5, "cup"), (60, "c"))
    ]
    (tmp_path / "a.json").write_text(json.dumps({"imagePath": "a.png", "shapes": shapes}))
    check = CascadeTrainer(**QUICK).check(tmp_path, [clutter(rng)], names="cup")
    assert check.objects == 1
    with pytest.raises(ParameterError, match=r"has no box of class mug: its classes are c, cup"):
        CascadeTrainer(**QUICK).check(tmp_path, [clutter(rng)], names=["mug"])


def test_refuses_windows_that_are_none():
    with pytest.raises(ParameterError, match=r"must be \(rows, cols\) or 'auto', got 'large'"):
        CascadeTrainer(window="large")
