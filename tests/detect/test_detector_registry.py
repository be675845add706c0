"""Detectors by name, with a plug-in that is installed as packages are."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import vj
from vj.detect.registry import DEFAULT, default_name, list_detectors, open_detector
from vj.errors import CascadeError, ParameterError, SourceError

PLUGIN = """
class Echo:
    def __init__(self, spec, options):
        self.spec, self.options = spec, options

    def detect(self, image):
        raise NotImplementedError

def names():
    return {"echo": "says what it was given", "frontalface": "never wins"}

def open(spec, **options):
    return Echo(spec, options) if spec == "frontalface" or spec.startswith("echo") else None
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    def install(code):
        (tmp_path / "echo_plugin.py").write_text(code)
        info = tmp_path / "echo_plugin-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: echo-plugin\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[vj.detectors]\necho = echo_plugin\n")
        monkeypatch.syspath_prepend(tmp_path)

    yield install
    sys.modules.pop("echo_plugin", None)


def test_cascades_by_name_and_by_path():
    path = vj.list_cascades()["frontalface"].path
    for spec in ("frontalface", str(path), Path(path), vj.load_cascade("frontalface")):
        detector = open_detector(spec, scale_factor=1.3)
        assert detector.scale_factor == 1.3
        assert detector.cascade.window == (20, 20)


def test_a_detector_is_taken_as_it_is():
    detector = vj.CascadeDetector()
    assert open_detector(detector) is detector
    with pytest.raises(ParameterError, match="made already: scale_factor come too late"):
        open_detector(detector, scale_factor=1.3)


def test_options_that_no_cascade_has():
    with pytest.raises(ParameterError, match=r"have no option `second_pass`; they have scale_fac"):
        vj.detect(vj.sample("astronaut"), "frontalface", second_pass=True)


def test_who_names_no_detector_gets_the_one_that_its_options_fit():
    assert default_name() == default_name(["min_size", "second_pass"]) == DEFAULT
    assert isinstance(open_detector(scale_factor=1.3), vj.CascadeDetector)
    found = vj.detect(vj.sample("astronaut"))
    np.testing.assert_array_equal(
        found.xyxy, vj.detect(vj.sample("astronaut"), DEFAULT, min_size=20).xyxy
    )
    assert found.landmarks is not None
    cascade = vj.detect(vj.sample("astronaut"), min_neighbors=3)
    assert cascade.neighbors.min() >= 3


def test_the_default_is_the_best_that_takes_at_most_twice_the_time_of_the_fastest():
    """By the timings in bench/results; a better net, or a faster one, changes the default."""
    path = Path(__file__).parents[2] / "bench" / "results" / "detectors.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["detectors"]
    shipped = {n: rows[f"vj {n}"] for n in list_detectors() if f"vj {n}" in rows}
    ours = {n: row for n, row in shipped.items() if not n.startswith(("haar", "lbp"))}
    fast = [n for n, row in ours.items() if row["ms"] <= 2 * min(r["ms"] for r in ours.values())]
    assert max(fast, key=lambda n: ours[n]["ap"]) == DEFAULT


def test_a_plugin_opens_what_is_its_own(plugin):
    plugin(PLUGIN)
    detector = open_detector("echo:loud.model", threshold=0.5)
    assert (detector.spec, detector.options) == ("echo:loud.model", {"threshold": 0.5})
    assert list_detectors()["echo"] == "says what it was given"


def test_names_of_cascades_come_first(plugin):
    plugin(PLUGIN)
    assert isinstance(open_detector("frontalface"), vj.CascadeDetector)
    assert "Haar" in list_detectors()["frontalface"]


def test_what_nobody_knows(plugin):
    plugin(PLUGIN)
    with pytest.raises(CascadeError, match="no cascade named 'nobody'"):
        open_detector("nobody")
    with pytest.raises(SourceError, match=r"gone\.xml: cannot read"):
        open_detector("gone.xml")


def test_a_broken_plugin_is_named(plugin):
    plugin("import no_such_module")
    with pytest.raises(CascadeError, match="plug-in 'echo' does not load: No module named"):
        open_detector("anything")
    assert isinstance(open_detector("frontalface"), vj.CascadeDetector)


def test_every_name_that_is_listed_opens():
    for name in list_detectors():
        assert hasattr(open_detector(name), "detect")
