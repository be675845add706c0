"""What the layers mean, in plain loops: to read, and to measure everything else against.

Arrays are (N, C, H, W) as in papers and PyTorch; sums are float64. Nothing here is fast: a layer of
64 channels takes seconds. References: Dumoulin & Visin, A guide to convolution arithmetic for deep
learning, 2016; the papers named at each function.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Pair = tuple[int, int]


# --------------------------------------------------------------------------- convolution


def correlate2d(image: Array, kernel: Array) -> Array:
    """Cross-correlation where the kernel fits: ``out[i, j] = sum image[i+u, j+v] kernel[u, v]``.

    This is what network libraries call convolution.
    """
    rows = image.shape[0] - kernel.shape[0] + 1
    cols = image.shape[1] - kernel.shape[1] + 1
    out = np.zeros((rows, cols))
    for i, j in np.ndindex(rows, cols):
        for u, v in np.ndindex(*kernel.shape):
            out[i, j] += float(image[i + u, j + v]) * kernel[u, v]
    return out


def convolve2d(image: Array, kernel: Array) -> Array:
    """Convolution where the kernel fits: ``out[i, j] = sum image[i-u, j-v] kernel[u, v]``.

    The textbook's definition, shifted so that the first output sees the first pixels; it is the
    correlation with the kernel turned by 180 degrees. Unlike correlation it is commutative and
    associative, which is why signal processing prefers it; a learnt kernel does not care.
    """
    rows = image.shape[0] - kernel.shape[0] + 1
    cols = image.shape[1] - kernel.shape[1] + 1
    last_u, last_v = kernel.shape[0] - 1, kernel.shape[1] - 1
    out = np.zeros((rows, cols))
    for i, j in np.ndindex(rows, cols):
        for u, v in np.ndindex(*kernel.shape):
            out[i, j] += float(image[i + last_u - u, j + last_v - v]) * kernel[u, v]
    return out


def conv2d(
    x: Array,
    weights: Array,
    bias: Array | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """Seven loops. weights: (K, C / groups, kh, kw)."""
    count, _, high, wide = x.shape
    outputs, per_group, kh, kw = weights.shape
    rows = (high + 2 * padding[0] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    cols = (wide + 2 * padding[1] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    out = np.zeros((count, outputs, rows, cols))
    for n, k, i, j in np.ndindex(out.shape):
        first = k // (outputs // groups) * per_group
        total = 0.0 if bias is None else float(bias[k])
        for c, u, v in np.ndindex(per_group, kh, kw):
            y = i * stride[0] + u * dilation[0] - padding[0]
            z = j * stride[1] + v * dilation[1] - padding[1]
            if 0 <= y < high and 0 <= z < wide:
                total += float(x[n, first + c, y, z]) * weights[k, c, u, v]
        out[n, k, i, j] = total
    return out


def conv_transpose2d(
    x: Array,
    weights: Array,
    bias: Array | None = None,
    *,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    output_padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """Each pixel adds its kernel, scaled, to the output. weights: (C, K / groups, kh, kw).

    The transpose of `conv2d` as a linear map: ``<conv(x), y> == <x, conv_transpose(y)>``.
    """
    count, channels, high, wide = x.shape
    _, per_group, kh, kw = weights.shape
    rows = (high - 1) * stride[0] - 2 * padding[0] + dilation[0] * (kh - 1) + 1 + output_padding[0]
    cols = (wide - 1) * stride[1] - 2 * padding[1] + dilation[1] * (kw - 1) + 1 + output_padding[1]
    out = np.zeros((count, per_group * groups, rows, cols))
    for n, c, i, j in np.ndindex(x.shape):
        first = c // (channels // groups) * per_group
        for k, u, v in np.ndindex(per_group, kh, kw):
            y = i * stride[0] + u * dilation[0] - padding[0]
            z = j * stride[1] + v * dilation[1] - padding[1]
            if 0 <= y < rows and 0 <= z < cols:
                out[n, first + k, y, z] += float(x[n, c, i, j]) * weights[c, k, u, v]
    return out if bias is None else out + np.asarray(bias, float).reshape(1, -1, 1, 1)


# --------------------------------------------------------------------------- pooling


def max_pool2d(
    x: Array, kernel: Pair, stride: Pair | None = None, padding: Pair = (0, 0)
) -> tuple[Array, Array]:
    """Largest number of each window, and its switch: the tap that won, ``u * kw + v``.

    The first of equal ones wins. Switches: Zeiler & Fergus, Visualizing and understanding
    convolutional networks, ECCV 2014.
    """
    step = stride or kernel
    count, channels, high, wide = x.shape
    rows = (high + 2 * padding[0] - kernel[0]) // step[0] + 1
    cols = (wide + 2 * padding[1] - kernel[1]) // step[1] + 1
    best = np.full((count, channels, rows, cols), -np.inf)
    switches = np.zeros(best.shape, np.int64)
    for n, c, i, j in np.ndindex(best.shape):
        for u, v in np.ndindex(*kernel):
            y, z = i * step[0] + u - padding[0], j * step[1] + v - padding[1]
            if 0 <= y < high and 0 <= z < wide and x[n, c, y, z] > best[n, c, i, j]:
                best[n, c, i, j], switches[n, c, i, j] = x[n, c, y, z], u * kernel[1] + v
    return best, switches


def max_unpool2d(
    x: Array, switches: Array, size: Pair, kernel: Pair, stride: Pair | None = None,
    padding: Pair = (0, 0),
) -> Array:  # fmt: skip
    """Each number back where its switch says, 0 elsewhere; ``size`` is that of the output."""
    step = stride or kernel
    out = np.zeros((*x.shape[:2], *size))
    for n, c, i, j in np.ndindex(x.shape):
        u, v = divmod(int(switches[n, c, i, j]), kernel[1])
        y, z = i * step[0] + u - padding[0], j * step[1] + v - padding[1]
        out[n, c, y, z] = x[n, c, i, j]
    return out


def avg_pool2d(
    x: Array, kernel: Pair, stride: Pair | None = None, padding: Pair = (0, 0), *,
    include_pad: bool = True,
) -> Array:  # fmt: skip
    """Mean of each window, over its pixels or over all its taps."""
    step = stride or kernel
    count, channels, high, wide = x.shape
    rows = (high + 2 * padding[0] - kernel[0]) // step[0] + 1
    cols = (wide + 2 * padding[1] - kernel[1]) // step[1] + 1
    out = np.zeros((count, channels, rows, cols))
    for n, c, i, j in np.ndindex(out.shape):
        total, taps = 0.0, 0
        for u, v in np.ndindex(*kernel):
            y, z = i * step[0] + u - padding[0], j * step[1] + v - padding[1]
            if 0 <= y < high and 0 <= z < wide:
                total, taps = total + float(x[n, c, y, z]), taps + 1
        out[n, c, i, j] = total / (kernel[0] * kernel[1] if include_pad else taps)
    return out


def adaptive_avg_pool2d(x: Array, size: Pair) -> Array:
    """Mean over ``size`` windows that cover the image evenly; (1, 1) is global pooling."""
    count, channels, high, wide = x.shape
    out = np.zeros((count, channels, *size))
    for n, c, i, j in np.ndindex(out.shape):
        top, bottom = i * high // size[0], -(-(i + 1) * high // size[0])
        left, right = j * wide // size[1], -(-(j + 1) * wide // size[1])
        out[n, c, i, j] = np.mean(x[n, c, top:bottom, left:right], dtype=float)
    return out


# --------------------------------------------------------------------------- upsampling


def upsample_nearest(x: Array, factor: int) -> Array:
    """Every pixel becomes a block (some books call this unsampling)."""
    count, channels, high, wide = x.shape
    out = np.zeros((count, channels, high * factor, wide * factor))
    for n, c, i, j in np.ndindex(out.shape):
        out[n, c, i, j] = x[n, c, i // factor, j // factor]
    return out


def upsample_bilinear(x: Array, factor: int) -> Array:
    """Linear in both directions between pixel centres; the border is repeated."""
    count, channels, high, wide = x.shape
    out = np.zeros((count, channels, high * factor, wide * factor))
    for n, c, i, j in np.ndindex(out.shape):
        y, z = (i + 0.5) / factor - 0.5, (j + 0.5) / factor - 0.5
        top, left = math.floor(y), math.floor(z)
        for u, v in np.ndindex(2, 2):
            share = (1 - abs(y - top - u)) * (1 - abs(z - left - v))
            row, col = min(max(top + u, 0), high - 1), min(max(left + v, 0), wide - 1)
            out[n, c, i, j] += share * float(x[n, c, row, col])
    return out


def bilinear_kernel(factor: int) -> Array:
    """Weights that make a transposed convolution of stride ``factor`` a bilinear interpolation.

    With padding ``factor // 2`` (even factors) it equals `upsample_bilinear` away from the border,
    where zeros are read instead of repeated pixels. Long, Shelhamer & Darrell, CVPR 2015, 3.3.
    """
    size = 2 * factor - factor % 2
    centre = factor - 1 if size % 2 else factor - 0.5
    ramp = 1 - np.abs(np.arange(size) - centre) / factor
    return np.outer(ramp, ramp)


# --------------------------------------------------------------------------- normalisation


def batch_norm(x: Array, scale: Array, shift: Array, mean: Array, var: Array, eps: float) -> Array:
    """Per channel, by moments of the training set. Ioffe & Szegedy, ICML 2015."""
    out = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(x.shape):
        normal = (float(x[n, c, i, j]) - mean[c]) / math.sqrt(var[c] + eps)
        out[n, c, i, j] = normal * scale[c] + shift[c]
    return out


def group_norm(x: Array, groups: int, scale: Array, shift: Array, eps: float) -> Array:
    """By the moments of groups of channels of each image. Wu & He, ECCV 2018.

    As many groups as channels: instance normalisation; one group: layer normalisation.
    """
    out = np.zeros(x.shape)
    share = x.shape[1] // groups
    for n, g in np.ndindex(x.shape[0], groups):
        part = x[n, g * share : (g + 1) * share].astype(float)
        normal = (part - part.mean()) / math.sqrt(part.var() + eps)
        for c in range(share):
            k = g * share + c
            out[n, k] = normal[c] * scale[k] + shift[k]
    return out


def local_response_norm(x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """By the energy of neighbouring channels. Krizhevsky, Sutskever & Hinton, NIPS 2012, 3.3."""
    out = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(x.shape):
        first, last = max(0, c - (size - 1) // 2), min(x.shape[1], c + size // 2 + 1)
        energy = sum(float(x[n, m, i, j]) ** 2 for m in range(first, last))
        out[n, c, i, j] = x[n, c, i, j] / (k + alpha / size * energy) ** beta
    return out


# --------------------------------------------------------------------------- activations


def relu(x: float) -> float:
    """Nair & Hinton, ICML 2010."""
    return max(x, 0.0)


def leaky_relu(x: float, slope: float) -> float:
    """With a learnt slope for each channel it is PReLU: He et al., ICCV 2015."""
    return x if x >= 0 else slope * x


def relu6(x: float) -> float:
    """Howard et al., MobileNets, 2017."""
    return min(max(x, 0.0), 6.0)


def sigmoid(x: float) -> float:
    """Logistic function."""
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def hard_swish(x: float) -> float:
    """Howard et al., Searching for MobileNetV3, ICCV 2019."""
    return x * relu6(x + 3) / 6


def softmax(values: Array) -> Array:
    """Shares that add up to 1."""
    powers = [math.exp(v - max(values)) for v in values]
    return np.array(powers) / sum(powers)


def maxout(x: Array, pieces: int) -> Array:
    """Largest of every ``pieces`` neighbouring channels. Goodfellow et al., ICML 2013."""
    count, channels, high, wide = x.shape
    out = np.zeros((count, channels // pieces, high, wide))
    for n, k, i, j in np.ndindex(out.shape):
        out[n, k, i, j] = max(x[n, k * pieces + p, i, j] for p in range(pieces))
    return out


# --------------------------------------------------------------------------- memory cells


def lstm_step(x: Array, h: Array, c: Array, w: Array, r: Array, b: Array) -> tuple[Array, Array]:
    """One step of one sequence; gates input, output, forget, cell as ONNX has them.

    w (4 m, n), r (4 m, m), b (4 m,). Hochreiter & Schmidhuber, Neural Computation 9(8), 1997.
    """
    size = len(h)
    sums = w @ x + r @ h + b
    new_h, new_c = np.zeros(size), np.zeros(size)
    for k in range(size):
        enter, leave, keep = (sigmoid(sums[g * size + k]) for g in range(3))
        new_c[k] = keep * c[k] + enter * math.tanh(sums[3 * size + k])
        new_h[k] = leave * math.tanh(new_c[k])
    return new_h, new_c


def gru_step(x: Array, h: Array, w: Array, r: Array, b: Array, d: Array) -> Array:
    """One step of one sequence; gates update, reset, candidate as ONNX has them.

    w (3 m, n), r (3 m, m), b and d (3 m,) biases of both products. The reset gates the finished
    product. Cho et al., EMNLP 2014.
    """
    size = len(h)
    from_x, from_h = w @ x + b, r @ h + d
    out = np.zeros(size)
    for k in range(size):
        update = sigmoid(from_x[k] + from_h[k])
        reset = sigmoid(from_x[size + k] + from_h[size + k])
        fresh = math.tanh(from_x[2 * size + k] + reset * from_h[2 * size + k])
        out[k] = (1 - update) * fresh + update * h[k]
    return out
