"""Where every array lies: one block of memory, shared by arrays that never live together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np

from nets.conv.tensor_layout import F32, Slot, padded
from nets.operators.layer import NO_HALO, Halo, Image, Layer, Place, Rows
from nets.operators.lowering import Import, Lowering, Numpy

LINE = 16  # floats of a cache line
SLACK = 256  # floats behind the last array: vectors may read beyond a pixel's channels


@dataclass
class Buffer:
    """One array with everything that is a part of it."""

    form: Image | Rows
    halo: Halo = NO_HALO
    pixel: int = 0
    first: int = 1 << 60  # layer that writes it first
    last: int = -1  # layer that reads it last
    lanes: bool = True  # whether its padding channels are written
    offset: int = 0

    @property
    def size(self) -> int:
        """Floats."""
        if isinstance(self.form, Rows):
            return int(np.prod(self.form.shape))
        return self.form.images * self.image

    @property
    def row(self) -> int:
        """Floats of a row of pixels."""
        assert isinstance(self.form, Image)
        return (self.halo.left + self.form.width + self.halo.right) * self.pixel

    @property
    def image(self) -> int:
        """Floats of an image."""
        assert isinstance(self.form, Image)
        return (self.halo.top + self.form.height + self.halo.bottom) * self.row


@dataclass
class Berth:
    """A piece of memory for arrays of one geometry that live one after the other.

    What lies around the pixels of one is around those of the next: it is zeroed once.
    """

    tenants: list[Buffer]
    names: list[str]
    offset: int = 0
    shares: bool = False  # whether its memory is used by other berths, before or after

    @property
    def size(self) -> int:
        """Floats."""
        return self.tenants[0].size

    @property
    def first(self) -> int:
        """Layer that writes it first."""
        return self.tenants[0].first

    @property
    def last(self) -> int:
        """Layer that reads it last."""
        return self.tenants[-1].last


class Arena:
    """The memory of a plan, and the place of each array in it."""

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
        self.berths = self._berths()
        self.size = _allocate(self.berths)

    def seen(self, name: str) -> str:
        """The whole array that NumPy looks at where it is handed ``name``."""
        while name in self.lowering.origins:
            name = self.lowering.origins[name]
        return self.lowering.base(name)[0]

    def reads(self, layer: Layer) -> list[str]:
        """The whole arrays that a layer reads, also where it does so through a view of NumPy's."""
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
        """Channels are padded, except those of a graph input that only convolutions read."""
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

    def _berths(self) -> list[Berth]:
        """Share berths among arrays of one geometry; thin frames are made alike for that."""
        found: dict[object, list[Berth]] = {}
        for name, buffer in sorted(self.buffers.items(), key=lambda item: item[1].first):
            frame = buffer.halo if max(buffer.halo) > 1 else None
            kind = (type(buffer.form), *buffer.form, buffer.pixel, frame)
            berths = found.setdefault(kind if buffer.lanes else name, [])
            free = next((berth for berth in berths if berth.last < buffer.first), None)
            if free is None:
                berths.append(Berth([buffer], [name]))
            else:
                free.tenants.append(buffer)
                free.names.append(name)
        berths = [berth for alike in found.values() for berth in alike]
        for berth in berths:
            halo = reduce(Halo.union, (buffer.halo for buffer in berth.tenants))
            for buffer in berth.tenants:
                buffer.halo = halo
        return berths

    def place(self, name: str) -> Place:
        """Where an array lies."""
        base, start = self.lowering.base(name)
        buffer, form = self.buffers[base], self.lowering.forms[name]
        if isinstance(form, Rows):
            return Place(_rows_slot(buffer, form, start), True)
        b = buffer.form
        assert isinstance(b, Image)
        slot = Slot.packed(
            buffer.offset, b.height, b.width, b.channels,
            images=b.images, halo=buffer.halo, pixel=buffer.pixel,
        )  # fmt: skip
        slot = slot._replace(offset=slot.offset + start, channels=form.channels)
        return Place(slot, start == 0 and form.channels == b.channels)

    def overlaps(self) -> dict[str, set[str]]:
        """The arrays, itself among them, that lie in an array's memory at one time or another."""
        spans = [(name, b.offset, b.offset + b.size) for name, b in self.buffers.items()]
        return {
            name: {other for other, low, high in spans if low < end and start < high}
            for name, start, end in spans
        }

    def view(self, memory: F32, name: str) -> F32:
        """An array as the graph has it, without a copy where that is possible."""
        slot, form = self.place(name).slot, self.lowering.forms[name]
        shape = self.lowering.specs[name].dims
        if isinstance(form, Rows):
            flat = _strided(memory, slot.offset, (form.shape[0], int(np.prod(form.shape[1:]))),
                            (slot.image, 1))  # fmt: skip
            return flat.reshape(shape)
        pixels = _strided(memory, slot.offset, form, (slot.image, 1, slot.row, slot.pixel))
        return pixels.reshape(shape)


def _strided(memory: F32, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> F32:
    return np.lib.stride_tricks.as_strided(
        memory[offset:], shape, tuple(4 * s for s in strides), writeable=True
    )


def _rows_slot(buffer: Buffer, form: Rows, start: int) -> Slot:
    assert isinstance(buffer.form, Rows)
    images, *sizes = form.shape
    channels = sizes[-1] if sizes else 1
    width = sizes[-2] if len(sizes) > 1 else 1
    height = int(np.prod(sizes[:-2])) if len(sizes) > 2 else 1
    image = int(np.prod(buffer.form.shape[1:]))
    return Slot(
        buffer.offset + start, width * channels, channels, image, height, width, channels, images
    )


def _allocate(berths: list[Berth]) -> int:
    """Give each berth an offset: largest first, the lowest gap that is free while it is used."""
    placed: list[Berth] = []
    for berth in sorted(berths, key=lambda b: (-b.size, b.first)):
        berth.offset = 0
        taken = sorted(
            (other.offset, other.offset + other.size)
            for other in placed
            if other.first <= berth.last and berth.first <= other.last
        )
        for start, end in taken:
            if berth.offset + berth.size <= start:
                break
            berth.offset = max(berth.offset, -(-end // LINE) * LINE)
        placed.append(berth)
        for buffer in berth.tenants:
            buffer.offset = berth.offset
    for berth in berths:
        berth.shares = any(
            other is not berth
            and other.offset < berth.offset + berth.size
            and berth.offset < other.offset + other.size
            for other in berths
        )
    return max((b.offset + b.size for b in berths), default=0) + SLACK
