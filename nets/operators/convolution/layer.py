"""Convolution layers, with the ops fused into them."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from nets.conv import packing
from nets.conv.algorithm import Workload, choose, cost, options
from nets.conv.geometry import Geometry, Pair, halo
from nets.conv.tensor_layout import F32, I64, Packed
from nets.kernels import conv, depthwise, winograd
from nets.operators.layer import Halo, Image, Layer, Places, Step
from vj.kernels.jit import Kernel


class Conv(Layer):
    """Convolution, bias, residual, PReLU, clamp and 2 x 2 max pooling, in this order."""

    kind = "conv"
    can_clamp = True

    def __init__(
        self,
        name: str,
        source: str,
        output: str,
        x: Image,
        y: Image,
        weights: F32,
        bias: F32 | None,
        *,
        stride: Pair = (1, 1),
        dilation: Pair = (1, 1),
        padding: Pair = (0, 0),
        groups: int = 1,
    ) -> None:
        super().__init__(name, [source], output)
        self.x, self.y, self.groups = x, y, groups
        self.weights = weights
        self.bias = np.zeros(y.channels, np.float32) if bias is None else bias
        self.stride, self.dilation, self.padding = stride, dilation, padding
        self.slope: F32 | None = None
        self.residual: str | None = None
        self.pooled = False
        self.cache: dict[object, Packed] = {}

    @property
    def linear(self) -> bool:
        return super().linear and self.slope is None and not self.pooled

    @property
    def depthwise(self) -> bool:
        """True if every channel has its own filter."""
        return self.groups == self.x.channels == len(self.weights)

    @property
    def how(self) -> str:
        """The algorithm: the caller's choice, or that of the cost model."""
        return self.algorithm if self.algorithm != "auto" else choose(self.workload)

    @property
    def kernel(self) -> Pair:
        """Filter size (rows, cols)."""
        return self.weights.shape[2], self.weights.shape[3]

    @property
    def workload(self) -> Workload:
        """The workload for the cost model."""
        return Workload(
            self.x.channels, self.y.channels, self.y[2:], self.kernel, self.stride, self.dilation,
            self.macs() // self.y.images, self.weights.size, self.groups,
            transposed=self.kind == "transposed", depthwise=self.depthwise, pooled=self.pooled,
        )  # fmt: skip

    @property
    def inner(self) -> Image:
        """The result before pooling."""
        y = self.y
        return y._replace(height=2 * y.height, width=2 * y.width) if self.pooled else y

    def can_scale(self) -> bool:
        return self.linear and self.residual is None

    def scale(self, factor: F32, shift: F32) -> None:
        self.weights = self._scaled(self.weights, factor)
        self.bias = (self.bias * factor + shift).astype(np.float32)

    def _scaled(self, weights: F32, factor: F32) -> F32:
        return (weights * factor.reshape(-1, 1, 1, 1)).astype(np.float32)

    def can_add(self) -> bool:
        return self.can_scale()

    def add(self, name: str) -> None:
        self.residual = name
        self.inputs.append(name)

    def halo(self, name: str) -> Halo:
        if name != self.inputs[0]:
            return Halo()
        how = Geometry(self.stride, self.padding, self.dilation, self.groups)
        transposed = self.kind == "transposed"
        return Halo(*halo(self.kernel, self.x[2:], self.inner[2:], how, transposed))

    def estimate(self, step: Step) -> float:
        return self.y.images * cost(self.workload, "direct")

    @property
    def description(self) -> str:
        parts = [self.how if self.kind == "conv" else f"transposed {self.how}"]
        parts += ["add"] if self.residual else []
        parts += ["prelu"] if self.slope is not None else []
        parts += ["clamp"] if (self.lo, self.hi) != (-np.inf, np.inf) else []
        parts += ["pool"] if self.pooled else []
        return " + ".join(parts)

    def algorithms(self) -> list[str]:
        return options(self.workload)

    def reads_unpadded(self, name: str) -> bool:
        return self.how == "direct" and self.residual != name

    def macs(self) -> int:
        return self.inner.images * prod(self.inner[2:]) * self.weights.size

    def packed(self, key: object, make: Callable[[], Packed]) -> Packed:
        """Weights in kernel order, packed once for all plans of a model."""
        if key not in self.cache:
            self.cache[key] = make()
        return self.cache[key]

    def share_weights(self, known: dict[str, Layer]) -> None:
        """Share packed weights if equal: the ops folded into them may depend on the input size."""
        other = known.setdefault(self.output, self)
        if isinstance(other, Conv) and other.same_weights(self):
            self.cache, self.weights, self.bias = other.cache, other.weights, other.bias

    def same_weights(self, other: Conv) -> bool:
        """Return True if packed weights can be shared."""
        mine, its = (list(map(np.asarray, (c.weights, c.bias, c.slope))) for c in (self, other))
        return (
            self.kind == other.kind
            and (self.stride, self.dilation, self.padding, self.groups)
            == (other.stride, other.dilation, other.padding, other.groups)
            and all(np.array_equal(a, b) for a, b in zip(mine, its, strict=True))
        )

    def steps(self, place: Places) -> list[Step]:
        x, y = place(self.inputs[0]).layout, place(self.output).layout
        r = place(self.residual).layout if self.residual else None
        how = self.how
        if how == "depthwise":
            packed = self.packed(
                how, lambda: packing.pack_depthwise(self.weights, self.bias, slope=self.slope)
            )
            shape = packing.depthwise_shape(
                packed, x, y, kernel=self.kernel, stride=self.stride, padding=self.padding,
                dilation=self.dilation, residual=r, pool=self.pooled,
            )  # fmt: skip
            return [self.step(depthwise.conv_depthwise, packed, shape, y)]
        if how == "direct":
            packed = self.packed(
                (how, x.pixel),
                lambda: packing.pack_direct(
                    self.weights, self.bias, pixel=x.pixel, dilation=self.dilation,
                    groups=self.groups, slope=self.slope,
                ),
            )  # fmt: skip
            shape = packing.direct_shape(
                packed, x, y, stride=self.stride, padding=self.padding, residual=r
            )
            return [self.step(conv.conv_direct, packed, shape, y)]
        tile = int(how.removeprefix("winograd"))
        packed = self.packed(
            how,
            lambda: packing.pack_winograd(
                self.weights, self.bias, tile=tile, dilation=self.dilation, slope=self.slope
            ),
        )
        shape, scratch = packing.winograd_shape(
            packed, x, y, padding=self.padding, dilation=self.dilation, residual=r
        )
        step = self.step(WINOGRAD[tile], packed, shape, y)
        step.scratch = max(step.scratch, scratch)
        return [step]

    def step(self, kernel: Kernel, packed: Packed, shape: I64, y: object) -> Step:
        """Return a step over all rows of all images."""
        rows = self.y.images * int(shape[conv.ROWS])
        return Step(kernel, shape, rows, packed.weights, packed.bias, self.lo, self.hi)


