"""One image of an input, whether a file, a video or a camera."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of an input."""

    image: NDArray[np.uint8]  # (H, W) or (H, W, 3) RGB
    index: int = 0
    time: Fraction | None = None  # seconds from the start; a picture has none
    raw: Any = None  # the decoder's frame, which can be encoded again without a loss of colour
