"""Loss functions.

Names, arguments and reductions are PyTorch's: "mean" over all elements, "sum", or "none". Losses
on probabilities take logits, which is numerically stable.
"""

from nets.nn.losses.boxes import ciou_loss, diou_loss, eiou_loss, giou_loss, iou_loss
from nets.nn.losses.classes import binary_cross_entropy_with_logits, cross_entropy, focal_loss
from nets.nn.losses.divergences import gaussian_kl, kl_div
from nets.nn.losses.regression import huber_loss, l1_loss, mse_loss, smooth_l1_loss

__all__ = [
    "binary_cross_entropy_with_logits",
    "ciou_loss",
    "cross_entropy",
    "diou_loss",
    "eiou_loss",
    "focal_loss",
    "gaussian_kl",
    "giou_loss",
    "huber_loss",
    "iou_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "smooth_l1_loss",
]
