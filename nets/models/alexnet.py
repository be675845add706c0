"""Single-tower AlexNet: 61,100,840 parameters, torchvision's names.

References: Krizhevsky et al., ImageNet classification with deep convolutional neural networks, NIPS
2012; Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014 (one tower).
"""

from __future__ import annotations

from nets.autograd.tensor import Tensor
from nets.models.blocks import scaled_channels
from nets.nn.layers import (
    AdaptiveAvgPool2d,
    Conv2d,
    Dropout,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
)


class AlexNet(Module):
    """AlexNet for images of about 224 pixels.

    Parameters
    ----------
    num_classes, in_channels : int
    dropout : float
    width : float
        Multiplier of all channels and hidden units.
    response_norm : bool
        If True, local response normalisation follows the first two convolutions, as in the 2012
        paper; it has no parameters and parameter names stay the same.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        dropout: float = 0.5,
        width: float = 1.0,
        response_norm: bool = False,
    ) -> None:
        a, b, c, d, hidden = (scaled_channels(n, width) for n in (64, 192, 384, 256, 4096))
        norm = LocalResponseNorm(5, alpha=5e-4, k=2.0)  # the paper's 1e-4 times 5: a mean here
        self.features = Sequential(
            {"0": Conv2d(in_channels, a, 11, stride=4, padding=2), "1": ReLU()},
            {"norm1": norm} if response_norm else {},
            {"2": MaxPool2d(3, 2), "3": Conv2d(a, b, 5, padding=2), "4": ReLU()},
            {"norm2": norm} if response_norm else {},
            {
                "5": MaxPool2d(3, 2),
                "6": Conv2d(b, c, 3, padding=1),
                "7": ReLU(),
                "8": Conv2d(c, d, 3, padding=1),
                "9": ReLU(),
                "10": Conv2d(d, d, 3, padding=1),
                "11": ReLU(),
                "12": MaxPool2d(3, 2),
            },
        )
        self.avgpool = AdaptiveAvgPool2d((6, 6))
        self.classifier = Sequential(
            Dropout(dropout),
            Linear(d * 36, hidden),
            ReLU(),
            Dropout(dropout),
            Linear(hidden, hidden),
            ReLU(),
            Linear(hidden, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) of images (N, in_channels, H, W)."""
        x = self.avgpool(self.features(x))
        return self.classifier(x.reshape(len(x), -1))
