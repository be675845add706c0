"""A small vocabulary of SIMD vectors for Numba; the only file that touches llvmlite.

A vector is a Numba type that is lowered to an LLVM vector, so LLVM picks the instructions: a vector
of eight float32 is one AVX register, two SSE or NEON registers, half an AVX-512 register. The
vocabulary is the same for every lane count; loads and splats name theirs (``load8``, ``splat16``).

Loads and stores are unaligned, unchecked and take a flat index into a C-contiguous array of any
rank: the caller proves that ``0 <= i`` and ``i + lanes <= array.size``.

    acc = splat8(float32(0))
    acc = fma(load8(weights, k), load8(pixels, i), acc)
    alive = mask_bits(ge(acc, splat8(threshold)))
"""

from __future__ import annotations

import operator
from functools import cache

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model
from numba.np.arrayobj import populate_array

_IR = {
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
        return ir.VectorType(_IR[str(self.elem)], self.lanes)


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

f32x8, f32x16 = vector(types.float32, 8), vector(types.float32, 16)
i32x8, i32x16 = vector(types.int32, 8), vector(types.int32, 16)

# --------------------------------------------------------------------------- memory


def _pointer(context, builder, array_type, array, index):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def _vector_at(builder, vec, address):
    value = builder.load(builder.bitcast(address, vec.ir.as_pointer()))
    value.align = vec.elem.bitwidth // 8
    return value


def _load(lanes):
    @intrinsic
    def load(typing, array, index):
        vec = vector(array.dtype, lanes)

        def codegen(context, builder, sig, args):
            return _vector_at(builder, vec, _pointer(context, builder, sig.args[0], *args))

        return vec(array, index), codegen

    return load


load4, load8, load16, load32 = _load(4), _load(8), _load(16), _load(32)


@intrinsic
def store(typing, array, index, value):
    """Write the lanes of ``value`` to ``array`` from flat ``index`` on."""
    if array.dtype != value.elem:
        raise TypeError(f"store of {value} into an array of {array.dtype}")

    def codegen(context, builder, sig, args):
        at = _pointer(context, builder, sig.args[0], args[0], args[1])
        done = builder.store(args[2], builder.bitcast(at, value.ir.as_pointer()))
        done.align = value.elem.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, index, value), codegen


@intrinsic
def at(typing, array, index):
    """``array.flat[index]`` without the test for a negative index."""

    def codegen(context, builder, sig, args):
        return builder.load(_pointer(context, builder, sig.args[0], *args))

    return array.dtype(array, index), codegen


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


@intrinsic
def gather(typing, array, index):
    """``array.flat[index]`` lane by lane; ``index`` is a vector of int32."""
    vec = vector(array.dtype, index.lanes)

    def codegen(context, builder, sig, args):
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        result = ir.Constant(vec.ir, ir.Undefined)
        for lane in range(index.lanes):
            k = ir.Constant(ir.IntType(32), lane)
            where = builder.sext(builder.extract_element(args[1], k), ir.IntType(64))
            result = builder.insert_element(result, builder.load(builder.gep(data, [where])), k)
        return result

    return vec(array, index), codegen


# --------------------------------------------------------------------------- making vectors


def _broadcast(builder, vec, scalar):
    zero = ir.Constant(ir.IntType(32), 0)
    one = builder.insert_element(ir.Constant(vec.ir, ir.Undefined), scalar, zero)
    return _shuffle(builder, one, one, [0] * vec.lanes)


def _shuffle(builder, a, b, lanes):
    return builder.shuffle_vector(
        a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)
    )


def _splat(lanes):
    @intrinsic
    def splat(typing, scalar):
        vec = vector(scalar, lanes)

        def codegen(context, builder, sig, args):
            return _broadcast(builder, vec, args[0])

        return vec(scalar), codegen

    return splat


splat4, splat8, splat16, splat32 = _splat(4), _splat(8), _splat(16), _splat(32)


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
to_i64, to_u64 = _convert(types.int64), _convert(types.uint64)
to_u8, to_u16 = _convert(types.uint8), _convert(types.uint16)

# --------------------------------------------------------------------------- arithmetic


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
        return a(a), _llvm_call(name, a, 1)

    @intrinsic
    def call2(typing, a, b):
        return a(a, b), _llvm_call(name, a, 2)

    @intrinsic
    def call3(typing, a, b, c):
        return a(a, b, c), _llvm_call(name, a, 3)

    return {1: call1, 2: call2, 3: call3}[arity]