WINOGRAD = {
    2: winograd.conv_winograd2,
    3: winograd.conv_winograd3,
    4: winograd.conv_winograd4,
}


class Transposed(Conv):
    """Transposed convolution by phases; weights are (C, K / groups, kh, kw)."""

    kind = "transposed"

    @property
    def depthwise(self) -> bool:
        return False

    def _scaled(self, weights: F32, factor: F32) -> F32:
        c, per_group, *kernel = weights.shape
        grouped = weights.reshape(self.groups, c // self.groups, per_group, *kernel)
        by_output = factor.reshape(self.groups, 1, per_group, 1, 1)
        return (grouped * by_output).reshape(weights.shape).astype(np.float32)

    def macs(self) -> int:
        return self.x.images * prod(self.x[2:]) * self.weights.size

    def steps(self, place: Places) -> list[Step]:
        x, y = place(self.inputs[0]).layout, place(self.output).layout
        r = place(self.residual).layout if self.residual else None
        how = self.how
        if how == "direct":
            packed = self.packed(
                (how, x.pixel),
                lambda: packing.pack_transposed(
                    self.weights, self.bias, stride=self.stride, padding=self.padding,
                    dilation=self.dilation, groups=self.groups, pixel=x.pixel, slope=self.slope,
                ),
            )  # fmt: skip
            shape = packing.transposed_shape(packed, x, y, stride=self.stride, residual=r)
            return [self.step(conv.conv_direct, packed, shape, y)]
        packed = self.packed(
            how,
            lambda: packing.pack_transposed_winograd(
                self.weights, self.bias, stride=self.stride, padding=self.padding, slope=self.slope
            ),
        )
        shape, scratch = packing.winograd_shape(packed, x, y, stride=self.stride, residual=r)
        step = self.step(WINOGRAD[packed.tile], packed, shape, y)
        step.scratch = max(step.scratch, scratch)
        return [step]
