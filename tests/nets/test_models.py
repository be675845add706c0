"""The architectures: known sizes, PyTorch builds of the same names, plans, files, first steps."""

import hashlib
import json

import numpy as np
import pytest

import nets
from nets import models as M
from nets.autograd.tensor import Tensor, no_grad
from nets.models.autoencoder import kl_sparsity, l1_sparsity
from nets.models.lenet import Gaussian
from nets.nn import init, losses, optim
from vj.errors import NetError

torch = pytest.importorskip("torch", reason="the oracle is torch")
from traced import by_onnxruntime, by_opencv, by_tape, lively, noise, same  # noqa: E402

from bench.nets import torch_models as T  # noqa: E402

COUNTS = {
    M.LeNet5: 61_706, M.AlexNet: 61_100_840, M.vgg16: 138_357_544, M.vgg16_bn: 138_365_992,
    M.vgg19: 143_667_240, M.vgg19_bn: 143_678_248, M.resnet18: 11_689_512,
    M.resnet34: 21_797_672, M.resnet50: 25_557_032, M.mobilenet_v1: 4_231_976,
    M.mobilenet_v2: 3_504_872, M.YuNet: 75_856, M.Generator: 3_576_704,
    M.Discriminator: 2_765_568, M.DeepLab: 39_638_869, M.Autoencoder: 1_087_586,
}  # fmt: skip


@pytest.mark.parametrize("make", COUNTS, ids=lambda make: make.__name__)
def test_parameters_of_the_literature(make):
    with init.blank():
        assert make().n_parameters == COUNTS[make]


NAMES = {  # some that torchvision's models have, with their shapes
    M.AlexNet: {"features.10.weight": (256, 256, 3, 3), "classifier.6.bias": (1000,)},
    M.vgg16: {"features.28.weight": (512, 512, 3, 3), "classifier.0.weight": (4096, 25088)},
    M.vgg19_bn: {"features.50.running_var": (512,), "classifier.3.weight": (4096, 4096)},
    M.resnet18: {"layer4.0.downsample.0.weight": (512, 256, 1, 1), "bn1.num_batches_tracked": ()},
    M.resnet50: {
        "layer1.0.downsample.1.running_mean": (256,), "layer4.2.conv3.weight": (2048, 512, 1, 1),
    },
    M.mobilenet_v2: {
        "features.1.conv.0.0.weight": (32, 1, 3, 3), "features.2.conv.3.running_var": (24,),
        "features.18.0.weight": (1280, 320, 1, 1), "classifier.1.weight": (1000, 1280),
    },
    M.DeepLab: {
        "backbone.layer4.0.downsample.1.weight": (2048,),
        "classifier.0.convs.3.0.weight": (256, 2048, 3, 3),
        "classifier.0.convs.4.1.weight": (256, 2048, 1, 1),
        "classifier.0.project.0.weight": (256, 1280, 1, 1), "classifier.4.weight": (21, 256, 1, 1),
    },
}  # fmt: skip


@pytest.mark.parametrize("make", NAMES, ids=lambda make: make.__name__)
def test_names_are_those_of_torchvision(make):
    with init.blank():
        state = make().state_dict()
    assert {name: state[name].shape for name in NAMES[make]} == NAMES[make]


STATES = {  # first half of SHA-256 of all names and shapes, in order, of torchvision 0.26's models
    M.AlexNet: "14593b9569c66518", M.vgg16: "ddabf5fcf9721839", M.vgg16_bn: "87148b56792b5ba4",
    M.vgg19: "fbd469d8bd4f683f", M.vgg19_bn: "a964850bb8387242", M.resnet18: "ce88913d6e5bbfc8",
    M.resnet34: "ea3c41f6d89ab8bc", M.resnet50: "218340f9d3037dea",
    M.mobilenet_v2: "50b76b5e43373535",
}  # fmt: skip


