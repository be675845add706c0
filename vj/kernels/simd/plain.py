"""Every word of the vocabulary in NumPy; these run where ``NUMBA_DISABLE_JIT=1`` turns Numba off.

Kernels are ordinary Python functions then, which a debugger steps through and coverage measures.
A vector is an array of its lanes. Loads and stores check the bounds, which machine code does not.
Results are those of the machine code, but for a fused multiply-add of float64, which may differ in
the last place (that of float32 is rounded twice, which shows in one of some 2**29 results).
"""

from __future__ import annotations

import ctypes
import inspect
import threading
import time
from functools import cache, wraps
from typing import Any

import numpy as np
from numba import types
from numba.np.numpy_support import as_dtype

from vj.kernels.simd.call_descriptors import places

_WIDER = {np.dtype("f4"): np.float64, np.dtype("f8"): np.longdouble}
_atomic = threading.RLock()


# --------------------------------------------------------------------------- calls of kernels


def interpreted(function, signature):
    """``function`` with the conversions, checks and silence of a kernel of that signature."""
    kinds = signature.args
    if function.__code__.co_flags & inspect.CO_VARARGS:
        kinds = (*kinds[:-1], *kinds[-1].types)

    @wraps(function)
    def run(*args):
        given = [_converted(arg, kind) for arg, kind in zip(args, kinds, strict=True)]
        with np.errstate(all="ignore"):
            return _converted(function(*given), signature.return_type)

    return run


def _converted(value, kind):
    """A value as a compiled kernel receives or returns it; arrays of another kind are refused."""
    if isinstance(kind, types.Array):
        if not (
            isinstance(value, np.ndarray)
            and (value.dtype, value.ndim) == (as_dtype(kind.dtype), kind.ndim)
            and value.flags.c_contiguous
            and (value.flags.writeable or not kind.mutable)
        ):
            raise TypeError(f"no conversion to {kind} from {type(value)}")
        return value
    if isinstance(kind, types.BaseTuple):
        return tuple(_converted(v, k) for v, k in zip(value, kind.types, strict=True))
    if isinstance(kind, types.Integer):
        return int(value)
    return None if value is None else as_dtype(kind).type(value)


# --------------------------------------------------------------------------- loads and stores


def _flat(array, index, count=1):
    """The array in one dimension, of which ``count`` numbers from ``index`` on are wanted."""
    if not (array.flags.c_contiguous and 0 <= index <= array.size - count):
        raise IndexError(f"numbers {index} to {index + count - 1} of {array.size}")
    return array.reshape(-1)


def _load(lanes):
    def load(array, index):
        return _flat(array, index, lanes)[index : index + lanes].copy()

    return load


load8, load16, load32 = _load(8), _load(16), _load(32)


def store(array, index, value):
    _flat(array, index, value.size)[index : index + value.size] = value


def load8_part(array, index, count):
    found, count = np.zeros(8, array.dtype), min(max(count, 0), 8)
    if count:
        found[:count] = _flat(array, index, count)[index : index + count]
    return found


def store_part(array, index, value, count):
    count = min(max(count, 0), 8)
    if count:
        store(array, index, value[:count])


def at(array, index):
    return _flat(array, index)[index]


