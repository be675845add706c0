"""Reference implementations of the layers in plain loops, for reading and for tests.

Arrays are (N, C, H, W) as in papers and PyTorch; sums are float64. Nothing here is fast: a layer of
64 channels takes seconds. References: Dumoulin & Visin, A guide to convolution arithmetic for deep
learning, 2016; the papers named at each function.
"""

from nets.reference.activation import hard_swish, leaky_relu, maxout, relu, relu6, sigmoid, softmax
from nets.reference.convolution import conv2d, conv_transpose2d, convolve2d, correlate2d
from nets.reference.normalisation import batch_norm, group_norm, local_response_norm
from nets.reference.recurrent import gru_step, lstm_step
from nets.reference.sampling import (
    adaptive_avg_pool2d,
    avg_pool2d,
    bilinear_kernel,
    max_pool2d,
    max_unpool2d,
    upsample_bilinear,
    upsample_nearest,
)

__all__ = [
    "adaptive_avg_pool2d",
    "avg_pool2d",
    "batch_norm",
    "bilinear_kernel",
    "conv2d",
    "conv_transpose2d",
    "convolve2d",
    "correlate2d",
    "group_norm",
    "gru_step",
    "hard_swish",
    "leaky_relu",
    "local_response_norm",
    "lstm_step",
    "max_pool2d",
    "max_unpool2d",
    "maxout",
    "relu",
    "relu6",
    "sigmoid",
    "softmax",
    "upsample_bilinear",
    "upsample_nearest",
]
