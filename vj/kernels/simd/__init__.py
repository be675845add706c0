"""A small vocabulary of SIMD vectors for Numba; the only folder that touches llvmlite.

A vector is a Numba type that is lowered to an LLVM vector, so LLVM picks the instructions: a vector
of eight float32 is one AVX register, two SSE or NEON registers, half an AVX-512 register. The
vocabulary is the same for every lane count; loads and splats name theirs (``load8``, ``splat16``).

Loads and stores are unaligned, unchecked and take a flat index into a C-contiguous array of any
rank: the caller proves that ``0 <= i`` and ``i + lanes <= array.size``.

    acc = splat8(float32(0))
    acc = fma(load8(weights, k), load8(pixels, i), acc)
    alive = mask_bits(ge(acc, splat8(threshold)))

Under ``NUMBA_DISABLE_JIT=1`` the words are those of `vj.kernels.simd.plain`. They check bounds, and
so does machine code that is compiled under ``NUMBA_BOUNDSCHECK=1``.
"""

from numba import config

from vj.kernels.simd import plain
from vj.kernels.simd.addresses import (
    address,
    array_f32,
    array_i64,
    array_u8,
    atomic_add,
    atomic_load,
    atomic_store,
    call,
    call_described,
    call_plain,
    pause,
)
from vj.kernels.simd.arithmetic import (
    add_to,
    fabs,
    floor,
    fma,
    from_bits,
    sqrt,
    to_f32,
    to_f64,
    to_i32,
    to_i64,
    to_u8,
    to_u16,
    to_u32,
)
from vj.kernels.simd.call_descriptors import caller_of, places, write_descriptor
from vj.kernels.simd.comparison import eq, ge, gt, le, lt, mask_bits, select, vmax, vmin
from vj.kernels.simd.lanes import (
    interleave,
    lane,
    lane_sum,
    lanes_of,
    last_lane,
    prefix_sum,
    splat8,
    splat16,
    splat32,
    splat_like,
    transpose8,
)
from vj.kernels.simd.memory import (
    at,
    gather8,
    load8,
    load8_part,
    load16,
    load32,
    load_like,
    opaque,
    store,
    store_part,
)
from vj.kernels.simd.tiles import (
    places_apart,
    tile_add,
    tile_clamp,
    tile_fma,
    tile_load,
    tile_mul_add,
    tile_outer,
    tile_slide,
    tile_slope,
    tile_store,
)
from vj.kernels.simd.vectors import WIDEST

if config.DISABLE_JIT:
    globals().update((w, getattr(plain, w)) for w in dir(plain) if w in globals() and w[0] != "_")
