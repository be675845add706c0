"""Backgrounds that a detector takes for faces, to be learned from between epochs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from PIL import Image

from nets.detectors.training.store import Entry, Store
from vj.detections import Detections


class Detects(Protocol):
    """A detector as it stands now."""

    def detect(self, image: Any) -> Detections:
        """Faces of an RGB image."""


def mine(
    detector: Detects,
    backgrounds: Sequence[Entry],
    store: Store,
    *,
    most: int = 20,
    zoom: float = 1.0,
) -> Iterator[tuple[int, tuple[float, ...], float]]:
    """False alarms in pictures without faces.

    Parameters
    ----------
    detector : Detects
        With a low threshold: alarms that are almost believed teach as well.
    backgrounds : sequence of Entry
        Of the training part; pictures without any face.
    most : int
        Of one picture, the best ones.
    zoom : float
        Pictures are shown at so many times their size.

    Yields
    ------
    (int, (x1, y1, x2, y2), float)
        Number of the background, box, score; the first two are what `Scenes` takes as ``alarms``.
    """
    for number, entry in enumerate(backgrounds):
        pixels: Any = store.pixels(entry)[..., :3]
        if zoom != 1:
            image = store.image(entry)
            size = [max(round(side * zoom), 1) for side in image.size]
            pixels = np.asarray(image.resize((size[0], size[1]), Image.Resampling.BILINEAR))
        found = detector.detect(pixels).sorted()[:most]
        for box, score in zip((found.xyxy / zoom).tolist(), found.score.tolist(), strict=True):
            yield number, tuple(box), score
