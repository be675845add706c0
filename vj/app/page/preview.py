"""What the page shows: detections of a posted picture, and a source as it is watched."""

from __future__ import annotations

import base64
import contextlib
import io
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from vj.app.stages import Stop
from vj.errors import ImageError, ParameterError, VJError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vj.detect.registry import Detector
    from vj.io.video_source import Video

MAX_PIXELS = 12_000_000
MAX_WORK = 150_000_000  # pixels of all scales of a picture: about a second of one core
_SHOWN = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "AVIF")  # by browsers
_MAP_STEP = 1.05  # between the scales of a heat map, at least
_KEPT = 8  # detectors
_PATIENCE = 10.0  # seconds that a frame under way is waited for, and a detection for its turn


class Busy(Exception):
    """Others are being served, and that takes long."""


@dataclass(frozen=True)
class Settings:
    """What the sliders say."""

    detector: str
    scale_factor: float = 1.1
    min_neighbors: int = -1  # as the detector has it
    min_size: int = 0  # pixels; 0 for any
    heat: bool = False

    def changed(self, given: Mapping[str, Any], names: Mapping[str, str]) -> Settings:
        """With the given values, which come from untrusted clients.

        Raises
        ------
        ParameterError
            A value makes no sense, or the detector is not one of ``names``: no path gets in here.
        """
        try:
            new = Settings(
                str(given.get("detector", self.detector)),
                float(given.get("scale_factor", self.scale_factor)),
                int(given.get("min_neighbors", self.min_neighbors)),
                int(given.get("min_size", self.min_size)),
                str(given.get("heat", self.heat)) in ("1", "true", "True"),
            )
        except (TypeError, ValueError, OverflowError) as exc:
            raise ParameterError("a setting is no number") from exc
        if new.detector not in names and new.detector != self.detector:
            raise ParameterError("no such detector")
        sane = 1.01 <= new.scale_factor <= 2 and -1 <= new.min_neighbors <= 50
        if not (sane and 0 <= new.min_size <= 10_000):
            raise ParameterError("a setting is out of range")
        return new


@dataclass
class Studio:
    """Detectors by their settings, one detection at a time."""

    default: Settings
    names: Mapping[str, str]
    jobs: int = 1
    _made: dict[Settings, Detector] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self, data: bytes, given: Mapping[str, Any]) -> dict[str, Any]:
        """Boxes in a picture file, the milliseconds of each stage, the heat map if wanted."""
        from vj.io.images import read_image

        settings, clock = self.default.changed(given, self.names), _Clock()
        self._check_size(data)
        image = read_image(data)
        clock.lap("decode")
        with self._turn():
            detector = self._detector(settings)
            clock.lap("wait")
            _check_work(detector, image.shape)
            found = detector.detect(image)
            clock.lap("detect")
            height, width = image.shape[:2]
            answer = {"width": width, "height": height, "boxes": found.to_rows(), "ms": clock.ms}
            if settings.heat:
                answer["heat"] = _heat(detector, image, settings)
                clock.lap("heat map")
        return answer

    def view(self, image: NDArray[np.uint8], settings: Settings) -> tuple[bytes, dict[str, float]]:
        """A frame with its boxes as a JPEG file, and the milliseconds of each stage."""
        from vj.draw import draw

        clock = _Clock()
        with self._lock:
            detector = self._detector(settings)
            clock.lap("wait")
            found = detector.detect(image)
        clock.lap("detect")
        drawn = draw(image, found)
        clock.lap("paint")
        data = _file(drawn, "JPEG")
        clock.lap("encode")
        return data, clock.ms

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=_PATIENCE):
            raise Busy("busy with other pictures: try again")
        try:
            yield
        finally:
            self._lock.release()

    def _check_size(self, data: bytes) -> None:
        """Refuse a picture too large before its pixels are decoded."""
        from PIL import Image

        try:
            with Image.open(io.BytesIO(data)) as picture:
                pixels, kind = picture.width * picture.height, picture.format
        except Exception as exc:  # untrusted bytes can make a parser raise anything
            raise ImageError("not a picture") from exc
        if kind not in _SHOWN:
            raise ImageError(f"a {kind} picture: wanted JPEG, PNG, WebP, GIF, BMP or AVIF")
        if pixels > MAX_PIXELS:
            raise ImageError(f"the picture has more than {MAX_PIXELS // 1_000_000} million pixels")

    def _detector(self, settings: Settings) -> Detector:
        from vj.detect.registry import open_detector

        key = replace(settings, heat=False)
        if key not in self._made:
            while len(self._made) >= _KEPT:
                del self._made[next(iter(self._made))]
            # What was not touched is not asked for: networks know neither factor nor neighbours.
            names = ("scale_factor", "min_neighbors", "min_size")
            asked = {name: getattr(key, name) for name in names}
            asked = {k: v for k, v in asked.items() if v != getattr(Settings, k)}
            self._made[key] = open_detector(key.detector, n_jobs=self.jobs, **asked)
        return self._made[key]


