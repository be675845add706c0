"""Writing videos: every frame at its time, the sound of the source untouched."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from vj.errors import SinkError
from vj.io.files import replacing, writing
from vj.io.video_source import CONTAINERS, exact, opened, origin_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vj.io.source import Frame

    Write = Callable[[Frame, NDArray[np.uint8] | None], None]


@dataclass(frozen=True)
class Encoding:
    """How a video is written."""

    codec: str | None = None  # by default what suits the container: H.264, VP9 for WebM
    crf: int | None = None
    audio: bool = True
    start: float = 0.0  # of the source: time 0 of the output


@contextlib.contextmanager
def video_sink(path: Path, source: Path | None, encoding: Encoding) -> Iterator[Write]:
    """A function that adds a frame: the painted image, or the frame as it is for None.

    The file gets its name when the block ends without an error and holds a frame; see `replacing`.

    Parameters
    ----------
    path : Path
        Its suffix is one of `CONTAINERS`.
    source : Path or None
        Where the sound comes from.
    encoding : Encoding

    Raises
    ------
    SinkError
        Unknown codec, sound that the container cannot hold, full disk, unwritable folder.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        film: list[_Film] = []
        # The source once more, for its sound, and now: it may be deleted while it is read.
        twin = stack.enter_context(opened(source, str(source))) if source else None

        def write(frame: Frame, image: NDArray[np.uint8] | None) -> None:
            if not film:  # the first frame says how large the video is
                file = _Output(stack.enter_context(replacing(path)))
                film.append(stack.enter_context(_Film(file, path, twin, encoding, frame)))
            with _told(path, film[0].file):
                film[0].write(frame, image)

        yield write


@dataclass
class _Output:
    """A file for PyAV, which prints what it cannot raise: the first error is kept for `_told`."""

    file: BinaryIO
    error: OSError | None = None

    def write(self, data: bytes) -> int:
        """All of the data, or nothing after an error."""
        self._try(self.file.write, data)
        return len(data)

    def seek(self, place: int, whence: int = 0) -> int:
        """Where the file stands then."""
        return self._try(self.file.seek, place, whence)

    def tell(self) -> int:
        """Where the file stands."""
        return self._try(self.file.tell)

    def _try(self, method: Callable[..., int], *args: Any) -> int:
        if self.error is None:
            try:
                return method(*args)
            except OSError as exc:
                self.error = exc
        return 0


