"""Cascades by name: our own from ``vj/data``, and those that installed packages carry.

A cascade of ours is ``vj/data/NAME.xml`` with its card ``NAME.json`` beside it; putting the two
files there is all it takes to publish one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from vj.cascade import opencv_xml
from vj.cascade.model import Cascade
from vj.errors import CascadeError

DEFAULT = "frontalface"
_OURS = Path(__file__).parents[1] / "data"


@dataclass(frozen=True, slots=True)
class CascadeCard:
    """What a cascade is good for and where it comes from.

    Attributes
    ----------
    name : str
        What `load_cascade` takes.
    path : Path
    description, licence, source : str
    details : mapping
        The rest of the card of a cascade of ours: training data, scores, calibration.
    """

    name: str
    path: Path
    description: str
    licence: str
    source: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        least = self.details.get("scoring", {}).get("min_confidence")
        default = "" if least is None else f"; by default min_confidence={least:g}"
        return f"{self.name}: {self.description} ({self.licence}; {self.source}{default})"


def load_cascade(name_or_path: str | os.PathLike[str] | bytes | IO[Any]) -> Cascade:
    """Load a cascade by name, or from a path, bytes or a file object.

    Parameters
    ----------
    name_or_path : str, path, bytes or file object
        A name of `list_cascades`; everything else is read as OpenCV's XML, gzipped or not, new
        format or old. A name wins over a file of the same name: write ``./name`` for that.

    Returns
    -------
    Cascade
        Immutable; loaded once for each name.

    Raises
    ------
    CascadeError
        No such name, or no valid cascade.
    SourceError
        The file is missing or cannot be read.

    Examples
    --------
    >>> load_cascade("frontalface").window
    (24, 24)
    """
    if isinstance(name_or_path, str):
        if name_or_path in _cards():
            return _bundled(name_or_path)
        if _looks_like_name(name_or_path):
            raise CascadeError(_unknown(name_or_path))
    return opencv_xml.read(name_or_path)


def save_cascade(cascade: Cascade, path: str | os.PathLike[str]) -> None:
    """Write a cascade as OpenCV XML that cv2 4.x loads; the same as ``cascade.save(path)``.

    Raises
    ------
    SinkError
        The file cannot be written; nothing is left behind.
    """
    opencv_xml.write(cascade, path)


def list_cascades() -> dict[str, CascadeCard]:
    """The cascades that can be loaded by name, and their cards; ours first.

    After ours come scikit-image's face cascade and the files of opencv-python < 5, if installed.
    """
    return dict(_cards())


@cache
def _bundled(name: str) -> Cascade:
    card = _cards()[name]
    cascade = opencv_xml.read(card.path, name)
    return replace(cascade, metadata={**cascade.metadata, "card": card})


@cache
def _cards() -> dict[str, CascadeCard]:
    cards: dict[str, CascadeCard] = {}
    for card in (*_ours(), *_carried_by_scikit_image(), *_carried_by_opencv()):
        cards.setdefault(card.name, card)
    return cards


def _ours() -> Iterator[CascadeCard]:
    for path in sorted(_OURS.glob("*.xml*"), key=lambda path: path.name.split(".")):
        card_path = _OURS / f"{path.name.split('.')[0]}.json"
        if not card_path.is_file():
            continue
        try:
            details = dict(json.loads(card_path.read_text("utf-8")))
        except (OSError, ValueError, TypeError) as exc:
            raise CascadeError(f"{card_path}: no model card: {exc}") from exc
        known = {key: str(details.pop(key, "")) for key in ("description", "licence", "source")}
        yield CascadeCard(card_path.stem, path, **known, details=details)


def _carried_by_scikit_image() -> Iterator[CascadeCard]:
    path = _inside("skimage", "data/lbpcascade_frontalface_opencv.xml")
    if path is None or not path.is_file():
        return
    for name in (DEFAULT, "lbpcascade_frontalface"):  # the second name stays when we train our own
        yield CascadeCard(
            name,
            path,
            "frontal faces, 24x24, LBP, 20 stages",
            "BSD-3-Clause",
            "OpenCV's file, in scikit-image",
        )


def _carried_by_opencv() -> Iterator[CascadeCard]:
    folder = _inside("cv2", "data")
    for path in sorted(folder.glob("haarcascade_*.xml")) if folder else ():
        what = path.stem.removeprefix("haarcascade_").replace("_", " ")
        yield CascadeCard(path.stem, path, what, "see the file", "OpenCV's file, in opencv-python")


def _inside(package: str, part: str) -> Path | None:
    """A path in an installed package, found without importing it."""
    spec = find_spec(package)
    return Path(spec.origin).parent / part if spec and spec.origin else None


def _looks_like_name(text: str) -> bool:
    return not (Path(text).suffix or os.sep in text or "/" in text or os.path.exists(text))  # noqa: PTH110


def _unknown(name: str) -> str:
    names = list(_cards())
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return f"no cascade named {name!r}: {hint}There are {', '.join(names)}; or give a path"
