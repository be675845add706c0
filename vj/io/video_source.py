"""Frames of a video file: every one, in order, upright, with its time as a fraction."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vj.errors import SourceError

if TYPE_CHECKING:
    from fractions import Fraction

    import numpy as np
    from numpy.typing import NDArray

    from vj.io.frame import Frame

VIDEOS = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"}
VIDEOS |= {".wmv", ".flv", ".3gp", ".ogv", ".mjpeg", ".y4m"}


# Formats that open other files, or the network, by names that they find in a file.
_LISTS = {"concat", "hls", "applehttp", "dash", "hds", "imf", "webm_dash_manifest"}
_LISTS |= {"sdp", "rtp", "rtsp", "sap", "image2", "svg_pipe", "vobsub", "lavfi"}
_HEADS = (b"ffconcat version", b"#EXTM3U", b"v=0")

# What is written.
CONTAINERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
    ".ts": "mpegts",
}


@dataclass(frozen=True)
class Span:
    """Which part of a video is read."""

    start: float = 0.0  # seconds
    duration: float | None = None  # seconds
    max_frames: int | None = None
    fps_limit: float | None = None  # frames are left out so that no more than this remain

    def pick(self, frames: Iterator[Any]) -> Iterator[Any]:
        """The frames of this part, counted anew; None goes through."""
        from dataclasses import replace
        from fractions import Fraction

        n, due, start = 0, Fraction(0), exact(self.start)
        end = None if self.duration is None else start + exact(self.duration)
        for frame in frames:
            if frame is None:  # a live picture has nothing new
                yield frame
                continue
            time = frame.time or 0
            if time < start or (self.fps_limit and n and time < due):
                continue
            if end is not None and time >= end:
                return
            if self.fps_limit:
                step = 1 / exact(self.fps_limit)
                due = max(due + step, Fraction(time) + step / 2) if n else Fraction(time) + step
            yield replace(frame, index=n)
            n += 1
            if n == self.max_frames:  # before the next one is decoded
                return


@dataclass(frozen=True, eq=False)
class Video:
    """An input of many frames: a file."""

    name: str
    source: Any  # path, or binary file object
    place: Path
    span: Span = field(default_factory=Span)
    format: str | None = None  # as libavformat calls it, where the data does not tell
    live: ClassVar[bool] = False

    @property
    def path(self) -> str | None:
        """The file behind it, with links resolved."""
        return os.path.realpath(self.source) if isinstance(self.source, Path) else None

    def frames(self) -> Iterator[Frame]:
        """The frames, in order.

        Raises
        ------
        SourceError
            The file is missing or holds no video; after the last frame, if it is damaged.
        """
        return self.span.pick(self._all())

    def length(self) -> int | None:
        """About how many frames will come, if the file says so."""
        if self.path is None:
            return self.span.max_frames
        with opened(self.source, self.name) as container:
            stream = container.streams.video[0]
            rate = float(stream.average_rate or 0)
            seconds = container.duration / 1e6 if container.duration else 0.0
            total = stream.frames or round(rate * seconds)
            if self.span.fps_limit:
                rate = min(rate, self.span.fps_limit)
            seconds = max(0.0, seconds - self.span.start)
            seconds = min(seconds, self.span.duration or seconds)
            limits = [total, self.span.max_frames, round(rate * seconds)]
            return min((n for n in limits if n), default=None)

    def seconds(self) -> float | None:
        """How long the whole of it lasts, if the file says so."""
        if self.path is None:
            return None
        with opened(self.source, self.name) as container:
            return container.duration / 1e6 if container.duration else None

    def _all(self) -> Iterator[Frame]:
        with opened(self.source, self.name, format=self.format) as container:
            if self.span.start > 0 and self.path is not None:
                container.seek(int((exact(self.span.start) + origin_of(container)) * 1_000_000))
            yield from decoded(container, self.name, complete=not self.span.start)


class opened:
    """A PyAV container of a file or URL that has a video stream, closed at the end.

    A file is read by itself: one that names others, such as a playlist, is refused.
    """

    def __init__(self, source: Any, name: str, **options: Any) -> None:
        self._source, self._name, self._options = source, name, options

    def __enter__(self) -> Any:
        import av

        av.logging.set_level(None)  # what matters is said in an error
        file, options = self._source, self._options
        if isinstance(file, Path):  # its name is no protocol, whatever it looks like
            file = f"file:{file}"
        if not isinstance(file, str) or file.startswith("file:"):
            formats = ",".join(sorted(av.formats_available - _LISTS))
            alone = {"format_whitelist": formats, "protocol_whitelist": "file"}
            options = {**options, "container_options": alone}
        try:
            container = av.open(file, **options)
        except (av.error.FFmpegError, OSError, ValueError) as exc:
            if self._is_list():
                raise SourceError(
                    f"{self._name}: names other files, as a playlist does, and is not followed: "
                    "give those files themselves"
                ) from exc
            raise SourceError(f"{self._name}: cannot read: {_reason(exc)}") from exc
        if not container.streams.video:
            container.close()
            raise SourceError(f"{self._name}: holds no video, only sound or data")
        self._container = container
        return container

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def _is_list(self) -> bool:
        if not isinstance(self._source, Path):
            return self._options.get("format") in _LISTS
        try:
            with self._source.open("rb") as file:
                return file.read(32).startswith(_HEADS)
        except OSError:
            return False


def decoded(
    container: Any, name: str, *, complete: bool = False, threads: str = "AUTO"
) -> Iterator[Frame]:
    """Frames of the first video stream; damaged ones are left out and told of at the end.

    Raises
    ------
    SourceError
        Nothing can be decoded; or, after the last frame, some of it could not.
    """
    from fractions import Fraction

    import av

    from vj.io.frame import Frame

    stream = container.streams.video[0]
    stream.thread_type = threads
    origin = origin_of(container)
    step = 1 / Fraction(stream.average_rate or 25)
    packets, broken, n, last = 0, 0, 0, None
    demuxed = container.demux(stream)
    while True:
        try:
            packet = next(demuxed)
            packets += bool(packet.size)
            frames = packet.decode()
        except StopIteration:
            break
        except av.error.InvalidDataError:
            broken += 1
            if broken > 100 + packets:  # nothing but rubbish
                break
            continue
        except IndexError:  # PyAV does not know a stream that began after opening
            demuxed = container.demux(stream)
            continue
        except (av.error.FFmpegError, OSError) as exc:
            raise SourceError(f"{name}: reading stopped: {_reason(exc)}") from exc
        for frame in frames:
            time = None if frame.pts is None else frame.pts * frame.time_base - origin
            if time is None or (last is not None and time <= last):
                time = Fraction(0) if last is None else last + step
            last = time
            yield Frame(_upright(frame), n, time, None if frame.rotation else frame)
            n += 1
    if not n:
        raise SourceError(f"{name}: holds no frame that can be decoded")
    if broken:
        raise SourceError(f"{name}: damaged: {broken} pieces of it could not be decoded")
    if complete and packets < 0.95 * stream.frames:
        raise SourceError(f"{name}: ends after {n} of {stream.frames} frames")


def exact(seconds: float) -> Fraction:
    """The number that was meant: 0.2 is a fifth."""
    from fractions import Fraction

    return Fraction(str(seconds))


def origin_of(container: Any) -> Fraction:
    """Time 0 of a container: broadcasts have clocks that start anywhere, files start at 0."""
    from fractions import Fraction

    broadcast = container.format.name in ("mpegts", "mpeg", "rtsp", "hls", "flv")
    return Fraction(container.start_time or 0, 1_000_000) if broadcast else Fraction(0)


def _upright(frame: Any) -> NDArray[np.uint8]:
    """Pixels of a frame as displayed: gray or RGB, turned as its display matrix says."""
    import numpy as np

    gray = frame.format.name.startswith("gray")
    image = frame.to_ndarray(format="gray" if gray else "rgb24")
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _reason(exc: Exception) -> str:
    return str(getattr(exc, "strerror", None) or exc)
