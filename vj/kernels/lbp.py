"""Multi-block local binary patterns (Zhang et al. 2007, section 3)."""

from numba import int32, int64, uint8, void

from vj.kernels.integral import box_sum
from vj.kernels.jit import device, kernel, ro, rw


@device
def lbp_code(ii, origin, pitch, x, y, w, h):
    """Code of the 3 x 3 cells of ``w`` by ``h`` pixels whose first one is at (x, y).

    One bit a neighbour, set where it is not darker than the centre: clockwise from the top left,
    which is the highest bit.
    """
    centre = box_sum(ii, origin, pitch, x + w, y + h, w, h)
    code = 128 * (box_sum(ii, origin, pitch, x, y, w, h) >= centre)
    code += 64 * (box_sum(ii, origin, pitch, x + w, y, w, h) >= centre)
    code += 32 * (box_sum(ii, origin, pitch, x + 2 * w, y, w, h) >= centre)
    code += 16 * (box_sum(ii, origin, pitch, x + 2 * w, y + h, w, h) >= centre)
    code += 8 * (box_sum(ii, origin, pitch, x + 2 * w, y + 2 * h, w, h) >= centre)
    code += 4 * (box_sum(ii, origin, pitch, x + w, y + 2 * h, w, h) >= centre)
    code += 2 * (box_sum(ii, origin, pitch, x, y + 2 * h, w, h) >= centre)
    return code + (box_sum(ii, origin, pitch, x, y + h, w, h) >= centre)


@kernel(void(ro(int32, 2), ro(int64, 2), ro(int32, 2), rw(uint8, 2)))
def lbp_responses(ii, corners, blocks, out):
    """Fill ``out`` (n, F) with the codes of F blocks in n windows.

    ii : (H+1, W+1).  corners : (n, 2) x, y of the windows.  blocks : (F, 4) x, y in the window of
    the first cell, w, h of one cell.
    """
    pitch = ii.shape[1]
    for i in range(corners.shape[0]):
        origin = corners[i, 1] * pitch + corners[i, 0]
        for f in range(blocks.shape[0]):
            x, y, w, h = blocks[f, 0], blocks[f, 1], blocks[f, 2], blocks[f, 3]
            out[i, f] = lbp_code(ii, origin, pitch, x, y, w, h)
