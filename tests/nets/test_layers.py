"""Layers against PyTorch's of the same names, and what all modules can do."""

import copy

import numpy as np
import pytest
from layer_cases import BOTH, CASES, name_of

import nets
from nets.autograd.tensor import Tensor, no_grad
from nets.nn import layers as L
from nets.nn.layers.container import fits
from vj.errors import NetError

torch = pytest.importorskip("torch", reason="the oracle is torch")
torch.set_num_threads(1)


def twins(kind, args, options):
    """Our layer and theirs, with the same weights."""
    nets.seed(0)
    ours, theirs = (getattr(where, kind)(*args, **options) for where in (L, torch.nn))
    rng = np.random.default_rng(1)
    for name, buffer in ours.named_buffers():
        if "running" in name:
            buffer[...] = rng.uniform(0.5, 1.5, buffer.shape)
    theirs.load_state_dict({k: torch.tensor(np.array(v)) for k, v in ours.state_dict().items()})
    return ours, theirs


def flat(result):
    return [x for part in result for x in flat(part)] if isinstance(result, tuple) else [result]


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_layer(case, training):
    """Names, results, gradients and buffers."""
    kind, args, options, shape = case
    ours, theirs = twins(kind, args, options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.train(training)
    theirs.train(training)
    data = np.random.default_rng(2).standard_normal(shape, np.float32)
    x, z = Tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
    got, want = flat(ours(x)), flat(theirs(z))
    rng = np.random.default_rng(3)
    total, sums = Tensor(0.0), 0.0
    for a, b in zip(got, want, strict=True):
        if isinstance(a, np.ndarray):  # switches
            np.testing.assert_array_equal(a, b)
            continue
        np.testing.assert_allclose(a.numpy(), b.detach(), atol=2e-5, rtol=1e-5)
        weights = rng.standard_normal(a.shape, np.float32)
        total, sums = total + (a * weights).sum(), sums + (b * torch.tensor(weights)).sum()
    total.backward()
    sums.backward()
    np.testing.assert_allclose(x.grad, z.grad, atol=1e-4, rtol=1e-4)
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad, q.grad, atol=2e-4, rtol=1e-4, err_msg=name)
    for (name, a), b in zip(ours.named_buffers(), theirs.buffers(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5, err_msg=name)


def test_embedding():
    ours, theirs = twins("Embedding", (7, 3), {})
    index = np.random.default_rng(0).integers(0, 7, (4, 2))
    np.testing.assert_array_equal(ours(index).numpy(), theirs(torch.tensor(index)).detach())


def test_states_of_recurrent_layers():
    """Given ones and returned ones: half a sequence after the other is the whole."""
    for kind in ("RNN", "LSTM", "GRU"):
        ours, theirs = twins(kind, (6, 4), BOTH)
        data = np.random.default_rng(0).standard_normal((6, 2, 6), np.float32)
        state = np.random.default_rng(1).standard_normal((4, 2, 4), np.float32)
        given = (Tensor(state),) * 2 if kind == "LSTM" else Tensor(state)
        wanted = (torch.tensor(state),) * 2 if kind == "LSTM" else torch.tensor(state)
        got, want = ours(Tensor(data), given), theirs(torch.tensor(data), wanted)
        for a, b in zip(flat(got), flat(want), strict=True):
            np.testing.assert_allclose(a.numpy(), b.detach(), atol=1e-5)


def test_unpooling():
    x = np.random.default_rng(0).standard_normal((2, 3, 7, 6), np.float32)
    y, switches = L.MaxPool2d(2, return_indices=True)(Tensor(x))
    z, indices = torch.nn.MaxPool2d(2, return_indices=True)(torch.tensor(x))
    np.testing.assert_array_equal(
        L.MaxUnpool2d(2)(y, switches, x.shape).numpy(),
        torch.nn.MaxUnpool2d(2)(z, indices, x.shape),
    )
    assert L.MaxUnpool2d(2)(y, switches % 36).shape == (2, 3, 6, 6)


def test_maxout():
    x = np.random.default_rng(0).standard_normal((2, 6, 3, 2), np.float32)
    want = x.reshape(2, 3, 2, 3, 2).max(2)
    np.testing.assert_array_equal(L.Maxout(2)(Tensor(x)).numpy(), want)


LEARNT = [
    ("Conv2d", (16, 32, 3)), ("Conv2d", (16, 32, 3, 1, 0, 1, 4)), ("ConvTranspose2d", (16, 32, 3)),
    ("Linear", (300, 200)), ("Embedding", (200, 50)), ("BatchNorm2d", (7,)), ("GroupNorm", (2, 6)),
    ("LayerNorm", ((3, 4),)), ("PReLU", (3,)), ("RNN", (20, 30)), ("LSTM", (20, 30, 2)),
    ("GRU", (20, 30)),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "args"), LEARNT, ids=str)
