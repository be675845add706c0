"""What is run between guard pages: every kernel, through its public wrappers, at odd sizes.

``CASES[name](rng)`` makes up its own input. Together they call every kernel of ``vj/kernels`` and
``nets/kernels``, which `test_guard` checks: a new kernel needs a case.
"""

import itertools
import random
from functools import cache

import numpy as np
from PIL import Image

import nets
import vj
from nets.autograd.tensor import Tensor
from nets.compiler import Model
from nets.detectors.training import pixels
from nets.kernels.piecewise_linear import piecewise_linear
from nets.kernels.warp import warp_into
from nets.nn import optim
from nets.nn.layers import Parameter
from nets.onnx.reader import parse_graph
from nets.operators.convolution.layer import Conv
from nets.runtime.worker_pool import WorkerPool
from tests.cascades import random_cascade, random_rect
from tests.nets.gradients import outputs_of, weigh
from tests.nets.graph_builder import MAKERS, Builder, Unfit, build
from tests.nets.op_cases import CASES as OPS
from tests.nets.op_cases import Draw
from tests.nets.random_graphs import chosen
from vj.detect import window
from vj.detect.grouping import group_rectangles
from vj.detect.pyramid import levels
from vj.features.matching import METHODS
from vj.kernels import resize
from vj.train.features import Table, make_bank
from vj.train.search import gains, pack

CASES = {}
MOST = 40  # pixels of a side


def case(function):
    CASES[function.__name__] = function
    return function


def size(rng, least=1, most=MOST):
    return int(rng.integers(least, most + 1))


def gray(rng, least=1):
    return rng.integers(0, 256, (size(rng, least), size(rng, least)), dtype=np.uint8)


# --------------------------------------------------------------------------- vj


@case
def integral_images(rng):
    image = rng.integers(0, 256, (size(rng), size(rng, most=70)), dtype=np.uint8)
    sums = [vj.integral_image(image), vj.squared_integral_image(image)]
    lean = vj.tilted_integral_image(image)
    rows, cols = image.shape
    corners = [(0, 0, cols, rows), (cols - 1, rows - 1, 1, 1), (0, rows - 1, cols, 1)]
    for whole in sums:
        vj.rect_sum(whole, corners)
    vj.rect_sum_naive(image, corners)
    if rows > 1 and cols > 1:
        boxes = [random_rect(rng, image.shape, "HAAR", True) for _ in range(5)]
        vj.rect_sum(lean, boxes, tilted=True)
        vj.rect_sum_naive(image, boxes, tilted=True)


@case
def colours(rng):
    vj.as_gray(rng.integers(0, 256, (size(rng), size(rng), 3 + rng.integers(2)), dtype=np.uint8))


@case
def correlations(rng):
    for kind, method in itertools.product(("u1", "f4", "f8"), ("direct", "separable")):
        image = rng.integers(0, 256, (size(rng), size(rng, most=90))).astype(kind)
        if rng.random() < 0.3:
            image = np.repeat(image[..., None], 3, 2)
        kernel = rng.standard_normal((size(rng, most=11), size(rng, most=11)))
        if method == "separable":
            kernel = np.outer(kernel[:, 0], kernel[0])
        boundary = str(rng.choice(["reflect", "mirror", "nearest", "constant", "wrap"]))
        vj.correlate(image, kernel, boundary=boundary, method=method)


@case
def boxes(rng):
    corners = rng.uniform(0, 30, (size(rng, 0, 20), 2)).astype("f4")
    found = np.concatenate([corners, corners + rng.uniform(1, 9, corners.shape).astype("f4")], 1)
    score = rng.standard_normal(len(found))
    vj.iou(found, found[::2])
    vj.nms(found, score)
    rects = np.rint(found).astype(np.int32)
    group_rectangles(rects, 1, 0.2, np.arange(len(rects)), score)


