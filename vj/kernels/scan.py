"""Slide one packed cascade over a band of rows of one pyramid level.

Neighbouring windows sit side by side in the lanes of a vector, so a corner of a feature is one load for
all of them. The first stage runs on 32 adjacent windows; what survives is kept as a list of blocks of
eight, and later stages take four blocks at a time, wherever they lie, so that offsets and leaves are
loaded once for 32 windows. A stage ends as soon as no living window can still pass it, or none can fail.

Stage sums are float32 with a proven error margin; where a sum comes closer to the threshold than that,
and for every accepted window, it is recomputed in float64 in file order, as OpenCV does. Decisions and
weights are therefore bit-equal to OpenCV's.

The packed model is described in ``vj.detect.packing``; the layout of the integral images in
``vj.kernels.pyramid``.
"""

from numba import float32, float64, int32, int64, uint8, uint32, uint64, void
from numba.types import Tuple

from vj.kernels.jit import device, kernel, ro, rw
from vj.kernels.simd import (
    at,
    ge,
    load8,
    load_like,
    lt,
    mask_bits,
    select,
    splat8,
    splat32,
    splat_like,
    sqrt,
    store,
    to_f32,
    to_f64,
    to_u32,
)

CORNERS, PARAMS = 12, 8  # entries of a node in `offsets` and `params`
EDGE, LINE3, LINE, DIAGONAL, ANTIDIAGONAL, WEIGHTED2, WEIGHTED3 = range(7)
KIND = 7
TREE, LEFT_LAST, LEFT_POP, RIGHT_LAST, RIGHT_POP, PUSH, END, CHECK = (8 << k for k in range(8))
POP = LEFT_POP | RIGHT_POP
THRESHOLD, LEFT, RIGHT, REST_MAX, REST_MIN, WEIGHT0, WEIGHT1, WEIGHT2 = range(PARAMS)


@device
def _rect(nf, ii, base, offsets, o):
    return (
        load_like(nf, ii, base, int64(at(offsets, o)))
        - load_like(nf, ii, base, int64(at(offsets, o + 1)))
        - load_like(nf, ii, base, int64(at(offsets, o + 2)))
        + load_like(nf, ii, base, int64(at(offsets, o + 3)))
    )


@device
def _feature(nf, ii, base, offsets, params, node, kind):
    """Normalised feature value. The integer kinds are exact, whatever the order of their terms."""
    o = node * CORNERS
    if kind == EDGE:  # a - 2b + c - (d - 2e + f): two cells share an edge
        b = load_like(nf, ii, base, int64(at(offsets, o + 1)))
        e = load_like(nf, ii, base, int64(at(offsets, o + 4)))
        v = load_like(nf, ii, base, int64(at(offsets, o))) - b
        v = v - (b - load_like(nf, ii, base, int64(at(offsets, o + 2))))
        v = v - (load_like(nf, ii, base, int64(at(offsets, o + 3))) - e)
        v = v + (e - load_like(nf, ii, base, int64(at(offsets, o + 5))))
        return to_f32(v) * nf
    if kind == LINE3:  # 3 inner - whole
        inner = _rect(nf, ii, base, offsets, o + 4)
        return to_f32(inner + inner + inner - _rect(nf, ii, base, offsets, o)) * nf
    if kind <= LINE:
        inner = _rect(nf, ii, base, offsets, o + 4)
        weight = splat_like(nf, int32(at(params, node * PARAMS + WEIGHT1)))
        return to_f32(inner * weight - _rect(nf, ii, base, offsets, o)) * nf
    if kind <= ANTIDIAGONAL:  # 4 centre - 2 (edges) + (corners), or its negative
        v = load_like(nf, ii, base, int64(at(offsets, o + 8)))
        v = v + v
        v = v - (
            load_like(nf, ii, base, int64(at(offsets, o + 4)))
            + load_like(nf, ii, base, int64(at(offsets, o + 5)))
            + load_like(nf, ii, base, int64(at(offsets, o + 6)))
            + load_like(nf, ii, base, int64(at(offsets, o + 7)))
        )
        v = v + v
        v = v + (
            load_like(nf, ii, base, int64(at(offsets, o)))
            + load_like(nf, ii, base, int64(at(offsets, o + 1)))
            + load_like(nf, ii, base, int64(at(offsets, o + 2)))
            + load_like(nf, ii, base, int64(at(offsets, o + 3)))
        )
        x = to_f32(v) * nf
        if kind == DIAGONAL:
            return x
        return splat_like(nf, float32(0)) - x
    p = node * PARAMS
    first = to_f32(_rect(nf, ii, base, offsets, o)) * splat_like(nf, at(params, p + WEIGHT0))
    second = to_f32(_rect(nf, ii, base, offsets, o + 4)) * splat_like(nf, at(params, p + WEIGHT1))
    x = first + second
    if kind == WEIGHTED3:
        third = to_f32(_rect(nf, ii, base, offsets, o + 8))
        x = x + third * splat_like(nf, at(params, p + WEIGHT2))
    return x * nf


