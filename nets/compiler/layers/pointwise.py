"""Layers that look at one number, or one pixel, at a time; and copies."""

from __future__ import annotations

import numpy as np

from nets.compiler.layers.base import Image, Layer, Places, Step, runs
from nets.conv.tensor_layout import F32, Slot, geometry
from nets.kernels import normalisation as norm_kernels
from nets.kernels import pointwise as kernels
from nets.kernels import softmax as softmax_kernels


class Unary(Layer):
    """A function of one array, then a clamp."""

    kind = "unary"

    def __init__(
        self, name: str, source: str, output: str, code: int, a: float = 0.0, b: float = 0.0
    ) -> None:
        super().__init__(name, [source], output)
        self.code, self.a, self.b = code, a, b

    def writes_lanes(self) -> bool:
        return False

    def steps(self, place: Places) -> list[Step]:
        x, y = place(self.inputs[0]), place(self.output)
        exact = self.code in (kernels.EXP, kernels.SQRT)  # may leave the finite numbers
        cut = runs(x, y, exact)
        shape = geometry(
            x.slot._replace(pixel=cut.x_pixel), y.slot._replace(pixel=cut.y_pixel),
            cut.rows, cut.cols, cut.run, [self.code, 0],
        )  # fmt: skip
        parameters = np.array([self.a, self.b], np.float32)
        rows = y.slot.images * cut.rows
        return [Step(kernels.map_unary, shape, rows, bias=parameters, lo=self.lo, hi=self.hi)]


class Copy(Unary):
    """The same numbers elsewhere: into gapless rows, a slice of a larger map, or from one."""

    kind = "copy"

    def __init__(
        self, name: str, source: str, output: str, crop: tuple[int, int, int] | None = None
    ) -> None:
        super().__init__(name, source, output, kernels.COPY)
        self.crop = crop  # first row, column and channel

    def steps(self, place: Places) -> list[Step]:
        if self.crop is None:
            return super().steps(place)
        y = place(self.output).slot
        step = transfer(_part(place(self.inputs[0]).slot, self.crop), y, y)
        step.lo, step.hi = self.lo, self.hi
        return [step]


class Pad(Layer):
    """A map inside a larger one, which is filled with a number."""

    kind = "pad"

    def __init__(
        self, name: str, source: str, output: str, corner: tuple[int, int, int], value: float
    ) -> None:
        super().__init__(name, [source], output)
        self.corner, self.value = corner, value  # corner: first row, column and channel

    def writes_lanes(self) -> bool:
        return False

    def steps(self, place: Places) -> list[Step]:
        x, y = place(self.inputs[0]).slot, place(self.output).slot
        shape = geometry(y, y, y.height, y.width, y.channels)
        value = np.array([self.value], np.float32)
        fill = Step(kernels.map_fill, shape, y.images * y.height, bias=value)
        return [fill, transfer(x, _part(y, self.corner), x)]


def _part(slot: Slot, corner: tuple[int, int, int]) -> Slot:
    """The same strides from another row, column and channel on."""
    moved = slot.moved(*corner[:2])
    return moved._replace(offset=moved.offset + corner[2])


def transfer(x: Slot, y: Slot, size: Slot) -> Step:
    """Copy as many pixels and channels as ``size`` has from one place to another."""
    shape = geometry(x, y, size.height, size.width, size.channels, [kernels.COPY, 0])
    nothing = np.zeros(2, np.float32)
    return Step(kernels.map_unary, shape, size.images * size.height, bias=nothing)


class Binary(Layer):
    """Arithmetic of two arrays, the second one broadcast over pixels or channels on demand."""

    kind = "binary"

    def __init__(
        self, name: str, x: str, r: str, output: str, code: int, r_form: Image | None
    ) -> None:
        super().__init__(name, [x, r], output)
        self.code, self.r_form = code, r_form

    def writes_lanes(self) -> bool:
        return False

    def steps(self, place: Places) -> list[Step]:
        x, y, r = place(self.inputs[0]), place(self.output), place(self.inputs[1])
        other, spread = r.slot, 0
        cut = runs(x, y, self.code == kernels.DIV)
        if self.r_form is not None:
            small, full = self.r_form, y.slot
            tight = small.height == full.height and small.width == full.width
            if not (tight and small.channels == full.channels and cut.cols == 1 and r.whole
                    and other.pixel == x.slot.pixel):  # fmt: skip
                cut = cut._replace(
                    cols=full.width, run=full.channels, x_pixel=x.slot.pixel, y_pixel=full.pixel
                )
            spread = int(small.channels == 1 and full.channels > 1)
            other = other._replace(
                image=other.image if small.images == full.images else 0,
                row=other.row if small.height == full.height else 0,
                pixel=other.pixel if small.width == full.width else 0,
            )
        shape = geometry(
            x.slot._replace(pixel=cut.x_pixel), y.slot._replace(pixel=cut.y_pixel),
            cut.rows, cut.cols, cut.run, [self.code, spread], residual=other,
        )  # fmt: skip
        return [Step(kernels.map_binary, shape, y.slot.images * cut.rows, lo=self.lo, hi=self.hi)]


