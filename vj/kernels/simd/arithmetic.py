"""Lane by lane: operators, conversions and what LLVM has an instruction for."""

from __future__ import annotations

import operator

from numba import types
from numba.extending import intrinsic, overload

from vj.kernels.simd.vectors import Vec, llvm_call, vector


def _binary(on_float, on_signed, on_unsigned):
    @intrinsic
    def op(typing, a, b):
        if not isinstance(a, Vec) or a != b:
            return None
        name = on_float if a.is_float else on_signed if a.is_signed else on_unsigned

        def codegen(context, builder, sig, args):
            return getattr(builder, name)(*args)

        return a(a, b), codegen

    return op


def _overload_operator(operation, op):
    @overload(operation)
    def vec_operator(a, b):
        if isinstance(a, Vec) and a == b:
            return lambda a, b: op(a, b)
        return None


for _operation, _names in {
    operator.add: ("fadd", "add", "add"),
    operator.sub: ("fsub", "sub", "sub"),
    operator.mul: ("fmul", "mul", "mul"),
    operator.truediv: ("fdiv", "sdiv", "udiv"),
    operator.and_: ("and_", "and_", "and_"),
    operator.or_: ("or_", "or_", "or_"),
    operator.xor: ("xor", "xor", "xor"),
    operator.lshift: ("shl", "shl", "shl"),
    operator.rshift: ("ashr", "ashr", "lshr"),
}.items():
    _overload_operator(_operation, _binary(*_names))


def _llvm(name, arity):
    """An LLVM intrinsic on float vectors, such as llvm.fma."""

    @intrinsic
    def call1(typing, a):
        return a(a), llvm_call(name, a, 1)

    @intrinsic
    def call2(typing, a, b):
        return a(a, b), llvm_call(name, a, 2)

    @intrinsic
    def call3(typing, a, b, c):
        return a(a, b, c), llvm_call(name, a, 3)

    return {1: call1, 2: call2, 3: call3}[arity]


fma, sqrt, floor, fabs = _llvm("fma", 3), _llvm("sqrt", 1), _llvm("floor", 1), _llvm("fabs", 1)


@intrinsic
def add_to(typing, total, value):
    """``total + value`` with the lanes of ``value`` widened to those of ``total`` where needed."""

    def codegen(context, builder, sig, args):
        widened = args[1] if total == value else builder.fpext(args[1], total.ir)
        return builder.fadd(args[0], widened)

    return total(total, value), codegen


def _convert(elem):
    @intrinsic
    def convert(typing, value):
        out = vector(elem, value.lanes)

        def codegen(context, builder, sig, args):
            (v,) = args
            if value.is_float and out.is_float:
                wider = out.elem.bitwidth > value.elem.bitwidth
                return builder.fpext(v, out.ir) if wider else builder.fptrunc(v, out.ir)
            if value.is_float:
                return (builder.fptosi if out.is_signed else builder.fptoui)(v, out.ir)
            if out.is_float:
                return (builder.sitofp if value.is_signed else builder.uitofp)(v, out.ir)
            before, after = value.ir.element.width, out.ir.element.width
            if after == before:
                return v
            if after < before:
                return builder.trunc(v, out.ir)
            return (builder.sext if value.is_signed else builder.zext)(v, out.ir)

        return out(value), codegen

    return convert


to_f32, to_f64 = _convert(types.float32), _convert(types.float64)
to_i32, to_u32 = _convert(types.int32), _convert(types.uint32)
to_u8, to_u16 = _convert(types.uint8), _convert(types.uint16)
to_i64 = _convert(types.int64)


@intrinsic
def from_bits(typing, value):
    """A vector of float32 with the bits of a vector of int32."""
    out = vector(types.float32, value.lanes)

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[0], out.ir)

    return out(value), codegen