@pytest.mark.parametrize("make", STATES, ids=lambda make: make.__name__)
def test_whole_states_are_those_of_torchvision(make):
    with init.blank():
        shapes = [(name, list(a.shape)) for name, a in make().state_dict().items()]
    assert hashlib.sha256(json.dumps(shapes).encode()).hexdigest()[:16] == STATES[make]


HYBRID = [(), (), [1, 2], [1, 2]]
SIZES, SMALL, FULL = {"size": (48, 40)}, {"size": (32, 32)}, {"size": (224, 224)}
MODELS = {  # ours, theirs, and what goes in
    "lenet": (lambda: M.LeNet5(), lambda: T.LeNet5(), SMALL),
    "lenet, relu": (lambda: M.LeNet5(activation="relu", pooling="max"),
                    lambda: T.LeNet5(torch.relu, torch.max_pool2d), SMALL),
    "alexnet": (lambda: M.AlexNet(7, width=1 / 16), lambda: T.alexnet(1 / 16, 7), FULL),
    "vgg16": (lambda: M.VGG(16, 7, width=1 / 16), lambda: T.vgg(T.VGG16, 1 / 16, 7), FULL),
    "vgg19, batch norm": (lambda: M.VGG(19, 7, width=1 / 16, batch_norm=True),
                          lambda: T.vgg(T.VGG19, 1 / 16, 7, True), {"size": (64, 32)}),
    "resnet18": (lambda: M.resnet18(num_classes=7, width=0.125),
                 lambda: T.ResNet(T.Basic, (2, 2, 2, 2), 0.125, 7), SIZES),
    "resnet34": (lambda: M.resnet34(num_classes=7, width=0.125, small=True),
                 lambda: T.ResNet(T.Basic, (3, 4, 6, 3), 0.125, 7, True), SMALL),
    "resnet50": (lambda: M.resnet50(num_classes=7, width=0.125),
                 lambda: T.ResNet(T.Bottleneck, (3, 4, 6, 3), 0.125, 7), SIZES),
    "plain": (lambda: M.ResNet((2, 1, 1), 7, width=0.25, small=True, shortcuts=False),
              lambda: T.ResNet(T.Basic, (2, 1, 1), 0.25, 7, True, False), SMALL),
    "fcn32": (lambda: M.FCN(3, width=1 / 16, stride=32), lambda: T.FCN(32, 1 / 16, 3), SIZES),
    "fcn16": (lambda: M.FCN(3, width=1 / 16, stride=16), lambda: T.FCN(16, 1 / 16, 3), SIZES),
    "fcn8": (lambda: M.FCN(3, width=1 / 16), lambda: T.FCN(8, 1 / 16, 3), {"size": (50, 75)}),
    "mobilenet v1": (lambda: M.MobileNetV1(7, width=0.25), lambda: T.mobilenet_v1(0.25, 7), SIZES),
    "mobilenet v2": (lambda: M.MobileNetV2(7, width=0.25), lambda: T.mobilenet_v2(0.25, 7), SIZES),
    "deeplab": (lambda: M.DeepLab(3, depth=18, width=0.125, channels=8, rates=(2, 4)),
                lambda: T.DeepLab(T.ResNet(T.Basic, (2, 2, 2, 2), 0.125, 0, rates=HYBRID), 64, 8,
                                  (2, 4), 3), SIZES),
    "autoencoder": (lambda: M.Autoencoder(), lambda: T.Autoencoder(), {}),
    "vae": (lambda: M.VAE(3, 32, latent=5, width=8), lambda: T.VAE(5, 8, None), SMALL),
    "generator": (lambda: M.Generator(6, size=32, width=8), lambda: T.generator(6, 8), {}),
    "discriminator": (lambda: M.Discriminator(size=32, width=8), lambda: T.discriminator(8), SMALL),
    "char": (lambda: M.CharRNN(9, 8, 2), lambda: T.CharRNN(9, 8, 2), {}),
    "sequence": (lambda: M.SequenceRNN(3, 4, 8, cell="gru"), lambda: T.SequenceRNN(3, 4, 8), {}),
    "yunet": (lambda: M.YuNet(width=16), lambda: T.YuNet(16), {"size": (64, 96)}),
}  # fmt: skip
NOT_IN_OPENCV = {"char", "sequence", "generator"}


