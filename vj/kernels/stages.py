"""Stages of a packed cascade on several windows at once: one lane a window.

Every function takes the lane count from `nf`, the vector of 1 / (area * deviation) of the windows,
and reads them at `base`: one index for neighbouring windows, or a tuple of four for four blocks of
eight. What is loaded once for all lanes (offsets, thresholds, leaves) then costs a quarter; the
rest is one load a corner and block, which is what bounds the speed. The packed model is made by
``vj.detect.packing``.
"""

from numba import float32, float64, int32, int64

from vj.kernels.jit import device
from vj.kernels.simd import (
    add_to,
    at,
    eq,
    ge,
    load_like,
    lt,
    mask_bits,
    select,
    splat_like,
    store,
    to_f32,
)

CORNERS, PARAMS = 16, 6  # entries of a node in `offsets` and `params`
EDGE, LINE3, LINE, DIAGONAL, ANTIDIAGONAL, WEIGHTED2, WEIGHTED3, LBP = range(8)
KIND = 7
TREE, LEFT_LAST, LEFT_POP, RIGHT_LAST, RIGHT_POP, PUSH, END = (8 << k for k in range(7))
POP = LEFT_POP | RIGHT_POP
THRESHOLD, LEFT, RIGHT, WEIGHT0, WEIGHT1, WEIGHT2 = range(PARAMS)
FAIL_BELOW, PASS_FROM, LIMIT = range(3)


@device
def _corner(nf, ii, base, offsets, o):
    return load_like(nf, ii, base, int64(at(offsets, o)))


@device
def _rect(nf, ii, base, offsets, o):
    return (
        _corner(nf, ii, base, offsets, o)
        - _corner(nf, ii, base, offsets, o + 1)
        - _corner(nf, ii, base, offsets, o + 2)
        + _corner(nf, ii, base, offsets, o + 3)
    )


@device
def _sum4(nf, ii, base, offsets, o):
    return (
        _corner(nf, ii, base, offsets, o)
        + _corner(nf, ii, base, offsets, o + 1)
        + _corner(nf, ii, base, offsets, o + 2)
        + _corner(nf, ii, base, offsets, o + 3)
    )


@device
def haar_value(nf, ii, base, offsets, params, node, kind):
    """Normalised feature value. The integer kinds are exact, whatever the order of their terms."""
    o, p = node * CORNERS, node * PARAMS
    if kind == EDGE:  # (a - 2b + c) - (d - 2e + f): two cells share an edge
        b = _corner(nf, ii, base, offsets, o + 1)
        e = _corner(nf, ii, base, offsets, o + 4)
        v = _corner(nf, ii, base, offsets, o) - b
        v = v - (b - _corner(nf, ii, base, offsets, o + 2))
        v = v - (_corner(nf, ii, base, offsets, o + 3) - e)
        v = v + (e - _corner(nf, ii, base, offsets, o + 5))
        return to_f32(v) * nf
    if kind == LINE3:  # 3 inner - whole
        inner = _rect(nf, ii, base, offsets, o + 4)
        return to_f32(inner + inner + inner - _rect(nf, ii, base, offsets, o)) * nf
    if kind == LINE:
        inner = _rect(nf, ii, base, offsets, o + 4)
        weight = splat_like(nf, int32(at(params, p + WEIGHT1)))
        return to_f32(inner * weight - _rect(nf, ii, base, offsets, o)) * nf
    if kind <= ANTIDIAGONAL:  # 4 centre - 2 (edges) + (corners), or its negative
        centre = _corner(nf, ii, base, offsets, o + 8)
        v = centre + centre - _sum4(nf, ii, base, offsets, o + 4)
        v = v + v + _sum4(nf, ii, base, offsets, o)
        if kind == ANTIDIAGONAL:
            v = splat_like(nf, int32(0)) - v
        return to_f32(v) * nf
    first = to_f32(_rect(nf, ii, base, offsets, o)) * splat_like(nf, at(params, p + WEIGHT0))
    second = to_f32(_rect(nf, ii, base, offsets, o + 4)) * splat_like(nf, at(params, p + WEIGHT1))
    x = first + second
    if kind == WEIGHTED3:
        third = to_f32(_rect(nf, ii, base, offsets, o + 8))
        x = x + third * splat_like(nf, at(params, p + WEIGHT2))
    return x * nf


@device
def haar_left(nf, ii, base, offsets, model, node, flag):
    """Lanes that go left at a Haar node."""
    params = model[0]
    x = haar_value(nf, ii, base, offsets, params, node, flag & KIND)
    return lt(x, splat_like(nf, at(params, node * PARAMS + THRESHOLD)))


