"""Optimisers step beside PyTorch's; schedules, clipping and averages too."""

import copy
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nets.autograd.tensor import Tensor
from nets.nn import optim
from vj.errors import NetError

torch = pytest.importorskip("torch")
SHAPES = {"conv.weight": (5, 3, 3, 3), "conv.bias": (5,), "head": (7, 11), "scale": ()}


def parameters(seed=0):
    rng = np.random.default_rng(seed)
    return {n: Tensor(rng.standard_normal(s).astype("f4"), requires_grad=True)
            for n, s in SHAPES.items()}  # fmt: skip


def gradients(step):
    rng = np.random.default_rng((7, step))
    return {n: rng.standard_normal(s).astype("f4") for n, s in SHAPES.items()}


def give(params, step):
    for name, g in gradients(step).items():
        params[name].grad = g


METHODS = {
    "sgd": (optim.SGD, torch.optim.SGD, {"lr": 0.1}),
    "decay": (optim.SGD, torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.02}),
    "momentum": (
        optim.SGD, torch.optim.SGD,
        {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01},
    ),
    "nesterov": (optim.SGD, torch.optim.SGD, {"lr": 0.05, "momentum": 0.8, "nesterov": True}),
    "adagrad": (optim.AdaGrad, torch.optim.Adagrad, {"lr": 0.1}),
    "adagrad decay": (
        optim.AdaGrad, torch.optim.Adagrad,
        {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5},
    ),
    "rmsprop": (optim.RMSprop, torch.optim.RMSprop, {"lr": 0.01}),
    "rmsprop centred": (
        optim.RMSprop, torch.optim.RMSprop,
        {"lr": 0.01, "alpha": 0.9, "momentum": 0.5, "centered": True, "weight_decay": 0.1,
         "eps": 1e-3},
    ),
    "adam": (optim.Adam, torch.optim.Adam, {"lr": 0.01}),
    "adam decay": (
        optim.Adam, torch.optim.Adam, {"lr": 0.01, "betas": (0.8, 0.99), "weight_decay": 0.1},
    ),
    "adamw": (optim.AdamW, torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.3}),
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_twenty_steps_as_in_pytorch(method):
    ours, theirs, options = METHODS[method]
    params = parameters()
    twins = {n: torch.tensor(p.numpy().copy(), requires_grad=True) for n, p in params.items()}
    a, b = ours(params.items(), **options), theirs(list(twins.values()), **options)
    for step in range(20):
        give(params, step)
        for name, g in gradients(step).items():
            twins[name].grad = torch.tensor(g)
        a.step()
        b.step()
        for name, p in params.items():
            wanted = twins[name].detach().numpy()
            scale = 1e-6 * np.abs(wanted).max()
            np.testing.assert_allclose(p.numpy(), wanted, rtol=1e-6, atol=scale, err_msg=name)


@pytest.mark.parametrize("method", METHODS)
def test_resumes_bit_for_bit(method):
    make, _, options = METHODS[method]
    params = parameters()
    whole = make(params.items(), **options)
    for step in range(3):
        give(params, step)
        whole.step()
    saved, weights = whole.state_dict(), {n: p.numpy().copy() for n, p in params.items()}
    saved["groups"] = json.loads(json.dumps(saved["groups"]))
    kept = copy.deepcopy(saved)
    again = {n: Tensor(w, requires_grad=True) for n, w in weights.items()}
    other = make(again.items(), lr=77.0)
    other.load_state_dict(saved)
    for step in range(3, 6):
        give(params, step)
        whole.step()
        give(again, step)
        other.step()
    for name in SHAPES:
        np.testing.assert_array_equal(params[name].numpy(), again[name].numpy())
        for key, array in kept["state"][name].items():  # what was saved is a copy
            np.testing.assert_array_equal(array, saved["state"][name][key])


