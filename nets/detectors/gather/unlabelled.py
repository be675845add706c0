"""Faces that nobody labelled: where YuNet sees one that meets no label, nothing is to be learned.

Its weights are under the MIT licence; detectors whose licence forbids it teach nothing here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from nets.detectors.yunet import YuNetDetector
from vj.boxes import iou
from vj.errors import SourceError

WEIGHTS = Path("ref_models", "yunet", "yunet_n_dynamic.onnx")
SIDES = (512, 1024)  # longer sides at which the detector looks
MEETS = 0.3  # overlap from which a detection is a labelled face


class Teacher:
    """YuNet at two sizes.

    Parameters
    ----------
    data : Path
        Folder of the data, with the weights in ref_models/yunet.
    score : float
        Of detections that count.
    """

    def __init__(self, data: Path, score: float) -> None:
        path = data / WEIGHTS
        if not path.is_file():
            raise SourceError(f"{path}: no such file: YuNet is needed to find unlabelled faces")
        self.looks = [
            YuNetDetector(str(path), score_threshold=score, size=side) for side in SIDES
        ]  # fmt: skip

    def boxes(self, image: Image.Image) -> np.ndarray:
        """(n, 4) x1, y1, x2, y2."""
        pixels = np.asarray(image.convert("RGB"))
        return np.concatenate([look.detect(pixels).xyxy for look in self.looks])

    def unlabelled(self, image: Image.Image, boxes: np.ndarray) -> np.ndarray:
        """Detections that meet none of the boxes (n, 4)."""
        found = self.boxes(image)
        if len(found) and len(boxes):
            found = found[iou(found, boxes).max(1) < MEETS]
        return found
