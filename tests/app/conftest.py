"""The command, run in this process with streams and a detector of the test's choice."""

import io
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from vj.app.cli import program
from vj.app.progress import Console
from vj.detect import registry
from vj.detections import Detections
from vj.errors import CascadeError


class RedDetector:
    """Takes red for a face: one box around all of it."""

    def __init__(self, **options):
        self.options = options

    def detect(self, image):
        if image.ndim == 2:
            return Detections.empty()
        ys, xs = np.nonzero((image[..., 0] > 180) & (image[..., 1:] < 80).all(axis=2))
        if len(xs) == 0:
            return Detections.empty()
        box = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], np.float32)
        return Detections(
            box, np.array([len(xs) / 100], np.float32), neighbors=np.array([3], np.int32)
        )


@dataclass
class Result:
    status: int
    out: str
    err: str
    detector: RedDetector | None


@pytest.fixture
def red_detector():
    return RedDetector


@pytest.fixture
def red(monkeypatch):
    """Replace the detectors; those that were made are in the list."""
    made = []

    def open_detector(spec, **options):
        if spec not in (registry.DEFAULT, registry.CASCADE):
            raise CascadeError(f"no cascade named {spec!r}")
        made.append(RedDetector(**options))
        return made[-1]

    monkeypatch.setattr(registry, "open_detector", open_detector)
    return made


@pytest.fixture
def command(red):
    """Run ``vj-detect`` with these arguments."""

    def run(*argv, stdin=b"", stdout=None, terminal=False):
        out, err = stdout or io.BytesIO(), io.StringIO()
        console = Console(io.BytesIO(stdin), out, err, interactive=terminal)
        status = program([str(arg) for arg in argv], console)
        text = out.getvalue().decode() if isinstance(out, io.BytesIO) else ""
        return Result(status, text, err.getvalue(), red[-1] if red else None)

    return run


def picture(box=None, size=(60, 40)):
    """A gray picture of (width, height), with a red ``x, y, w, h``."""
    image = Image.new("RGB", size, "gray")
    if box:
        x, y, w, h = box
        image.paste((255, 0, 0), (x, y, x + w, y + h))
    return image


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder, which is the current one: two pictures with a face, one without, one below."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    picture((10, 5, 20, 12)).save(tmp_path / "in" / "a.png")
    picture().save(tmp_path / "in" / "b.png")
    picture((30, 20, 8, 9)).save(tmp_path / "in" / "c.png")
    picture((0, 0, 5, 5)).save(tmp_path / "in" / "deep" / "d.png")
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    return tmp_path
