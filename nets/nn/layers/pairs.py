"""Arguments of layers, brought into the form that ops take."""

from __future__ import annotations

from typing import Any

from vj.errors import NetError

Pair = tuple[int, int]


def pair(name: str, value: Any, least: int = 0) -> Pair:
    """(rows, cols) of one number for both, or of two."""
    both = value if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2 or any(not _whole(n) or n < least for n in both):
        raise NetError(f"`{name}` must be a number from {least} on or two of them, got {value!r}")
    return int(both[0]), int(both[1])


def count(name: str, value: Any, least: int = 1) -> int:
    """A whole number."""
    if not _whole(value) or value < least:
        raise NetError(f"`{name}` must be a whole number from {least} on, got {value!r}")
    return int(value)


def share(name: str, value: Any) -> float:
    """A number from 0 to 1."""
    if isinstance(value, (bool, str)) or not 0 <= value <= 1:
        raise NetError(f"`{name}` must be a number from 0 to 1, got {value!r}")
    return float(value)


def _whole(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)
