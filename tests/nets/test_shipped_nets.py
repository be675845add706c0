"""The nets that come with the package: what other programs make of them, and what they find."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

import nets
import vj
from nets import cards
from nets.detectors.facenet import read_net
from nets.detectors.training.encode import decode_boxes, decode_points, grid
from nets.detectors.training.frames import as_input
from nets.detectors.training.recipe import RECIPES
from nets.models.face import PARTS, STRIDES
from vj.errors import NetError

SHIPPED = ("face-cnn", "face-fast", "face-tiny")
FOLDER = Path(nets.__file__).parent / "data"
YUNET_MACS = 135.6e6  # at 320 x 320


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


@pytest.mark.parametrize("name", SHIPPED)
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


@pytest.mark.parametrize("name", SHIPPED)
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


@pytest.mark.parametrize("name", SHIPPED)
def test_the_card_belongs_to_the_weights(name):
    card, path = nets.list_models()[name], FOLDER / f"{name}.safetensors"
    assert path.stat().st_size <= 1.5e6
    assert card.details["architecture"]["parameters"] == read_net(path).n_parameters
    said = card.details["recipe"]
    assert said["net"] == {k: list(v) if isinstance(v, tuple) else v
                           for k, v in RECIPES[name].net.items()}  # fmt: skip
    assert card.calibration is not None
    assert nets.load(name).card == card


@pytest.mark.parametrize("name", SHIPPED)
def test_damaged_and_exchanged_weights_are_refused(name, tmp_path, monkeypatch):
    for file in FOLDER.iterdir():
        shutil.copy(file, tmp_path)
    monkeypatch.setattr(cards, "_FOLDER", tmp_path)
    cards._cards.cache_clear()
    other = next(n for n in SHIPPED if n != name)
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


@pytest.mark.parametrize("name", SHIPPED)
def test_finds_the_face_of_the_sample_and_no_other(name, picture):
    found = nets.load(name).detect(picture)
    assert found.xyxy[0] == pytest.approx([177, 56, 270, 176], abs=12)
    eyes, nose, mouth = found.landmarks[0][:2], found.landmarks[0][2], found.landmarks[0][3:]
    assert eyes[0, 0] < nose[0] < eyes[1, 0]
    assert eyes[:, 1].max() < nose[1] < mouth[:, 1].min()
    assert 0.9 < found.confidence[0] <= 1


def test_the_tiny_one_is_tiny():
    net = read_net(FOLDER / "face-tiny.safetensors")
    assert net.n_parameters <= 30_000
    assert net.summary((320, 320)).macs <= YUNET_MACS / 5
