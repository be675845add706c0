"""``cv2.CascadeClassifier`` and ``cv2.groupRectangles`` for OpenCV 5 and for no OpenCV at all.

Change one import and keep every result::

    from vj.compat import CascadeClassifier  # was: from cv2 import CascadeClassifier

Rectangles, order, counts, levels and weights equal those of OpenCV 4 with one thread (with several
its order depends on chance). Colour images are BGR, sizes are (width, height), as cv2 has them.
Where cv2 raises ``cv2.error``, `error` is raised.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vj.cascade.model import Cascade
from vj.cascade.opencv_xml import read
from vj.detect import pyramid
from vj.detect.detector import merge
from vj.detect.grouping import Groups, group_rectangles
from vj.detect.packing import pack
from vj.detect.scanner import Scanner
from vj.detect.window import one_stage_candidates
from vj.errors import ImageError, ParameterError, SourceError, VJError
from vj.io.images import as_gray

error = VJError

CASCADE_DO_CANNY_PRUNING = 1
CASCADE_SCALE_IMAGE = 2
CASCADE_FIND_BIGGEST_OBJECT = 4
CASCADE_DO_ROUGH_SEARCH = 8

_NAMES_OF_TYPES = {"HAAR": 0, "LBP": 1}


class CascadeClassifier:
    """Twin of ``cv2.CascadeClassifier``, which unlike it may be shared between threads.

    Parameters
    ----------
    filename : str or path, optional
        Cascade to load.
    n_jobs : int
        Threads for one image; the result does not depend on it.
    """

    def __init__(self, filename: str | os.PathLike[str] | None = None, *, n_jobs: int = 1) -> None:
        self.n_jobs = n_jobs
        self._cascade: Cascade | None = None
        self._scanner: Scanner | None = None
        if filename is not None:
            self.load(filename)

    def load(self, filename: str | os.PathLike[str]) -> bool:
        """Load a cascade; False where there is no such file.

        Raises
        ------
        CascadeError
            The file is no valid cascade.
        """
        self._cascade = self._scanner = None
        try:
            cascade = read(filename)
        except SourceError:
            return False
        self._cascade, self._scanner = cascade, Scanner(pack(cascade))
        return True

    def empty(self) -> bool:
        """Whether no cascade is loaded."""
        return self._cascade is None

    def getOriginalWindowSize(self) -> tuple[int, int]:
        """(width, height) of the training window."""
        rows, cols = self._loaded()[0].window
        return cols, rows

    def getFeatureType(self) -> int:
        """0 for Haar, 1 for LBP."""
        return _NAMES_OF_TYPES[self._loaded()[0].feature_type]

    def isOldFormatCascade(self) -> bool:
        """False: old files are converted when they are loaded."""
        return False

    def detectMultiScale(
        self,
        image: Any,
        scaleFactor: float = 1.1,
        minNeighbors: int = 3,
        flags: int = 0,
        minSize: tuple[int, int] = (0, 0),
        maxSize: tuple[int, int] = (0, 0),
    ) -> Any:
        """``x, y, w, h`` rows (int32) of the objects; ``()`` where there is none. No flag acts."""
        return _or_empty(self._detect(image, scaleFactor, minNeighbors, minSize, maxSize))[0]

    def detectMultiScale2(
        self,
        image: Any,
        scaleFactor: float = 1.1,
        minNeighbors: int = 3,
        flags: int = 0,
        minSize: tuple[int, int] = (0, 0),
        maxSize: tuple[int, int] = (0, 0),
    ) -> tuple[Any, Any]:
        """Rectangles and the number of windows merged into each (int32)."""
        rects, counts, _, _ = _or_empty(
            self._detect(image, scaleFactor, minNeighbors, minSize, maxSize)
        )
        return rects, counts

    def detectMultiScale3(
        self,
        image: Any,
        scaleFactor: float = 1.1,
        minNeighbors: int = 3,
        flags: int = 0,
        minSize: tuple[int, int] = (0, 0),
        maxSize: tuple[int, int] = (0, 0),
        outputRejectLevels: bool = False,
    ) -> tuple[Any, Any, Any]:
        """Rectangles, stages passed (int32) and sums of the last stage (float64).

        cv2 fails an assertion unless `outputRejectLevels` is set; here it only matters to a cascade
        of one stage, which then reports windows without contrast too, as in cv2.
        """
        rects, _, levels, weights = _or_empty(
            self._detect(
                image, scaleFactor, minNeighbors, minSize, maxSize, bool(outputRejectLevels)
            )
        )
        return rects, levels, weights

    def _loaded(self) -> tuple[Cascade, Scanner]:
        if self._cascade is None or self._scanner is None:
            raise ParameterError("the classifier is empty: load a cascade first")
        return self._cascade, self._scanner

    def _detect(
        self,
        image: Any,
        scale_factor: float,
        min_neighbors: int,
        min_size: tuple[int, int],
        max_size: tuple[int, int],
        with_levels: bool = False,
    ) -> Groups:
        cascade, scanner = self._loaded()
        gray = _gray(image)
        low, high = _as_rows_cols("minSize", min_size), _as_rows_cols("maxSize", max_size)
        levels = pyramid.levels(
            (gray.shape[0], gray.shape[1]),
            cascade.window,
            float(scale_factor),
            low,
            None if 0 in high else high,
            strict=False,
        )
        if with_levels and cascade.n_stages == 1:
            rects, weights = one_stage_candidates(cascade, gray, levels)
        else:
            rects, weights = scanner.candidates(gray, levels, self.n_jobs)
        return merge(rects, weights, cascade.n_stages, int(min_neighbors), gray.shape)


def groupRectangles(
    rectList: Any,
    groupThreshold: int,
    eps: float = 0.2,
) -> tuple[Any, Any]:
    """Twin of ``cv2.groupRectangles``: merged rectangles and the number of members of each."""
    groups = group_rectangles(np.asarray(rectList), int(groupThreshold), eps)
    return _or_empty(groups)[:2]


def _or_empty(groups: Groups) -> tuple[Any, ...]:
    """The arrays, or the empty tuples that cv2 returns where nothing is found."""
    return tuple(groups) if len(groups.rects) else ((), (), (), ())


def _as_rows_cols(name: str, size: Any) -> tuple[int, int]:
    try:
        width, height = (int(side) for side in size)
    except (TypeError, ValueError):
        raise ParameterError(f"`{name}` must be (width, height), got {size!r}") from None
    return height, width


def _gray(image: Any) -> NDArray[np.uint8]:
    """What cv2 makes of its input: nothing of None, no pixels or less than two dimensions."""
    nothing = np.empty((0, 0), np.uint8)
    if image is None:
        return nothing
    array = np.asarray(image)
    if array.dtype != np.uint8:
        raise ImageError(f"`image` must be uint8, got {array.dtype}: convert it first")
    if array.size == 0 or array.ndim < 2:
        return nothing
    return as_gray(array, order="BGR")
