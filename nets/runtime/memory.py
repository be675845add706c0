"""Memory reuse for results of ops and scratch space of kernels.

A fresh page of memory costs more than the work done on it, and training steps request the same
sizes again and again. `empty` returns arrays like NumPy's; when the last view of one is gone, its
memory is kept for the next array of that size. The total never exceeds the peak in use at one time.
"""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict

import numpy as np

from nets.arrays import Array

LINE = 16  # floats of a cache line
LEAST = 1 << 14  # floats; smaller arrays are left to NumPy
_places = threading.local()


class _Store:
    """Free blocks, oldest first; sizes in floats."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a block may be returned during `take`
        self.waiting: OrderedDict[int, tuple[int, Array]] = OrderedDict()
        self.by_size: dict[int, list[int]] = {}
        self.idle = self.used = self.most = 0

    def abandon(self) -> None:
        """Drop what waits, after a fork: another thread may have been in the middle of a change."""
        self.lock = threading.RLock()
        self.waiting.clear()
        self.by_size.clear()
        self.idle = 0

    def take(self, size: int) -> Array:
        """Return an unused block of ``size`` floats."""
        with self.lock:
            self.used += size
            self.most = max(self.most, self.used)
            same = self.by_size.get(size)
            if same:
                self.idle -= size
                return self.waiting.pop(same.pop())[1]
            while self.waiting and self.used + self.idle > self.most:
                key, (other, _) = self.waiting.popitem(last=False)
                self.by_size[other].remove(key)
                self.idle -= other
        return aligned(size)

    def give(self, raw: Array) -> None:
        """Return a block to the store."""
        with self.lock:
            self.used -= raw.size
            self.idle += raw.size
            self.waiting[id(raw)] = (raw.size, raw)
            self.by_size.setdefault(raw.size, []).append(id(raw))


class _Block:
    """Base object of an array of `empty`; it is freed with the array's last view."""

    __slots__ = ("__array_interface__", "raw", "store")

    def __init__(self, store: _Store, size: int) -> None:
        self.store, self.raw = store, store.take(size)
        self.__array_interface__ = self.raw.__array_interface__

    def __del__(self) -> None:
        self.store.give(self.raw)


_store = _Store()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_store.abandon)


def empty(*shape: int) -> Array:
    """Return an uninitialised float32 array, in reused memory if available."""
    size = math.prod(shape)
    if size < LEAST:
        return np.empty(shape, np.float32)
    eighth = 1 << max(0, size.bit_length() - 4)  # sizes in steps of an eighth at most
    block = _Block(_store, -(-size // eighth) * eighth)
    return np.asarray(block)[:size].reshape(shape)


def aligned(size: int) -> Array:
    """Return ``size`` uninitialised floats aligned to a cache line."""
    raw = np.empty(size + LINE, np.float32)
    start = -(address(raw) // 4) % LINE
    return raw[start : start + size]


def scratch(name: str, size: int) -> Array:
    """Return ``size`` thread-local floats, with the previous contents of ``name``."""
    place: Array | None = _places.__dict__.get(name)
    if place is None or place.size < size:
        place = _places.__dict__[name] = aligned(size)
    return place[:size]


def address(array: Array) -> int:
    """Return the address of an array's data."""
    start: int = array.__array_interface__["data"][0]
    return start
