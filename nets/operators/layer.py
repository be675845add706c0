"""Layers, which operators become in a plan, and the kernel calls that layers become."""

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

    layout: TensorLayout
    whole: bool


EMPTY: F32 = np.zeros(1, np.float32)
VALUE_NS = 0.15  # one output value of a layer without weights
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
    """Base of all layers; ``inputs`` and ``output`` name arrays.

    Operators that follow may become part of a layer: ``can_clamp``, `can_scale` and `can_add` say
    whether it takes a clamp, a factor and a shift for each channel, or another array to be added.
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
        """All arrays that the layer writes."""
        return [self.output]

    def halo(self, name: str) -> Halo:
        """What the layer reads around its input ``name``."""
        return NO_HALO

    def steps(self, place: Places) -> list[Step]:
        """The kernel calls, given where everything lies."""
        raise NotImplementedError

    def estimate(self, step: Step) -> float:
        """Rough nanoseconds of a step, which decide how many threads share it."""
        return float(step.rows * step.shape[conv.COLS] * step.shape[conv.K]) * VALUE_NS

    @property
    def description(self) -> str:
        """The algorithm, with everything that has been fused into the layer."""
        return self.kind

    def algorithms(self) -> list[str]:
        """The algorithms among which ``algorithm`` may choose."""
        return []

    def share_weights(self, known: dict[str, Layer]) -> None:
        """Take over the packed weights of the same layer in another plan, or leave them there."""

    def reads_unpadded(self, name: str) -> bool:
        """Whether the layer can read its input ``name`` without padding channels."""
        return False

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

    def can_scale(self) -> bool:
        """Whether `scale` may be called."""
        return False

    def scale(self, factor: F32, shift: F32) -> None:
        """Apply a factor and a shift for each channel to the result."""
        raise NotImplementedError

    def can_add(self) -> bool:
        """Whether `add` may be called."""
        return False

    def add(self, name: str) -> None:
        """Add the array ``name`` to the result."""
        raise NotImplementedError

    def clamp(self, lo: float, hi: float) -> None:
        """Clamp the result so far."""
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
    a, b = x.layout, y.layout
    joined = a.pixel == b.pixel and x.whole and y.whole
    if joined and (not exact or a.pixel == a.channels):
        return Sliced(b.height, 1, b.width * b.pixel, 0, 0)
    return Sliced(b.height, b.width, b.channels, a.pixel, b.pixel)
