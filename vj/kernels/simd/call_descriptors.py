"""Call descriptors: kernel calls as rows of numbers, and the functions that make such calls.

A descriptor is a row of int64: the address of the kernel's machine code, then its arguments. An
array takes its address and its sizes, a scalar one place. A caller reads the descriptors of all
kernels that have the same signature; threads without Python's lock can make any call by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

WORD = ir.IntType(64)


@cache
@global_compiler_lock
def caller_of(kinds: tuple[types.Type, ...], band: int) -> int:
    """Address of ``void caller(int64 *descriptor, int64 first, int64 last)`` for a signature.

    The arguments at ``band`` and behind it are the caller's first and last instead of those in the
    descriptor, unless ``band`` is negative.
    """
    context = cpu_target.target_context
    library = context.codegen().create_library("caller")
    module = context.create_module("caller")
    kind = ir.FunctionType(ir.VoidType(), [WORD.as_pointer(), WORD, WORD])
    function = ir.Function(module, kind, f"caller_{abs(hash((kinds, band))):x}")
    builder = ir.IRBuilder(function.append_basic_block())
    descriptor, first, last = function.args
    given, at = [], 1
    for k, each in enumerate(kinds):
        if band >= 0 and k in (band, band + 1):
            given.append(first if k == band else last)
        elif isinstance(each, types.Array):
            given.append(_array(context, builder, each, descriptor, at))
        else:
            where = builder.gep(descriptor, [WORD(at)])
            value = context.get_value_type(each)
            given.append(builder.load(builder.bitcast(where, value.as_pointer())))
        at += places(each)
    target = context.call_conv.get_function_type(types.none, kinds)
    code = builder.inttoptr(builder.load(descriptor), target.as_pointer())
    result, error = (cgutils.alloca_once(builder, t.pointee) for t in target.args[:2])
    flat = context.get_arg_packer(kinds).as_arguments(builder, given)
    builder.call(code, [result, error, *flat])
    builder.ret_void()
    library.add_ir_module(module)
    library.finalize()
    _kept.append(library)
    return int(library.get_pointer_to_function(function.name))


_kept: list[Any] = []  # the machine code lives as long as its library


def places(kind: types.Type) -> int:
    """How many numbers of a descriptor an argument takes."""
    return 1 + kind.ndim if isinstance(kind, types.Array) else 1


def _array(context: Any, builder: Any, kind: types.Array, descriptor: Any, at: int) -> Any:
    """The C-contiguous array whose address and sizes stand from ``at`` on."""
    address, *sizes = _words(builder, descriptor, range(at, at + 1 + kind.ndim))
    array = context.make_array(kind)(context, builder)
    item = context.get_constant(types.intp, kind.dtype.bitwidth // 8)
    strides = [item]
    for size in sizes[:0:-1]:
        strides.insert(0, builder.mul(strides[0], size))
    data = builder.inttoptr(address, array.data.type)
    populate_array(array, data, sizes, strides, item, None)
    return array._getvalue()


def _words(builder: Any, descriptor: Any, where: Sequence[int]) -> list[Any]:
    return [builder.load(builder.gep(descriptor, [WORD(k)])) for k in where]


@intrinsic
def write_descriptor(typing, table, at, args):
    """Write down the call whose kernel's address and arguments these are, from table[at] on."""

    def codegen(context, builder, sig, values):
        base = context.make_array(sig.args[0])(context, builder, values[0]).data
        at = values[1]
        for k, kind in enumerate(sig.args[2].types):
            value, words = builder.extract_value(values[2], k), [WORD(0)]
            if isinstance(kind, types.Array):
                array = context.make_array(kind)(context, builder, value)
                sizes = cgutils.unpack_tuple(builder, array.shape, kind.ndim)
                words = [builder.ptrtoint(array.data, WORD), *sizes]
            elif isinstance(kind, types.Integer):
                words = [value]
            for word in words:
                where = builder.gep(base, [at])
                if isinstance(kind, types.Float):
                    word, where = value, builder.bitcast(where, value.type.as_pointer())
                builder.store(word, where)
                at = builder.add(at, WORD(1))
        return context.get_dummy_value()

    return types.void(table, types.int64, args), codegen
