"""The vector type, and the few pieces of LLVM code that the other files here are built from."""

from __future__ import annotations

from functools import cache

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import config, types
from numba.core import cgutils
from numba.extending import models, register_model

SCALARS = {
    "float32": ir.FloatType(),
    "float64": ir.DoubleType(),
    "bool": ir.IntType(1),
    **{f"{sign}int{bits}": ir.IntType(bits) for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


class Vec(types.Type):
    """``lanes`` numbers of one scalar type side by side; lanes of ``bool`` are a mask."""

    def __init__(self, elem, lanes):
        self.elem, self.lanes = elem, lanes
        super().__init__(name=f"{elem}x{lanes}")

    @property
    def is_float(self):
        return isinstance(self.elem, types.Float)

    @property
    def is_signed(self):
        return isinstance(self.elem, types.Integer) and self.elem.signed

    @property
    def ir(self):
        return ir.VectorType(SCALARS[str(self.elem)], self.lanes)


@register_model(Vec)
class _VecModel(models.PrimitiveModel):
    def __init__(self, manager, vec):
        super().__init__(manager, vec, vec.ir)


@cache
def vector(elem, lanes):
    """Numba type of ``lanes`` numbers of the scalar type ``elem``."""
    return Vec(elem, lanes)


def _has(feature):
    """Whether Numba compiles for a processor with ``feature``: this one, or the one asked for."""
    if config.CPU_NAME is None and config.CPU_FEATURES is None:
        return bool(get_host_cpu_features().get(feature))
    return f"+{feature}" in (config.CPU_FEATURES or "")


# Lanes of float32 in the widest register; longer vectors take several registers.
WIDEST = 16 if _has("avx512f") else 8


def pointer(context, builder, array_type, array, index, count=1):
    """Address of ``array.flat[index]``, the first of ``count`` numbers."""
    array = context.make_array(array_type)(context, builder, array)
    check_bounds(context, builder, array, index, count)
    return builder.gep(array.data, [index])


def check_bounds(context, builder, array, index, count=1):
    """Under ``NUMBA_BOUNDSCHECK=1``, raise IndexError unless ``count`` numbers exist there."""
    if config.BOUNDSCHECK:
        word = array.nitems.type
        index = builder.sext(index, word) if index.type.width < word.width else index
        count = word(count) if isinstance(count, int) else count
        last = builder.sub(array.nitems, builder.sub(count, word(1)))
        with builder.if_then(builder.icmp_signed(">", count, word(0))):
            cgutils.do_boundscheck(context, builder, index, last)


def vector_at(builder, vec, address):
    """The vector that lies at an address, which need not be aligned."""
    value = builder.load(builder.bitcast(address, vec.ir.as_pointer()))
    value.align = vec.elem.bitwidth // 8
    return value


def broadcast(builder, vec, scalar):
    """``scalar`` in every lane."""
    zero = ir.Constant(ir.IntType(32), 0)
    one = builder.insert_element(ir.Constant(vec.ir, ir.Undefined), scalar, zero)
    return shuffle(builder, one, one, [0] * vec.lanes)


def shuffle(builder, a, b, lanes):
    """The ``lanes`` of ``a`` and, counted on, of ``b``."""
    return builder.shuffle_vector(
        a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)
    )


def llvm_call(name, vec, arity):
    """Code of a call of the LLVM intrinsic ``name`` on vectors like ``vec``."""

    def codegen(context, builder, sig, args):
        kind = f"v{vec.lanes}f{vec.elem.bitwidth}"
        signature = ir.FunctionType(vec.ir, [vec.ir] * arity)
        function = cgutils.get_or_insert_function(builder.module, signature, f"llvm.{name}.{kind}")
        return builder.call(function, args)

    return codegen
