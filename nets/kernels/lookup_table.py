"""Pixel values through lookup tables."""

from numba import uint8, void

from vj.kernels.jit import kernel, ro, rw


@kernel(void(ro(uint8, 3), ro(uint8, 2), rw(uint8, 3)))
def look_up(pixels, table, out):
    """Fill ``out`` (H, W, 3) with the values of ``pixels``, each channel by its row of a table.

    table (3, 256): the new value of each value.
    """
    rows, cols, _ = pixels.shape
    for y in range(rows):
        for x in range(cols):
            for c in range(3):
                out[y, x, c] = table[c, pixels[y, x, c]]
