"""Pooling, unpooling and resizing beside PyTorch's, in any geometry and number of threads."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from twins import channels_last, check_gradient, compare, torch

from nets.autograd.ops import pooling
from nets.autograd.tensor import Tensor
from nets.runtime.threads import threads
from vj.errors import NetError

F = torch.nn.functional
ASK = settings(max_examples=40)
seeds = st.integers(0, 99)
channels = st.sampled_from([1, 3, 6, 8, 17, 24])


def images(seed, shape, levels=None):
    """Random numbers; of few ``levels`` there are many equal ones."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape).astype("f4")
    return x if levels is None else np.round(x * levels).astype("f4")


@st.composite
def windows(draw, dilated=True):
    """A geometry that PyTorch accepts, and an image size that it fits."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(st.integers(1, 4), st.integers(1, 3)))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 2))) if dilated else (1, 1)
    least = [d * (k - 1) + 1 - 2 * p
             for k, p, d in zip(kernel, padding, dilation, strict=True)]  # fmt: skip
    size = tuple(max(1, n) + draw(st.integers(0, 7)) for n in least)
    # A window that holds no pixel at all has no largest number.
    for n, k, p, d in zip(size, kernel, padding, dilation, strict=True):
        assume(any(0 <= u * d - p < n for u in range(k)))
        assume(n >= d)
    options = {"kernel": kernel, "stride": stride, "padding": padding,
               "ceil_mode": draw(st.booleans())}  # fmt: skip
    return size, {**options, "dilation": dilation} if dilated else options


def renamed(options):
    return {"kernel_size" if k == "kernel" else k: v for k, v in options.items()}


@ASK
@given(windows(), channels, st.integers(1, 3), seeds)
def test_max_pool_as_in_pytorch(how, c, n, seed):
    size, options = how
    x = images(seed, (n, c, *size), levels=2)
    compare(
        lambda x: pooling.max_pool2d(x, **options),
        lambda x: F.max_pool2d(x, **renamed(options)), x,
    )  # fmt: skip


@ASK
@given(windows(), channels, seeds)
def test_switches_as_in_pytorch_and_back(how, c, seed):
    size, options = how
    x = images(seed, (2, c, *size))
    y, switches = pooling.max_pool2d_with_switches(Tensor(x), **options)
    theirs, where = F.max_pool2d(torch.tensor(x), **renamed(options), return_indices=True)
    np.testing.assert_array_equal(y.numpy(), theirs)
    np.testing.assert_array_equal(switches, where)
    assert switches.dtype == np.int64
    # A number that two windows chose is written twice; with gradients only the sum would differ.
    assume(all(np.unique(s).size == s.size for s in switches.reshape(2 * c, -1)))
    compare(
        lambda y: pooling.max_unpool2d(y, switches=switches, size=size),
        lambda y: torch.ops.aten.max_unpool2d(y, where, size), images(seed, y.shape),
    )  # fmt: skip


@ASK
@given(windows(dilated=False), st.booleans(), channels, seeds)
def test_mean_pool_as_in_pytorch(how, with_pad, c, seed):
    size, options = how
    x = images(seed, (2, c, *size))
    compare(
        lambda x: pooling.avg_pool2d(x, **options, count_include_pad=with_pad),
        lambda x: F.avg_pool2d(x, **renamed(options), count_include_pad=with_pad), x,
    )  # fmt: skip


@ASK
@given(st.tuples(*[st.integers(1, 9)] * 4), channels, seeds)
def test_adaptive_and_nearest_as_in_pytorch(sizes, c, seed):
    x, size = images(seed, (2, c, *sizes[:2])), sizes[2:]
    compare(
        lambda x: pooling.adaptive_avg_pool2d(x, size=size),
        lambda x: F.adaptive_avg_pool2d(x, size), x,
    )  # fmt: skip
    compare(lambda x: pooling.upsample_nearest(x, size=size), lambda x: F.interpolate(x, size), x)


@ASK
@given(st.tuples(*[st.integers(1, 9)] * 4), st.booleans(), channels, seeds)
def test_bilinear_as_in_pytorch(sizes, corners, c, seed):
    x, size = images(seed, (2, c, *sizes[:2])), sizes[2:]
    compare(
        lambda x: pooling.upsample_bilinear(x, size=size, align_corners=corners),
        lambda x: F.interpolate(x, size, mode="bilinear", align_corners=corners), x,
    )  # fmt: skip


def test_nan_wins_and_infinite_numbers_pass():
    x = images(0, (2, 5, 6, 6))
    x[0, 1, 2:4, 3], x[1, 4, 0, 0], x[1, :, 3:] = np.nan, np.inf, -np.inf
    how = {"kernel": (3, 2), "stride": (2, 2), "padding": (1, 0)}
    y, switches = pooling.max_pool2d_with_switches(Tensor(channels_last(x)), **how)
    theirs, where = F.max_pool2d(torch.tensor(x), **renamed(how), return_indices=True)
    np.testing.assert_array_equal(y.numpy(), theirs)
    there = np.isfinite(y.numpy())
    np.testing.assert_array_equal(switches[there], where.numpy()[there])
    compare(
        lambda x: pooling.max_pool2d(x, **how), lambda x: F.max_pool2d(x, **renamed(how)),
        np.where(np.isnan(x), 9, x).clip(-99, 99),
    )  # fmt: skip


OPS = {
    "max": lambda x: pooling.max_pool2d(x, kernel=(3, 3), stride=(2, 2), padding=(1, 1)),
    "mean": lambda x: pooling.avg_pool2d(x, kernel=(3, 2), stride=(2, 2), padding=(1, 0)),
    "adaptive": lambda x: pooling.adaptive_avg_pool2d(x, size=(3, 2)),
    "nearest": lambda x: pooling.upsample_nearest(x, size=(7, 9)),
    "bilinear": lambda x: pooling.upsample_bilinear(x, size=(7, 9)),
}


@pytest.mark.parametrize("name", OPS)
def test_gradients_by_central_differences(name):
    check_gradient(OPS[name], images(1, (2, 3, 5, 4)))


def test_gradient_of_unpooling_by_central_differences():
    x = images(2, (1, 3, 6, 4))
    _, switches = pooling.max_pool2d_with_switches(Tensor(x), kernel=(2, 2), stride=(2, 2))
    check_gradient(
        lambda y: pooling.max_unpool2d(y, switches=switches, size=(6, 4)), images(3, (1, 3, 3, 2))
    )


@pytest.mark.parametrize("name", OPS)
def test_same_bits_for_any_number_of_threads(name):
    x = images(4, (3, 21, 40, 41))
    found = []
    for n in (1, 3):
        with threads(n):
            one = Tensor(x, requires_grad=True)
            y = OPS[name](one)
            y.backward(images(5, y.shape))
            found.append((y.numpy(), one.grad))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


REFUSED = {
    "x must have shape .N, C, H, W.*got .3, 4.": lambda x: pooling.max_pool2d(
        Tensor(np.zeros((3, 4))), kernel=(2, 2), stride=(1, 1)
    ),
    "`padding` must be at most half of the window, got 2": lambda x: pooling.max_pool2d(
        x, kernel=(3, 3), stride=(1, 1), padding=(2, 0)
    ),
    "an image of 5 pixels with padding 0 is smaller": lambda x: pooling.avg_pool2d(
        x, kernel=(6, 1), stride=(1, 1)
    ),
    "`stride` must be two integers .* of at least 1": lambda x: pooling.max_pool2d(
        x, kernel=(3, 3), stride=(1, 0)
    ),
    "`size` must be two positive integers": lambda x: pooling.upsample_bilinear(x, size=(0, 3)),
    "`switches` of shape": lambda x: pooling.max_unpool2d(
        x, switches=np.zeros((2, 3, 5, 1), int), size=(9, 9)
    ),
    "`switches` from 0 to 100 do not fit an image of 9x9": lambda x: pooling.max_unpool2d(
        x, switches=100 * np.eye(4, dtype=int)[None, None, :, :], size=(9, 9)
    ),
}


@pytest.mark.parametrize("says", REFUSED)
def test_refuses(says):
    x = Tensor(images(0, (1, 1, 4, 4) if "100" in says else (2, 3, 5, 4)))
    with pytest.raises(NetError, match=says):
        REFUSED[says](x)
