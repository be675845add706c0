"""What every layer of a plan answers: what it reads around an image, and which kernels it calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

import numpy as np

from nets.conv.tensor_layout import F32, I64, Slot
from vj.kernels.jit import Kernel


class Halo(NamedTuple):
    """Zero pixels around an image."""

    top: int = 0
    left: int = 0
    bottom: int = 0
    right: int = 0

    def union(self, other: Halo) -> Halo:
        """Enough for both."""
        return Halo(*map(max, self, other))


NO_HALO = Halo()


class Image(NamedTuple):
    """Form of an array that lies in the arena as NHWC; sizes as the graph has them."""

    images: int
    channels: int
    height: int
    width: int


class Rows(NamedTuple):
    """Form of an array that lies in the arena without gaps, in the order of its shape."""

    shape: tuple[int, ...]


Form = Image | Rows


@dataclass(frozen=True, slots=True)
class Place:
    """Where an array lies. ``whole``: its pixels hold nothing but its own channels and padding."""

    slot: Slot
    whole: bool


EMPTY: F32 = np.zeros(1, np.float32)
SCRATCH = 64  # floats that any kernel may use


@dataclass(slots=True)
class Step:
    """One call of a kernel; ``rows`` is how far its bands go.

    ``cost`` is an estimate in nanoseconds, ``reads`` and ``writes`` name whole arrays, ``imports``
    the array that the step brings into the arena.
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
    """Base of all layers; ``inputs`` and ``output`` name arrays."""

    kind = ""
    lo = -inf
    hi = inf

    def __init__(self, name: str, inputs: Sequence[str], output: str) -> None:
        self.name, self.inputs, self.output = name, list(inputs), output

    @property
    def outputs(self) -> list[str]:
        """All arrays that the layer writes."""
        return [self.output]

    def halo(self, name: str) -> Halo:
        """What the layer reads around its input ``name``."""
        return NO_HALO

    def steps(self, place: Places) -> list[Step]:
        """The kernel calls, given where everything lies."""
        raise NotImplementedError

    def macs(self) -> int:
        """Multiplications with weights."""
        return 0

    def writes_lanes(self) -> bool:
        """Whether padding channels are written too (with numbers that nobody looks at)."""
        return True

    @property
    def linear(self) -> bool:
        """Whether nothing has been put behind the sum yet."""
        return self.lo == -inf and self.hi == inf

    def clamp(self, lo: float, hi: float) -> None:
        """Put a clamp behind the activation so far."""
        self.lo, self.hi = min(max(self.lo, lo), hi), min(max(self.hi, lo), hi)


class Sliced(NamedTuple):
    """Geometry of a run-wise kernel."""

    rows: int
    cols: int
    run: int
    x_pixel: int
    y_pixel: int


def runs(x: Place, y: Place, exact: bool = False) -> Sliced:
    """How x and y are cut into runs: whole rows where pixels touch in both, else pixel by pixel."""
    a, b = x.slot, y.slot
    joined = a.pixel == b.pixel and x.whole and y.whole
    if joined and (not exact or a.pixel == a.channels):
        return Sliced(b.height, 1, b.width * b.pixel, 0, 0)
    return Sliced(b.height, b.width, b.channels, a.pixel, b.pixel)
