"""Detectors by name, with a plug-in that is installed as packages are."""

import sys
from pathlib import Path

import pytest

import vj
from vj.detect.registry import list_detectors, open_detector
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
        vj.detect(vj.sample("astronaut"), second_pass=True)


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
