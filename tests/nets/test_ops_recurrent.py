"""Embedding and recurrent layers beside PyTorch's."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twins import check_gradient, compare, torch

from nets.autograd.ops import recurrent
from nets.autograd.tensor import Tensor
from nets.runtime.threads import threads
from vj.errors import NetError

F = torch.nn.functional
ASK = settings(max_examples=40)
GATES = {"rnn": 1, "lstm": 4, "gru": 3}
lengths = st.integers(1, 5)
units = st.sampled_from([1, 3, 8, 13, 16])


def arguments(kind, t, n, inputs, size, *, seed=0, biases=True):
    rng, gates = np.random.default_rng(seed), GATES[kind]
    shapes = [(t, n, inputs), (n, size), *([(n, size)] if kind == "lstm" else []),
              (gates * size, inputs), (gates * size, size)]  # fmt: skip
    if biases:
        shapes += [(gates * size,)] * 2
    return [0.7 * rng.standard_normal(s).astype("f4") for s in shapes]


def pytorch(kind, nonlinearity="tanh"):
    """The same arguments and results for PyTorch's own functions."""

    def run(x, h, *rest):
        rest = [r for r in rest if r is not None]
        tail = (len(rest) > 3, 1, 0.0, True, False, False)
        if kind == "lstm":
            c, *weights = rest
            y, h, c = torch.lstm(x, (h[None], c[None]), weights, len(weights) > 2, *tail[1:])
            return y, h[0], c[0]
        name = f"rnn_{nonlinearity}" if kind == "rnn" else kind
        y, h = getattr(torch, name)(x, h[None], rest, len(rest) > 2, *tail[1:])
        return y, h[0]

    return run


@ASK
@given(
    st.sampled_from([*GATES]), lengths, lengths, lengths, units, st.booleans(), st.integers(0, 9)
)
@example("lstm", 3, 40, 5, 130, True, 0)
@example("gru", 3, 40, 5, 150, True, 0)
def test_as_in_pytorch(kind, t, n, inputs, size, biases, seed):
    args = arguments(kind, t, n, inputs, size, seed=seed, biases=biases)
    compare(getattr(recurrent, kind), pytorch(kind), *args, tolerance=3e-5)


def test_rectified_network_as_in_pytorch():
    compare(
        lambda *a: recurrent.rnn(*a, nonlinearity="relu"), pytorch("rnn", "relu"),
        *arguments("rnn", 4, 3, 2, 5),
    )  # fmt: skip


@pytest.mark.parametrize("kind", GATES)
def test_gradient_of_one_result_alone(kind):
    """Where only the last state, or only the outputs, are used."""
    args = arguments(kind, 3, 2, 2, 4)
    for pick in range(3 if kind == "lstm" else 2):
        compare(
            lambda *a, k=pick: getattr(recurrent, kind)(*a)[k],
            lambda *a, k=pick: pytorch(kind)(*a)[k], *args,
        )  # fmt: skip


@pytest.mark.parametrize("kind", GATES)
def test_gradients_by_central_differences(kind):
    check_gradient(getattr(recurrent, kind), *arguments(kind, 3, 2, 2, 3))


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_kernels_as_in_float64(kind):
    args = arguments(kind, 4, 3, 3, 11)
    exact = getattr(recurrent, kind)(*(Tensor(a, dtype=np.float64) for a in args))
    for a, b in zip(getattr(recurrent, kind)(*map(Tensor, args)), exact, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=2e-6)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_same_bits_for_any_number_of_threads(kind):
    found = []
    for n in (1, 3):
        with threads(n):
            args = [Tensor(a, True) for a in arguments(kind, 3, 90, 4, 260)]
            y = getattr(recurrent, kind)(*args)[0]
            y.backward(np.ones(y.shape))
            found.append([y.numpy(), *(a.grad for a in args)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_nan_stays_in_its_sequence():
    args = arguments("lstm", 3, 4, 2, 9)
    args[0][1, 2] = np.nan
    y = recurrent.lstm(*map(Tensor, args))[0].numpy()
    assert np.isnan(y[1:, 2]).all()
    assert np.isfinite(np.delete(y, 2, 1)).all()


@ASK
@given(st.integers(1, 6), st.integers(1, 5), st.lists(st.integers(0, 4), max_size=3), st.data())
def test_embedding_as_in_pytorch(words, size, shape, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    index = rng.integers(0, words, shape)
    weight = rng.standard_normal((words, size)).astype("f4")
    compare(
        lambda w: recurrent.embedding(w, index=index),
        lambda w: F.embedding(torch.tensor(index), w), weight, layout=False,
    )  # fmt: skip


def test_embedding_by_central_differences():
    weight = np.random.default_rng(0).standard_normal((4, 3))
    check_gradient(lambda w: recurrent.embedding(w, index=np.array([[1, 3], [1, 0]])), weight)


REFUSED = {
    "`index` 7 is out of range: weight has 4 rows": lambda a: recurrent.embedding(
        Tensor(np.zeros((4, 2))), index=np.array([1, 7])
    ),
    "`index` -1 is out of range": lambda a: recurrent.embedding(
        Tensor(np.zeros((4, 2))), index=np.array([1, -1])
    ),
    "`index` must hold integers, got float64": lambda a: recurrent.embedding(
        Tensor(np.zeros((4, 2))), index=np.array([1.0])
    ),
    "`nonlinearity` must be": lambda a: recurrent.rnn(*a, nonlinearity="sigmoid"),
    r"lstm: x must have shape \(T, N, I\)": lambda a: recurrent.lstm(a[0][0], a[1], a[1], *a[2:]),
    r"gru: w_ih must have shape \(15, 2\), got \(5, 2\)": lambda a: recurrent.gru(*a),
    r"rnn: h0 must have shape \(3, H\), got \(5,\)": lambda a: recurrent.rnn(
        a[0], a[1][0], *a[2:]
    ),
    r"lstm: c0 of shape \(3, 2\) does not fit h0": lambda a: recurrent.lstm(
        *(Tensor(b) for b in np_lstm()[:2]), Tensor(np.zeros((3, 2))),
        *(Tensor(b) for b in np_lstm()[3:]),
    ),
}  # fmt: skip


def np_lstm():
    return arguments("lstm", 4, 3, 2, 5)


@pytest.mark.parametrize("says", REFUSED)
def test_refuses(says):
    with pytest.raises(NetError, match=says):
        REFUSED[says]([Tensor(a) for a in arguments("rnn", 4, 3, 2, 5)])
