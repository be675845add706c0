"""Arrays and kernels known by their address, and numbers that threads share."""

from __future__ import annotations

import platform

from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from vj.kernels.simd.vectors import pointer


def _array_at(elem):
    @intrinsic
    def array_at(typing, address, size):
        out = types.Array(elem, 1, "C")

        def codegen(context, builder, sig, args):
            array = context.make_array(out)(context, builder)
            item = context.get_constant(types.intp, elem.bitwidth // 8)
            data = builder.inttoptr(args[0], array.data.type)
            populate_array(array, data, [args[1]], [item], item, None)
            return array._getvalue()

        return out(types.int64, types.int64), codegen

    return array_at


# The array of ``size`` numbers at an address; the caller keeps its memory alive.
array_f32, array_i64 = _array_at(types.float32), _array_at(types.int64)
array_u8 = _array_at(types.uint8)


@intrinsic
def address(typing, array):
    """Where the numbers of an array begin."""

    def codegen(context, builder, sig, args):
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return types.int64(array), codegen


@intrinsic
def call(typing, address, args):
    """Call the compiled kernel at an address with a tuple of arguments; it returns nothing."""

    def codegen(context, builder, sig, values):
        kinds = sig.args[1].types
        kind = context.call_conv.get_function_type(types.none, kinds)
        function = builder.inttoptr(values[0], kind.as_pointer())
        given = [builder.extract_value(values[1], i) for i in range(len(kinds))]
        result, error = (cgutils.alloca_once(builder, t.pointee) for t in kind.args[:2])
        flat = context.get_arg_packer(kinds).as_arguments(builder, given)
        code = builder.call(function, [result, error, *flat])
        if config.BOUNDSCHECK:
            status = context.call_conv._get_return_status(builder, code, builder.load(error))
            with cgutils.if_unlikely(builder, status.is_error):
                context.call_conv.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return types.void(types.int64, args), codegen


@intrinsic
def call_plain(typing, address, number):
    """Call the C function ``int f(int)`` (or one without argument) at an address."""

    def codegen(context, builder, sig, args):
        word = ir.IntType(32)
        function = builder.inttoptr(args[0], ir.FunctionType(word, [word]).as_pointer())
        return builder.call(function, [builder.trunc(args[1], word)])

    return types.int32(types.int64, types.int64), codegen


@intrinsic
def call_described(typing, caller, descriptor, first, last):
    """Make the call that is written down at the address `descriptor`, for the band first to last.

    ``caller`` is the address of what reads such descriptors
    (`vj.kernels.simd.call_descriptors.caller_of`).
    """

    def codegen(context, builder, sig, args):
        word = ir.IntType(64)
        kind = ir.FunctionType(ir.VoidType(), [word.as_pointer(), word, word])
        function = builder.inttoptr(args[0], kind.as_pointer())
        builder.call(function, [builder.inttoptr(args[1], word.as_pointer()), *args[2:]])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), codegen


@intrinsic
def atomic_add(typing, array, index, value):
    """Add to ``array.flat[index]`` (int64), seen by all threads at once; the value before."""

    def codegen(context, builder, sig, args):
        where = pointer(context, builder, sig.args[0], args[0], args[1])
        return builder.atomic_rmw("add", where, args[2], "seq_cst")

    return types.int64(array, types.int64, types.int64), codegen


@intrinsic
def atomic_load(typing, array, index):
    """``array.flat[index]`` (int64), with all that was written before it was."""

    def codegen(context, builder, sig, args):
        where = pointer(context, builder, sig.args[0], args[0], args[1])
        return builder.load_atomic(where, "acquire", 8)

    return types.int64(array, types.int64), codegen


@intrinsic
def atomic_store(typing, array, index, value):
    """``array.flat[index] = value`` (int64), seen after all that was written before it."""

    def codegen(context, builder, sig, args):
        where = pointer(context, builder, sig.args[0], args[0], args[1])
        builder.atomic_rmw("xchg", where, args[2], "seq_cst")
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), codegen


@intrinsic
def pause(typing):
    """Tell the processor that this thread looks at a number over and over."""

    def codegen(context, builder, sig, args):
        if platform.machine().lower() in ("x86_64", "amd64"):
            kind = ir.FunctionType(ir.VoidType(), [])
            name = "llvm.x86.sse2.pause"
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [])
        return context.get_dummy_value()

    return types.void(), codegen
