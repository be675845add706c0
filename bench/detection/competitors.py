"""The face detectors compared: ours, OpenCV's, and published networks in two engines.

Each is a function from an RGB picture to boxes and scores that includes everything a user waits
for: gray or float conversion, decoding, non-maximum suppression.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

import nets
import vj
from bench.detection.sets import shrunk
from nets.detectors import UltraLightDetector
from nets.detectors.base import NetDetector
from vj.io.files import data_folder
from vj.metrics import SIDE

DATA = data_folder()
MODELS = DATA / "ref_models"
SCORE, IOU = NetDetector.least_score, 0.3  # networks: score threshold, NMS IoU threshold
SCORE_ULTRA_LIGHT = UltraLightDetector.least_score
SCALE, NEIGHBORS = 1.1, 1  # cascades scored by OpenCV's grouping
OUR_NETS = ("face-cnn", "face-fast", "face-tiny")
OUR_CASCADES = ("frontalface", "frontalface-fast")
NETS = {  # file, longest side; Ultra-Light is made for 320 pixels and misses faces beyond
    "YuNet-n": ("yunet/yunet_n_dynamic.onnx", None),
    "YuNet-s": ("yunet/yunet_s_320_320.onnx", None),
    "YuNet-n @320": ("yunet/yunet_n_dynamic.onnx", 320),
    "SCRFD-500M": ("scrfd/scrfd_500m_kps.onnx", None),
    "SCRFD-500M @320": ("scrfd/scrfd_500m_kps.onnx", 320),
    "SCRFD-2.5G": ("scrfd/scrfd_2.5g_kps.onnx", None),
    "Ultra-Light RFB": ("ulfg/version-RFB-320_simplified.onnx", None),
    "Ultra-Light slim": ("ulfg/version-slim-320_simplified.onnx", None),
    "Ultra-Light RFB @320": ("ulfg/version-RFB-320_simplified.onnx", 320),
    "Ultra-Light slim @320": ("ulfg/version-slim-320_simplified.onnx", 320),
}
CASCADES = ("frontalface_default", "frontalface_alt", "frontalface_alt2")
POLICY = (
    f"Networks: score threshold {SCORE} (Ultra-Light {SCORE_ULTRA_LIGHT}), NMS IoU threshold {IOU} "
    f"(ours 0.4), longer side at most {SIDE} px, or 320 where the name says so. "
    f"Cascades: scale factor {SCALE}, all sizes; those of OpenCV with more than {NEIGHBORS} merged "
    "window, ranked by their number"
)


@dataclass(frozen=True)
class Competitor:
    """``make()`` returns the detector function; names that begin with "vj" run on our code."""

    name: str
    make: Callable[[], Callable]


def competitors(also: list[str] | None = None) -> Iterator[Competitor]:
    """Every detector whose files are there; ``also`` lists names or files for `vj.detect`."""
    for name in OUR_NETS:
        yield Competitor(f"vj {name}", lambda n=name: ours(n, min_score=SCORE, size=SIDE))
    for name in OUR_CASCADES:
        yield Competitor(f"vj {name}", lambda n=name: ours(n, min_score=0.0, scale_factor=SCALE))
    for name in CASCADES:
        full = f"haarcascade_{name}"
        yield Competitor(f"vj {name}", lambda n=full: counted(n))
        if opencv_version() < "5":
            yield Competitor(f"cv2 {name}", lambda n=full: opencv_cascade(n))
    for name, (file, side) in NETS.items():
        path = MODELS / file
        if path.is_file():
            yield Competitor(f"vj {name}", lambda p=path, s=side: boxes_of(loaded(p, s)))
            yield Competitor(f"onnxruntime {name}", lambda p=path, s=side: onnxruntime(p, s))
    yunet = MODELS / "yunet" / "yunet_n_320_320.onnx"  # OpenCV 4 cannot read the dynamic one
    if yunet.is_file():
        yield Competitor(f"cv2 {opencv_version()} YuNet-n", lambda: opencv_yunet(yunet))
    if (MODELS / "pico" / "facefinder").is_file():
        yield Competitor("pico", pico)
    for name in also or ():
        yield Competitor(f"vj {name}", lambda n=name: ours(n, min_score=SCORE))


def ours(name: str, **options):
    """A detector by name or file."""
    from vj.detect.registry import open_detector

    return boxes_of(open_detector(name, **options))


def boxes_of(detector):
    """The detector as a function to boxes and scores."""

    def detect(image):
        found = detector.detect(image)
        return found.xyxy, found.score

    return detect


def counted(name: str):
    """A cascade of OpenCV's in our engine, scored by merged windows as OpenCV does."""
    detector = vj.CascadeDetector(name, scale_factor=SCALE, min_neighbors=NEIGHBORS)

    def detect(image):
        found = detector.detect(image)
        return found.xyxy, found.neighbors

    return detect


