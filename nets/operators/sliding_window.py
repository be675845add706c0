"""Sliding-window geometry of convolution and pooling: sizes, strides, dilations, pads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from nets.arrays import Array
from nets.graph.ir import Node
from nets.operators.base import need_workspace, text
from vj.errors import NetError


@dataclass(frozen=True, slots=True)
class Window:
    """One tuple entry per spatial axis; ``pads`` are (before, after), ``out`` the output sizes."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    out: tuple[int, ...]

    @property
    def span(self) -> tuple[int, ...]:
        """Input pixels from the first to the last tap."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))


def kernel_sizes(node: Node, rank: int, weights: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """Return the kernel size from the attribute or the weights, which must agree."""
    given = node.get("kernel_shape")
    if given is None and weights is None:
        raise NetError("`kernel_shape` is missing")
    kernel = tuple(int(k) for k in (given if given is not None else weights or ()))
    if len(kernel) != rank or min(kernel, default=1) < 1:
        raise NetError(f"`kernel_shape` {kernel} does not fit {rank} spatial axes")
    if weights is not None and kernel != weights:
        raise NetError(f"`kernel_shape` {kernel} does not fit weights of shape {weights}")
    return kernel


def _checked(node: Node, kernel: tuple[int, ...]) -> tuple[list[int], list[int], list[int]]:
    """Return strides, dilations and pads, after range checks."""
    rank = len(kernel)
    strides = node.ints("strides", [1] * rank)
    dilations = node.ints("dilations", [1] * rank)
    pads = node.ints("pads", [0] * 2 * rank)
    if min(strides, default=1) < 1 or min(dilations, default=1) < 1:
        raise NetError(f"strides {strides} and dilations {dilations} must be at least 1")
    return strides, dilations, pads


def window(node: Node, sizes: tuple[int, ...], kernel: tuple[int, ...]) -> Window:
    """Return the geometry of a convolution or pooling over ``sizes`` pixels.

    References
    ----------
    Dumoulin & Visin, A guide to convolution arithmetic for deep learning, 2016.
    """
    strides, dilations, flat = _checked(node, kernel)
    mode = text(node, "auto_pad", "NOTSET")
    if mode not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise NetError(f"`auto_pad` {mode!r} is unknown")
    pads, out = [], []
    for a, (n, k) in enumerate(zip(sizes, kernel, strict=True)):
        span, stride = (k - 1) * dilations[a] + 1, strides[a]
        before, after = flat[a], flat[a + len(kernel)]
        if mode == "VALID":
            before = after = 0
        elif mode != "NOTSET":
            total = max((-(-n // stride) - 1) * stride + span - n, 0)
            before = total // 2 if mode == "SAME_UPPER" else -(-total // 2)
            after = total - before
        room = n + before + after - span
        steps = room // stride + 1
        if node.get("ceil_mode", 0) and mode in ("NOTSET", "VALID"):
            steps = -(-room // stride) + 1  # the last window may reach beyond the pads
            # A last window that starts after the input and its leading pad is dropped.
            steps -= (steps - 1) * stride >= n + before
        if steps < 1 or min(before, after) < 0:
            raise NetError(
                f"a window of {span} pixels does not fit {n} pixels padded by {before}, {after}"
            )
        pads.append((before, after))
        out.append(steps)
    return Window(kernel, tuple(strides), tuple(dilations), tuple(pads), tuple(out))


def transposed_window(node: Node, sizes: tuple[int, ...], kernel: tuple[int, ...]) -> Window:
    """Return the geometry of a transposed convolution; ``out`` is the output size."""
    rank = len(kernel)
    strides, dilations, flat = _checked(node, kernel)
    extra = node.ints("output_padding", [0] * rank)
    mode = text(node, "auto_pad", "NOTSET")
    wanted = node.get("output_shape")
    if wanted is not None:
        wanted = [int(n) for n in wanted][-rank:]
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [n * s for n, s in zip(sizes, strides, strict=True)]
    pads, out = [], []
    for a, (n, k) in enumerate(zip(sizes, kernel, strict=True)):
        full = strides[a] * (n - 1) + extra[a] + (k - 1) * dilations[a] + 1
        before, after = (0, 0) if mode == "VALID" else (flat[a], flat[a + rank])
        if wanted is not None:
            total = full - wanted[a]
            before = total // 2 if mode == "SAME_UPPER" else total - total // 2
            after = total - before
        if full - before - after < 0 or extra[a] < 0:
            raise NetError(f"pads {before}, {after} cut more than the {full} output pixels")
        pads.append((before, after))
        out.append(full - before - after)
    return Window(kernel, tuple(strides), tuple(dilations), tuple(pads), tuple(out))


def windows(x: Array, geometry: Window, fill: float) -> Array:
    """Return a view (N, C, *out, *kernel) of the windows, ``fill`` outside the input."""
    grow, cut = [], []
    for (before, _), n, k, s, steps in zip(
        geometry.pads, x.shape[2:], geometry.span, geometry.strides, geometry.out, strict=True
    ):
        need = (steps - 1) * s + k
        grow.append((before, max(0, need - before - n)))
        cut.append(slice(0, need))
    need_workspace(
        *x.shape[:2],
        *(n + a + max(0, b) for n, (a, b) in zip(x.shape[2:], grow, strict=True)),
    )
    everything = (slice(None), slice(None))
    needed = (*everything, *cut)
    padded = np.pad(x, [(0, 0), (0, 0), *grow], constant_values=fill)[needed]
    axes = tuple(range(2, x.ndim))
    view = sliding_window_view(padded, geometry.span, axes)
    steps_of = tuple(slice(None, None, s) for s in geometry.strides)
    taps_of = tuple(slice(None, None, d) for d in geometry.dilations)
    chosen = (*everything, *steps_of, *taps_of)
    return view[chosen]
