"""A detector that proposes and one that decides: with fakes, and with a real network."""

import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vj
from vj.app.cli import program
from vj.app.progress import Console
from vj.detect import registry
from vj.detect.hybrid import HybridDetector
from vj.detections import Detections
from vj.errors import ImageError, NetError, ParameterError
from vj.io.files import data_folder

DATA = data_folder()
YUNET = DATA / "ref_models" / "yunet" / "yunet_n_dynamic.onnx"
with_yunet = pytest.mark.skipif(
    not YUNET.is_file(), reason="VJ_DATA has no YuNet: third-party weights are not shipped"
)


class Proposer:
    """Says what it was told to say."""

    def __init__(self, *boxes):
        self.boxes = np.array(boxes, np.float32).reshape(-1, 4)

    def detect(self, image):
        return Detections(self.boxes, np.arange(len(self.boxes), 0, -1, dtype=np.float32))


class Judge:
    """Finds the one bright rectangle of a crop; remembers what it was shown."""

    def __init__(self):
        self.seen = []

    def detect(self, image):
        self.seen.append(image)
        rows, cols = np.nonzero(image[..., 1] > 128)
        if not len(rows):
            return Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32),
                              landmarks=np.empty((0, 1, 2), np.float32))  # fmt: skip
        box = np.array([[cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]], np.float32)
        middle = (box[:, None, :2] + box[:, None, 2:]) / 2
        score = np.float32([len(rows) / image[..., 0].size])
        return Detections(box, score, confidence=score, landmarks=middle)


class Batched(Judge):
    """The same for all crops together."""

    def detect_many(self, images):
        self.together = len(images)
        return [self.detect(image) for image in images]


