"""The recipes of our cascades: what goes in, what is kept out, and a small run of the whole."""

import csv
import hashlib
import json
import zipfile

import numpy as np
import pytest
from train.test_trainer import clutter, target

from vj.cascade.opencv_xml import read
from vj.detect.scoring import Scoring
from vj.errors import SourceError
from vj.io.images import write_image
from vj.train import recipes
from vj.train.augment import Augment

POINTS = [[8, 12], [20, 12], [14, 17], [10, 22], [18, 22]]  # eyes, nose, mouth corners


def write_boxes(folder, name, count, rng, **more):
    """Scenes with a target each and their annotations."""
    entries = []
    folder.mkdir()
    for k in range(count):
        scene = clutter(rng)
        x, y = (int(v) for v in rng.integers(5, 70, 2))
        scene[y : y + 28, x : x + 28] = target(rng)
        write_image(folder / f"{name}{k}.png", scene)
        entry = {"file": f"{name}{k}.png", "boxes": [[x + 2, y + 2, 23, 27]], **more}
        entry["landmarks5"] = [[[x + px, y + py] for px, py in POINTS]]
        entry["scores"] = [0.9]
        entries.append(entry)
    (folder / "annotations.json").write_text(json.dumps(entries))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    faces = root / "faces_train"
    faces.mkdir()
    with (faces / "faces_train.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "box_x", "box_y", "box_w", "box_h", "group", "roll_deg"])
        for k in range(60):
            write_image(faces / f"f{k}.png", np.pad(target(rng, 32), 8, "edge"))
            table.writerow([f"f{k}.png", 8, 8, 32, 32, f"p{k // 2}", 0])
    write_boxes(root / "boxes_train", "m", 100, rng, source="mask853")
    write_boxes(root / "boxes_more", "q", 60, rng, source="other")
    write_boxes(root / "boxes_dev", "d", 12, rng, source="dev")
    for name in ("backgrounds_train", "backgrounds_more"):
        (root / name).mkdir()
        with zipfile.ZipFile(root / name / "backgrounds.zip", "w") as archive:
            for k in range(8):
                write_image(root / "b.png", clutter(rng))
                archive.write(root / "b.png", f"{k}.png")
    return root


def test_what_fits_boxes_is_never_trained_on(data):
    held = {picture.name for picture in recipes.held_out(data)}
    trained = {p.name for p in recipes.positives(data)}
    assert 10 < len(held) < 40
    assert not held & trained
    assert len(held | trained) == 60 + 100 + 60
    assert {p.name for p in recipes.backgrounds(data)[2:]} <= trained


def test_face_squares_of_drawn_boxes_and_of_landmarks(data):
    by_name = {p.name: p for p in recipes.positives(data)}
    mask = next(p for name, p in by_name.items() if name.startswith("m"))
    ((x1, y1, x2, y2),) = mask.boxes
    window = (x2 - x1) * recipes.MARGIN
    _, dy, width, height = recipes.DRAWN_BOX
    assert window == pytest.approx(np.sqrt(23 / width * 27 / height))
    scene = next(
        e for e in json.loads((data / "boxes_train" / "annotations.json").read_text())
        if e["file"] == mask.name
    )  # fmt: skip
    assert (y1 + y2) / 2 + dy * window == pytest.approx(scene["boxes"][0][1] + 13.5)
    other = next(p for name, p in by_name.items() if name.startswith("q"))
    side = other.boxes[0, 2] - other.boxes[0, 0]
    assert side == pytest.approx(max(2.4 * 12, 2.25 * 10))
    assert other.rolls == (0,)


def test_faces_turned_away_are_left_out():
    turned = np.array(POINTS, float)
    turned[2, 0] += 6  # the nose beside the middle of the eyes
    assert recipes._square(turned) is None
    tilted = np.array(POINTS, float) @ [[0.7, 0.7], [-0.7, 0.7]]
    assert recipes._square(tilted) is None
    assert recipes._square(np.array(POINTS, float)) is not None


def test_a_recipe_writes_cascade_and_card_the_same_twice(data, tmp_path, monkeypatch):
    small = recipes.FaceRecipe(
        "a test",
        {**recipes.COMMON, "window": (14, 14), "n_positives": 200, "n_negatives": 200,
         "n_stages": 4, "hit_rate": 0.98, "min_negatives": 20, "augment": Augment(),
         "max_trees": 10},
    )  # fmt: skip
    monkeypatch.setitem(recipes.RECIPES, "small", small)
    for folder in ("one", "two"):
        recipes.make("small", data, tmp_path / folder, n_jobs=1 + (folder == "two"))
    for name in ("small.xml", "small.json"):
        first, second = ((tmp_path / f / name).read_bytes() for f in ("one", "two"))
        assert first == second
    card = json.loads((tmp_path / "one" / "small.json").read_text())
    xml = tmp_path / "one" / "small.xml"
    assert card["sha256"] == hashlib.sha256(xml.read_bytes()).hexdigest()
    assert card["stages"] == read(xml).n_stages
    assert 0 <= card["scores"]["ap"] <= 1
    assert Scoring.of_card(card).calibration is not None


def test_missing_data_is_one_line(tmp_path, capsys):
    with pytest.raises(SourceError, match="holds no faces_train: name the folder of the data"):
        recipes.make("frontalface", tmp_path, tmp_path)
    assert recipes.main(["frontalface", "--data", str(tmp_path), "-o", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("python -m vj.train.recipes: ")
    assert said.count("\n") == 1