def windows_in(rng, image, shape):
    free = np.array(image.shape[::-1]) - shape[::-1]
    return np.concatenate([[[0, 0], free], rng.integers(0, free + 1, (3, 2))])


@case
def features(rng):
    shape = size(rng, 4, 12), size(rng, 4, 12)
    image = gray(rng, 12)
    every = vj.enumerate_haar(shape, "ALL")
    some = every[rng.integers(0, len(every), 9)]
    at = windows_in(rng, image, shape)
    vj.haar_features(image, some, at)
    vj.haar_features(image, some, at, window=shape)
    vj.haar_features(image, some, at, convention="mean")
    blocks = vj.enumerate_lbp(shape)
    vj.lbp_codes(image, blocks[rng.integers(0, len(blocks), 9)], at)


@case
def templates(rng):
    image = gray(rng, 2)
    template = image[: size(rng, 1, image.shape[0]), : size(rng, 1, image.shape[1])]
    vj.match_template(image, template, METHODS[rng.integers(len(METHODS))])


@case
def resizing(rng):
    out = np.empty((size(rng), size(rng, most=70)), np.uint8)
    resize.resize_bilinear(gray(rng), np.empty((4, out.shape[1]), np.int32), out)


@case
def cascades(rng):
    kind = str(rng.choice(["HAAR", "LBP"]))
    shape = size(rng, 4, 12), size(rng, 4, 12)
    cascade = random_cascade(rng, kind, shape, n_stages=size(rng, 1, 4), nodes=(1, size(rng, 1, 7)))
    image = gray(rng, 12)
    detector = vj.CascadeDetector(cascade, scale_factor=1.3, min_neighbors=0)
    detector.detect(image)
    detector.explain(image, (0, 0, *shape[::-1]))
    for step in (1, 2):
        window.depths(cascade, image, step)
    one = random_cascade(rng, kind, shape, n_stages=1)
    window.one_stage_candidates(one, image, levels(image.shape, shape, 1.3, None, None))


@case
def boosting(rng):
    kind = str(rng.choice(["ALL", "LBP"]))
    shape = size(rng, 6, 9), size(rng, 6, 9)
    patches = rng.integers(0, 256, (size(rng, 1, 150), *shape), dtype=np.uint8)
    bank, table = make_bank(shape, kind), Table.of(patches, tilted=kind == "ALL")
    which = rng.integers(0, len(bank), size(rng, 1, 9))
    bank.values(table, which)
    index = np.flatnonzero(rng.random(len(patches)) < 0.7).astype(np.int32)
    weight = rng.random(len(index))
    packed = pack(weight, weight * rng.choice([-1, 1], len(index)), 2.0**20)
    for absolute in (False, True):
        gains(bank.bins(table, which), index, packed, absolute, bank.ordered)


# --------------------------------------------------------------------------- nets


def differentiated(name):
    def run(rng):
        function, arrays, *_ = OPS[name](Draw(int(rng.integers(1 << 30)), size(rng, 1, 40)))
        results = function(*(Tensor(a, requires_grad=True) for a in arrays))
        weigh(outputs_of(results)).backward()

    CASES[f"op {name}"] = run


for _name in OPS:
    differentiated(_name)


@case
def optimisers(rng):
    names = ("SGD", "AdaGrad", "RMSprop", "Adam", "AdamW")
    options = {"SGD": {"momentum": 0.9}, "RMSprop": {"momentum": 0.5, "centered": True}}
    for name in names:
        parameter = Parameter(rng.standard_normal(size(rng)))
        optimiser = getattr(optim, name)([("w", parameter)], **options.get(name, {}))
        average = optim.Average([("w", parameter)])
        for _ in range(2):
            parameter.grad = rng.standard_normal(parameter.shape).astype(np.float32)
            optimiser.step()
            average.update()


