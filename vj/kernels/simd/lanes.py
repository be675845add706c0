"""Vectors from scalars, scalars from vectors, and lanes that change places."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from vj.kernels.simd.vectors import broadcast, shuffle, vector


def _splat(lanes):
    @intrinsic
    def splat(typing, scalar):
        vec = vector(scalar, lanes)

        def codegen(context, builder, sig, args):
            return broadcast(builder, vec, args[0])

        return vec(scalar), codegen

    return splat


splat8, splat16, splat32 = _splat(8), _splat(16), _splat(32)


@intrinsic
def splat_like(typing, like, scalar):
    """``scalar`` in as many lanes as ``like`` has."""
    vec = vector(scalar, like.lanes)

    def codegen(context, builder, sig, args):
        return broadcast(builder, vec, args[1])

    return vec(like, scalar), codegen


@intrinsic
def lanes_of(typing, like):
    """How many lanes ``like`` has, a constant in the code."""

    def codegen(context, builder, sig, args):
        return ir.Constant(ir.IntType(64), like.lanes)

    return types.int64(like), codegen


@intrinsic
def lane(typing, value, index):
    """One lane of a vector; the index may vary."""

    def codegen(context, builder, sig, args):
        return builder.extract_element(*args)

    return value.elem(value, types.intp), codegen


@intrinsic
def prefix_sum(typing, value):
    """Lane k becomes the sum of lanes 0 to k."""

    def codegen(context, builder, sig, args):
        (total,) = args
        add = builder.fadd if value.is_float else builder.add
        zero = ir.Constant(value.ir, None)
        step = 1
        while step < value.lanes:
            moved = [value.lanes + k - step if k >= step else 0 for k in range(value.lanes)]
            total = add(total, shuffle(builder, zero, total, moved))
            step *= 2
        return total

    return value(value), codegen


@intrinsic
def last_lane(typing, value):
    """Every lane becomes the last one."""

    def codegen(context, builder, sig, args):
        return shuffle(builder, args[0], args[0], [value.lanes - 1] * value.lanes)

    return value(value), codegen


@intrinsic
def lane_sum(typing, value):
    """Sum of the lanes, halves first: the same order on every machine."""

    def codegen(context, builder, sig, args):
        (total,) = args
        add = builder.fadd if value.is_float else builder.add
        half = value.lanes // 2
        while half:
            low = shuffle(builder, total, total, list(range(half)))
            high = shuffle(builder, total, total, list(range(half, 2 * half)))
            total, half = add(low, high), half // 2
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return value.elem(value), codegen


@intrinsic
def interleave(typing, vectors):
    """Lane 0 of each of n vectors, then lane 1 of each ..., as n vectors of the same width."""
    count, lanes = len(vectors), vectors[0].lanes

    def codegen(context, builder, sig, args):
        given = [builder.extract_value(args[0], i) for i in range(count)]
        joined = given[0]
        for i in range(1, count):  # side by side: lane k of vector i is number i * lanes + k
            wide = shuffle(builder, given[i], given[i], [k % lanes for k in range(i * lanes)])
            joined = shuffle(
                builder, joined, wide, [*range(i * lanes), *range(i * lanes, i * lanes + lanes)]
            )
        out = ir.Constant(context.get_value_type(vectors), ir.Undefined)
        for i in range(count):
            order = [(i * lanes + n) % count * lanes + (i * lanes + n) // count
                     for n in range(lanes)]  # fmt: skip
            out = builder.insert_value(out, shuffle(builder, joined, joined, order), i)
        return out

    return vectors(vectors), codegen


@intrinsic
def transpose8(typing, rows):
    """The columns of eight vectors of eight lanes."""

    def codegen(context, builder, sig, args):
        given = [builder.extract_value(args[0], i) for i in range(8)]

        def both(a, b, low, high):
            return shuffle(builder, a, b, low), shuffle(builder, a, b, high)

        pairs = [  # two rows, then four, then all eight side by side
            both(given[i], given[i + 1], [0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15])
            for i in (0, 2, 4, 6)
        ]
        fours = [
            both(pairs[i][k], pairs[i + 1][k], [0, 1, 8, 9, 4, 5, 12, 13],
                 [2, 3, 10, 11, 6, 7, 14, 15])
            for i in (0, 2) for k in (0, 1)
        ]  # fmt: skip
        low, high = [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]
        out = ir.Constant(context.get_value_type(rows), ir.Undefined)
        for k in (0, 1):
            for n in (0, 1):
                top, bottom = both(fours[k][n], fours[2 + k][n], low, high)
                out = builder.insert_value(out, top, 2 * k + n)
                out = builder.insert_value(out, bottom, 4 + 2 * k + n)
        return out

    return rows(rows), codegen