@device
def _cell_edges(nf, ii, base, offsets, o):
    """Differences along one line of the 4 x 4 corners, one for each of three cells."""
    a = _corner(nf, ii, base, offsets, o)
    b = _corner(nf, ii, base, offsets, o + 1)
    c = _corner(nf, ii, base, offsets, o + 2)
    d = _corner(nf, ii, base, offsets, o + 3)
    return b - a, c - b, d - c


@device
def _word(nf, subsets, k, right, left):
    """One of two neighbouring words of a subset, by the bit of the code that tells them apart."""
    word = splat_like(nf, at(subsets, k + left))
    return select(right, splat_like(nf, at(subsets, k + left + 1)), word)


@device
def _bit(nf, mask, value):
    return select(mask, splat_like(nf, int32(value)), splat_like(nf, int32(0)))


@device
def lbp_left(nf, ii, base, offsets, model, node, flag):
    """Lanes whose 8-bit code is in the subset of an LBP node: the three high bits pick the word."""
    subsets = model[1]
    o, k = node * CORNERS, node * 8
    # middle row of cells first, so that few values wait for the centre
    b0, b1, b2 = _cell_edges(nf, ii, base, offsets, o + 4)
    c0, c1, c2 = _cell_edges(nf, ii, base, offsets, o + 8)
    centre = c1 - b1
    shift = _bit(nf, ge(c2 - b2, centre), 16) | _bit(nf, ge(c0 - b0, centre), 1)
    d0, d1, d2 = _cell_edges(nf, ii, base, offsets, o + 12)
    shift = shift | _bit(nf, ge(d2 - c2, centre), 8)
    shift = shift | _bit(nf, ge(d1 - c1, centre), 4)
    shift = shift | _bit(nf, ge(d0 - c0, centre), 2)
    a0, a1, a2 = _cell_edges(nf, ii, base, offsets, o)
    bit7, bit6, bit5 = ge(b0 - a0, centre), ge(b1 - a1, centre), ge(b2 - a2, centre)
    low = select(bit6, _word(nf, subsets, k, bit5, 2), _word(nf, subsets, k, bit5, 0))
    high = select(bit6, _word(nf, subsets, k, bit5, 6), _word(nf, subsets, k, bit5, 4))
    one = splat_like(nf, int32(1))
    return eq((select(bit7, high, low) >> shift) & one, one)


@device
def _value(left_lanes, nf, model, node, flag, last, stack, depth):
    """Value of the subtree at a node whose child subtrees have been evaluated before it."""
    p = node * PARAMS
    left = splat_like(nf, at(model[0], p + LEFT))
    right = splat_like(nf, at(model[0], p + RIGHT))
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
    return select(left_lanes, left, right)


@device
def stage_sum(goes_left, total, nf, ii, base, offsets, model, stage, stack):
    """Sum of the leaves that each lane reaches in a stage, in file order.

    goes_left : `haar_left` or `lbp_left`. total : zeros, float32 for a fast sum or float64 for
    OpenCV's own value. stack : values of subtrees that wait for their parents, 32 floats each.
    """
    flags, firsts = model[2], model[3]
    last = nf
    depth = 0
    for node in range(int64(firsts[stage]), int64(firsts[stage + 1])):
        flag = at(flags, node)
        lanes = goes_left(nf, ii, base, offsets, model, node, flag)
        last = _value(lanes, nf, model, node, flag, last, stack, depth)
        if flag & TREE:
            if flag & POP:
                depth -= 1
            if flag & PUSH:
                store(stack, depth * 32, last)
                depth += 1
        if flag & END:
            total = add_to(total, last)
    return total


@device
def stage_exact(goes_left, nf, ii, base, offsets, model, stage, stack):
    """OpenCV's stage sum: float64, leaves added in file order."""
    return stage_sum(
        goes_left, splat_like(nf, float64(0)), nf, ii, base, offsets, model, stage, stack
    )


@device
def decide(goes_left, nf, ii, base, offsets, model, stage, alive, stack):
    """Which of the living windows pass a stage: bits, lane 0 lowest.

    The sum is float32 first. Where it comes closer to the threshold than float32 can tell, or is
    NaN, the float64 sum decides; a NaN passes.
    """
    limits = model[4]
    zero = splat_like(nf, float32(0))
    total = stage_sum(goes_left, zero, nf, ii, base, offsets, model, stage, stack)
    passed = alive & mask_bits(ge(total, splat_like(nf, float32(limits[stage, PASS_FROM]))))
    failed = mask_bits(lt(total, splat_like(nf, float32(limits[stage, FAIL_BELOW]))))
    unsure = alive & ~passed & ~failed
    if unsure:
        exact = stage_exact(goes_left, nf, ii, base, offsets, model, stage, stack)
        passed |= unsure & ~mask_bits(lt(exact, splat_like(nf, limits[stage, LIMIT])))
    return passed
