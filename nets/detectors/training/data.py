"""What there is to learn from: annotated pictures, face crops, pictures without faces.

The folder is laid out as its own PROVENANCE.md files say. Nothing is decoded here; images are read
from their archives when asked for.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nets.detectors.training.locate import locate
from nets.detectors.training.store import Entry, Store
from nets.detectors.training.wild import free_names, wild_names
from vj.boxes import as_boxes, to_xyxy
from vj.errors import SourceError
from vj.io.files import data_folder

F32 = NDArray[np.float32]
HARD, WIDER = "backgrounds_hard", "boxes_wider"
# Pictures that show what one of a development set shows, a moment earlier or later (`NEAR` of
# `nets.detectors.gather.hashes`): never trained on either.
TOO_ALIKE = (
    "mask_maksssksksss157.jpg", "mask_maksssksksss222.jpg",
    "wider_01810.avif", "wider_01842.avif", "wider_01859.avif",
)  # fmt: skip
SURE = 0.7  # machine labels with a lower score are ignored, not learned
SURE_LARGE = 0.85  # the same for boxes over a third of the picture, where most errors are


@dataclass(frozen=True)
class Sets:
    """Names of the folders that are learned from, besides faces_train.

    Attributes
    ----------
    pictures : sequence of str
        Annotated pictures; those of boxes_train come first.
    backgrounds : sequence of str
        Pictures without faces.
    """

    pictures: tuple[str, ...] = ("boxes_train", "boxes_more")
    backgrounds: tuple[str, ...] = ("backgrounds_train", "backgrounds_more")


WORLD = Sets(
    ("boxes_train", "boxes_more", WIDER, "wider_full", "occluded", "landmarks", "masks_ilc",
     "masks_yolo", "heads"),
    ("backgrounds_train", "backgrounds_more", HARD, "objects"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An annotated picture.

    Attributes
    ----------
    entry : Entry
    size : (rows, cols)
    boxes : (n, 4) float32
        Faces, x1, y1, x2, y2: forehead to chin.
    landmarks : (n, 5, 2) float32
        Eyes, nose, corners of the mouth, those on the left of the picture first; NaN: unknown.
    ignore : (m, 4) float32
        Regions about which nothing is to be learned.
    """

    entry: Entry
    size: tuple[int, int]
    boxes: F32
    landmarks: F32
    ignore: F32


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A square crop with one face.

    ``landmarks`` (5, 2) as of `Picture`; ``valid`` (4,) the part of the crop that shows what the
    camera saw, beyond it border pixels are repeated; ``scale`` pixels of the original for one of
    the crop.
    """

    entry: Entry
    landmarks: F32
    valid: F32
    scale: float


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Pictures, faces and backgrounds of one part (training or validation)."""

    pictures: Sequence[Picture]
    faces: Sequence[Face]
    backgrounds: Sequence[Entry]


def read_data(
    folder: str | os.PathLike[str] | None = None,
    sets: Sets | None = None,
    gathered: str | os.PathLike[str] | None = None,
) -> tuple[Data, Data]:
    """The parts for training and for validation.

    No person, and no group of neighbouring frames where a source has them, is in both parts.

    Parameters
    ----------
    folder : path, optional
        Holds faces_train and the sets; by default the environment variable ``VJ_DATA``.
    sets : Sets, optional
        By default those that need not be gathered.
    gathered : path, optional
        Folder of the sets that ``python -m nets.detectors.gather`` has made.

    Raises
    ------
    SourceError
        The folder, one of the sets or of their annotations is missing or cannot be understood.
    """
    root, sets = Path(folder or data_folder()), sets or Sets()
    places = [root] if gathered is None else [root, Path(gathered)]
    try:
        faces = list(_faces(root / "faces_train"))
        pictures = [p for name in sets.pictures for p in _pictures(_place(name, places))]
        backgrounds = [e for name in sets.backgrounds for e in _backgrounds(_place(name, places))]
    except OSError as exc:
        reason = exc.strerror or exc
        raise SourceError(f"{exc.filename or root}: {reason}: name the folder of the data "
                          "(VJ_DATA)") from exc  # fmt: skip
    except (KeyError, ValueError, TypeError) as exc:
        raise SourceError(f"{root}: an annotation cannot be understood: {exc!r}") from exc
    pictures = _with_landmarks(pictures, faces)

    def part(held: bool) -> Data:
        return Data(
            [p for p in pictures if p.entry.held_out is held],
            [f for f in faces if f.entry.held_out is held],
            [b for b in backgrounds if b.held_out is held],
        )

    return part(False), part(True)


