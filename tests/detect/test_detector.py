import io
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import vj
from vj import CascadeDetector, ImageError, ParameterError, SourceError


def same(a, b):
    return all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for name in ("xyxy", "score", "level", "neighbors")
    )


@pytest.fixture(scope="module")
def crowd(astronaut):
    """Two rows of the same face at three sizes."""
    face = Image.fromarray(astronaut[30:230, 120:320])
    canvas = np.full((420, 640, 3), 90, np.uint8)
    for k, side in enumerate((60, 100, 160)):
        tile = np.asarray(face.resize((side, side)))
        for y in (20, 220):
            canvas[y : y + side, 30 + 190 * k : 30 + 190 * k + side] = tile
    return canvas


def test_finds_the_face_and_says_how_sure(astronaut):
    faces = CascadeDetector("frontalface").detect(astronaut)
    assert len(faces) == 1
    x1, y1, x2, y2 = faces.xyxy[0]
    assert 150 < x1 < 200
    assert 250 < x2 < 300
    assert 50 < y1 < 100
    assert 150 < y2 < 200
    assert faces.score[0] >= 0
    assert faces.level[0] == vj.load_cascade("frontalface").n_stages
    assert faces.neighbors[0] > 3


def test_gray_colour_and_strided_views_agree(astronaut):
    detector = CascadeDetector("frontalface")
    expected = detector.detect(astronaut)
    assert same(detector.detect(vj.as_gray(astronaut)), expected)
    assert same(detector.detect(Image.fromarray(astronaut)), expected)
    big = np.repeat(np.repeat(astronaut, 2, 0), 2, 1)
    assert same(detector.detect(big[::2, ::2]), expected)


@pytest.mark.parametrize("n_jobs", [2, 3, 7])
def test_any_number_of_threads_gives_the_same_answer(crowd, n_jobs):
    one, many = (CascadeDetector(scale_factor=1.05, n_jobs=n) for n in (1, n_jobs))
    assert len(one.detect(crowd)) >= 5
    assert same(many.detect(crowd), one.detect(crowd))


def test_eight_threads_share_a_detector(crowd, astronaut):
    detector = CascadeDetector("frontalface", n_jobs=2)
    pictures = [crowd[: 300 + 10 * k] for k in range(6)] + [astronaut, astronaut[:, ::-1]]
    expected = [detector.detect(picture) for picture in pictures]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            for a, b in zip(pool.map(detector.detect, pictures), expected, strict=True):
                assert same(a, b)


def test_detect_many_keeps_the_order(crowd, astronaut):
    detector = CascadeDetector("frontalface")
    pictures = [crowd, astronaut, crowd[:200]]
    for n_jobs in (None, 3):
        for a, picture in zip(detector.detect_many(pictures, n_jobs), pictures, strict=True):
            assert same(a, detector.detect(picture))


def test_limits_are_strict(crowd):
    every = CascadeDetector(min_neighbors=0).detect(crowd)
    sides = every.xywh[:, 2]
    assert sides.min() < 50 < 90 < sides.max()
    some = CascadeDetector(min_neighbors=0, min_size=50, max_size=(90, 90)).detect(crowd)
    assert len(some) == ((sides >= 50) & (sides <= 90)).sum()
    assert len(CascadeDetector(min_neighbors=0, min_size=5000).detect(crowd)) == 0
    assert len(CascadeDetector(min_neighbors=0, max_size=15).detect(crowd)) == 0


def test_weak_ones_go_with_and_without_a_card(crowd):
    for name in ("frontalface", "lbpcascade_frontalface"):
        every = CascadeDetector(name, min_score=0).detect(crowd)
        middle = float(np.median(every.score))
        strong = CascadeDetector(name, min_score=middle).detect(crowd)
        assert 0 < len(strong) < len(every)
        assert strong.score.tolist() == [s for s in every.score.tolist() if s >= middle]


