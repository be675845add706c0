"""The networks that come with the package do what their cards say, elsewhere too."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest

import nets
import vj
from nets import cards
from nets.cards import card_of
from nets.detectors.facenet import read_net
from nets.detectors.training.data import read_pictures
from nets.detectors.training.encode import decode_boxes, decode_points, grid
from nets.detectors.training.frames import as_input
from nets.detectors.training.judge import judge
from nets.detectors.training.recipe import RECIPES
from nets.detectors.training.store import Store
from nets.models.face import PARTS, STRIDES
from vj.errors import NetError
from vj.io.files import data_folder
from vj.metrics import SIDE

DATA = data_folder()
SHIPPED = [card for card in nets.list_models().values() if card.path]
NAMES = [card.name for card in SHIPPED]
FOLDER = Path(nets.__file__).parent / "data"
YUNET_MACS = 135.6e6  # at 320 x 320


@pytest.mark.parametrize("card", SHIPPED, ids=lambda card: card.name)
class TestShipped:
    def test_is_small_and_has_the_shape_of_its_recipe(self, card):
        assert card.path.stat().st_size <= 1.5e6
        net, recipe = read_net(card.path), RECIPES[card.name]
        assert net.n_parameters == card.details["architecture"]["parameters"]
        whole = {"epochs done": recipe.epochs, **json.loads(json.dumps(asdict(recipe)))}
        assert card.details["recipe"] == whole
        assert card_of(card.path) == card
        assert nets.load(card.name).card == card
        assert card.calibration is not None

    def test_finds_the_astronaut_and_nobody_in_the_bricks(self, card):
        found = vj.detect(vj.sample("astronaut"), card.name)
        assert len(found) == 1
        box, eyes = found.xyxy[0], found.landmarks[0, :2]
        assert np.abs(box - [180, 60, 265, 190]).max() < 40
        assert (eyes > box[:2]).all()
        assert (eyes < box[2:]).all()
        assert found.confidence[0] > 0.9
        assert not len(vj.detect(vj.sample("brick"), card.name))

    @pytest.mark.skipif(not (DATA / "boxes_dev").is_dir(), reason="VJ_DATA has no boxes_dev")
    def test_scores_what_its_card_says(self, card):
        detector = nets.load(card.name, size=SIDE).lowered()
        judged = judge(detector, read_pictures(DATA / "boxes_dev"), Store())
        assert judged.ap == pytest.approx(card.scores["AP"], abs=5e-4)
        assert judged.recall_at(50) == pytest.approx(
            card.scores["recall at 50 false alarms"], abs=2e-3
        )


@pytest.fixture(scope="module")
def picture():
    return vj.sample("astronaut")


def exported(name, folder, size):
    path = folder / f"{name}.onnx"
    nets.export_onnx(read_net(FOLDER / f"{name}.safetensors"), path, size)
    return path


def faces_in(outputs, size, score_threshold, iou_threshold):
    """Decoding and suppression as YuNet's are described, of YuNet's twelve outputs."""
    raw = {
        kind: np.concatenate([outputs[n][0] for n in range(3 * k, 3 * k + 3)])
        for k, kind in enumerate(PARTS)
    }
    score = np.sqrt(raw["cls"][:, 0] * raw["obj"][:, 0])
    boxes = decode_boxes(raw["bbox"], grid(*size))
    points = decode_points(raw["kps"], grid(*size))
    good = score >= score_threshold
    boxes, score, points = boxes[good], score[good], points[good]
    keep = vj.nms(boxes, score, iou_threshold)
    order = keep[np.argsort(-score[keep], kind="stable")]
    return boxes[order], score[order], points[order]


@pytest.mark.parametrize("name", NAMES)
def test_same_boxes_in_onnxruntime(name, tmp_path, picture):
    runtime = pytest.importorskip("onnxruntime")
    size = picture.shape[:2]
    session = runtime.InferenceSession(exported(name, tmp_path, size))
    x = np.ascontiguousarray(as_input(picture[None]))
    outputs = session.run(None, {session.get_inputs()[0].name: x})
    detector = nets.load(name, score_threshold=0.3)
    boxes, score, points = faces_in(outputs, size, 0.3, detector.iou_threshold)
    found = detector.detect(picture)
    assert len(found) == len(boxes) >= 1
    assert np.abs(found.xyxy - boxes).max() < 0.1
    assert np.abs(found.landmarks - points).max() < 0.1
    np.testing.assert_allclose(found.score, score, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_same_numbers_in_opencv(name, tmp_path, picture):
    small = np.ascontiguousarray(picture[:256, :320])
    net = cv2.dnn.readNetFromONNX(str(exported(name, tmp_path, small.shape[:2])))
    x = np.ascontiguousarray(as_input(small[None]))
    net.setInput(x)
    names = net.getUnconnectedOutLayersNames()
    outputs = dict(zip(names, net.forward(names), strict=True))
    ours = nets.load_onnx(tmp_path / f"{name}.onnx").run({"input": x})
    assert len(ours) == len(PARTS) * len(STRIDES)
    for key, array in ours.items():
        np.testing.assert_allclose(outputs[key].reshape(array.shape), array, atol=2e-3)


@pytest.mark.parametrize("name", NAMES)
def test_damaged_and_exchanged_weights_are_refused(name, tmp_path, monkeypatch):
    for file in FOLDER.iterdir():
        shutil.copy(file, tmp_path)
    monkeypatch.setattr(cards, "_FOLDER", tmp_path)
    cards._cards.cache_clear()
    other = next(n for n in NAMES if n != name)
    try:
        shutil.copy(FOLDER / f"{other}.safetensors", tmp_path / f"{name}.safetensors")
        with pytest.raises(NetError, match=f"{name}.safetensors: is not the file that its card"):
            nets.load(name)
        content = bytearray((FOLDER / f"{name}.safetensors").read_bytes())
        content[-100] ^= 1
        (tmp_path / f"{name}.safetensors").write_bytes(content)
        with pytest.raises(NetError, match="its digest differs"):
            vj.detect(np.zeros((64, 64), np.uint8), name)
    finally:
        cards._cards.cache_clear()


def test_the_tiny_one_is_tiny():
    net = read_net(FOLDER / "face-tiny.safetensors")
    assert net.n_parameters <= 30_000
    assert net.summary((320, 320)).macs <= YUNET_MACS / 5