def _place(name: str, places: Sequence[Path]) -> Path:
    """Folder of a set."""
    for place in places:
        if (place / name).is_dir():
            return place / name
    if name in (*Sets().pictures, *Sets().backgrounds, HARD, WIDER):
        return places[0] / name  # part of the data: reading it says what is missing
    raise SourceError(
        f"{places[-1]}: has no {name}: `python -m nets.detectors.gather CLONES -o FOLDER` gathers "
        "it, and the training wants to know of the FOLDER (--gathered)"
    )


def _pictures(folder: Path) -> Iterator[Picture]:
    """Those that may be trained on."""
    kept_off = {*TOO_ALIKE, *(wild_names(folder.parent) if folder.name == WIDER else ())}
    return (p for p in read_pictures(folder) if p.entry.name not in kept_off)


def read_pictures(folder: Path) -> Iterator[Picture]:
    """The annotated pictures of one folder, those to judge a detector by as well."""
    for item in json.loads((folder / "annotations.json").read_text(encoding="utf-8")):
        boxes, size = to_xyxy(item["boxes"]), (int(item["height"]), int(item["width"]))
        landmarks = np.full((len(boxes), 5, 2), np.nan, np.float32)
        for k, points in enumerate(item.get("landmarks5", ())):
            if points is not None:
                landmarks[k] = points
        ignore = to_xyxy([*item["ignore"], *item["ignore_auto"]])
        doubtful = np.zeros(len(boxes), bool)
        if "scores" in item:
            large = (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0) > min(size) / 3
            doubtful = np.array(item["scores"]) < np.where(large, SURE_LARGE, SURE)
        entry = Entry(folder / "images.zip", item["file"], item["source"], _group(item))
        ignore = as_boxes(np.concatenate([ignore, boxes[doubtful]]))
        yield Picture(entry, size, boxes[~doubtful], landmarks[~doubtful], ignore)


def read_wild(folder: Path) -> list[Picture]:
    """The pictures of boxes_wider that are never trained on."""
    names = set(wild_names(folder))
    return [p for p in read_pictures(folder / WIDER) if p.entry.name in names]


def _group(item: dict[str, Any]) -> str:
    """What must not be divided: the person of a portrait, neighbours in a numbered series."""
    stem = Path(item["original"]).stem
    if item["source"] == "all_age_faces":
        return stem.partition("A")[0]
    if item["source"] == "lsp_extended":
        return stem[:-1]
    return stem


def _faces(folder: Path) -> Iterator[Face]:
    names = [f"{point}_{axis}" for point in ("le", "re", "nose", "ml", "mr") for axis in "xy"]
    edges = [f"valid_{corner}" for corner in ("x0", "y0", "x1", "y1")]
    with (folder / "faces_train.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            # The crops of one source are cut from the portraits of boxes_train: one person, one
            # part, so both bear the same name of source and group.
            source = {"aaf": "all_age_faces"}.get(row["source"], row["source"])
            group = row["group"] or row["file"]
            archive = folder / f"faces_{row['source']}.zip"
            yield Face(
                Entry(archive, row["file"], source, group),
                np.array([float(row[n]) for n in names], np.float32).reshape(5, 2),
                np.array([float(row[n]) for n in edges], np.float32),
                float(row["src_face_px"]) / float(row["box_w"]),
            )


def _backgrounds(folder: Path) -> Iterator[Entry]:
    if (folder / "annotations.json").is_file():  # gathered
        yield from (picture.entry for picture in read_pictures(folder))
        return
    kept_off = free_names(folder.parent) if folder.name == HARD else {}
    with (folder / f"{folder.name}.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["file"] not in kept_off:
                yield Entry(folder / "backgrounds.zip", row["file"], row["source"], row["file"])


def _with_landmarks(pictures: list[Picture], faces: list[Face]) -> list[Picture]:
    """Carry the landmarks of crops over to the portraits that they were cut from."""
    crops = {face.entry.group: face for face in faces if face.entry.source == "all_age_faces"}
    store, found = Store(), []
    for picture in pictures:
        crop = crops.get(picture.entry.group)
        if picture.entry.source == "all_age_faces" and crop and len(picture.boxes) == 1:
            gray = store.image(crop.entry).convert("L")
            points = locate(store.image(picture.entry), picture.boxes[0], gray, crop.landmarks,
                            crop.scale)  # fmt: skip
            if points is not None:
                picture = replace(picture, landmarks=points[None])
        found.append(picture)
    return found
