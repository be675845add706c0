"""What a detector got most wrong, as small pictures."""

from __future__ import annotations

from heapq import nlargest
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vj.datasets.annotations import Picture
from vj.io.images import Pixels, as_rgb

if TYPE_CHECKING:
    from vj.evaluate.measured import Measured

_SHOWN = 24
_TILE = 96


def worst_misses(evaluation: Measured) -> list[tuple[Pixels, str]]:
    """Tiles of the largest boxes that nothing finds at the detector's own threshold."""
    missed = [
        (float((box[2:] - box[:2]).prod()), v.picture, box)
        for v in evaluation.verdicts
        for box, found in zip(v.picture.boxes, v.found_from(evaluation.threshold), strict=True)
        if not found
    ]
    missed.sort(key=lambda m: -m[0])
    return [(tile(p, box), f"{p.name}") for _, p, box in missed[:_SHOWN]]


def worst_alarms(evaluation: Measured) -> list[tuple[Pixels, str]]:
    """Tiles of the false alarms of highest score."""
    alarms = (
        (float(v.value[k]), v.picture, v.found.xyxy[k])
        for v in evaluation.verdicts
        for k in np.flatnonzero(v.match.verdict == 0)
    )
    worst = nlargest(_SHOWN, alarms, key=lambda alarm: alarm[0])
    return [(tile(p, box), f"{p.name}: {score:.3g}") for score, p, box in worst]


def tile(picture: Picture, box: NDArray[Any]) -> Pixels:
    """The box with half of its size around it, as a small picture."""
    from PIL import Image

    image = as_rgb(picture.read())
    half = max(box[2] - box[0], box[3] - box[1], 8) * 0.9
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    area = (int(x - half), int(y - half), int(x + half), int(y + half))
    return np.asarray(Image.fromarray(image).crop(area).resize((_TILE, _TILE)))
