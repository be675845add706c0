"""Type aliases of the reference functions."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
Pair = tuple[int, int]
