"""Reference networks against onnxruntime and OpenCV, and detectors on photographs."""

import io
import json
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")
from onnx_graphs import conv_net, proto

import nets
import vj
from nets import registry
from nets.compiler import Model
from nets.detectors import ScrfdDetector, UltraLightDetector, YuNetDetector
from nets.detectors.ultralight import priors
from vj.boxes import iou
from vj.detect.registry import open_detector
from vj.errors import ImageError, NetError, ParameterError
from vj.io.files import data_folder
from vj.io.images import as_rgb

DATA = data_folder()
MODELS = DATA / "ref_models"
FILES = {
    "yunet": "yunet/yunet_n_dynamic.onnx",
    "yunet320": "yunet/yunet_n_320_320.onnx",
    "scrfd500": "scrfd/scrfd_500m_kps.onnx",
    "scrfd2.5": "scrfd/scrfd_2.5g_kps.onnx",
    "rfb": "ulfg/version-RFB-320_simplified.onnx",
    "slim": "ulfg/version-slim-320_simplified.onnx",
}
pytestmark = pytest.mark.skipif(
    not MODELS.is_dir(), reason="VJ_DATA has no ref_models: third-party weights are not shipped"
)


@pytest.fixture(scope="module")
def photos():
    """Pictures of boxes_dev by name, read when asked for, and their annotations."""
    with zipfile.ZipFile(DATA / "boxes_dev" / "images.zip") as archive:
        paths = {Path(name).name: name for name in archive.namelist()}

        def read(name):
            return as_rgb(vj.read_image(io.BytesIO(archive.read(paths[name]))))

        yield read, json.loads((DATA / "boxes_dev" / "annotations.json").read_text())


def session(path):
    """An onnxruntime session of a file."""
    import onnxruntime as ort

    ort.set_default_logger_severity(3)
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("yunet", (1, 3, 192, 256)), ("yunet", (2, 3, 64, 96)), ("yunet320", (1, 3, 320, 320)),
        ("scrfd500", (1, 3, 640, 640)), ("scrfd2.5", (1, 3, 640, 640)),
        ("rfb", (1, 3, 240, 320)), ("slim", (1, 3, 240, 320)),
    ],
)  # fmt: skip
def test_same_numbers_as_onnxruntime(name, shape, astronaut):
    model = nets.load_onnx(MODELS / FILES[name])
    rng = np.random.default_rng(0)
    picture = astronaut[: shape[2], : shape[3]].astype(np.float32).transpose(2, 0, 1)
    x = np.zeros(shape, np.float32)
    x[:, :, : picture.shape[1], : picture.shape[2]] = picture
    x += rng.normal(0, 3, shape).astype(np.float32)
    if not name.startswith("yunet"):
        x = (x - 127) / 128
    feeds = {model.inputs[0].name: x}
    runtime = session(MODELS / FILES[name])
    wanted = dict(
        zip([o.name for o in runtime.get_outputs()], runtime.run(None, feeds), strict=True)
    )
    got = model.run(feeds)
    assert set(got) == set(wanted)
    top = max(np.abs(array).max() for array in wanted.values())
    for key, array in wanted.items():
        assert got[key].shape == array.shape
        np.testing.assert_allclose(got[key], array, atol=1e-4 * top, rtol=0)
    plan = model.plan({model.inputs[0].name: shape})
    assert not [layer.name for layer in plan.layers if layer.kind == "numpy"]


def opencv(image, threshold):
    """What OpenCV's own detector says: (n, 15) x, y, w, h, five points, score."""
    import cv2

    detector = cv2.FaceDetectorYN.create(
        str(MODELS / FILES["yunet320"]), "", (320, 320), threshold, 0.3, 5000
    )
    detector.setInputSize(image.shape[1::-1])
    _, faces = detector.detect(np.ascontiguousarray(image[:, :, ::-1]))
    return np.zeros((0, 15), np.float32) if faces is None else faces


def test_same_faces_as_opencv(photos):
    read, annotations = photos
    detector = YuNetDetector(MODELS / FILES["yunet320"], size=None)
    count = 0
    for entry in annotations[::9]:
        image = read(entry["file"])
        faces, found = opencv(image, 0.6), detector.detect(image)
        assert len(found) == len(faces), entry["file"]
        for face in faces:
            nearest = np.argmin(np.abs(found.xyxy[:, :2] - face[:2]).sum(1))
            got = found[int(nearest)]
            np.testing.assert_allclose(got.xywh[0], face[:4], atol=0.5)
            np.testing.assert_allclose(got.landmarks[0].ravel(), face[4:14], atol=0.5)
            np.testing.assert_allclose(got.score[0], face[14], atol=1e-4)
        count += len(faces)
    assert count > 80


@pytest.mark.parametrize(("name", "least"), [("yunet", 0.85), ("scrfd500", 0.8), ("rfb", 0.75)])
def test_finds_faces(name, least, photos):
    """Each family is decoded right: boxes land on the annotated faces."""
    read, annotations = photos
    detector = nets.load(MODELS / FILES[name])
    hits = total = 0
    for entry in annotations[::9]:
        found = detector.detect(read(entry["file"]))
        truth = np.array(entry["boxes"], np.float32).reshape(-1, 4)
        truth[:, 2:] += truth[:, :2]
        total += len(truth)
        if len(found) and len(truth):
            hits += int((iou(found.xyxy, truth).max(0) >= 0.5).sum())
    assert hits / total >= least


