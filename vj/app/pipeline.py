"""From inputs to records: read, detect, paint, write; several inputs at once, in their order."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from vj.app.formats import Record
from vj.app.progress import Console
from vj.app.sink import Task, has_film, picture_sink, write_crops
from vj.app.status import Status, Terminated, status_of
from vj.errors import ImageError, SinkError, StreamError, VJError
from vj.io.video_source import Video

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from vj.app.saved import Saved
    from vj.detect.registry import Detector
    from vj.detections import Detections
    from vj.io.source import Frame

    Paint = Callable[[NDArray[np.uint8], Detections], NDArray[np.uint8]]

Outcome = Iterable[Record] | VJError


class VideoStages(Protocol):
    """What a pipeline needs for videos: `vj.app.video_pipeline.Film`."""

    def records(self, pipeline: Pipeline, task: Task) -> Iterator[Record]:
        """Write the video of an input, and tell what was found in each frame."""


@dataclass(frozen=True)
class Pipeline:
    """What happens to every input."""

    detector: Detector | None
    name: str  # of the detector, as it appears in data
    paint: Paint
    console: Console
    film: VideoStages | None = None  # what videos need beyond that
    saved: Saved | None = None  # takes the place of the detector
    crops: Path | None = None  # folder for a picture of each face

    def records(self, task: Task) -> Iterator[Record]:
        """Detect in a picture, write it, and tell what was found."""
        with picture_sink(task.path) as write:
            for frame in task.item.frames():
                started = time.perf_counter()
                found = self.look(task.item.name, frame)
                milliseconds = 1000 * (time.perf_counter() - started)
                self.console.detail(f"{task.item.name}: detected in {milliseconds:.1f} ms")
                self.keep_crops(task, frame, found)
                if task.path is not None:
                    write(self.paint(frame.image, found))
                yield self.record(task, frame, found)

    def look(self, name: str, frame: Frame) -> Detections:
        """What is in a frame of an input."""
        if self.saved is not None:
            return self.saved.of(name, frame)
        assert self.detector is not None
        return self.detector.detect(frame.image)

    def keep_crops(self, task: Task, frame: Frame, found: Detections) -> None:
        """Write a picture of each face, if that is wanted."""
        if self.crops is not None:
            write_crops(self.crops, task.item, frame, found)

    def record(self, task: Task, frame: Frame, found: Detections) -> Record:
        """What was found in a frame of an input."""
        height, width = frame.image.shape[:2]
        moment = None if frame.time is None else float(frame.time)
        return Record(task.item.name, frame.index, moment, width, height, self.name, found)

    def outcome(self, task: Task) -> Outcome:
        """The records of an input, or why there are none; those of a video as they are read."""
        if isinstance(task.item, Video):
            assert self.film is not None
            return self.film.records(self, task)
        try:
            return list(self.records(task))
        except SinkError:  # what stops one output stops them all
            raise
        except VJError as exc:
            return exc
        except MemoryError:
            return ImageError(f"{task.item.name}: too large for the memory of this machine")


@dataclass
class Tally:
    """What a run came to."""

    images: int = 0
    faces: int = 0
    failed: int = 0
    first_failure: VJError | None = None
    interrupted: Status | None = None

    def add(self, record: Record) -> None:
        """Count a record."""
        self.images += 1
        self.faces += len(record.detections)

    def fail(self, error: VJError) -> None:
        """Count an input that is not, or not all, done."""
        self.failed += 1
        self.first_failure = self.first_failure or error

    def status(self, *, fail_if_none: bool = False, fail_if_any: bool = False) -> Status:
        """The exit status; a face that was found counts whatever else failed."""
        if self.interrupted is not None:
            return self.interrupted
        if fail_if_any and self.faces:
            return Status.FACE
        if isinstance(self.first_failure, StreamError):
            return Status.STREAM
        if self.first_failure is not None:
            return Status.PARTLY if self.images else status_of(self.first_failure)
        return Status.NO_FACE if fail_if_none and not self.faces else Status.DONE


def run(
    pipeline: Pipeline,
    tasks: Sequence[Task],
    sinks: Sequence[Callable[[Record], None]],
    jobs: int,
) -> Tally:
    """Process every task and write the records in the order of the tasks.

    An input that fails is reported and counted, and the next one goes on. Ctrl-C ends the run
    after the inputs that are under way; what was found until then is kept.

    Raises
    ------
    SinkError
        An output cannot be written.
    """
    tally, console = Tally(), pipeline.console
    outcomes = _in_order(pipeline.outcome, tasks, jobs)
    bar = console.bar(1 if has_film(tasks) else len(tasks), "picture")  # a film has its own
    with bar as advance, contextlib.closing(outcomes):
        try:
            for outcome in outcomes:
                try:
                    for record in _raised(outcome):
                        tally.add(record)
                        for write in sinks:
                            write(record)
                except SinkError:
                    raise
                except VJError as exc:
                    console.error(str(exc))
                    tally.fail(exc)
                advance()
        except Terminated:
            tally.interrupted = Status.TERMINATED
        except KeyboardInterrupt:
            tally.interrupted = Status.INTERRUPTED
    return tally


def _raised(outcome: Outcome) -> Iterable[Record]:
    if isinstance(outcome, VJError):
        raise outcome
    return outcome


def _in_order(
    work: Callable[[Task], Outcome], tasks: Sequence[Task], jobs: int
) -> Generator[Outcome, None, None]:
    """Results of the work in the order of the tasks, at most ``2 * jobs`` under way or waiting."""
    if jobs == 1 or len(tasks) == 1:
        yield from map(work, tasks)
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    pool = ThreadPoolExecutor(jobs)
    waiting: deque[Future[Any]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(work, task))
            if len(waiting) == 2 * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