def test_gradients_are_not_written_into_and_rates_differ_by_group():
    params = parameters()
    before = {n: p.numpy().copy() for n, p in params.items()}
    frozen = params.pop("scale")
    frozen.requires_grad = False
    groups = [
        {"params": [("head", params["head"])], "lr": 0.5},
        {"params": [("conv.weight", params["conv.weight"]), ("conv.bias", params["conv.bias"])]},
        {"params": [frozen]},
    ]
    method = optim.SGD(groups, lr=0.25)
    assert method.rate == 0.5
    assert repr(method).startswith("SGD(lr=0.5, momentum=0.0, ")
    given = {n: g for n, g in gradients(0).items() if n != "scale"}
    for name, p in params.items():
        p.grad = given[name]
        p.grad.flags.writeable = False
    method.step()
    for name, p in params.items():
        rate = np.float32(0.5 if name == "head" else 0.25)
        np.testing.assert_array_equal(p.numpy(), before[name] - rate * given[name])
    assert frozen.numpy() == before["scale"]
    method.zero_grad()
    assert all(p.grad is None for p in params.values())


def test_weights_that_cannot_be_written_are_replaced():
    fixed = np.ones((4, 6), "f4")
    fixed.flags.writeable = False
    params = [Tensor(fixed, requires_grad=True), Tensor(np.ones((6, 4), "f4").T, True)]
    for p in params:
        p.grad = np.broadcast_to(np.float32(2), (4, 6))
    optim.SGD(params, lr=0.25).step()
    assert all((p.numpy() == 0.5).all() for p in params)
    assert (fixed == 1).all()


def test_a_missing_gradient_is_named_and_nothing_moves():
    params = parameters()
    give(params, 0)
    params["head"].grad = None
    method = optim.Adam(params.items())
    with pytest.raises(NetError, match="Adam: parameter `head` has no gradient"):
        method.step()
    np.testing.assert_array_equal(params["conv.bias"].numpy(), parameters()["conv.bias"].numpy())
    one, two = Tensor([1.0], True), Tensor([1.0], True)
    one.grad = np.ones(1, "f4")
    unnamed = optim.SGD([one, two])
    with pytest.raises(NetError, match="parameter `parameter 1` has no gradient"):
        unnamed.step()


REFUSED = {
    "there are no parameters": lambda p: optim.SGD([]),
    "`w` is given twice": lambda p: optim.SGD([("w", p), ("w", Tensor([1.0]))]),
    "`v` is given twice": lambda p: optim.SGD([("w", p), ("v", p)]),
    "`lr` must not be negative, got -1": lambda p: optim.SGD([p], lr=-1),
    "`nesterov` needs momentum": lambda p: optim.SGD([p], nesterov=True),
    "`betas` must be two numbers from 0 to 1": lambda p: optim.Adam([p], betas=(0.9, 1.0)),
    "a group has no option 'rate'": lambda p: optim.AdamW([{"params": [p], "rate": 1}]),
    "`step_size` must be at least 1": lambda p: optim.Step(optim.SGD([p]), 0),
    "`warm_up` must not be negative": lambda p: optim.Constant(optim.SGD([p]), warm_up=-1),
    "`steps` must be at least 1": lambda p: optim.Cosine(optim.SGD([p]), 0),
    "`decay` of at least 1, got 5 and 0": lambda p: optim.Trapezoid(optim.SGD([p]), 5, 0),
    "wants `steps` of at least 2": lambda p: optim.OneCycle(optim.SGD([p]), 1),
    '`mode` must be "min" or "max"': lambda p: optim.Plateau(optim.SGD([p]), mode="up"),
    "`max_norm` must be positive": lambda p: optim.clip_grad_norm([p], 0),
    "`clip_value` must be positive": lambda p: optim.clip_grad_value([p], math.nan),
    "`decay` must be from 0 to below 1": lambda p: optim.Average([p], decay=1.0),
    "nothing to apply before": lambda p: optim.Average([p]).applied().__enter__(),
}


@pytest.mark.parametrize("says", REFUSED)
def test_refuses(says):
    with pytest.raises(NetError, match=says.replace("(", r"\(")):
        REFUSED[says](Tensor([1.0], requires_grad=True))


