"""Box formats in plain text: YOLO, WIDER FACE, FDDB, OpenCV's info lists, CSV."""

from __future__ import annotations

import contextlib
import csv
import math
import zipfile
from io import StringIO
from pathlib import Path

import numpy as np

from vj import limits
from vj.datasets.pictures import PICTURES, Picture, Shelf, boxes_from_xywh, is_file
from vj.errors import SourceError
from vj.records import brief, digits, numbers, read_text, shown, whole


def lines_of(path: Path) -> list[tuple[int, str]]:
    """Numbered lines without blank ones and ``#`` comments; any line ends, UTF-8 or Latin-1."""
    rows = ((k + 1, line.strip()) for k, line in enumerate(read_text(path).splitlines()))
    return [(k, line) for k, line in rows if line and not line.startswith("#")]


def recognise(path: Path) -> str:
    """Which of the list formats a text file holds."""
    rows = lines_of(path)
    if rows and _split_info(rows[0][1]) is not None:
        return "info"
    if len(rows) > 1 and digits(rows[1][1]) is not None:
        boxes = [line.split() for _, line in rows[2:] if len(line.split()) > 1]
        return "fddb" if boxes and len(boxes[0]) in (5, 6) else "wider"
    line = rows[0][0] if rows else 1
    raise SourceError(
        f"{path}:{line}: no list of boxes: wanted `picture n x y w h ...` (OpenCV), or a picture "
        "and a count on lines of their own (WIDER, FDDB)"
    )


def _floats(text: str, count: int, path: Path, line: int) -> list[float]:
    """The numbers of a line, at least ``count``."""
    return numbers(text.split(), count, f"{path}:{line}", more=True)


def _blocks(path: Path, width: int) -> list[tuple[int, str, list[list[float]]]]:
    """Line, picture name and number rows of the form: name, count, ``count`` rows."""
    rows, at, out = lines_of(path), 0, []
    while at < len(rows):
        line, name = rows[at]
        got = rows[at + 1][1] if at + 1 < len(rows) else "the end of the file"
        count = digits(got)
        if count is None:
            raise SourceError(f"{path}:{line + 1}: wanted the number of boxes, got {shown(got)}")
        body = rows[at + 2 : at + 2 + count]
        if len(body) < count:
            raise SourceError(f"{path}:{line}: {name} promises {count} boxes, has {len(body)}")
        out.append((line, name, [_floats(text, width, path, k) for k, text in body]))
        at += 2 + count
        # WIDER writes one row of zeros after a count of 0.
        if count == 0 and at < len(rows) and not rows[at][1].strip("0. "):
            at += 1
    return out


def read_wider(path: Path) -> list[Picture]:
    """WIDER FACE text: x y w h and six attributes; a face marked invalid is ignored."""
    shelf, pictures = Shelf(path.parent), []
    for line, name, rows in _blocks(path, 4):
        bad = [row[2] <= 0 or row[3] <= 0 or row[7:8] == [1.0] for row in rows]
        kept, ignored = (
            boxes_from_xywh([row[:4] for row, skip in zip(rows, bad, strict=True) if skip is which])
            for which in (False, True)
        )
        pictures.append(Picture(name, shelf.find(name), kept, ignored, where=f"{path}:{line}"))
    return pictures


def read_fddb(path: Path) -> list[Picture]:
    """FDDB ellipses (major radius, minor radius, angle, centre): their bounding boxes."""
    shelf, pictures = Shelf(path.parent), []
    for line, name, rows in _blocks(path, 5):
        boxes = []
        for major, minor, angle, x, y, *_ in rows:
            half_w = math.hypot(major * math.cos(angle), minor * math.sin(angle))
            half_h = math.hypot(major * math.sin(angle), minor * math.cos(angle))
            boxes.append([x - half_w, y - half_h, x + half_w, y + half_h])
        name = name if Path(name).suffix.lower() in PICTURES else f"{name}.jpg"
        xyxy = np.array(boxes, np.float64).reshape(-1, 4)
        pictures.append(Picture(name, shelf.find(name), xyxy, where=f"{path}:{line}"))
    return pictures


def _split_info(text: str) -> tuple[str, list[float]] | None:
    """``picture n x y w h ...`` to its name (which may hold spaces) and numbers."""
    parts = text.split()
    for k in range(1, len(parts)):
        count = digits(parts[k])
        if count is not None and len(parts) - k - 1 == 4 * count:
            with contextlib.suppress(SourceError):
                return " ".join(parts[:k]), numbers(parts[k + 1 :], 4 * count, "")
    return None


