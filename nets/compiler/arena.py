"""Memory planning: one arena, shared by arrays with disjoint lifetimes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np

from nets.conv.tensor_layout import F32, TensorLayout, padded
from nets.operators.layer import NO_HALO, Halo, Image, Layer, Place, Rows
from nets.operators.lowering import Import, Lowering, Numpy

LINE = 16  # floats of a cache line
SLACK = 256  # floats after the last array: vector loads may read beyond a pixel's channels


@dataclass
class Buffer:
    """One array with all its views."""

    form: Image | Rows
    halo: Halo = NO_HALO
    pixel: int = 0
    first: int = 1 << 60  # first layer that writes it
    last: int = -1  # last layer that reads it
    lanes: bool = True  # if True, its padding channels are written
    offset: int = 0

    @property
    def size(self) -> int:
        """Size in floats."""
        if isinstance(self.form, Rows):
            return int(np.prod(self.form.shape))
        return self.form.images * self.image

    @property
    def row(self) -> int:
        """Size of a row of pixels, in floats."""
        assert isinstance(self.form, Image)
        return (self.halo.left + self.form.width + self.halo.right) * self.pixel

    @property
    def image(self) -> int:
        """Size of an image, in floats."""
        assert isinstance(self.form, Image)
        return (self.halo.top + self.form.height + self.halo.bottom) * self.row


@dataclass
class Allocation:
    """A block of memory for arrays of equal geometry with disjoint lifetimes.

    They share the frame of zeros around their pixels, which is cleared once.
    """

    buffers: list[Buffer]
    names: list[str]
    offset: int = 0
    shares: bool = False  # if True, other allocations use its memory before or after

    @property
    def size(self) -> int:
        """Size in floats."""
        return self.buffers[0].size

    @property
    def first(self) -> int:
        """First layer that writes it."""
        return self.buffers[0].first

    @property
    def last(self) -> int:
        """Last layer that reads it."""
        return self.buffers[-1].last


class Arena:
    """The memory of a plan, and the offset of each array in it."""

    def __init__(self, lowering: Lowering, layers: list[Layer]) -> None:
        self.lowering = lowering
        self.buffers: dict[str, Buffer] = {}
        for at, layer in enumerate(layers):
            for name in layer.outputs:
                self._touch(name, at, write=True, lanes=layer.writes_lanes())
            for name in self.reads(layer):
                self._touch(name, at)
            for name in layer.inputs:
                buffer = self._buffer(name)
                if buffer is not None:
                    buffer.halo = buffer.halo.union(layer.halo(name))
        for name in lowering.final:
            self._touch(name, len(layers))
            self._touch(self.seen(name), len(layers))
        self._choose_pixels(layers)
        self.allocations = self._allocations()
        self.size = _allocate(self.allocations)

    def seen(self, name: str) -> str:
        """Return the buffer behind an array passed to NumPy as ``name``."""
        while name in self.lowering.origins:
            name = self.lowering.origins[name]
        return self.lowering.base(name)[0]

    def reads(self, layer: Layer) -> list[str]:
        """Return the buffers that a layer reads, also through NumPy views."""
        if isinstance(layer, Import):
            origin = self.lowering.origins.get(layer.output)
            return [] if origin is None else [self.seen(origin)]
        if isinstance(layer, Numpy):
            return [self.seen(name) for name in layer.inputs]
        return [self.lowering.base(name)[0] for name in layer.inputs]

    def _buffer(self, name: str) -> Buffer | None:
        base, _ = self.lowering.base(name)
        form = self.lowering.forms.get(base)
        if form is None:
            return None
        return self.buffers.setdefault(base, Buffer(form))

    def _touch(self, name: str, at: int, *, write: bool = False, lanes: bool = True) -> None:
        buffer = self._buffer(name)
        if buffer is None:
            return
        buffer.first, buffer.last = min(buffer.first, at), max(buffer.last, at)
        if write:
            buffer.lanes &= lanes

    def _choose_pixels(self, layers: Iterable[Layer]) -> None:
        """Pad the channels, except those of a graph input that only convolutions read."""
        readers: dict[str, list[Layer]] = {}
        for layer in layers:
            for name in layer.inputs:
                readers.setdefault(self.lowering.base(name)[0], []).append(layer)
        imports = {layer.output for layer in layers if isinstance(layer, Import)}
        for name, buffer in self.buffers.items():
            if isinstance(buffer.form, Rows):
                continue
            channels = buffer.form.channels
            bare = name in imports and channels < 8 and all(
                layer.reads_unpadded(name) for layer in readers.get(name, [])
            )  # fmt: skip
            buffer.pixel = channels if bare else padded(channels)

    def _allocations(self) -> list[Allocation]:
        """Share allocations among arrays of equal geometry, after unifying thin frames."""
        found: dict[object, list[Allocation]] = {}
        for name, buffer in sorted(self.buffers.items(), key=lambda item: item[1].first):
            frame = buffer.halo if max(buffer.halo) > 1 else None
            kind = (type(buffer.form), *buffer.form, buffer.pixel, frame)
            allocations = found.setdefault(kind if buffer.lanes else name, [])
            free = next(
                (allocation for allocation in allocations if allocation.last < buffer.first), None
            )
            if free is None:
                allocations.append(Allocation([buffer], [name]))
            else:
                free.buffers.append(buffer)
                free.names.append(name)
        allocations = [allocation for alike in found.values() for allocation in alike]
        for allocation in allocations:
            halo = reduce(Halo.union, (buffer.halo for buffer in allocation.buffers))
            for buffer in allocation.buffers:
                buffer.halo = halo
        return allocations

    def place(self, name: str) -> Place:
        """Return the location of an array."""
        base, start = self.lowering.base(name)
        buffer, form = self.buffers[base], self.lowering.forms[name]
        if isinstance(form, Rows):
            return Place(_rows_layout(buffer, form, start), True)
        b = buffer.form
        assert isinstance(b, Image)
        tensor = TensorLayout.packed(
            buffer.offset, b.height, b.width, b.channels,
            images=b.images, halo=buffer.halo, pixel=buffer.pixel,
        )  # fmt: skip
        tensor = tensor._replace(offset=tensor.offset + start, channels=form.channels)
        return Place(tensor, start == 0 and form.channels == b.channels)

    def overlaps(self) -> dict[str, set[str]]:
        """Return the arrays, including itself, that use an array's memory at any time."""
        spans = [(name, b.offset, b.offset + b.size) for name, b in self.buffers.items()]
        return {
            name: {other for other, low, high in spans if low < end and start < high}
            for name, start, end in spans
        }

    def view(self, memory: F32, name: str) -> F32:
        """Return an array in the graph's layout, without a copy if possible."""
        tensor, form = self.place(name).layout, self.lowering.forms[name]
        shape = self.lowering.specs[name].dims
        if isinstance(form, Rows):
            flat = _strided(memory, tensor.offset, (form.shape[0], int(np.prod(form.shape[1:]))),
                            (tensor.image, 1))  # fmt: skip
            return flat.reshape(shape)
        pixels = _strided(memory, tensor.offset, form, (tensor.image, 1, tensor.row, tensor.pixel))
        return pixels.reshape(shape)


