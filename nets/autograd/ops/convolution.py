"""Convolution, transposed convolution and the linear layer.

Each op returns its result and its vjp: a function from the gradient with respect to the result to
those with respect to the arguments. All are built on three products, `outputs`, `to_inputs` and
`to_weights`: `nets.conv.plain` defines them in NumPy, `nets.conv.products` computes them by
kernels. `nets.autograd.tensor.op` records the vjp, `nets.autograd.tape.walk` calls it.

References: Dumoulin & Visin, A guide to convolution arithmetic for deep learning, 2016.
"""

from __future__ import annotations

import numpy as np

from nets.arrays import Array
from nets.autograd.ops.base import nchw, nhwc
from nets.autograd.tensor import Grads, Needs, Vjp, op
from nets.conv.geometry import Geometry, Pair
from nets.conv.products import outputs, sums, to_inputs, to_weights
from vj.errors import NetError

POINT = Geometry((1, 1), (0, 0), (1, 1), 1)


@op
def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> tuple[Array, Vjp]:
    """Convolution (correlation, as everywhere in deep learning) of images.

    Parameters
    ----------
    x : (N, C, H, W)
    weight : (K, C / groups, kh, kw)
    bias : (K,), optional
    stride, padding, dilation : pairs of int
        Along rows and columns; padding is with zeros on both sides.
    groups : int
        Number of independent groups of channels.

    Raises
    ------
    NetError
        The shapes do not match.
    """
    how = _geometry("conv2d", x, weight, stride, padding, dilation, groups)
    if x.shape[1] != weight.shape[1] * groups or len(weight) % groups:
        raise NetError(
            f"conv2d: weight {weight.shape} with groups {groups} is for "
            f"{weight.shape[1] * groups} channels, and x has shape {x.shape}"
        )
    _check_bias("conv2d", bias, len(weight))
    side, size = _side(weight), x.shape[2:]
    rows, cols = (
        (n + 2 * p - (k - 1) * d - 1) // s + 1
        for n, k, s, p, d in zip(size, side, stride, padding, dilation, strict=True)
    )
    if min(rows, cols) < 1:
        raise NetError(
            f"conv2d: an image of {size[0]}x{size[1]} with padding {padding} is smaller than the "
            f"{side[0]}x{side[1]} kernel at dilation {dilation}"
        )
    images = nhwc(x)
    y = outputs(images, weight, (rows, cols), bias, how)

    def vjp(g: Array, needs: Needs) -> Grads:
        grads = nhwc(g)
        return (
            nchw(to_inputs(grads, weight, (x.shape[2], x.shape[3]), None, how))
            if needs[0]
            else None,
            to_weights(images, grads, weight.shape, how) if needs[1] else None,
            *(sums(grads) if needed else None for needed in needs[2:]),
        )

    return nchw(y), vjp


