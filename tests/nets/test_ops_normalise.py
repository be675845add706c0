"""Normalisation beside PyTorch's, with the activation fused, in training and evaluation."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twins import check_gradient, close, compare, torch

from nets.autograd.ops import normalisation
from nets.autograd.tensor import Tensor
from nets.runtime.threads import threads
from vj.errors import NetError

F = torch.nn.functional
ASK = settings(max_examples=40)
seeds = st.integers(0, 99)
ACTIVATIONS = {None: lambda y: y, "relu": F.relu, "relu6": F.relu6}


def numbers(seed, *shape, mean=0.0, spread=1.0):
    x = np.random.default_rng((seed, *shape)).standard_normal(shape)
    return (x * spread + mean).astype("f4")


shapes = st.one_of(
    st.tuples(st.integers(2, 6), st.integers(1, 40)),
    st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(2, 5)),
    st.tuples(st.integers(1, 3), st.sampled_from([1, 3, 8, 16, 21, 48]),
              st.integers(1, 7), st.integers(2, 6)),
)  # fmt: skip


@ASK
@given(shapes, st.sampled_from([*ACTIVATIONS]), st.booleans(), st.booleans(), seeds)
@example((4, 21, 50, 50), "relu", True, True, 0)  # long enough for several partial sums
def test_batch_norm_as_in_pytorch(shape, activation, training, affine, seed):
    c = shape[1]
    x = numbers(seed, *shape, mean=2.0, spread=3.0)
    scale, shift = (numbers(seed, c), numbers(seed + 1, c)) if affine else (None, None)
    moments = numbers(seed + 2, c), 0.5 + numbers(seed + 3, c) ** 2
    ours, theirs = [m.copy() for m in moments], [torch.tensor(m) for m in moments]
    how = {"training": training, "momentum": 0.3, "eps": 1e-3}
    compare(
        lambda *a: normalisation.batch_norm(*a, running=tuple(ours), activation=activation, **how),
        lambda x, w, b: ACTIVATIONS[activation](F.batch_norm(x, *theirs, w, b, **how)),
        x, scale, shift, tolerance=3e-5,
    )  # fmt: skip
    for a, b, before in zip(ours, theirs, moments, strict=True):
        close(a, b, 1e-5)
        assert training or np.array_equal(a, before)


def test_batch_norm_far_from_zero():
    """The mean is a thousand times the deviation: sums of squares in float32 would be noise."""
    x = numbers(0, 8, 6, 9, 9, mean=1000.0)
    y = normalisation.batch_norm(Tensor(x), None, None, running=None, training=True).numpy()
    exact = x.astype("f8")
    exact -= exact.mean((0, 2, 3), keepdims=True)
    exact /= np.sqrt(np.mean(exact**2, (0, 2, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(y, exact, atol=2e-4)


def test_batch_norm_passes_nan_on_in_its_channel_only():
    x = numbers(1, 2, 3, 4, 4)
    x[1, 1, 2, 2] = np.nan
    t = Tensor(x, requires_grad=True)
    y = normalisation.batch_norm(t, None, None, running=None, training=True, activation="relu")
    y.backward(np.ones(x.shape))
    for found in (y.numpy(), t.grad):
        assert np.isnan(found[:, 1]).all()
        assert np.isfinite(found[:, [0, 2]]).all()


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_by_central_differences(training):
    moments = numbers(1, 3).astype("f8"), 0.5 + numbers(2, 3).astype("f8") ** 2

    def twin(x, w, b):
        mean, var = (x.mean((0, 2, 3)), x.var((0, 2, 3))) if training else moments
        normal = (x - mean[:, None, None]) / np.sqrt(var + 1e-5)[:, None, None]
        return np.maximum(normal * w[:, None, None] + b[:, None, None], 0)

    check_gradient(
        lambda *a: normalisation.batch_norm(
            *a, running=tuple(m.astype("f4") for m in moments), training=training,
            activation="relu",
        ),
        numbers(0, 2, 3, 3, 4), numbers(3, 3), numbers(4, 3), twin=twin, tolerance=2e-5,
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(3, 24, 40, 41), (5, 7, 60, 61)])
def test_same_bits_for_any_number_of_threads(shape):
    found = []
    for n in (1, 3):
        with threads(n):
            args = [Tensor(numbers(k, *s), True) for k, s in enumerate([shape, shape[1:2]])]
            y = normalisation.batch_norm(
                *args, None, running=None, training=True, activation="relu"
            )
            z = normalisation.group_norm(y, args[1], None, groups=1)
            z.backward(numbers(9, *shape))
            found.append([y.numpy(), z.numpy(), *(a.grad for a in args)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


@ASK
@given(
    st.integers(1, 4), st.integers(1, 6), st.integers(1, 3),
    st.sampled_from([(), (5,), (3, 4), (8, 8)]), st.booleans(), seeds,
)  # fmt: skip
def test_group_norm_as_in_pytorch(groups, share, n, size, affine, seed):
    c = groups * share
    if share * int(np.prod(size)) < 2:
        return
    x = numbers(seed, n, c, *size, mean=1.0)
    w, b = (numbers(seed, c), numbers(seed + 1, c)) if affine else (None, None)
    compare(
        lambda x, w, b: normalisation.group_norm(x, w, b, groups=groups, eps=1e-3),
        lambda x, w, b: F.group_norm(x, groups, w, b, 1e-3), x, w, b, tolerance=3e-5,
    )  # fmt: skip


def test_group_norm_by_central_differences():
    def twin(x, w, b):
        split = x.reshape(2, 2, 2, 3, 4)
        split = split - split.mean((2, 3, 4), keepdims=True)
        split /= np.sqrt(np.mean(split**2, (2, 3, 4), keepdims=True) + 1e-5)
        return split.reshape(x.shape) * w[:, None, None] + b[:, None, None]

    check_gradient(
        lambda *a: normalisation.group_norm(*a, groups=2),
        numbers(0, 2, 4, 3, 4), numbers(3, 4), numbers(4, 4), twin=twin, tolerance=2e-5,
    )  # fmt: skip


@ASK
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.data(), seeds)
def test_layer_norm_as_in_pytorch(shape, data, seed):
    own = tuple(shape[data.draw(st.integers(0, len(shape) - 1)) :])
    x, w, b = numbers(seed, *shape), numbers(seed + 1, *own), numbers(seed + 2, *own)
    bias = b if data.draw(st.booleans()) else None
    compare(
        lambda x, w, b: normalisation.layer_norm(x, w, b, eps=1e-2),
        lambda x, w, b: F.layer_norm(x, own, w, b, 1e-2), x, w, bias, tolerance=3e-5, layout=False,
    )  # fmt: skip


@ASK
@given(st.integers(1, 12), st.integers(1, 7), st.sampled_from([(), (3,), (2, 3)]), seeds)
def test_local_response_norm_as_in_pytorch(c, size, rest, seed):
    x = numbers(seed, 2, c, *rest)
    how = {"size": size, "alpha": 0.3, "beta": 0.6, "k": 1.5}
    if len(rest) == 0:  # PyTorch wants pixels
        x = x[..., None]
    compare(
        lambda x: normalisation.local_response_norm(x, **how),
        lambda x: F.local_response_norm(x, **how), x,
    )  # fmt: skip


EXACT = {
    "layer": (lambda *a: normalisation.layer_norm(*a), [(3, 2, 5), (2, 5), (2, 5)]),
    "response": (
        lambda x: normalisation.local_response_norm(x, size=3, alpha=0.5, beta=0.7), [(2, 5, 2, 2)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_gradients_by_central_differences(name):
    function, sizes = EXACT[name]
    check_gradient(function, *(numbers(k, *s) for k, s in enumerate(sizes)))


REFUSED = {
    "training needs more than one value per channel": lambda x, w: normalisation.batch_norm(
        Tensor(np.zeros((1, 3))), None, None, running=None, training=True
    ),
    r"not be empty, got \(0, 4, 3\)": lambda x, w: normalisation.batch_norm(
        Tensor(np.zeros((0, 4, 3))), w, w, running=None, training=True
    ),
    r"group_norm: x of shape \(0, 4\) is empty": lambda x, w: normalisation.group_norm(
        Tensor(np.zeros((0, 4))), w, w, groups=2
    ),
    "evaluation needs `running` statistics": lambda x, w: normalisation.batch_norm(
        x, None, None, running=None, training=False
    ),
    r"weight of shape \(5,\) does not fit the 4 channels": lambda x, w: normalisation.batch_norm(
        x, Tensor(np.ones(5)), None, running=None, training=True
    ),
    '`activation` must be None, "relu" or "relu6", not .elu.': lambda x, w: (
        normalisation.batch_norm(x, None, None, running=None, training=True, activation="elu")
    ),
    "3 groups do not divide the channels": lambda x, w: normalisation.group_norm(x, w, w, groups=3),
    r"bias of shape \(2,\) does not fit": lambda x, w: normalisation.group_norm(
        x, w, Tensor(np.ones(2)), groups=2
    ),
    r"weight of shape \(4,\) does not match the end": lambda x, w: normalisation.layer_norm(
        x, w, None
    ),
    "needs `size` of at least 1": lambda x, w: normalisation.local_response_norm(x, size=0),
}


@pytest.mark.parametrize("says", REFUSED)
def test_refuses(says):
    with pytest.raises(NetError, match=says):
        REFUSED[says](Tensor(numbers(0, 2, 4, 3, 5)), Tensor(np.ones(4)))
