"""Plans against the same graphs run node by node on NumPy operators."""

import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")
from onnx_graphs import conv_net, model, node, plain, proto, reference, value

import nets
from nets.compiler import Model
from nets.models import LeNet5
from nets.onnx.reader import parse_graph
from nets.runtime.thread_pool import ThreadPool
from tests.nets.random_graphs import shuffled
from vj.errors import NetError


def weights(rng, *shape):
    return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def check(net, feeds, fast=True, tolerance=1e-5):
    """Equal to the oracle, twice; ``fast`` means that nothing was left to NumPy."""
    want = plain(net, feeds)
    for _ in range(2):
        got = net.run(feeds)
        for name, array in want.items():
            assert got[name].shape == array.shape
            scale = max(1e-6, np.abs(array).max(initial=0))
            np.testing.assert_allclose(got[name], array, atol=tolerance * scale, rtol=1e-4)
    plan = net.plan({k: v.shape for k, v in feeds.items()})
    slow = [layer.name for layer in plan.layers if layer.kind == "numpy"]
    assert bool(slow) != fast, slow
    return plan


def single(rng, op, shape, *others, opset=17, **attrs):
    """A net of one node on a 1x1 convolution, so that its input lies in the arena."""
    c = shape[1]
    names = [f"k{i}" if a is not None else "" for i, a in enumerate(others)]
    constants = {n: a for n, a in zip(names, others, strict=True) if n}
    constants["w"] = weights(rng, c, c, 1, 1)
    return model(
        [node("Conv", ["x", "w"], ["a"]), node(op, ["a", *names], ["y"], **attrs)],
        [value("x", ["n", c, "h", "w"])], [value("y", None)], constants, opset=opset,
    )  # fmt: skip


