"""SCRFD: two anchors for each cell of three grids, distances to the sides of the box."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nets.compiler import Plan
from nets.compiler.specialise import specialise
from nets.detectors.base import F32, Found, NetDetector, Pixels
from nets.graph.ir import Graph
from vj.errors import NetError

STRIDES = (8, 16, 32)
ANCHORS = 2
PROBE = 64  # side of the input that shows which output is which


class ScrfdDetector(NetDetector):
    """Faces, and five landmarks where the network has them, by SCRFD.

    The parameters are those of `NetDetector`.

    References
    ----------
    Guo et al., Sample and computation redistribution for efficient face detection, ICLR 2022.
    """

    pixels = Pixels(scale=1 / 128, shift=-127.5 / 128)
    about = "SCRFD"

    @classmethod
    def recognises(cls, graph: Graph) -> bool:  # noqa: D102
        return _outputs(graph) is not None

    def decode(self, plan: Plan, image: int, outputs: dict[str, F32]) -> Found:
        """Distances are multiples of the stride."""
        names = _outputs(self.model.graph)
        assert names is not None
        *_, width = plan.special.specs[self.model.inputs[0].name].dims
        parts = []
        for stride in STRIDES:
            score, box, points = (
                None if name is None else _of_image(outputs[name], image)
                for name in (names.get((stride, k)) for k in (1, 4, 10))
            )
            assert score is not None
            assert box is not None
            at = np.flatnonzero(score[:, 0] >= self.score_threshold)
            cell = at // ANCHORS
            centre = np.stack([cell % (width // stride), cell // (width // stride)], 1)
            centre = (centre * stride).astype(np.float32)
            far = box[at] * np.float32(stride)
            marks = np.zeros((len(at), 0, 2), np.float32)
            if points is not None:
                marks = points[at].reshape(-1, 5, 2) * np.float32(stride) + centre[:, None]
            parts.append(
                (np.concatenate([centre - far[:, :2], centre + far[:, 2:]], 1), score[at, 0], marks)
            )
        xyxy, scores, marks = (np.concatenate(group) for group in zip(*parts, strict=True))
        return Found(xyxy, scores, marks if marks.shape[1] else None)


def _of_image(output: F32, image: int) -> F32:
    """Rows of one image; older exports have no batch axis."""
    return output[image] if output.ndim == 3 else output


def _outputs(graph: Graph) -> dict[tuple[int, int], str] | None:
    """Which output holds (stride, numbers in a row); None if they are not those of SCRFD."""
    if len(graph.inputs) != 1 or len(graph.outputs) not in (6, 9):
        return None
    batch = max(1, (graph.inputs[0].shape or (1,))[0])
    try:
        probe = replace(graph, inputs=tuple(replace(p, shape=None) for p in graph.inputs))
        special = specialise(probe, {graph.inputs[0].name: (batch, 3, PROBE, PROBE)})
    except NetError:
        return None
    rows = {ANCHORS * (PROBE // stride) ** 2: stride for stride in STRIDES}
    found = {}
    for name, at in special.outputs:
        shape = special.specs[at].shape
        if shape is None or len(shape) < 2 or shape[-2] not in rows:
            return None
        found[rows[shape[-2]], shape[-1]] = name
    wanted = {
        (stride, k) for stride in STRIDES for k in ((1, 4, 10) if len(found) == 9 else (1, 4))
    }
    return found if set(found) == wanted else None
