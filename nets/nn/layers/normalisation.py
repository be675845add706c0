"""Normalisation layers."""

from __future__ import annotations

import numpy as np

from nets.arrays import Array
from nets.autograd.ops import normalisation
from nets.autograd.tensor import Tensor
from nets.nn.layers.module import Module, Parameter
from nets.nn.layers.pairs import count
from vj.errors import NetError


class BatchNorm2d(Module):
    """Batch normalisation of channels, as ``torch.nn.BatchNorm2d``.

    Parameters
    ----------
    num_features : int
        Channels.
    eps : float
        Added to the variance.
    momentum : float or None
        Weight of the batch in the running statistics; None averages all batches equally.
    affine : bool
        If True, a scale and a shift are trained.
    track_running_stats : bool
        If True, running statistics are kept and used in evaluation mode.

    References
    ----------
    Ioffe & Szegedy, Batch normalization, ICML 2015.
    """

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Array | None
    running_var: Array | None
    num_batches_tracked: Array | None
    _ranks: tuple[int, ...] = (4,)

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        self.num_features = count("num_features", num_features)
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = affine_of((num_features,), affine)
        self.running_mean = self.running_var = self.num_batches_tracked = None
        if track_running_stats:
            self.running_mean = np.zeros(num_features, np.float32)
            self.running_var = np.ones(num_features, np.float32)
            self.num_batches_tracked = np.zeros((), np.int64)

    def forward(self, x: Tensor, activation: str | None = None) -> Tensor:
        """Normalise (N, C, H, W), optionally fused with "relu" or "relu6".

        Raises
        ------
        NetError
            The channels differ, or a training batch has one value per channel (no variance).
        """
        if x.ndim not in self._ranks or x.shape[1] != self.num_features:
            raise NetError(
                f"{type(self).__name__} of {self.num_features} channels does not take an input of "
                f"shape {x.shape}"
            )
        running, share, batches = None, self.momentum, self.num_batches_tracked
        if self.running_mean is not None and self.running_var is not None:
            running = self.running_mean, self.running_var
        if share is None:
            share = 0.0 if batches is None else 1 / (1 + int(batches))
        y = normalisation.batch_norm(
            x, self.weight, self.bias, running=running, training=self.training or running is None,
            momentum=share, eps=self.eps, activation=activation,
        )  # fmt: skip
        if self.training and batches is not None:
            batches += 1
        return y


class BatchNorm1d(BatchNorm2d):
    """Batch normalisation of (N, C) vectors or (N, C, L) rows, as ``torch.nn.BatchNorm1d``."""

    _ranks = (2, 3)


class GroupNorm(Module):
    """Normalisation over groups of channels of each image, as ``torch.nn.GroupNorm``.

    Parameters
    ----------
    num_groups, num_channels : int
        ``num_channels`` must be a multiple of ``num_groups``.
    eps : float
    affine : bool

    References
    ----------
    Wu & He, Group normalization, ECCV 2018.
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True
    ) -> None:
        self.num_groups = count("num_groups", num_groups)
        self.num_channels = count("num_channels", num_channels)
        if num_channels % num_groups:
            raise NetError(
                f"`num_channels` {num_channels} is not a multiple of {num_groups} groups"
            )
        self.eps = eps
        self.weight, self.bias = affine_of((num_channels,), affine)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, ...)."""
        return normalisation.group_norm(
            x, self.weight, self.bias, groups=self.num_groups, eps=self.eps
        )


class LayerNorm(Module):
    """Normalisation over the last axes, as ``torch.nn.LayerNorm``.

    Parameters
    ----------
    normalized_shape : int or tuple of int
        Sizes of the last axes.
    eps : float
    elementwise_affine : bool

    References
    ----------
    Ba et al., Layer normalization, 2016.
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
    ) -> None:
        shape = normalized_shape if isinstance(normalized_shape, tuple) else (normalized_shape,)
        self.normalized_shape = tuple(count("normalized_shape", n) for n in shape)
        self.eps = eps
        self.weight, self.bias = affine_of(self.normalized_shape, elementwise_affine)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (..., *normalized_shape)."""
        ones = np.ones(self.normalized_shape, np.float32)
        weight = ones if self.weight is None else self.weight
        return normalisation.layer_norm(x, weight, self.bias, eps=self.eps)


class LocalResponseNorm(Module):
    """Local response normalisation across neighbouring channels, as in AlexNet.

    Parameters
    ----------
    size : int
        Number of neighbouring channels.
    alpha, beta, k : float
        ``x / (k + alpha * mean of squares) ** beta``.

    References
    ----------
    Krizhevsky et al., ImageNet classification with deep convolutional neural networks, 2012, 3.3.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size, self.alpha, self.beta, self.k = count("size", size), alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W)."""
        return normalisation.local_response_norm(
            x, size=self.size, alpha=self.alpha, beta=self.beta, k=self.k
        )


def affine_of(shape: tuple[int, ...], learnt: bool) -> tuple[Parameter | None, Parameter | None]:
    """Return a scale of ones and a shift of zeros, or neither."""
    if not learnt:
        return None, None
    return Parameter(np.ones(shape, np.float32)), Parameter(np.zeros(shape, np.float32))
