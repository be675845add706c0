"""Detection against OpenCV 4: the same rectangles, proved by ``python -m bench.parity``."""

import time
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

import vj
from bench.parity import opencv
from vj.compat import CascadeClassifier

pytestmark = pytest.mark.skipif(opencv() is None, reason="this OpenCV has no CascadeClassifier")
CASCADES = {
    "default": "haarcascade_frontalface_default",
    "alt": "haarcascade_frontalface_alt",
    "alt2": "haarcascade_frontalface_alt2",
    "LBP": "lbpcascade_frontalface",
}
OURS = ("frontalface", "frontalface-fast")


@cache
def photographs():
    """Gray photographs of 0.3 to 8 Mpx; the largest ones are enlarged."""
    face, retina = (vj.as_gray(vj.sample(name)) for name in ("astronaut", "retina"))
    return {
        "rocket, 0.3 Mpx": vj.as_gray(vj.sample("rocket")),
        "astronaut, 0.3 Mpx": face,
        "astronaut, 1.2 Mpx": cv2.resize(face, (1280, 960)),
        "retina, 2.0 Mpx": retina,
        "astronaut, 8.3 Mpx": cv2.resize(face, (3840, 2160), interpolation=cv2.INTER_CUBIC),
    }


@cache
def classifier(lib, name, folder, threads):
    path = Path(folder) / f"{name}.xml"
    if not path.exists():  # so that both read the same file
        vj.save_cascade(vj.load_cascade(name), path)
    if lib == "vj":
        return CascadeClassifier(path, n_jobs=threads)
    return cv2.CascadeClassifier(str(path))


def run(lib, cascade, picture, folder, threads):
    one = classifier(lib, CASCADES[cascade], folder, threads)
    image = photographs()[picture]
    found = one.detectMultiScale(image)

    def detect():
        cv2.setNumThreads(threads)
        assert np.array_equal(sorted(map(tuple, one.detectMultiScale(image))), expected)

    expected = sorted(map(tuple, found))
    return detect


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cascades")


@pytest.mark.benchmark(min_rounds=2, warmup=False)
@pytest.mark.parametrize("lib", ["vj", "opencv"])
@pytest.mark.parametrize("picture", photographs())
@pytest.mark.parametrize("cascade", CASCADES)
def test_one_thread(race, lib, picture, cascade, folder):
    """Faces with OpenCV's defaults (scale factor 1.1, 3 neighbours), from a gray image."""
    table = "Detection, one thread"
    case = f"{cascade}: {picture}"
    race(run(lib, cascade, picture, folder, 1), table=table, case=case, lib=lib)


@pytest.mark.benchmark(min_rounds=3, warmup=False)
@pytest.mark.parametrize("lib", ["vj", "alt2 in our engine", "opencv alt2"])
@pytest.mark.parametrize("picture", photographs())
@pytest.mark.parametrize("cascade", OURS)
def test_our_cascades(race, lib, picture, cascade, folder):
    """The cascades of this package, as they come, against haarcascade_frontalface_alt2, in gray
    photographs with scale factor 1.1: one in our engine, and in OpenCV's.
    """
    image = photographs()[picture]
    name = cascade if lib == "vj" else CASCADES["alt2"]
    one = vj.CascadeDetector(name)
    detect = one.detect
    if lib == "opencv alt2":
        detect = classifier("opencv", name, folder, 1).detectMultiScale
    race(lambda: detect(image), table="Our cascades", case=f"{cascade}: {picture}", lib=lib)


@pytest.mark.benchmark(min_rounds=3, warmup=False, timer=time.perf_counter)
@pytest.mark.parametrize("lib", ["vj", "opencv"])
@pytest.mark.parametrize("picture", ["astronaut, 0.3 Mpx", "astronaut, 1.2 Mpx", "retina, 2.0 Mpx"])
@pytest.mark.parametrize("cascade", CASCADES)
def test_two_threads(race, lib, picture, cascade, folder):
    """The same on two threads, wall time."""
    table = "Detection, two threads"
    case = f"{cascade}: {picture}"
    race(run(lib, cascade, picture, folder, 2), table=table, case=case, lib=lib)