f4 = np.float32
CHANNEL = np.linspace(0.5, 1.5, 5, dtype=f4)
ONE_NODE = [
    ("Relu", (), {}),
    ("LeakyRelu", (), {"alpha": 0.2}),
    ("PRelu", (CHANNEL.reshape(5, 1, 1),), {}),
    ("PRelu", (f4([0.3]),), {}),
    ("Clip", (f4(-0.2), f4(0.3)), {}),
    ("Clip", (None, f4(0.3)), {}),
    *((op, (), {}) for op in ("Sigmoid", "Tanh", "Exp", "HardSwish", "Abs")),
    ("HardSigmoid", (), {"alpha": 0.3, "beta": 0.4}),
    ("Elu", (), {"alpha": 0.7}),
    ("Add", (CHANNEL.reshape(1, 5, 1, 1),), {}),
    ("Mul", (f4(0.7),), {}),
    ("Sub", (CHANNEL.reshape(5, 1, 1),), {}),
    ("Div", (CHANNEL.reshape(5, 1, 1),), {}),
    ("Softmax", (), {"axis": 1}),
    ("LRN", (), {"size": 3, "alpha": 0.5, "beta": 0.6, "bias": 1.5}),
    ("InstanceNormalization", (CHANNEL, CHANNEL - 1), {}),
    ("BatchNormalization", (CHANNEL, CHANNEL - 1, CHANNEL - 0.5, CHANNEL), {}),
    ("GlobalAveragePool", (), {}),
    ("GlobalMaxPool", (), {}),
    ("ReduceMean", (), {"axes": [2, 3]}),
    ("ReduceMax", (), {"axes": [2, 3], "keepdims": 0}),
    ("MaxPool", (), {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ("MaxPool", (), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("MaxPool", (), {"kernel_shape": [3, 2], "dilations": [2, 1], "ceil_mode": 1}),
    ("AveragePool", (), {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("AveragePool", (), {"kernel_shape": [3, 3], "pads": [1, 0, 1, 1], "count_include_pad": 1}),
    ("AveragePool", (), {"kernel_shape": [3, 3], "pads": [1, 1, 0, 1]}),
    ("Split", (np.array([2, 3]),), {"axis": 1}),
    ("Slice", (np.array([1]), np.array([4]), np.array([1])), {}),
    ("Transpose", (), {"perm": [0, 2, 3, 1]}),
    ("Flatten", (), {}),
    *(
        ("Resize", (None, f4([1, 1, 2, 1.5])),
         {"mode": mode, "coordinate_transformation_mode": how})
        for mode in ("nearest", "linear")
        for how in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    ),
]  # fmt: skip


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize(
    ("op", "others", "attrs"), ONE_NODE, ids=lambda v: v if isinstance(v, str) else None
)
def test_one_node(op, others, attrs, images):
    rng = np.random.default_rng(1)
    opset = 22 if op == "HardSwish" else 17
    x = rng.standard_normal((images, 5, 7, 9)).astype(f4)
    check(single(rng, op, x.shape, *others, opset=opset, **attrs), {"x": x})


def test_conv_with_everything_behind_it():
    """Pad, convolution, batch normalisation, residual, PReLU and clamp are a single layer."""
    rng = np.random.default_rng(2)
    c = 12
    constants = {
        "w": weights(rng, c, c, 3, 3), "b": weights(rng, c), "slope": weights(rng, c, 1, 1),
        "p": np.array([0, 0, 1, 1, 0, 0, 1, 2]), "lo": f4(-0.5), "hi": f4(1),
        **{k: rng.uniform(0.5, 1.5, c).astype(f4) for k in ("s", "o", "m", "v")},
    }  # fmt: skip
    nodes = [
        node("Pad", ["x", "p"], ["xp"]),
        node("Conv", ["xp", "w", "b"], ["a"], pads=[0, 0, 0, 0], strides=[1, 1]),
        node("BatchNormalization", ["a", "s", "o", "m", "v"], ["n"]),
        node("Conv", ["x", "w"], ["side"], pads=[1, 1, 1, 2]),
        node("Add", ["side", "n"], ["sum"]),
        node("PRelu", ["sum", "slope"], ["r"]),
        node("Clip", ["r", "lo", "hi"], ["y"]),
    ]
    net = model(nodes, [value("x", [1, c, 9, 11])], [value("y", None)], constants)
    plan = check(net, {"x": rng.standard_normal((1, c, 9, 11)).astype(f4)})
    assert [layer.kind for layer in plan.layers] == ["import", "conv", "conv"]


def test_heads_are_merged():
    """Thin convolutions of one map become one, and so do the depthwise ones behind them."""
    rng = np.random.default_rng(3)
    nodes, constants, outputs = [node("Relu", ["x"], ["f"])], {"f0": weights(rng, 8, 8, 1, 1)}, []
    nodes = [node("Conv", ["x", "f0"], ["f"])]
    for name, k in (("a", 1), ("b", 4), ("c", 10)):
        constants |= {f"{name}w": weights(rng, k, 8, 1, 1), f"{name}d": weights(rng, k, 1, 3, 3)}
        nodes += [
            node("Conv", ["f", f"{name}w"], [f"{name}1"]),
            node("Conv", [f"{name}1", f"{name}d"], [f"{name}2"], pads=[1, 1, 1, 1], group=k),
            node("Transpose", [f"{name}2"], [f"{name}3"], perm=[0, 2, 3, 1]),
            node("Reshape", [f"{name}3", f"{name}s"], [f"{name}4"]),
            node("Sigmoid", [f"{name}4"], [name]),
        ]
        constants[f"{name}s"] = np.array([0, -1, k])
        outputs.append(value(name, None))
    net = model(nodes, [value("x", ["n", 8, "h", "w"])], outputs, constants)
    for shape in ((1, 8, 6, 5), (2, 8, 7, 9)):
        plan = check(net, {"x": rng.standard_normal(shape).astype(f4)})
        assert sum(layer.kind == "conv" for layer in plan.layers) == 3


def heads(rng, sizes, followed):
    """Thin convolutions of one map; those at ``followed`` have a depthwise one behind them."""
    constants = {f"w{i}": weights(rng, k, 8, 3, 3) for i, k in enumerate(sizes)}
    constants |= {f"d{n}": weights(rng, sizes[i], 1, 3, 3) for n, i in enumerate(followed)}
    nodes = [node("Conv", ["x", f"w{i}"], [f"h{i}"], pads=[1, 1, 1, 1]) for i in range(len(sizes))]
    nodes += [
        node("Conv", [f"h{i}", f"d{n}"], [f"o{n}"], pads=[1, 1, 1, 1], group=sizes[i])
        for n, i in enumerate(followed)
    ]
    ends = [f"h{i}" for i in range(len(sizes)) if i not in followed]
    outputs = [value(o, None) for o in [*ends, *(f"o{n}" for n in range(len(followed)))]]
    return model(nodes, [value("x", [1, 8, "h", "w"])], outputs, constants)


@pytest.mark.parametrize("followed", [(1, 2), (0, 1), (0, 1, 2), (0, 1, 2, 2), (0, 2)], ids=str)
def test_some_heads_go_on(followed):
    """Depthwise convolutions are merged where each slice of the heads has one, and only there."""
    rng = np.random.default_rng(15)
    plan = check(heads(rng, (1, 10, 4), followed), {"x": rng.standard_normal((1, 8, 6, 5), f4)})
    convolutions = sum(layer.kind == "conv" for layer in plan.layers)
    assert convolutions == (2 if followed == (0, 1, 2) else 1 + len(followed))


def test_depthwise_convolutions_one_after_the_other_in_one_join():
    """Neighbours in a Concat are no layer of their own where one feeds the other."""
    rng = np.random.default_rng(16)
    constants = {"w": weights(rng, 8, 3, 1, 1), "v": weights(rng, 8, 8, 1, 1)}
    constants |= {name: weights(rng, 8, 1, 3, 3) for name in ("d", "e")}
    nodes = [
        node("Conv", ["x", "w"], ["a"]),
        node("Conv", ["a", "d"], ["p"], pads=[1] * 4, group=8),
        node("Conv", ["p", "v"], ["b"]),
        node("Conv", ["b", "e"], ["q"], pads=[1] * 4, group=8),
        node("Concat", ["a", "b"], ["c"], axis=1),
    ]
    outputs = [value(name, None) for name in ("q", "c")]
    net = model(nodes, [value("x", [1, 3, 6, 5])], outputs, constants)
    check(net, {"x": rng.standard_normal((1, 3, 6, 5), f4)})


def test_transpose_without_an_order():
    """It turns all axes around, also where the shape stays."""
    rng = np.random.default_rng(17)
    net = model([node("Transpose", ["x"], ["y"])], [value("x", [5, 5])], [value("y", None)])
    x = rng.standard_normal((5, 5), f4)
    np.testing.assert_array_equal(net.run({"x": x})["y"], x.T)


def test_normalising_what_does_not_vary():
    """The variance of a constant is 0, whatever rounding does."""
    nodes = [node("MeanVarianceNormalization", ["x"], ["y"])]
    net = model(nodes, [value("x", [1, 5, 7, 9])], [value("y", None)])
    for number in np.linspace(0.1, 2, 20):
        y = net.run({"x": np.full((1, 5, 7, 9), number, f4)})["y"]
        assert np.isfinite(y).all()


@pytest.mark.parametrize("parts", [(8, 16, 8), (5, 8, 3), (12, 4)])
def test_concat(parts):
    rng = np.random.default_rng(4)
    constants = {f"w{i}": weights(rng, k, 3, 3, 3) for i, k in enumerate(parts)}
    nodes = [
        node("Conv", ["x", f"w{i}"], [f"p{i}"], pads=[1, 1, 1, 1], dilations=[1, 1])
        for i in range(len(parts))
    ]
    nodes += [
        node("Relu", ["p0"], ["q0"]),
        node("Concat", ["q0", *[f"p{i}" for i in range(1, len(parts))]], ["c"], axis=1),
        node("Conv", ["c", "v"], ["y"], pads=[2, 2, 2, 2], dilations=[2, 2]),
    ]
    constants["v"] = weights(rng, 6, sum(parts), 3, 3)
    net = model(
        nodes, [value("x", ["n", 3, "h", "w"])], [value("y", None), value("c", None)], constants
    )
    check(net, {"x": rng.standard_normal((2, 3, 8, 9)).astype(f4)})


def test_rows_are_joined():
    rng = np.random.default_rng(5)
    nodes, constants, names = [], {"s": np.array([1, -1, 2])}, []
    for i, stride in enumerate((1, 2, 4)):
        constants[f"w{i}"] = weights(rng, 4, 3, 3, 3)
        nodes += [
            node("Conv", ["x", f"w{i}"], [f"a{i}"], pads=[1, 1, 1, 1], strides=[stride, stride]),
            node("Transpose", [f"a{i}"], [f"t{i}"], perm=[0, 2, 3, 1]),
            node("Reshape", [f"t{i}", "s"], [f"r{i}"]),
        ]
        names.append(f"r{i}")
    nodes += [node("Concat", names, ["c"], axis=1), node("Softmax", ["c"], ["y"], axis=2)]
    net = model(nodes, [value("x", [1, 3, "h", "w"])], [value("y", None)], constants, opset=11)
    plan = check(net, {"x": rng.standard_normal((1, 3, 9, 10)).astype(f4)})
    assert sum(layer.kind == "copy" for layer in plan.layers) == 3


@pytest.mark.parametrize("small", [(2, 8, 1, 1), (2, 1, 6, 7), (2, 8, 6, 7), (1, 8, 1, 1)])
@pytest.mark.parametrize("op", ["Add", "Mul", "Sub", "Div", "Max"])
def test_broadcast(op, small):
    """Gates of squeeze-and-excitation and spatial attention, and plain sums."""
    rng = np.random.default_rng(6)
    constants = {"w": weights(rng, 8, 8, 1, 1), "v": weights(rng, small[1], small[1], 1, 1)}
    nodes = [
        node("Conv", ["x", "w"], ["a"]), node("Conv", ["g", "v"], ["b"]),
        node("Sigmoid", ["b"], ["s"]), node(op, ["a", "s"], ["y"]),
    ]  # fmt: skip
    net = model(
        nodes, [value("x", [2, 8, 6, 7]), value("g", list(small))], [value("y", None)], constants
    )
    feeds = {
        "x": rng.standard_normal((2, 8, 6, 7)).astype(f4),
        "g": rng.standard_normal(small).astype(f4),
    }
    check(net, feeds)


def test_swish_and_classifier():
    rng = np.random.default_rng(7)
    constants = {
        "w": weights(rng, 16, 3, 3, 3), "g": weights(rng, 10, 16 * 20), "b": weights(rng, 10),
        "m": weights(rng, 10, 4),
    }  # fmt: skip
    nodes = [
        node("Conv", ["x", "w"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Sigmoid", ["a"], ["s"]), node("Mul", ["a", "s"], ["z"]),
        node("Flatten", ["z"], ["f"]), node("Gemm", ["f", "g", "b"], ["d"], transB=1, alpha=0.5),
        node("Relu", ["d"], ["e"]), node("MatMul", ["e", "m"], ["h"]),
        node("Softmax", ["h"], ["y"]),
    ]  # fmt: skip
    net = model(nodes, [value("x", ["n", 3, 8, 10])], [value("y", None)], constants)
    check(net, {"x": rng.standard_normal((3, 3, 8, 10)).astype(f4)})


@pytest.mark.parametrize("op", ["Relu", "Clip"])
def test_clamp_behind_a_crop(op):
    """It is a part of the copy that cuts pixels off."""
    rng = np.random.default_rng(13)
    constants = {"w": weights(rng, 8, 3, 3, 3), "lo": f4(-0.1), "hi": f4(0.2)} | {
        name: np.array([n, n]) for name, n in (("first", 1), ("last", 5))
    }
    limits = ["lo", "hi"] if op == "Clip" else []
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        node("Slice", ["a", "first", "last", "axes"], ["s"]), node(op, ["s", *limits], ["y"]),
    ]  # fmt: skip
    constants["axes"] = np.array([2, 3])
    net = model(nodes, [value("x", [1, 3, 8, 7])], [value("y", None)], constants)
    plan = check(net, {"x": rng.standard_normal((1, 3, 8, 7)).astype(f4)})
    assert [layer.kind for layer in plan.layers] == ["import", "conv", "copy"]


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("size", [2, 4])
def test_last_window_reaches_beyond_the_pads(op, size):
    """With ceil_mode a window may be wider than the whole image, or end beyond it."""
    attrs = {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}
    nodes = [node(op, ["x"], ["y"], **attrs, **({} if size < 3 else {"auto_pad": "VALID"}))]
    made = (nodes, [value("x", [1, 1, size, size])], [value("y", None)], {})
    feeds = {"x": np.arange(size * size, dtype=f4).reshape(1, 1, size, size)}
    np.testing.assert_array_equal(
        model(*made, opset=19).run(feeds)["y"], reference(proto(*made, opset=19), feeds)["y"]
    )


def test_upsample_and_add():
    """As in feature pyramids: the sum is made while the small map is enlarged."""
    rng = np.random.default_rng(8)
    constants = {"w": weights(rng, 12, 3, 3, 3), "s": f4([1, 1, 2, 2])}
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        node("MaxPool", ["a"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Resize", ["p", "", "s"], ["u"], mode="nearest",
             coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        node("Add", ["a", "u"], ["t"]), node("Relu", ["t"], ["y"]),
    ]  # fmt: skip
    net = model(nodes, [value("x", [1, 3, 8, 10])], [value("y", None)], constants)
    plan = check(net, {"x": rng.standard_normal((1, 3, 8, 10)).astype(f4)})
    assert [layer.kind for layer in plan.layers] == ["import", "conv", "pool", "resize"]


VIEWS = [
    ("Reshape", [np.array([2, 4, 6, 5])], {}),
    ("Squeeze", [np.array([0])], {}),
    ("Unsqueeze", [np.array([4])], {}),
    ("Transpose", [], {"perm": [0, 1, 3, 2]}),
    ("Expand", [np.array([2, 8, 6, 5])], {}),
    ("Split", [np.array([2, 4])], {"axis": 2}),
    ("Slice", [np.array([1]), np.array([5]), np.array([2]), np.array([2])], {}),
    ("Sum", [], {}),  # of a single array: itself
    ("SpaceToDepth", [], {"blocksize": 1}),
]  # fmt: skip


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize(
    ("op", "others", "attrs"), VIEWS, ids=lambda v: v if isinstance(v, str) else None
)
def test_views_outlive_the_layers_behind_them(op, others, attrs, n_jobs):
    """What NumPy made of an array in the arena is kept while other layers run, and read by all."""
    rng = np.random.default_rng(14)
    constants = {f"k{i}": a for i, a in enumerate(others)} | {
        f"w{i}": weights(rng, 8, 8, 3, 3) for i in range(6)
    }
    nodes = [node("Conv", ["x", "w0"], ["a"], pads=[1] * 4)]
    nodes += [node(op, ["a", *(f"k{i}" for i in range(len(others)))], ["v"], **attrs)]
    nodes += [
        node("Conv", ["a" if i == 1 else f"c{i - 1}", f"w{i}"], [f"c{i}"], pads=[1] * 4)
        for i in range(1, 6)
    ]
    nodes += [node("Identity", ["v"], ["i"]), node("Neg", ["i"], ["y"])]
    outputs = [value(name, None) for name in ("v", "c5", "y")]  # in this order
    net = model(nodes, [value("x", [1, 8, 6, 5])], outputs, constants, n_jobs=n_jobs)
    check(net, {"x": rng.standard_normal((1, 8, 6, 5)).astype(f4)}, fast=False)


def test_an_import_waits_and_is_waited_for():
    """It reads memory of the arena through a view of NumPy's: nobody may write there before."""
    rng = np.random.default_rng(19)
    sizes = {"a": (8, 3, 3, 3), "h": (300, 8, 1, 1), "y": (400, 6, 1, 1), "g": (560, 8, 1, 1),
             "e": (8, 6, 1, 1)}  # fmt: skip
    constants = {f"{name}_w": weights(rng, *shape) for name, shape in sizes.items()}
    constants["axis"] = np.array([0])
    nodes = [
        node("Conv", ["x", "a_w"], ["a"], pads=[1] * 4),
        node("Transpose", ["a"], ["t"], perm=[0, 2, 3, 1]),
        node("Squeeze", ["t", "axis"], ["q"]), node("Unsqueeze", ["q", "axis"], ["p"]),
        node("Neg", ["p"], ["m"]), node("Conv", ["a", "h_w"], ["h"]),
        node("Conv", ["p", "y_w"], ["y"]),  # brings p, which lies where t does, into the arena
        node("Conv", ["a", "g_w"], ["g"]),  # lies there too, and is made by the other thread
        node("Conv", ["p", "e_w"], ["e"]),
    ]  # fmt: skip
    outputs = [value(name, None) for name in "mhyge"]
    net = model(nodes, [value("x", [1, 3, 6, 5])], outputs, constants, n_jobs=2)
    feeds = {"x": rng.standard_normal((1, 3, 6, 5), f4)}
    want = net.run(feeds)
    for seed in range(20):
        got = shuffled(net.plan({"x": (1, 3, 6, 5)}), feeds, random.Random(seed))
        for name, array in want.items():
            np.testing.assert_array_equal(got[name], array)


def test_what_has_no_kernel_runs_on_numpy():
    rng = np.random.default_rng(9)
    constants = {"w": weights(rng, 6, 6, 3, 3), "v": weights(rng, 4, 6, 1, 1)}
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]), node("Erf", ["a"], ["e"]),
        node("CumSum", ["e", "one"], ["c"]), node("Conv", ["c", "v"], ["y"]),
    ]  # fmt: skip
    constants["one"] = np.array(2)
    net = model(nodes, [value("x", [1, 6, 5, 6])], [value("y", None), value("e", None)], constants)
    check(net, {"x": rng.standard_normal((1, 6, 5, 6)).astype(f4)}, fast=False)


@st.composite
def chains(draw):
    """Random small networks of convolutions, poolings, sums and joins."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    maps, nodes, constants = [("x", draw(st.integers(1, 20)), 1)], [], {}
    first = maps[0][1]
    for i in range(draw(st.integers(1, 6))):
        source, c, scale = maps[draw(st.integers(max(0, len(maps) - 3), len(maps) - 1))]
        kind = draw(st.sampled_from(["conv", "depthwise", "down", "pool", "add", "join", "relu"]))
        name, w = f"t{i}", f"w{i}"
        if kind in ("conv", "down"):
            k, size = draw(st.integers(1, 20)), draw(st.sampled_from([1, 3]))
            constants[w] = weights(rng, k, c, size, size)
            stride = 2 if kind == "down" else 1
            nodes.append(node("Conv", [source, w], [name], pads=[size // 2] * 4,
                              strides=[stride, stride]))  # fmt: skip
            maps.append((name, k, scale * stride))
        elif kind == "depthwise":
            constants[w] = weights(rng, c, 1, 3, 3)
            nodes.append(node("Conv", [source, w], [name], pads=[1] * 4, group=c))
            maps.append((name, c, scale))
        elif kind == "pool":
            nodes.append(node("MaxPool", [source], [name], kernel_shape=[2, 2], strides=[2, 2],
                              ceil_mode=1))  # fmt: skip
            maps.append((name, c, scale * 2))
        elif kind == "relu":
            nodes.append(node("Relu", [source], [name]))
            maps.append((name, c, scale))
        else:
            same = [m for m in maps if m[2] == scale and (kind == "join" or m[1] == c)]
            other = same[draw(st.integers(0, len(same) - 1))]
            op = "Concat" if kind == "join" else "Add"
            attrs = {"axis": 1} if kind == "join" else {}
            nodes.append(node(op, [source, other[0]], [name], **attrs))
            maps.append((name, c + other[1] if kind == "join" else c, scale))
    if maps[-1][0] == "x":
        nodes.append(node("Relu", ["x"], ["t9"]))
        maps.append(("t9", first, 1))
    outputs = {maps[-1][0], draw(st.sampled_from([m[0] for m in maps[1:]]))}
    size = (draw(st.integers(1, 2)), first, draw(st.integers(8, 20)), draw(st.integers(8, 20)))
    net = model(
        nodes, [value("x", list(size))], [value(o, None) for o in sorted(outputs)], constants
    )
    return net, rng.standard_normal(size).astype(f4)


@settings(max_examples=150)
@given(chains())
def test_random_networks(made):
    net, x = made
    want = plain(net, {"x": x})
    got = net.run({"x": x})
    for name in want:
        scale = max(1e-6, np.abs(want[name]).max(initial=0))
        np.testing.assert_allclose(got[name], want[name], atol=2e-5 * scale, rtol=1e-4)
    threaded = Model(net.graph, n_jobs=3).run({"x": x})
    for name in got:
        np.testing.assert_array_equal(threaded[name], got[name])
    many = np.concatenate([x, x[::-1] * 0.5, x])
    if net.inputs[0].shape is not None:
        batch = net.run({"x": many})
        for name in got:
            np.testing.assert_array_equal(batch[name][: len(x)], got[name])


def test_arena_is_clean_after_nan():
    """What one input leaves behind does not reach the next answer."""
    rng = np.random.default_rng(10)
    constants = {"w": weights(rng, 5, 3, 3, 3), "v": weights(rng, 3, 10, 3, 3)}
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1] * 4), node("Sigmoid", ["a"], ["s"]),
        node("Concat", ["a", "s"], ["c"], axis=1),
        node("MaxPool", ["c"], ["p"], kernel_shape=[3, 3], pads=[1] * 4),
        node("Conv", ["p", "v"], ["y"], pads=[2] * 4, dilations=[2, 2]),
    ]  # fmt: skip
    net = model(nodes, [value("x", [1, 3, 9, 10])], [value("y", None)], constants)
    x = rng.standard_normal((1, 3, 9, 10)).astype(f4)
    want = net.run({"x": x})["y"]
    net.run({"x": np.full_like(x, np.nan)})
    np.testing.assert_array_equal(net.run({"x": x})["y"], want)


MEASURE = """
import gc, tracemalloc
import numpy as np
from onnx_graphs import conv_net, model
net = model(*conv_net(np.random.default_rng(0), 16))
x = np.ones((1, 3, 64, 64), np.float32)
plan = net.plan({"x": x.shape})
plan.execute({"x": x})
gc.collect()
tracemalloc.start()
for _ in range(20):
    plan.execute({"x": x})
before, _ = tracemalloc.get_traced_memory()
tracemalloc.reset_peak()
for _ in range(200):
    plan.execute({"x": x})
after, peak = tracemalloc.get_traced_memory()
print(after - before, peak - before)
"""


def test_nothing_is_allocated_after_the_first_run():
    # in a process of its own: threads that other tests left behind allocate too
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", MEASURE]
    done = subprocess.run(command, capture_output=True, check=True, env=env)
    growth, excess = map(int, done.stdout.split())
    assert growth < 16_000  # nothing for each run (80 bytes would be an empty list)
    assert excess < 32_000  # Python objects for a while; one row of pixels has 4 kB


def test_plans_that_run_at_the_same_time():
    """Plans of one model share its threads: the one that finds them at work runs alone."""
    rng = np.random.default_rng(18)
    net = model(*conv_net(rng, 32), n_jobs=2)
    images = [rng.standard_normal((1, 3, n, n), f4) for n in (48, 56, 64)]
    plans = [nets.compile(net, image.shape[2:]) for image in images]
    want = [plan.run({"x": x})["y"] for plan, x in zip(plans, images, strict=True)]

    def often(k):
        return [plans[k].run({"x": images[k]})["y"] for _ in range(200)]

    with ThreadPoolExecutor(3) as pool:
        for k, found in enumerate(pool.map(often, range(3))):
            for array in found:
                np.testing.assert_array_equal(array, want[k])


def test_compiled_models_use_their_threads(monkeypatch):
    """A plan of `nets.compile` for two threads runs on two."""
    helped, run = [], ThreadPool.run

    def watched(pool, calls):
        helped.append(run(pool, calls))
        return helped[-1]

    monkeypatch.setattr(ThreadPool, "run", watched)
    plan = nets.compile(LeNet5(10).eval(), (32, 32), n_jobs=2)
    plan.run({"input": np.zeros((1, 1, 32, 32), f4)})
    assert helped == [True]


def test_plans_are_kept_and_bounded():
    net = model(*conv_net(np.random.default_rng(0)))
    first = net.plan({"x": (1, 3, 8, 8)})
    assert net.plan({"x": (1, 3, 8, 8)}) is first
    for n in range(9, 20):
        net.plan({"x": (1, 3, n, 8)})
    assert net.plan({"x": (1, 3, 8, 8)}) is not first


def test_describe():
    net = model(*conv_net(np.random.default_rng(0)))
    text = net.describe((16, 24), profile=True)
    assert "Conv->c" in text
    assert "(1, 8, 16, 24)" in text
    assert "+ clamp" in text
    assert text.splitlines()[-1].startswith("total")
    with pytest.raises(NetError, match="needs a `size`"):
        net.describe()


@pytest.mark.parametrize("how", ["direct", "winograd2", "winograd4"])
def test_algorithm_can_be_chosen(how):
    rng = np.random.default_rng(1)
    made = proto(*conv_net(rng, 16))
    made.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 16
    w = weights(rng, 16, 16, 3, 3)
    made.graph.initializer[0].CopyFrom(__import__("onnx").numpy_helper.from_array(w, "w"))
    net = Model(parse_graph(made.SerializeToString(), "t"), algorithms={"Conv->c": how})
    x = rng.standard_normal((1, 16, 13, 18)).astype(f4)
    np.testing.assert_allclose(net.run({"x": x})["y"], reference(made, {"x": x})["y"], atol=1e-4)
    assert how in nets.compile(net, (13, 18)).report()


def test_algorithms_that_do_not_fit():
    net = model(*conv_net(np.random.default_rng(0)), algorithms={"Conv->c": "depthwise"})
    with pytest.raises(NetError, match="layer 'Conv->c' cannot be 'depthwise'; it can be direct"):
        net.plan({"x": (1, 3, 8, 8)})
    net = model(*conv_net(np.random.default_rng(0)), algorithms={"conv": "direct"})
    with pytest.raises(NetError, match="layer 'conv' cannot be 'direct': there is no such layer"):
        net.plan({"x": (1, 3, 8, 8)})


def test_weights_that_hang_on_the_size():
    """A factor of the image's width goes into the weights: they are no longer those of a size."""
    rng = np.random.default_rng(12)
    constants = {"w": weights(rng, 8, 8, 3, 3), "three": np.array(3)}
    nodes = [
        node("Shape", ["x"], ["dims"]), node("Gather", ["dims", "three"], ["n"]),
        node("Cast", ["n"], ["f"], to=1), node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        node("Mul", ["c", "f"], ["y"]),
    ]  # fmt: skip
    net = model(nodes, [value("x", ["n", 8, "h", "w"])], [value("y", None)], constants)
    for width in (16, 24, 16):
        plan = check(net, {"x": rng.standard_normal((1, 8, 16, width)).astype(f4)})
        assert [layer.kind for layer in plan.layers] == ["import", "conv"]


def test_fixed_export_at_another_size():
    """Reshape and Resize targets that were frozen at 16x16 follow the input."""
    rng = np.random.default_rng(11)
    constants = {
        "w": weights(rng, 4, 3, 3, 3), "rows": np.array([1, 256, 4]),
        "up": np.array([1, 4, 32, 32]), "shuffle": np.array([1, 2, 2, 16, 16]),
    }  # fmt: skip
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        node("Transpose", ["a"], ["t"], perm=[0, 2, 3, 1]), node("Reshape", ["t", "rows"], ["y"]),
        node("Resize", ["a", "", "", "up"], ["u"]), node("Reshape", ["a", "shuffle"], ["s"]),
    ]  # fmt: skip
    outputs = [value(name, None) for name in ("y", "u", "s")]
    net = model(nodes, [value("x", [1, 3, 16, 16])], outputs, constants)
    got = net.run({"x": np.ones((1, 3, 20, 24), f4)})
    assert {k: v.shape for k, v in got.items()} == {
        "y": (1, 480, 4), "u": (1, 4, 40, 48), "s": (1, 2, 2, 20, 24),
    }  # fmt: skip
    assert net.run({"x": np.ones((2, 3, 16, 16), f4)})["y"].shape == (2, 256, 4)
    stuck = model(
        [node("Flatten", ["x"], ["f"]), node("MatMul", ["f", "m"], ["y"])],
        [value("x", [1, 3, 4, 4])], [value("y", None)], {"m": weights(rng, 48, 2)},
    )  # fmt: skip
    with pytest.raises(NetError, match=r"do not multiply \(the graph was exported for x"):
        stuck.run({"x": np.ones((1, 3, 5, 5), f4)})