@dataclass
class _Film:
    """A video being written."""

    file: _Output
    path: Path
    twin: Any  # container of the source, if there is one
    encoding: Encoding
    first: Frame
    _last: int | None = field(default=None, init=False)

    def __enter__(self) -> _Film:
        import av

        with _told(self.path, self.file):
            name = CONTAINERS[self.path.suffix.lower()]
            self._out = av.open(self.file, "w", format=name)
            self._add_video()
            self._packets = self._sound() if self.twin and self.encoding.audio else iter(())
            self._waiting = next(self._packets, None)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            with contextlib.suppress(Exception):  # what is written goes away anyway
                self._out.close()
            return
        with _told(self.path, self.file):
            self._out.mux(self._stream.encode(None))
            self._add_sound_until(self._end)
            self._out.close()

    def write(self, frame: Frame, image: NDArray[np.uint8] | None) -> None:
        """Add a frame."""
        import av

        raw = frame.raw
        if image is not None or raw is None:
            raw = av.VideoFrame.from_ndarray(*_layout(frame.image if image is None else image))
        picture = raw.reformat(
            self._stream.width,
            self._stream.height,
            self._stream.pix_fmt,
            dst_colorspace=self._matrix,
            dst_color_range=1,
        )
        time = max(Fraction(0), Fraction(frame.time or 0) - exact(self.encoding.start))
        pts = round(time / self._base)
        self._last = pts if self._last is None else max(pts, self._last + 1)
        picture.pts, picture.time_base = self._last, self._base
        picture.pict_type = 0
        self._end = self._last * self._base + self._step
        self._out.mux(self._stream.encode(picture))
        self._add_sound_until(time)

    def _add_video(self) -> None:
        import av

        height, width = self.first.image.shape[:2]
        raw, like = self.first.raw, self.twin.streams.video[0] if self.twin else None
        rate = Fraction((like and like.average_rate) or 25)
        self._step, self._base = 1 / rate, Fraction(1, 90_000)
        if like is not None:
            self._base = like.time_base
        name = self.encoding.codec or {"webm": "libvpx-vp9"}.get(self._out.format.name, "libx264")
        try:
            kind = av.Codec(name, "w").type
        except av.codec.codec.UnknownCodecError as exc:
            raise SinkError(f"{self.path}: no codec {name!r}: try libx264 or libx265") from exc
        if kind != "video":
            raise SinkError(f"{self.path}: {name!r} is no codec for video: try libx264")
        stream = self._out.add_stream(name, rate=rate)
        stream.width, stream.height = width, height
        context = stream.codec_context
        stream.pix_fmt = _pixel_format(context.codec, width, height)
        context.time_base = self._base
        stream.options = _options(name, self.encoding.crf)
        # HD is BT.709 by custom where a file says nothing; the tags of the source are kept.
        tagged = raw is not None and raw.colorspace in (1, 5, 6)
        self._matrix = raw.colorspace if tagged else (1 if height >= 720 else 5)
        context.colorspace, context.color_range = self._matrix, 1
        if raw is not None:
            context.color_primaries, context.color_trc = raw.color_primaries, raw.color_trc
        self._stream = stream

    def _sound(self) -> Iterator[Any]:
        """Packets of the sound, for streams that this adds."""
        twins = {}
        for stream in self.twin.streams.audio:
            try:
                twins[stream.index] = self._out.add_stream_from_template(stream)
            except ValueError as exc:
                raise SinkError(
                    f"{self.path}: cannot hold {stream.codec_context.name} sound: "
                    "write .mkv, or use --no-audio"
                ) from exc
        return self._audio_packets(twins) if twins else iter(())

    def _audio_packets(self, twins: dict[int, Any]) -> Iterator[Any]:
        source, start = self.twin, exact(self.encoding.start)
        origin = origin_of(source) + start
        if start:
            source.seek(int(origin * 1_000_000))
        for packet in source.demux(*source.streams.audio):
            if packet.dts is None:
                continue
            shift = round(origin / packet.time_base)
            if start and packet.dts < shift:
                continue
            packet.pts = packet.dts - shift if packet.pts is None else packet.pts - shift
            packet.dts -= shift
            packet.stream = twins[packet.stream.index]
            yield packet

    def _add_sound_until(self, time: Fraction) -> None:
        while self._waiting is not None and self._waiting.dts * self._waiting.time_base <= time:
            self._out.mux(self._waiting)
            self._waiting = next(self._packets, None)


def _options(codec: str, crf: int | None) -> dict[str, str]:
    """Good and fast, where the codec has such options."""
    options = {"crf": str(20 if crf is None else crf)}
    if codec in ("libx264", "libx265"):
        options["preset"] = "veryfast"
    if codec == "libx265":
        options["x265-params"] = "log-level=none"
    if codec == "libvpx-vp9":
        options |= {"deadline": "realtime", "cpu-used": "6", "b": "0", "row-mt": "1"}
    return options


@contextlib.contextmanager
def _told(path: Path, file: _Output) -> Iterator[None]:
    """Turn what PyAV says, and what happened to its file, into a `SinkError`."""
    import av

    with writing(path):
        try:
            yield
        except (av.error.FFmpegError, ValueError) as exc:
            if file.error is None:
                reason = getattr(exc, "strerror", None) or exc
                raise SinkError(f"{path}: not written as video: {reason}") from exc
        if file.error is not None:
            raise file.error


def _pixel_format(codec: Any, width: int, height: int) -> str:
    """Half the resolution for colour, as every player shows it; odd sizes do not allow it."""
    known = [f.name for f in codec.video_formats or ()]
    wanted = ["yuv420p"] if width % 2 == height % 2 == 0 else ["yuv444p"]
    return next((name for name in (*wanted, "yuv420p", "yuvj420p") if name in known), known[0])


def _layout(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], str]:
    return image, "gray" if image.ndim == 2 else "rgb24"
