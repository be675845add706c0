"""Traced models: our plans, onnxruntime and OpenCV must do what the tape did."""

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
from traced import by_graph, by_onnxruntime, by_opencv, by_plan, by_tape, lively, noise, same

import nets
from nets.autograd.ops import activation, arithmetic, convolution, pooling
from nets.autograd.tensor import Tensor
from nets.nn import layers as L
from nets.onnx.writer import to_onnx
from vj.errors import NetError, SinkError


class Net(L.Module):
    """A function as a model, with a convolution in front of it."""

    def __init__(self, function, *layers):
        self.conv, self.layers, self._function = L.Conv2d(3, 4, 3), L.ModuleList(layers), function

    def forward(self, x):
        return self._function(self.conv(x), *self.layers)


def after(*layers):
    return L.Sequential(L.Conv2d(3, 4, 3), *layers)


def unpooled(x, pool, unpool):
    y, switches = pool(x)
    return unpool(y + 1, switches)


def corners(x):
    """All kinds of slices."""
    x = x[:, 1:, ..., 2:-1][:, :, ::2]
    return x[:, :, 0, -1] + x[-1, 1, 2, 3] + x[:, :, ::-2, 1].mean(2)


LAYERS = {
    "conv": after(L.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), 2, bias=False)),
    "same": after(L.Conv2d(4, 4, 3, padding="same", groups=4)),
    "transposed": after(L.ConvTranspose2d(4, 6, 4, 2, 1, 1, groups=2)),
    "batch norm": after(L.BatchNorm2d(4), L.ReLU(), L.BatchNorm2d(4, affine=False), L.ReLU6()),
    "group norm": after(L.GroupNorm(2, 4), L.GroupNorm(4, 4, affine=False)),
    "layer norm": after(L.LayerNorm((14, 15)), L.LayerNorm(15, elementwise_affine=False)),
    "response norm": after(L.LocalResponseNorm(3, alpha=0.3, k=2)),
    "max": after(L.MaxPool2d(3, 2, 1), L.MaxPool2d((2, 3), 1, dilation=(1, 2))),
    "ceil": after(L.MaxPool2d(2, ceil_mode=True), L.AvgPool2d(3, 2, ceil_mode=True)),
    "mean": after(L.AvgPool2d(3, 2, 1), L.AvgPool2d(3, 1, 1, count_include_pad=False)),
    "whole": after(L.AdaptiveAvgPool2d(1)),
    "uneven": after(L.AdaptiveAvgPool2d((4, 7))),
    "even": after(L.AdaptiveAvgPool2d((7, 5))),
    "as it is": after(L.AdaptiveAvgPool2d((14, None))),
    "nearest": after(L.Upsample(scale_factor=2), L.Upsample((37, 31))),
    "bilinear": after(L.Upsample(None, 3, "bilinear"), L.Upsample((9, 50), mode="bilinear")),
    "corners": after(L.Upsample((30, 41), mode="bilinear", align_corners=True)),
    "unpool": Net(unpooled, L.MaxPool2d(2, 1, return_indices=True), L.MaxUnpool2d(2, 1)),
    "prelu": after(L.PReLU(4), L.PReLU(), L.LeakyReLU(0.2)),
    "functions": after(L.Sigmoid(), L.Tanh(), L.Softplus(), L.Hardswish(), L.Softmax(1)),
    "log softmax": after(L.LogSoftmax(-1)),
    "maxout": after(L.Maxout(2), L.Maxout(3, dim=-1)),
    "linear": after(L.Linear(15, 3), L.Flatten(), L.Linear(4 * 14 * 3, 5), L.ReLU()),
    "arithmetic": Net(lambda x: (1 - x) * x / (2 + x * x) - 0.5 * x**2),
    "exp": Net(lambda x: arithmetic.log(arithmetic.exp(x) + arithmetic.absolute(x))),
    "limits": Net(lambda x: arithmetic.maximum(arithmetic.clip(x, low=-0.5, high=0.3), x * 0.5)),
    "sums": Net(lambda x: x.sum((2, 3), keepdims=True) + x.mean(1, keepdims=True) - x.mean()),
    "products": Net(lambda x: arithmetic.matmul(x, x.permute(0, 1, 3, 2))),
    "joined": Net(lambda x: arithmetic.concat(x, arithmetic.stack(x, x, axis=1)[:, 0], axis=1)),
    "slices": Net(corners),
    "chosen": Net(lambda x: x[:, np.array([2, 0, 0])]),
    "vectors": Net(lambda x: x.reshape(len(x), -1, 5).permute(2, 0, 1)),
}  # fmt: skip
# OpenCV knows fewer operators, and some it knows crash it.
IN_OPENCV = {
    "conv", "same", "transposed", "batch norm", "layer norm", "response norm", "ceil", "whole",
    "even", "uneven", "bilinear", "corners", "prelu", "functions", "maxout", "linear",
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, tmp_path):
    nets.seed(1)
    model, x = lively(LAYERS[name]), noise(2, 3, 16, 17)
    want = by_tape(model, x)
    same(by_plan(model, x, (16, 17)), want)
    nets.export_onnx(model, tmp_path / "m.onnx", (16, 17), batch=2)
    same(by_onnxruntime(tmp_path / "m.onnx", x), want)
    if name in IN_OPENCV:
        same(by_opencv(tmp_path / "m.onnx", x, want), want)


