"""From a video to its records: decode, detect, track, paint and encode, each in its own thread."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from vj.app.formats import Record
from vj.app.sink import frame_sink
from vj.app.stages import Ahead, Clock, Stop, mapped, stopping
from vj.app.window import window
from vj.errors import ParameterError, SourceError
from vj.io.video_sink import Encoding
from vj.io.video_source import Span, Video

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vj.app.pipeline import Pipeline
    from vj.app.sink import Task
    from vj.detections import Detections
    from vj.io.source import Frame
    from vj.io.video_sink import Write

    Found = tuple[Frame, Detections]
    Painted = tuple[Frame, Detections, NDArray[np.uint8] | None]
    Stage = Any  # an iterator of things with a close(): a generator, or one in another thread


@dataclass(frozen=True)
class Film:
    """How the frames of videos are handled, beyond what a picture needs."""

    jobs: int = 1  # threads that detect; from 2 on the other stages have theirs too
    encoding: Encoding = field(default_factory=Encoding)
    track: bool = False
    every: int = 1  # each so-manieth frame is searched; tracks tell of those between
    hold: int = 0  # frames that a face is shown after its last hit and before its first
    smooth: bool = False  # in two passes
    stats: bool = False
    show: bool = False  # in a window

    @property
    def tracks(self) -> bool:
        """Whether detections get identities."""
        return self.track or self.every > 1 or self.hold > 0 or self.smooth

    def records(self, pipeline: Pipeline, task: Task) -> Iterator[Record]:
        """Write the video of an input, and tell what was found in each frame.

        Raises
        ------
        SourceError
            The input cannot be read; or only in part, said after its last record.
        KeyboardInterrupt
            Ctrl-C or SIGTERM, after the video so far is finished.
        """
        clock, started, n = Clock(), time.perf_counter(), 0
        source, console, whole = _Source(task.item), pipeline.console, False
        if pipeline.saved is not None and isinstance(task.item, Video):
            whole = task.item.span == Span()
            pipeline.saved.check_length(task.item.name, task.item.seconds())
        with contextlib.ExitStack() as stack:
            stop = stack.enter_context(stopping())
            write = stack.enter_context(frame_sink(task, self.encoding))
            work = _Work(self, pipeline, task, clock, write)
            found = work.found(source.frames(stop))
            if self.smooth and task.item.path is None:
                raise ParameterError(f"--smooth reads twice, and {task.item.name} comes once")
            if self.smooth:
                found = self._second_pass(work, found, source, stop)
            advance = stack.enter_context(console.bar(source.length(), "frame"))
            show = stack.enter_context(window(task.item.name)) if self.show else None
            done = stack.enter_context(contextlib.closing(work.done(found)))
            for frame, detections, image in done:
                if show is not None and not show(frame.image if image is None else image):
                    stop.closed = True
                yield pipeline.record(task, frame, detections)
                n += 1
                advance()
            if pipeline.saved is not None and whole and not stop and not source.trouble:
                pipeline.saved.check_count(task.item.name, n)
        for line in clock.lines(n, time.perf_counter() - started):
            (console.say if self.stats else console.detail)(line)
        source.complain()
        stop.raise_()

    def _second_pass(
        self, work: _Work, found: Stage, source: _Source, stop: Stop
    ) -> Generator[Found, None, None]:
        """The frames once more, with smooth boxes, which needs those of all frames."""
        from vj.trajectories import smooth

        boxes = []
        bar = work.pipeline.console.bar(source.length(), "frame")
        with contextlib.closing(found), bar as advance:
            for _, detections in found:
                boxes.append(detections)
                advance()
        # A wish to stop ends the first pass only: what it saw is still to be written.
        again = source.frames(Stop() if stop else stop)
        return _paired(work.clock.each("decode", again), smooth(boxes))


@dataclass(frozen=True)
class _Work:
    """The stages that the frames of an input go through."""

    film: Film
    pipeline: Pipeline
    task: Task
    clock: Clock
    write: Write | None

    def found(self, frames: Iterator[Frame]) -> Stage:
        """Frames with what is in them."""
        jobs = 1 if self.task.item.live else self.film.jobs
        decoded = self._apart(self.clock.each("decode", frames), 4)
        found = _closing(mapped(self._detect, decoded, jobs, self.film.every), decoded)
        if self.film.tracks:
            found = _closing(self._tracked(found), found)
        return self._apart(found, 2)

    def done(self, found: Stage) -> Stage:
        """The same, and the painted image or None, once it is written."""
        return self._apart(_closing(self._painted(found), found), 2)

    def _apart(self, things: Any, depth: int) -> Any:
        depth = 1 if self.task.item.live else depth  # what waits is late
        return Ahead(things, depth) if self.film.jobs > 1 else things

    def _detect(self, frame: Frame) -> Detections | None:
        if frame.index % self.film.every:
            return None
        with self.clock.at("detect"):
            return self.pipeline.look(self.task.item.name, frame)

    def _tracked(self, found: Iterable[tuple[Frame, Detections | None]]) -> Stage:
        from vj import boxes
        from vj.track import Tracker
        from vj.trajectories import track_ahead

        clock, hold = self.clock, max(self.film.hold, self.film.every - 1)

        class Timed(Tracker):
            def update(self, detections: Detections | None) -> Detections:
                with clock.at("track"):
                    return super().update(detections)

        ahead = 0 if self.task.item.live else hold
        for frame, detections in track_ahead(Timed(hold=hold), found, ahead):
            inside = boxes.clip(detections.xyxy, frame.image.shape)
            there = (inside[:, 0] < inside[:, 2]) & (inside[:, 1] < inside[:, 3])
            yield frame, replace(detections, xyxy=inside)[there]

    def _painted(self, found: Stage) -> Generator[Painted, None, None]:
        seen = self.write is not None or self.film.show
        for frame, detections in found:
            self.pipeline.keep_crops(self.task, frame, detections)
            image = None
            if seen and len(detections):
                with self.clock.at("paint"):
                    image = self.pipeline.paint(frame.image, detections)
            if self.write is not None:
                with self.clock.at("encode"):
                    self.write(frame, image)
            yield frame, detections, image


def _paired(frames: Stage, boxes: Any) -> Generator[Found, None, None]:
    with contextlib.closing(frames):
        yield from zip(frames, boxes, strict=False)


def _closing(things: Stage, source: Stage) -> Generator[Any, None, None]:
    """The things, whose source is closed together with them."""
    with contextlib.closing(source), contextlib.closing(things):
        yield from things


@dataclass
class _Source:
    """The frames of an input until somebody wishes to stop; damage is told of at the end."""

    item: Any
    trouble: SourceError | None = None

    def length(self) -> int | None:
        """How many frames will come, if that is known."""
        return self.item.length()  # type: ignore[no-any-return]

    def frames(self, stop: Stop) -> Generator[Frame, None, None]:
        """Those that can be read."""
        n = 0
        with contextlib.closing(stop.until(self.item.frames())) as frames:
            try:
                for frame in frames:
                    yield frame
                    n += 1
            except SourceError as exc:
                if not n:
                    raise
                self.trouble = exc

    def complain(self) -> None:
        """Raise what went wrong after the first frame."""
        if self.trouble is not None:
            raise self.trouble
