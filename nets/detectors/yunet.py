"""YuNet: one point for each cell of three grids, five landmarks, a tiny network."""

from __future__ import annotations

import numpy as np

from nets.compiler import Plan
from nets.detectors.base import F32, Found, NetDetector, Pixels
from nets.graph.ir import Graph

STRIDES = (8, 16, 32)
NAMES = {f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in STRIDES}


class YuNetDetector(NetDetector):
    """Faces and five landmarks by YuNet; boxes as of OpenCV's FaceDetectorYN.

    The parameters are those of `NetDetector`.

    References
    ----------
    Wu, Peng & Yu, YuNet: a tiny millisecond-level face detector, Machine Intelligence Research
    20(5), 2023.
    """

    pixels = Pixels(bgr=True)
    about = "YuNet"

    @classmethod
    def recognises(cls, graph: Graph) -> bool:  # noqa: D102
        return {port.name for port in graph.outputs} >= NAMES

    def decode(self, plan: Plan, image: int, outputs: dict[str, F32]) -> Found:
        """Score is the geometric mean of face and object score; sizes are exponents."""
        *_, width = plan.special.specs[self.model.inputs[0].name].dims
        parts = []
        for stride in STRIDES:
            cls, obj, box, points = (
                outputs[f"{kind}_{stride}"][image] for kind in ("cls", "obj", "bbox", "kps")
            )
            score = np.clip(cls[:, 0], 0, 1) * np.clip(obj[:, 0], 0, 1)
            at = np.flatnonzero(score >= self.score_threshold**2)
            cell = np.stack([at % (width // stride), at // (width // stride)], 1)
            centre = (cell + box[at, :2]) * np.float32(stride)
            half = np.exp(box[at, 2:]) * np.float32(stride / 2)
            marks = (points[at].reshape(-1, 5, 2) + cell[:, None]) * np.float32(stride)
            parts.append((np.concatenate([centre - half, centre + half], 1), score[at], marks))
        xyxy, score, marks = (np.concatenate(group) for group in zip(*parts, strict=True))
        return Found(
            xyxy.astype(np.float32), np.sqrt(score, dtype=np.float32), marks.astype(np.float32)
        )

    def suppression_boxes(self, xyxy: F32) -> F32:
        """Whole pixels, as OpenCV measures overlap: its corner and its size are cut off."""
        low, size = np.trunc(xyxy[:, :2]), np.trunc(xyxy[:, 2:] - xyxy[:, :2])
        return np.concatenate([low, low + size], 1).astype(np.float32)
