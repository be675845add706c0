"""Layers of a plan, lowered from operators, and their kernel calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

import numpy as np

from nets.conv.tensor_layout import F32, I64, TensorLayout
from nets.kernels import conv
from vj.kernels.jit import Kernel


class Halo(NamedTuple):
    """Zero pixels around an image."""

    top: int = 0
    left: int = 0
    bottom: int = 0
    right: int = 0

    def union(self, other: Halo) -> Halo:
        """Return the smallest halo that contains both."""
        return Halo(*map(max, self, other))


NO_HALO = Halo()


class Image(NamedTuple):
    """Form of an array stored in the arena as NHWC; sizes in graph order."""

    images: int
    channels: int
    height: int
    width: int


class Rows(NamedTuple):
    """Form of an array stored contiguously in the arena, in the order of its shape."""

    shape: tuple[int, ...]


Form = Image | Rows


@dataclass(frozen=True, slots=True)
class Place:
    """Location of an array. ``whole``: its pixels hold only its own channels and padding."""

    layout: TensorLayout
    whole: bool


EMPTY: F32 = np.zeros(1, np.float32)
VALUE_NS = 0.15  # nanoseconds of one output value of a layer without weights
SCRATCH = 64  # floats of scratch available to any kernel


@dataclass(slots=True)
class Step:
    """One call of a kernel; its bands cover ``rows``.

    ``cost`` is an estimate in nanoseconds, ``reads`` and ``writes`` name whole arrays, ``imports``
    the array that the step copies into the arena.
    """

    kernel: Kernel
    shape: I64
    rows: int
    weights: F32 = field(default_factory=lambda: EMPTY)
    bias: F32 = field(default_factory=lambda: EMPTY)
    lo: float = -inf
    hi: float = inf
    scratch: int = SCRATCH
    cost: float = 0.0
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    imports: str = ""


Places = Callable[[str], Place]


class Layer:
    """Base class of all layers; ``inputs`` and ``output`` name arrays.

    Following operators may be fused into a layer: ``can_clamp``, `can_scale` and `can_add` tell if
    it supports a clamp, a per-channel scale and shift, or adding another array.
    """

    kind = ""
    lo = -inf
    hi = inf
    can_clamp = False
    algorithm = "auto"

    def __init__(self, name: str, inputs: Sequence[str], output: str) -> None:
        self.name, self.inputs, self.output = name, list(inputs), output

    @property
    def outputs(self) -> list[str]:
        """Return all arrays that the layer writes."""
        return [self.output]

    def halo(self, name: str) -> Halo:
        """Return the halo that the layer reads around its input ``name``."""
        return NO_HALO

    def steps(self, place: Places) -> list[Step]:
        """Return the kernel calls, given the location of every array."""
        raise NotImplementedError

    def estimate(self, step: Step) -> float:
        """Return a rough cost of a step in nanoseconds, which sets its number of threads."""
        return float(step.rows * step.shape[conv.COLS] * step.shape[conv.K]) * VALUE_NS

    @property
    def description(self) -> str:
        """Return the algorithm and the ops fused into the layer."""
        return self.kind

    def algorithms(self) -> list[str]:
        """Return the possible values of ``algorithm``."""
        return []

    def share_weights(self, known: dict[str, Layer]) -> None:
        """Share the packed weights with the same layer in other plans."""

    def reads_unpadded(self, name: str) -> bool:
        """Return True if the layer can read its input ``name`` without padding channels."""
        return False

    def macs(self) -> int:
        """Return the multiplications by weights."""
        return 0

    def writes_lanes(self) -> bool:
        """True if padding channels are written too (with unspecified values)."""
        return True

    @property
    def linear(self) -> bool:
        """True if nothing has been fused after the sum yet."""
        return self.lo == -inf and self.hi == inf

    def can_scale(self) -> bool:
        """Return True if `scale` may be called."""
        return False

    def scale(self, factor: F32, shift: F32) -> None:
        """Apply a per-channel scale and shift to the result."""
        raise NotImplementedError

    def can_add(self) -> bool:
        """Return True if `add` may be called."""
        return False

    def add(self, name: str) -> None:
        """Add the array ``name`` to the result."""
        raise NotImplementedError

    def clamp(self, lo: float, hi: float) -> None:
        """Clamp the result so far."""
        self.lo, self.hi = min(max(self.lo, lo), hi), min(max(self.hi, lo), hi)


class Sliced(NamedTuple):
    """Geometry of a kernel that processes runs."""

    rows: int
    cols: int
    run: int
    x_pixel: int
    y_pixel: int


def runs(x: Place, y: Place, exact: bool = False) -> Sliced:
    """Split x and y into runs: whole rows if pixels are adjacent in both, else single pixels."""
    a, b = x.layout, y.layout
    joined = a.pixel == b.pixel and x.whole and y.whole
    if joined and (not exact or a.pixel == a.channels):
        return Sliced(b.height, 1, b.width * b.pixel, 0, 0)
    return Sliced(b.height, b.width, b.channels, a.pixel, b.pixel)
