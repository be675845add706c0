"""Packing of weights and geometry for the layer kernels, once per layer, in NumPy.

A layer is packed in two steps: ``pack_*`` turns torch-shaped weights into a `Packed`, independent
of the image size; ``*_shape`` adds the layouts of input and output (`TensorLayout`) and writes the
``shape`` array of the kernel. `nets.kernels.conv` describes the common calling convention.
"""

from nets.conv.packing.depthwise import depthwise_shape, pack_depthwise
from nets.conv.packing.direct import (
    direct_shape,
    pack_direct,
    pack_transposed,
    transposed_halo,
    transposed_shape,
)
from nets.conv.packing.winograd import pack_transposed_winograd, pack_winograd, winograd_shape
from nets.conv.tensor_layout import Packed, Phase, TensorLayout, aligned, padded

__all__ = [
    "Packed",
    "Phase",
    "TensorLayout",
    "aligned",
    "depthwise_shape",
    "direct_shape",
    "pack_depthwise",
    "pack_direct",
    "pack_transposed",
    "pack_transposed_winograd",
    "pack_winograd",
    "padded",
    "transposed_halo",
    "transposed_shape",
    "winograd_shape",
]