@device
def _node(nf, ii, base, offsets, params, flags, node, last, stack, depth):
    """Value of the subtree at a node whose child subtrees have been evaluated before it."""
    flag = at(flags, node)
    p = node * PARAMS
    x = _feature(nf, ii, base, offsets, params, node, flag & KIND)
    goes_left = lt(x, splat_like(nf, at(params, p + THRESHOLD)))
    left, right = splat_like(nf, at(params, p + LEFT)), splat_like(nf, at(params, p + RIGHT))
    if flag & TREE:
        top = (depth - 1) * 32
        if flag & LEFT_LAST:
            left = last
        elif flag & LEFT_POP:
            left = load_like(nf, stack, int64(top), int64(0))
        if flag & RIGHT_LAST:
            right = last
        elif flag & RIGHT_POP:
            right = load_like(nf, stack, int64(top), int64(0))
    return select(goes_left, left, right)


@device
def stage_sum(nf, ii, base, offsets, params, flags, first, end, alive, low, high, stack):
    """float32 stage sum of every lane; where it stops early, a bound on the same side of the limits."""
    acc = splat_like(nf, float32(0))
    last = nf
    depth = 0
    floor, ceiling = splat_like(nf, low), splat_like(nf, high)
    node = first
    while node < end:
        flag = at(flags, node)
        last = _node(nf, ii, base, offsets, params, flags, node, last, stack, depth)
        if flag & TREE:
            if flag & POP:
                depth -= 1
            if flag & PUSH:
                store(stack, depth * 32, last)
                depth += 1
        if flag & END:
            acc = acc + last
            if flag & CHECK:
                best = acc + splat_like(nf, at(params, node * PARAMS + REST_MAX))
                dead = mask_bits(lt(best, floor))
                if alive & ~dead == 0:
                    return best
                worst = acc + splat_like(nf, at(params, node * PARAMS + REST_MIN))
                if alive & ~dead & ~mask_bits(ge(worst, ceiling)) == 0:
                    return worst
        node += 1
    return acc


@device
def stage_exact(nf, ii, base, offsets, params, flags, first, end, stack):
    """float64 stage sum of every lane, added up in file order: OpenCV's own value."""
    acc = splat_like(nf, float64(0))
    last = nf
    depth = 0
    node = first
    while node < end:
        flag = at(flags, node)
        last = _node(nf, ii, base, offsets, params, flags, node, last, stack, depth)
        if flag & TREE:
            if flag & POP:
                depth -= 1
            if flag & PUSH:
                store(stack, depth * 32, last)
                depth += 1
        if flag & END:
            acc = acc + to_f64(last)
        node += 1
    return acc


# Entries of `geometry`, all in elements of the flat buffer.
ROW, COLS, ROWS, SQUARES, NORM0, NORM1, NORM2, NORM3 = range(8)


@device
def _odd_runs(failed, carry):
    """Bits just after each run of odd length in the 32 bits ``failed``; and the carry to the next 32.

    A window that fails the first stage makes OpenCV skip the next one, so within a run of failures
    every other window is visited, and the one after an odd run is not. The carry tells whether a run
    of odd length reaches the end. (Method: Langdale & Lemire, VLDB J. 28, 2019, section 3.1.1.)
    """
    even = uint64(0x55555555)
    word = uint64(0xFFFFFFFF)
    starts = failed & ~(failed << uint64(1)) & word
    even_starts = starts & (even ^ carry)
    odd_starts = starts & ~(even ^ carry)
    even_ends = (failed + even_starts) & ~failed
    odd_sum = failed + odd_starts
    odd_ends = (odd_sum | carry) & ~failed
    after = (even_ends & ~even) | (odd_ends & even)
    return after & word, (odd_sum >> uint64(32)) & uint64(1)


@device
def _normalise(ii, base, geometry, gate, area, out, x):
    """Store 1 / (area * deviation) of 8 adjacent windows; the bits of those that pass the gate."""
    i = base + x
    s = load8(ii, i + geometry[NORM0]) - load8(ii, i + geometry[NORM1])
    s = s - load8(ii, i + geometry[NORM2]) + load8(ii, i + geometry[NORM3])
    j = i + geometry[SQUARES]
    q = load8(ii, j + geometry[NORM0]) - load8(ii, j + geometry[NORM1])
    q = q - load8(ii, j + geometry[NORM2]) + load8(ii, j + geometry[NORM3])
    total = to_f64(s)
    spread = to_f64(to_u32(q)) * splat8(area) - total * total
    passed = ge(spread, splat8(gate))
    one = splat8(float64(1))
    store(out, x, to_f32(one / sqrt(select(passed, spread, one))))
    return uint64(mask_bits(passed))


