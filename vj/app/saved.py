"""Detections of an earlier run, read back from its JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vj.detections import Detections
from vj.errors import ParameterError, SourceError

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
        The file is missing, or holds something else.
    """
    found: dict[str, dict[Key, Detections]] = {}
    try:
        with Path(path).open(encoding="utf-8") as file:
            for row in _rows(file.read()):
                key = row["frame"] if row["time_s"] is None else float(row["time_s"])
                found.setdefault(row["source"], {})[key] = Detections.from_rows(row["boxes"])
    except OSError as exc:
        raise SourceError(f"{path}: cannot read: {exc.strerror}") from exc
    except (ValueError, KeyError, TypeError, ParameterError) as exc:
        raise SourceError(f"{path}: not what --json or --jsonl writes: {exc}") from exc
    return Saved(path, found)


def _rows(text: str) -> list[dict[str, Any]]:
    if text.startswith('{"schema": 1, "results"'):
        return list(json.loads(text)["results"])
    return [json.loads(line) for line in text.splitlines() if line.strip()]
