"""Where results go: data to files or standard output, pictures to files."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vj.app.formats import FORMATS, Record
from vj.app.progress import Console
from vj.errors import ParameterError
from vj.io.files import replacing, writing
from vj.io.source import PICTURES, Item, Missing, Picture
from vj.io.video_source import CONTAINERS, Video

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vj.detections import Detections
    from vj.io.source import Frame
    from vj.io.video_sink import Encoding, Write


@contextlib.contextmanager
def data_sink(kind: str, target: str, console: Console) -> Iterator[Callable[[Record], None]]:
    """A function that writes records in a format to a file, or to standard output for "-".

    A file gets its name when the block ends without an error; see `replacing`.
    """
    if kind == "parquet":
        from vj.app.parquet import parquet_sink

        with parquet_sink(target) as write_row:
            yield write_row
        return
    form = FORMATS[kind]()
    # A file name that is not UTF-8 comes back as its bytes, or as the escape that JSON has for it.
    errors = "surrogateescape" if kind in ("csv", "text") else "backslashreplace"
    with contextlib.ExitStack() as stack:
        file = None if target == "-" else stack.enter_context(replacing(target))

        def write(text: str) -> None:
            data = text.encode("utf-8", errors)
            if file is None:
                console.write(data)
            else:
                with writing(target):
                    file.write(data)

        write(form.head())
        yield lambda record: write(form.body(record))
        write(form.tail())


@contextlib.contextmanager
def picture_sink(path: Path | None) -> Iterator[Callable[[NDArray[np.uint8]], None]]:
    """A function that writes the picture of a frame to ``path``, making its folders."""
    if path is None:
        yield lambda image: None
        return
    from vj.io.images import write_image

    def write(image: NDArray[np.uint8]) -> None:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, image)

    yield write


@contextlib.contextmanager
def frame_sink(task: Task, encoding: Encoding) -> Iterator[Write | None]:
    """A function that adds a frame of a video to its output, or None where there is none.

    It takes the frame and its painted image, or None where nothing was painted.
    """
    path, item = task.path, task.item
    assert isinstance(item, Video)
    if path is None:
        yield None
    elif "%" in path.name:
        yield _sequence(path)
    else:
        from vj.io.video_sink import video_sink

        source = item.source if item.path is not None else None
        with video_sink(path, source, encoding) as write:
            yield write


def _sequence(pattern: Path) -> Write:
    """Pictures with numbers in their names."""
    from vj.io.images import write_image

    def write(frame: Frame, image: NDArray[np.uint8] | None) -> None:
        path = pattern.with_name(pattern.name % frame.index)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, frame.image if image is None else image)

    return write


def write_crops(folder: Path, item: Item, frame: Frame, found: Detections) -> None:
    """Write a picture of each face: its input, frame, and track or number in the name."""
    from vj.boxes import clip
    from vj.io.images import write_image

    tracks = found.track_id
    for i, box in enumerate(clip(found.xyxy, frame.image.shape)):
        x1, y1, x2, y2 = (round(float(v)) for v in box)
        if x1 >= x2 or y1 >= y2:
            continue
        moment = "" if frame.time is None else f"-{frame.index:06d}"
        which = f"{i + 1}" if tracks is None else f"t{tracks[i]}"
        path = folder / item.place.parent / f"{item.place.name}{moment}-{which}.png"
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, frame.image[y1:y2, x1:x2])


@dataclass(frozen=True)
class Task:
    """An input, and where its picture or video goes, if anywhere."""

    item: Item
    path: Path | None = None


def has_film(tasks: Sequence[Task]) -> bool:
    """Whether an input has frames."""
    return any(isinstance(task.item, Video) for task in tasks)


def plan(items: Sequence[Item], target: str | None, suffix: str) -> list[Task]:
    """Which picture goes where.

    Parameters
    ----------
    items : sequence of inputs
    target : str or None
        A picture or video to write, for one input; a folder, in which the tree of the inputs is
        mirrored; None for none, or, with a suffix, for files beside the inputs.
    suffix : str
        Added to the stems of the names of the files in a folder.

    Returns
    -------
    list of Task
        Without the inputs that an earlier run of the same command has written.

    Raises
    ------
    ParameterError
        A picture would replace its input or another output; one picture for many inputs.
    """
    if target is not None and is_file(target):
        if suffix:
            raise ParameterError(f"--suffix is for files in a folder, and -o {target} is one")
        others = [item for item in items if item.path != os.path.realpath(target)]
        if len(others or items) > 1:
            raise ParameterError(f"-o {target} is one file for {len(others)}: name a folder")
        tasks = [Task(item, _fitting(item, Path(target))) for item in others or items]
    else:
        tasks = [Task(item, _path_of(item, target, suffix)) for item in items]
    return _checked(tasks)


def is_file(target: str) -> bool:
    """Whether -o names a picture, a video or numbered pictures, and not a folder."""
    suffix = Path(target).suffix.lower()
    if target.endswith(("/", os.sep)) or Path(target).is_dir() or not suffix:
        return False
    if suffix not in PICTURES and suffix not in CONTAINERS:
        raise ParameterError(
            f"-o {target}: nothing is written as {suffix!r}: use .jpg or .png, .mp4 or .mkv, "
            "or end the name of a folder with /"
        )
    return True


def _fitting(item: Item, path: Path) -> Path:
    """The path, if what the input becomes can be written there."""
    if isinstance(item, Missing):
        return path
    film = path.suffix.lower() in CONTAINERS
    if isinstance(item, Picture) and film:
        raise ParameterError(f"-o {path}: a video, but {item.name} is a picture")
    numbered = re.fullmatch(r"[^%]*%(0?\d+)?d[^%]*", path.name)
    if isinstance(item, Video) and not film and not numbered:
        raise ParameterError(
            f"-o {path}: one picture for the frames of {item.name}: name a video such as "
            "out.mp4, or numbered pictures such as out-%06d.png"
        )
    return path


def _path_of(item: Item, target: str | None, suffix: str) -> Path | None:
    if isinstance(item, Missing) or (target is None and not suffix):
        return None
    if target is None and item.path is None:
        raise ParameterError(f"{item.name}: has no folder to write to: name one with -o")
    place = item.place if target is None else Path(target) / item.place
    if target is None:
        place = Path(item.source)
    known, other = (CONTAINERS, ".mp4") if isinstance(item, Video) else (PICTURES, ".png")
    ending = place.suffix if place.suffix.lower() in known else place.suffix + other
    return place.with_name(place.stem + suffix + ending)


def _checked(tasks: list[Task]) -> list[Task]:
    """The tasks without those that would read what another one writes; none overwrites."""
    real = {task: os.path.realpath(task.path) for task in tasks if task.path is not None}
    written_for = {path: task for task, path in real.items()}
    kept = [task for task in tasks if written_for.get(task.item.path or "", task) is task]
    taken: dict[str, Task] = {}
    for task in kept:
        if task not in real:
            continue
        if real[task] == task.item.path:
            raise ParameterError(f"{task.item.name}: would be overwritten: change -o or --suffix")
        other = taken.setdefault(real[task], task)
        if other is not task:
            raise ParameterError(
                f"{other.item.name} and {task.item.name} would both be written to {task.path}: "
                "give them to -o in two runs, or name the folder above them"
            )
    return kept