def twins(name):
    """Our model and theirs with the same weights, ready for use, and an input."""
    ours, theirs, inputs = MODELS[name]
    nets.seed(0)
    ours, theirs = lively(ours()), theirs().eval()
    theirs.load_state_dict({k: torch.tensor(v) for k, v in ours.state_dict().items()})
    assert list(ours.state_dict()) == list(theirs.state_dict())
    return ours, theirs, ours.example(**inputs, batch=2)


@pytest.mark.parametrize("name", MODELS)
def test_as_pytorch_as_a_plan_and_as_a_file(name, tmp_path):
    ours, theirs, x = twins(name)
    got = by_tape(ours, x)
    with torch.no_grad():
        want = theirs(torch.tensor(x))
    want = want if isinstance(want, tuple) else (want,)
    for (key, a), b in zip(got.items(), want, strict=False):  # states of cells come after
        same({key: a}, {key: b.numpy()})
    same(nets.compile(ours, example=x).run({"input": x}), got)
    nets.export_onnx(ours, tmp_path / "m.onnx", example=x)
    same(by_onnxruntime(tmp_path / "m.onnx", x), got)
    if name not in NOT_IN_OPENCV:
        same(by_opencv(tmp_path / "m.onnx", x, got), got)


@pytest.mark.parametrize("name", ["lenet", "resnet18", "fcn8", "mobilenet v2", "deeplab", "yunet"])
def test_plans_are_compiled_through_and_through(name):
    """No layer is left to NumPy, and none to batch normalisation."""
    ours, _, x = twins(name)
    plan = nets.compile(ours, example=x)
    assert not [layer.name for layer in plan.layers if layer.kind in ("numpy", "affine")]


def test_files_of_any_size(tmp_path):
    """A detector's body and a net for pixels, exported once."""
    for model, sizes in (
        (M.YuNet(width=16), ((64, 96), (160, 128))),
        (M.FCN(2, width=1 / 16), ((50, 75), (64, 64))),
    ):
        nets.seed(0)
        free = ("batch", "height", "width")
        nets.export_onnx(lively(model), tmp_path / "m.onnx", sizes[0], dynamic=free)
        for batch, size in enumerate(sizes, 1):
            x = noise(batch, 3, *size)
            same(by_onnxruntime(tmp_path / "m.onnx", x), by_tape(model, x))


# ---------------------------------------------------------------------- first steps

OPTIMISERS = {
    "sgd": (lambda p: optim.SGD(p, 0.05), lambda p: torch.optim.SGD(p, 0.05)),
    "momentum": (lambda p: optim.SGD(p, 0.02, momentum=0.9, weight_decay=1e-3),
                 lambda p: torch.optim.SGD(p, 0.02, momentum=0.9, weight_decay=1e-3)),
    "nesterov": (lambda p: optim.SGD(p, 0.02, momentum=0.9, nesterov=True),
                 lambda p: torch.optim.SGD(p, 0.02, momentum=0.9, nesterov=True)),
    "adagrad": (lambda p: optim.AdaGrad(p, 1e-3), lambda p: torch.optim.Adagrad(p, 1e-3)),
    "rmsprop": (lambda p: optim.RMSprop(p, 1e-4), lambda p: torch.optim.RMSprop(p, 1e-4)),
    "adam": (lambda p: optim.Adam(p, 1e-3), lambda p: torch.optim.Adam(p, 1e-3)),
    "adamw": (lambda p: optim.AdamW(p, 1e-3), lambda p: torch.optim.AdamW(p, 1e-3)),
}  # fmt: skip


def labelled(shape, classes, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape, np.float32), rng.integers(0, classes, shape[0])


