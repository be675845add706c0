"""Backgrounds that a detector takes for faces, to be learned from between epochs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from nets.detectors.training.store import Entry, Store
from vj.detections import Detections


class Detects(Protocol):
    """A detector as it stands now."""

    def detect(self, image: Any) -> Detections:
        """Faces of an RGB image."""


def mine(
    detector: Detects, backgrounds: Sequence[Entry], store: Store, *, most: int = 20
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

    Yields
    ------
    (int, (x1, y1, x2, y2), float)
        Number of the background, box, score; the first two are what `Scenes` takes as ``alarms``.
    """
    for number, entry in enumerate(backgrounds):
        found = detector.detect(store.pixels(entry)[..., :3]).sorted()[:most]
        for box, score in zip(found.xyxy.tolist(), found.score.tolist(), strict=True):
            yield number, tuple(box), score
