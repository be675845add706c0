"""Seeing inside: nets whose answers are known, and chains of PyTorch's unpooling and filters."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nets.autograd.ops.activation import relu
from nets.autograd.tensor import Tensor
from nets.interpret import (
    as_picture,
    feature_maps,
    grid,
    latent_plane,
    latent_planes,
    layer_names,
    project,
    saliency,
    strongest,
)
from nets.nn import init
from nets.nn.layers import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    Tanh,
)
from vj.errors import ImageError, NetError


def net(seed=0):
    init.seed(seed)
    return Sequential(
        Conv2d(2, 4, 3),
        ReLU(),
        MaxPool2d(2),
        Conv2d(4, 5, 3),
        ReLU(),
        Flatten(),
        Linear(80, 3),
    )


def image(seed=0, size=14):
    return np.random.default_rng(seed).normal(size=(2, size, size)).astype(np.float32)


def pytorch():
    torch = pytest.importorskip("torch", reason="the oracle is torch")
    return torch, torch.nn.functional


def by_hand(model, x, channel, at, rule):
    """Unpooling with switches, rectification and transposed filters, one after the other."""
    torch, F = pytorch()
    w1, b1, w2, b2 = (
        torch.tensor(model[i].state_dict()[k]) for i in (0, 3) for k in ("weight", "bias")
    )
    a1 = F.conv2d(torch.tensor(x[None]), w1, b1)
    p1, switches = F.max_pool2d(F.relu(a1), 2, return_indices=True)
    a2 = F.conv2d(p1, w2, b2)
    g = torch.zeros_like(a2)
    g[(0, channel, *at)] = a2[(0, channel, *at)]
    g = F.conv_transpose2d(g, w2)
    g = F.max_unpool2d(g, switches, 2, output_size=a1.shape)
    g = F.relu(g) * ((a1 > 0) if rule == "guided" else 1)
    return F.conv_transpose2d(g, w1)[0].numpy(), a2.detach()[0, channel].numpy()


@settings(max_examples=25)
@given(
    seed=st.integers(0, 99),
    channel=st.integers(0, 4),
    rule=st.sampled_from(["deconvnet", "guided"]),
)
def test_an_activation_is_led_back_as_by_pytorchs_unpooling_and_transposed_filters(
    seed, channel, rule
):
    model, x = net(seed), image(seed)
    found = project(model, x, "3", channel, rule=rule)
    expected, maps = by_hand(model, x, channel, found.at, rule)
    assert found.at == np.unravel_index(np.argmax(maps), maps.shape)
    assert found.value == pytest.approx(maps.max(), abs=1e-5)
    np.testing.assert_allclose(found.pixels, expected, atol=1e-5)
    x0, y0, x1, y1 = found.box
    assert np.abs(expected[:, y0:y1, x0:x1]).sum() == pytest.approx(
        np.abs(expected).sum(), rel=1e-5
    )


def test_a_single_filter_is_seen_as_itself_where_it_fits():
    edge = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32)
    model = Sequential(Conv2d(1, 1, 3, bias=False), ReLU())
    model[0].weight.data[0, 0] = edge
    x = np.zeros((1, 9, 9), np.float32)
    x[0, :, 5:] = 1
    found = project(model, x, "1", 0, at=(2, 3))
    assert found.value == 4
    np.testing.assert_array_equal(found.pixels[0, 2:5, 3:6], 4 * edge)
    assert np.count_nonzero(found.pixels) == 6
    assert found.box == (3, 2, 6, 5)
    assert not project(model, x, "1", 0, at=(0, 0)).pixels.any()  # nothing excited it there


def test_the_gradient_rule_is_pytorchs_gradient():
    torch, F = pytorch()
    model, x = net(), image()
    found = project(model, x, "3", 2, rule="gradient", at=(1, 2))
    t = torch.tensor(x[None], requires_grad=True)
    state = {k: torch.tensor(v) for k, v in model.state_dict().items()}
    y = F.max_pool2d(F.relu(F.conv2d(t, state["0.weight"], state["0.bias"])), 2)
    F.conv2d(y, state["3.weight"], state["3.bias"])[0, 2, 1, 2].backward()
    np.testing.assert_allclose(found.pixels, t.grad[0].numpy(), atol=1e-6)


class Fused(Module):
    """Batch normalisation that rectifies by itself, as models write it."""

    def __init__(self, apart):
        init.seed(3)
        self.conv, self.norm, self.end = Conv2d(2, 4, 3), BatchNorm2d(4), Conv2d(4, 2, 3)
        self.apart = apart
        rng = np.random.default_rng(0)
        for name, array in self.norm.state_dict().items():
            array[...] = rng.uniform(0.3, 2, array.shape) if "num" not in name else 0

    def forward(self, x):
        x = self.conv(x)
        return self.end(relu(self.norm(x)) if self.apart else self.norm(x, activation="relu"))


@pytest.mark.parametrize("rule", ["deconvnet", "guided", "gradient"])
def test_a_rectification_inside_batch_normalisation_counts_as_one(rule):
    apart, fused = (project(Fused(a), image(), "end", 1, rule=rule) for a in (True, False))
    assert np.abs(apart.pixels).max() > 0.01
    np.testing.assert_allclose(apart.pixels, fused.pixels, atol=1e-5)


def test_layers_in_a_row_are_looked_into_one_by_one():
    init.seed(0)
    model = Sequential(Conv2d(2, 4, 3), BatchNorm2d(4), ReLU())
    model.train()
    before = feature_maps(model, image(), "1")
    np.testing.assert_array_equal(np.maximum(before, 0), feature_maps(model, image(), "2"))
    assert (before < 0).any()
    assert model.training
    assert model[1].training
    assert project(model, image(), "1", 0).value == before[0].max()


def test_feature_maps_are_those_of_the_forward_pass():
    model, x = net(), image()
    y = Tensor(x[None])
    for index, name in enumerate(layer_names(model)):
        y = model[index](y)
        np.testing.assert_array_equal(feature_maps(model, x, name), y.data[0])


def test_the_strongest_images_are_found_and_in_order():
    model = net()
    images = np.stack([image(seed) for seed in range(30)])
    found = strongest(model, images, "3", 1, top=4, batch_size=7)
    peaks = np.array([feature_maps(model, x, "3")[1].max() for x in images])
    assert [p.image for p in found] == np.argsort(-peaks, kind="stable")[:4].tolist()
    np.testing.assert_allclose([p.value for p in found], np.sort(peaks)[::-1][:4], rtol=1e-4)


def test_looking_leaves_no_trace():
    model = net()
    model[0].weight.requires_grad = False
    project(model, image(), "4", 0)
    saliency(model, image()[None])
    strongest(model, image()[None], "0", 1)
    with pytest.raises(NetError, match="`at` must be a position"):
        project(model, image(), "4", 0, at=(99, 0))
    assert [p.requires_grad for p in model.parameters()] == [False, *[True] * 5]
    assert all(p.grad is None for p in model.parameters())
    assert all(module.training and not module._hooks for module in model.modules())


def test_the_saliency_of_a_linear_model_is_its_weight():
    init.seed(1)
    model = Sequential(Flatten(), Linear(2 * 5 * 4, 3))
    w = np.abs(model[1].weight.data.reshape(3, 2, 5, 4)).max(1)
    x = np.random.default_rng(0).normal(size=(6, 2, 5, 4)).astype(np.float32)
    winners = model(Tensor(x)).data.argmax(1)
    np.testing.assert_allclose(saliency(model, x), w[winners], rtol=1e-6)
    chosen = np.arange(6) % 3
    np.testing.assert_allclose(saliency(model, x, chosen, draws=3, noise=1), w[chosen], rtol=1e-5)


def test_saliency_with_noise_is_the_mean_over_draws():
    init.seed(1)
    model = Sequential(Flatten(), Linear(18, 8), Tanh(), Dropout(0.5), Linear(8, 2))
    x = np.random.default_rng(0).normal(size=(3, 2, 3, 3)).astype(np.float32)
    one, many = saliency(model, x), saliency(model, x, draws=20, noise=0.5)
    np.testing.assert_array_equal(many, saliency(model, x, draws=20, noise=0.5))
    assert np.abs(one - many).max() > 1e-3
    np.testing.assert_allclose(saliency(model, x, draws=4, noise=1e-6), one, atol=1e-5)


def test_a_plane_of_the_latent_space_is_walked_in_steps_of_probability():
    points = []

    def decode(z):
        points.append(z.data.copy())
        return Tensor(z.data @ np.arange(8, dtype=np.float32).reshape(4, 2))

    plane = latent_plane(decode, 4, (2, 0), steps=3, centre=[9, 1, 9, 2])
    z = points[0].reshape(3, 3, 4)
    q = 0.967422  # the normal distribution is below this with probability 5/6
    np.testing.assert_allclose(z[:, 0, 2], [-q, 0, q], atol=1e-5)
    np.testing.assert_allclose(z[1, :, 0], [-q, 0, q], atol=1e-5)
    assert (z[:, :, [1, 3]] == [1, 2]).all()
    assert plane.shape == (3, 3, 2)
    np.testing.assert_allclose(plane[2, 1], z[2, 1] @ np.arange(8).reshape(4, 2), rtol=1e-6)
    pairs = dict(latent_planes(decode, 3 + 1, steps=2))
    assert list(pairs) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert pairs[1, 3].shape == (2, 2, 2)


def test_pictures_of_numbers():
    assert as_picture([[0, 1], [2, 4]]).tolist() == [[0, 64], [128, 255]]
    assert as_picture([[-2, 0], [1, 0]], signed=True).tolist() == [[0, 128], [191, 128]]
    assert as_picture([[3, 3]]).tolist() == [[128, 128]]
    assert as_picture([[-1, 3]], limits=(0, 2)).tolist() == [[0, 255]]
    assert as_picture(np.zeros((5, 3, 4, 6))).shape == (5, 4, 6, 3)
    assert as_picture(np.zeros((1, 4, 6))).shape == (4, 6)
    tiles = np.arange(3, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 3), np.uint8)
    out = grid(tiles, 2)
    assert out.shape == (5, 7)
    assert out[:, 0].tolist() == [0, 0, 255, 2, 2]
    assert out[0].tolist() == [0, 0, 0, 255, 1, 1, 1]
    assert (out[3:, 4:] == 255).all()
    assert grid(np.zeros((5, 2, 2, 3), np.uint8), gap=0).shape == (4, 6, 3)


def test_what_does_not_fit_is_said():
    model, x = net(), image()
    with pytest.raises(NetError, match="no layer 'conv9', there are 0, 1, 2, 3, 4, 5, 6"):
        project(model, x, "conv9", 0)
    with pytest.raises(NetError, match="`channel` must be below 5 in '3', got 5"):
        project(model, x, "3", 5)
    with pytest.raises(NetError, match="`rule` must be one of deconvnet, guided, gradient"):
        project(model, x, "3", 0, rule="magic")
    with pytest.raises(NetError, match=r"must have shape \(C, H, W\), got \(1, 2, 14, 14\)"):
        feature_maps(model, x[None], "3")
    with pytest.raises(NetError, match=r"must have shape \(N, C, H, W\)"):
        saliency(model, x)
    model.spare = Linear(2, 2)
    model.forward = lambda x: model[0](x)
    with pytest.raises(NetError, match="did not call the layer 'spare'"):
        feature_maps(model, x, "spare")
    with pytest.raises(NetError, match=r"`axes` must be two of the 2 dimensions, got \(0, 2\)"):
        latent_plane(lambda z: z, 2, (0, 2))
    with pytest.raises(NetError, match=r"`centre` must have shape \(2,\)"):
        latent_plane(lambda z: z, 2, centre=[1])
    with pytest.raises(ImageError, match="use `as_picture`"):
        grid(np.zeros((2, 3, 3)))
    with pytest.raises(ImageError, match=r"an array of shape \(3,\) is not an image"):
        as_picture([1, 2, 3])
