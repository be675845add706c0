"""Batch normalisation in training: sums over all pixels, then one pass over the numbers.

The numbers are a flat array of pixels, channels last. They are seen as rows of ``period`` numbers,
the least multiple of 16 that holds whole pixels, so that a place in a row has always the same
channel; ``coef`` holds as many numbers for each of its parts. The last row may be cut short.

An activation that clamps to lo..hi is part of it: what it let through is found again from x, by
the same multiplication and addition as on the way forward, so that it need not be kept.
"""

import math

from numba import float32, float64, int64, void

from vj.kernels.jit import device, kernel, ro, rw
from vj.kernels.simd import (
    add_to,
    fma,
    ge,
    gt,
    le,
    load8,
    load8_part,
    load16,
    lt,
    select,
    splat8,
    splat_like,
    store,
    store_part,
    to_f64,
)

BLOCK = 2048  # numbers of one array that are worked on together: they stay in the nearest cache


@device
def passed(g, y, lo, hi):
    """The gradient where y lies between lo and hi (or is NaN), 0 elsewhere."""
    nothing = splat_like(g, float32(0))
    g = select(le(y, splat_like(g, lo)), nothing, g)
    return select(ge(y, splat_like(g, hi)), nothing, g)


@kernel(
    void(
        ro(float32, 1), ro(float32, 1), ro(float32, 1), float32, float32, rw(float64, 1),
        int64, int64, int64,
    )
)  # fmt: skip
def channel_sums(x, g, coef, lo, hi, sums, parts, first, last):
    """Sums of h and of h x for each place, h being g where lo < coef[0] x + coef[1] < hi.

    ``sums`` holds for each of the parts, into which the rows are cut, period numbers of each kind.
    Parts first to last are done.
    """
    period = coef.size // 2
    rows = x.size // period
    block = max(1, BLOCK // period)
    free = lo == -float("inf") and hi == float("inf")
    for part in range(first, last):
        top, bottom = part * rows // parts, (part + 1) * rows // parts
        at, with_x = part * 2 * period, part * 2 * period + period
        for c in range(at, at + 2 * period):
            sums[c] = 0.0
        for start in range(top, bottom, block):
            end = min(start + block, bottom)
            for c in range(0, period, 16):
                scale, shift = load16(coef, c), load16(coef, period + c)
                plain, mixed = load16(sums, at + c), load16(sums, with_x + c)
                for i in range(start * period + c, end * period, period):
                    v, h = load16(x, i), load16(g, i)
                    if not free:
                        h = passed(h, fma(v, scale, shift), lo, hi)
                    plain = add_to(plain, h)
                    mixed = fma(to_f64(h), to_f64(v), mixed)
                store(sums, at + c, plain)
                store(sums, with_x + c, mixed)
        if part == parts - 1:
            for c in range(x.size - rows * period):
                v = x[rows * period + c]
                y = v * coef[c] + coef[period + c]
                if not (y <= lo or y >= hi):
                    h = float64(g[rows * period + c])
                    sums[at + c] += h
                    sums[with_x + c] += h * v


@device
def scaled(v, coef, c, period, lo, hi):
    """Eight numbers scaled, shifted and clamped; NaN stays NaN."""
    y = fma(v, load8(coef, c), load8(coef, period + c))
    y = select(lt(y, splat8(lo)), splat8(lo), y)
    return select(gt(y, splat8(hi)), splat8(hi), y)


@kernel(
    void(ro(float32, 1), ro(float32, 1), float32, float32, rw(float32, 1), int64, int64)
)  # fmt: skip
def channel_scale(x, coef, lo, hi, y, first, last):
    """Compute y = clamp(coef[0] x + coef[1]) for rows first to last, the short one included."""
    period = coef.size // 2
    for row in range(first, last):
        base = row * period
        count = min(period, x.size - base)
        for c in range(0, count - 7, 8):
            store(y, base + c, scaled(load8(x, base + c), coef, c, period, lo, hi))
        if count % 8:
            c = count - count % 8
            v = scaled(load8_part(x, base + c, count - c), coef, c, period, lo, hi)
            store_part(y, base + c, v, count - c)


@device
def sloped(v, g, coef, c, period, lo, hi):
    """Eight gradients of numbers v."""
    h = passed(g, fma(v, load8(coef, c), load8(coef, period + c)), lo, hi)
    rest = load8(coef, 5 * period + c)
    along = fma(load8(coef, 3 * period + c), v - load8(coef, 4 * period + c), rest)
    return fma(load8(coef, 2 * period + c), h, along)


@kernel(
    void(
        ro(float32, 1), ro(float32, 1), ro(float32, 1), float32, float32, rw(float32, 1),
        int64, int64,
    )
)  # fmt: skip
def channel_grad(x, g, coef, lo, hi, gx, first, last):
    """Compute gx = coef[2] h + coef[3] (x - coef[4]) + coef[5], h as for `channel_sums`.

    Rows first to last are done, the short one included.
    """
    period = coef.size // 6
    for row in range(first, last):
        base = row * period
        count = min(period, x.size - base)
        for c in range(0, count - 7, 8):
            v = load8(x, base + c)
            store(gx, base + c, sloped(v, load8(g, base + c), coef, c, period, lo, hi))
        if count % 8:
            c = count - count % 8
            v, h = load8_part(x, base + c, count - c), load8_part(g, base + c, count - c)
            store_part(gx, base + c, sloped(v, h, coef, c, period, lo, hi), count - c)


@device
def total_of(sums, kind, c, channels, period):
    """Sum of one kind over all parts and all pixels of a row."""
    total = 0.0
    for start in range(kind * period, sums.size, 2 * period):
        for at in range(start + c, start + period, channels):
            total += sums[at]
    return total


@kernel(void(ro(float64, 1), float64, int64, rw(float64, 2)))
def channel_moments(sums, count, period, stats):
    """Mean and variance of each channel, the first rows of stats (4, C), from `channel_sums`."""
    channels = stats.shape[1]
    for c in range(channels):
        mean = total_of(sums, 0, c, channels, period) / count
        square = total_of(sums, 1, c, channels, period) / count
        stats[0, c], stats[1, c] = mean, max(square - mean * mean, 0.0)


@device
def spread(coef, part, period, c, channels, value):
    """Write a channel's coefficient to all of its places in a row."""
    for at in range(part * period + c, (part + 1) * period, channels):
        coef[at] = value


@kernel(void(rw(float64, 2), ro(float32, 1), ro(float32, 1), float64, rw(float32, 1)))
def batch_scale(stats, weight, bias, eps, coef):
    """Coefficients of `channel_scale` by mean and variance, the first of six parts of coef.

    The rows of stats after these become 1 / deviation, and scale.
    """
    channels, period = stats.shape[1], coef.size // 6
    for c in range(channels):
        inverse = float64(1) / math.sqrt(stats[1, c] + eps)
        scale = inverse * weight[c]
        stats[2, c], stats[3, c] = inverse, scale
        spread(coef, 0, period, c, channels, scale)
        spread(coef, 1, period, c, channels, bias[c] - stats[0, c] * scale)


@kernel(
    void(
        ro(float64, 1), ro(float64, 2), float64, rw(float32, 1), rw(float32, 1), rw(float32, 1)
    )
)  # fmt: skip
def batch_slope(sums, stats, share, coef, to_weight, to_bias):
    """The other coefficients of `channel_grad`, and the gradients of weight and bias.

    share : what each number has of the mean, negative; 0 where the moments do not depend on x.
    """
    channels, period = stats.shape[1], coef.size // 6
    for c in range(channels):
        mean, inverse, scale = stats[0, c], stats[2, c], stats[3, c]
        plain = total_of(sums, 0, c, channels, period)
        normal = (total_of(sums, 1, c, channels, period) - mean * plain) * inverse
        to_weight[c], to_bias[c] = normal, plain
        spread(coef, 2, period, c, channels, scale)
        spread(coef, 3, period, c, channels, scale * share * inverse * normal)
        spread(coef, 4, period, c, channels, mean)
        spread(coef, 5, period, c, channels, scale * share * plain)