def test_layers_begin_as_those_of_torch(kind, args):
    """The same names, shapes, spreads and bounds."""
    nets.seed(0)
    torch.manual_seed(0)
    ours, theirs = getattr(L, kind)(*args), getattr(torch.nn, kind)(*args)
    for (name, p), (key, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        a, b = p.data, q.detach().numpy()
        assert (name, a.shape) == (key, b.shape)
        few = 8 / np.sqrt(a.size)  # standard errors of a spread, roughly
        np.testing.assert_allclose(a.std(), b.std(), rtol=few, atol=1e-6)
        if kind != "Embedding":  # the others are bounded
            assert np.abs(a).max() <= np.abs(b).max() * (1 + few)


BAD = [
    (lambda: L.Conv2d(0, 4, 3), r"`in_channels` must be an integer of at least 1, got 0"),
    (lambda: L.Conv2d(3, 4, 3, groups=2), "`in_channels` 3 is not a multiple of groups 2"),
    (lambda: L.Conv2d(4, 3, 3, groups=2), "`out_channels` 3 is not a multiple of groups 2"),
    (
        lambda: L.Conv2d(3, 4, (1, 2, 3)),
        r"`kernel_size` must be an integer of at least 1 or a pair of them",
    ),
    (lambda: L.Conv2d(3, 4, 3, stride=0), "`stride` must be an integer of at least 1 .*, got 0"),
    (lambda: L.Conv2d(3, 4, 3, padding=-1), "`padding` must be an integer of at least 0 .* got -1"),
    (lambda: L.Conv2d(3, 4, 2, padding="same"), "'same' needs stride 1 and a kernel of odd size"),
    (lambda: L.Conv2d(3, 4, 3, padding="full"), "`padding` .*, got 'full'"),
    (lambda: L.Linear(2.5, 3), "`in_features` must be an integer of at least 1, got 2.5"),
    (lambda: L.GroupNorm(4, 6), "`num_channels` 6 is not a multiple of 4 groups"),
    (lambda: L.Dropout(1.5), "`p` must be a number from 0 to 1, got 1.5"),
    (lambda: L.Dropout("a"), "`p` must be a number from 0 to 1, got 'a'"),
    (lambda: L.MaxPool2d(2, padding=2), r"`padding` \(2, 2\) must be at most half of the kernel"),
    (lambda: L.Upsample(), "give one of `size` and `scale_factor`"),
    (lambda: L.Upsample(3, 2), "give one of `size` and `scale_factor`"),
    (lambda: L.Upsample(3, mode="cubic"), "`mode` must be 'nearest' or 'bilinear', got 'cubic'"),
    (lambda: L.Upsample(3, align_corners=True), "`align_corners` is for mode 'bilinear'"),
    (lambda: L.Upsample(scale_factor=1.5)(zeros(1, 1, 3, 4)), "3 pixels times 1.5 is not whole"),
    (lambda: L.LSTM(3, 0), "`hidden_size` must be an integer of at least 1, got 0"),
    (lambda: L.Sequential(L.ReLU(), 3), "Sequential takes modules, got 3"),
    (lambda: L.ModuleList([None]), "ModuleList takes modules, got None"),
    (lambda: L.Conv2d(3, 4, 3)(zeros(1, 2, 9, 9)), r"conv2d: .* x has shape \(1, 2, 9, 9\)"),
    (lambda: L.BatchNorm2d(3)(zeros(4, 3)), r"BatchNorm2d of 3 channels does not take .* \(4, 3\)"),
    (lambda: L.BatchNorm1d(3)(zeros(4, 2)), r"BatchNorm1d of 3 channels does not take .* \(4, 2\)"),
    (lambda: L.BatchNorm1d(3)(zeros(1, 3)), r"more than one value per channel.*\(1, 3\)"),
    (lambda: L.BatchNorm2d(3)(zeros(1, 3, 1, 1)), "larger batch or evaluation mode"),
    (lambda: L.GRU(3, 4)(zeros(5, 2, 4)), r"GRU of 3 inputs does not take .* \(5, 2, 4\)"),
    (lambda: L.RNN(3, 4, nonlinearity="elu")(zeros(5, 3)), '"tanh" or "relu", not \'elu\''),
    (lambda: L.Embedding(3, 4)(np.array([3])), "embedding: `index` 3 is out of range"),
    (lambda: L.Embedding(3, 4)(np.array([0.5])), "embedding: `index` must hold integers"),
    (lambda: L.Conv2d(3, 4, 3).example(), r"takes images: give their `size` \(rows, cols\)"),
    (lambda: L.ReLU().example(), "ReLU: no layer determines the input shape"),
]  # fmt: skip


def zeros(*shape):
    return Tensor(np.zeros(shape))


@pytest.mark.parametrize(("call", "says"), BAD)
def test_refuses(call, says):
    with pytest.raises(NetError, match=says):
        call()


def test_a_batch_of_one_is_fine_after_training():
    norm = L.BatchNorm1d(3).eval()
    assert norm(zeros(1, 3)).shape == (1, 3)
    assert norm.num_batches_tracked == 0


class Shared(L.Module):
    """A layer under two names, a buffer, and things that are none of the state."""

    def __init__(self):
        self.first, self.second = L.Linear(3, 3), L.ReLU()
        self.again = self.first
        self.scale = np.ones(1, np.float32)
        self.note, self._hidden = "text", L.Linear(2, 2)

    def forward(self, x):
        return self.again(self.second(self.first(x))) * self.scale


def test_what_a_module_is_made_of():
    model = Shared()
    assert list(model.state_dict()) == [
        "scale", "first.weight", "first.bias", "again.weight", "again.bias",
    ]  # fmt: skip
    assert [n for n, _ in model.named_parameters()] == ["first.weight", "first.bias"]
    assert [n for n, _ in model.named_modules()] == ["", "first", "second"]
    assert [n for n, _ in model.named_buffers()] == ["scale"]
    assert model.n_parameters == 12
    assert list(model.children()) == [model.first, model.second, model.first]


def test_shared_weights_add_their_gradients():
    model, x = Shared(), np.ones((1, 3), np.float32)
    model(Tensor(x)).sum().backward()
    weight = torch.tensor(model.first.weight.data, requires_grad=True)
    bias = torch.tensor(model.first.bias.data, requires_grad=True)
    y = torch.relu(torch.tensor(x) @ weight.T + bias) @ weight.T + bias
    y.sum().backward()
    np.testing.assert_allclose(model.first.weight.grad, weight.grad, rtol=1e-5)
    model.zero_grad()
    assert model.first.weight.grad is None


def test_modes_freezing_and_apply():
    model = L.Sequential(L.Linear(2, 2), L.Sequential(L.Dropout(), L.BatchNorm1d(2)))
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    assert all(m.training for m in model.train().modules())
    model[0].requires_grad_(False)
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True]
    assert isinstance(model[0].weight, L.Parameter)
    seen = []
    model.apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Linear", "Dropout", "BatchNorm1d", "Sequential", "Sequential"]