def _llvm_call(name, vec, arity):
    def codegen(context, builder, sig, args):
        kind = f"v{vec.lanes}f{vec.elem.bitwidth}"
        signature = ir.FunctionType(vec.ir, [vec.ir] * arity)
        function = cgutils.get_or_insert_function(builder.module, signature, f"llvm.{name}.{kind}")
        return builder.call(function, args)

    return codegen


fma, sqrt, floor, fabs = _llvm("fma", 3), _llvm("sqrt", 1), _llvm("floor", 1), _llvm("fabs", 1)

# --------------------------------------------------------------------------- comparison and choice


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


# --------------------------------------------------------------------------- register tiles
# A tile is a tuple of vectors held in registers, one for each of the places (a tuple of flat
# indices, ``int64``) that it is computed from or written to.


def _places(context, builder, sig, args, array, places, offset):
    """Addresses ``array[places[i] + offset]``, ``array`` and so on being argument numbers."""
    data = context.make_array(sig.args[array])(context, builder, args[array]).data
    for i in range(len(sig.args[places])):
        start = builder.gep(data, [builder.extract_value(args[places], i)])
        yield builder.gep(start, [args[offset]])


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
            fused = _llvm_call("fma", vec, 3)
            where = list(_places(context, builder, sig, args, 1, 2, 3))

            def step(i, total):
                if spread:
                    factor = _broadcast(builder, vec, builder.load(where[i]))
                else:
                    factor = _vector_at(builder, vec, where[i])
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
        fused = _llvm_call("fma", vec, 3)
        address = _pointer(context, builder, sig.args[1], args[1], args[2])
        weights = cgutils.unpack_tuple(builder, args[4], taps)
        totals = cgutils.unpack_tuple(builder, args[0], count)
        for q in range(count + taps - 1):
            pixel = _vector_at(builder, vec, address)
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
        address = _pointer(context, builder, sig.args[1], args[1], args[2])
        found = []
        for _ in range(4):
            found.append(_vector_at(builder, like, address))
            address = builder.gep(address, [args[3]])
        return context.make_tuple(builder, out, found)

    return out(like, array, types.int64, types.int64), codegen


@intrinsic
def tile_mul_add(typing, a, b, c):
    """Tile a * b + c, vector by vector."""

    def codegen(context, builder, sig, args):
        fused = _llvm_call("fma", a.dtype, 3)

        def step(i, total):
            factors = [builder.extract_value(arg, i) for arg in args[:2]]
            return fused(context, builder, sig, [*factors, total])

        return _each(builder, args[2], step)

    return a(a, b, c), codegen