def classified(make, twin, shape, classes):
    """Loss functions of the two, by step."""
    data = [labelled(shape, classes, seed) for seed in range(5)]

    def ours(model, step):
        x, labels = data[step % 5]
        return losses.cross_entropy(model(Tensor(x)), labels)

    def theirs(model, step):
        x, labels = data[step % 5]
        return torch.nn.functional.cross_entropy(model(torch.tensor(x)), torch.tensor(labels))

    return make, twin, ours, theirs


def letters():
    index = np.random.default_rng(0).integers(0, 12, (11, 4))

    def ours(model, step):
        return losses.cross_entropy(model(index[:-1])[0].reshape(-1, 12), index[1:].reshape(-1))

    def theirs(model, step):
        y, wanted = model(torch.tensor(index[:-1])), torch.tensor(index[1:])
        return torch.nn.functional.cross_entropy(y.reshape(-1, 12), wanted.reshape(-1))

    return lambda: M.CharRNN(12, 16), lambda: T.CharRNN(12, 16, 1), ours, theirs


def drawn():
    """Both draw the same noise."""
    x = np.random.default_rng(0).random((4, 3, 32, 32), np.float32)
    rng = np.random.default_rng(5)

    def make():
        model = M.VAE(3, 32, latent=4, width=4)
        model.generator = np.random.default_rng(5)
        return model

    def ours(model, step):
        y, mean, log_variance = model(Tensor(x))
        fit = losses.binary_cross_entropy_with_logits(y, Tensor(x))
        return fit + losses.gaussian_kl(mean, log_variance) * 0.01

    def theirs(model, step):
        y, mean, log_variance = model(torch.tensor(x))
        fit = torch.nn.functional.binary_cross_entropy_with_logits(y, torch.tensor(x))
        kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1).mean()
        return fit + 0.01 * kl

    return make, lambda: T.VAE(4, 4, lambda s: rng.standard_normal(s, np.float32)), ours, theirs


TRAINED = {
    "lenet": lambda: classified(M.LeNet5, T.LeNet5, (8, 1, 32, 32), 10),
    "resnet": lambda: classified(
        lambda: M.ResNet((1, 1), 5, width=0.125, small=True),
        lambda: T.ResNet(T.Basic, (1, 1), 0.125, 5, True),
        (8, 3, 12, 12), 5,
    ),
    "lstm": letters,
    "vae": drawn,
}  # fmt: skip


@pytest.mark.parametrize("how", OPTIMISERS)
@pytest.mark.parametrize("name", TRAINED)
def test_twenty_steps(name, how):
    """Losses stay together; the moments of batch normalisation, too."""
    make, twin, loss, their_loss = TRAINED[name]()
    nets.seed(3)
    ours, theirs = make(), twin()
    theirs.load_state_dict({k: torch.tensor(v) for k, v in ours.state_dict().items()})
    step, their_step = (
        OPTIMISERS[how][0](ours.parameters()),
        OPTIMISERS[how][1](theirs.parameters()),
    )
    got, want = [], []
    for i in range(20):
        ours.zero_grad()
        value = loss(ours, i)
        value.backward()
        step.step()
        got.append(value.item())
        their_step.zero_grad()
        value = their_loss(theirs, i)
        value.backward()
        their_step.step()
        want.append(value.item())
    np.testing.assert_allclose(got, want, atol=1e-4, rtol=1e-4)
    assert abs(want[-1] - want[0]) > 1e-3  # it has moved


# ---------------------------------------------------------------------- what single models can do


def test_gaussian_connection():
    """Minus half the squared distance: what is at a pattern gets nothing subtracted."""
    nets.seed(0)
    layer = Gaussian(5, 3)
    assert set(np.unique(layer.weight.data)) == {-1, 1}
    x = noise(4, 5)
    want = -0.5 * ((x[:, None] - layer.weight.data) ** 2).sum(2)
    np.testing.assert_allclose(layer(Tensor(x)).numpy(), want, rtol=1e-5)
    model = M.LeNet5(gaussian=True, in_channels=3, size=(28, 20))
    assert model(Tensor(noise(2, 3, 28, 20))).shape == (2, 10)
    assert model.n_parameters == M.LeNet5(in_channels=3, size=(28, 20)).n_parameters - 10