def test_parameters_are_arrays_of_their_own():
    data = np.ones((2, 3))[:, ::-1]
    data.flags.writeable = False
    parameter = L.Parameter(data)
    parameter.data += 1
    assert parameter.data.dtype == np.float32
    assert parameter.data.flags.c_contiguous
    assert data.max() == 1


def test_sequences_of_modules():
    model = L.Sequential({"a": L.Linear(2, 3), "b": L.ReLU()}, L.Linear(3, 1))
    assert list(model.state_dict()) == ["a.weight", "a.bias", "1.weight", "1.bias"]
    assert len(model) == 3
    assert model[-1] is list(model)[2]
    assert list(model[1:].state_dict()) == ["1.weight", "1.bias"]
    many = L.ModuleList([L.ReLU()])
    many.append(L.Linear(2, 2))
    assert (len(many), list(many.state_dict())) == (2, ["1.weight", "1.bias"])
    text = repr(model)
    assert "(a): Linear(in_features=2, out_features=3)" in text
    assert repr(L.Conv2d(1, 2, 3).eval()).startswith("Conv2d(in_channels=1, out_channels=2, kernel")


@pytest.mark.parametrize("act", [L.ReLU, L.ReLU6])
def test_normalisation_and_activation_are_one_op(act):
    """The fused pair gives what the two give one after the other."""
    model = L.Sequential(L.Conv2d(2, 3, 3), L.BatchNorm2d(3), act(), L.Flatten())
    x = np.random.default_rng(0).standard_normal((2, 2, 6, 5), np.float32) * 9
    twin = copy.deepcopy(model)
    rows = [row.op for row in model.summary((6, 5)).rows]
    assert rows == ["conv2d", f"batch_norm + {act.__name__.lower()}"]
    apart = Tensor(x)
    for layer in twin:
        apart = layer(apart)
    np.testing.assert_array_equal(model(Tensor(x)).numpy(), apart.numpy())
    assert model[1].num_batches_tracked == 1
    assert not fits(L.BatchNorm2d(3), L.Tanh())
    assert not fits(L.Conv2d(1, 1, 1), L.ReLU())


