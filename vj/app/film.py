"""From a video to its records: decode, detect, track, paint and encode, each in its own thread."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from vj.app.formats import Record
from vj.app.sink import frame_sink
from vj.app.stages import Ahead, Clock, Stop, mapped, stopping
from vj.app.video_sink import Encoding
from vj.errors import SourceError

T = TypeVar("T")

if TYPE_CHECKING:
    from vj.app.pipeline import Pipeline
    from vj.app.sink import Task
    from vj.app.source import Frame
    from vj.app.video_sink import Write
    from vj.detections import Detections

    Found = tuple[Frame, Detections]


@dataclass(frozen=True)
class Film:
    """How the frames of videos are handled, beyond what a picture needs."""

    jobs: int = 1  # threads that detect; from 2 on the other stages have theirs too
    encoding: Encoding = field(default_factory=Encoding)

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
        source = _Source(task.item)
        with contextlib.ExitStack() as stack:
            stop = stack.enter_context(stopping())
            write = stack.enter_context(frame_sink(task, self.encoding))
            advance = stack.enter_context(pipeline.console.bar(source.length(), "frame"))
            stages = self._stages(pipeline, task, source.frames(stop), write, clock)
            for record in stack.enter_context(contextlib.closing(stages)):
                yield record
                n += 1
                advance()
        for line in clock.lines(n, time.perf_counter() - started):
            pipeline.console.detail(line)
        source.complain()
        stop.raise_()

    def _stages(
        self,
        pipeline: Pipeline,
        task: Task,
        frames: Iterator[Frame],
        write: Write | None,
        clock: Clock,
    ) -> Generator[Record, None, None]:
        def detect(frame: Frame) -> Detections:
            with clock.at("detect"):
                return pipeline.detector.detect(frame.image)

        def painted(found: Iterable[Found]) -> Generator[Found, None, None]:
            for frame, detections in found:
                image = None
                if write is not None and len(detections):
                    with clock.at("paint"):
                        image = pipeline.paint(frame.image, detections)
                if write is not None:
                    with clock.at("encode"):
                        write(frame, image)
                yield frame, detections

        apart: Any = Ahead if self.jobs > 1 else lambda things, depth: things
        decoded = apart(clock.each("decode", frames), 4)
        found = apart(_closing(mapped(detect, decoded, self.jobs), decoded), 2)
        done = apart(_closing(painted(found), found), 2)
        with contextlib.closing(done):
            for frame, detections in done:
                yield pipeline.record(task, frame, detections)


def _closing(things: Generator[T, None, None], source: Any) -> Generator[T, None, None]:
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
