"""The picture of ``--explain``: the features that decided, over a map of how far windows come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vj.detect.explain import heatmap_picture, reject_depth_map
from vj.detections import Detections
from vj.draw import draw
from vj.io.images import as_gray

if TYPE_CHECKING:
    from vj.detect.detector import CascadeDetector
    from vj.detect.explain import Explanation

Pixels = NDArray[np.uint8]
_MAP_PIXELS = 4_000_000  # of the image under the map; a larger one is reduced


def explanation_picture(
    detector: CascadeDetector, image: Pixels, explanation: Explanation
) -> Pixels:
    """Panels of the deciding features, and below them the image under its reject depth.

    Parameters
    ----------
    detector : CascadeDetector
    image : (H, W) or (H, W, 3) uint8
    explanation : Explanation
        Of a window of the image; it is framed in the map.

    Returns
    -------
    (H, W, 3) uint8
        RGB.
    """
    from PIL import Image

    panels = explanation.picture()
    gray = Image.fromarray(as_gray(image))
    block = int(np.ceil(np.sqrt(gray.width * gray.height / _MAP_PIXELS)))
    ground = np.asarray(gray.reduce(block))
    depth = reject_depth_map(detector.cascade, ground, scale_factor=detector.scale_factor)
    heat = heatmap_picture(ground, depth, detector.cascade.n_stages)
    x, y, w, h = (side / block for side in explanation.rect)
    window = Detections(np.array([[x, y, x + w, y + h]], np.float32), np.zeros(1, np.float32))
    framed = Image.fromarray(draw(heat, window, color="white", labels=False))
    width = panels.shape[1]
    height = max(1, round(framed.height * width / framed.width))
    below = framed.resize((width, height), Image.Resampling.LANCZOS)
    return np.concatenate([panels, np.asarray(below)])
