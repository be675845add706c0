"""Box regression losses based on intersection over union (IoU).

Boxes are rows ``x1, y1, x2, y2`` with ``x1 < x2`` and ``y1 < y2``, predicted and true boxes in the
same order. Every loss is 1 - IoU plus a penalty:

=====  =========================================================================================
iou    none; zero gradient for disjoint boxes
giou   the fraction of the enclosing box covered by neither
diou   the squared distance of the centres over the squared diagonal of the enclosing box
ciou   as diou, plus the difference of the aspect ratios
eiou   as diou, plus the squared differences of width and height over those of the enclosing box
=====  =========================================================================================

References: Rezatofighi et al., CVPR 2019 (giou); Zheng et al., AAAI 2020 (diou, ciou); Zhang et
al., Focal and efficient IOU loss, Neurocomputing 506, 2022 (eiou).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nets.arrays import Array
from nets.autograd.ops.arithmetic import clip, maximum
from nets.autograd.tensor import Tensor, Vjp, op
from nets.nn.losses.base import reduce, same_shape
from vj.errors import NetError


class _Pairs(NamedTuple):
    """Terms of the losses, one value for each pair of boxes."""

    overlap: Tensor
    union: Tensor
    size: tuple[Tensor, Tensor]  # width and height of the predicted box
    true_size: tuple[Tensor, Tensor]
    outer: tuple[Tensor, Tensor]  # of the enclosing box
    apart: Tensor  # squared distance of the centres
    eps: float

    @property
    def distance(self) -> Tensor:
        """Squared distance of the centres over the squared diagonal of the enclosing box."""
        width, height = self.outer
        return self.apart / (width * width + height * height + self.eps)


def _minimum(a: Tensor, b: Tensor) -> Tensor:
    return -maximum(-a, -b)


def _pairs(name: str, input: Tensor, target: Tensor | ArrayLike, eps: float) -> _Pairs:
    same_shape(name, input, target)
    if input.ndim < 1 or input.shape[-1] != 4:
        raise NetError(f"{name}: boxes must have shape (..., 4), got {input.shape}")
    known = target if isinstance(target, Tensor) else Tensor(target, dtype=input.dtype)
    x1, y1, x2, y2 = (input[..., k] for k in range(4))
    u1, v1, u2, v2 = (known[..., k] for k in range(4))
    width = clip(_minimum(x2, u2) - maximum(x1, u1), low=0.0, high=math.inf)
    height = clip(_minimum(y2, v2) - maximum(y1, v1), low=0.0, high=math.inf)
    both = width * height
    union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - both
    across, down = x1 + x2 - u1 - u2, y1 + y2 - v1 - v2
    return _Pairs(
        both / (union + eps),
        union,
        (x2 - x1, y2 - y1),
        (u2 - u1, v2 - v1),
        (maximum(x2, u2) - _minimum(x1, u1), maximum(y2, v2) - _minimum(y1, v1)),
        (across * across + down * down) * 0.25,
        eps,
    )


def iou_loss(
    input: Tensor, target: Tensor | ArrayLike, *, reduction: str = "mean", eps: float = 1e-7
) -> Tensor:
    """Return 1 - IoU.

    Parameters
    ----------
    input, target : (..., 4)
        Boxes ``x1, y1, x2, y2``.
    reduction : "mean", "sum" or "none"
    eps : float
        Added to denominators.

    Raises
    ------
    NetError
        The shapes differ or are not (..., 4).
    """
    return reduce("iou_loss", 1.0 - _pairs("iou_loss", input, target, eps).overlap, reduction)


def giou_loss(
    input: Tensor, target: Tensor | ArrayLike, *, reduction: str = "mean", eps: float = 1e-7
) -> Tensor:
    """Generalised IoU loss: disjoint boxes attract. Arguments as for `iou_loss`."""
    p = _pairs("giou_loss", input, target, eps)
    area = p.outer[0] * p.outer[1]
    loss = 1.0 - p.overlap + (area - p.union) / (area + eps)
    return reduce("giou_loss", loss, reduction)


def diou_loss(
    input: Tensor, target: Tensor | ArrayLike, *, reduction: str = "mean", eps: float = 1e-7
) -> Tensor:
    """Distance IoU loss: centres attract. Arguments as for `iou_loss`."""
    p = _pairs("diou_loss", input, target, eps)
    return reduce("diou_loss", 1.0 - p.overlap + p.distance, reduction)


def ciou_loss(
    input: Tensor, target: Tensor | ArrayLike, *, reduction: str = "mean", eps: float = 1e-7
) -> Tensor:
    """Complete IoU loss: centres and aspect ratios. Arguments as for `iou_loss`."""
    p = _pairs("ciou_loss", input, target, eps)
    turn = _arctan(p.true_size[0] / p.true_size[1]) - _arctan(p.size[0] / p.size[1])
    aspect = turn * turn * (4 / math.pi**2)
    weight = aspect.data / (1 - p.overlap.data + aspect.data + eps)  # treated as a constant
    return reduce("ciou_loss", 1.0 - p.overlap + p.distance + aspect * weight, reduction)


def eiou_loss(
    input: Tensor, target: Tensor | ArrayLike, *, reduction: str = "mean", eps: float = 1e-7
) -> Tensor:
    """Efficient IoU loss: centres, widths and heights. Arguments as for `iou_loss`."""
    p = _pairs("eiou_loss", input, target, eps)
    loss = 1.0 - p.overlap + p.distance
    for side, true, outer in zip(p.size, p.true_size, p.outer, strict=True):
        loss = loss + (side - true) * (side - true) / (outer * outer + eps)
    return reduce("eiou_loss", loss, reduction)


@op
def _arctan(x: Array) -> tuple[Array, Vjp]:
    """Return the arctangent of x."""
    return np.arctan(x), lambda g, needs: (g / (1 + x * x),)
