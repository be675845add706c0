"""Faces and backgrounds for the experiments, read from the folder that ``VJ_DATA`` names.

How samples are divided
-----------------------
Whatever a network could memorise stays on one side. A key (the person, or the source image of a
background) is hashed: of 100 equal parts 15 are for the test, 10 for validation, 75 for training.

- ``lfwexpr``: the key is the person in the file name; ``aaf``: every image shows another person,
  the key is its number; ``utk``: the persons are unknown, so all of it is for training.
- backgrounds: the key is the source image; all windows cut from it are on one side.

Clues that must not tell faces from backgrounds
-----------------------------------------------
- Windows of backgrounds are processed like the face crops: 96 x 96, JPEG, then cut and reduced.
  Where a crop reaches beyond its source image its border is replicated; windows get the border of a
  random crop in the same way.
- Most backgrounds are gray and most faces are not: sets in colour hold colour pictures only.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.lecture.composing import compose
from nets.autograd.ops.resize import upsample_bilinear
from nets.autograd.tensor import Tensor
from nets.training import Arrays
from vj.io.files import data_folder

Row = dict[str, str]
Pixels = NDArray[np.uint8]
Finish = Callable[[Image.Image, np.random.Generator], Pixels]
SIDES = ("train", "validation", "test")
FACE_SETS = ("lfwexpr", "aaf", "utk")
BACKGROUND_SETS = ("backgrounds_train", "backgrounds_more")
SQUARE = 64  # side of the face in its crop of 96


class Sides(NamedTuple):
    """A dataset divided into three."""

    train: Arrays
    validation: Arrays
    test: Arrays


def missing() -> str | None:
    """Why the experiments cannot run here, or None."""
    wanted = [
        "faces_train/faces_train.csv",
        *(f"{name}/backgrounds.zip" for name in BACKGROUND_SETS),
    ]
    for name in wanted:
        if not (data_folder() / name).is_file():
            return f"no {name} in {data_folder()}: let VJ_DATA name the folder of the face data"
    return None


def side_of(key: str) -> str:
    """The side on which everything of this person or source image is."""
    part = int(hashlib.sha256(key.encode()).hexdigest(), 16) % 100
    return "test" if part < 15 else "validation" if part < 25 else "train"


# ---------------------------------------------------------------------------- faces


def face_rows(colour: bool = False, sets: Sequence[str] = FACE_SETS) -> list[Row]:
    """Records of the face crops, with their ``side``."""
    with (data_folder() / "faces_train/faces_train.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] in sets]
    for row in rows:
        key = row["group"]
        row["side"] = side_of(f"{row['source']}:{key}") if key else "train"
    return [row for row in rows if not (colour and row["gray"] == "1")]


def face_crops(rows: Sequence[Row], side: int, *, margin: int = 0, colour: bool = False) -> Pixels:
    """The faces of some records, scaled so that the face square has ``side`` pixels.

    Parameters
    ----------
    rows : sequence
        As `face_rows` gives them.
    side : int
    margin : int
        Pixels of the 96 x 96 crop that are kept around the square of 64 (at most 16).
    colour : bool

    Returns
    -------
    (N, S, S) or (N, S, S, 3) uint8
        S = side * (64 + 2 margin) / 64.
    """
    archives = {
        name: zipfile.ZipFile(data_folder() / f"faces_train/faces_{name}.zip")
        for name in {row["source"] for row in rows}
    }

    def one(row: Row) -> Pixels:
        picture = Image.open(io.BytesIO(archives[row["source"]].read(row["file"])))
        return _reduced(picture.convert("RGB" if colour else "L"), side, margin)

    return np.stack(_threaded(one, rows))


def _reduced(crop: Image.Image, side: int, margin: int) -> Pixels:
    size = side * (SQUARE + 2 * margin) // SQUARE
    box = (16 - margin, 16 - margin, 80 + margin, 80 + margin)
    return np.asarray(crop.resize((size, size), Image.Resampling.BOX, box))


# ---------------------------------------------------------------------------- backgrounds


def background_rows(colour: bool = False) -> list[Row]:
    """Records of the images without a face, with their ``set`` and ``side``."""
    rows: list[Row] = []
    for name in BACKGROUND_SETS:
        with (data_folder() / f"{name}/{name}.csv").open(newline="") as file:
            rows += [{**row, "set": name} for row in csv.DictReader(file)]
    for row in rows:
        row["side"] = side_of(f"{row['source']}:{row['original']}")
        if "gray" not in row:  # the larger set says it by its sources
            row["gray"] = "1" if row["source"] == "haarneg" else "0"
    return [row for row in rows if not (colour and row["gray"] == "1")]


def background_windows(
    rows: Sequence[Row],
    per_image: int,
    finish: Finish = lambda window, _: np.asarray(window),
    *,
    colour: bool = False,
    seed: int = 0,
) -> Pixels:
    """Square windows of any size and place, ``per_image`` of each image, scaled to 96 x 96.

    Parameters
    ----------
    rows : sequence
        As `background_rows` gives them.
    per_image : int
    finish : callable
        What becomes of each window in the end (`like_crops`).
    colour : bool
    seed : int

    Returns
    -------
    (N, 96, 96) or (N, 96, 96, 3) uint8, or what ``finish`` makes of it
    """
    archives = {n: zipfile.ZipFile(data_folder() / f"{n}/backgrounds.zip") for n in BACKGROUND_SETS}

    def some(row: Row) -> list[Pixels]:
        rng = np.random.default_rng([seed, *hashlib.sha256(row["file"].encode()).digest()[:8]])
        data = archives[row["set"]].read(row["file"])
        picture = Image.open(io.BytesIO(data)).convert("RGB" if colour else "L")
        return [finish(_window(picture, rng), rng) for _ in range(per_image)]

    return np.stack([window for windows in _threaded(some, rows) for window in windows])


def _window(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    largest = min(picture.size)
    wide = float(np.exp(rng.uniform(np.log(min(36, largest)), np.log(largest))))
    x, y = rng.uniform(0, picture.width - wide), rng.uniform(0, picture.height - wide)
    return picture.resize((96, 96), Image.Resampling.BILINEAR, (x, y, x + wide, y + wide))


def like_crops(rows: Iterable[Row], side: int, margin: int) -> Finish:
    """What makes a window as the crops of these faces are, but for what it shows."""
    columns = ("valid_x0", "valid_y0", "valid_x1", "valid_y1")
    parts = np.array([[float(row[name]) for name in columns] for row in rows])

    def finish(window: Image.Image, rng: np.random.Generator) -> Pixels:
        pixels = replicated(np.asarray(window), parts[rng.integers(len(parts))])
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=86)
        return _reduced(Image.open(file), side, margin)

    return finish


def replicated(window: Pixels, part: NDArray[np.float64]) -> Pixels:
    """The window as if the source image had ended at the edges (x0, y0, x1, y1) of ``part``."""
    x0, y0, x1, y1 = np.clip(np.round(part), 0, len(window)).astype(int)
    rows = np.clip(np.arange(len(window)), y0, y1 - 1)
    cols = np.clip(np.arange(len(window)), x0, x1 - 1)
    return window[rows[:, None], cols]


# ---------------------------------------------------------------------------- sets


def face_or_not(
    side: int = 32,
    *,
    margin: int = 8,
    colour: bool = False,
    windows: int = 12,
    limit: int | None = None,
    seed: int = 0,
) -> Sides:
    """Faces (label 1) and windows of backgrounds (label 0), divided by person and source image.

    Training images are larger by ``margin`` (of 64) on every side, for random crops; those of
    validation and test are the middle alone. With ``limit`` there are at most so many faces, and
    so many images without, on each side.
    """
    people, places = face_rows(colour), background_rows(colour)
    rng = np.random.default_rng(seed)
    found = []
    for name in SIDES:
        faces = _some([row for row in people if row["side"] == name], limit, rng)
        empty = _some([row for row in places if row["side"] == name], limit, rng)
        m = margin if name == "train" else 0
        crops = face_crops(faces, side, margin=m, colour=colour)
        finish = like_crops(faces, side, m)
        others = background_windows(empty, windows, finish, colour=colour, seed=seed)
        labels = np.repeat(np.array([1, 0]), [len(crops), len(others)])
        found.append(Arrays(np.concatenate([crops, others]), labels, classes=2))
    return Sides(*found)


def two_sides(
    quick: bool, side: int, other: str = "validation", **options: Any
) -> tuple[Arrays, Arrays]:
    """The training pictures of `face_or_not` and those of another side, invented if ``quick``."""
    if quick:
        made = Arrays(invented(64, side), np.arange(64) % 2)
        return made, made
    sides = face_or_not(side, margin=0, **options)
    return sides.train, getattr(sides, other)


def faces(side: int = 32, *, colour: bool = False, limit: int | None = None) -> Sides:
    """Faces alone, for models that shall learn what faces look like; divided by person.

    Of ``aaf``, whose crops have no replicated borders, and of ``lfwexpr`` where gray will do.
    """
    rows = face_rows(colour, ("aaf",) if colour else ("aaf", "lfwexpr"))
    rng = np.random.default_rng(0)
    chosen = (_some([row for row in rows if row["side"] == name], limit, rng) for name in SIDES)
    return Sides(*(Arrays(face_crops(part, side, colour=colour)) for part in chosen))


def segmentation(
    size: int = 96, n: tuple[int, int, int] = (4000, 400, 600), seed: int = 0
) -> Sides:
    """Colour pictures with faces composed into them, and masks: 0 background, 1 face.

    A face is cut out along an ellipse with a soft edge and pasted at a random place and size into a
    window of a background. Ellipses of other backgrounds are pasted in the same way, with mask 0,
    so that the seam is no clue. ``n`` counts the pictures of each side.
    """
    people = face_rows(True, ("aaf",))
    places = background_rows(True)
    found = []
    for index, (name, count) in enumerate(zip(SIDES, n, strict=True)):
        rng = np.random.default_rng([seed, index])
        crops = face_crops(
            _some([r for r in people if r["side"] == name], count, rng), 64, margin=16, colour=True
        )
        empty = [row for row in places if row["side"] == name]
        each = -(-3 * count // len(empty))
        grounds = background_windows(empty, each, colour=True, seed=seed)
        grounds = grounds[rng.permutation(len(grounds))]
        made = [compose(size, crops, grounds, rng) for _ in range(count)]
        pictures, masks = zip(*made, strict=True)
        found.append(Arrays(np.stack(pictures), np.stack(masks), classes=2))
    return Sides(*found)


def _some(rows: list[Row], limit: int | None, rng: np.random.Generator) -> list[Row]:
    if limit is None or len(rows) <= limit:
        return rows
    return [rows[i] for i in np.sort(rng.choice(len(rows), limit, replace=False))]


def _threaded(function: Callable[[Row], Any], rows: Sequence[Row]) -> list[Any]:
    """Decoding releases the lock of the interpreter: two threads, results in order."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(function, rows))


def invented(n: int, side: int, colour: bool = False, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth noise (n, side, side), or (n, side, side, 3), where tests have no pictures."""
    rng = np.random.default_rng(seed)
    small = Tensor(rng.uniform(0, 255, (n, 3 if colour else 1, 5, 5)))
    smooth = upsample_bilinear(small, size=(side, side)).data.transpose(0, 2, 3, 1)
    return (smooth if colour else smooth[..., 0]).astype(np.uint8)