@pytest.mark.parametrize("name", ["scrfd500", "yunet"])
def test_landmarks_lie_in_the_face(name, astronaut):
    found = nets.load(MODELS / FILES[name]).detect(astronaut)
    assert len(found) == 1
    assert found.landmarks.shape == (1, 5, 2)
    x1, y1, x2, y2 = found.xyxy[0]
    left_eye, right_eye, nose, left_mouth, right_mouth = found.landmarks[0]
    assert x1 < left_eye[0] < nose[0] < right_eye[0] < x2
    assert y1 < left_eye[1] < nose[1] < min(left_mouth[1], right_mouth[1]) < y2
    np.testing.assert_array_equal(found.confidence, found.score)


def test_recognised_by_outputs():
    kinds = {"yunet": YuNetDetector, "scrfd500": ScrfdDetector, "scrfd2.5": ScrfdDetector,
             "rfb": UltraLightDetector, "slim": UltraLightDetector}  # fmt: skip
    for name, kind in kinds.items():
        assert type(registry.open(str(MODELS / FILES[name]))) is kind
    assert registry.open("frontalface") is None
    assert set(registry.names()) == {"face-cnn", "face-fast", "face-tiny"}


def test_plugged_into_vj(astronaut):
    assert [e.value for e in entry_points(group="vj.detectors")] == ["nets.registry"]
    detector = open_detector(str(MODELS / FILES["yunet"]), n_jobs=2, min_size=(20, 20))
    assert isinstance(detector, YuNetDetector)
    assert len(detector.detect(astronaut)) == 1


def test_batches_and_threads_give_the_same_faces(photos):
    read, annotations = photos
    images = [read(entry["file"]) for entry in annotations[30:33]]
    images = [images[0], images[0][::-1], images[0][:, ::-1], images[1], images[2]]
    one = YuNetDetector(MODELS / FILES["yunet"], size=320)
    two = YuNetDetector(MODELS / FILES["yunet"], size=320, n_jobs=2)
    for alone, batched in zip(map(one.detect, images), two.detect_many(images), strict=True):
        np.testing.assert_array_equal(alone.xyxy, batched.xyxy)
        np.testing.assert_array_equal(alone.score, batched.score)
        np.testing.assert_array_equal(alone.landmarks, batched.landmarks)


def test_second_pass_finds_a_face_that_fills_the_picture(astronaut):
    from PIL import Image

    close = Image.fromarray(astronaut[60:200, 155:295]).resize((1400, 1400))
    kind, path = YuNetDetector, MODELS / FILES["yunet"]
    once = kind(path, size=None).detect(close)
    twice = kind(path, size=None, second_pass=True).detect(close)

    def large(found):
        return int((found.xywh[:, 3] > 800).sum())

    assert large(once) == 0
    assert large(twice) == 1


@settings(max_examples=25)
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from(["yunet", "rfb", "scrfd500"]))
def test_any_size(rows, cols, name):
    detector = DETECTORS.setdefault(name, nets.load(MODELS / FILES[name], score_threshold=0.1))
    found = detector.detect(np.full((rows, cols, 3), 90, np.uint8))
    assert np.isfinite(found.xyxy).all()


DETECTORS = {}


def test_gray_and_large_images(astronaut):
    detector = YuNetDetector(MODELS / FILES["yunet"], size=320)
    gray = detector.detect(vj.as_gray(astronaut))
    assert len(gray) == 1
    large = detector.detect(np.repeat(np.repeat(astronaut, 3, 0), 3, 1))
    np.testing.assert_allclose(large.xyxy, gray.xyxy * 3, atol=25)


def test_sizes_of_faces_can_be_limited(astronaut):
    path = MODELS / FILES["yunet"]
    assert len(YuNetDetector(path, min_size=300).detect(astronaut)) == 0
    assert len(YuNetDetector(path, max_size=50).detect(astronaut)) == 0


def test_priors_are_those_of_the_network():
    assert len(priors(240, 320)) == 4420
    np.testing.assert_allclose(priors(240, 320)[0], [4 / 320, 4 / 240, 10 / 320, 10 / 240])
    np.testing.assert_allclose(priors(240, 320)[-1], [4.5 / 5, 3.5 / 3.75, 256 / 320, 1])


def test_refuses(tmp_path):
    path = MODELS / FILES["yunet"]
    detector = YuNetDetector(path)
    with pytest.raises(ImageError, match="uint8"):
        detector.detect(np.zeros((9, 9, 3)))
    for name, bad in (("score_threshold", 2), ("iou_threshold", -1), ("size", 5), ("min_size", -1)):
        with pytest.raises(ParameterError, match=f"`{name}`"):
            YuNetDetector(path, **{name: bad})
    with pytest.raises(NetError, match="is no SCRFD: outputs are cls_8"):
        ScrfdDetector(path)
    with pytest.raises(ParameterError, match="have no option `scale_factor`"):
        registry.open(str(path), scale_factor=1.1)
    other = tmp_path / "other.onnx"
    other.write_bytes(proto(*conv_net(np.random.default_rng(0))).SerializeToString())
    with pytest.raises(NetError, match=r"other\.onnx: is no face detector .* its outputs are y"):
        registry.open(str(other))
    assert isinstance(nets.load_onnx(other), Model)
