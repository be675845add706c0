"""Layers with PyTorch's names, arguments, parameters and initialisation.

`module` holds the base class; every other file holds one kind of layer. Layers are thin: they keep
parameters and pass them to an op of `nets.autograd.ops`.
"""

from nets.nn.layers.activation import (
    Dropout,
    Hardswish,
    LeakyReLU,
    LogSoftmax,
    Maxout,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
)
from nets.nn.layers.container import ModuleList, Sequential
from nets.nn.layers.convolution import Conv2d, ConvTranspose2d
from nets.nn.layers.linear import Embedding, Flatten, Identity, Linear
from nets.nn.layers.module import Module, Parameter
from nets.nn.layers.normalisation import (
    BatchNorm1d,
    BatchNorm2d,
    GroupNorm,
    LayerNorm,
    LocalResponseNorm,
)
from nets.nn.layers.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d, MaxUnpool2d, Upsample
from nets.nn.layers.recurrent import GRU, LSTM, RNN

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "ConvTranspose2d",
    "Dropout",
    "Embedding",
    "Flatten",
    "GroupNorm",
    "Hardswish",
    "Identity",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "LogSoftmax",
    "MaxPool2d",
    "MaxUnpool2d",
    "Maxout",
    "Module",
    "ModuleList",
    "PReLU",
    "Parameter",
    "ReLU",
    "ReLU6",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "Upsample",
]
