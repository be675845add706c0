"""Visualise the latent space of a decoder."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from nets.arrays import Array
from nets.autograd.tensor import Tensor, no_grad
from vj.errors import NetError


def latent_plane(
    decode: Callable[[Tensor], Tensor],
    latent: int,
    axes: tuple[int, int] = (0, 1),
    *,
    steps: int = 12,
    centre: ArrayLike | None = None,
) -> Array:
    """Decode a grid of points along two axes of the latent space.

    The values on an axis are normal quantiles at equal steps of probability, the distribution of a
    VAE's codes; all other coordinates are those of ``centre``.

    Parameters
    ----------
    decode : callable
        Maps (N, latent) to (N, ...); a model should be in evaluation mode.
    latent : int
        Dimensions of the latent space.
    axes : (int, int)
        The latent dimensions that vary downwards and to the right.
    steps : int
        Points along each axis.
    centre : (latent,) array_like, optional
        The origin by default.

    Returns
    -------
    (steps, steps, ...) float32

    References
    ----------
    Kingma & Welling, Auto-encoding variational Bayes, ICLR 2014, figure 4.
    """
    if len(set(axes)) != 2 or not all(0 <= axis < latent for axis in axes):
        raise NetError(f"`axes` must be two of the {latent} dimensions, got {axes}")
    if steps < 1:
        raise NetError(f"`steps` must be at least 1, got {steps}")
    middle: Array = np.zeros(latent) if centre is None else np.asarray(centre, np.float32)
    if middle.shape != (latent,):
        raise NetError(f"`centre` must have shape {(latent,)}, got {middle.shape}")
    values = [NormalDist().inv_cdf((i + 0.5) / steps) for i in range(steps)]
    points = np.tile(middle.astype(np.float32), (steps, steps, 1))
    points[:, :, axes[0]] = np.array(values)[:, None]
    points[:, :, axes[1]] = values
    with no_grad():
        decoded = decode(Tensor(points.reshape(-1, latent))).data
    return np.ascontiguousarray(decoded).reshape(steps, steps, *decoded.shape[1:])


def latent_planes(
    decode: Callable[[Tensor], Tensor],
    latent: int,
    *,
    pairs: Sequence[tuple[int, int]] | None = None,
    steps: int = 12,
    centre: ArrayLike | None = None,
) -> Iterator[tuple[tuple[int, int], Array]]:
    """Return pairs of axes with their latent planes, for all pairs of axes by default."""
    for pair in pairs if pairs is not None else itertools.combinations(range(latent), 2):
        yield pair, latent_plane(decode, latent, pair, steps=steps, centre=centre)
