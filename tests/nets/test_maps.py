"""The kernels beside convolution, each against its readable twin."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

pytest.importorskip("onnx")
from onnx_graphs import model, node, value

from nets import reference as ref
from nets.conv.tensor_layout import TensorLayout, aligned, geometry
from nets.kernels import layout, pointwise, recurrent
from nets.operators.activation import Unary
from nets.operators.layer import Image, Place
from nets.operators.layout import Copy
from nets.operators.normalisation import Norm, Response
from nets.operators.pooling import Axis, Pool, Unpool
from nets.operators.reduction import Maxout
from nets.operators.softmax import Softmax

f4 = np.float32
sizes = st.integers(1, 9)


class Bench:
    """Maps in an arena full of NaN, and layers run on them in bands."""

    def __init__(self):
        self.arena, self.end, self.places = aligned(1 << 17), 64, {}
        self.arena[:] = np.nan

    def put(self, name, array=None, *, form=None, channels=None):
        n, c, h, w = array.shape if form is None else form
        slot = TensorLayout.packed(self.end, h, w, channels or c, images=n, halo=(1, 1, 1, 1))
        self.end += n * slot.image + 64
        assert self.end < len(self.arena)
        slot = slot._replace(channels=c)
        self.places[name] = Place(slot, channels is None)
        if array is not None:
            lanes = self.view(name, slot.pixel)
            lanes[:] = 7
            self.view(name)[:] = array.transpose(0, 2, 3, 1)
        return self

    def view(self, name, channels=None):
        s = self.places[name].layout
        return np.lib.stride_tricks.as_strided(
            self.arena[s.offset :], (s.images, s.height, s.width, channels or s.channels),
            [4 * k for k in (s.image, s.row, s.pixel, 1)],
        )  # fmt: skip

    def run(self, layer, bands=(0, 1)):
        for step in layer.steps(self.places.__getitem__):
            scratch = np.full(step.scratch, np.nan, f4)
            edges = sorted({0, step.rows, *(b % (step.rows + 1) for b in bands)})
            for first, last in reversed([*pairwise(edges)]):
                step.kernel(
                    self.arena, step.weights, step.bias, step.shape, f4(step.lo), f4(step.hi),
                    first, last, scratch,
                )  # fmt: skip
        return self.view(layer.output).transpose(0, 3, 1, 2)


def maps(rng, channels=None):
    n, c, h, w = rng.integers(1, 3), channels or rng.integers(1, 20), *rng.integers(1, 8, 2)
    return rng.standard_normal((n, c, h, w)).astype(f4)


seeds = st.integers(0, 1 << 20)
bands = st.lists(st.integers(0, 40), max_size=3)

# Name, code, two parameters, and the function in float64.
FUNCTIONS = [
    (pointwise.COPY, 0, 0, lambda x: x),
    (pointwise.SIGMOID, 0, 0, expit),
    (pointwise.TANH, 0, 0, np.tanh),
    (pointwise.EXP, 0, 0, np.exp),
    (pointwise.ELU, 0.7, 0, lambda x: np.where(x > 0, x, f4(0.7) * np.expm1(x))),
    (pointwise.LEAKY, 0.2, 0, lambda x: np.where(x < 0, f4(0.2) * x, x)),
    (pointwise.HARD_SIGMOID, 0.25, 0.5, lambda x: np.clip(0.25 * x + 0.5, 0, 1)),
    (pointwise.HARD_SWISH, 1 / 6, 0.5, lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    (pointwise.SWISH, 1.0, 0, lambda x: x * expit(x)),
    (pointwise.SQRT, 0, 0, np.sqrt),
    (pointwise.ABS, 0, 0, np.abs),
]


@pytest.mark.parametrize(("code", "a", "b", "function"), FUNCTIONS, ids=lambda v: str(v)[:3])
def test_functions_are_accurate(code, a, b, function):
    """Within a few units in the last place, over the whole range, and at the odd numbers."""
    wide = np.concatenate([np.linspace(-110, 110, 20001), np.geomspace(1e-30, 1e30, 4001)])
    x = np.concatenate([wide, -wide[20001:], [0.0, -0.0, np.inf, -np.inf, np.nan]]).astype(f4)
    for part in np.array_split(x, 30):
        bench = Bench().put("x", part.reshape(1, -1, 1, 1))
        bench.put("y", form=(1, len(part), 1, 1))
        got = bench.run(Unary("n", "x", "y", code, a, b)).ravel()
        with np.errstate(all="ignore"):
            want = function(part.astype(np.float64))
        usual = np.abs(want) < 1e38
        # A sum that cancels is as exact as its terms; what is denormal may be 0.
        absolute = 2e-6 if code == pointwise.HARD_SWISH else 1e-35
        np.testing.assert_allclose(got[usual], want[usual], rtol=6e-7, atol=absolute)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))


@settings(max_examples=40)
@given(seeds, bands)
def test_slices_are_touched_and_nothing_else(seed, cuts):
    """A function of a slice of channels into a slice of channels."""
    rng = np.random.default_rng(seed)
    x = maps(rng)
    bench = Bench().put("x", x, channels=x.shape[1] + 5).put("y", form=x.shape, channels=40)
    before = np.isnan(bench.arena)
    np.testing.assert_array_equal(bench.run(Copy("n", "x", "y"), cuts), x)
    assert (np.isnan(bench.arena) != before).sum() == x.size


@settings(max_examples=40)
@given(seeds, bands)
def test_softmax(seed, cuts):
    rng = np.random.default_rng(seed)
    x = maps(rng) * 20
    bench = Bench().put("x", x).put("y", form=x.shape)
    got = bench.run(Softmax("n", ["x"], "y"), cuts)
    for n, i, j in np.ndindex(x.shape[0], *x.shape[2:]):
        np.testing.assert_allclose(
            got[n, :, i, j], ref.softmax(x[n, :, i, j]), rtol=2e-6, atol=2e-38
        )


@settings(max_examples=40)
@given(seeds, bands, st.integers(1, 3), st.integers(1, 3))
def test_pooling_with_switches_and_back(seed, cuts, kernel, stride):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 9, (1, rng.integers(1, 12), 6, 7)).astype(f4)
    window, step = (kernel, kernel), (stride, stride)
    pad = int(rng.integers(0, kernel))
    best, switches = ref.max_pool2d(x, window, step, (pad, pad))
    form = Image(*best.shape)
    axes = tuple(
        Axis(n, m, kernel, stride, 1, pad, pad)
        for n, m in zip(x.shape[2:], best.shape[2:], strict=True)
    )
    bench = Bench().put("x", x).put("y", form=form).put("s", form=form).put("z", form=x.shape)
    layer = Pool("n", "x", "y", Image(*x.shape), form, axes, mean=False, switches="s",
                 window=kernel)  # fmt: skip
    np.testing.assert_array_equal(bench.run(layer, cuts), best)
    np.testing.assert_array_equal(bench.view("s").transpose(0, 3, 1, 2), switches)
    back = bench.run(Unpool("n", "y", "s", "z", Image(*x.shape), axes, kernel))
    want = ref.max_unpool2d(best, switches, x.shape[2:], window, step, (pad, pad))
    np.testing.assert_array_equal(back, want)
    np.testing.assert_array_equal(back[back != 0], x[back != 0])


@settings(max_examples=30)
@given(seeds, bands, sizes, sizes)
def test_adaptive_pooling(seed, cuts, rows, cols):
    rng = np.random.default_rng(seed)
    x = maps(rng)
    form = Image(x.shape[0], x.shape[1], rows, cols)
    axes = (Axis.adaptive(x.shape[2], rows), Axis.adaptive(x.shape[3], cols))
    bench = Bench().put("x", x).put("y", form=form)
    got = bench.run(Pool("n", "x", "y", Image(*x.shape), form, axes, mean=True), cuts)
    np.testing.assert_allclose(got, ref.adaptive_avg_pool2d(x, (rows, cols)), atol=1e-6)


@settings(max_examples=30)
@given(seeds, bands, st.integers(1, 4))
def test_maxout(seed, cuts, pieces):
    rng = np.random.default_rng(seed)
    x = maps(rng, int(rng.integers(1, 6)) * pieces)
    bench = Bench().put("x", x)
    bench.put("y", form=(x.shape[0], x.shape[1] // pieces, *x.shape[2:]))
    np.testing.assert_array_equal(
        bench.run(Maxout("n", "x", "y", pieces), cuts), ref.maxout(x, pieces)
    )


@settings(max_examples=30)
@given(seeds, st.integers(1, 3), st.integers(1, 4))
def test_group_norm(seed, groups, share):
    rng = np.random.default_rng(seed)
    x = maps(rng, groups * share) + 100
    a, b = rng.standard_normal((2, groups * share)).astype(f4)
    bench = Bench().put("x", x).put("y", form=x.shape)
    got = bench.run(Norm("n", "x", "y", groups, 1e-3, (a, b)))
    np.testing.assert_allclose(got, ref.group_norm(x, groups, a, b, 1e-3), atol=2e-3)


@settings(max_examples=30)
@given(seeds, bands, st.integers(1, 6))
def test_local_response_norm(seed, cuts, size):
    rng = np.random.default_rng(seed)
    x = maps(rng)
    bench = Bench().put("x", x).put("y", form=x.shape)
    got = bench.run(Response("n", "x", "y", size, 2.0, 0.3, 0.75), cuts)
    want = ref.local_response_norm(x, size, 0.3, 0.75, 2.0)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def run_rows(kernel, arena, weights, bias, shape, rows, cuts):
    """Call a kernel band by band, the last one first."""
    edges = sorted({0, rows, *(c % (rows + 1) for c in cuts)})
    for first, last in reversed([*pairwise(edges)]):
        kernel(arena, weights, bias, shape, f4(0), f4(0), first, last, np.zeros(8, f4))


@settings(max_examples=30)
@given(seeds, bands, st.integers(1, 5))
def test_planes_in_and_out(seed, cuts, channels):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, channels, 3, int(rng.integers(1, 40)))).astype(f4)
    arena = aligned(1 << 14)
    for pixel in (8, channels):
        slot = TensorLayout.packed(64, 3, x.shape[3], channels, images=2, pixel=pixel)
        shape = geometry(slot, slot, 3, x.shape[3], channels)
        shape[layout.IMAGES] = 2
        run_rows(layout.planes_in, arena, x.ravel(), x.ravel(), shape, 6, cuts)
        out = np.zeros(x.size, f4)
        layout.planes_out(arena, shape, out)
        np.testing.assert_array_equal(out.reshape(x.shape), x)


@settings(max_examples=30)
@given(seeds, bands, st.booleans())
def test_image_in(seed, cuts, swap):
    rng = np.random.default_rng(seed)
    rows, cols = rng.integers(1, 30, 2)
    images = rng.integers(0, 256, (2, rows, cols, 3), np.uint8)
    images.flags.writeable = False
    high, wide = rows + rng.integers(0, 5), cols + rng.integers(0, 5)
    slot = TensorLayout.packed(0, high, wide, 3, images=2, pixel=3)
    addresses = [image.ctypes.data for image in images]
    shape = geometry(slot, slot, high, wide, 3, addresses)
    shape[[layout.HIGH, layout.WIDE, layout.SWAP]] = rows, cols, swap
    arena, affine = aligned(1 << 14), f4([0.5, -2])
    run_rows(layout.image_in, arena, affine, affine, shape, 2 * high, cuts)
    want = np.full((2, high, wide, 3), -2, f4)
    want[:, :rows, :cols] = (images[..., ::-1] if swap else images) * f4(0.5) - 2
    np.testing.assert_array_equal(arena[: want.size].reshape(want.shape), want)


@settings(max_examples=20)
@given(seeds)
def test_gates(seed):
    """One step of LSTM and GRU; a sequence that has ended keeps its state."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 6))
    x, r = rng.standard_normal((2, 4 * size)), rng.standard_normal((4 * size, size))
    h, c = rng.standard_normal((2, 2, size)).astype(f4)
    ends = np.array([3, 1])
    new_h, new_c = h.copy(), c.copy()
    recurrent.lstm_gates((x + h @ r.T).astype(f4), np.zeros(3 * size, f4), ends, 1, new_h, new_c)
    eye = np.eye(4 * size)
    want = ref.lstm_step(x[0], h[0], c[0], eye, r, np.zeros(4 * size))
    np.testing.assert_allclose([new_h[0], new_c[0]], want, atol=1e-5)
    np.testing.assert_array_equal([new_h[1], new_c[1]], [h[1], c[1]])
    new_h, m = h.copy(), 3 * size
    recurrent.gru_gates(x[:, :m].astype(f4), (h @ r[:m].T).astype(f4), ends, 1, new_h)
    want = ref.gru_step(x[0, :m], h[0], eye[:m, :m], r[:m], np.zeros(m), np.zeros(m))
    np.testing.assert_allclose(new_h[0], want, atol=1e-5)
    np.testing.assert_array_equal(new_h[1], h[1])