def test_best_first_and_inside_the_image(crowd):
    faces = CascadeDetector(min_neighbors=0).detect(crowd)
    assert (np.diff(faces.score) <= 0).all()
    assert (faces.neighbors == 1).all()
    assert (faces.xyxy[:, :2] >= 0).all()
    assert (faces.xyxy[:, 2:] <= (640, 420)).all()


def test_a_detector_travels_to_another_process(astronaut):
    detector = CascadeDetector("frontalface", scale_factor=1.2, min_size=30)
    other = pickle.loads(pickle.dumps(detector))
    assert other.min_size == (30, 30)
    assert same(other.detect(astronaut), detector.detect(astronaut))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"scale_factor": 1}, "scale_factor"),
        ({"scale_factor": float("nan")}, "scale_factor"),
        ({"min_neighbors": -1}, "min_neighbors"),
        ({"min_neighbors": 2.5}, "min_neighbors"),
        ({"min_size": 0}, "min_size"),
        ({"min_size": (1, 2, 3)}, "min_size"),
        ({"min_size": 50, "max_size": 40}, "min_size.*larger than.*max_size"),
        ({"n_jobs": 0}, "n_jobs"),
        ({"n_jobs": True}, "n_jobs"),
    ],
)
def test_refuses(options, says):
    with pytest.raises(ParameterError, match=says):
        CascadeDetector("frontalface", **options)


def test_refuses_a_scale_factor_that_would_take_forever(astronaut):
    with pytest.raises(ParameterError, match="pyramid levels"):
        CascadeDetector(scale_factor=1 + 1e-9).detect(astronaut)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros((0, 40), np.uint8), "0"),
        (np.zeros(40, np.uint8), "shape"),
        (np.zeros((40, 40, 5), np.uint8), "channels.*got 5"),
        (np.zeros((40, 40)), "float64"),
        (np.zeros((40, 40), complex), "complex"),
    ],
)
def test_refuses_images(image, says):
    with pytest.raises(ImageError, match=says):
        CascadeDetector("frontalface").detect(image)


def test_detect_takes_arrays_paths_bytes_and_files(astronaut, tmp_path):
    path = tmp_path / "日本 é.png"
    Image.fromarray(astronaut).save(path)
    expected = vj.detect(astronaut)
    assert len(expected) == 1
    for source in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes())):
        assert same(vj.detect(source), expected)
    with pytest.raises(SourceError, match="missing"):
        vj.detect(tmp_path / "missing.jpg")


def test_detect_honours_the_orientation(astronaut, tmp_path):
    path = tmp_path / "phone.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: display by 90 degrees clockwise
    Image.fromarray(np.rot90(astronaut).copy()).save(path, exif=exif, quality=95)
    box = vj.detect(path).xyxy[0]
    assert np.abs(box - vj.detect(astronaut).xyxy[0]).max() < 12


def test_takes_an_object_that_detects(astronaut):
    class Nothing:
        def detect(self, image):
            return vj.Detections.empty()

    assert len(vj.detect(astronaut, Nothing())) == 0


MEASURE = """
import gc, tracemalloc
import numpy as np
import vj
large = np.random.default_rng(0).integers(0, 256, (1200, 1000), dtype=np.uint8)
small = np.ascontiguousarray(large[:30, :40])
detector = vj.CascadeDetector("frontalface")
detector.detect(small)
tracemalloc.start()
detector.detect(large)
print(tracemalloc.get_traced_memory()[1] / large.size)
for _ in range(300):  # fills what Python and the detector keep for good
    detector.detect(small)
gc.collect()
before = tracemalloc.get_traced_memory()[0]
for _ in range(1000):
    detector.detect(small)
gc.collect()
print(tracemalloc.get_traced_memory()[0] - before)
"""


def test_memory_stays_below_forty_bytes_a_pixel_and_does_not_grow():
    # in a process of its own: threads that other tests left behind allocate too
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, check=True)
    bytes_a_pixel, growth = map(float, done.stdout.split())
    assert bytes_a_pixel < 40
    assert growth < 20_000