def opencv_cascade(name: str):
    import cv2

    cv2.setNumThreads(1)
    folder = Path(cv2.data.haarcascades) if hasattr(cv2, "data") else MODELS / "cascades"
    classifier = cv2.CascadeClassifier(str(folder / f"{name}.xml"))

    def detect(image):
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        rects, count = classifier.detectMultiScale2(gray, SCALE, NEIGHBORS)
        boxes = np.array(rects, np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return boxes, np.array(count).ravel()

    return detect


def opencv_version() -> str:
    import cv2

    return ".".join(cv2.__version__.split(".")[:2])


def opencv_yunet(path: Path):
    import cv2

    cv2.setNumThreads(1)
    net = cv2.FaceDetectorYN.create(str(path), "", (320, 320), SCORE, IOU, 5000)

    def detect(image):
        net.setInputSize((image.shape[1], image.shape[0]))
        found = net.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
        if found is None:
            return np.empty((0, 4), np.float32), np.empty(0, np.float32)
        boxes = found[:, :4].copy()
        boxes[:, 2:] += boxes[:, :2]
        return boxes, found[:, -1]

    return detect


def loaded(path: Path, side: int | None):
    score = SCORE_ULTRA_LIGHT if path.parent.name == "ulfg" else SCORE
    return nets.load(path, score_threshold=score, iou_threshold=IOU, size=side or SIDE)


def constant_weights(path: Path):
    """A graph without the weights that it also lists as inputs, which no engine could fold."""
    import onnx

    model = onnx.load(path)
    weights = {tensor.name for tensor in model.graph.initializer}
    given = [port for port in model.graph.input if port.name not in weights]
    del model.graph.input[:], model.graph.value_info[:]
    model.graph.input.extend(given)
    return model


def onnxruntime(path: Path, side: int | None):
    """The same file in onnxruntime: preprocessing in NumPy, our decoding."""
    import onnxruntime as ort

    ort.set_default_logger_severity(3)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = constant_weights(path)
    for port in (*model.graph.input, *model.graph.output):
        for k, dim in enumerate(port.type.tensor_type.shape.dim):
            dim.dim_param = f"{port.name}_{k}"  # any size
    session = ort.InferenceSession(model.SerializeToString(), options,
                                   providers=["CPUExecutionProvider"])  # fmt: skip
    detector = loaded(path, side)
    pixels, stride = type(detector).pixels, detector.stride
    names = [port.name for port in session.get_outputs()]
    source = session.get_inputs()[0].name

    def detect(image):
        small, factor = shrunk(Image.fromarray(image), side or SIDE)
        image = np.asarray(small)
        rows, cols = image.shape[:2]
        high, wide = (-(-n // stride) * stride for n in (rows, cols))
        blob = np.zeros((1, 3, high, wide), np.float32)
        planes = (image[..., ::-1] if pixels.bgr else image).transpose(2, 0, 1)
        np.multiply(planes, np.float32(pixels.scale), out=blob[0, :, :rows, :cols])
        blob += np.float32(pixels.shift)  # padded with black
        outputs = dict(zip(names, session.run(names, {source: blob}), strict=True))
        shape = SimpleNamespace(dims=blob.shape)
        special = SimpleNamespace(specs={detector.model.inputs[0].name: shape})
        found = detector.decode(SimpleNamespace(special=special), 0, outputs)
        whole = (found.xyxy[:, 2:] > found.xyxy[:, :2]).all(1)
        boxes, score = found.xyxy[whole], found.score[whole]
        keep = vj.nms(detector.suppression_boxes(boxes), score, IOU)
        return boxes[keep] / factor, score[keep]

    return detect


def pico():
    from bench.detection.pico import Pico

    detector = Pico(MODELS / "pico" / "facefinder")
    return lambda image: detector(vj.as_gray(image))


def missing() -> list[str]:
    """What is not compared for want of a file or package."""
    lines = [f"{name}: no file {MODELS / file}" for name, (file, _) in NETS.items()
             if not (MODELS / file).is_file()]  # fmt: skip
    lines += [f"{package} is not installed" for package in ("onnxruntime", "cv2")
              if importlib.util.find_spec(package) is None]  # fmt: skip
    return lines
