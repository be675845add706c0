"""Beginnings: bounds and spreads of the formulas, bilinear filters, and reproducible numbers."""

import math

import numpy as np
import pytest

from nets.nn import init
from nets.nn.layers import Conv2d, Dropout, Linear
from vj.errors import NetError

SHAPE = (40, 30, 3, 2)  # fan in 180, fan out 240


@pytest.fixture(autouse=True)
def fresh():
    init.seed(0)


@pytest.mark.parametrize(
    ("draw", "std"),
    [
        (lambda: init.xavier_uniform(SHAPE), math.sqrt(2 / 420)),
        (lambda: init.xavier_normal(SHAPE, gain=2), 2 * math.sqrt(2 / 420)),
        (lambda: init.he_uniform(SHAPE), math.sqrt(2 / 180)),
        (lambda: init.he_normal(SHAPE, mode="fan_out"), math.sqrt(2 / 240)),
        (lambda: init.he_normal(SHAPE, slope=1), math.sqrt(1 / 180)),
        (lambda: init.he_normal(SHAPE, nonlinearity="tanh"), 5 / 3 / math.sqrt(180)),
        (lambda: init.normal(SHAPE, 0.02), 0.02),
    ],
)
def test_spread(draw, std):
    weights = draw()
    assert weights.dtype == np.float32
    assert weights.shape == SHAPE
    np.testing.assert_allclose(weights.std(), std, rtol=0.03)
    assert abs(weights.mean()) < 0.05 * std


@pytest.mark.parametrize("name", ["xavier_uniform", "he_uniform"])
def test_bounds_are_those_of_torch(name):
    torch = pytest.importorskip("torch")
    theirs = torch.empty(SHAPE)
    kind = {"xavier_uniform": "xavier_uniform_", "he_uniform": "kaiming_uniform_"}[name]
    getattr(torch.nn.init, kind)(theirs)
    ours = getattr(init, name)(SHAPE)
    np.testing.assert_allclose(np.abs(ours).max(), theirs.abs().max(), rtol=2e-3)


@pytest.mark.parametrize("args", [("relu",), ("leaky_relu", 0.2), ("tanh",), ("sigmoid",)])
def test_gains_are_those_of_torch(args):
    torch = pytest.importorskip("torch")
    assert init.gain(*args) == pytest.approx(torch.nn.init.calculate_gain(*args))


@pytest.mark.parametrize("factor", [2, 3, 8])
@pytest.mark.parametrize("groups", [1, 3])
def test_bilinear_weights_interpolate(factor, groups):
    """Inside, a transposed convolution does what interpolation of half-pixel centres does."""
    torch = pytest.importorskip("torch")
    k = 2 * factor - factor % 2
    shape = (3, 1 if groups == 3 else 3, k, k)
    x = torch.randn(1, 3, 6, 7)
    got = torch.nn.functional.conv_transpose2d(
        x, torch.tensor(init.bilinear(shape)), None, factor, factor // 2, groups=groups
    )
    want = torch.nn.functional.interpolate(x, scale_factor=factor, mode="bilinear")
    inside = (..., slice(factor, -factor), slice(factor, -factor))
    np.testing.assert_allclose(got[inside], want[inside], atol=1e-5)


def test_the_seed_says_everything():
    def build():
        return Linear(5, 4).weight.data, Dropout(0.5).generator.random(3)

    init.seed(7)
    first = build()
    init.seed(7)
    for a, b in zip(first, build(), strict=True):
        np.testing.assert_array_equal(a, b)
    init.seed(np.random.default_rng(7))
    np.testing.assert_array_equal(first[0], build()[0])
    assert not np.array_equal(first[0], build()[0])


def test_dropout_does_not_disturb_weights():
    init.seed(1)
    plain = Linear(3, 3).weight.data
    init.seed(1)
    Dropout(0.5)
    np.testing.assert_array_equal(Linear(3, 3).weight.data, plain)


def test_blank_layers_are_zero_and_leave_the_generator_alone():
    init.seed(1)
    want = Linear(3, 3).weight.data
    init.seed(1)
    with init.blank():
        assert not Conv2d(3, 4, 3).weight.data.any()
        assert not init.normal((4,), 1.0, 5.0).any()
    np.testing.assert_array_equal(Linear(3, 3).weight.data, want)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: init.seed(-1),
            "`seed` must be a non-negative integer or a numpy Generator, got -1",
        ),
        (lambda: init.seed("x"), "got 'x'"),
        (lambda: init.he_normal((3,)), r"weights of shape \(3,\) have no fan-in and fan-out"),
        (
            lambda: init.he_normal((3, 3), mode="in"),
            "must be 'fan_in' or 'fan_out', got 'in'",
        ),
        (lambda: init.gain("gelu"), "`nonlinearity` must be one of .*, got 'gelu'"),
        (lambda: init.bilinear((2, 3, 4, 4)), r"not \(2, 3, 4, 4\)"),
    ],
)
def test_refuses(call, says):
    with pytest.raises(NetError, match=says):
        call()
