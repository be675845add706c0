"""Small versions of well-known networks against onnxruntime, none of their layers left to NumPy."""

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
from onnx_graphs import node, proto, reference, value

from nets.compiler import Model
from nets.onnx.reader import parse_graph

f4 = np.float32


class Net:
    """A graph in the making; every method returns the name of its output."""

    def __init__(self, seed=0):
        self.rng, self.nodes, self.constants = np.random.default_rng(seed), [], {}

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def op(self, kind, *inputs, **attrs):
        names = [i if isinstance(i, str) else self.constant(i) for i in inputs]
        self.nodes.append(node(kind, names, [f"t{len(self.nodes)}"], **attrs))
        return f"t{len(self.nodes) - 1}"

    def conv(self, x, c, k, size=3, stride=1, groups=1, dilation=1, pad=None, act="Relu", bn=True):
        w = self.rng.standard_normal((k, c // groups, size, size)) / np.sqrt(c // groups) / size
        pads = [dilation * (size // 2) if pad is None else pad] * 4
        y = self.op("Conv", x, w.astype(f4), pads=pads, strides=[stride] * 2, group=groups,
                    dilations=[dilation] * 2)  # fmt: skip
        if bn:
            moments = [self.rng.uniform(0.5, 1.5, k).astype(f4) for _ in range(4)]
            y = self.op("BatchNormalization", y, *moments)
        if act == "PRelu":
            return self.op("PRelu", y, self.rng.uniform(0, 0.5, (k, 1, 1)).astype(f4))
        if act == "Relu6":
            return self.op("Clip", y, f4(0), f4(6))
        return self.op(act, y) if act else y

    def pool(self, x, size=2, **attrs):
        return self.op("MaxPool", x, kernel_shape=[size] * 2, strides=[2, 2], **attrs)

    def dense(self, x, c, k, act=None):
        w = (self.rng.standard_normal((k, c)) / np.sqrt(c)).astype(f4)
        y = self.op("Gemm", x, w, self.rng.standard_normal(k).astype(f4), transB=1)
        return self.op(act, y) if act else y


def vgg(n, x):
    x = n.conv(n.conv(x, 3, 8, bn=False), 8, 8, bn=False)
    x = n.conv(n.pool(x), 8, 16, bn=False)
    x = n.op("Dropout", n.dense(n.op("Flatten", n.pool(x)), 16 * 8 * 6, 20, "Relu"))
    return [n.op("Softmax", n.dense(x, 20, 10), axis=1)]


def resnet(n, x):
    x, c = n.pool(n.conv(x, 3, 16, 7, 2), 3, pads=[1] * 4), 16
    for k, stride in ((16, 1), (24, 2)):
        y = n.conv(n.conv(x, c, k, 3, stride), k, k, act=None)
        side = n.conv(x, c, k, 1, stride, act=None) if c != k else x
        x, c = n.op("Relu", n.op("Add", y, side)), k
    return [n.dense(n.op("Flatten", n.op("GlobalAveragePool", x)), c, 7)]


def preactivation(n, x):
    """Normalisation and activation stand before the convolution (He et al., 2016b)."""
    x = n.conv(x, 3, 12, bn=False, act=None)
    moments = [n.rng.uniform(0.5, 1.5, 12).astype(f4) for _ in range(4)]
    y = n.op("Relu", n.op("BatchNormalization", x, *moments))
    y = n.conv(y, 12, 12, bn=False, act=None)
    return [n.op("ReduceMean", n.op("Add", x, y), axes=[2, 3])]


def mobilenet_v1(n, x):
    x = n.conv(x, 3, 8, 3, 2)
    for c, k, stride in ((8, 16, 1), (16, 16, 2), (16, 24, 1)):
        x = n.conv(n.conv(x, c, c, 3, stride, c), c, k, 1)
    return [n.dense(n.op("Flatten", n.op("GlobalAveragePool", x)), 24, 5)]


def mobilenet_v2(n, x):
    x = n.conv(x, 3, 8, 3, 2, act="Relu6")
    for stride in (1, 2):
        y = n.conv(n.conv(x, 8, 24, 1, act="Relu6"), 24, 24, 3, stride, 24, act="Relu6")
        y = n.conv(y, 24, 8, 1, act=None)
        x = n.op("Add", x, y) if stride == 1 else y
    return [x]


def mobilenet_v3(n, x):
    """Squeeze-and-excitation with hard gates, hard-swish spelt out."""
    x = n.conv(x, 3, 16, 3, 2, act=None)
    x = n.op("Mul", x, n.op("HardSigmoid", x, alpha=1 / 6, beta=0.5))
    s = n.conv(n.op("GlobalAveragePool", x), 16, 8, 1, bn=False)
    s = n.op("HardSigmoid", n.conv(s, 8, 16, 1, bn=False, act=None), alpha=1 / 6, beta=0.5)
    x = n.op("Mul", x, s)
    h = n.op("Div", n.op("Clip", n.op("Add", x, f4(3)), f4(0), f4(6)), f4(6))
    return [n.op("Mul", x, h)]


def mtcnn(n, x):
    """P-net and the classifier of R-net."""
    y = n.pool(n.conv(x, 3, 10, pad=0, bn=False, act="PRelu"), ceil_mode=1)
    y = n.conv(
        n.conv(y, 10, 16, pad=0, bn=False, act="PRelu"), 16, 32, pad=0, bn=False, act="PRelu"
    )
    probability = n.op("Softmax", n.conv(y, 32, 2, 1, bn=False, act=None), axis=1)
    boxes = n.conv(y, 32, 4, 1, bn=False, act=None)
    z = n.op("Flatten", n.pool(n.conv(x, 3, 6, pad=0, bn=False, act="PRelu"), 3, ceil_mode=1))
    z = n.dense(z, 6 * 15 * 11, 8)
    return [probability, boxes, n.op("PRelu", z, n.rng.uniform(0, 0.5, 8).astype(f4))]


def blazeface(n, x):
    """5x5 depthwise convolutions, shortcuts padded with zero channels, rows of scores."""
    x, rows = n.conv(x, 3, 24, 5, 2, bn=False), []
    for c, k, stride in ((24, 24, 1), (24, 28, 1), (28, 32, 2), (32, 42, 1)):
        y = n.conv(x, c, c, 5, stride, c, bn=False, act=None)
        y = n.conv(y, c, k, 1, bn=False, act=None)
        x = n.pool(x) if stride == 2 else x
        if k > c:
            x = n.op("Pad", x, np.array([0, 0, 0, 0, 0, k - c, 0, 0]))
        x = n.op("Relu", n.op("Add", y, x))
    for k in (2, 6):
        t = n.op("Transpose", n.conv(x, 42, k, 1, bn=False, act=None), perm=[0, 2, 3, 1])
        rows.append(n.op("Reshape", t, np.array([0, -1, 1])))
    return [n.op("Sigmoid", n.op("Concat", *rows, axis=1))]


def fcn(n, x):
    """Scores of two strides, enlarged by transposed convolutions and cropped."""
    a = n.pool(n.conv(x, 3, 16, bn=False))
    b = n.pool(n.conv(a, 16, 24, bn=False))
    score = n.conv(b, 24, 5, 1, bn=False, act=None)
    w = n.rng.standard_normal((5, 5, 4, 4)).astype(f4) / 9
    up = n.op("ConvTranspose", score, w, strides=[2, 2], pads=[1] * 4)
    both = n.op("Add", up, n.conv(a, 16, 5, 1, bn=False, act=None))
    big = n.op("ConvTranspose", both, w, strides=[2, 2], pads=[0] * 4)
    crop = [np.array(v) for v in ([1, 1], [33, 25], [2, 3])]
    return [n.op("Softmax", n.op("Slice", big, *crop), axis=1)]


def deeplab(n, x):
    """Atrous spatial pyramid: dilated branches, image pooling enlarged again, joined."""
    x = n.conv(n.conv(x, 3, 16, 3, 2), 16, 24, 3, 2)
    parts = [n.conv(x, 24, 8, 1), *(n.conv(x, 24, 8, dilation=d) for d in (2, 4, 6))]
    whole = n.conv(n.op("GlobalAveragePool", x), 24, 8, 1)
    scale = f4([1, 1, 8, 6])
    parts.append(n.op("Resize", whole, f4([]), scale, mode="linear"))
    y = n.conv(n.op("Concat", *parts, axis=1), 40, 16, 1)
    y = n.op("Resize", n.conv(y, 16, 3, 1, bn=False, act=None), f4([]), f4([1, 1, 4, 4]),
             mode="linear", coordinate_transformation_mode="align_corners")  # fmt: skip
    return [y]


def unet(n, x):
    a = n.conv(x, 3, 8)
    b = n.conv(n.pool(a), 8, 16)
    w = n.rng.standard_normal((16, 8, 2, 2)).astype(f4) / 5
    up = n.op("ConvTranspose", b, w, n.rng.standard_normal(8).astype(f4), strides=[2, 2])
    return [n.conv(n.op("Concat", up, a, axis=1), 16, 3, bn=False, act="Sigmoid")]


def densenet(n, x):
    parts = [n.conv(x, 3, 8)]
    for _ in range(3):
        joined = n.op("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
        parts.append(n.conv(joined, 8 * len(parts), 8))
    return [n.op("Concat", *parts, axis=1)]


NETS = [vgg, resnet, preactivation, mobilenet_v1, mobilenet_v2, mobilenet_v3, mtcnn, blazeface, fcn,
        deeplab, unet, densenet]  # fmt: skip


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("make", NETS, ids=lambda make: make.__name__)
def test_network(make, threads):
    net = Net()
    outputs = [value(name, None) for name in make(net, "x")]
    message = proto(net.nodes, [value("x", [2, 3, 32, 24])], outputs, net.constants)
    model = Model(parse_graph(message.SerializeToString(), make.__name__), n_jobs=threads)
    feeds = {"x": np.random.default_rng(1).standard_normal((2, 3, 32, 24)).astype(f4)}
    got, want = model.run(feeds), reference(message, feeds)
    for name, array in want.items():
        assert got[name].shape == array.shape
        scale = np.abs(array).max()
        np.testing.assert_allclose(got[name], array, atol=1e-5 * scale, rtol=1e-4)
    plan = model.plan({"x": (2, 3, 32, 24)})
    assert not [layer.name for layer in plan.layers if layer.kind == "numpy"]
