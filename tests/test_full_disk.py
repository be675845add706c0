"""A disk that fills up at any byte: every file that the package writes is whole or not there."""

import contextlib
import errno
import io
import os

import numpy as np
import pytest
from PIL import Image

import vj
from vj.app.formats import Record
from vj.app.progress import Console
from vj.app.sink import data_sink
from vj.detections import Detections
from vj.errors import SinkError
from vj.io.images import write_image
from vj.io.source import Frame
from vj.io.video_sink import Encoding, video_sink

resource = pytest.importorskip("resource")

NOISE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
# They need a plug-in of Pillow's, a palette, or pictures of two colours.
NOT_WRITTEN = {"BLP", "BUFR", "GRIB", "HDF5", "MSP", "PALM", "WMF", "XBM"}


@contextlib.contextmanager
def room_for(size):
    """No file can grow beyond this number of bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def picture_suffixes():
    """One suffix of each format that Pillow writes."""
    Image.init()
    found = {name: suffix for suffix, name in Image.EXTENSION.items() if name in Image.SAVE}
    return sorted(suffix for name, suffix in found.items() if name not in NOT_WRITTEN)


def data(kind):
    def write(path):
        boxes = np.arange(40, dtype=np.float32).reshape(10, 4)
        found = Detections(boxes, np.linspace(1, 0, 10, dtype=np.float32))
        with data_sink(kind, str(path), Console(None, None, io.StringIO())) as add:
            for i in range(40):
                add(Record(f"{i}.jpg", 0, None, 60, 40, "frontalface", found))

    return write


def video(path):
    with video_sink(path, None, Encoding()) as write:
        for i in range(12):
            write(Frame(np.roll(NOISE, i, 1), i), None)


def cascade(path):
    vj.load_cascade("frontalface").save(path)


def vec(path):
    from vj.train.vec import write_vec

    write_vec(path, np.ascontiguousarray(np.tile(NOISE[None, :24, :24, 0], (9, 1, 1))))


def html(path):
    from vj.evaluate.html import page, picture
    from vj.io.files import replacing

    with replacing(path) as file:
        file.write(page("Report", picture(NOISE, "noise")))


def weights(path):
    from nets.nn.state import save_state

    save_state(path, {"weight": NOISE.astype(np.float32)})


def onnx(path):
    pytest.importorskip("onnx")
    import nets
    from nets.models import LeNet5

    nets.export_onnx(LeNet5(2), path, (32, 32))


def training(path):
    from vj.train.checkpoint import Checkpoint

    checkpoint = Checkpoint(path.parent, {})
    checkpoint.save([], [], {"samples": NOISE})
    (path.parent / "state.npz").rename(path)


WRITERS = {
    **{f"data.{kind}": data(kind) for kind in ("json", "jsonl", "csv", "coco", "parquet")},
    **{f"video{suffix}": video for suffix in (".mp4", ".mkv", ".mov", ".webm", ".avi")},
    **{"cascade.xml": cascade, "samples.vec": vec, "report.html": html},
    **{"net.safetensors": weights, "net.onnx": onnx, "state.npz": training},
}


def check(write, folder, name):
    """Write with room for all bytes, for all but one, for half, for none."""
    path = folder / name
    write(path)
    size = path.stat().st_size
    for room in (size - 1, size // 2, 0):
        path.write_bytes(b"old")
        with pytest.raises(SinkError, match="cannot write: File too large"), room_for(room):
            write(path)
        assert path.read_bytes() == b"old"
        path.unlink()
        with pytest.raises(SinkError), room_for(room):
            write(path)
        assert list(folder.iterdir()) == []


@pytest.mark.filterwarnings("ignore:.*format is deprecated")
@pytest.mark.parametrize("suffix", picture_suffixes())
def test_pictures(tmp_path, suffix):
    check(lambda path: write_image(path, NOISE), tmp_path, f"picture{suffix}")


@pytest.mark.parametrize("name", WRITERS)
def test_everything_else(tmp_path, name):
    check(WRITERS[name], tmp_path, name)


@pytest.mark.parametrize("name", ["picture.jpg", "data.json", "video.mp4"])
def test_a_disk_that_says_so_late(tmp_path, monkeypatch, name):
    """Where blocks are allocated late, or by a server, only fsync knows that there are none."""

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    write = WRITERS.get(name, lambda path: write_image(path, NOISE))
    with pytest.raises(SinkError, match="cannot write: No space left on device"):
        write(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