def picture(*boxes, size=(200, 300)):
    image = np.zeros((*size, 3), np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = 255
    return image


def test_boxes_and_landmarks_come_back_to_the_picture():
    faces = [(40, 30, 80, 80), (200, 100, 230, 140)]
    judge = Batched()
    proposer = Proposer((38, 34, 82, 78), (195, 100, 240, 145), (120, 20, 150, 50))
    found = HybridDetector(proposer, judge, side=96, grow=2).detect(picture(*faces))
    assert judge.together == 3
    assert [crop.shape for crop in judge.seen] == [(96, 96, 3)] * 3
    assert len(found) == 2
    order = np.argsort(found.xyxy[:, 0])
    np.testing.assert_allclose(found.xyxy[order], faces, atol=1.0)  # a pixel of a crop, at most
    middles = [[(x1 + x2) / 2, (y1 + y2) / 2] for x1, y1, x2, y2 in faces]
    np.testing.assert_allclose(found.landmarks[order, 0], middles, atol=0.6)
    assert np.array_equal(found.score, found.confidence)
    assert (np.diff(found.score) <= 0).all()


def test_colours_reach_the_judge_unchanged():
    image = np.zeros((100, 100, 3), np.uint8)
    image[...] = 10, 200, 30
    judge = Judge()
    HybridDetector(Proposer((40, 40, 60, 60)), judge).detect(image)
    assert (judge.seen[0] == (10, 200, 30)).all()


def test_a_crop_is_black_where_it_leaves_the_picture():
    judge = Judge()
    found = HybridDetector(Proposer((-4, -4, 36, 36)), judge, side=64, grow=2).detect(
        picture((0, 0, 32, 32))
    )
    assert not judge.seen[0][:15].any()
    np.testing.assert_allclose(found.xyxy, [[0, 0, 32, 32]], atol=1.5)


def test_crops_of_faces_larger_than_the_picture_stay_small():
    judge = Judge()
    far = (-50_000, -50_000, 50_300, 50_200)
    HybridDetector(Proposer(far), judge, grow=10).detect(picture((0, 0, 300, 200)))
    HybridDetector(Proposer((900, 900, 950, 950)), judge).detect(picture())
    assert [crop.shape for crop in judge.seen] == [(128, 128, 3)] * 2
    assert not judge.seen[1].any()


@given(
    *(st.integers(-60, 120) for _ in "xy"),
    st.integers(1, 90),
    st.floats(1.1, 8),
    st.integers(32, 80),
)
def test_crops_show_what_lies_there(x, y, face, grow, side):
    """A picture whose colours are its coordinates: each pixel of a crop tells where it is from."""
    rows, cols = np.mgrid[:60, :80]
    image = np.stack([cols, rows, np.full_like(rows, 255)], 2).astype(np.uint8)
    judge = Judge()
    detector = HybridDetector(Proposer((x, y, x + face, y + face)), judge, grow=grow, side=side)
    detector.detect(image)
    ((left, top, n),) = detector._windows(detector.proposer.detect(image))
    at = (np.arange(side) + 0.5) * n / side
    for axis, start, end in ((0, left, 80), (1, top, 60)):
        place = start + at - 0.5
        value = np.moveaxis(judge.seen[0], 1 - axis, 0)
        reach = max(n / side, 1)  # pixels that one of the crop is the mean of
        for k in np.flatnonzero((place > reach) & (place < end - 1 - reach)):
            seen = value[k][value[k][:, 2] == 255][:, axis].astype(float)
            assert (np.abs(seen - place[k]) <= 0.6 + reach / 4).all()


def test_faces_that_a_crop_cuts_off_are_left_to_their_own():
    face = (60, 40, 100, 80)
    beside, about = (20, 40, 60, 80), (61, 41, 101, 81)
    image = picture(face)
    assert len(HybridDetector(Proposer(beside), Judge(), grow=2).detect(image)) == 0
    found = HybridDetector(Proposer(beside, about), Judge(), grow=2).detect(image)
    np.testing.assert_allclose(found.xyxy, [face], atol=1)


def test_what_is_proposed_twice_is_judged_once_and_found_once():
    face = (60, 40, 100, 80)
    judge = Judge()
    HybridDetector(Proposer(face, (62, 42, 100, 80)), judge).detect(picture(face))
    assert len(judge.seen) == 1
    apart = Proposer((50, 30, 80, 60), (80, 60, 110, 90))  # two crops that show the face whole
    found = HybridDetector(apart, judge).detect(picture(face))
    assert len(judge.seen) == 3
    assert len(found) == 1


def test_only_the_best_proposals_are_judged():
    boxes = [(k * 40, 10, k * 40 + 20, 30) for k in range(6)]
    judge = Judge()
    HybridDetector(Proposer(*boxes), judge, most=2, grow=2).detect(picture(boxes[0], boxes[1]))
    assert len(judge.seen) == 2
    assert all(crop.any() for crop in judge.seen)


def test_nothing_proposed_is_nothing_found():
    detector = HybridDetector(Proposer(), Batched())
    assert len(detector.detect(picture())) == 0
    assert [len(found) for found in detector.detect_many([picture(), picture()])] == [0, 0]


def test_bad_parameters():
    for options, text in (
        ({"side": 16}, "`side` must be a whole number of at least 32, got 16"),
        ({"most": 0}, "`most` must be a whole number of at least 1, got 0"),
        ({"grow": 1.0}, "`grow` must be above 1 and at most 10, got 1.0"),
        ({"iou_threshold": 1.5}, "`iou_threshold` must be 0 to 1, got 1.5"),
    ):
        with pytest.raises(ParameterError, match=text):
            HybridDetector(Proposer(), Judge(), **options)
    with pytest.raises(ParameterError, match="`judge` must have a method `detect`, got 'yunet'"):
        HybridDetector(Proposer(), "yunet")
    with pytest.raises(ImageError, match="float64"):
        HybridDetector(Proposer(), Judge()).detect(np.zeros((5, 5)))


# --------------------------------------------------------------------------- by name


def test_the_name_needs_the_network(monkeypatch):
    monkeypatch.setattr(registry, "JUDGE", "no-such-network")
    assert "hybrid" not in registry.list_detectors()
    with pytest.raises(NetError, match="`hybrid` needs the network 'no-such-network', which does"):
        vj.detect(picture(), "hybrid")
    with pytest.raises(ParameterError, match="`hybrid` has no option `second_pass`; it has side"):
        vj.detect(picture(), "hybrid:some.onnx", second_pass=True)
    with pytest.raises(NetError, match=r"gone\.onnx: cannot be read"):
        vj.detect(picture(), "hybrid:gone.onnx")


def test_another_cascade_may_decide():
    image = vj.sample("astronaut")
    (found,) = vj.detect(image, "hybrid:frontalface", min_size=60, side=128).xyxy
    (alone,) = vj.detect(image).xyxy
    assert vj.iou([found], [alone])[0, 0] > 0.6


def test_on_the_command_line():
    def command(*argv):
        console = Console(io.BytesIO(), io.BytesIO(), io.StringIO())
        status = program(["--sample", *argv], console)
        return status, console.stdout.getvalue().decode(), console.stderr.getvalue()

    options = "--detector", "hybrid:frontalface", "--min-size", "60", "-j", "2"
    status, out, _ = command(*options)
    assert (status, out[:17]) == (0, "astronaut: 1 face")
    assert command(*options, "--min-score", "1e6")[1] == "astronaut: 0 faces\n"
    status, out, err = command("--detector", "hybrid:gone.onnx")
    assert (status, out) == (4, "")
    assert err.startswith("vj-detect: gone.onnx: cannot be read")
    status, out, err = command("--detector", "hybrid:frontalface", "--second-pass")
    assert (status, out) == (2, "")
    assert err.startswith("vj-detect: --second-pass: hybrid:frontalface has no such option; it has")


@with_yunet
def test_a_network_decides():
    pytest.importorskip("onnx")
    image = vj.sample("astronaut")
    found = vj.detect(image, f"hybrid:{YUNET}", min_score=0.6)
    alone = vj.detect(image, str(YUNET))
    assert len(found) == len(alone) == 1
    assert vj.iou(found.xyxy, alone.xyxy)[0, 0] > 0.7
    assert np.abs(found.landmarks - alone.landmarks).max() < 6
    again = vj.detect(image, f"hybrid:{YUNET}", min_score=0.6, n_jobs=2)
    assert np.array_equal(found.xyxy, again.xyxy)


@with_yunet
def test_on_photographs_the_network_removes_false_alarms():
    pytest.importorskip("onnx")
    from vj.metrics import Curve, match

    items = json.loads((DATA / "boxes_dev" / "annotations.json").read_text())[:16]
    proposer = vj.CascadeDetector("frontalface-fast", min_score=0.0)
    judge = registry.open_detector(str(YUNET), min_score=0.6)
    curves = []
    with zipfile.ZipFile(DATA / "boxes_dev" / "images.zip") as archive:
        pictures = [vj.read_image(io.BytesIO(archive.read(item["file"]))) for item in items]
    for detector in (proposer, HybridDetector(proposer, judge)):
        rows = []
        for item, image in zip(items, pictures, strict=True):
            got = detector.detect(image)
            boxes, ignore = (np.array(item[k], float).reshape(-1, 4) for k in ("boxes", "ignore"))
            boxes[:, 2:] += boxes[:, :2]
            ignore[:, 2:] += ignore[:, :2]
            rows.append((match(got.xyxy, got.score, boxes, ignore).verdict, got.score, len(boxes)))
        verdicts, scores, faces = zip(*rows, strict=True)
        curves.append(Curve.of(verdicts, scores, sum(faces)))
    cascade, hybrid = curves
    assert hybrid.alarms[-1] < cascade.alarms[-1] / 2
    assert hybrid.ap > cascade.ap
