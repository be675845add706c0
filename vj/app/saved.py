"""Detections of an earlier run, read back from its JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vj.detections import Detections
from vj.errors import ParameterError, SourceError
from vj.limits import COUNTS
from vj.records import Record, parse_json, read_bytes

if TYPE_CHECKING:
    from vj.io.source import Frame

Key = float | int


@dataclass(frozen=True)
class Saved:
    """What was found in each frame of each input.

    A frame of a video is known by its time, so that another part of the video may be asked for.
    """

    path: str
    found: dict[str, dict[Key, Detections]]

    def of(self, name: str, frame: Frame) -> Detections:
        """What was found in a frame of the input ``name``.

        Raises
        ------
        SourceError
            The frame was not searched: then nobody knows what is in it.
        """
        frames = self.found.get(name)
        if frames is None:  # the file may have moved since
            same = [n for n in self.found if Path(n).name == Path(name).name]
            frames = self.found[same[0]] if len(same) == 1 else None
        if frames is None:
            raise SourceError(f"{name}: {self.path} has nothing about it")
        key = frame.index if frame.time is None else float(frame.time)
        if key not in frames:
            what = f"frame {frame.index}" if frame.time is None else f"{key:.3f} s"
            raise SourceError(f"{name}: {self.path} has nothing about {what}")
        return frames[key]


def read_saved(path: str) -> Saved:
    """Read what ``--json`` or ``--jsonl`` wrote.

    Raises
    ------
    SourceError
        The file is missing, or holds something else; the message names the line.
    """
    found: dict[str, dict[Key, Detections]] = {}
    data = read_bytes(path)
    try:
        for row in _rows(data):
            found.setdefault(row.text("source"), {})[_key(row)] = _detections(row)
    except (SourceError, ParameterError) as exc:
        raise SourceError(f"{path}: not what --json or --jsonl writes: {exc}") from exc
    return Saved(path, found)


def _rows(data: bytes) -> Iterator[Record]:
    if data.startswith(b'{"schema": 1, "results"'):
        yield from Record(parse_json(data, "line"), "the document").records("results", "result")
        return
    for k, line in enumerate(data.splitlines(), 1):
        if line.strip():
            yield Record(parse_json(line, f"line {k}"), f"line {k}")


def _key(row: Record) -> Key:
    """Time of a frame of a video, number of one of a picture."""
    return row.number("time_s") if row.raw("time_s") is not None else row.whole("frame", COUNTS)


def _detections(row: Record) -> Detections:
    for box in row.records("boxes", "box"):
        box.numbers("xyxy", 4)
        if "landmarks" in box:
            box.rows("landmarks", 2)
        for key in ("score", "confidence"):
            if key in box:
                box.number(key)
    return Detections.from_rows(row.entries("boxes"))
