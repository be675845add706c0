"""Comparisons, which give masks, and what is done with a mask."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from vj.kernels.simd.vectors import vector


def _compare(sign):
    @intrinsic
    def compare(typing, a, b):
        if a != b:
            return None

        def codegen(context, builder, sig, args):
            if a.is_float:
                return builder.fcmp_ordered(sign, *args)
            return (builder.icmp_signed if a.is_signed else builder.icmp_unsigned)(sign, *args)

        return vector(types.boolean, a.lanes)(a, b), codegen

    return compare


# Ordered comparisons: false where a lane is NaN.
lt, le, gt, ge, eq = _compare("<"), _compare("<="), _compare(">"), _compare(">="), _compare("==")


@intrinsic
def select(typing, mask, a, b):
    """``a`` where the mask is set, ``b`` elsewhere."""

    def codegen(context, builder, sig, args):
        return builder.select(*args)

    return a(mask, a, b), codegen


@intrinsic
def vmax(typing, a, b):
    """Lane-wise ``a > b ? a : b`` (one max instruction)."""

    def codegen(context, builder, sig, args):
        test = builder.fcmp_ordered if a.is_float else builder.icmp_signed
        return builder.select(test(">", *args), *args)

    return a(a, b), codegen


@intrinsic
def vmin(typing, a, b):
    """Lane-wise ``a < b ? a : b`` (one min instruction)."""

    def codegen(context, builder, sig, args):
        test = builder.fcmp_ordered if a.is_float else builder.icmp_signed
        return builder.select(test("<", *args), *args)

    return a(a, b), codegen


@intrinsic
def mask_bits(typing, mask):
    """The mask as an integer, lane 0 in the lowest bit."""
    out = {8: types.uint8, 16: types.uint16, 32: types.uint32}[mask.lanes]

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[0], ir.IntType(mask.lanes))

    return out(mask), codegen
