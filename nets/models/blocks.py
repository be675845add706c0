"""Building blocks shared by several architectures."""

from __future__ import annotations

from nets.nn import init
from nets.nn.layers import BatchNorm2d, Conv2d, Linear, Module, ReLU, ReLU6, Sequential


def scaled_channels(channels: int, width: float, step: int = 1) -> int:
    """Scale channels to a multiple of ``step``, at most 10 % below the exact product."""
    wanted = channels * width
    found = max(step, int(wanted + step / 2) // step * step)
    return found + step if found < 0.9 * wanted else found


def conv_norm(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    dilation: int = 1,
    activation: type[ReLU] | type[ReLU6] | None = ReLU,
) -> Sequential:
    """Return a "same" convolution, batch normalisation and an activation."""
    padding = (kernel - 1) // 2 * dilation
    return Sequential(
        Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False),
        BatchNorm2d(outputs),
        *(() if activation is None else (activation(),)),
    )


def he_fan_out(model: Module, linear: float | None = None) -> None:
    """Initialise as torchvision does: He normal (fan-out), zero biases, linear layers N(0, linear).

    Linear layers are left unchanged if ``linear`` is None.
    """

    def initialise(layer: Module) -> None:
        if isinstance(layer, Conv2d):
            shape = layer.weight.shape
            layer.weight.data = init.he_normal(shape, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, Linear) and linear is not None:
            layer.weight.data = init.normal(layer.weight.shape, linear)
        else:
            return
        if layer.bias is not None:
            layer.bias.data[:] = 0

    model.apply(initialise)