def test_hooks_see_every_layer():
    model = L.Sequential(L.Linear(2, 3), L.BatchNorm1d(3), L.ReLU()).eval()
    seen = []
    remove = [
        layer.register_forward_hook(lambda m, x, y: seen.append((type(m).__name__, y.shape)))
        for layer in model
    ]
    model(zeros(4, 2))
    assert seen == [("Linear", (4, 3)), ("BatchNorm1d", (4, 3)), ("ReLU", (4, 3))]
    for each in remove:
        each()
    model(zeros(4, 2))
    assert len(seen) == 3
    model[0].register_forward_hook(lambda m, x, y: y * 0 - 1)
    assert (model(zeros(4, 2)).numpy() == 0).all()


def test_dropout_draws_by_seed_and_layer():
    def run():
        nets.seed(5)
        layers = L.Dropout(0.5), L.Dropout(0.5)
        return [layer(Tensor(np.ones(1000))).numpy() for layer in layers]

    (a, b), (c, d) = run(), run()
    np.testing.assert_array_equal(a, c)
    np.testing.assert_array_equal(b, d)
    assert not np.array_equal(a, b)
    assert set(np.unique(a)) == {0, 2}
    layer = L.Dropout(0.5).eval()
    x = zeros(3)
    assert layer(x) is x
    model = L.Sequential(L.Dropout(), L.LSTM(2, 2, 2, dropout=0.5))
    assert [n for n, _ in model.named_generators()] == ["0.generator", "1.generator"]


def test_dropout_between_recurrent_layers():
    layer = L.LSTM(3, 200, 2, dropout=0.5)
    x = Tensor(np.ones((4, 2, 3)))
    with no_grad():
        a, b = layer(x)[0].numpy(), layer(x)[0].numpy()
        assert not np.array_equal(a, b)
        layer.eval()
        np.testing.assert_array_equal(layer(x)[0].numpy(), layer(x)[0].numpy())


def test_summary():
    """Counted by hand: 3 pixels, then 5 (a pool of stride 2 times 2), then 5 + 4 * 4."""
    model = L.Sequential(
        L.Conv2d(3, 8, 3, 2, 1), L.BatchNorm2d(8), L.ReLU(), L.MaxPool2d(2),
        L.Conv2d(8, 8, 3, dilation=2, padding=2), L.ConvTranspose2d(8, 4, 4, 2, 1),
        L.AdaptiveAvgPool2d(1), L.Flatten(), L.Linear(4, 2),
    )  # fmt: skip
    table = model.summary((32, 48))
    ops = "conv2d|batch_norm + relu|max_pool2d|conv2d|conv_transpose2d|adaptive_avg_pool2d|linear"
    assert [row.op for row in table.rows] == ops.split("|")
    assert [row.name for row in table.rows] == ["0", "1", "", "4", "5", "", "8"]
    fields = [(3, 3), (3, 3), (5, 5), (21, 21), (25, 25), (55, 71), (0, 0)]
    assert [row.field for row in table.rows] == fields
    macs = [8 * 16 * 24 * 27, 0, 0, 8 * 8 * 12 * 72, 8 * 8 * 12 * 4 * 16, 0, 8]
    assert [row.macs for row in table.rows] == macs
    assert table.parameters == sum(row.parameters for row in table.rows) == model.n_parameters
    lines = str(table).splitlines()
    assert lines[0].split() == ["layer", "op", "output", "parameters", "MACs", "sees"]
    assert lines[-1] == (
        "Sequential: 1,350 parameters, 187,400 MACs, an output sees up to 55 x 71 pixels"
    )
    assert model.training
    rows = L.LSTM(5, 4).summary(example=np.zeros((3, 2, 5), np.float32)).rows
    assert (rows[0].macs, rows[0].parameters) == (3 * 2 * 16 * 9, 16 * 9 + 32)


def test_a_shared_layer_is_counted_once():
    table = Shared().summary(example=np.zeros((1, 3), np.float32))
    assert [row.parameters for row in table.rows if row.op == "linear"] == [12, 0]
