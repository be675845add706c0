"""Ultra-Light-Fast-Generic face detectors (RFB and slim): SSD with priors on four grids."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from nets.compiler import Plan
from nets.detectors.base import F32, Found, NetDetector, Pixels
from nets.graph.ir import Graph

STRIDES = (8, 16, 32, 64)
SIDES = ((10, 16, 24), (32, 48), (64, 96), (128, 192, 256))  # pixels of the priors of each grid
CENTRE, SIZE = 0.1, 0.2  # variances


class UltraLightDetector(NetDetector):
    """Faces by Ultra-Light-Fast-Generic-Face-Detector-1MB, RFB or slim; no landmarks.

    The parameters are those of `NetDetector`.

    References
    ----------
    Liu, Huang & Wang, Receptive field block net, ECCV 2018; Liu et al., SSD, ECCV 2016.
    """

    stride = 8
    pixels = Pixels(scale=1 / 128, shift=-127 / 128)
    least_score = 0.2  # below it thousands of priors pass in any picture
    about = "Ultra-Light face detector"

    @classmethod
    def recognises(cls, graph: Graph) -> bool:  # noqa: D102
        return {port.name for port in graph.outputs} == {"scores", "boxes"}

    def decode(self, plan: Plan, image: int, outputs: dict[str, F32]) -> Found:
        """Offsets to the priors; some exports have decoded and normalised boxes already."""
        *_, height, width = plan.special.specs[self.model.inputs[0].name].dims
        score = outputs["scores"][image][:, 1]
        at = np.flatnonzero(score >= self.score_threshold)
        box = outputs["boxes"][image][at]
        scale = np.array([width, height], np.float32)
        if not any(node.op == "Exp" for node in self.model.graph.nodes):
            prior = priors(height, width)[at]
            centre = box[:, :2] * np.float32(CENTRE) * prior[:, 2:] + prior[:, :2]
            half = np.exp(box[:, 2:] * np.float32(SIZE)) * prior[:, 2:] / 2
            box = np.concatenate([centre - half, centre + half], 1)
        return Found((box * np.tile(scale, 2)).astype(np.float32), score[at], None)


@lru_cache(maxsize=8)
def priors(height: int, width: int) -> F32:
    """Centre and size of every prior as shares of the image, (n, 4) x, y, w, h."""
    found = []
    for stride, sides in zip(STRIDES, SIDES, strict=True):
        rows, cols = -(-height // stride), -(-width // stride)
        y, x, side = np.meshgrid(np.arange(rows), np.arange(cols), sides, indexing="ij")
        parts = [(x + 0.5) * stride / width, (y + 0.5) * stride / height]
        parts += [side / width, side / height]
        found.append(np.stack(parts, -1).reshape(-1, 4))
    return np.clip(np.concatenate(found), 0, 1).astype(np.float32)
