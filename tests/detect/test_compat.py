import copy
import pickle

import numpy as np
import pytest

import vj
from vj.compat import CascadeClassifier, error, groupRectangles


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("cascade") / "faces.xml"
    vj.save_cascade(vj.load_cascade("lbpcascade_frontalface"), path)
    return path


def test_the_life_of_a_classifier(path, tmp_path):
    classifier = CascadeClassifier()
    assert classifier.empty()
    with pytest.raises(error, match="empty: load a cascade"):
        classifier.detectMultiScale(np.zeros((50, 50), np.uint8))
    assert classifier.load(path)
    assert not classifier.empty()
    assert classifier.getOriginalWindowSize() == (24, 24)
    assert classifier.getFeatureType() == 1
    assert not classifier.isOldFormatCascade()
    assert not classifier.load(tmp_path / "missing.xml")
    assert classifier.empty()
    assert CascadeClassifier("missing.xml").empty()


@pytest.mark.parametrize("how", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_a_classifier_can_be_copied_and_pickled(path, astronaut, how):
    classifier = CascadeClassifier(path, n_jobs=2)
    want = classifier.detectMultiScale(astronaut)
    np.testing.assert_array_equal(how(classifier).detectMultiScale(astronaut), want)
    assert how(CascadeClassifier()).empty()


def test_a_broken_file_raises(tmp_path):
    path = tmp_path / "text.xml"
    path.write_text("no cascade")
    with pytest.raises(error, match=r"text\.xml"):
        CascadeClassifier(path)


@pytest.mark.parametrize(
    "image",
    [None, np.zeros((0, 5), np.uint8), np.zeros(1000, np.uint8), np.zeros((9, 9), np.uint8)],
    ids=["None", "empty", "1-d", "small"],
)
def test_nothing_found_is_an_empty_tuple(path, image):
    classifier = CascadeClassifier(path)
    assert classifier.detectMultiScale(image) == ()
    assert classifier.detectMultiScale2(image) == ((), ())
    assert classifier.detectMultiScale3(image) == ((), (), ())


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros((50, 50), np.uint16), "uint16"),
        (np.zeros((50, 50), bool), "bool"),
        (np.zeros((50, 50), np.float32), "float32"),
        (np.zeros((50, 50, 2), np.uint8), "channels.*got 2"),
        (np.zeros((50, 50, 5), np.uint8), "channels.*got 5"),
    ],
)
def test_images_that_opencv_refuses(path, image, says):
    with pytest.raises(error, match=says):
        CascadeClassifier(path).detectMultiScale(image)


@pytest.mark.parametrize("factor", [1, 0.9, -1, float("nan"), float("inf")])
def test_scale_factors_that_opencv_refuses(path, astronaut, factor):
    with pytest.raises(error, match="scale_factor"):
        CascadeClassifier(path).detectMultiScale(astronaut, factor)


def test_colour_is_bgr_and_keywords_are_those_of_opencv(path, astronaut):
    classifier = CascadeClassifier(path)
    bgr = astronaut[..., ::-1]
    rects = classifier.detectMultiScale(
        bgr, scaleFactor=1.1, minNeighbors=3, flags=0, minSize=(30, 30), maxSize=(300, 300)
    )
    assert rects.dtype == np.int32
    assert rects.shape == (1, 4)
    np.testing.assert_array_equal(rects, classifier.detectMultiScale(vj.as_gray(astronaut)))
    rects, levels, weights = classifier.detectMultiScale3(bgr, outputRejectLevels=True)
    assert levels.dtype == np.int32
    assert weights.dtype == np.float64
    _, counts = classifier.detectMultiScale2(bgr)
    assert counts.dtype == np.int32


def test_group_rectangles():
    rects = [[10, 10, 20, 20], [11, 10, 20, 21], [80, 80, 9, 9]]
    merged, counts = groupRectangles(rects, 1)
    assert merged.tolist() == [[10, 10, 20, 20]]
    assert counts.tolist() == [2]
    assert groupRectangles([], 1) == ((), ())
