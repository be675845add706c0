"""Searching what was hidden: a second detector over the result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vj.app.formats import count
from vj.app.progress import Console
from vj.io.source import Item, Picture
from vj.io.video_source import Video

if TYPE_CHECKING:
    from vj.app.sink import Task
    from vj.detect.registry import Detector

_NAMED = 10  # frames with a face that are told one by one


def audit(tasks: Sequence[Task], detector: Detector, console: Console) -> int:
    """Frames of the written pictures and videos in which the detector finds a face; each is told.

    Numbered pictures are searched one by one.
    """
    searched = left = 0
    for task in tasks:
        for item in _written(task):
            for frame in item.frames():
                searched += 1
                found = detector.detect(frame.image)
                if not len(found):
                    continue
                left += 1
                if left <= _NAMED:
                    moment = "" if frame.time is None else f" {float(frame.time):.3f} s"
                    x1, y1, x2, y2 = (round(v) for v in found.xyxy[0].tolist())
                    place = f"{x2 - x1}x{y2 - y1}+{x1}+{y1}"
                    console.error(f"{item.name}{moment}: a face is left: {place}")
    more = f", {left - _NAMED} more than told" if left > _NAMED else ""
    console.say(f"audit: a face is left in {left} of {count(searched, 'frame')}{more}")
    return left


def _written(task: Task) -> list[Item]:
    path = task.path
    if path is None:
        return []
    if "%" in path.name:
        pattern = path.name.split("%")[0] + "*" + path.suffix
        return [Picture(str(p), p, Path(p.name)) for p in sorted(path.parent.glob(pattern))]
    if not path.exists():  # its input failed
        return []
    kind = Video if isinstance(task.item, Video) else Picture
    return [kind(str(path), path, Path(path.name))]