def _strided(memory: F32, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> F32:
    return np.lib.stride_tricks.as_strided(
        memory[offset:], shape, tuple(4 * s for s in strides), writeable=True
    )


def _rows_layout(buffer: Buffer, form: Rows, start: int) -> TensorLayout:
    assert isinstance(buffer.form, Rows)
    images, *sizes = form.shape
    channels = sizes[-1] if sizes else 1
    width = sizes[-2] if len(sizes) > 1 else 1
    height = int(np.prod(sizes[:-2])) if len(sizes) > 2 else 1
    image = int(np.prod(buffer.form.shape[1:]))
    return TensorLayout(
        buffer.offset + start, width * channels, channels, image, height, width, channels, images
    )


def _allocate(allocations: list[Allocation]) -> int:
    """Place the largest allocation first, each in the lowest gap free during its lifetime."""
    placed: list[Allocation] = []
    for allocation in sorted(allocations, key=lambda b: (-b.size, b.first)):
        allocation.offset = 0
        taken = sorted(
            (other.offset, other.offset + other.size)
            for other in placed
            if other.first <= allocation.last and allocation.first <= other.last
        )
        for start, end in taken:
            if allocation.offset + allocation.size <= start:
                break
            allocation.offset = max(allocation.offset, -(-end // LINE) * LINE)
        placed.append(allocation)
        for buffer in allocation.buffers:
            buffer.offset = allocation.offset
    for allocation in allocations:
        allocation.shares = any(
            other is not allocation
            and other.offset < allocation.offset + allocation.size
            and allocation.offset < other.offset + other.size
            for other in allocations
        )
    return max((b.offset + b.size for b in allocations), default=0) + SLACK
