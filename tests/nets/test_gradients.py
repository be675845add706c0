"""Gradients of every op, loss and layer by central differences; needs nothing but NumPy."""

import copy
import inspect
from importlib import import_module
from pathlib import Path

import gradients
import numpy as np
import pytest
from layer_cases import CASES as LAYERS
from layer_cases import name_of
from op_cases import CASES, Draw

import nets
from nets.autograd import ops, tensor
from nets.autograd.tensor import Tensor, recording
from nets.nn import layers, losses

SIZES = (3, 4, 19)


@pytest.mark.parametrize("most", SIZES)
@pytest.mark.parametrize("name", CASES)
def test_op(name, most):
    gradients.check_op(*CASES[name](Draw(most, most)))


class Recorder:
    def __init__(self):
        self.names = set()

    def record(self, name, inputs, options, outputs):
        self.names.add(name)


def declared(*packages):
    """Names of all functions that `op` has made differentiable."""
    found = set()
    for package in packages:
        for path in Path(package.__file__).parent.glob("*.py"):
            module = import_module(f"{package.__name__}.{path.stem}")
            found |= {
                name
                for name, item in vars(module).items()
                if inspect.isfunction(item)
                and item.__code__.co_filename == tensor.__file__
                and hasattr(item, "__wrapped__")
                and item.__module__ == module.__name__
            }
    return found


def test_every_op_and_loss_has_a_case():
    recorder, wanted = Recorder(), declared(ops, losses)
    with recording(recorder):
        for make in CASES.values():
            function, arrays, *_ = make(Draw(0, 3))
            function(*map(Tensor, arrays))
    assert len(wanted) > 50
    assert not wanted - recorder.names
    assert not set(losses.__all__) - set(CASES)


def called(layer, x):
    return copy.deepcopy(layer)(x)  # a dropout draws the same each time


def plainly(layer, x):
    return layer(x)


def unpooled(layer, x):
    y, switches = layers.MaxPool2d(2, return_indices=True)(x)
    return layer(y, switches, x.shape)


MAPS, INDICES = (2, 6, 9, 8), np.array([[1, 3, 1], [0, 2, 2]])
# Beside those that PyTorch has too: layers, and how they are called.
MORE = [
    (lambda: layers.Dropout(0.4), called, MAPS),
    (lambda: layers.Embedding(4, 3), plainly, INDICES),
    (lambda: layers.MaxUnpool2d(2), unpooled, MAPS),
    (lambda: layers.Maxout(2), plainly, MAPS),
    (lambda: layers.Sequential(layers.Linear(8, 5), layers.Tanh()), plainly, MAPS),
    (lambda: layers.Sequential(layers.BatchNorm2d(6), layers.Softplus()), plainly, MAPS),
]


def sample(shape):
    return shape if isinstance(shape, np.ndarray) else Draw(1, 2).numbers(*shape)


def precision(layer):
    """Batch and group normalisation compute in float32 whatever they are given."""
    single = layers.BatchNorm1d, layers.BatchNorm2d, layers.GroupNorm
    return np.float32 if any(isinstance(m, single) for m in layer.modules()) else np.float64


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("case", LAYERS, ids=name_of)
def test_layer(case, training):
    nets.seed(0)
    kind, args, options, shape = case
    layer = getattr(layers, kind)(*args, **options).train(training)
    gradients.check_layer(layer, plainly, sample(shape), precision(layer))


@pytest.mark.parametrize("number", range(len(MORE)))
def test_other_layer(number):
    nets.seed(0)
    make, call, shape = MORE[number]
    layer = make()
    gradients.check_layer(layer, call, sample(shape), precision(layer))


def test_every_layer_has_a_case():
    made = {kind for kind, *_ in LAYERS} | {type(make()).__name__ for make, *_ in MORE}
    assert set(layers.__all__) - made == {"Module", "ModuleList", "Parameter"}
