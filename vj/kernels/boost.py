"""Search of the best split: histograms of integer weights, then every cut of every feature.

A sample carries its weight (low 32 bits) and its gradient (high 32 bits, signed) in one int64, so a
histogram entry collects both with one addition. Integer sums do not depend on their order: the
result is the same for any division of the work.
"""

from numba import boolean, float64, int32, int64, uint8, uint32, void

from vj.kernels.jit import device, kernel, ro, rw
from vj.kernels.simd import fabs, gt, load8, select, splat8, store

BINS = 256
LOW = (1 << 32) - 1


@device
def _histograms(bins, f, index, packed, work):
    """Rows ``f`` to ``f + 3`` of ``bins`` (those that exist) into ``work[: 4 * 256]``."""
    for k in range(4 * BINS):
        work[k] = 0
    last = bins.shape[0] - 1
    h0, h1 = work[0:BINS], work[BINS : 2 * BINS]
    h2, h3 = work[2 * BINS : 3 * BINS], work[3 * BINS : 4 * BINS]
    b0, b1 = bins[f], bins[min(f + 1, last)]
    b2, b3 = bins[min(f + 2, last)], bins[min(f + 3, last)]
    # Four features at a time: a run of equal bins of one would wait for its own store.
    for i in range(packed.shape[0]):
        k, value = uint32(index[i]), packed[i]
        h0[b0[k]] += value
        h1[b1[k]] += value
        h2[b2[k]] += value
        h3[b3[k]] += value


@device
def _best_cut(left, absolute):
    """Best cut between entries of ``left`` and its gain.

    left : (512,) float64, the weight, then the gradient, of the bins up to and including each.
    """
    weight, gradient = splat8(left[BINS - 1]), splat8(left[2 * BINS - 1])
    best, where = splat8(-1.0), splat8(0.0)
    for k in range(0, BINS, 8):
        w, g = load8(left, k), load8(left, BINS + k)
        rest = gradient - g
        if absolute:
            gain = fabs(g) + fabs(rest)
        else:
            gain = g * g / w + rest * rest / (weight - w)  # NaN, never better, if a side is empty
        better = gt(gain, best)
        best = select(better, gain, best)
        where = select(better, splat8(float64(k)), where)
    store(left, 0, best)
    store(left, 8, where)
    gain, cut = -1.0, 0
    for lane in range(8):
        at = int64(left[8 + lane]) + lane
        if left[lane] > gain or (left[lane] == gain and at < cut):
            gain, cut = left[lane], at
    return gain, cut


@kernel(
    void(
        ro(uint8, 2),
        ro(int32, 1),
        ro(int64, 1),
        boolean,
        rw(int64, 1),
        rw(float64, 1),
        rw(float64, 1),
        rw(int32, 1),
    )
)
def best_cuts(bins, index, packed, absolute, work, left, out_gain, out_cut):
    """Best threshold of every ordered feature: samples of bin <= cut go left.

    bins : (F, N).  index, packed : (M,) the samples that take part, and their weights.
    absolute : gain |SL| + |SR| (fewest errors) instead of SL^2 / WL + SR^2 / WR.
    work : (1024,), left : (512,) scratch.  out_gain, out_cut : (F,), gain -1 without a cut.
    """
    for f in range(0, bins.shape[0], 4):
        _histograms(bins, f, index, packed, work)
        for j in range(min(4, bins.shape[0] - f)):
            weight, gradient = int64(0), int64(0)
            for k in range(BINS):
                entry = work[BINS * j + k]
                weight += entry & LOW
                gradient += entry >> 32
                left[k] = float64(weight)
                left[BINS + k] = float64(gradient)
            out_gain[f + j], out_cut[f + j] = _best_cut(left, absolute)


@device
def _best_subset(work, h, absolute, best, left, order):
    """Best gain over the subsets of codes, or -1 if it cannot exceed ``best``.

    The best subset is a prefix of the codes sorted by gradient over weight (Breiman et al.,
    Classification and Regression Trees, 1984, section 4.2.2).
    """
    count, bound = 0, 0.0
    for code in range(BINS):
        weight, gradient = float64(work[h + code] & LOW), float64(work[h + code] >> 32)
        if weight > 0:
            left[code] = gradient / weight
            bound += abs(gradient) if absolute else gradient * gradient / weight
            order[count] = code
            count += 1
    if bound <= best:
        return -1.0
    for i in range(1, count):
        code = order[i]
        j = i - 1
        while j >= 0 and left[order[j]] > left[code]:
            order[j + 1] = order[j]
            j -= 1
        order[j + 1] = code
    weight, gradient = int64(0), int64(0)
    for i in range(BINS):
        if i < count:
            weight += work[h + order[i]] & LOW
            gradient += work[h + order[i]] >> 32
        left[i] = float64(weight)
        left[BINS + i] = float64(gradient)
    gain, _ = _best_cut(left, absolute)
    return gain


@kernel(
    void(
        ro(uint8, 2),
        ro(int32, 1),
        ro(int64, 1),
        boolean,
        boolean,
        rw(int64, 1),
        rw(float64, 1),
        rw(int32, 1),
        rw(float64, 1),
    )
)
def best_subsets(bins, index, packed, absolute, prune, work, left, order, out_gain):
    """Gain of the best subset of codes of every unordered feature, as `best_cuts`.

    prune : do not search features that cannot beat the ones before them; their gain becomes -1.
    order : (256,) scratch.  out_gain : (F,).
    """
    best = -1.0
    for f in range(0, bins.shape[0], 4):
        _histograms(bins, f, index, packed, work)
        for j in range(min(4, bins.shape[0] - f)):
            gain = _best_subset(work, BINS * j, absolute, best, left, order)
            out_gain[f + j] = gain
            if prune:
                best = max(best, gain)
