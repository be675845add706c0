"""The cascade detector: image in, detections out."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vj.boxes import to_xyxy
from vj.cascade.model import Cascade
from vj.cascade.zoo import load_cascade
from vj.detect import pyramid
from vj.detect.grouping import Groups, group_rectangles
from vj.detect.packing import pack
from vj.detect.scanner import Scanner
from vj.detect.scoring import Scoring
from vj.detect.threads import map_in_threads
from vj.detections import Detections
from vj.errors import ParameterError
from vj.io.images import as_gray

if TYPE_CHECKING:
    from vj.detect.explain import Explanation

Size = tuple[int, int]
_MIN_NEIGHBORS = 3  # as in OpenCV


class CascadeDetector:
    """Viola-Jones detection with OpenCV's decisions, safe to share between threads.

    Parameters
    ----------
    cascade : Cascade, str or path
        A cascade, the name of a bundled one, or an XML file.
    scale_factor : float
        Ratio of the window sizes of neighbouring scales, above 1.
    min_neighbors : int, optional
        A detection needs more merged windows than this; 0 returns every window that passes. By
        default the cascade's card says how windows become scored boxes (`vj.detect.scoring`);
        without such a card it is 3.
    min_confidence : float, optional
        0 to 1; what is less probably a face is not reported. Default: what the card says. Only for
        cascades whose card calibrates confidence.
    min_score : float, optional
        Instead: the least score that is reported; 0 reports everything. Default: what the card
        says, without one 0.
    min_size, max_size : int or (rows, cols), optional
        Limits of the window, in pixels. Unlike in OpenCV they are strict: no window outside them
        is ever reported.
    n_jobs : int
        Threads for one image. The result does not depend on it.

    Raises
    ------
    ParameterError
        A parameter has a value that makes no sense.
    CascadeError, SourceError
        The cascade is malformed, or its file is missing.

    References
    ----------
    Viola & Jones, Robust real-time face detection, IJCV 57(2), 2004.
    doi:10.1023/B:VISI.0000013087.49260.fb

    Examples
    --------
    >>> import vj
    >>> len(CascadeDetector("frontalface").detect(vj.sample("astronaut")))
    1
    """

    def __init__(
        self,
        cascade: Cascade | str | os.PathLike[str] | bytes | IO[Any] = "frontalface",
        *,
        scale_factor: float = 1.1,
        min_neighbors: int | None = None,
        min_confidence: float | None = None,
        min_score: float | None = None,
        min_size: int | Size | None = None,
        max_size: int | Size | None = None,
        n_jobs: int = 1,
    ) -> None:
        self.cascade = cascade if isinstance(cascade, Cascade) else load_cascade(cascade)
        self.scale_factor = float(scale_factor)
        self.min_neighbors = min_neighbors
        if min_neighbors is not None:
            self.min_neighbors = _whole("min_neighbors", min_neighbors, 0)
        if min_score is not None and not (np.isreal(min_score) and min_score >= 0):
            raise ParameterError(f"`min_score` must be a number of at least 0, got {min_score!r}")
        self.min_score = min_score
        card = self.cascade.metadata.get("card")
        self._scoring = None
        if card is not None and min_neighbors is None:
            self._scoring = Scoring.of_card(card.details)
        self.min_confidence = self._checked_confidence(min_confidence)
        self.min_size = _as_size("min_size", min_size)
        self.max_size = _as_size("max_size", max_size)
        self.n_jobs = _whole("n_jobs", n_jobs, 1)
        pyramid.check_factor(self.scale_factor)
        low, high = self.min_size, self.max_size
        if low and high and (low[0] > high[0] or low[1] > high[1]):
            raise ParameterError(
                f"`min_size` {low} is larger than `max_size` {high} (rows, cols): swap them"
            )
        self._scanner = Scanner(pack(self.cascade))

    def __reduce__(self) -> tuple[Any, ...]:
        options = (
            *("scale_factor", "min_neighbors", "min_confidence", "min_score"),
            *("min_size", "max_size", "n_jobs"),
        )
        return _rebuild, (self.cascade, {name: getattr(self, name) for name in options})

    @property
    def ranked_by(self) -> str:
        """What evaluations rank detections by: "score", of OpenCV's grouping "neighbors"."""
        return "score" if self._scoring is not None or self.min_neighbors == 0 else "neighbors"

    @property
    def threshold(self) -> float:
        """The least ``ranked_by`` of what is reported."""
        if self.ranked_by == "neighbors":
            return 1.0 + (_MIN_NEIGHBORS if self.min_neighbors is None else self.min_neighbors)
        if self.min_confidence is not None and self._scoring is not None:
            return self._scoring.score_at(self.min_confidence)
        if self.min_score is None:
            return self._scoring.least if self._scoring is not None else 0.0
        return float(self.min_score)

    def lowered(self, min_score: float | None = None) -> CascadeDetector:
        """The same detector at its lowest threshold, or at ``min_score``, to draw curves with.

        With OpenCV's grouping that is ``min_neighbors=1``; lone windows cannot be ranked.
        """
        _, (cascade, options) = self.__reduce__()
        if self.ranked_by == "neighbors":
            options["min_neighbors"] = 1
        elif min_score is None:
            min_score = 0.0
        if min_score is not None:
            options |= {"min_score": min_score, "min_confidence": None}
        return CascadeDetector(cascade, **options)

    def detect(self, image: Any) -> Detections:
        """Find the objects in an image.

        Parameters
        ----------
        image : (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) uint8, or PIL.Image.Image
            Gray, RGB or RGBA, any strides, read-only or not.

        Returns
        -------
        Detections
            Best score first. With the scoring of a card, `score` is the sum of the margins by which
            the merged windows pass the last stage, and `confidence` is calibrated; otherwise
            `score` is the largest of these margins. `level` is the number of stages, `neighbors`
            the number of windows merged.

        Raises
        ------
        ImageError
            The image has another dtype or shape, or no pixels.
        """
        return self._detect(as_gray(image), self.n_jobs)

    def detect_many(self, images: Iterable[Any], n_jobs: int | None = None) -> list[Detections]:
        """Detections of each image, in order, on `n_jobs` threads (default: as constructed)."""
        jobs = self.n_jobs if n_jobs is None else _whole("n_jobs", n_jobs, 1)
        return map_in_threads(lambda image: self._detect(as_gray(image), 1), images, jobs)

    def explain(self, image: Any, box: ArrayLike) -> Explanation:
        """Say why a window is accepted or rejected.

        Parameters
        ----------
        image : as for `detect`
        box : (4,) or (2,)
            ``x1, y1, x2, y2``: the window nearest to it; ``x, y``: the window about that point
            that comes furthest.
        """
        from vj.detect.explain import explain

        return explain(self.cascade, image, box, scale_factor=self.scale_factor)

    def _checked_confidence(self, value: float | None) -> float | None:
        if value is None:
            return None
        if not (np.isreal(value) and 0 <= value <= 1):
            raise ParameterError(f"`min_confidence` must be 0 to 1, got {value!r}")
        if self.min_score is not None:
            raise ParameterError("`min_confidence` and `min_score` exclude each other")
        if self._scoring is None or self._scoring.calibration is None:
            why = "`min_neighbors` is given" if self.min_neighbors is not None else "it has no card"
            raise ParameterError(
                f"`min_confidence`: this cascade is not calibrated, as {why}: use `min_score`"
            )
        return float(value)

    def _detect(self, gray: NDArray[np.uint8], n_jobs: int) -> Detections:
        levels = pyramid.levels(
            (gray.shape[0], gray.shape[1]),
            self.cascade.window,
            self.scale_factor,
            self.min_size,
            self.max_size,
        )
        rects, weights = self._scanner.candidates(gray, levels, n_jobs)
        n_stages = self.cascade.n_stages
        if self._scoring is not None:
            margins = weights - float(self.cascade.stage_limit[-1])
            sure = self.min_confidence
            least = self.min_score if sure is None else 0.0
            scored = self._scoring.detections(rects, margins, n_stages, gray.shape, least)
            return scored if sure is None else scored[scored.confidence >= np.float32(sure)]
        least = _MIN_NEIGHBORS if self.min_neighbors is None else self.min_neighbors
        found = merge(rects, weights, n_stages, least, gray.shape)
        margin = found.weights - float(self.cascade.stage_limit[-1])
        every = Detections(
            xyxy=to_xyxy(found.rects),
            score=margin.astype(np.float32),
            level=found.levels,
            neighbors=found.counts,
        ).sorted()
        return every[every.score >= self.min_score] if self.min_score else every


