"""Memory that kernels work in: one place for each thread and use, kept from call to call."""

from __future__ import annotations

import threading

import numpy as np

from nets.graph.ir import Array

LINE = 16  # floats of a cache line
_places = threading.local()


def aligned(size: int) -> Array:
    """``size`` floats that start at a cache line; their numbers are not set."""
    raw = np.empty(size + LINE, np.float32)
    start = -(address(raw) // 4) % LINE
    return raw[start : start + size]


def scratch(name: str, size: int) -> Array:
    """At least ``size`` floats of this thread, whose numbers are what `name` left there."""
    place: Array | None = _places.__dict__.get(name)
    if place is None or place.size < size:
        place = _places.__dict__[name] = aligned(size)
    return place[:size]


def address(array: Array) -> int:
    """Where the numbers of an array begin."""
    start: int = array.__array_interface__["data"][0]
    return start
