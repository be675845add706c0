"""The examples of nets/README.md run as they stand, one after the other, on files made here.

So does what the README of the whole project says about learning.
"""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx")

import onnx

import nets
from nets.models.face import PARTS, STRIDES, FaceNet
from nets.nn.layers import Conv2d, ReLU, Sequential

README = Path(nets.__file__).with_name("README.md")
TEXT = README.read_text(encoding="utf-8")
LEARN = (
    (README.parents[1] / "README.md").read_text(encoding="utf-8").partition("## Learn with it")[2]
)


def examples(text):
    return re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)


BLOCKS = examples(TEXT)


def crops(folder, classes, count=3):
    """Gray pictures, each class of its own brightness."""
    rng = np.random.default_rng(0)
    for level, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for k in range(count):
            pixels = rng.integers(0, 60, (40, 36)) + 90 * level
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{k}.png")


def face_file(path):
    """A graph with the outputs of YuNet's."""
    nets.seed(0)
    nets.export_onnx(FaceNet((8, 8), 8), path, (64, 96), dynamic=["batch", "height", "width"])
    model = onnx.load(path)
    names = [f"{kind}_{stride}" for kind in PARTS for stride in STRIDES]
    renamed = {port.name: name for port, name in zip(model.graph.output, names, strict=True)}
    for port in model.graph.output:
        port.name = renamed[port.name]
    for node in model.graph.node:
        node.output[:] = [renamed.get(name, name) for name in node.output]
    onnx.save(model, path)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """What the names of the examples stand for when all have run."""
    folder = tmp_path_factory.mktemp("readme")
    crops(folder / "faces" / "train", ["face", "other"])
    crops(folder / "faces" / "test", ["face", "other"], 1)
    crops(folder / "masks" / "train", ["mask", "none", "wrong"])
    face_file(folder / "face.onnx")
    body = Sequential(Conv2d(3, 8, 3, padding=1), ReLU())
    nets.export_onnx(body, folder / "model.onnx", (32, 32), dynamic=["height", "width"])
    image = np.random.default_rng(1).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    names = {"image": image, "images": [image, image], "array": np.zeros((1, 3, 32, 32), "f4")}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for number, block in enumerate(BLOCKS):
            exec(compile(block, f"{README.name}, example {number + 1}", "exec"), names)
        learnt = {}
        exec(examples(LEARN)[0], learnt)
    return {**names, "learnt": learnt["model"]}


def test_examples_are_short():
    assert len(BLOCKS) >= 7
    assert max(block.count("\n") for block in BLOCKS) <= 13


def test_faces_are_asked_for(ran):
    assert ran["detector"].about == "YuNet"
    assert ran["faces"].landmarks.shape[1:] == (5, 2)


def test_lenet_has_learnt(ran):
    rows = ran["run"].rows
    assert [row["epoch"] for row in rows] == list(range(1, 11))
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_so_has_the_one_of_the_project(ran):
    assert ran["learnt"].fc3.weight.shape == (2, 84)
    assert ran["learnt"].fc3.weight.grad is not None


def test_what_is_new_alone_was_tuned(ran):
    before, after = ran["model"].state_dict(), ran["new"].model.state_dict()
    for name in before:
        same = before[name].shape == after[name].shape and (before[name] == after[name]).all()
        assert same == (not name.startswith("fc3"))
    assert ran["advice"].strategy == "linear_on_top"


def test_plan_and_file_say_the_same(ran):
    with nets.no_grad():
        wanted = ran["model"].eval()(nets.Tensor(ran["pictures"])).numpy()
    np.testing.assert_allclose(ran["logits"], wanted, atol=1e-5)
    np.testing.assert_allclose(ran["same"], wanted, atol=1e-5)


def test_maps_and_pixels_are_seen(ran):
    assert ran["maps"].shape == (16, 10, 10)
    assert ran["where"].shape == (1, 32, 32)


def test_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert link.startswith("http") or (README.parent / link).exists(), link
