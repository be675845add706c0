"""The register tile of every dense layer: six (or four) pixels by sixteen (or eight) channels.

Six vectors of sixteen float32 are twelve AVX registers (of sixteen, two more hold the weights and
one the pixel), six AVX-512 registers, or twenty-four NEON registers. One step multiplies one
channel of each pixel with sixteen weights: six broadcasts, one load, no store. The pixels need not
lie side by side: six addresses cost no more than one and a stride, so a tile runs over the end of a
row into the next one and maps of any width fill it.

Each output is one chain of fused multiply-adds in the order of the weights, whatever tile it falls
into. That is why row bands, any number of threads and remainders give the identical answer.

References: Goto & van de Geijn, Anatomy of high-performance matrix multiplication, ACM TOMS 34(3),
2008; Georganas et al., Anatomy of high-performance deep learning convolutions, SC 2018.
"""

from numba import int64

from vj.kernels.jit import device
from vj.kernels.simd import load_like, tile_outer

TILE = 6  # pixels


@device
def place(k, left, i, j, cols, at, row, pixel):
    """Pixel k after (i, j), which lies at `at`; the last of the `left` remaining ones repeated."""
    k = min(k, left - 1)
    if cols >= TILE:  # at most one row ends on the way
        return at + k * pixel + (row - cols * pixel if j + k >= cols else 0)
    return at + (j + k) // cols * row + ((j + k) % cols - j) * pixel


@device
def places(left, i, j, cols, origin, row, pixel):
    """Flat indices of the six pixels from row i, column j on.

    Numbers are wrapped as int64 where they go into a function: Numba compiles one more version of
    it for every literal.
    """
    at = origin + i * row + j * pixel
    if j + TILE <= cols and left >= TILE:
        return (at, at + pixel, at + 2 * pixel, at + 3 * pixel, at + 4 * pixel, at + 5 * pixel)
    return (
        at,
        place(int64(1), left, i, j, cols, at, row, pixel),
        place(int64(2), left, i, j, cols, at, row, pixel),
        place(int64(3), left, i, j, cols, at, row, pixel),
        place(int64(4), left, i, j, cols, at, row, pixel),
        place(int64(5), left, i, j, cols, at, row, pixel),
    )


@device
def rows_of_tile(left):
    """Pixels of the next tile: six, or four where that leaves fewer repetitions at the end."""
    return TILE if left > 8 or left == 5 or left == 6 else 4


@device
def multiply(tile, x, where, offset, run, lanes, weights, at):
    """Add (`run` channels of each pixel from `offset` on) x (`run` rows of `lanes` weights)."""
    for c in range(run):
        tile = tile_outer(tile, x, where, offset + c, load_like(tile[0], weights, at, c * lanes))
    return tile
