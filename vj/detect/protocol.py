"""What a detector is."""

from __future__ import annotations

from typing import Any, Protocol

from vj.detections import Detections


class Detector(Protocol):
    """Anything that finds boxes in an image."""

    def detect(self, image: Any) -> Detections:
        """Detections of one image."""