def merge(
    rects: NDArray[np.int32],
    weights: NDArray[np.float64],
    n_stages: int,
    min_neighbors: int,
    shape: tuple[int, ...],
) -> Groups:
    """Group candidates and cut them to the image, as OpenCV does."""
    levels = np.full(len(rects), n_stages, np.int32)
    groups = group_rectangles(rects, min_neighbors, 0.2, levels, weights)
    near = np.maximum(groups.rects[:, :2], 0)
    far = np.minimum(groups.rects[:, :2] + groups.rects[:, 2:], (shape[1], shape[0]))
    inside = (far > near).all(axis=1)
    cut = np.concatenate([near, far - near], axis=1).astype(np.int32)
    return Groups(cut[inside], groups.counts[inside], groups.levels[inside], groups.weights[inside])


def _rebuild(cascade: Cascade, options: dict[str, Any]) -> CascadeDetector:
    return CascadeDetector(cascade, **options)


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ParameterError(f"`{name}` must be a whole number of at least {least}, got {value!r}")
    return int(value)


def _as_size(name: str, value: Any) -> Size | None:
    """(rows, cols) of a side or a pair of sides."""
    if value is None:
        return None
    sides = value if isinstance(value, (tuple, list, np.ndarray)) else (value, value)
    if len(sides) != 2:
        raise ParameterError(f"`{name}` must be one side or (rows, cols), got {value!r}")
    return _whole(name, sides[0], 1), _whole(name, sides[1], 1)
