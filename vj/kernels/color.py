"""Colour to gray in the fixed point arithmetic of OpenCV."""

from numba import int32, uint8, void

from vj.kernels.jit import device, kernel, ro, rw
from vj.kernels.simd import at


@device
def _weigh(color, channels, first, second, third, out):
    # `channels` is a constant wherever this is compiled in: fixed strides are what vectorises.
    pixels = out.shape[0] * out.shape[1]
    flat = out.reshape(pixels)
    for i in range(pixels):
        a = int32(at(color, channels * i))
        b = int32(at(color, channels * i + 1))
        c = int32(at(color, channels * i + 2))
        flat[i] = uint8((a * first + b * second + c * third + int32(16384)) >> int32(15))


@kernel(void(ro(uint8, 3), int32, int32, int32, rw(uint8, 2)))
def weigh_channels(color, first, second, third, out):
    """Fill ``out`` (H, W) with the weighted sum of the first three channels, over 2**15.

    color : (H, W, 3) or (H, W, 4); a fourth channel is ignored.  The weights sum to 2**15.
    """
    if color.shape[2] == 3:
        _weigh(color, 3, first, second, third, out)
    else:
        _weigh(color, 4, first, second, third, out)
