"""Product of two matrices, by the register tiles of the dense layers (`gemm`)."""

from numba import float32, int64, void

from nets.kernels.gemm import TILE, multiply, places, rows_of_tile
from vj.kernels.jit import device, kernel, ro, rw
from vj.kernels.simd import lanes_of, load_like, splat8, splat16, store, tile_store

CACHE = 1 << 15  # floats of the left matrix that stay near while all columns are computed
LONG = 1 << 40  # a row of pixels that never ends


@device
def pack_panel(like, b, work, inner, columns, k, wide):
    """Columns k to k + wide of b one row after the other; zeros fill up the lanes of `like`."""
    lanes = lanes_of(like)
    for c in range(inner):
        if wide == lanes:
            store(work, c * lanes, load_like(like, b, c * columns + k, 0))
        else:
            for j in range(lanes):
                work[c * lanes + j] = b[c * columns + k + j] if j < wide else float32(0)


@device
def panel(like, a, b, out, inner, columns, top, bottom, k, wide, work):
    """Rows top to bottom of columns k to k + wide, which are at most the lanes of `like`."""
    pack_panel(like, b, work, inner, columns, k, wide)
    lanes = lanes_of(like)
    spare, zero = lanes * inner, int64(0)
    six = (like, like, like, like, like, like)
    i = top
    while i < bottom:
        left = bottom - i
        count = rows_of_tile(left)
        where = places(left, zero, zero, LONG, i * inner, zero, inner)
        whole = wide == lanes
        origin, step = (i * columns + k, columns) if whole else (spare, lanes)
        target = places(left, zero, zero, LONG, origin, zero, step)
        into = out if whole else work
        if count == TILE:
            tile_store(multiply(six, a, where, zero, inner, lanes, work, zero), into, target, 0)
        else:
            four = multiply(six[:4], a, where[:4], zero, inner, lanes, work, zero)
            tile_store(four, into, target[:4], 0)
        if not whole:
            for r in range(min(count, left)):
                for j in range(wide):
                    out[(i + r) * columns + k + j] = work[spare + r * lanes + j]
        i += count


@kernel(
    void(
        ro(float32, 1), ro(float32, 1), rw(float32, 1), int64, int64, int64, int64,
        rw(float32, 1),
    )
)  # fmt: skip
def product(a, b, out, inner, columns, first, last, work):
    """Rows first to last of out (rows, columns) = a (rows, inner) @ b (inner, columns).

    work : 16 * (inner + 6) floats, private to the calling thread.
    """
    block = max(48, CACHE // max(inner, 1))
    for top in range(first, last, block):
        bottom = min(top + block, last)
        for k in range(0, columns, 16):
            wide = min(columns - k, 16)
            if wide > 8:
                like = splat16(float32(0))
                panel(like, a, b, out, inner, columns, top, bottom, k, wide, work)
            else:
                few = splat8(float32(0))
                panel(few, a, b, out, inner, columns, top, bottom, k, wide, work)