@op
def conv_transpose2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    output_padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> tuple[Array, Vjp]:
    """Transposed convolution: the gradient of `conv2d` with respect to its input.

    Parameters
    ----------
    x : (N, C, H, W)
    weight : (C, K / groups, kh, kw)
    bias : (K,), optional
    stride, padding, dilation : pairs of int
        Those of the convolution that this one transposes.
    output_padding : pair of int
        Rows and columns added at the bottom and the right, less than stride or dilation.
    groups : int
        Number of independent groups of channels.

    Raises
    ------
    NetError
        The shapes do not match.
    """
    how = _geometry("conv_transpose2d", x, weight, stride, padding, dilation, groups)
    if x.shape[1] != len(weight) or len(weight) % groups:
        raise NetError(
            f"conv_transpose2d: weight {weight.shape} with groups {groups} is for {len(weight)} "
            f"channels, and x has shape {x.shape}"
        )
    if any(
        not 0 <= o < max(s, d) for o, s, d in zip(output_padding, stride, dilation, strict=True)
    ):
        raise NetError(
            f"conv_transpose2d: output_padding {output_padding} must be less than stride {stride} "
            f"or dilation {dilation}"
        )
    _check_bias("conv_transpose2d", bias, weight.shape[1] * groups)
    side, size = _side(weight), x.shape[2:]
    rows, cols = (
        (n - 1) * s - 2 * p + (k - 1) * d + o + 1
        for n, k, s, p, d, o in zip(
            size, side, stride, padding, dilation, output_padding, strict=True
        )
    )
    if min(rows, cols) < 1:
        raise NetError(
            f"conv_transpose2d: padding {padding} leaves nothing of an image of {size[0]}x{size[1]}"
        )
    images = nhwc(x)
    y = to_inputs(images, weight, (rows, cols), bias, how)

    def vjp(g: Array, needs: Needs) -> Grads:
        grads = nhwc(g)
        return (
            nchw(outputs(grads, weight, (x.shape[2], x.shape[3]), None, how)) if needs[0] else None,
            to_weights(grads, images, weight.shape, how) if needs[1] else None,
            *(sums(grads) if needed else None for needed in needs[2:]),
        )

    return nchw(y), vjp


@op
def linear(x: Array, weight: Array, bias: Array | None = None) -> tuple[Array, Vjp]:
    """Linear layer, x @ weight.T + bias.

    Parameters
    ----------
    x : (..., inputs)
    weight : (outputs, inputs)
    bias : (outputs,), optional

    Raises
    ------
    NetError
        The shapes do not match.
    """
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        raise NetError(f"linear: weight {weight.shape} does not fit x of shape {x.shape}")
    _check_bias("linear", bias, len(weight))
    if x.dtype != weight.dtype:
        raise NetError(f"linear: x is {x.dtype} and weight is {weight.dtype}, they must be equal")
    # Computed as a convolution of one-pixel images.
    inputs, count = x.shape[-1], len(weight)
    images = np.ascontiguousarray(x).reshape(-1, 1, 1, inputs)
    w = np.ascontiguousarray(weight).reshape(count, inputs, 1, 1)
    y = outputs(images, w, (1, 1), bias, POINT)

    def vjp(g: Array, needs: Needs) -> Grads:
        grads = np.ascontiguousarray(g).reshape(-1, 1, 1, count)
        return (
            to_inputs(grads, w, (1, 1), None, POINT).reshape(x.shape) if needs[0] else None,
            to_weights(images, grads, w.shape, POINT).reshape(weight.shape) if needs[1] else None,
            *(sums(grads) if needed else None for needed in needs[2:]),
        )

    return y.reshape(*x.shape[:-1], count), vjp


def _geometry(
    name: str, x: Array, weight: Array, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Geometry:
    if x.ndim != 4 or weight.ndim != 4:
        raise NetError(
            f"{name}: x and weight must have four axes, got shapes {x.shape} and {weight.shape}"
        )
    if x.dtype != weight.dtype:
        raise NetError(f"{name}: x is {x.dtype} and weight is {weight.dtype}, they must be equal")
    for key, pair, least in [("stride", stride, 1), ("padding", padding, 0)]:
        _check_pair(name, key, pair, least)
    _check_pair(name, "dilation", dilation, 1)
    if groups < 1:
        raise NetError(f"{name}: groups must be at least 1, got {groups}")
    return Geometry(stride, padding, dilation, groups)


def _check_pair(name: str, key: str, pair: Pair, least: int) -> None:
    if not isinstance(pair, tuple) or len(pair) != 2 or min(pair) < least:
        raise NetError(f"{name}: {key} must be (rows, cols) of at least {least}, got {pair!r}")


def _check_bias(name: str, bias: Array | None, count: int) -> None:
    if bias is not None and bias.shape != (count,):
        raise NetError(f"{name}: bias must have shape ({count},), got {bias.shape}")


def _side(weight: Array) -> Pair:
    return weight.shape[2], weight.shape[3]