@device
def _decide(nf, ii, base, offsets, model, stage, alive, stack):
    """Which of the living windows pass a stage."""
    params, flags, firsts, exact_firsts, limits = model
    low, high = float32(limits[stage, 0]), float32(limits[stage, 1])
    first, end = int64(firsts[stage]), int64(firsts[stage + 1])
    acc = stage_sum(nf, ii, base, offsets, params, flags, first, end, alive, low, high, stack)
    passed = mask_bits(ge(acc, splat_like(nf, high))) & alive
    unsure = alive & ~passed & ~mask_bits(lt(acc, splat_like(nf, low)))
    if unsure:
        first, end = int64(exact_firsts[stage]), int64(exact_firsts[stage + 1])
        total = stage_exact(nf, ii, base, offsets, params, flags, first, end, stack)
        failed = mask_bits(lt(total, splat_like(nf, limits[stage, 2])))
        passed |= unsure & ~failed
    return passed


@device
def _survivors(passed, blocks, masks, first, count, kept):
    """Append the blocks among `count` from `first` on that still live; the new number of blocks."""
    for k in range(count):
        mask = (passed >> uint32(8 * k)) & uint32(255)
        if mask:
            blocks[kept] = blocks[first + k]
            masks[kept] = mask
            kept += 1
    return kept


@kernel(
    int64(
        ro(int32, 1),
        ro(int32, 1),
        Tuple((ro(float32, 1), ro(int32, 1), ro(int32, 1), ro(int32, 1), ro(float64, 2))),
        ro(int64, 1),
        float64,
        float64,
        Tuple((rw(float32, 1), rw(float32, 1), rw(int64, 1), rw(uint32, 1), rw(float64, 1))),
        rw(int32, 2),
        rw(float64, 1),
    )
)
def scan_haar(ii, offsets, model, geometry, gate, area, scratch, out_windows, out_weights):
    """Find the windows of a band that pass every stage, in the order y, x; return their number.

    ii : flat int32, integral images of the band (`vj.kernels.pyramid`), 64 readable elements beyond.
    offsets : flat int32, 12 corners a node, relative to the window's own corner.
    model : params (8 float32 a node), flags, first node of each stage in the fast and in the exact
        order, limits (float64: surely failed below, surely passed from, the threshold itself).
    geometry : int64, see ROW .. NORM3. gate : smallest spread that passes. area : of the inner window.
    scratch : nf and stack (float32), blocks (int64), masks (uint32), sums (float64).
    out_windows : (n, 2) int32 column and row. out_weights : (n,) sum of the last stage.
    """
    params, flags, firsts, exact_firsts, limits = model
    nf_row, stack, blocks, masks, sums = scratch
    cols, n_stages = geometry[COLS], len(firsts) - 1
    found = 0
    for y in range(geometry[ROWS]):
        base = y * geometry[ROW]
        n = 0
        carry = uint64(0)
        for x in range(0, cols, 32):
            gated = uint64(0)
            for k in range(4):
                bits = _normalise(ii, base, geometry, gate, area, nf_row, x + 8 * k)
                gated |= bits << uint64(8 * k)
            if cols - x < 32:
                gated &= (uint64(1) << uint64(cols - x)) - uint64(1)
            if gated == 0:
                carry = uint64(0)
                continue
            like = load_like(splat32(float32(0)), nf_row, int64(x), int64(0))
            passed = _decide(like, ii, base + x, offsets, model, 0, uint32(gated), stack)
            skipped, carry = _odd_runs(gated & ~uint64(passed), carry)
            passed &= ~uint32(skipped)
            for k in range(4):
                mask = (passed >> uint32(8 * k)) & uint32(255)
                if mask:
                    blocks[n] = x + 8 * k
                    masks[n] = mask
                    n += 1
        for stage in range(1, n_stages):
            kept = 0
            k = 0
            while n - k >= 4:
                b = (blocks[k], blocks[k + 1], blocks[k + 2], blocks[k + 3])
                alive = masks[k] | masks[k + 1] << uint32(8)
                alive |= masks[k + 2] << uint32(16) | masks[k + 3] << uint32(24)
                nf = load_like(splat32(float32(0)), nf_row, b, int64(0))
                at4 = (base + b[0], base + b[1], base + b[2], base + b[3])
                passed = _decide(nf, ii, at4, offsets, model, stage, alive, stack)
                kept = _survivors(passed, blocks, masks, k, 4, kept)
                k += 4
            while k < n:
                nf = load_like(splat8(float32(0)), nf_row, blocks[k], int64(0))
                alive8 = uint8(masks[k])
                passed8 = _decide(nf, ii, base + blocks[k], offsets, model, stage, alive8, stack)
                kept = _survivors(uint32(passed8), blocks, masks, k, 1, kept)
                k += 1
            n = kept
            if n == 0:
                break
        for k in range(n):
            nf = load_like(splat8(float32(0)), nf_row, blocks[k], int64(0))
            first, end = int64(exact_firsts[n_stages - 1]), int64(exact_firsts[n_stages])
            store(
                sums,
                0,
                stage_exact(nf, ii, base + blocks[k], offsets, params, flags, first, end, stack),
            )
            for lane in range(8):
                if masks[k] >> uint32(lane) & uint32(1):
                    out_windows[found, 0] = blocks[k] + lane
                    out_windows[found, 1] = y
                    out_weights[found] = sums[lane]
                    found += 1
    return found