class Affine(Layer):
    """A factor and a shift for each channel."""

    kind = "affine"

    def __init__(self, name: str, source: str, output: str, factor: F32, shift: F32) -> None:
        super().__init__(name, [source], output)
        self.factor, self.shift = factor, shift

    def writes_lanes(self) -> bool:
        return False

    def can_scale(self) -> bool:
        """Whether another factor and shift can be merged."""
        return self.linear

    def scale(self, factor: F32, shift: F32) -> None:
        """Merge another one behind it."""
        self.factor, self.shift = self.factor * factor, self.shift * factor + shift

    def steps(self, place: Places) -> list[Step]:
        x, y = place(self.inputs[0]).slot, place(self.output).slot
        shape = geometry(x, y, y.height, y.width, y.channels)
        return [
            Step(
                kernels.map_affine, shape, y.images * y.height,
                self.factor.astype(np.float32), self.shift.astype(np.float32),
                self.lo, self.hi,
            )
        ]  # fmt: skip


class Maxout(Layer):
    """The largest of neighbouring channels."""

    kind = "maxout"

    def __init__(self, name: str, source: str, output: str, pieces: int) -> None:
        super().__init__(name, [source], output)
        self.pieces = pieces

    def writes_lanes(self) -> bool:
        return False

    def steps(self, place: Places) -> list[Step]:
        x, y = place(self.inputs[0]).slot, place(self.output).slot
        shape = geometry(x, y, y.height, y.width, y.channels, [self.pieces])
        return [Step(kernels.maxout, shape, y.images * y.height)]


class Softmax(Layer):
    """Softmax over the channels, or over the last axis of rows."""

    kind = "softmax"

    def writes_lanes(self) -> bool:
        return False

    def steps(self, place: Places) -> list[Step]:
        x, y = place(self.inputs[0]).slot, place(self.output).slot
        shape = geometry(x, y, y.height, y.width, y.channels)
        scratch = max(64, y.channels + 16)
        return [Step(softmax_kernels.softmax, shape, y.images * y.height, scratch=scratch)]


class Norm(Layer):
    """Group or instance normalisation."""

    kind = "norm"

    def __init__(
        self,
        name: str,
        source: str,
        output: str,
        groups: int,
        epsilon: float,
        affine: tuple[F32, F32],
    ) -> None:
        super().__init__(name, [source], output)
        self.groups, self.epsilon, self.affine = groups, epsilon, affine

    def writes_lanes(self) -> bool:
        return False

    def steps(self, place: Places) -> list[Step]:
        x, y = place(self.inputs[0]).slot, place(self.output).slot
        shape = geometry(x, y, y.height, y.width, y.channels, [self.groups])
        weights, bias = self.affine
        return [
            Step(
                norm_kernels.norm_group, shape, y.images, weights, bias, self.epsilon,
                scratch=max(64, 2 * y.channels),
            )
        ]  # fmt: skip


class Response(Layer):
    """Local response normalisation."""

    kind = "lrn"

    def __init__(
        self, name: str, source: str, output: str, size: int, k: float, alpha: float, beta: float
    ) -> None:
        super().__init__(name, [source], output)
        self.size, self.parameters = size, np.array([k, alpha / size, beta], np.float32)

    def writes_lanes(self) -> bool:
        return False

    def steps(self, place: Places) -> list[Step]:
        x, y = place(self.inputs[0]).slot, place(self.output).slot
        shape = geometry(x, y, y.height, y.width, y.channels, [self.size])
        return [Step(norm_kernels.norm_response, shape, y.images * y.height, bias=self.parameters)]