def test_state_of_other_parameters_is_refused():
    saved = optim.SGD([("a", Tensor([1.0], True)), ("b", Tensor([1.0], True))]).state_dict()
    with pytest.raises(NetError, match="`b` is in one of the two only"):
        optim.SGD([("a", Tensor([1.0], True))]).load_state_dict(saved)
    params = parameters()
    method = optim.Adam(params.items())
    give(params, 0)
    method.step()
    saved = method.state_dict()
    saved["state"]["head"]["mean"] = np.zeros((7, 12), "f4")
    with pytest.raises(NetError, match=r"saved mean of `head` has shape \(7, 12\)"):
        optim.Adam(params.items()).load_state_dict(saved)


def rates(schedule, steps):
    found = []
    for _ in range(steps):
        found.append(schedule.optimiser.groups[0]["lr"])
        schedule.step()
    return found


def pytorch_rates(make, steps):
    method = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    schedule, found = make(method, torch.optim.lr_scheduler), []
    for _ in range(steps):
        found.append(method.param_groups[0]["lr"])
        method.step()
        schedule.step()
    return found


SCHEDULES = {
    "constant": (lambda o, **k: optim.Constant(o, **k), lambda o, s: s.ConstantLR(o, 1.0)),
    "step": (lambda o, **k: optim.Step(o, 4, gamma=0.5, **k), lambda o, s: s.StepLR(o, 4, 0.5)),
    "multistep": (
        lambda o, **k: optim.MultiStep(o, [9, 3, 3], **k),
        lambda o, s: s.MultiStepLR(o, [9, 3, 3]),
    ),
    "exponential": (
        lambda o, **k: optim.Exponential(o, 0.9, **k), lambda o, s: s.ExponentialLR(o, 0.9)
    ),
    "cosine": (
        lambda o, **k: optim.Cosine(o, 20, floor=0.1, **k),
        lambda o, s: s.CosineAnnealingLR(o, 20, 0.03),
    ),
    "trapezoid": (
        lambda o, **k: optim.Trapezoid(o, 6, 9, floor=0.1, **k),
        lambda o, s: s.LambdaLR(o, lambda k: np.interp(k, [6, 15], [1.0, 0.1])),
    ),
    "one cycle": (
        lambda o, **k: optim.OneCycle(o, 20, **k),
        lambda o, s: s.OneCycleLR(o, 0.3, total_steps=20, cycle_momentum=False),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_as_in_pytorch(name):
    ours, theirs = SCHEDULES[name]
    start = [Tensor([1.0], True)]
    found = rates(ours(optim.SGD(start, lr=0.3)), 19)
    np.testing.assert_allclose(found, pytorch_rates(theirs, 19), rtol=1e-9)
    warm = rates(ours(optim.SGD(start, lr=0.3), warm_up=5), 24)
    if name != "one cycle":  # PyTorch's sets rates of its own at once

        def after_warm_up(o, s):
            return s.SequentialLR(
                o, [s.LinearLR(o, 1 / 6, total_iters=5), theirs(o, s)], milestones=[5]
            )  # fmt: skip

        np.testing.assert_allclose(warm, pytorch_rates(after_warm_up, 24), rtol=1e-9)
    np.testing.assert_allclose(warm[5:], found, rtol=1e-12)


def test_a_trapezoid_is_the_same_up_to_where_it_falls():
    """So what has not begun to fall may go on for longer than was planned."""
    start = [Tensor([1.0], True)]
    short = optim.Trapezoid(optim.SGD(start, lr=0.3), 4, 3, floor=0.1, warm_up=2)
    long = optim.Trapezoid(optim.SGD(start, lr=0.3), 40, 9, warm_up=2)
    found = rates(short, 12)
    assert found[:7] == rates(long, 7)
    np.testing.assert_allclose(found[6:], [0.3, 0.21, 0.12, 0.03, 0.03, 0.03])


def test_schedule_resumes():
    start = [Tensor([1.0], True)]
    whole = optim.Cosine(optim.SGD(start, lr=0.3), 20, warm_up=3)
    head = rates(whole, 8)
    other = optim.Cosine(optim.SGD(start, lr=5.0), 20, warm_up=3)
    other.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    assert rates(other, 6) == rates(whole, 6)
    assert len(set(head)) > 5


@given(
    st.lists(st.floats(-2, 2).map(lambda v: round(v, 1)), max_size=25),
    st.sampled_from(["min", "max"]), st.integers(0, 3), st.integers(0, 3),
)  # fmt: skip
@settings(max_examples=40)
def test_plateau_as_in_pytorch(measures, mode, patience, cooldown):
    ours = optim.Plateau(
        optim.SGD([Tensor([1.0], True)], lr=0.4), mode=mode, gamma=0.5, patience=patience,
        cooldown=cooldown, floor=0.1, threshold=0.01,
    )  # fmt: skip
    method = torch.optim.SGD([torch.zeros(1)], lr=0.4)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        method, mode, 0.5, patience, 0.01, "rel", cooldown, 0.04
    )
    for measure in map(abs, measures):
        ours.step(measure)
        ours.step()  # without a measurement nothing happens
        theirs.step(measure)
        assert ours.optimiser.groups[0]["lr"] == pytest.approx(method.param_groups[0]["lr"])


@pytest.mark.parametrize("limit", [0.5, 1e6])
def test_clips_as_pytorch(limit):
    params = parameters()
    give(params, 0)
    given = gradients(0)
    twins = []
    for name in SHAPES:
        twins.append(torch.zeros(SHAPES[name]))
        twins[-1].grad = torch.tensor(given[name])
    whole = torch.nn.utils.clip_grad_norm_(twins, limit)
    nothing = Tensor([1.0], True)
    held = [p.grad for p in params.values()]
    found = optim.clip_grad_norm([*params.values(), nothing], limit)
    assert found == pytest.approx(float(whole), rel=1e-6)
    for p, t, g, h in zip(params.values(), twins, given.values(), held, strict=True):
        np.testing.assert_allclose(p.grad, t.grad, rtol=1e-5)
        np.testing.assert_array_equal(g, h)
    optim.clip_grad_value(params.values(), limit / 100)
    torch.nn.utils.clip_grad_value_(twins, limit / 100)
    for p, t in zip(params.values(), twins, strict=True):
        np.testing.assert_allclose(p.grad, t.grad, rtol=1e-5)


@pytest.mark.parametrize("decay", [None, 0.75])
def test_averages_as_pytorch(decay):
    swa = torch.optim.swa_utils
    layer = torch.nn.Linear(5, 3)
    rule = {} if decay is None else {"multi_avg_fn": swa.get_ema_multi_avg_fn(decay)}
    theirs = swa.AveragedModel(layer, **rule)
    ours = {n: Tensor(p.detach().numpy().copy(), True) for n, p in layer.named_parameters()}
    average = optim.Average(ours.items(), decay=decay)
    rng = np.random.default_rng(3)
    for _ in range(4):
        for name, p in layer.named_parameters():
            new = rng.standard_normal(p.shape).astype("f4")
            p.data[:] = torch.tensor(new)
            ours[name].data = new
        theirs.update_parameters(layer)
        average.update()
    again = optim.Average(ours.items(), decay=decay)
    again.load_state_dict(average.state_dict())
    last = ours["weight"].numpy()
    with again.applied():
        for name, p in theirs.module.named_parameters():
            np.testing.assert_allclose(ours[name].numpy(), p.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert ours["weight"].numpy() is last
    other = optim.Average([("weight", Tensor([1.0, 2.0])), ("bias", ours["bias"])])
    with pytest.raises(NetError, match=r"`weight` has shape \(2,\) here and \(3, 5\) there"):
        other.load_state_dict(average.state_dict())


class Norm:
    """As little of a batch normalisation as the re-estimation needs."""

    def __init__(self):
        self.running_mean, self.momentum, self.training = np.full(2, 9.0), 0.1, False

    def modules(self):
        return [self, object()]

    def train(self, mode=True):
        self.training = mode

    def __call__(self, batch):
        assert self.training
        self.running_mean += self.momentum * (batch.mean(0) - self.running_mean)


def test_reestimates_batch_norm():
    layer, batches = Norm(), np.random.default_rng(0).standard_normal((5, 8, 2))
    optim.reestimate_batch_norm(layer, batches)
    np.testing.assert_allclose(layer.running_mean, batches.mean((0, 1)))
    assert layer.momentum == 0.1
    assert not layer.training
