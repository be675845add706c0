"""What a training reads: annotated pictures, folders, lists, .vec files, arrays."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vj.datasets.annotations import PICTURES, Boxes, Picture, Shelf, is_file, read_annotations
from vj.datasets.lists import lines_of, picture_size
from vj.errors import SourceError
from vj.io.images import Pixels, as_gray
from vj.train.vec import read_vec

WHOLE = np.array([[0.0, 0.0, np.inf, np.inf]])
NONE: Boxes = np.empty((0, 4))


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture to find negatives in: everywhere but at ``boxes`` and ``ignore``."""

    name: str
    read: Callable[[], Pixels]
    boxes: Boxes = field(default_factory=lambda: NONE)
    ignore: Boxes = field(default_factory=lambda: NONE)
    path: Path | zipfile.Path | None = None

    @classmethod
    def of(cls, picture: Picture) -> Scene:
        """The picture without its objects."""
        name = picture.where or picture.name
        return cls(name, picture.read, picture.boxes, picture.ignore, picture.path)

    def size(self) -> tuple[int, int]:
        """(width, height), of a file from its header alone."""
        if self.path is not None:
            if not is_file(self.path):
                raise SourceError(f"{self.name}: no picture at {self.path}")
            return picture_size(self.path)
        rows, cols = self.read().shape[:2]
        return cols, rows


def read_positives(source: str | Path, *, names: Sequence[str] | None = None) -> list[Picture]:
    """Annotated pictures, or a folder or zip of pictures each of which is an object.

    Raises
    ------
    SourceError
        Nothing there, or malformed; the message names file and line.
    """
    path = Path(source)
    if _is_bare(path):
        return [Picture(place.name, place, WHOLE, where=str(place)) for place in _pictures(path)]
    return read_annotations(path, names=names)


def read_backgrounds(source: str | Path) -> list[Picture]:
    """Pictures whose whole area, but for boxes and ignored regions, holds no object.

    ``source`` is a folder or zip of pictures, a list with one path a line (relative to the list,
    else to the work folder; blank lines and ``#`` comments are fine), or annotated pictures.
    """
    path = Path(source)
    if _is_bare(path):
        return [Picture(place.name, place, NONE, where=str(place)) for place in _pictures(path)]
    if path.is_file() and path.suffix not in (".json", ".xml", ".csv"):
        rows = lines_of(path)
        if rows and Path(rows[0][1]).suffix.lower() in PICTURES:
            return [_listed(path, line, name) for line, name in rows]
    return read_annotations(path)


def _listed(path: Path, line: int, name: str) -> Picture:
    place = Shelf(path.parent).find(name, elsewhere=True)
    return Picture(name, place, NONE, where=f"{path}:{line}")


def _is_bare(path: Path) -> bool:
    """Whether a path is pictures without annotations."""
    if path.is_dir():
        known = ("annotations.json", "*.xml", "*.json", "*.txt", "Annotations/*", "labels/*")
        return not any(next(path.glob(pattern), None) for pattern in known) and not _table(path)
    return path.suffix == ".zip"


def _table(folder: Path) -> bool:
    """Whether the folder's first CSV file is a table of boxes (it may be a mere list)."""
    first = next(iter(sorted(folder.glob("*.csv"))), None)
    return first is not None and "box_x" in first.read_text("utf-8-sig", "replace")[:1000]


def _pictures(path: Path) -> list[Any]:
    found = Shelf(path).all()
    if not found:
        raise SourceError(f"{path}: holds neither box files nor pictures")
    return found


def list_positives(
    positives: Any, window: tuple[int, int] | None, names: Sequence[str] | None = None
) -> tuple[list[Picture], list[tuple[str, Pixels]]]:
    """Annotated pictures, and named arrays each of which is an object.

    Parameters
    ----------
    positives : path, Picture, (H, W) or (H, W, 3) uint8 array, or an iterable of these
        A path may also be a .vec file of samples of ``window``; None takes them for square.
    """
    pictures: list[Picture] = []
    arrays: list[tuple[str, Pixels]] = []
    for item in list_items(positives):
        if isinstance(item, Picture):
            pictures.append(item)
        elif isinstance(item, str | Path) and Path(item).suffix == ".vec":
            patches = read_vec(item, window)
            arrays += [(f"{item}, sample {k}", patch) for k, patch in enumerate(patches)]
        elif isinstance(item, str | Path):
            pictures += read_positives(item, names=names)
        else:
            arrays.append((f"array {len(arrays)}", as_gray(item)))
    return pictures, arrays


def gather_scenes(negatives: Any) -> list[Scene]:
    """Scenes of ``negatives``: paths, Pictures, arrays, or an iterable of these."""
    scenes: list[Scene] = []
    for item in list_items(negatives):
        if isinstance(item, str | Path):
            found: Iterable[Picture] = read_backgrounds(item)
        elif isinstance(item, Picture):
            found = [item]
        else:
            gray = as_gray(item)
            scenes.append(Scene(f"array {len(scenes)}", gray.view))
            continue
        scenes += [Scene.of(picture) for picture in found]
    return scenes


def has_surroundings(picture: Picture) -> bool:
    """Whether the boxes leave three quarters of the picture free: a crop teaches nothing else."""
    if np.isinf(picture.boxes).any():
        return False
    try:
        width, height = picture_size(picture.path)
    except SourceError:
        return False
    area = (picture.boxes[:, 2:] - picture.boxes[:, :2]).prod(axis=1).sum()
    return bool(area < width * height / 4)


def list_items(items: Any) -> list[Any]:
    """What was given, one thing or many, as a list."""
    if isinstance(items, str | Path | Picture):
        return [items]
    if isinstance(items, np.ndarray) and (items.ndim == 2 or items.shape[-1] == 3):
        return [items]
    return list(items)