def run_graph(made, choices):
    """Run a graph with each of the algorithms that ``choices(plan)`` gives."""
    graph = parse_graph(made.proto.SerializeToString(), "random")
    plan = Model(graph).plan({name: a.shape for name, a in made.feeds.items()})
    for algorithms in choices(plan):
        Model(graph, algorithms=algorithms).run(made.feeds)


@case
def graphs(rng):
    r = random.Random(int(rng.integers(1 << 40)))
    run_graph(build(r), lambda plan: [chosen(plan, r)])


def every_algorithm(plan):
    """Each algorithm of each convolution."""
    layers = [layer for layer in plan.layers if isinstance(layer, Conv)]
    return [{layer.name: how} for layer in layers for how in layer.algorithms()] or [{}]


def operator(op):
    """Graphs of a convolution and an operator, or of such an operator alone."""

    def graph(r, rng):
        builder = Builder(r)
        builder.free = False  # the first array has three axes
        builder.feed(builder.noise(size(rng, most=12), builder.batch, builder.channels()))
        builder.feed(builder.noise(builder.batch, builder.channels(), size(rng), size(rng)))
        if rng.random() < 0.5:
            MAKERS["Conv"](builder, "Conv")
        MAKERS[op](builder, op)
        return builder.finish()

    def run(rng):
        r, left = random.Random(int(rng.integers(1 << 40))), 6
        while left:
            try:
                run_graph(graph(r, rng), every_algorithm)
                left -= 1
            except Unfit:
                continue

    CASES[f"operator {op}"] = run


for _name in [
    "Conv",
    "ConvTranspose",
    "MaxPool",
    "AveragePool",
    "MaxUnpool",
    "Resize",
    "Softmax",
    "LRN",
    "LSTM",
    "GRU",
    "Sigmoid",
    "Add",
    "InstanceNormalization",
    "BatchNormalization",
    "Concat",
    "Pad",
    "maxout",
    "shuffle",
]:
    operator(_name)


@case
def channel_softmax(rng):
    """The random axis of `operator Softmax` rarely is the one that has a kernel."""
    r = random.Random(int(rng.integers(1 << 40)))
    builder = Builder(r)
    builder.opset = 13
    builder.feed(builder.noise(builder.batch, builder.channels(), size(rng, 4), size(rng, 4)))
    weights = builder.const(builder.weights(size(rng), builder.values["x0"].shape[1], 1, 1))
    (y,) = builder.node("Conv", ["x0", weights])
    builder.node("Softmax", [y], axis=1)
    run_graph(builder.finish(), lambda plan: [{}])


@cache
def face_detector():
    return nets.load("face-tiny")


@case
def detectors(rng):
    image = rng.integers(0, 256, (size(rng), size(rng), 3), dtype=np.uint8)
    face_detector().detect(image)


@case
def augmentation(rng):
    image = rng.integers(0, 256, (size(rng), size(rng), 3), dtype=np.uint8)
    pixels.relight(Image.fromarray(image), rng)
    source = rng.integers(0, 1 << 32, (size(rng), size(rng)), dtype=np.uint32)
    frame = rng.integers(0, 256, (size(rng), size(rng), 3), dtype=np.uint8)
    rows, cols = frame.shape[:2]
    warp_into(source, rng.uniform(-2, 2, 6) * (1, 1, 9, 1, 1, 9), 0, 0, cols, rows, frame)


@case
def worker_pools(rng):
    """A job done by its leader alone, its calls in one table."""
    pool, count = WorkerPool(), size(rng)
    x, out = rng.standard_normal(count).astype(np.float32), np.zeros(count, np.float32)
    args = (x, x, 2.0, np.nan, 0.0, out)
    pool.table.one(piecewise_linear, (*args, 0, count))
    pool.run(0, size(rng, 1, 3), -1, count)
    pool.table.clear()
    for first in range(0, count, 8):
        pool.table.unit()
        pool.table.add(piecewise_linear, (*args, first, min(first + 8, count)))
    pool.run(0, -(-count // 8), pool.table.finish())
    pool.shut_down()
