"""A fast detector proposes, a careful one decides on what it proposes, and on nothing else.

This pays where the careful one is slow. A network as small as those that come with the package
looks at a whole picture in the time that a cascade takes for it, and misses less.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vj.detect.grouping import nms
from vj.detections import Detections
from vj.errors import ParameterError
from vj.io.images import as_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

    from vj.detect.protocol import Detector

_SAME = 0.3  # IoU from which two proposals are of one face
_EDGE = 1 / 32  # part of a crop along its sides: a face that reaches into it is cut off there


class HybridDetector:
    """Two detectors, the second of which sees only square crops about what the first one finds.

    All crops are scaled to one size, so that a network judges them as a batch. Boxes, scores and
    landmarks are the second one's.

    Parameters
    ----------
    proposer, judge : detector
        Objects with a ``detect``. The first should miss little and may err often.
    side : int
        Pixels of a side of a crop as the judge sees it.
    grow : float
        Side of a crop in longer sides of the proposed box, above 1: the wider, the more faces are
        found that nobody proposed, in crops of their neighbours.
    most : int
        Proposals of a picture that are judged, the best ones.
    iou_threshold : float
        0 to 1; of two boxes that overlap more the better one stays.

    Raises
    ------
    ParameterError
        A parameter has a value that makes no sense.

    References
    ----------
    Li et al., A convolutional neural network cascade for face detection, CVPR 2015.
    """

    def __init__(
        self,
        proposer: Detector,
        judge: Detector,
        *,
        side: int = 128,
        grow: float = 4.0,
        most: int = 64,
        iou_threshold: float = 0.3,
    ) -> None:
        for name, detector in (("proposer", proposer), ("judge", judge)):
            if not hasattr(detector, "detect"):
                raise ParameterError(f"`{name}` must have a method `detect`, got {detector!r}")
        for name, value, least in (("side", side, 32), ("most", most, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ParameterError(
                    f"`{name}` must be a whole number of at least {least}, got {value!r}"
                )
        if not 1 < grow <= 10:
            raise ParameterError(f"`grow` must be above 1 and at most 10, got {grow!r}")
        if not 0 <= iou_threshold <= 1:
            raise ParameterError(f"`iou_threshold` must be 0 to 1, got {iou_threshold!r}")
        self.proposer, self.judge = proposer, judge
        self.side, self.grow, self.most = side, float(grow), most
        self.iou_threshold = float(iou_threshold)

    @property
    def threshold(self) -> float:
        """The least score of what is reported: the judge's."""
        return float(getattr(self.judge, "threshold", 0.0))

    def lowered(self, min_score: float | None = None) -> HybridDetector:
        """The same pair with the judge at its lowest threshold, or at ``min_score``."""
        judge: Any = self.judge
        other = copy(self)
        other.judge = judge.lowered(min_score) if hasattr(judge, "lowered") else judge
        return other

    def detect(self, image: Any) -> Detections:
        """Find the faces in an image.

        Parameters
        ----------
        image : (H, W), (H, W, 3) or (H, W, 4) uint8, or PIL.Image.Image
            Gray, RGB or RGBA of any size.

        Returns
        -------
        Detections
            Best score first; what else there is beside boxes and scores is the judge's.

        Raises
        ------
        ImageError
            The image has another dtype or shape, or no pixels.
        """
        from PIL.Image import fromarray

        pixels = as_rgb(image)
        windows = self._windows(self.proposer.detect(pixels))
        picture = fromarray(pixels)
        crops = [self._crop(picture, *window) for window in windows]
        together = getattr(self.judge, "detect_many", None)
        judged = together(crops) if together else [self.judge.detect(crop) for crop in crops]
        found = _join([self._back(*pair) for pair in zip(judged, windows, strict=True)])
        return found[nms(found.xyxy, found.score, self.iou_threshold)].sorted()

    def detect_many(self, images: Iterable[Any]) -> list[Detections]:
        """Detections of each image, in order."""
        return [self.detect(image) for image in images]

    def _windows(self, proposals: Detections) -> list[tuple[int, int, int]]:
        """Corner and side of the squares to look into, in whole pixels of the image."""
        best = proposals[nms(proposals.xyxy, proposals.score, _SAME)[: self.most]].xyxy
        side = np.ceil((best[:, 2:] - best[:, :2]).max(axis=1, initial=1) * self.grow)
        corner = np.rint((best[:, :2] + best[:, 2:] - side[:, None]) / 2)
        return [(int(x), int(y), int(n)) for (x, y), n in zip(corner, side, strict=True)]

    def _crop(self, picture: Image, x: int, y: int, n: int) -> NDArray[np.uint8]:
        """A square scaled to the judge's size; black where it leaves the image."""
        from PIL.Image import Resampling

        corner, scale = np.array([x, y]), self.side / n
        low = np.ceil(np.maximum(-corner, 0) * scale)  # whole pixels of the crop that the image
        high = np.floor(np.minimum(picture.size - corner, n) * scale)  # covers
        crop = np.zeros((self.side, self.side, 3), np.uint8)
        if (high > low).all():
            (x1, y1), (x2, y2) = low.astype(int), high.astype(int)
            box = np.clip(corner + np.array([low, high]) / scale, 0, picture.size).ravel()
            how = Resampling.BILINEAR  # every pixel the mean of what it covers
            part = picture.resize((x2 - x1, y2 - y1), how, tuple(box.tolist()), reducing_gap=2.0)
            crop[y1:y2, x1:x2] = np.asarray(part)
        return crop

    def _back(self, found: Detections, window: tuple[int, int, int]) -> Detections:
        """What the judge saw whole, in pixels of the image."""
        low, high = self.side * _EDGE, self.side * (1 - _EDGE)
        whole = np.flatnonzero(((found.xyxy > low) & (found.xyxy < high)).all(axis=1))
        found = found[whole]
        scale = np.float32(window[2] / self.side)
        corner = np.array(window[:2], np.float32)
        points = None if found.landmarks is None else found.landmarks * scale + corner
        return replace(found, xyxy=found.xyxy * scale + np.tile(corner, 2), landmarks=points)


def _join(parts: list[Detections]) -> Detections:
    parts = [part for part in parts if len(part)]
    if not parts:
        return Detections.empty()
    columns = {f.name: [getattr(part, f.name) for part in parts] for f in fields(Detections)}
    return Detections(
        **{name: np.concatenate(c) for name, c in columns.items() if c[0] is not None}
    )