def test_response_normalisation_keeps_the_names():
    with init.blank():
        assert list(M.AlexNet(response_norm=True).state_dict()) == list(M.AlexNet().state_dict())
    rows = M.AlexNet(5, width=1 / 16, response_norm=True).summary((96, 96)).rows
    assert [row.op for row in rows][:4] == ["conv2d", "relu", "local_response_norm", "max_pool2d"]


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_fcn_begins_as_interpolated_scores(stride):
    """Fine maps begin with zero scores: at first all do what FCN-32s does."""
    nets.seed(0)
    model, coarse = M.FCN(2, width=1 / 16, stride=stride).eval(), M.FCN(2, width=1 / 16, stride=32)
    coarse.eval().load_state_dict(
        {k: v for k, v in model.state_dict().items() if "score" not in k}, strict=False
    )
    score = noise(2, 256, 1, 1)
    model.score.weight.data = coarse.score.weight.data = score
    x = noise(1, 3, 64, 96)
    small = model.score(model.classifier(model.features(Tensor(x)))).numpy()
    got = model(Tensor(x)).numpy()
    low, high = small.min(), small.max()
    assert got.min() >= min(low, 0) - 1e-5
    assert got.max() <= max(high, 0) + 1e-5
    np.testing.assert_allclose(got.mean(), coarse(Tensor(x)).numpy().mean(), rtol=0.3, atol=1e-3)


def test_fcn_takes_over_a_vgg():
    nets.seed(0)
    vgg, fcn = M.VGG(16, 5, width=1 / 16).eval(), M.FCN(2, width=1 / 16).eval()
    fcn.load_vgg(vgg.state_dict())
    x = Tensor(noise(1, 3, 224, 224))
    with no_grad():
        want = vgg.classifier[0](vgg.features(x).reshape(1, -1)).numpy()
        got = fcn.classifier[0](fcn.features(x)).numpy()
    np.testing.assert_allclose(got[0, :, 3, 3], want[0], atol=1e-4)  # its middle sees all 7 x 7
    with pytest.raises(NetError, match=r"FCN: .* lacks features\.0\.weight"):
        fcn.load_vgg({})
    with pytest.raises(NetError, match=r"wrong: features\.0\.weight \(8, 3, 3, 3\) of float32"):
        fcn.load_vgg(M.VGG(16, 5, width=1 / 8).state_dict())


def test_deeplab_checks_its_rates():
    with init.blank():
        hybrid, theirs, grid = (
            M.DeepLab(depth=34, width=0.125, channels=8, dilations=dilations)
            for dilations in ("hybrid", "doubling", ([2] * 6, [2] * 3))
        )
    assert hybrid.check()
    assert [block.conv1.dilation[0] for block in theirs.backbone.layer4] == [2, 4, 4]
    assert not grid.check()
    assert "common divisor 2" in str(grid.check())


def test_layerwise_pretraining_trains_the_layers_of_the_model():
    nets.seed(0)
    model = M.Autoencoder((20, 12, 6, 2))
    x = np.random.default_rng(0).random((64, 20), np.float32)
    before = {name: a.copy() for name, a in model.state_dict().items()}
    shapes = []
    for below, alone in model.layerwise():
        with no_grad():
            data = below(Tensor(x)).detach()
        step = optim.Adam(alone.parameters(), 1e-2)
        found = []
        for _ in range(30):
            alone.zero_grad()
            loss = losses.mse_loss(alone(data), data)
            loss.backward()
            step.step()
            found.append(loss.item())
        assert found[-1] < 0.9 * found[0]
        shapes.append(tuple(p.shape for p in alone.parameters())[::2])
    assert shapes == [((12, 20), (20, 12)), ((6, 12), (12, 6)), ((2, 6), (6, 2))]
    assert all(not np.array_equal(before[n], a) for n, a in model.state_dict().items())
    assert model(Tensor(x.reshape(64, 4, 5))).shape == (64, 4, 5)


