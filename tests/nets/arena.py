"""Run one layer kernel on (N, C, H, W) arrays, and see that it touches nothing but its output."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from nets.conv import packing
from nets.kernels.conv import ROWS, conv_direct
from nets.kernels.depthwise import conv_depthwise
from nets.kernels.winograd import conv_winograd2, conv_winograd3, conv_winograd4

WINOGRAD = {2: conv_winograd2, 3: conv_winograd3, 4: conv_winograd4}
LINEAR = (-np.inf, np.inf)


def integers(rng, *shape):
    """Small whole numbers: sums of their products are exact in float32, in any order."""
    return rng.integers(-4, 5, shape).astype(np.float32)


def view(arena, slot):
    """(N, H, W, C) view of a slot."""
    start = arena[slot.offset :]
    dims = (slot.images, slot.height, slot.width, slot.channels)
    steps = [4 * step for step in (slot.image, slot.row, slot.pixel, 1)]
    return np.lib.stride_tricks.as_strided(start, dims, steps)


@dataclass
class Layer:
    """One layer: input, output and residual in an arena of their own.

    The arena is NaN where nothing may be read, zero in the halo, 1000 in padding channels.
    """

    x: np.ndarray
    halo: tuple
    out: tuple  # K, rows, cols
    pixel: int | None = None
    residual: np.ndarray | None = None
    slots: dict = field(default_factory=dict)

    def __post_init__(self):
        images, channels, rows, cols = self.x.shape
        pixel = self.pixel
        x = packing.TensorLayout.packed(
            64, rows, cols, channels, images=images, halo=self.halo, pixel=pixel
        )
        end = 64 + images * x.image + 64
        outputs, high, wide = self.out
        y = packing.TensorLayout.packed(end, high, wide, outputs, images=images, halo=(1, 1, 1, 1))
        end += images * y.image + 64
        r = packing.TensorLayout.packed(end, high, wide, outputs, images=images, halo=(0, 1, 0, 0))
        self.arena = packing.aligned(end + images * r.image + 64)
        self.arena[:] = np.nan
        self.arena[64 : 64 + images * x.image] = 0
        for slot in (x, r):
            view(self.arena, slot._replace(channels=slot.pixel))[:] = 1000
        view(self.arena, x)[:] = self.x.transpose(0, 2, 3, 1)
        if self.residual is not None:
            view(self.arena, r)[:] = self.residual.transpose(0, 2, 3, 1)
        self.slots = {"x": x, "y": y, "r": r if self.residual is not None else None}

    def run(self, kernel, packed, shape, scratch=0, clamp=LINEAR, bands=(), finite=True):
        """Output of the kernel, computed in bands of rows that end at ``bands``."""
        before, slot = self.arena.copy(), self.slots["y"]
        room = np.full(scratch + 1, np.nan, np.float32)
        total = int(shape[ROWS]) * slot.images
        edges = sorted({0, total, *(band % total for band in bands)})
        lo, hi = map(np.float32, clamp)
        for first, last in reversed(list(pairwise(edges))):
            arrays = (self.arena, packed.weights, packed.bias, shape)
            kernel(*arrays, lo, hi, first, last, room)
        whole = view(self.arena, slot._replace(channels=slot.pixel))
        result = whole[..., : slot.channels].transpose(0, 3, 1, 2).copy()
        assert np.isfinite(whole).all() or not finite, "channels that pad the output must be finite"
        whole[:] = view(before, slot._replace(channels=slot.pixel))
        np.testing.assert_array_equal(self.arena, before, "wrote beside its output")
        return result


def conv(
    x, w, b, stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1), groups=1,
    how="direct", slope=None, residual=None, pixel=None, pool=False, **options,
):  # fmt: skip
    """Convolution by the kernel ``how``: direct, depthwise, 2 or 4 (Winograd)."""
    top, left, bottom, right = padding
    size = zip(
        x.shape[2:], (top + bottom, left + right), w.shape[2:], dilation, stride, strict=True
    )
    rows, cols = [(n + p - (k - 1) * d - 1) // s + 1 for n, p, k, d, s in size]
    if pool:
        rows, cols = rows // 2, cols // 2
    layer = Layer(x, padding, (len(w), rows, cols), pixel, residual)
    places = {"x": layer.slots["x"], "y": layer.slots["y"], "residual": layer.slots["r"]}
    places["padding"] = (top, left)
    if how == "direct":
        packed = packing.pack_direct(
            w, b, pixel=pixel, dilation=dilation, groups=groups, slope=slope
        )
        shape = packing.direct_shape(packed, **places, stride=stride)
        return layer.run(conv_direct, packed, shape, **options)
    if how == "depthwise":
        packed = packing.pack_depthwise(w, b, slope=slope)
        shape = packing.depthwise_shape(
            packed, **places, kernel=w.shape[2:], stride=stride, dilation=dilation, pool=pool
        )
        return layer.run(conv_depthwise, packed, shape, **options)
    packed = packing.pack_winograd(w, b, tile=how, dilation=dilation, slope=slope)
    shape, scratch = packing.winograd_shape(packed, **places, dilation=dilation)
    return layer.run(WINOGRAD[how], packed, shape, scratch, **options)


def conv_transpose(
    x, w, b, stride=(1, 1), padding=(0, 0), output_padding=(0, 0), dilation=(1, 1), groups=1,
    how="direct", slope=None, residual=None, **options,
):  # fmt: skip
    """Transposed convolution, direct or by Winograd."""
    size = zip(x.shape[2:], stride, padding, output_padding, dilation, w.shape[2:], strict=True)
    rows, cols = [(n - 1) * s - 2 * p + d * (k - 1) + q + 1 for n, s, p, q, d, k in size]
    if how == "direct":
        packed = packing.pack_transposed(
            w, b, stride=stride, padding=padding, dilation=dilation, groups=groups, slope=slope
        )
    else:
        packed = packing.pack_transposed_winograd(w, b, stride=stride, padding=padding, slope=slope)
    halo = packing.transposed_halo(packed, x.shape[2:], (rows, cols), stride)
    layer = Layer(x, halo, (w.shape[1] * groups, rows, cols), None, residual)
    places = {"x": layer.slots["x"], "y": layer.slots["y"], "residual": layer.slots["r"]}
    if how == "direct":
        shape = packing.transposed_shape(packed, **places, stride=stride)
        return layer.run(conv_direct, packed, shape, **options)
    shape, scratch = packing.winograd_shape(packed, **places, stride=stride)
    return layer.run(WINOGRAD[packed.tile], packed, shape, scratch, **options)