@intrinsic
def tile_add(typing, tile, x, places, offset):
    """tile[i] += the vector at ``x[places[i] + offset]``."""

    def codegen(context, builder, sig, args):
        where = list(_places(context, builder, sig, args, 1, 2, 3))
        return _each(
            builder,
            args[0],
            lambda i, v: builder.fadd(v, _vector_at(builder, tile.dtype, where[i])),
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
        low, high = (_broadcast(builder, tile.dtype, scalar) for scalar in args[1:])

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
        where = list(enumerate(_places(context, builder, sig, args, 1, 2, 3)))
        for i, address in reversed(where):
            at = builder.bitcast(address, tile.dtype.ir.as_pointer())
            builder.store(builder.extract_value(args[0], i), at).align = (
                tile.dtype.elem.bitwidth // 8
            )
        return context.get_dummy_value()

    return types.void(tile, y, places, types.int64), codegen


# --------------------------------------------------------------------------- across lanes


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
            total = add(total, _shuffle(builder, zero, total, moved))
            step *= 2
        return total

    return value(value), codegen


@intrinsic
def last_lane(typing, value):
    """Every lane becomes the last one."""

    def codegen(context, builder, sig, args):
        return _shuffle(builder, args[0], args[0], [value.lanes - 1] * value.lanes)

    return value(value), codegen


@intrinsic
def lane_sum(typing, value):
    """Sum of the lanes, halves first: the same order on every machine."""

    def codegen(context, builder, sig, args):
        (total,) = args
        add = builder.fadd if value.is_float else builder.add
        half = value.lanes // 2
        while half:
            low = _shuffle(builder, total, total, list(range(half)))
            high = _shuffle(builder, total, total, list(range(half, 2 * half)))
            total, half = add(low, high), half // 2
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return value.elem(value), codegen


def _half(part):
    @intrinsic
    def half(typing, value):
        """Lanes 0, 2, 4 … (or 1, 3, 5 …) of a vector, as a vector of half the width."""
        out = vector(value.elem, value.lanes // 2)

        def codegen(context, builder, sig, args):
            return _shuffle(builder, args[0], args[0], list(range(part, value.lanes, 2)))

        return out(value), codegen

    return half


even_lanes, odd_lanes = _half(0), _half(1)

# --------------------------------------------------------------------------- any lane count


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
            where = _pointer(context, builder, sig.args[1], args[1], builder.add(start, args[3]))
            piece = builder.load(builder.bitcast(where, part.ir.as_pointer()))
            piece.align = vec.elem.bitwidth // 8
            pieces.append(piece)
        while len(pieces) > 1:
            lanes = list(range(2 * pieces[0].type.count))
            pieces = [
                _shuffle(builder, a, b, lanes)
                for a, b in zip(pieces[::2], pieces[1::2], strict=True)
            ]
        return pieces[0]

    return vec(like, array, base, types.intp), codegen


@intrinsic
def lanes_of(typing, like):
    """How many lanes ``like`` has, a constant in the code."""

    def codegen(context, builder, sig, args):
        return ir.Constant(ir.IntType(64), like.lanes)

    return types.int64(like), codegen


@intrinsic
def splat_like(typing, like, scalar):
    """``scalar`` in as many lanes as ``like`` has."""
    vec = vector(scalar, like.lanes)

    def codegen(context, builder, sig, args):
        return _broadcast(builder, vec, args[1])

    return vec(like, scalar), codegen


@intrinsic
def gather8(typing, array, index, start):
    """Eight numbers of ``array`` at the flat indices ``index[start]`` to ``index[start + 7]``."""
    vec = vector(array.dtype, 8)

    def codegen(context, builder, sig, args):
        result = ir.Constant(vec.ir, ir.Undefined)
        first = _pointer(context, builder, sig.args[1], args[1], args[2])
        for lane in range(8):
            k = ir.Constant(ir.IntType(32), lane)
            where = builder.sext(builder.load(builder.gep(first, [k])), ir.IntType(64))
            value = builder.load(_pointer(context, builder, sig.args[0], args[0], where))
            result = builder.insert_element(result, value, k)
        return result

    return vec(array, index, types.intp), codegen


@intrinsic
def lane(typing, value, index):
    """One lane of a vector; the index may vary."""

    def codegen(context, builder, sig, args):
        return builder.extract_element(*args)

    return value.elem(value, types.intp), codegen


@intrinsic
def from_bits(typing, value):
    """A vector of float32 with the bits of a vector of int32."""
    out = vector(types.float32, value.lanes)

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[0], out.ir)

    return out(value), codegen


@intrinsic
def interleave(typing, vectors):
    """Lane 0 of each of n vectors, then lane 1 of each ..., as n vectors of the same width."""
    count, lanes = len(vectors), vectors[0].lanes

    def codegen(context, builder, sig, args):
        given = [builder.extract_value(args[0], i) for i in range(count)]
        joined = given[0]
        for i in range(1, count):  # side by side: lane k of vector i is number i * lanes + k
            wide = _shuffle(builder, given[i], given[i], [k % lanes for k in range(i * lanes)])
            joined = _shuffle(
                builder, joined, wide, [*range(i * lanes), *range(i * lanes, i * lanes + lanes)]
            )
        out = ir.Constant(context.get_value_type(vectors), ir.Undefined)
        for i in range(count):
            order = [(i * lanes + n) % count * lanes + (i * lanes + n) // count
                     for n in range(lanes)]  # fmt: skip
            out = builder.insert_value(out, _shuffle(builder, joined, joined, order), i)
        return out

    return vectors(vectors), codegen


# --------------------------------------------------------------------------- by address


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
        where = _pointer(context, builder, sig.args[0], args[0], args[1])
        return builder.atomic_rmw("add", where, args[2], "seq_cst")

    return types.int64(array, types.int64, types.int64), codegen


@intrinsic
def atomic_load(typing, array, index):
    """``array.flat[index]`` (int64), with all that was written before it was."""

    def codegen(context, builder, sig, args):
        where = _pointer(context, builder, sig.args[0], args[0], args[1])
        return builder.load_atomic(where, "acquire", 8)

    return types.int64(array, types.int64), codegen


@intrinsic
def add_to(typing, total, value):
    """``total + value`` with the lanes of ``value`` widened to those of ``total`` where needed."""

    def codegen(context, builder, sig, args):
        widened = args[1] if total == value else builder.fpext(args[1], total.ir)
        return builder.fadd(args[0], widened)

    return total(total, value), codegen
