"""Cameras and streams: the latest frame wins, and a lost connection is taken up again."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vj.errors import SourceError, StreamError
from vj.io.video_source import Video, decoded, opened

if TYPE_CHECKING:
    from vj.io.frame import Frame

BACK_OFF = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each try to connect again
_PATIENCE = 0.2  # seconds without a frame after which None comes
_TIMEOUT = (10.0, 10.0)  # seconds to open a stream, and to wait for its data


@dataclass(frozen=True, eq=False)
class Live(Video):
    """An input that goes on by itself. Its frames are None now and then while it says nothing.

    A stream of known length is a file elsewhere: all of its frames come, in order.
    """

    options: dict[str, Any] = field(default_factory=dict)  # of `av.open`
    say: Callable[[str], object] = lambda text: None  # that it is lost, and that it is back
    live: ClassVar[bool] = True

    @property
    def path(self) -> str | None:
        """None: there is no file."""
        return None

    def length(self) -> int | None:
        """Nobody knows."""
        return self.span.max_frames

    def _all(self) -> Iterator[Frame]:
        reader = _Reader(self)
        try:
            yield from reader.frames()
        finally:
            reader.closed.set()


class _Reader:
    """A thread that reads a stream as fast as it comes and keeps the last frame."""

    def __init__(self, item: Live) -> None:
        self._item = item
        self._news = threading.Condition()
        self._latest: Frame | None = None
        self._error: Exception | None = None
        self._over = False
        self.closed = threading.Event()
        threading.Thread(target=self._run, name=item.name, daemon=True).start()

    def frames(self) -> Iterator[Any]:
        """Whatever is newest; None where nothing is; an error when the stream is given up."""
        from fractions import Fraction

        started = None
        while True:
            with self._news:
                self._news.wait_for(lambda: self._latest or self._over, _PATIENCE)
                frame, self._latest = self._latest, None
                self._news.notify_all()
                if frame is None and self._over:
                    break
            if frame is not None:
                now = time.monotonic()
                started = now if started is None else started
                frame = replace(frame, time=Fraction(round(1e6 * (now - started)), 1_000_000))
            yield frame
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        tries, connected = 0, False
        while not self.closed.is_set():
            try:
                options = {"timeout": _TIMEOUT, **self._item.options}
                with opened(self._item.source, self._item.name, **options) as container:
                    whole = bool(container.duration)
                    for frame in decoded(container, self._item.name, threads="SLICE"):
                        if tries:
                            self._item.say(f"{self._item.name}: back")
                        tries, connected = 0, True
                        self._offer(frame, wait=whole)
                        if self.closed.is_set():
                            return
                if whole:
                    return self._end(None)
                reason: Exception = SourceError(f"{self._item.name}: the stream ended")
            except Exception as exc:  # whatever it is, the reader has to know
                reason = exc
            if not connected or not isinstance(reason, SourceError):
                return self._end(reason)
            if tries == len(BACK_OFF):
                lost = f"{self._item.name}: lost, and not back after {tries} tries"
                return self._end(StreamError(lost))
            if self.closed.is_set():
                return None
            pause = BACK_OFF[tries]
            self._item.say(f"{self._item.name}: lost, trying again in {pause:g} s")
            self.closed.wait(pause)
            tries += 1
        return None

    def _offer(self, frame: Frame, *, wait: bool) -> None:
        with self._news:
            if wait:
                self._news.wait_for(lambda: self._latest is None or self.closed.is_set())
            self._latest = frame
            self._news.notify_all()

    def _end(self, error: Exception | None) -> None:
        with self._news:
            self._error, self._over = error, True
            self._news.notify_all()


def live_input(spec: str) -> Live:
    """The camera or stream that an argument names.

    Raises
    ------
    SourceError
        No such camera.
    """
    if not spec.startswith("camera:"):
        name = re.sub(r"//[^@/]*@", "//", spec)  # no passwords in data and messages
        options = {"rtsp_transport": "tcp"} if spec.startswith("rtsp") else {}
        return Live(name, spec, Path("stream"), options={"options": options} if options else {})
    wanted = spec.removeprefix("camera:").strip("\"'")
    found = cameras()
    for number, (device, name) in enumerate(found.items()):
        if wanted == device or wanted.lower() in name.lower() or wanted == str(number):
            source = f"video={name}" if sys.platform == "win32" else device
            return Live(spec, source, Path("camera"), options={"format": _system()})
    there = ", ".join(f"{i}: {name}" for i, name in enumerate(found.values())) or "none"
    raise SourceError(f"{spec}: no such camera; there are {there} (--list-cameras)")


def cameras() -> dict[str, str]:
    """Device and name of each camera of this machine."""
    if _system() == "v4l2":
        folder = Path("/sys/class/video4linux")
        found = sorted(folder.glob("video*"), key=lambda p: (len(p.name), p.name))
        return {f"/dev/{p.name}": (p / "name").read_text().strip() for p in found}
    import av

    devices = av.device.enumerate_input_devices(_system())
    return {device.name: device.description for device in devices}


def _system() -> str:
    """The name that libavdevice has for the cameras of this system."""
    return {"darwin": "avfoundation", "win32": "dshow"}.get(sys.platform, "v4l2")
