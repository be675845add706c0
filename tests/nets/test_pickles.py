"""Networks that travel: pickles and copies give the same answers, in other processes too."""

import copy
import multiprocessing
import pickle

import numpy as np
import pytest

import nets
import vj
from nets.models import LeNet5
from vj.detect.registry import open_detector

COPIES = {"pickle": lambda thing: pickle.loads(pickle.dumps(thing)), "deepcopy": copy.deepcopy}
KINDS = ("face-tiny", "yunet", "scrfd", "hybrid", "frontalface-fast")


@pytest.fixture(scope="module")
def detectors(tmp_path_factory):
    """Detectors of all kinds; the files of those that were read from one are gone."""
    pytest.importorskip("onnx")
    from detector_graphs import scrfd_proto, yunet_proto

    folder = tmp_path_factory.mktemp("files")
    found = {"face-tiny": nets.load("face-tiny", n_jobs=2, second_pass=True, size=320)}
    for name, made in (("yunet", yunet_proto), ("scrfd", scrfd_proto)):
        path = folder / f"{name}.onnx"
        path.write_bytes(made((1, 3, 64, 64)).SerializeToString())
        found[name] = nets.load(path, score_threshold=0.5)
        path.unlink()
    found["hybrid"] = open_detector("hybrid:face-tiny")
    found["frontalface-fast"] = vj.CascadeDetector("frontalface-fast", min_size=30, n_jobs=2)
    return found


def same(got, want):
    assert len(want) > 0
    for name in ("xyxy", "score", "confidence", "landmarks"):
        a, b = getattr(got, name), getattr(want, name)
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("kind", KINDS)
def test_detectors(kind, how, detectors, astronaut):
    """With their settings and their card, before and after they have been used."""
    detector, image = detectors[kind], astronaut[:200, 100:350]
    other = COPIES[how](detector)
    want = detector.detect(image)
    same(other.detect(image), want)
    same(COPIES[how](detector).detect_many([image, image])[1], want)
    same(detector.detect(image), want)
    assert getattr(other, "card", None) == getattr(detector, "card", None)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("start", multiprocessing.get_all_start_methods())
def test_detectors_in_worker_processes(start, detectors, astronaut):
    image = astronaut[:200, 100:350]
    with multiprocessing.get_context(start).Pool(1) as pool:
        jobs = [pool.apply_async(detectors[kind].detect, [image]) for kind in KINDS]
        found = [job.get(timeout=300) for job in jobs]
    for kind, got in zip(KINDS, found, strict=True):
        same(got, detectors[kind].detect(image))


@pytest.mark.parametrize("how", COPIES)
def test_models_and_plans(how):
    net = LeNet5(10).eval()
    x = np.random.default_rng(3).standard_normal((2, 1, 32, 32), np.float32)
    plan = nets.compile(net, (32, 32), batch=2, n_jobs=2)
    want = plan.run({"input": x})
    other = COPIES[how](plan)
    assert other.memory is not plan.memory
    for engine in (other, nets.compile(COPIES[how](net), (32, 32), batch=2)):
        for name, array in engine.run({"input": x}).items():
            np.testing.assert_array_equal(array, want[name])


@pytest.mark.parametrize("how", COPIES)
def test_models_keep_their_settings(how):
    pytest.importorskip("onnx")
    from onnx_graphs import conv_net, model

    rng = np.random.default_rng(4)
    net = model(*conv_net(rng, 16), n_jobs=2, algorithms={"Conv->c": "direct"})
    x = rng.standard_normal((1, 3, 20, 24), np.float32)
    want = net.run({"x": x})["y"]
    other = COPIES[how](net)
    assert other.n_jobs == 2
    assert "direct" in other.describe((20, 24))
    np.testing.assert_array_equal(other.run({"x": x})["y"], want)
