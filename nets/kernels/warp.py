"""Set one colour image into another through an affine map, with an opacity for every pixel."""

from numba import float64, int64, uint8, uint32, uint64, void

from vj.kernels.jit import device, kernel, ro, rw

BYTES = uint64(0x00FF00FF00FF00FF)  # four bytes of a pixel, one in each lane of 16 bits
HALF = uint64(0x0080008000800080)


@device
def _spread(pixel):
    """The bytes 0, 2, 1, 3 of a pixel in lanes of 16 bits."""
    p = uint64(pixel)
    return (p & uint64(0x00FF00FF)) | (((p >> uint64(8)) & uint64(0x00FF00FF)) << uint64(32))


@device
def _mix(a, b, w):
    """(256 - w) a + w b of every lane, over 256."""
    w = uint64(w)
    return (((uint64(256) - w) * a + w * b + HALF) >> uint64(8)) & BYTES


@device
def _blend(old, new, share):
    x = uint64(old) * (uint64(255) - share) + (new & uint64(255)) * share + uint64(128)
    return uint8((x + (x >> uint64(8))) >> uint64(8))  # x / 255, rounded


@kernel(void(ro(uint32, 2), ro(float64, 1), int64, int64, int64, int64, rw(uint8, 3)))
def warp_into(image, back, left, top, right, bottom, out):
    """Blend the image over ``out`` in the columns left to right - 1, rows top to bottom - 1.

    image (h, w): pixels of four bytes in the order of memory, red, green, blue, opacity, on a
    little-endian machine.  back (6,): the point (x, y) of ``out`` is the point
    (b0 x + b1 y + b2, b3 x + b4 y + b5) of the image; points are measured from the corner, so that
    the centres of pixels are at 0.5.  Bilinear between centres; beyond the image nothing is drawn,
    within half a pixel of its border the border is repeated.  The ranges lie within ``out``
    (H, W, 3).
    """
    high, wide = image.shape[0], image.shape[1]
    for y in range(top, bottom):
        for x in range(left, right):
            u = back[0] * (x + 0.5) + back[1] * (y + 0.5) + back[2]
            v = back[3] * (x + 0.5) + back[4] * (y + 0.5) + back[5]
            if not (0.0 <= u < wide and 0.0 <= v < high):
                continue
            i, j = int64(v + 0.5) - 1, int64(u + 0.5) - 1
            wy, wx = int64((v - 0.5 - i) * 256.0), int64((u - 0.5 - j) * 256.0)
            i0, i1 = uint64(max(i, 0)), uint64(min(i + 1, high - 1))
            j0, j1 = uint64(max(j, 0)), uint64(min(j + 1, wide - 1))
            upper = _mix(_spread(image[i0, j0]), _spread(image[i0, j1]), wx)
            lower = _mix(_spread(image[i1, j0]), _spread(image[i1, j1]), wx)
            pixel = _mix(upper, lower, wy)
            share = pixel >> uint64(48)
            r, c = uint64(y), uint64(x)
            if share == uint64(255):
                out[r, c, 0] = uint8(pixel & uint64(255))
                out[r, c, 1] = uint8((pixel >> uint64(32)) & uint64(255))
                out[r, c, 2] = uint8((pixel >> uint64(16)) & uint64(255))
            elif share > uint64(0):
                out[r, c, 0] = _blend(out[r, c, 0], pixel, share)
                out[r, c, 1] = _blend(out[r, c, 1], pixel >> uint64(32), share)
                out[r, c, 2] = _blend(out[r, c, 2], pixel >> uint64(16), share)
