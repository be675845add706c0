"""Training by PyTorch against training by our engine: the same steps, the same files."""

import json
import sys
from dataclasses import replace

import detector_bundle as bundle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nets
from nets.autograd.tensor import Tensor
from nets.detectors.facenet import Cells, read_net
from nets.detectors.train import main
from nets.detectors.training.assign import targets
from nets.detectors.training.data import Data, read_data
from nets.detectors.training.encode import grid
from nets.detectors.training.frames import Frames, as_input
from nets.detectors.training.objective import Objective, _assign
from nets.detectors.training.recipe import RECIPES, Recipe, train
from nets.detectors.training.scenes import Scenes
from nets.models.face import FaceNet
from nets.nn.optim import SGD, Constant, clip_grad_norm
from vj.errors import TrainingError

torch = pytest.importorskip("torch", reason="the other side of the comparison")
from torch_objective import objective  # noqa: E402

from nets.detectors.training import torch_path  # noqa: E402
from nets.detectors.training.torch_objective import Faces, by_cost  # noqa: E402

torch.set_num_threads(1)  # threads of several libraries in one process wait for each other
SMALL = {"stem": (8, 8), "width": 16}
KINDS = [SMALL, {**SMALL, "separable": True}]
STEPS, WARM_UP, CLIP = 50, 200, 20.0
HOW = {"lr": 1e-3, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
QUICK = Recipe(SMALL, size=64, batch_size=2, batches=2, epochs=2, mining=(0.5,), backgrounds=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    bundle.build(folder)
    return folder


@pytest.fixture(scope="module")
def data(folder):
    first, second = read_data(folder)
    return Data(*([*getattr(first, n), *getattr(second, n)] for n in Data.__slots__))


@pytest.fixture(scope="module")
def frames(data):
    """Half of the batches are assigned by size, half by cost, as in a training."""
    scenes = Scenes(data, 64, seed=2)
    made = Frames(scenes, 4, STEPS, plain=STEPS // 2, workers=0, form=np.asarray)
    return list(made.epoch())


def new(how):
    nets.nn.init.seed(0)
    return FaceNet(**how)


def loss_of(learner, images, *targets):
    """The loss of a batch, by our engine or by PyTorch."""
    if isinstance(learner, Cells):
        return Objective()(learner(Tensor(as_input(images))), *targets)
    return torch_path.Loss(Objective())(learner(images), *targets)


def by_us(learner, frames):
    """Losses of the steps; the learner computes by our engine or by PyTorch."""
    optimiser = SGD(learner.named_parameters(), **HOW)
    schedule, losses = Constant(optimiser, warm_up=WARM_UP), []
    for batch in frames:
        optimiser.zero_grad()
        loss = loss_of(learner, *batch)
        loss.backward()
        clip_grad_norm(learner.parameters(), CLIP)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    return np.array(losses)


def by_torch(net, frames):
    """The same with PyTorch's own loss, clipping and optimiser; only the assignment is ours."""
    learner = torch_path.Cells(net, "cpu")
    leaves = [torch.tensor(p.data, requires_grad=True) for p in net.parameters()]
    optimiser = torch.optim.SGD(leaves, **HOW)
    climb = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: (k + 1) / (WARM_UP + 1))
    losses = []
    for images, boxes, points, ignore, size, plain in frames:
        run, cells = torch_path._Pass(torch, learner, leaves), grid(size, size)
        raw = run.cells(torch.tensor(as_input(images)))
        run.keep_moments()
        now = raw.detach().numpy()
        chosen = [_assign(cells, boxes[k], ignore[k], now[k], plain) for k in range(len(boxes))]
        loss = objective(raw, targets(cells, chosen, boxes, points), cells, plain)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(leaves, CLIP)
        optimiser.step()
        climb.step()
        losses.append(loss.item())
    return np.array(losses)


@pytest.mark.parametrize("how", KINDS, ids=["plain", "separable"])
def test_fifty_steps_follow_each_other(how, frames):
    """Sums in another order differ by a rounding, and training magnifies it: relu and the choice
    of cells are jumps. Our engine against itself, with one rounding (1.2e-7) in the last weights,
    stays within 3e-7 of the loss for the 25 steps that assign by size, and leaves by up to 2e-2
    once a cell learns another face. A wrong gradient is seen in the second step.
    """
    ours, alike = new(how), new(how)
    expected = by_us(Cells(ours), frames)
    assert expected[-5:].mean() < 0.7 * expected[:5].mean()  # something was learnt
    for losses in (by_us(torch_path.Cells(alike), frames), by_torch(new(how), frames)):
        np.testing.assert_allclose(losses[:10], expected[:10], rtol=1e-5)
        np.testing.assert_allclose(losses[: STEPS // 2], expected[: STEPS // 2], rtol=1e-3)
        np.testing.assert_allclose(losses, expected, rtol=5e-2)
    a, b = ours.state_dict(), alike.state_dict()
    assert list(a) == list(b)
    for name in a:
        spread = np.abs(a[name]).max()
        np.testing.assert_allclose(b[name], a[name], atol=0.05 * spread + 1e-2, err_msg=name)


@pytest.mark.parametrize("how", KINDS, ids=["plain", "separable"])
def test_gradients_and_moments_of_one_step(how, frames):
    found = []
    for kind in (Cells, torch_path.Cells):
        net = new(how)
        loss = loss_of(kind(net), *frames[0])
        loss.backward()
        found.append((loss.item(), net.state_dict(), [p.grad for p in net.parameters()]))
    (loss, state, grads), (other, theirs, those) = found
    assert other == pytest.approx(loss, rel=1e-5)
    for name in state:
        np.testing.assert_allclose(theirs[name], state[name], rtol=1e-5, atol=1e-6, err_msg=name)
    for a, b in zip(grads, those, strict=True):
        assert np.linalg.norm(a - b) <= 1e-4 * np.linalg.norm(a) + 1e-5


@pytest.mark.parametrize("how", KINDS, ids=["plain", "separable"])
def test_answers(how, frames):
    images = frames[0][0]
    expected = Cells(new(how).eval())(Tensor(as_input(images))).data
    found = torch_path.Cells(new(how).eval(), "cpu").answers(images).data
    np.testing.assert_allclose(found, expected, atol=1e-5)


@given(data=st.data(), seed=st.integers(0, 10**6), size=st.sampled_from([64, 96]))
@settings(max_examples=40, deadline=None)
def test_cells_are_assigned_alike(data, seed, size):
    """Whole batches on the device against one image after the other."""
    rng = np.random.default_rng(seed)
    cells, images = grid(size, size), data.draw(st.integers(1, 3))
    counts = data.draw(st.lists(st.integers(0, 12), min_size=images, max_size=images))

    def boxes(count):
        corner = rng.uniform(-8, size, (count, 2))
        extent = np.exp(rng.uniform(np.log(3), np.log(size), (count, 2)))
        return np.concatenate([corner, corner + extent], 1).astype(np.float32)

    faces, ignore = [boxes(n) for n in counts], [boxes(n // 4) for n in counts]
    raw = rng.normal(0, 1, (images, len(cells), 16)).astype(np.float32)
    raw[..., :2] *= 3
    points = [np.zeros((n, 5, 2), np.float32) for n in counts]
    padded = Faces.of(torch, "cpu", faces, points, ignore)
    face, overlap = by_cost(torch, torch.tensor(cells), padded, torch.tensor(raw))
    for k in range(images):
        want = _assign(cells, faces[k], ignore[k], raw[k], False)
        np.testing.assert_array_equal(face[k].numpy(), want.face)
        np.testing.assert_allclose(overlap[k].numpy(), want.overlap, atol=1e-5)


@pytest.mark.parametrize("outline", ["eiou", "giou"])
@pytest.mark.parametrize("plain", [True, False])
def test_losses_are_alike(outline, plain, frames):
    how, found = Objective(outline=outline, landmark=0.3), []
    images, *targets, _ = frames[1]
    net = new(SMALL)
    ours = how(Cells(net)(Tensor(as_input(images))), *targets, plain)
    found = torch_path.Loss(how)(torch_path.Cells(net)(images), *targets, plain)
    assert found.item() == pytest.approx(ours.item(), rel=1e-5)


def test_a_training_begins_on_one_and_ends_on_the_other(data, tmp_path):
    whole = train(QUICK, tmp_path / "whole", data=data, workers=0)
    train(QUICK, tmp_path / "parts", data=data, workers=0, epochs=1, torch="cpu")
    parts = train(QUICK, tmp_path / "parts", data=data, workers=0, resume=True)
    a, b = read_net(whole).state_dict(), read_net(parts).state_dict()
    for name in a:
        np.testing.assert_allclose(b[name], a[name], rtol=5e-3, atol=5e-3, err_msg=name)
    rows = [json.loads(line) for line in (tmp_path / "parts/log.jsonl").read_text().splitlines()]
    assert "alarms" in rows[0]


def test_the_command_trains_with_torch(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(RECIPES, "face-tiny", replace(QUICK, epochs=1))
    arguments = ["face-tiny", "-o", str(tmp_path), "--data", str(folder), "--workers", "0"]
    assert main([*arguments, "--torch", "--device", "cpu"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == str(tmp_path / "weights.safetensors")
    assert read_net(tmp_path / "weights.safetensors").n_parameters
    assert main([*arguments, "--torch", "--device", "nowhere"]) == 2
    assert "PyTorch cannot use the device 'nowhere'" in capsys.readouterr().err
    assert main([*arguments, "--device", "cpu"]) == 2
    assert "--device needs --torch" in capsys.readouterr().err


def test_without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(TrainingError, match="needs PyTorch: install the build for your GPU"):
        torch_path.Cells(new(SMALL))
