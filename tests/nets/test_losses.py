"""Losses beside PyTorch's; those of boxes beside their papers' formulas in plain Python."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from twins import check_gradient, close, compare, torch

from nets.autograd.tensor import Tensor
from nets.nn import losses
from vj.errors import NetError

F = torch.nn.functional
ASK = settings(max_examples=40)
shapes = array_shapes(max_dims=4, max_side=5)
reductions = st.sampled_from(["mean", "sum", "none"])
seeds = st.integers(0, 99)


def numbers(seed, shape, spread=1.0):
    return (spread * np.random.default_rng(seed).standard_normal(shape)).astype("f4")


def shares(seed, shape):
    return np.random.default_rng((seed, 1)).random(shape).astype("f4")


@ASK
@given(shapes, reductions, st.floats(0.1, 3), seeds)
def test_differences_as_in_pytorch(shape, reduction, bend, seed):
    x, y = numbers(seed, shape), numbers(seed + 1, shape)
    how = {"reduction": reduction}
    for name, own in [
        ("mse_loss", {}),
        ("l1_loss", {}),
        ("huber_loss", {"delta": bend}),
        ("smooth_l1_loss", {"beta": bend}),
        ("smooth_l1_loss", {"beta": 0.0}),
    ]:
        ours, theirs = getattr(losses, name), getattr(F, name)
        compare(
            lambda x, y, f=ours, o=own: f(x, y, **o, **how),
            lambda x, y, f=theirs, o=own: f(x, y, **o, **how), x, y, layout=False,
        )  # fmt: skip
        fixed = ours(Tensor(x), y, **own, **how)  # a plain array will do for the truth
        close(fixed.numpy(), theirs(torch.tensor(x), torch.tensor(y), **own, **how), 1e-5)


@ASK
@given(
    st.integers(1, 4), st.integers(1, 6), st.sampled_from([(), (3,), (4, 5)]), reductions,
    st.sampled_from([0.0, 0.1, 1.0]), st.booleans(), st.sampled_from([-100, 1]), st.booleans(),
    seeds,
)  # fmt: skip
@example(2, 3, (4, 5), "mean", 0.0, False, -100, True, 0)
def test_cross_entropy_as_in_pytorch(
    n, classes, rest, reduction, smoothing, weighted, ignored, some, seed
):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, (n, *rest))
    if some:
        labels[rng.random(labels.shape) < 0.3] = ignored
    how = {"ignore_index": ignored, "label_smoothing": smoothing, "reduction": reduction}
    weight = 0.1 + shares(seed, classes) if weighted else None
    if reduction == "mean" and (labels == ignored).all():
        return
    compare(
        lambda x: losses.cross_entropy(x, labels, weight=weight, **how),
        lambda x: F.cross_entropy(
            x, torch.tensor(labels), None if weight is None else torch.tensor(weight), **how
        ),
        numbers(seed, (n, classes, *rest), 3.0),
    )  # fmt: skip


def test_cross_entropy_of_huge_impossible_and_ignored_logits():
    x = np.array([[1e30, 0, 0], [0, -np.inf, 1], [-np.inf, 0, 1], [np.nan, 0, 0]], "f4")
    labels = np.array([0, 2, -100, 1])
    t = Tensor(x, requires_grad=True)
    found = losses.cross_entropy(t, labels, reduction="none")
    wanted = F.cross_entropy(torch.tensor(x), torch.tensor(labels), reduction="none")
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6)
    found.backward(np.ones(4))
    assert np.isfinite(t.grad[:3]).all()
    assert np.isnan(t.grad[3]).all()
    assert math.isnan(losses.cross_entropy(t, [-100] * 4).item())  # as PyTorch: 0 / 0


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([0, 3], r"label 3 at \(1,\) is out of range: there are 3 classes"),
        ([-1, 0], r"label -1 at \(0,\) is out of range: there are 3 classes"),
        ([0.0, 1.0], "target must hold integers, got float64"),
        ([0, 1, 2], r"target of shape \(3,\) does not match input"),
    ],
)
def test_cross_entropy_refuses_labels(labels, says):
    with pytest.raises(NetError, match=says):
        losses.cross_entropy(Tensor(np.zeros((2, 3))), labels)


@ASK
@given(shapes, reductions, st.booleans(), seeds)
@example((300, 300), "mean", False, 0)
def test_binary_cross_entropy_as_in_pytorch(shape, reduction, weighted, seed):
    x, y = numbers(seed, shape, 5.0), shares(seed, shape)
    w, p = (shares(seed + 1, shape), 2 * shares(seed + 2, shape[-1])) if weighted else (None, None)
    tensors = {k: None if v is None else torch.tensor(v)
               for k, v in {"weight": w, "pos_weight": p}.items()}  # fmt: skip
    name = "binary_cross_entropy_with_logits"
    compare(
        lambda x, y: getattr(losses, name)(x, y, weight=w, pos_weight=p, reduction=reduction),
        lambda x, y: getattr(F, name)(x, y, **tensors, reduction=reduction), x, y,
        layout=False, tolerance=1e-5 if reduction == "none" else 3e-5,
    )  # fmt: skip


def test_binary_cross_entropy_of_huge_logits():
    x = np.array([1e4, -1e4, 1e4, -1e4, 0, np.nan], "f4")
    y = np.array([1, 0, 0, 1, 0.5, 0], "f4")
    found = losses.binary_cross_entropy_with_logits(Tensor(x), y, reduction="none").numpy()
    np.testing.assert_allclose(found, [0, 0, 1e4, 1e4, math.log(2), np.nan], rtol=1e-6)


@ASK
@given(
    shapes, reductions, st.sampled_from([-1.0, 0.25, 0.7]), st.sampled_from([0.0, 1.5, 2]), seeds
)
def test_focal_loss_as_in_torchvision(shape, reduction, alpha, gamma, seed):
    truth = (shares(seed, shape) > 0.6).astype("f4")

    def theirs(x):
        y = torch.tensor(truth)
        p = torch.sigmoid(x)
        right = p * y + (1 - p) * (1 - y)
        entropy = F.binary_cross_entropy_with_logits(x, y, reduction="none")
        loss = entropy * (1 - right) ** gamma
        if alpha >= 0:
            loss = loss * (alpha * y + (1 - alpha) * (1 - y))
        return {"none": loss, "mean": loss.mean(), "sum": loss.sum()}[reduction]

    compare(
        lambda x: losses.focal_loss(x, truth, alpha=alpha, gamma=gamma, reduction=reduction),
        theirs, numbers(seed, shape, 3.0), layout=False,
    )  # fmt: skip


@ASK
@given(
    array_shapes(min_dims=2, max_dims=3, max_side=5),
    st.sampled_from(["batchmean", "sum", "none", "mean"]), st.booleans(), seeds,
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss")
def test_kl_divergence_as_in_pytorch(shape, reduction, log_target, seed):
    x, y = numbers(seed, shape), shares(seed, shape)
    y.flat[0] = 0.0
    how = {"reduction": reduction, "log_target": log_target}
    twin = torch.tensor(y)
    compare(
        lambda x: losses.kl_div(x, y, **how), lambda x: F.kl_div(x, twin, **how), x, layout=False
    )
    y.flat[0] = 0.5
    compare(
        lambda x, y: losses.kl_div(x, y, **how), lambda x, y: F.kl_div(x, y, **how), x, y,
        layout=False,
    )  # fmt: skip


@ASK
@given(array_shapes(min_dims=2, max_dims=2, max_side=7), seeds)
def test_gaussian_divergence_as_in_pytorch(shape, seed):
    D = torch.distributions

    def theirs(mean, log_var):
        given = D.Normal(mean, torch.exp(log_var / 2))
        return D.kl_divergence(given, D.Normal(torch.tensor(0.0), torch.tensor(1.0)))

    mean, log_var = numbers(seed, shape), numbers(seed + 1, shape)
    compare(lambda m, v: losses.gaussian_kl(m, v, reduction="none"), theirs, mean, log_var)
    compare(losses.gaussian_kl, lambda m, v: theirs(m, v).sum() / len(m), mean, log_var)


def box_loss(kind, a, b, eps=1e-7):
    """One pair of boxes, by the papers."""
    w, h, u, v = a[2] - a[0], a[3] - a[1], b[2] - b[0], b[3] - b[1]
    both = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = w * h + u * v - both
    W, H = max(a[2], b[2]) - min(a[0], b[0]), max(a[3], b[3]) - min(a[1], b[1])
    iou = both / (union + eps)
    centres = ((a[0] + a[2] - b[0] - b[2]) ** 2 + (a[1] + a[3] - b[1] - b[3]) ** 2) / 4
    distance = centres / (W**2 + H**2 + eps)
    aspect = 4 / math.pi**2 * (math.atan(u / v) - math.atan(w / h)) ** 2
    extra = {
        "iou": 0,
        "giou": (W * H - union) / (W * H + eps),
        "diou": distance,
        "ciou": distance + aspect * aspect / (1 - iou + aspect + eps),
        "eiou": distance + (w - u) ** 2 / (W**2 + eps) + (h - v) ** 2 / (H**2 + eps),
    }[kind]
    return 1 - iou + extra


def boxes(seed, n):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 6, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(1, 5, (n, 2))], 1)


KINDS = ["iou", "giou", "diou", "ciou", "eiou"]


@pytest.mark.parametrize("kind", KINDS)
def test_box_losses(kind):
    a, b = boxes(0, 40), boxes(1, 40)
    b[0] = a[0]
    loss = getattr(losses, f"{kind}_loss")
    wanted = [box_loss(kind, p, q) for p, q in zip(a, b, strict=True)]
    found = loss(Tensor(a), b.astype("f4"), reduction="none").numpy()
    np.testing.assert_allclose(found, wanted, atol=2e-6)
    assert loss(Tensor(a), b.astype("f4")).item() == pytest.approx(np.mean(wanted), abs=1e-5)
    assert found[0] == pytest.approx(0, abs=1e-6)
    assert found.max() > 1 or kind == "iou"  # boxes apart


@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "eiou"])
def test_box_losses_by_central_differences(kind):
    loss = getattr(losses, f"{kind}_loss")
    check_gradient(lambda a, b: loss(a, b, reduction="sum"), boxes(2, 6), boxes(3, 6))


def test_complete_box_loss_takes_its_weight_as_constant():
    """Zheng et al. (2020), section 4.3: no gradient through alpha."""
    a, b = boxes(2, 5), boxes(3, 5)
    t = Tensor(a, True, dtype=np.float64)
    losses.ciou_loss(t, Tensor(b, dtype=np.float64), reduction="sum").backward()
    p, q = torch.tensor(a, requires_grad=True), torch.tensor(b)
    corner, far = torch.maximum(p[:, :2], q[:, :2]), torch.minimum(p[:, 2:], q[:, 2:])
    both = (far - corner).clamp(min=0).prod(1)
    iou = both / ((p[:, 2:] - p[:, :2]).prod(1) + (q[:, 2:] - q[:, :2]).prod(1) - both + 1e-7)
    outer = torch.maximum(p[:, 2:], q[:, 2:]) - torch.minimum(p[:, :2], q[:, :2])
    centres = ((p[:, :2] + p[:, 2:] - q[:, :2] - q[:, 2:]) ** 2).sum(1) / 4
    angle = [torch.atan((s[:, 2] - s[:, 0]) / (s[:, 3] - s[:, 1])) for s in (p, q)]
    aspect = 4 / math.pi**2 * (angle[1] - angle[0]) ** 2
    weight = (aspect / (1 - iou + aspect + 1e-7)).detach()
    (1 - iou + centres / ((outer**2).sum(1) + 1e-7) + weight * aspect).sum().backward()
    np.testing.assert_allclose(t.grad, p.grad, atol=1e-9)


LABELS = np.array([[0, 2], [1, -100]])
SMOOTH = {
    "mse": lambda x: losses.mse_loss(x, np.zeros((2, 3, 2))),
    "l1": lambda x: losses.l1_loss(x, np.zeros((2, 3, 2)), reduction="sum"),
    "huber": lambda x: losses.huber_loss(x, np.zeros((2, 3, 2)), delta=0.4),
    "cross": lambda x: losses.cross_entropy(x, LABELS, weight=[1, 2, 3], label_smoothing=0.2),
    "binary": lambda x: losses.binary_cross_entropy_with_logits(
        x, np.full((2, 3, 2), 0.3), pos_weight=2.0, reduction="sum"
    ),
    "focal": lambda x: losses.focal_loss(x, np.full((2, 3, 2), 0.0), reduction="sum"),
    "kl": lambda x: losses.kl_div(x, np.full((2, 3, 2), 0.3), reduction="batchmean"),
    "gaussian": lambda x: losses.gaussian_kl(x.reshape(2, 6), x.reshape(2, 6)),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_by_central_differences(name):
    check_gradient(SMOOTH[name], numbers(0, (2, 3, 2)))


def test_nan_is_not_hidden():
    x = Tensor(np.array([[np.nan, 1.0]]))
    zero = np.zeros((1, 2), "f4")
    for name in ("mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss"):
        assert math.isnan(getattr(losses, name)(x, zero).item())
    assert math.isnan(losses.cross_entropy(x, [1]).item())
    assert math.isnan(losses.focal_loss(x, zero, reduction="mean").item())


REFUSED = {
    r"mse_loss: input of shape \(2, 4\) and target of \(2, 3\) differ": lambda x: losses.mse_loss(
        x, np.zeros((2, 3))
    ),
    "l1_loss: `reduction` must be one of": lambda x: losses.l1_loss(x, x, reduction="avg"),
    "huber_loss: `delta` must be positive, got 0": lambda x: losses.huber_loss(x, x, delta=0),
    "`beta` must not be negative": lambda x: losses.smooth_l1_loss(x, x, beta=-1),
    "`label_smoothing` must be from 0 to 1": lambda x: losses.cross_entropy(
        x, [0, 1], label_smoothing=2
    ),
    r"`weight` must have shape \(4,\)": lambda x: losses.cross_entropy(x, [0, 1], weight=[1, 2]),
    r"giou_loss: boxes must have shape \(..., 4\), got \(8,\)": lambda x: losses.giou_loss(
        x.reshape(8), np.zeros(8)
    ),
}


@pytest.mark.parametrize("says", REFUSED)
def test_refuses(says):
    with pytest.raises(NetError, match=says):
        REFUSED[says](Tensor(np.zeros((2, 4))))
