"""What is written about the detections: JSON, JSON lines, CSV, COCO or plain text.

A format turns records into text, piece by piece, and knows nothing of files.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vj.detections import Detections

SCHEMA = 1


@dataclass(frozen=True, eq=False)
class Record:
    """What was found in one frame."""

    source: str
    frame: int
    time: float | None
    width: int
    height: int
    detector: str
    detections: Detections

    def row(self) -> dict[str, Any]:
        """The row of the JSON schema."""
        return {
            "schema": SCHEMA,
            "source": self.source,
            "frame": self.frame,
            "time_s": self.time,
            "width": self.width,
            "height": self.height,
            "detector": self.detector,
            "boxes": [_finite(box) for box in self.detections.to_rows()],
        }


# --------------------------------------------------------------------------- formats


class Format:
    """Text before the first record, for each record, and after the last one."""

    def head(self) -> str:
        """What comes first."""
        return ""

    def body(self, record: Record) -> str:
        """What a record adds."""
        raise NotImplementedError

    def tail(self) -> str:
        """What comes last."""
        return ""


class _JsonLines(Format):
    """One row a line."""

    def body(self, record: Record) -> str:
        return _json(record.row()) + "\n"


class _Json(Format):
    """One document with the rows of JSON lines."""

    def __init__(self) -> None:
        self._comma = ""

    def head(self) -> str:
        return f'{{"schema": {SCHEMA}, "results": ['

    def body(self, record: Record) -> str:
        comma, self._comma = self._comma, ","
        return f"{comma}\n{_json(record.row())}"

    def tail(self) -> str:
        return "\n]}\n"


class _Csv(Format):
    """One line a box."""

    COLUMNS = (
        *("source", "frame", "time_s", "width", "height", "detector", "x1", "y1", "x2", "y2"),
        *("score", "confidence", "level", "neighbors", "track_id", "landmarks"),
    )

    def head(self) -> str:
        return self._lines([self.COLUMNS])

    def body(self, record: Record) -> str:
        row = record.row()
        lines = []
        for box in row["boxes"]:
            corners = dict(zip(("x1", "y1", "x2", "y2"), box["xyxy"], strict=True))
            points = [str(v) for point in box.get("landmarks", ()) for v in point]
            cells = {**row, **box, **corners, "landmarks": " ".join(points)}
            lines.append([cells.get(name) for name in self.COLUMNS])
        return self._lines(lines)

    def _lines(self, lines: Sequence[Sequence[Any]]) -> str:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(lines)
        return text.getvalue()


class _Coco(Format):
    """A COCO data set: images, annotations with a score, and the category "face"."""

    def __init__(self) -> None:
        self._annotations: list[str] = []
        self._images = 0

    def head(self) -> str:
        info = {"description": "faces found by vj-detect", "version": str(SCHEMA)}
        face = [{"id": 1, "name": "face", "supercategory": "person"}]
        return f'{{"info": {_json(info)},\n"categories": {_json(face)},\n"images": ['

    def body(self, record: Record) -> str:
        comma = "," if self._images else ""
        self._images += 1
        for found in record.detections.to_coco(self._images):
            area = found["bbox"][2] * found["bbox"][3]
            extra = {"id": len(self._annotations) + 1, "area": area, "iscrowd": 0}
            self._annotations.append(_json(_finite({**found, **extra})))
        image = {
            "id": self._images,
            "file_name": record.source,
            "width": record.width,
            "height": record.height,
        }
        if record.time is not None:
            image |= {"frame": record.frame, "time_s": record.time}
        return f"{comma}\n{_json(image)}"

    def tail(self) -> str:
        return '\n],\n"annotations": [\n' + ",\n".join(self._annotations) + "\n]}\n"


class _Text(Format):
    """One line a frame, for people: faces as WIDTHxHEIGHT+X+Y."""

    def body(self, record: Record) -> str:
        boxes = [[round(v) for v in box] for box in record.detections.xywh.tolist()]
        places = "".join(f" {w}x{h}+{x}+{y}" for x, y, w, h in boxes)
        colon = ":" if boxes else ""
        moment = "" if record.time is None else f" {record.time:.3f} s"
        return f"{record.source}{moment}: {count(len(boxes), 'face')}{colon}{places}\n"


FORMATS: dict[str, Callable[[], Format]] = {
    "json": _Json,
    "jsonl": _JsonLines,
    "csv": _Csv,
    "coco": _Coco,
    "text": _Text,
}


def count(n: int, noun: str) -> str:
    """``3 faces``."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _finite(value: Any) -> Any:
    """JSON has no NaN: a number that is not finite becomes null."""
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
