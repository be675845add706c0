"""Arrays and kernels known by their address, and counters that threads share."""

from __future__ import annotations

from llvmlite import ir
from numba import types
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
def call(typing, address, args):
    """Call the compiled kernel at an address with a tuple of arguments; it returns nothing."""

    def codegen(context, builder, sig, values):
        kinds = sig.args[1].types
        kind = context.call_conv.get_function_type(types.none, kinds)
        function = builder.inttoptr(values[0], kind.as_pointer())
        given = [builder.extract_value(values[1], i) for i in range(len(kinds))]
        result, error = (cgutils.alloca_once(builder, t.pointee) for t in kind.args[:2])
        flat = context.get_arg_packer(kinds).as_arguments(builder, given)
        builder.call(function, [result, error, *flat])
        return context.get_dummy_value()

    return types.void(types.int64, args), codegen


@intrinsic
def call_plain(typing, address):
    """Call the C function ``int f(void)`` at an address."""

    def codegen(context, builder, sig, args):
        kind = ir.FunctionType(ir.IntType(32), [])
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), [])

    return types.int32(types.int64), codegen


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