SEQUENCES = {
    "rnn": L.RNN(5, 4, nonlinearity="relu"),
    "lstm": L.LSTM(5, 4, 2, bidirectional=True, dropout=0.5),
    "gru": L.GRU(5, 4, bias=False),
    "batch first": L.GRU(5, 4, batch_first=True),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences_of_any_length(name, tmp_path):
    model, x = lively(SEQUENCES[name]), noise(6, 2, 5)
    want = by_tape(model, x)
    assert len(want) == (3 if name == "lstm" else 2)
    same(nets.compile(model, example=x).run({"input": x}), want)
    nets.export_onnx(model, tmp_path / "m.onnx", dynamic=[0, 1])
    for shape in ((6, 2, 5), (3, 4, 5)):
        x = noise(*shape)
        same(by_onnxruntime(tmp_path / "m.onnx", x), by_tape(model, x))


def test_a_first_state_that_is_an_input():
    class Cell(L.Module):
        def __init__(self):
            self.gru = L.GRU(3, 4)

        def forward(self, x, h):
            return {"y": self.gru(x, h)[0]}

    model, (x, h) = Cell(), (noise(5, 2, 3), noise(1, 2, 4))
    plan = nets.compile(model, example=(x, h))
    want = model(Tensor(x), Tensor(h))["y"].numpy()
    same(plan.run({"input0": x, "input1": h}), {"y": want})


class Crop(L.Module):
    """Sizes that follow others by rounding, by halves, by a shift."""

    def __init__(self):
        self.a, self.b = L.Conv2d(3, 4, 3, 2, 1), L.Conv2d(4, 4, 3, 2, 1)

    def forward(self, x):
        a = self.a(x)
        b = pooling.upsample_bilinear(self.b(a), size=a.shape[2:])
        y = pooling.upsample_nearest(a + b, size=(x.shape[2] + 1, 2 * x.shape[3]))
        return y[:, :, 1:, : x.shape[3]].reshape(len(x), 4, -1)


def test_free_sizes(tmp_path):
    """One graph and one file for every batch and size."""
    model, free = Crop(), ("batch", "height", "width")
    graph = nets.to_graph(model, (20, 24), dynamic=free)
    assert graph.inputs[0].shape == (-1, 3, -1, -1)
    assert graph.outputs[0].shape == (-1, 4, -1)
    nets.export_onnx(model, tmp_path / "m.onnx", (20, 24), dynamic=free)
    for shape in ((1, 3, 20, 24), (3, 3, 21, 33), (2, 3, 8, 39)):
        x = noise(*shape)
        want = by_tape(model, x)
        same(by_graph(graph, x), want)
        same(by_onnxruntime(tmp_path / "m.onnx", x), want)


def test_a_free_batch_alone(tmp_path):
    model = lively(after(L.BatchNorm2d(4), L.ReLU(), L.MaxPool2d(2), L.Flatten(), L.Linear(112, 3)))
    nets.export_onnx(model, tmp_path / "m.onnx", (16, 10), dynamic=["batch"])
    for batch in (1, 5):
        x = noise(batch, 3, 16, 10)
        same(by_onnxruntime(tmp_path / "m.onnx", x), by_tape(model, x))


def test_a_plan_keeps_the_weights_it_was_made_of():
    model = L.Sequential(L.Embedding(5, 3), L.GRU(3, 2))
    plan, index = nets.compile(model), np.zeros((1, 1), np.int64)
    before = plan.run({"input": index})
    for parameter in model.parameters():
        parameter.data += 1
    same(plan.run({"input": index}), before, 0)


def test_modes_come_back_and_gradients_are_left_alone():
    model = after(L.BatchNorm2d(4), L.Dropout())
    model[1].eval()
    nets.to_graph(model, (8, 8))
    assert [m.training for m in model] == [True, False, True]
    assert model[1].num_batches_tracked == 0


def test_names():
    """Nodes bear the names of layers, constants those of the state."""
    graph = nets.to_graph(lively(after(L.BatchNorm2d(4), L.ReLU(), L.Flatten())), (8, 8))
    assert [n.name for n in graph.nodes] == ["0", "1", "1_1", "reshape"]
    assert {"0.weight", "0.bias", "1.weight", "1.running_mean"} <= set(graph.constants)
    assert [p.name for p in graph.outputs] == ["output"]

    class Both(L.Module):
        def __init__(self):
            self.fc = L.Linear(2, 2)

        def forward(self, x):
            y = self.fc(x)
            return y, (y, x), Tensor(np.ones(3))

    model, x = Both(), noise(1, 2)
    got = by_plan(model, x)
    assert list(got) == ["output0", "output1", "output2", "output3"]
    same(got, by_tape(model, x))


def test_shared_layers():
    layer = L.Conv2d(3, 3, 3, padding=1)
    model, x = L.Sequential(layer, L.ReLU(), layer), noise(1, 3, 6, 6)
    graph = nets.to_graph(model, (6, 6))
    assert [n.name for n in graph.nodes] == ["0", "relu", "0_1"]
    assert sum(name.endswith("weight") for name in graph.constants) == 1
    same(by_graph(graph, x), by_tape(model, x))


def test_the_file_says_what_it_is(tmp_path):
    proto = to_onnx(nets.tracing.convert.graph_of(LAYERS["conv"], (16, 17), 1, None, (), 17))
    assert (proto.ir_version, proto.opset_import[0].version) == (8, 17)
    assert proto.producer_name == "vj-detect"
    nets.export_onnx(LAYERS["conv"], tmp_path / "m.onnx", (16, 17))
    again = nets.load_onnx(tmp_path / "m.onnx")
    x = noise(1, 3, 16, 17)
    same(again.run({"input": x}), by_tape(LAYERS["conv"], x))


def from_numpy(x):
    return Tensor(x.numpy() * 2)


def dropped(x):
    return activation.dropout(x, p=0.5, rng=np.random.default_rng(0))


def whose(x):
    switches = np.zeros((1, 4, 3, 3), np.int64)
    return pooling.max_unpool2d(x[:, :, :3, :3], switches=switches, size=(6, 6))


BAD = [
    (Net(from_numpy), {}, "Net: nothing that comes out was made of .'input'. by ops of tensors"),
    (Net(dropped), {}, "Net: `dropout` has no ONNX operator"),
    (Net(whose), {}, "max_unpool2d: its switches do not come from a traced pooling"),
    (Net(lambda x: x[:, None]), {}, "indexing with None or masks cannot be traced"),
    (Net(lambda x: x[np.array([0]), np.array([1])]), {}, "along one axis only"),
    (Net(lambda x: "text"), {}, "a model must return tensors, got str"),
    (after(L.LocalResponseNorm(4)), {}, "only odd sizes can be traced, not 4"),
    (
        after(L.BatchNorm2d(4, track_running_stats=False)),
        {},
        "only running statistics can be traced",
    ),
    (after(L.Flatten(), L.Linear(4, 2)), {}, r"linear: weight \(2, 4\) does not fit x"),
    (after(L.AdaptiveAvgPool2d(3)), {"dynamic": ["width"]}, "3x3 cannot be traced at a free size"),
    (after(L.Flatten(), L.Linear(144, 2)), {"dynamic": ["height"]}, r"dynamic sizes \(axes \[2\]"),
    (after(), {"dynamic": ["depth"]}, "`dynamic` takes batch, height, width and axes 0 to 3"),
    (after(), {"size": None}, r"takes images: give their `size` \(rows, cols\)"),
    (Net(lambda x, p, u: u(*p(x), (6, 7)), L.MaxPool2d(2, None, 0, 1, True), L.MaxUnpool2d(2)), {},
     r"only an output of the size that its windows cover, \(6, 6\), can be traced"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "options", "says"), BAD)
def test_refuses(model, options, says):
    with pytest.raises(NetError, match=says):
        nets.to_graph(model, **{"size": (8, 8), **options})


def test_a_model_that_does_something_else_at_another_size():
    model = Net(lambda x: activation.relu(x) if x.shape[2] > 30 else x + 1)
    with pytest.raises(NetError, match="runs different ops at other sizes"):
        nets.to_graph(model, (8, 8), dynamic=["height"])


def test_sizes_that_follow_nothing():
    model = Net(lambda x: x.reshape(-1)[: x.shape[2] ** 2])
    with pytest.raises(NetError, match=r"the sizes .* do not depend on any known size"):
        nets.to_graph(model, (8, 8), dynamic=["height"])


def test_what_is_no_model():
    with pytest.raises(NetError, match="`model` must be a Module or a Model, got str"):
        nets.compile("yunet")


def test_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(SinkError, match=r"m\.onnx: cannot write"):
        nets.export_onnx(after(), tmp_path / "none" / "m.onnx", (8, 8))


def test_weights_beyond_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr("nets.onnx.writer.LIMIT", 100)
    with pytest.raises(NetError, match=r"m\.onnx: .* GB of weights exceed an ONNX file's 2 GB"):
        nets.export_onnx(after(), tmp_path / "m.onnx", (8, 8))


def test_arithmetic_of_weights_is_done_beforehand():
    """Standardised weights are constants of the graph."""

    def standardised(x, layer):
        w = layer.weight
        centred = w - w.mean((1, 2, 3), keepdims=True)
        return convolution.conv2d(x, centred / (centred * centred).mean() ** 0.5)

    model, x = Net(standardised, L.Conv2d(4, 4, 3)), noise(1, 3, 8, 8)
    graph = nets.to_graph(model, (8, 8))
    assert [n.op for n in graph.nodes] == ["Conv", "Conv"]
    same(by_graph(graph, x), by_tape(model, x))
