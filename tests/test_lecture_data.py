"""The data of the experiments: nobody on two sides, nothing that gives the answer away."""

import csv
import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from bench.lecture import data
from bench.lecture.composing import compose
from vj.io.files import data_folder

needs_data = pytest.mark.skipif(data.missing() is not None, reason=str(data.missing()))


def test_where_the_data_is_missing_it_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("VJ_DATA", str(tmp_path))
    assert "no faces_train/faces_train.csv in" in data.missing()


def test_sides_depend_on_the_key_alone_and_have_their_shares():
    sides = [data.side_of(f"person:{i}") for i in range(4000)]
    assert sides == [data.side_of(f"person:{i}") for i in range(4000)]
    shares = [sides.count(name) / 4000 for name in data.SIDES]
    assert shares == pytest.approx([0.75, 0.10, 0.15], abs=0.03)


def test_a_window_is_replicated_beyond_its_part():
    window = np.arange(64, dtype=np.uint8).reshape(8, 8)
    out = data.replicated(window, np.array([2.2, -1.6, 10.4, 4]))
    np.testing.assert_array_equal(out[:4, 2:], window[:4, 2:])
    assert (out[:4, :2] == window[:4, 2:3]).all()
    assert (out[4:] == out[3]).all()


def test_masks_are_where_faces_were_laid():
    white, black = np.full((2, 96, 96, 3), 255, np.uint8), np.zeros((3, 96, 96, 3), np.uint8)
    rng = np.random.default_rng(0)
    made = [compose(64, white, black, rng) for _ in range(60)]
    bright = np.stack([picture.mean(2) for picture, _ in made])
    mask = np.stack([mask for _, mask in made])
    assert set(np.unique(mask)) == {0, 1}
    assert np.mean(mask[bright > 160]) > 0.97
    assert np.mean(mask[bright < 60]) < 0.002
    counts = mask.reshape(60, -1).mean(1)
    assert (counts == 0).any()
    assert counts.max() > 0.2


@needs_data
def test_no_person_and_no_source_image_is_on_two_sides():
    sides = {}
    for row in data.face_rows():
        assert row["group"] or row["side"] == "train"  # who it is nobody knows
        if row["group"]:
            sides.setdefault((row["source"], row["group"]), set()).add(row["side"])
    assert {len(found) for found in sides.values()} == {1}
    assert {name for found in sides.values() for name in found} == set(data.SIDES)
    places = {}
    for row in data.background_rows():
        places.setdefault((row["source"], row["original"]), set()).add(row["side"])
    assert {len(found) for found in places.values()} == {1}


@needs_data
@pytest.mark.parametrize("colour", [False, True])
def test_faces_and_windows(colour):
    sides = data.face_or_not(32, colour=colour, windows=3, limit=30)
    again = data.face_or_not(32, colour=colour, windows=3, limit=30)
    for name, side, other in zip(data.SIDES, sides, again, strict=True):
        images, labels = side.parts
        size = 40 if name == "train" else 32
        assert images.shape == (120, size, size, 3) if colour else (120, size, size)
        assert images.dtype == np.uint8
        assert labels.tolist() == [1] * 30 + [0] * 90
        np.testing.assert_array_equal(images, other.parts[0])
        if colour:
            spread = images.max(3).astype(int) - images.min(3)
            assert (spread.reshape(120, -1).max(1) > 4).mean() > 0.95
        faces, others = images[labels == 1], images[labels == 0]
        assert faces.reshape(30, -1).std(1).min() > 5
        assert len(np.unique(others.reshape(90, -1), axis=0)) > 85


@needs_data
def test_a_crop_is_the_square_of_the_file():
    row = next(r for r in data.face_rows(sets=("aaf",)) if r["gray"] == "0")
    with zipfile.ZipFile(data_folder() / "faces_train/faces_aaf.zip") as archive:
        picture = np.asarray(Image.open(io.BytesIO(archive.read(row["file"]))), np.float64)
    (crop,) = data.face_crops([row], 32, colour=True)
    means = picture[16:80, 16:80].reshape(32, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(crop - means).max() <= 1  # Pillow rounds after each axis
    (wide,) = data.face_crops([row], 32, margin=8, colour=True)
    np.testing.assert_array_equal(wide[4:-4, 4:-4], crop)


@needs_data
def test_replicated_borders_are_as_frequent_among_windows_as_among_faces():
    rows = data.face_rows(sets=("utk",))[:400]
    places = data.background_rows()[:200]

    def repeated(images):
        """Share of images whose first two rows differ much less than rows further in."""
        first, inner = (
            np.abs(np.diff(images[:, i : i + 2].astype(int), axis=1)).mean((1, 2)) for i in (0, 4)
        )
        return np.mean(first < 0.25 * inner)

    def windows(part):
        return data.background_windows(places, 4, data.like_crops(part, 32, 0))

    whole = {"valid_x0": 0, "valid_y0": 0, "valid_x1": 96, "valid_y1": 96}
    crops = repeated(data.face_crops(rows, 32))
    assert repeated(windows([whole])) < 0.1 < 0.4 < crops
    assert repeated(windows(rows)) == pytest.approx(crops, abs=0.15)


@needs_data
def test_segmentation_pictures():
    sides = data.segmentation(48, (30, 8, 12))
    again = data.segmentation(48, (30, 8, 12))
    for side, other, n in zip(sides, again, (30, 8, 12), strict=True):
        pictures, masks = side.parts
        assert (pictures.shape, masks.shape) == ((n, 48, 48, 3), (n, 48, 48))
        np.testing.assert_array_equal(pictures, other.parts[0])
        np.testing.assert_array_equal(masks, other.parts[1])
    assert 0.05 < sides.train.parts[1].mean() < 0.35


@needs_data
def test_faces_alone_have_no_replicated_borders_in_colour():
    sides = data.faces(32, colour=True, limit=50)
    with (data_folder() / "faces_train/faces_train.csv").open(newline="") as file:
        assert "valid_x0" in next(csv.DictReader(file))
    assert [len(side) for side in sides] == [50, 50, 50]
    assert sides.train.parts[0].shape == (50, 32, 32, 3)
