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
Size = tuple[int, int]  # width and height
_SLACK = 0.5  # seconds by which a file may last longer than it says


@dataclass(frozen=True)
class Saved:
    """What was found in each frame of each input.

    A frame of a video is known by its time, so that another part of the video may be asked for.
    """

    path: str
    found: dict[str, dict[Key, Detections]]
    sizes: dict[str, dict[Key, Size]]  # of the frames, where the file tells

    def of(self, name: str, frame: Frame) -> Detections:
        """What was found in a frame of the input ``name``.

        Raises
        ------
        SourceError
            The frame was not searched: then nobody knows what is in it.
        ParameterError
            What was searched is another file: its name, or its size, is another.
        """
        source = self._source(name)
        frames = self.found[source]
        key = frame.index if frame.time is None else float(frame.time)
        if key not in frames:
            what = f"frame {frame.index}" if frame.time is None else f"{key:.3f} s"
            raise SourceError(f"{name}: {self.path} has nothing about {what}")
        height, width = frame.image.shape[:2]
        size = self.sizes[source].get(key, (width, height))
        if size != (width, height):
            raise ParameterError(
                f"{name}: has {width}x{height} pixels, and {self.path} is about a file of "
                "{}x{}".format(*size)
            )
        return frames[key]

    def check_length(self, name: str, seconds: float | None) -> None:
        """Raise ParameterError if frames beyond the end of a video were searched."""
        last = max(self.found[self._source(name)])
        if seconds is not None and last > seconds + _SLACK:
            raise ParameterError(
                f"{name}: lasts {seconds:.2f} s, and {self.path} is about a file with a frame "
                f"at {last:.2f} s"
            )

    def check_count(self, name: str, n: int) -> None:
        """Raise ParameterError if more frames than the ``n`` of a whole video were searched."""
        known = len(self.found[self._source(name)])
        if n < known:
            raise ParameterError(
                f"{name}: has {n} frames, and {self.path} is about a file of {known}"
            )

    def _source(self, name: str) -> str:
        """What the file calls the input."""
        if name in self.found:
            return name
        # The file may have moved since.
        same = [n for n in self.found if Path(n).name == Path(name).name]
        if len(same) == 1:
            return same[0]
        if not self.found:
            raise SourceError(f"{name}: {self.path} has nothing about it")
        others = f" and {len(self.found) - 1} more" if len(self.found) > 1 else ""
        raise ParameterError(
            f"{name}: {self.path} has nothing about it, only about {min(self.found)}{others}"
        )


def read_saved(path: str) -> Saved:
    """Read what ``--json`` or ``--jsonl`` wrote.

    Raises
    ------
    SourceError
        The file is missing, or holds something else; the message names the line.
    """
    found: dict[str, dict[Key, Detections]] = {}
    sizes: dict[str, dict[Key, Size]] = {}
    data = read_bytes(path)
    try:
        for row in _rows(data):
            source, key = row.text("source"), _key(row)
            found.setdefault(source, {})[key] = _detections(row)
            known = sizes.setdefault(source, {})
            if "width" in row:
                known[key] = row.whole("width", COUNTS), row.whole("height", COUNTS)
    except (SourceError, ParameterError) as exc:
        raise SourceError(f"{path}: not what --json or --jsonl writes: {exc}") from exc
    return Saved(path, found, sizes)


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
