"""Detectors of any batch, on networks of random weights: what comes out does not matter."""

import numpy as np
import pytest

pytest.importorskip("onnx")
from detector_graphs import scrfd_proto, yunet_proto

import nets
from vj.detect.registry import open_detector

FAMILIES = {"yunet": yunet_proto, "scrfd": scrfd_proto}


def pictures(count, side=64):
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (side, side, 3), np.uint8) for _ in range(count)]


def detector(folder, family, shape, **options):
    path = folder / f"{family}{shape[0]}.onnx"
    path.write_bytes(FAMILIES[family](shape).SerializeToString())
    return nets.load(path, **{"score_threshold": 0.3, **options})


@pytest.mark.parametrize("second_pass", [False, True])
@pytest.mark.parametrize("batch", [1, 2, 4])
@pytest.mark.parametrize("family", FAMILIES)
def test_networks_of_a_fixed_batch_take_any_number(family, batch, second_pass, tmp_path):
    """As many images as were exported run together, the last ones with copies that nobody sees."""
    options = {"second_pass": second_pass}
    free = detector(tmp_path, family, ("n", 3, "h", "w"), **options)
    fixed = detector(tmp_path, family, (batch, 3, 64, 64), **options)
    images = pictures(5, side=160)
    alone = [free.detect(image) for image in images]
    assert len({len(found) for found in alone}) > 1
    for want, one, many in zip(
        alone, map(fixed.detect, images), fixed.detect_many(images), strict=True
    ):
        for found in (one, many):
            np.testing.assert_array_equal(found.xyxy, want.xyxy)
            np.testing.assert_array_equal(found.score, want.score)
            np.testing.assert_array_equal(found.landmarks, want.landmarks)


def test_a_hybrid_with_a_network_of_a_fixed_batch(tmp_path, astronaut):
    detector(tmp_path, "yunet", (1, 3, 128, 128))
    found = open_detector(f"hybrid:{tmp_path / 'yunet1.onnx'}").detect(astronaut)
    assert np.isfinite(found.xyxy).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fixed_graph_follows_the_batch(family):
    """Reshape targets like [1, -1, 4] keep images apart."""
    from nets.compiler import Model
    from nets.onnx.reader import parse_graph

    free, fixed = (
        Model(parse_graph(FAMILIES[family](shape).SerializeToString(), family))
        for shape in (("n", 3, "h", "w"), (1, 3, 64, 64))
    )
    x = np.random.default_rng(2).standard_normal((3, 3, 64, 64), np.float32)
    want = free.run({"input": x})
    for name, array in fixed.run({"input": x}).items():
        np.testing.assert_array_equal(array, want[name])


def test_boxes_have_an_area(tmp_path):
    """SCRFD regresses the distance to each side, and some are negative."""
    found = detector(tmp_path, "scrfd", ("n", 3, "h", "w"), score_threshold=0.02, iou_threshold=1)
    boxes = found.detect(pictures(1)[0])
    assert len(boxes) > 10
    assert (boxes.xyxy[:, 2:] > boxes.xyxy[:, :2]).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_confidence_is_the_score_of_a_network_without_a_calibration(family, tmp_path):
    shape, image = ("n", 3, "h", "w"), pictures(1)[0]
    every = detector(tmp_path, family, shape, score_threshold=0.02).detect(image)
    least = float(np.median(every.score))
    one = detector(tmp_path, family, shape, score_threshold=None, min_confidence=least)
    assert one.min_confidence == pytest.approx(least, abs=1e-6)
    found = one.detect(image)
    assert 0 < len(found) < len(every)
    np.testing.assert_array_equal(found.confidence, found.score)
    np.testing.assert_array_equal(found.score, every.score[every.score >= np.float32(least)])
    assert nets.load(tmp_path / f"{family}n.onnx").min_confidence == pytest.approx(0.6)
