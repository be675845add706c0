"""Fine-tuning: which weights move in which of the four cases."""

import re

import numpy as np
import pytest

from nets.autograd.tensor import Tensor
from nets.models.lenet import LeNet5
from nets.models.resnet import ResNet
from nets.nn import init
from nets.nn.layers import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
)
from nets.nn.losses import cross_entropy
from nets.nn.optim import SGD
from nets.training import Arrays, Loader, accuracy, adapt, advise, evaluate, fit, probe
from nets.training.finetune import STRATEGIES, replace_head
from nets.training.truncated import Cut
from vj.errors import NetError, ParameterError


def net(classes=5, seed=0):
    init.seed(seed)
    return Sequential(
        {
            "conv1": Conv2d(1, 4, 3, bias=False),
            "norm": BatchNorm2d(4),
            "relu1": ReLU(),
            "pool": MaxPool2d(2),
        },
        {"conv2": Conv2d(4, 8, 3), "relu2": ReLU(), "flat": Flatten(), "drop": Dropout(0.5)},
        {"hidden": Linear(8 * 16, 12), "relu3": ReLU(), "head": Linear(12, classes)},
    )


def stripes(n=96, seed=0, **options):
    """Two classes: stripes along, stripes across."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    lines = rng.uniform(0, 255, (n, 14))
    images = np.where(labels[:, None, None] == 1, lines[:, None, :], lines[:, :, None])
    images = (images + rng.uniform(0, 20, (n, 14, 14))).clip(0, 255).astype(np.uint8)
    return Loader(Arrays(images, labels, classes=2), 16, mean=0.5, std=0.25, **options)


def learnt(adapted, epochs=1):
    """Names of parts of the state that a training changes."""
    before = {name: array.copy() for name, array in adapted.model.state_dict().items()}
    fit(adapted.model, cross_entropy, stripes(shuffle=True), SGD(adapted.groups, 0.1), epochs)
    after = adapted.model.state_dict()
    return {name for name in before if not np.array_equal(before[name], after[name])}


@pytest.mark.parametrize(
    ("samples", "similar", "strategy", "words"),
    [
        (100, True, "linear_on_top", "50 samples a class are few .* on them"),
        (100, False, "linear_earlier", "top features are too special: .* earlier layer"),
        (2000, True, "fine_tune", "1000 samples a class are many .* small rate"),
        (2000, False, "initialise", "full rate"),
    ],
)
def test_the_four_cases(samples, similar, strategy, words):
    advice = advise(samples, 2, similar)
    assert advice.strategy == strategy
    assert re.search(words, advice.why)


def test_linear_on_top_moves_the_new_head_alone():
    adapted = adapt(net(), "linear_on_top", 2, rate=0.1)
    assert adapted.model.head.weight.shape == (2, 12)
    assert learnt(adapted) == {"head.weight", "head.bias"}


def test_linear_earlier_sees_nothing_behind_the_cut():
    model = net()
    x = np.random.default_rng(0).normal(size=(3, 1, 14, 14)).astype(np.float32)
    adapted = adapt(model, "linear_earlier", 2, layer="pool", example=x, rate=0.1)
    assert learnt(adapted) == {"head.weight", "head.bias"}
    adapted.model.eval()
    before = adapted.model(Tensor(x)).data
    model.conv2.weight.data[:] = np.nan
    model.hidden.weight.data[:] = np.nan
    np.testing.assert_array_equal(adapted.model(Tensor(x)).data, before)
    y = Tensor(x)
    for name in ("conv1", "norm", "relu1", "pool"):
        y = getattr(model, name)(y)
    fields = [[slice(0, 2), slice(1, 3), slice(3, 5), slice(4, 6)]] * 2  # of torch's adaptive pool
    pooled = np.stack(
        [np.stack([y.data[:, :, r, c].mean((2, 3)) for c in fields[1]], 2) for r in fields[0]], 2
    )
    head = adapted.model.head
    expected = pooled.reshape(3, -1) @ head.weight.data.T + head.bias.data
    np.testing.assert_allclose(before, expected, atol=1e-4)


def test_fine_tuning_moves_all_and_the_old_part_slowly():
    adapted = adapt(net(), "fine_tune", 2, rate=0.1, factor=0.05)
    rates = {n: g["lr"] for g in adapted.groups for n, _ in g["params"]}
    assert rates["head.weight"] == rates["head.bias"] == 0.1
    assert all(rate == pytest.approx(0.005) for n, rate in rates.items() if n[:4] != "head")
    assert learnt(adapted) == set(adapted.model.state_dict())


def test_initialising_keeps_the_old_weights_and_scratch_does_not():
    old, kept = net(), adapt(net(), "initialise", 2, rate=0.1)
    np.testing.assert_array_equal(kept.model.conv1.weight.data, old.conv1.weight.data)
    assert {g["lr"] for g in kept.groups} == {0.1}
    new = adapt(old, "scratch", 2, rate=0.1, fresh=lambda: net(seed=9))
    assert np.abs(new.model.conv1.weight.data - old.conv1.weight.data).max() > 0.01
    assert new.model.head.weight.shape == (2, 12)
    assert learnt(kept) == learnt(new) == set(old.state_dict())


def test_each_strategy_learns_stripes():
    init.seed(0)
    base = stripes(192, seed=5, shuffle=True)
    old = net(2)
    fit(old, cross_entropy, base, SGD(old.named_parameters(), 0.05, momentum=0.9), 4)
    for strategy in STRATEGIES:
        model = net(2)
        model.load_state_dict(old.state_dict())
        x = next(base.epoch())[0]
        adapted = adapt(
            model, strategy, 2, rate=0.05, layer="pool", example=x, fresh=lambda: net(seed=3)
        )
        optimiser = SGD(adapted.groups, 0.05, momentum=0.9)
        fit(adapted.model, cross_entropy, stripes(seed=1, shuffle=True), optimiser, 10)
        found = evaluate(adapted.model, stripes(seed=2), {"accuracy": accuracy})
        assert found["accuracy"] > 0.85, strategy


class Blind(Module):
    """Its second layer knows nothing of the input any more."""

    def __init__(self):
        self.first, self.second, self.head = Conv2d(1, 1, 1), Conv2d(1, 4, 1), Linear(784, 2)
        self.first.weight.data[:], self.second.weight.data[:] = 1, 0

    def forward(self, x):
        x = self.second(self.first(x))
        return self.head(x.reshape(len(x), -1))


def test_a_probe_finds_where_the_features_end():
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    images = rng.normal(0, 0.3, (200, 1, 14, 14)).astype(np.float32)
    images[labels == 1, :, :7] += 1
    model = Blind()
    found = probe(model, Loader(Arrays(images, labels), 32), ["first", "second"])
    assert found["first"] == 1
    assert found["second"] < 0.7
    assert all(p.requires_grad for p in model.parameters())
    assert all(module.training and not module._hooks for module in model.modules())


def test_heads_are_found_in_the_models_of_the_house():
    for model, name in (
        (LeNet5(), "fc3"),
        (ResNet((1, 1), 10, 1, width=0.25), "fc"),
        (net(), "head"),
    ):
        assert replace_head(model, 3) == name
        assert dict(model.named_modules())[name].out_features == 3


def test_what_is_missing_is_said():
    x = np.zeros((1, 1, 14, 14), np.float32)
    with pytest.raises(ParameterError, match=r"must be one of linear_on_top, .*: 'best'"):
        adapt(net(), "best", 2, rate=0.1)
    with pytest.raises(ParameterError, match="linear_earlier needs `layer`"):
        adapt(net(), "linear_earlier", 2, rate=0.1)
    with pytest.raises(ParameterError, match="scratch needs `fresh`"):
        adapt(net(), "scratch", 2, rate=0.1)
    with pytest.raises(NetError, match="no layer 'conv7', there are conv1, norm"):
        Cut(net(), "conv7", 2, x)
    with pytest.raises(NetError, match="Sequential has no linear layer"):
        replace_head(Sequential(Conv2d(1, 2, 3)), 2)
    model = net()
    model.spare = Linear(2, 2)
    model.forward = lambda x: x
    with pytest.raises(NetError, match="did not call the layer 'spare'"):
        Cut(model, "spare", 2, x)
