"""Every decision equals OpenCV's. ``python -m bench.parity`` runs all cases, this a fair part."""

import numpy as np
import pytest
from cascades import any_cascade
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import parity
from vj.compat import CascadeClassifier

cv2 = parity.opencv()
pytestmark = pytest.mark.skipif(cv2 is None, reason="this OpenCV has no CascadeClassifier")
FILES = parity.cascade_files() if cv2 else []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_cascades_of_opencv(path):
    theirs = cv2.CascadeClassifier(str(path))
    ours = [CascadeClassifier(path, n_jobs=n) for n in (1, 2)]
    found = 0
    for _, name, image, parameters in list(parity.cases([path]))[::23]:
        expected = parity.outputs(theirs, image, *parameters)
        found += len(expected[0])
        for one in ours:
            assert parity.same(parity.outputs(one, image, *parameters), expected), name
    assert found or "frontalface" not in path.stem


def test_the_cascade_of_scikit_image(tmp_path):
    import vj

    path = tmp_path / "lbp.xml"
    vj.save_cascade(vj.load_cascade("frontalface"), path)
    theirs, ours = cv2.CascadeClassifier(str(path)), CascadeClassifier(path)
    for _, name, image, parameters in list(parity.cases([path]))[::7]:
        expected = parity.outputs(theirs, image, *parameters)
        assert parity.same(parity.outputs(ours, image, *parameters), expected), name


@settings(max_examples=60)
@given(st.data())
def test_made_up_cascades(tmp_path_factory, data):
    cascade = data.draw(any_cascade())
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    shape = data.draw(st.tuples(st.integers(1, 60), st.integers(1, 90)))
    image = rng.integers(0, data.draw(st.sampled_from([2, 40, 256])), shape, dtype=np.uint8)
    factor = data.draw(st.sampled_from([1.05, 1.2, 1.9]))
    path = tmp_path_factory.mktemp("made") / "cascade.xml"
    cascade.save(path)
    theirs = cv2.CascadeClassifier(str(path))
    for n_jobs in (1, 3):
        ours = CascadeClassifier(path, n_jobs=n_jobs)
        for neighbors in (0, 1):
            expected = parity.outputs(theirs, image, factor, neighbors, ((0, 0), (0, 0)))
            assert parity.same(
                parity.outputs(ours, image, factor, neighbors, ((0, 0), (0, 0))), expected
            )
