"""Annotated pictures: what every reader of box files returns."""

from __future__ import annotations

import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vj.errors import SourceError
from vj.io.images import Pixels, read_image
from vj.records import name

Boxes = NDArray[np.float64]
# What zipfile raises for archives that are damaged, encrypted or compressed in other ways.
_BROKEN = (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, struct.error, EOFError)
PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".pgm", ".ppm", ".tif", ".tiff", ".gif"}


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture and the boxes that a person drew on it.

    Attributes
    ----------
    name : str
        The picture as its annotation file calls it.
    path : Path or zipfile.Path
        Where its pixels are.
    boxes, ignore : (n, 4) and (m, 4) float64
        ``x1, y1, x2, y2``, lower-right exclusive: objects, and regions that count neither way.
    labels : tuple of str
        Class name of each box; empty where the format has none.
    groups : tuple of str
        What each box shows a copy of (a person, an object); empty where nobody says.
    rolls : tuple of float
        In-plane turn of each object in degrees, clockwise; empty where nobody says.
    source : str
        Name of the collection that the picture comes from.
    where : str
        File and line of the annotation, for messages.
    """

    name: str
    path: Path | zipfile.Path
    boxes: Boxes
    ignore: Boxes = field(default_factory=lambda: np.empty((0, 4)))
    labels: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    rolls: tuple[float, ...] = ()
    source: str = ""
    where: str = ""

    def __post_init__(self) -> None:
        name(self.name, self.where or "picture")
        for boxes in (self.boxes, self.ignore):
            bad = np.flatnonzero((boxes[:, 2:] < boxes[:, :2]).any(axis=1))
            if bad.size:
                raise SourceError(
                    f"{self.where or self.name}: wanted boxes of no negative size, got one from "
                    f"{boxes[bad[0], :2].tolist()} to {boxes[bad[0], 2:].tolist()}"
                )

    def read(self) -> Pixels:
        """Decode the pixels; SourceError names the annotation that asked for a missing file."""
        if not is_file(self.path):
            raise SourceError(f"{self.where or self.name}: no picture at {self.path}")
        if isinstance(self.path, Path):
            return read_image(self.path)
        try:
            file = self.path.open("rb")
        except _BROKEN as exc:
            raise SourceError(f"{self.path}: cannot read: {exc}") from exc
        with file:
            return read_image(file)  # type: ignore[arg-type]


def boxes_from_xywh(xywh: ArrayLike) -> Boxes:
    """``x, y, w, h`` rows as ``x1, y1, x2, y2`` rows in float64."""
    rows = np.array(xywh, np.float64).reshape(-1, 4)
    rows[:, 2:] += rows[:, :2]
    return rows


def is_file(place: Path | zipfile.Path) -> bool:
    """Whether there is a file; none has a name that is too long or lies in a closed folder."""
    try:
        return place.is_file()
    except OSError:
        return False


class Shelf:
    """Pictures by name: a zip, or a folder with pictures, zips or ``images/`` in it."""

    def __init__(self, root: Path) -> None:
        archives = [root] if root.suffix == ".zip" else sorted(root.glob("*.zip"))
        self._roots: list[Path | zipfile.Path] = []
        for archive in archives:
            try:
                opened = zipfile.ZipFile(archive)
                if any(name.startswith("//") for name in opened.namelist()):
                    raise ValueError("a name in it begins with //")  # zipfile.Path loops for ever
                self._roots.append(zipfile.Path(opened))
            except _BROKEN as exc:
                raise SourceError(f"{archive}: broken zip archive: {exc}") from exc
        if root.suffix != ".zip":
            self._roots += [root, root / "images", root / "JPEGImages", root.parent / "images"]

    def find(self, name: str, *, elsewhere: bool = False) -> Path | zipfile.Path:
        """The first place that has ``name``; the likeliest place where none has.

        The work folder is such a place only if ``elsewhere``.
        """
        name = name.replace("\\", "/")
        if Path(name).is_absolute():
            return Path(name)
        places = [root / name for root in self._roots] + [Path(name)] * elsewhere
        return next((place for place in places if is_file(place)), places[0])

    def all(self) -> list[Path | zipfile.Path]:
        """Every picture file below, in order of name."""
        found: list[Path | zipfile.Path] = []
        for root in self._roots:
            if isinstance(root, zipfile.Path):
                names = sorted(root.root.namelist())
                found += [root / n for n in names if Path(n).suffix.lower() in PICTURES]
            elif root.is_dir():
                found += sorted(p for p in root.rglob("*") if p.suffix.lower() in PICTURES)
                break  # the other folders lie inside this one, or are a guess
        return found