def load_like(like, array, base, offset):
    starts = base if isinstance(base, tuple) else (base,)
    part = _load(like.size // len(starts))
    return np.concatenate([part(array, start + offset) for start in starts])


def gather8(array, index, start):
    where = load8(index, start)
    _flat(array, where.min())
    return _flat(array, where.max())[where]


def opaque(index):
    return index


# --------------------------------------------------------------------------- lanes


def _splat(lanes):
    def splat(scalar):
        return np.full(lanes, scalar)

    return splat


splat8, splat16, splat32 = _splat(8), _splat(16), _splat(32)


def splat_like(like, scalar):
    return np.full(like.size, scalar)


def lanes_of(like):
    return like.size


def lane(value, index):
    return value[index]


def prefix_sum(value):
    step = 1
    while step < value.size:
        moved = np.zeros_like(value)
        moved[step:] = value[:-step]
        value, step = moved + value, 2 * step
    return value


def last_lane(value):
    return np.full_like(value, value[-1])


def lane_sum(value):
    while value.size > 1:
        value = value[: value.size // 2] + value[value.size // 2 :]
    return value[0]


def interleave(vectors):
    return tuple(np.stack(vectors, 1).reshape(len(vectors), -1))


def transpose8(rows):
    return tuple(np.stack(rows, 1))


# --------------------------------------------------------------------------- arithmetic


def fma(a, b, c):
    wide = _WIDER[a.dtype]
    return (a.astype(wide) * b + c).astype(a.dtype)


sqrt, floor, fabs = np.sqrt, np.floor, np.abs


def add_to(total, value):
    return total + value.astype(total.dtype)


def _convert(kind):
    def convert(value):
        return value.astype(kind)

    return convert


to_f32, to_f64, to_i32 = _convert(np.float32), _convert(np.float64), _convert(np.int32)
to_i64, to_u8, to_u16 = _convert(np.int64), _convert(np.uint8), _convert(np.uint16)
to_u32 = _convert(np.uint32)


def from_bits(value):
    return value.view(np.float32)


lt, le, gt, ge, eq = np.less, np.less_equal, np.greater, np.greater_equal, np.equal
select = np.where


def vmax(a, b):
    return np.where(a > b, a, b)


def vmin(a, b):
    return np.where(a < b, a, b)


def mask_bits(mask):
    return np.packbits(mask, bitorder="little").view(f"u{mask.size // 8}")[0]


# --------------------------------------------------------------------------- tiles


def tile_outer(tile, x, places, offset, v):
    factors = np.array([at(x, place + offset) for place in places])
    return tuple(fma(factors[:, None], v, np.stack(tile)))


def tile_fma(tile, x, places, offset, v):
    return tuple(fma(load_like(v, x, p, offset), v, t) for t, p in zip(tile, places, strict=True))


def tile_slide(tile, x, start, step, w):
    found = list(tile)
    for q in range(len(tile) + len(w) - 1):
        pixel = load_like(tile[0], x, start, q * step)
        for v in range(len(w)):
            if 0 <= q - v < len(tile):
                found[q - v] = fma(pixel, w[v], found[q - v])
    return tuple(found)


def tile_load(like, array, start, step):
    return tuple(load_like(like, array, start, i * step) for i in range(4))


def tile_mul_add(a, b, c):
    return tuple(map(fma, a, b, c))


def tile_add(tile, x, places, offset):
    return tuple(v + load_like(v, x, p, offset) for v, p in zip(tile, places, strict=True))


def places_apart(tile, start, step, last):
    return tuple(start + max(0, min(i, last)) * step for i in range(len(tile)))


def tile_clamp(tile, lo, hi):
    def clamp(v):
        v = np.where(lo > v, lo, v)
        return np.where(hi < v, hi, v)

    return tuple(map(clamp, tile))


def tile_slope(tile, slope):
    return tuple(np.where(v < 0, v * slope, v) for v in tile)


def tile_store(tile, y, places, offset):
    for v, place in reversed(list(zip(tile, places, strict=True))):
        store(y, place + offset, v)


# --------------------------------------------------------------------------- addresses


class _Memory:
    """Numbers at an address, as NumPy accepts them."""

    def __init__(self, address, shape, kind):
        self.__array_interface__ = {
            "data": (int(address), False),
            "shape": tuple(map(int, shape)),
            "typestr": as_dtype(kind).str,
            "version": 3,
        }


def _array_at(kind):
    def array_at(address, size):
        return np.asarray(_Memory(address, (size,), kind))

    return array_at


array_f32, array_i64 = _array_at(types.float32), _array_at(types.int64)
array_u8 = _array_at(types.uint8)


def address(array):
    return array.__array_interface__["data"][0]


def _object_at(address):
    """The Python function that stands for machine code: its address is its ``id``."""
    return ctypes.cast(int(address), ctypes.py_object).value


def call(address, args):
    _object_at(address)(*args)


def call_plain(address, number):
    return ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(int(address))(number)


def atomic_add(array, index, value):
    with _atomic:
        before = array[index]
        array[index] += value
        return before


def atomic_load(array, index):
    return array[index]


def atomic_store(array, index, value):
    array[index] = value


def pause():
    time.sleep(0)


# --------------------------------------------------------------------------- descriptors


@cache
def caller_of(kinds, band):
    def caller(descriptor, first, last):
        args, place = [], descriptor + 8
        for k, kind in enumerate(kinds):
            if band >= 0 and k in (band, band + 1):
                args.append(first if k == band else last)
            elif isinstance(kind, types.Array):
                start, *sizes = array_i64(place, 1 + kind.ndim)
                args.append(np.asarray(_Memory(start, sizes, kind.dtype)))
            else:
                args.append(np.asarray(_Memory(place, (), kind))[()])
            place += 8 * places(kind)
        call(array_i64(descriptor, 1)[0], args)

    _kept.append(caller)
    return id(caller)


_kept: list[Any] = []  # a caller lives as long as its address may be used


def call_described(caller, descriptor, first, last):
    call(caller, (descriptor, first, last))


def write_descriptor(table, at, args):
    for value in args:
        if isinstance(value, np.ndarray):
            table[at : at + 1 + value.ndim] = address(value), *value.shape
            at += value.ndim
        elif isinstance(value, np.floating):
            table[at : at + 1].view(value.dtype)[0] = value
        else:
            table[at] = value
        at += 1