def read_info(path: Path) -> list[Picture]:
    """OpenCV's ``picture n x y w h ...``, paths relative to the list, else to the work folder."""
    shelf, pictures = Shelf(path.parent), []
    for line, text in lines_of(path):
        found = _split_info(text)
        if found is None:
            raise SourceError(
                f"{path}:{line}: wanted `picture n` and n times `x y w h`, got {shown(text)}"
            )
        name, values = found
        place = shelf.find(name, elsewhere=True)
        pictures.append(Picture(name, place, boxes_from_xywh(values), where=f"{path}:{line}"))
    return pictures


def read_yolo(path: Path) -> list[Picture]:
    """A folder of YOLO files: ``class cx cy w h`` in parts of the picture's size.

    Class names come from ``classes.txt`` or ``obj.names`` in the folder or beside it.
    """
    folder = path / "labels" if (path / "labels").is_dir() else path
    if folder.is_file():
        raise SourceError(f"{path}: YOLO labels are a folder of .txt files: name the folder")
    classes: list[str] = []
    for place in (folder, folder.parent):
        for file in (place / "classes.txt", place / "obj.names"):
            if file.is_file() and not classes:
                classes = [line for _, line in lines_of(file)]
    shelf, pictures = Shelf(folder), []
    for file in sorted(folder.glob("*.txt")):
        if file.name == "classes.txt":
            continue
        names = (f"{file.stem}{suffix}" for suffix in sorted(PICTURES))
        found = [place for place in map(shelf.find, names) if is_file(place)]
        if not found:
            raise SourceError(f"{file}: no picture {file.stem}.* in {folder} or beside it")
        rows = [(k, _floats(text, 5, file, k)) for k, text in lines_of(file)]
        width, height = picture_size(found[0])
        boxes, labels = [], []
        for line, (kind, cx, cy, w, h, *_) in rows:
            if not (0 <= cx <= 1 and 0 <= cy <= 1 and 0 < w <= 1 and 0 < h <= 1):
                raise SourceError(
                    f"{file}:{line}: YOLO boxes are parts of the picture, 0 to 1, got "
                    f"{cx:g} {cy:g} {w:g} {h:g}"
                )
            boxes.append([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
            number = whole(kind, f"{file}:{line}, class", limits.COUNTS)
            labels.append(classes[number] if number < len(classes) else str(number))
        xyxy = np.array(boxes, np.float64).reshape(-1, 4) * [width, height, width, height]
        pictures.append(
            Picture(found[0].name, found[0], xyxy, labels=tuple(labels), where=str(file))
        )
    return pictures


def read_table(path: Path) -> list[Picture]:
    """CSV with a header: file, box_x, box_y, box_w, box_h; optional group, roll_deg, source."""
    if path.is_dir():
        tables = sorted(path.glob("*.csv"))
        if not tables:
            raise SourceError(f"{path}: no .csv file in this folder")
        path = tables[0]
    shelf = Shelf(path.parent)
    rows: dict[str, list[dict[str, str]]] = {}
    lines: dict[str, int] = {}
    columns = ("box_x", "box_y", "box_w", "box_h")
    reader = csv.DictReader(StringIO(read_text(path), newline=""), restval="")
    try:
        missing = {"file", *columns} - set(reader.fieldnames or ())
        if missing:
            raise SourceError(f"{path}:1: the header lacks {', '.join(sorted(missing))}")
        for row in reader:
            rows.setdefault(row["file"], []).append(row)
            lines.setdefault(row["file"], reader.line_num)
    except csv.Error as exc:
        raise SourceError(f"{path}:{reader.line_num}: not CSV: {exc}") from exc
    pictures = []
    for name, found in rows.items():
        line = lines[name]
        boxes = [numbers([row[c] for c in columns], 4, f"{path}:{line}") for row in found]
        pictures.append(
            Picture(
                name,
                shelf.find(name),
                boxes_from_xywh(boxes),
                groups=tuple(row.get("group") or f"{name}#{k}" for k, row in enumerate(found)),
                rolls=tuple(_floats(row.get("roll_deg") or "0", 1, path, line)[0] for row in found),
                source=found[0].get("source") or "",
                where=f"{path}:{line}",
            )
        )
    return pictures


def picture_size(path: Path | zipfile.Path) -> tuple[int, int]:
    """(width, height) as displayed, from the header alone."""
    from PIL import Image

    try:
        with path.open("rb") as file, Image.open(file) as picture:
            width, height = picture.size
            turned = False
            with contextlib.suppress(
                Exception
            ):  # a malformed EXIF block costs the orientation only
                turned = picture.getexif().get(0x0112) in (5, 6, 7, 8)
    except Exception as exc:  # Pillow's parsers raise whatever a broken file makes them meet
        raise SourceError(f"{path}: no picture that can be read: {brief(exc)}") from exc
    return (height, width) if turned else (width, height)