def test_unpooling_in_a_plan():
    """Switches stay in the arena where nothing but the unpooling wants them."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((5, 3, 3, 3)).astype(f4)
    two = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1] * 4), node("MaxPool", ["a"], ["p", "i"], **two),
        node("Relu", ["p"], ["r"]), node("MaxUnpool", ["r", "i"], ["y"], **two),
    ]  # fmt: skip
    net = model(nodes, [value("x", [1, 3, 6, 8])], [value("y", None), value("a", None)], {"w": w})
    out = net.run({"x": rng.standard_normal((1, 3, 6, 8)).astype(f4)})
    y, a = out["y"], out["a"]
    assert np.count_nonzero(y) == (ref.max_pool2d(a, (2, 2))[0] > 0).sum()
    np.testing.assert_array_equal(y[y != 0], a[y != 0])
    plan = net.plan({"x": (1, 3, 6, 8)})
    assert [layer.kind for layer in plan.layers][-1] == "unpool"


def test_maxout_in_a_plan():
    rng = np.random.default_rng(0)
    w = rng.standard_normal((6, 3, 1, 1)).astype(f4)
    nodes = [
        node("Conv", ["x", "w"], ["a"]), node("Reshape", ["a", "s"], ["b"]),
        node("ReduceMax", ["b"], ["y"], axes=[2], keepdims=0),
    ]  # fmt: skip
    constants = {"w": w, "s": np.array([0, 2, 3, 4, 5])}
    net = model(nodes, [value("x", [2, 3, 4, 5])], [value("y", None), value("a", None)], constants)
    out = net.run({"x": rng.standard_normal((2, 3, 4, 5)).astype(f4)})
    np.testing.assert_array_equal(out["y"], ref.maxout(out["a"], 3))
    assert net.plan({"x": (2, 3, 4, 5)}).layers[-1].kind == "maxout"


def test_the_exponential_is_exact_where_it_is_easy():
    bench = Bench().put("x", f4([0, -0.0, np.inf, -np.inf, 200, -200]).reshape(1, 6, 1, 1))
    bench.put("y", form=(1, 6, 1, 1))
    got = bench.run(Unary("n", "x", "y", pointwise.EXP)).ravel()
    np.testing.assert_array_equal(got, [1, 1, math.inf, 0, math.inf, 0])