def test_sparsity():
    code = np.random.default_rng(0).uniform(0.05, 0.95, (6, 4)).astype("f4")
    assert l1_sparsity(Tensor(-code)).item() == pytest.approx(code.mean())
    mean = code.mean(0)
    want = (0.1 * np.log(0.1 / mean) + 0.9 * np.log(0.9 / (1 - mean))).sum()
    assert kl_sparsity(Tensor(code), 0.1).item() == pytest.approx(want, rel=1e-5)
    assert kl_sparsity(Tensor(np.full((3, 4), 0.05))).item() == pytest.approx(0, abs=1e-6)
    x = Tensor(code, requires_grad=True)
    kl_sparsity(x, 0.1).backward()
    assert x.grad.shape == code.shape


def test_vae_draws_while_it_learns():
    nets.seed(0)
    model, x = M.VAE(1, 8, latent=3, width=2), Tensor(noise(2, 1, 8, 8))
    with no_grad():
        first, second = model(x)[0].numpy(), model(x)[0].numpy()
        assert not np.array_equal(first, second)
        model.eval()
        np.testing.assert_array_equal(model(x)[0].numpy(), model(x)[0].numpy())
        assert model.decode(Tensor(noise(5, 3))).shape == (5, 1, 8, 8)
    assert [name for name, _ in model.named_generators()] == ["generator"]


def test_text_goes_on_from_a_state():
    nets.seed(0)
    model = M.CharRNN(7, 5, 2).eval()
    index = np.random.default_rng(0).integers(0, 7, (6, 3))
    whole, _ = model(index)
    half, state = model(index[:2])
    rest, _ = model(index[2:], state)
    got = np.concatenate([half.numpy(), rest.numpy()])
    np.testing.assert_allclose(got, whole.numpy(), atol=1e-6)


BAD = [
    (lambda: M.LeNet5(activation="gelu"), "`activation` is one of tanh, relu, sigmoid"),
    (lambda: M.LeNet5(size=(12, 32)), r"`size` at least 16: got tanh, average, \(12, 32\)"),
    (lambda: M.VGG(17), "VGG: `depth` must be one of 11, 13, 16, 19, got 17"),
    (lambda: M.ResNet(101), r"ResNet: `depth` must be one of \[18, 34, 50\], got 101"),
    (lambda: M.DeepLab(depth=101), r"DeepLab: `depth` must be one of \[18, 34, 50\], got 101"),
    (lambda: M.DeepLab(dilations="none"), "or 6 and 3 numbers, got 'none'"),
    (lambda: M.FCN(stride=4), "FCN: `stride` must be 8, 16 or 32, got 4"),
    (lambda: M.VAE(size=24), "VAE: `size` must be 8 times a power of 2, got 24"),
    (lambda: M.Generator(size=4), "DCGAN: `size` must be 8 times a power of 2, got 4"),
    (lambda: M.Autoencoder((3,)), r"Autoencoder: `sizes` must be two or more.*got \(3,\)"),
    (lambda: M.Autoencoder(activation="elu"), "one of sigmoid, tanh, relu.*'elu'"),
    (lambda: kl_sparsity(Tensor([[0.5]]), 1.0), "`share` must be between 0 and 1, got 1.0"),
    (lambda: M.CharRNN(5, cell="elman"), "`cell` must be one of rnn, lstm, gru, got 'elman'"),
    (lambda: M.LeNet5()(Tensor(noise(1, 1, 28, 28))), "linear: weight .* does not fit x"),
    (lambda: M.resnet18(width=0.125)(Tensor(noise(1, 3, 32, 32))), "one value per channel"),
    (lambda: M.mobilenet_v2().load_state_dict(M.LeNet5().state_dict()), r"missing: features\.0\.0"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "says"), BAD)
def test_refuses(call, says):
    with pytest.raises(NetError, match=says):
        call()
