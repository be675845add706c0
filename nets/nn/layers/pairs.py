"""Validation and normalisation of layer arguments."""

from __future__ import annotations

from typing import Any

from vj.errors import NetError

Pair = tuple[int, int]


def pair(name: str, value: Any, least: int = 0) -> Pair:
    """Return (rows, cols), from one integer for both or from two."""
    both = value if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2 or any(not _whole(n) or n < least for n in both):
        raise NetError(
            f"`{name}` must be an integer of at least {least} or a pair of them, got {value!r}"
        )
    return int(both[0]), int(both[1])


def count(name: str, value: Any, least: int = 1) -> int:
    """Return an integer of at least ``least``."""
    if not _whole(value) or value < least:
        raise NetError(f"`{name}` must be an integer of at least {least}, got {value!r}")
    return int(value)


def share(name: str, value: Any) -> float:
    """Return a number from 0 to 1."""
    if isinstance(value, (bool, str)) or not 0 <= value <= 1:
        raise NetError(f"`{name}` must be a number from 0 to 1, got {value!r}")
    return float(value)


def _whole(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)