class Show:
    """A source that is watched: a thread detects in it; everyone who looks gets the newest view."""

    def __init__(self, studio: Studio, item: Video) -> None:
        self.settings = studio.default
        self.ms: dict[str, float] = {}
        self.error: VJError | None = None
        self._studio, self._item = studio, item
        self._news = threading.Condition()
        self._view, self._number, self._over = b"", 0, False
        self._stop, self._began = Stop(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str:
        """Why there is nothing to see any more."""
        return str(self.error or "")

    def check(self, seconds: float) -> None:
        """Wait for the first frame, and raise what keeps it from coming."""
        self._began.wait(seconds)
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Watch no longer; whoever looks is told that it is over."""
        with self._news:
            self._stop.closed = True
            self._news.notify_all()
        self._thread.join(_PATIENCE)

    def views(self) -> Iterator[bytes]:
        """JPEG files, each newer than the one before, until the source ends."""
        seen = 0
        while True:
            with self._news:
                self._news.wait_for(lambda: self._number > seen or self._over, 10)  # noqa: B023
                if self._number == seen:
                    return
                seen, view = self._number, self._view
            yield view

    def _run(self) -> None:
        try:
            while self._once() and not (self._item.live or self._stop):
                pass  # a file is shown again and again
        except VJError as exc:
            self.error = exc
        self._began.set()
        with self._news:
            self._over = True
            self._news.notify_all()

    def _once(self) -> bool:
        started, number = time.monotonic(), self._number
        for frame in self._stop.until(self._item.frames()):
            self._began.set()
            if not self._item.live:
                due = started + float(frame.time or 0)
                with self._news:
                    self._news.wait_for(lambda: self._stop.closed, due - time.monotonic())
            view, self.ms = self._studio.view(frame.image, self.settings)
            with self._news:
                self._view, self._number = view, self._number + 1
                self._news.notify_all()
        return self._number > number


class _Clock:
    """Milliseconds between laps."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """What ended now."""
        now = time.perf_counter()
        self.ms[stage] = round(1000 * (now - self._last), 2)
        self._last = now


def _check_work(detector: Any, shape: tuple[int, ...]) -> None:
    """Refuse what would take a cascade many seconds; networks scale a picture down."""
    from vj.detect.detector import CascadeDetector
    from vj.detect.pyramid import levels

    cascade = getattr(detector, "proposer", detector)
    if not isinstance(cascade, CascadeDetector):
        return
    size, window = (shape[0], shape[1]), cascade.cascade.window
    scales = levels(size, window, cascade.scale_factor, cascade.min_size, cascade.max_size)
    if sum(level.rows * level.cols for level in scales) > MAX_WORK:
        raise ParameterError(
            f"scale factor {cascade.scale_factor:g} is too much work for a picture of "
            f"{shape[1]}x{shape[0]}: raise it, or the smallest face"
        )


def _heat(detector: Detector, image: NDArray[np.uint8], settings: Settings) -> str | None:
    """How far windows come, as a data URL; only cascades have stages."""
    from vj.detect.detector import CascadeDetector
    from vj.detect.explain import heatmap_picture, reject_depth_map
    from vj.io.images import as_gray

    if not isinstance(detector, CascadeDetector):
        return None
    gray = as_gray(image)
    step = max(1, round((gray.size / 400_000) ** 0.5))
    gray = gray[::step, ::step].copy()
    factor = max(settings.scale_factor, _MAP_STEP)
    depth = reject_depth_map(detector.cascade, gray, scale_factor=factor)
    picture = heatmap_picture(gray, depth, detector.cascade.n_stages)
    return "data:image/png;base64," + base64.b64encode(_file(picture, "PNG")).decode()


def _file(image: NDArray[np.uint8], kind: str) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).save(out, kind, quality=80)
    return out.getvalue()
