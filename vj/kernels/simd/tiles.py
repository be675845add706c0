"""Register tiles: the inner loops of convolutions and matrix products.

A tile is a tuple of vectors held in registers, one for each of the places (a tuple of flat
indices, ``int64``) that it is computed from or written to.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from vj.kernels.simd.vectors import broadcast, check_bounds, llvm_call, vector_at


def _places(context, builder, sig, args, array, places, offset, lanes):
    """Addresses ``array[places[i] + offset]``, ``array`` and so on being argument numbers."""
    whole = context.make_array(sig.args[array])(context, builder, args[array])
    for i in range(len(sig.args[places])):
        place = builder.extract_value(args[places], i)
        check_bounds(context, builder, whole, builder.add(place, args[offset]), lanes)
        start = builder.gep(whole.data, [place])
        yield builder.gep(start, [args[offset]])


def _line(context, builder, sig, args, count, lanes):
    """Address of the first of ``count`` vectors; arguments 1 to 3 are array, start and step."""
    whole = context.make_array(sig.args[1])(context, builder, args[1])
    for k in (0, count - 1):
        place = builder.add(args[2], builder.mul(args[3], ir.IntType(64)(k)))
        check_bounds(context, builder, whole, place, lanes)
    return builder.gep(whole.data, [args[2]])


def _each(builder, tile, make):
    """The tile with vector ``i`` replaced by ``make(i, vector i)``."""
    for i in range(tile.type.count):
        tile = builder.insert_value(tile, make(i, builder.extract_value(tile, i)), i)
    return tile


def _tile_fma(spread):
    @intrinsic
    def tile_fma(typing, tile, x, places, offset, v):
        vec = tile.dtype

        def codegen(context, builder, sig, args):
            fused = llvm_call("fma", vec, 3)
            lanes = 1 if spread else vec.lanes
            where = list(_places(context, builder, sig, args, 1, 2, 3, lanes))

            def step(i, total):
                if spread:
                    factor = broadcast(builder, vec, builder.load(where[i]))
                else:
                    factor = vector_at(builder, vec, where[i])
                return fused(context, builder, sig, [factor, args[4], total])

            return _each(builder, args[0], step)

        return tile(tile, x, places, types.int64, v), codegen

    return tile_fma


# tile[i] += x[places[i] + offset] * v: one scalar to all lanes (outer product), or lane by lane.
tile_outer, tile_fma = _tile_fma(True), _tile_fma(False)


@intrinsic
def tile_slide(typing, tile, x, start, step, w):
    """tile[i] += the sum of ``x[start + (i + v) * step]`` times the vector ``w[v]`` over v."""
    vec, count, taps = tile.dtype, tile.count, w.count

    def codegen(context, builder, sig, args):
        fused = llvm_call("fma", vec, 3)
        address = _line(context, builder, sig, args, count + taps - 1, vec.lanes)
        weights = cgutils.unpack_tuple(builder, args[4], taps)
        totals = cgutils.unpack_tuple(builder, args[0], count)
        for q in range(count + taps - 1):
            pixel = vector_at(builder, vec, address)
            for v in range(taps):
                if 0 <= q - v < count:
                    operands = [pixel, weights[v], totals[q - v]]
                    totals[q - v] = fused(context, builder, sig, operands)
            address = builder.gep(address, [args[3]])
        return context.make_tuple(builder, sig.return_type, totals)

    return tile(tile, x, types.int64, types.int64, w), codegen


@intrinsic
def tile_load(typing, like, array, start, step):
    """Four vectors like ``like``, ``step`` apart from ``start`` on."""
    out = types.UniTuple(like, 4)

    def codegen(context, builder, sig, args):
        address = _line(context, builder, sig, args, 4, like.lanes)
        found = []
        for _ in range(4):
            found.append(vector_at(builder, like, address))
            address = builder.gep(address, [args[3]])
        return context.make_tuple(builder, out, found)

    return out(like, array, types.int64, types.int64), codegen


@intrinsic
def tile_mul_add(typing, a, b, c):
    """Tile a * b + c, vector by vector."""

    def codegen(context, builder, sig, args):
        fused = llvm_call("fma", a.dtype, 3)

        def step(i, total):
            factors = [builder.extract_value(arg, i) for arg in args[:2]]
            return fused(context, builder, sig, [*factors, total])

        return _each(builder, args[2], step)

    return a(a, b, c), codegen


@intrinsic
def tile_add(typing, tile, x, places, offset):
    """tile[i] += the vector at ``x[places[i] + offset]``."""

    def codegen(context, builder, sig, args):
        where = list(_places(context, builder, sig, args, 1, 2, 3, tile.dtype.lanes))
        return _each(
            builder,
            args[0],
            lambda i, v: builder.fadd(v, vector_at(builder, tile.dtype, where[i])),
        )

    return tile(tile, x, places, types.int64), codegen


@intrinsic
def places_apart(typing, tile, start, step, last):
    """Place ``start + min(i, last) * step`` for each vector ``i`` of a tile."""
    out = types.UniTuple(types.int64, tile.count)

    def codegen(context, builder, sig, args):
        _, at, step, last = args
        found = [at]
        for i in range(1, tile.count):
            further = builder.icmp_signed(">=", last, ir.Constant(ir.IntType(64), i))
            found.append(builder.select(further, builder.add(found[-1], step), found[-1]))
        return context.make_tuple(builder, out, found)

    return out(tile, types.int64, types.int64, types.int64), codegen


@intrinsic
def tile_clamp(typing, tile, lo, hi):
    """Every vector clamped to the scalars ``lo`` and ``hi``; NaN stays NaN."""

    def codegen(context, builder, sig, args):
        low, high = (broadcast(builder, tile.dtype, scalar) for scalar in args[1:])

        def clamp(_, v):
            v = builder.select(builder.fcmp_ordered(">", low, v), low, v)
            return builder.select(builder.fcmp_ordered("<", high, v), high, v)

        return _each(builder, args[0], clamp)

    return tile(tile, lo, hi), codegen


@intrinsic
def tile_slope(typing, tile, slope):
    """Lanes below zero multiplied by those of the vector ``slope``."""

    def codegen(context, builder, sig, args):
        zero = ir.Constant(tile.dtype.ir, None)

        def bend(_, v):
            return builder.select(builder.fcmp_ordered("<", v, zero), builder.fmul(v, args[1]), v)

        return _each(builder, args[0], bend)

    return tile(tile, slope), codegen


@intrinsic
def tile_store(typing, tile, y, places, offset):
    """Write vector ``i`` to ``y[places[i] + offset]`` and the lanes behind it.

    The first vector is written last: where a place repeats, its first vector stays.
    """

    def codegen(context, builder, sig, args):
        where = list(_places(context, builder, sig, args, 1, 2, 3, tile.dtype.lanes))
        for i, address in reversed(list(enumerate(where))):
            at = builder.bitcast(address, tile.dtype.ir.as_pointer())
            builder.store(builder.extract_value(args[0], i), at).align = (
                tile.dtype.elem.bitwidth // 8
            )
        return context.get_dummy_value()

    return types.void(tile, y, places, types.int64), codegen
