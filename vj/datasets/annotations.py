"""Box files of any format: the reader that a path needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vj.datasets.pictures import PICTURES, Boxes, Picture, Shelf, boxes_from_xywh, is_file
from vj.datasets.readers import FORMATS, recognise
from vj.errors import ParameterError, SourceError

__all__ = [
    "PICTURES",
    "Boxes",
    "Picture",
    "Shelf",
    "boxes_from_xywh",
    "is_file",
    "only",
    "read_annotations",
]


def read_annotations(
    path: str | Path, *, names: Sequence[str] | None = None, format: str | None = None
) -> list[Picture]:
    """Read a box file or a folder of box files in any of the formats below.

    Parameters
    ----------
    path : path
        A file (COCO, LabelMe, ``annotations.json``, CVAT XML, VOC XML, WIDER or FDDB text, OpenCV
        info list, CSV table) or a folder (with ``annotations.json``, or of VOC, LabelMe, YOLO or
        CSV files).
    names : str or sequence of str, optional
        Keep the boxes of these classes only; the others become regions to ignore.
    format : str, optional
        One of `FORMATS`; by default the content decides.

    Returns
    -------
    list of Picture
        In the order of the file, or of file names.

    Raises
    ------
    SourceError
        Missing, unreadable or malformed; the message names file and line.
    ParameterError
        Boxes have classes, and none is of ``names``.
    """
    path = Path(path)
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder")
    if format is None:
        format = recognise(path)
    elif format not in FORMATS:
        raise SourceError(f"unknown format {format!r}: use one of {', '.join(FORMATS)}")
    pictures = FORMATS[format](path)
    if not pictures:
        raise SourceError(f"{path}: read as {format}: names no picture")
    if not names:
        return pictures
    names = [names] if isinstance(names, str) else names
    known = {label for picture in pictures for label in picture.labels}
    if known and not known & set(names):
        raise ParameterError(
            f"`names`: {path} has no box of class {' or '.join(names)}: its classes are "
            f"{', '.join(sorted(known))}"
        )
    return [only(picture, names) for picture in pictures]


def only(picture: Picture, names: Sequence[str]) -> Picture:
    """The picture with boxes of other classes turned into regions to ignore."""
    if not picture.labels:
        return picture
    keep = np.array([label in names for label in picture.labels], bool)

    def kept(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(value for value, mine in zip(values, keep, strict=False) if mine)

    return replace(
        picture,
        boxes=picture.boxes[keep],
        ignore=np.concatenate([picture.ignore, picture.boxes[~keep]]),
        labels=kept(picture.labels),
        groups=kept(picture.groups),
        rolls=kept(picture.rolls),
    )
