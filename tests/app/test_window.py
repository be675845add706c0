"""--show, where there is no display, with a made-up OpenCV, and on a virtual display."""

import os
import shutil
import subprocess
import sys
import types

import clips
import pytest

from vj.app import window as module
from vj.app.window import window
from vj.errors import ParameterError


@pytest.fixture
def clip(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return clips.make_clip(tmp_path / "in.mp4", range(0, 400, 40))


@pytest.fixture
def made_up(monkeypatch):
    """An OpenCV whose window is closed after six images."""
    shown = []
    cv2 = types.SimpleNamespace(
        WINDOW_NORMAL=0,
        WINDOW_KEEPRATIO=0,
        WND_PROP_VISIBLE=4,
        namedWindow=lambda *_: None,
        imshow=lambda _, image: shown.append(image),
        waitKey=lambda _: 255,
        getWindowProperty=lambda *_: float(len(shown) < 6),
        destroyAllWindows=lambda: shown.append("closed"),
    )
    monkeypatch.setitem(sys.modules, "cv2", cv2)
    monkeypatch.setattr(module, "_PROBE", "pass")
    return shown


def test_one_line_where_no_window_can_be_opened(command, clip, monkeypatch):
    monkeypatch.setattr(module, "_PROBE", "import os; os.abort()")
    done = command("in.mp4", "--show")
    assert done.status == 2
    assert done.err == (
        "vj-detect: --show: no window can be opened here (no display, or no opencv-python): "
        "use --page, which shows the same in a browser\n"
    )


def test_no_display_is_found_out_without_the_end_of_the_process(monkeypatch):
    pytest.importorskip("cv2")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    with pytest.raises(ParameterError, match="use --page"), window("x"):
        pass


@pytest.mark.parametrize("jobs", [1, 2])
def test_closing_the_window_ends_the_run_and_finishes_the_file(command, clip, made_up, jobs):
    done = command("in.mp4", "--show", "-o", "out.mp4", "-j", jobs)
    assert done.status == 0
    assert made_up[-1] == "closed"
    assert made_up[0].shape == (72, 128, 3)
    x, y, w, h = clips.face_at(0, (128, 72))
    assert (made_up[0][y + h // 2, x + w // 2] > [-1, -1, 180]).all()  # BGR
    assert 6 <= len(clips.times_of("out.mp4")) <= 10


def test_show_is_for_videos(command, photos):
    done = command("in/a.png", "--show")
    assert (done.status, done.out) == (2, "")
    assert "--show is for videos, cameras and streams" in done.err


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb")
def test_on_a_virtual_display(tmp_path):
    reader, writer = os.pipe()
    display = subprocess.Popen(
        ["Xvfb", "-noreset", "-displayfd", str(writer), "-screen", "0", "640x480x24"],
        pass_fds=[writer],
        stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    number = os.read(reader, 20).decode().strip()  # a second write follows: the end stays open
    code = (
        "import numpy as np; from vj.app.window import window\n"
        "with window('faces') as show: print(show(np.full((40, 60, 3), 90, np.uint8)))"
    )
    env = {**os.environ, "DISPLAY": f":{number}"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        display.terminate()
        display.wait(10)
        os.close(reader)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
