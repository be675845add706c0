"""Loads and stores: a vector from, or to, a flat index of an array."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from vj.kernels.simd.vectors import pointer, shuffle, vector, vector_at


def _load(lanes):
    @intrinsic
    def load(typing, array, index):
        vec = vector(array.dtype, lanes)

        def codegen(context, builder, sig, args):
            return vector_at(builder, vec, pointer(context, builder, sig.args[0], *args, lanes))

        return vec(array, index), codegen

    return load


load8, load16, load32 = _load(8), _load(16), _load(32)


@intrinsic
def store(typing, array, index, value):
    """Write the lanes of ``value`` to ``array`` from flat ``index`` on."""
    if array.dtype != value.elem:
        raise TypeError(f"store of {value} into an array of {array.dtype}")

    def codegen(context, builder, sig, args):
        at = pointer(context, builder, sig.args[0], args[0], args[1], value.lanes)
        done = builder.store(args[2], builder.bitcast(at, value.ir.as_pointer()))
        done.align = value.elem.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, index, value), codegen


def _masked(builder, name, vec, before, after, count, result):
    """Call a masked load or store that sees the first ``count`` lanes only."""
    i32 = ir.IntType(32)
    numbers = ir.Constant(ir.VectorType(i32, vec.lanes), list(range(vec.lanes)))
    one = builder.insert_element(
        ir.Constant(numbers.type, ir.Undefined), builder.trunc(count, i32), i32(0)
    )
    mask = builder.icmp_signed(">", shuffle(builder, one, one, [0] * vec.lanes), numbers)
    operands = [*before, i32(vec.elem.bitwidth // 8), mask, *after]
    elem = f"{'f' if vec.is_float else 'i'}{vec.elem.bitwidth}"
    kind = ir.FunctionType(result, [v.type for v in operands])
    full = f"llvm.masked.{name}.v{vec.lanes}{elem}.p0"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, full), operands)


def _at_most(builder, count, lanes):
    limit = count.type(lanes)
    return builder.select(builder.icmp_signed("<", count, limit), count, limit)


@intrinsic
def load8_part(typing, array, index, count):
    """The first ``count`` of eight numbers, with zeros behind them; nothing else is read."""
    vec = vector(array.dtype, 8)

    def codegen(context, builder, sig, args):
        at = pointer(context, builder, sig.args[0], *args[:2], _at_most(builder, args[2], 8))
        at = builder.bitcast(at, vec.ir.as_pointer())
        zero = ir.Constant(vec.ir, None)
        return _masked(builder, "load", vec, [at], [zero], args[2], vec.ir)

    return vec(array, types.int64, types.int64), codegen


@intrinsic
def store_part(typing, array, index, value, count):
    """Write the first ``count`` lanes of ``value``, and nothing behind them."""
    if array.dtype != value.elem:
        raise TypeError(f"store of {value} into an array of {array.dtype}")

    def codegen(context, builder, sig, args):
        at = pointer(context, builder, sig.args[0], *args[:2], _at_most(builder, args[3], 8))
        at = builder.bitcast(at, value.ir.as_pointer())
        _masked(builder, "store", value, [args[2], at], [], args[3], ir.VoidType())
        return context.get_dummy_value()

    return types.void(array, types.int64, value, types.int64), codegen


@intrinsic
def at(typing, array, index):
    """``array.flat[index]`` without the test for a negative index."""

    def codegen(context, builder, sig, args):
        return builder.load(pointer(context, builder, sig.args[0], *args))

    return array.dtype(array, index), codegen


@intrinsic
def load_like(typing, like, array, base, offset):
    """As many numbers of ``array`` as ``like`` has lanes, from flat index ``base + offset`` on.

    ``base`` may be a tuple: its entries share the lanes, each giving the start of its part.
    """
    vec = vector(array.dtype, like.lanes)
    parts = base.count if isinstance(base, types.UniTuple) else 1
    part = vector(array.dtype, like.lanes // parts)

    def codegen(context, builder, sig, args):
        bases = cgutils.unpack_tuple(builder, args[2], parts) if parts > 1 else [args[2]]
        pieces = []
        for start in bases:
            first = builder.add(start, args[3])
            where = pointer(context, builder, sig.args[1], args[1], first, part.lanes)
            piece = builder.load(builder.bitcast(where, part.ir.as_pointer()))
            piece.align = vec.elem.bitwidth // 8
            pieces.append(piece)
        while len(pieces) > 1:
            lanes = list(range(2 * pieces[0].type.count))
            pieces = [
                shuffle(builder, a, b, lanes)
                for a, b in zip(pieces[::2], pieces[1::2], strict=True)
            ]
        return pieces[0]

    return vec(like, array, base, types.intp), codegen


@intrinsic
def gather8(typing, array, index, start):
    """Eight numbers of ``array`` at the flat indices ``index[start]`` to ``index[start + 7]``."""
    vec = vector(array.dtype, 8)

    def codegen(context, builder, sig, args):
        result = ir.Constant(vec.ir, ir.Undefined)
        first = pointer(context, builder, sig.args[1], args[1], args[2], 8)
        for lane in range(8):
            k = ir.Constant(ir.IntType(32), lane)
            where = builder.sext(builder.load(builder.gep(first, [k])), ir.IntType(64))
            value = builder.load(pointer(context, builder, sig.args[0], args[0], where))
            result = builder.insert_element(result, value, k)
        return result

    return vec(array, index, types.intp), codegen


@intrinsic
def opaque(typing, index):
    """The same int64, of which the compiler knows nothing.

    It keeps LLVM from replacing one loop index by a pointer for every load, more than there are
    registers.
    """

    def codegen(context, builder, sig, args):
        kind = ir.FunctionType(args[0].type, [args[0].type])
        return builder.asm(kind, "", "=r,0", args, side_effect=False)

    return types.int64(types.int64), codegen
