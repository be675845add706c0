"""Optimisers, learning rate schedules, gradient clipping and weight averaging."""

from nets.nn.optim.averaging import Average, reestimate_batch_norm
from nets.nn.optim.clipping import clip_grad_norm, clip_grad_value
from nets.nn.optim.methods import SGD, AdaGrad, Adam, AdamW, RMSprop
from nets.nn.optim.optimiser import Optimiser
from nets.nn.optim.schedules import (
    Constant,
    Cosine,
    Exponential,
    MultiStep,
    OneCycle,
    Plateau,
    Schedule,
    Step,
    Trapezoid,
)

__all__ = [
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Average",
    "Constant",
    "Cosine",
    "Exponential",
    "MultiStep",
    "OneCycle",
    "Optimiser",
    "Plateau",
    "RMSprop",
    "Schedule",
    "Step",
    "Trapezoid",
    "clip_grad_norm",
    "clip_grad_value",
    "reestimate_batch_norm",
]
