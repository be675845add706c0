"""Every differentiable op and loss with arguments of any size, drawn by chance.

``CASES[name](draw)`` gives a function of tensors and the arrays it is called with; where the op
computes in float32 whatever it is given, or takes something for constant, also what it means in
NumPy. No number is at a kink of an op, nor as large as another: a small change changes no decision.
"""

import numpy as np

from nets.autograd.ops import activation, arithmetic, convolution, normalisation, pooling, resize
from nets.autograd.ops import recurrent as rec
from nets.autograd.tensor import Tensor
from nets.nn import losses

CASES = {}


def case(make):
    CASES[make.__name__] = make
    return make


class Draw:
    """Sizes up to ``most``, and arrays."""

    def __init__(self, seed, most):
        self.rng, self.most = np.random.default_rng(seed), most

    def size(self, least=1, most=None):
        return int(self.rng.integers(least, max(least, most or self.most) + 1))

    def pair(self, least, most):
        return self.size(least, most), self.size(least, most)

    def flip(self):
        return bool(self.rng.integers(2))

    def numbers(self, *shape, spread=1.5):
        """Distinct ones, evenly spaced from -spread to spread; none is a round number."""
        count = int(np.prod(shape))
        found = (self.rng.permutation(count) + 0.5137) / count * 2 - 1
        return (found * spread).reshape(shape)

    def positive(self, *shape):
        return self.numbers(*shape, spread=1) + 1.3

    def shape(self):
        """A vector, a matrix, a sequence or images."""
        return tuple(self.size(1, self.most if n > 1 else 3) for n in range(self.size(1, 4)))

    def images(self, least=1):
        small = max(least, self.most // 2)
        return self.size(1, 3), self.size(), self.size(least, small), self.size(least, small)


def simple(name, function, spread=4.0, positive=False):
    """An op of one array of any shape."""

    def make(draw):
        x = draw.numbers(*draw.shape(), spread=1.0 if positive else spread)
        return function, [x + 1.3 if positive else x]

    CASES[name] = make


simple("relu", activation.relu)
simple("relu6", activation.relu6, 9.0)
simple("leaky_relu", lambda x: activation.leaky_relu(x, slope=0.2))
simple("hardswish", activation.hardswish)
simple("sigmoid", activation.sigmoid)
simple("tanh", activation.tanh, 2.0)
simple("softplus", activation.softplus)
simple("softmax", lambda x: activation.softmax(x, axis=-1))
simple("log_softmax", lambda x: activation.log_softmax(x, axis=0))
simple("dropout", lambda x: activation.dropout(x, p=0.4, rng=np.random.default_rng(1)))
simple("exp", arithmetic.exp, 1.0)
simple("absolute", arithmetic.absolute)
simple("clip", lambda x: arithmetic.clip(x, low=-1.0, high=0.71))
simple("log", arithmetic.log, positive=True)
simple("power", lambda x: arithmetic.power(x, exponent=-1.5), positive=True)
simple("sum", lambda x: arithmetic.sum(x, axis=0, keepdims=True))
simple("mean", lambda x: arithmetic.mean(x, axis=(-1,)))
simple("reshape", lambda x: arithmetic.reshape(x, shape=(-1,)))
simple("permute", lambda x: arithmetic.permute(x, axes=tuple(reversed(range(x.ndim)))))
simple("take", lambda x: arithmetic.take(x, key=np.array([0, -1, 0])))


def double(name, function, spread=1.5):
    """An op of two arrays that are broadcast to each other."""

    def make(draw):
        shape = draw.shape()
        other = tuple(n if draw.flip() else 1 for n in shape[draw.size(0, len(shape) - 1) :])
        return function, [draw.numbers(*shape, spread=spread), draw.positive(*other)]

    CASES[name] = make


double("add", arithmetic.add)
double("subtract", arithmetic.subtract)
double("multiply", arithmetic.multiply)
double("divide", arithmetic.divide)
double("maximum", arithmetic.maximum, 3.0)


@case
def concat(draw):
    a, b, c, d = (draw.size() for _ in range(4))
    return lambda *xs: arithmetic.concat(*xs, axis=1), [draw.numbers(a, n, b) for n in (b, c, d)]


@case
def stack(draw):
    shape = draw.shape()
    return lambda *xs: arithmetic.stack(*xs, axis=-1), [draw.numbers(*shape) for _ in range(3)]


@case
def matmul(draw):
    rows, inner, cols = (draw.size() for _ in range(3))
    before = [draw.size(1, 3) for _ in range(draw.size(0, 2))]
    return arithmetic.matmul, [draw.numbers(*before, rows, inner), draw.numbers(inner, cols)]


@case
def prelu(draw):
    shape = (draw.size(1, 3), draw.size(), *(draw.size() for _ in range(draw.size(0, 2))))
    return activation.prelu, [draw.numbers(*shape), draw.positive(shape[1]) - 1]


@case
def maxout(draw):
    pieces = draw.size(1, 4)
    shape = (draw.size(1, 3), pieces * draw.size(), draw.size())
    return lambda x: activation.maxout(x, pieces=pieces), [draw.numbers(*shape)]


# --------------------------------------------------------------------------- convolution


def window(draw, transposed=False):
    """Kernel, options and the least image of a convolution."""
    kernel, stride, dilation = draw.pair(1, 5), draw.pair(1, 3), draw.pair(1, 2)
    if draw.flip():
        kernel, stride, dilation = (3, 3), (1, 1), (1, 1)
    padding = draw.pair(0, 2)
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    least = [
        2 * p + 1 if transposed else max(1, (k - 1) * d + 1 - 2 * p)
        for k, d, p in zip(kernel, dilation, padding, strict=True)
    ]
    return kernel, options, [n + draw.size(0, draw.most // 2) for n in least]


def convolved(op, draw, groups, each, outputs, transposed=False):
    kernel, options, size = window(draw, transposed)
    pair = (groups * each, outputs) if transposed else (groups * outputs, each)
    x = draw.numbers(draw.size(1, 3), groups * each, *size)
    arrays = [x, draw.numbers(*pair, *kernel, spread=0.5)]
    if draw.flip():
        arrays.append(draw.numbers(groups * outputs))
    return lambda *a: op(*a, groups=groups, **options), arrays


@case
def conv2d(draw):
    groups = draw.size(1, 2)
    return convolved(convolution.conv2d, draw, groups, draw.size(), draw.size())


@case
def conv2d_depthwise(draw):
    return convolved(convolution.conv2d, draw, draw.size(), 1, 1)


@case
def conv_transpose2d(draw):
    groups = draw.size(1, 2)
    op = convolution.conv_transpose2d
    return convolved(op, draw, groups, draw.size(), draw.size(), transposed=True)


@case
def conv_transpose2d_depthwise(draw):
    return convolved(convolution.conv_transpose2d, draw, draw.size(), 1, 1, transposed=True)


@case
def conv2d_many_images(draw):
    """Enough of them for the ways that pay with many tiles or pixels only."""
    channels, outputs = 8 * draw.size(1, 3), draw.size(1, 4 * draw.most)
    x = draw.numbers(draw.size(1, 9), channels, *draw.pair(1, 9))
    side, options = [((3, 3), {"padding": (1, 1)}), ((1, 1), {})][draw.flip()]
    return lambda *a: convolution.conv2d(*a, **options), [
        x, draw.numbers(outputs, channels, *side, spread=0.3), draw.numbers(outputs),
    ]  # fmt: skip


@case
def conv2d_winograd(draw):
    channels, outputs = 16 * draw.size(2, 3), 16 * draw.size(2, 3)
    x = draw.numbers(draw.size(1, 3), channels, *draw.pair(3, max(5, draw.most // 2)))
    return lambda *a: convolution.conv2d(*a, padding=(1, 1)), [
        x, draw.numbers(outputs, channels, 3, 3, spread=0.3), draw.numbers(outputs),
    ]  # fmt: skip


@case
def linear(draw):
    before = [draw.size() for _ in range(draw.size(0, 2))]
    inputs, outputs = draw.size(), draw.size()
    arrays = [draw.numbers(*before, inputs), draw.numbers(outputs, inputs)]
    return convolution.linear, [*arrays, draw.numbers(outputs)] if draw.flip() else arrays


# --------------------------------------------------------------------------- normalisation


def standard(x, axes, moments=None):
    mean, var = moments or (x.mean(axes, keepdims=True), x.var(axes, keepdims=True))
    return (x - mean) / np.sqrt(var + 1e-5)


def batch(draw, activate):
    shape = (draw.size(2, 4), draw.size(), *draw.pair(1, draw.most // 2))[: draw.size(2, 4)]
    training, channels = draw.flip(), shape[1]
    running = draw.numbers(channels), draw.positive(channels)
    column = (-1, *[1] * (len(shape) - 2))

    def function(*arrays):
        moments = tuple(m.astype("f4") for m in running)
        return normalisation.batch_norm(
            *arrays, running=moments, training=training, activation=activate
        )

    def twin(x, weight, bias):
        given = None if training else [m.reshape(column) for m in running]
        y = standard(x, (0, *range(2, x.ndim)), given)
        y = y * weight.reshape(column) + bias.reshape(column)
        return np.maximum(y, 0) if activate else y

    arrays = [draw.numbers(*shape), draw.positive(channels), draw.numbers(channels)]
    return function, arrays, twin


@case
def batch_norm(draw):
    return batch(draw, None)


@case
def batch_norm_relu(draw):
    return batch(draw, "relu")


@case
def group_norm(draw):
    groups, each = draw.size(1, 4), draw.size(2)
    n, channels, length = draw.size(1, 3), groups * each, draw.size()

    def twin(x, weight, bias):
        y = standard(x.reshape(n, groups, -1), 2).reshape(x.shape)
        return y * weight[:, None] + bias[:, None]

    arrays = [draw.numbers(n, channels, length), draw.positive(channels), draw.numbers(channels)]
    return lambda *a: normalisation.group_norm(*a, groups=groups), arrays, twin


@case
def layer_norm(draw):
    inner = draw.size(2), draw.size(2)
    arrays = [draw.numbers(draw.size(), *inner), draw.positive(*inner), draw.numbers(*inner)]
    return normalisation.layer_norm, arrays


@case
def local_response_norm(draw):
    size = draw.size(1, 5)
    return lambda x: normalisation.local_response_norm(x, size=size, alpha=0.3), [
        draw.numbers(*draw.images())
    ]


# --------------------------------------------------------------------------- pooling, resizing


def pooled(draw):
    kernel, padding = draw.pair(1, 3), (0, 0)
    if draw.flip():
        padding = tuple(k // 2 for k in kernel)
    how = {"kernel": kernel, "stride": draw.pair(1, 3), "padding": padding}
    return how | {"ceil_mode": draw.flip()}, draw.numbers(*draw.images(3))


@case
def max_pool2d(draw):
    how, x = pooled(draw)
    return lambda x: pooling.max_pool2d(x, **how), [x]


@case
def max_pool2d_dilated(draw):
    x = draw.numbers(*draw.images(6))
    how = {"kernel": (3, 2), "stride": (1, 2), "padding": (1, 0), "dilation": (2, 3)}
    return lambda x: pooling.max_pool2d(x, **how), [x]


@case
def max_unpool2d(draw):
    n, c, rows, cols = draw.images(2)
    how = {"kernel": (2, 2), "stride": (2, 2)}

    def function(x):
        whole = np.arange(n * c * rows * cols, dtype="f4").reshape(n, c, rows, cols)
        y, switches = pooling.max_pool2d_with_switches(Tensor(whole), **how)
        assert y.shape == x.shape
        return pooling.max_unpool2d(x, switches=switches, size=(rows, cols))

    return function, [draw.numbers(n, c, rows // 2, cols // 2)]


@case
def avg_pool2d(draw):
    how, x = pooled(draw)
    how["count_include_pad"] = draw.flip()
    return lambda x: pooling.avg_pool2d(x, **how), [x]


@case
def adaptive_avg_pool2d(draw):
    size = draw.pair(1, draw.most)
    return lambda x: pooling.adaptive_avg_pool2d(x, size=size), [draw.numbers(*draw.images())]


@case
def upsample_nearest(draw):
    size = draw.pair(1, draw.most)
    return lambda x: resize.upsample_nearest(x, size=size), [draw.numbers(*draw.images())]


@case
def upsample_bilinear(draw):
    size, corners = draw.pair(1, draw.most), draw.flip()
    return lambda x: resize.upsample_bilinear(x, size=size, align_corners=corners), [
        draw.numbers(*draw.images())
    ]


# --------------------------------------------------------------------------- sequences


@case
def embedding(draw):
    words = draw.size()
    index = draw.rng.integers(0, words, draw.shape())
    return lambda w: rec.embedding(w, index=index), [draw.numbers(words, draw.size())]


def sequence(op, gates, states):
    def make(draw):
        steps, n, inputs, size = draw.size(1, 3), draw.size(), draw.size(), draw.size()
        arrays = [draw.numbers(steps, n, inputs), *(draw.numbers(n, size) for _ in range(states))]
        arrays += [draw.numbers(gates * size, k, spread=0.7) for k in (inputs, size)]
        if draw.flip():
            arrays += [draw.numbers(gates * size) for _ in range(2)]
        return op, arrays

    CASES[op.__name__] = make


sequence(rec.rnn, 1, 1)
sequence(rec.lstm, 4, 2)
sequence(rec.gru, 3, 1)

# --------------------------------------------------------------------------- losses


def compared(name, target, spread=1.5, **options):
    """A loss of numbers and of what they should be, both of them differentiated."""

    def make(draw):
        shape = (draw.size(), draw.size())
        wanted = target(draw, shape)
        return lambda *a: getattr(losses, name)(*a, **options), [
            draw.numbers(*shape, spread=spread), wanted,
        ]  # fmt: skip

    CASES[name] = make


def apart(draw, shape):
    return draw.numbers(*shape, spread=0.613)


compared("mse_loss", apart)
compared("l1_loss", apart, reduction="sum")
compared("huber_loss", apart, delta=0.4)
compared("smooth_l1_loss", apart, beta=0.3, reduction="none")
compared("gaussian_kl", apart)
compared(
    "binary_cross_entropy_with_logits", lambda d, s: d.positive(*s) / 2.5, 3.0, reduction="none"
)
compared("kl_div", lambda d, s: d.positive(*s), reduction="batchmean")


@case
def focal_loss(draw):
    shape = draw.size(), draw.size()
    target = draw.rng.integers(0, 2, shape)
    return lambda x: losses.focal_loss(x, target, reduction="sum"), [draw.numbers(*shape)]


@case
def cross_entropy(draw):
    classes = draw.size(2)
    shape = (draw.size(), classes, *(draw.size() for _ in range(draw.size(0, 2))))
    labels = draw.rng.integers(0, classes, (shape[0], *shape[2:]))
    labels.flat[: labels.size // 3] = -100
    weight = draw.positive(classes)
    return lambda x: losses.cross_entropy(x, labels, weight=weight, label_smoothing=0.2), [
        draw.numbers(*shape)
    ]


def boxes(draw):
    """Two of each."""
    n = draw.size()
    corners = [draw.numbers(n, 2, spread=3) for _ in range(2)]
    return [np.concatenate([c, c + 2 * draw.positive(n, 2)], 1) for c in corners]


def boxed(name):
    def make(draw):
        return lambda a, b: getattr(losses, name)(a, b, reduction="none"), boxes(draw)

    CASES[name] = make


for _name in ("iou_loss", "giou_loss", "diou_loss", "eiou_loss"):
    boxed(_name)


@case
def ciou_loss(draw):
    """The weight of the aspect ratio is a constant (Zheng et al. 2020, section 4.3)."""
    arrays = boxes(draw)

    def parts(a, b):
        sides, others = (x[:, 2:] - x[:, :2] for x in (a, b))
        both = np.clip(np.minimum(a, b)[:, 2:] - np.maximum(a, b)[:, :2], 0, None).prod(1)
        iou = both / (sides.prod(1) + others.prod(1) - both + 1e-7)
        outer = np.maximum(a, b)[:, 2:] - np.minimum(a, b)[:, :2]
        centres = ((a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) ** 2).sum(1) / 4
        ratios = [np.arctan(s[:, 0] / s[:, 1]) for s in (sides, others)]
        aspect = 4 / np.pi**2 * (ratios[1] - ratios[0]) ** 2
        return 1 - iou, centres / ((outer**2).sum(1) + 1e-7), aspect

    apart, _, aspect = parts(*arrays)
    weight = aspect / (apart + aspect + 1e-7)

    def twin(a, b):
        apart, distance, aspect = parts(a, b)
        return apart + distance + weight * aspect

    return lambda a, b: losses.ciou_loss(a, b, reduction="none"), arrays, twin
