"""Tensors, the tape, and the differentiable ops."""

from nets.autograd.ops import arithmetic

__all__ = ["arithmetic"]
