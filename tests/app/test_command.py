"""The installed command in processes of its own, with the real detector."""

import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import vj
from vj.io import files
from vj.io.images import read_image, write_image

pytest.importorskip("skimage")
# A shell has what it starts in the background ignore Ctrl-C.
HEARING = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
CALL = "import sys; from vj.app.cli import main; sys.exit(main())"
MAIN = [sys.executable, "-c", HEARING + CALL]


@pytest.fixture
def vj_detect(tmp_path):
    def run(*argv, **options):
        options = {"capture_output": True, "text": True, "cwd": tmp_path, **options}
        return subprocess.run([*MAIN, *argv], check=False, timeout=300, **options)

    return run


@pytest.fixture
def crowd(tmp_path):
    """Forty pictures of a face."""
    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in" / "00.png", vj.sample())
    for i in range(1, 40):
        (tmp_path / "in" / f"{i:02}.png").write_bytes((tmp_path / "in" / "00.png").read_bytes())
    return tmp_path


def test_the_sample_shows_its_face(vj_detect, tmp_path):
    done = vj_detect("--sample", "-o", "faces.jpg", "--json", "faces.json")
    assert done.returncode == 0
    assert done.stdout.startswith("astronaut: 1 face: ")
    (row,) = json.loads((tmp_path / "faces.json").read_text())["results"]
    assert row["boxes"] == vj.detect(vj.sample()).to_rows()
    x1, y1, x2, y2 = row["boxes"][0]["xyxy"]
    assert 150 < x1 < 200 < 240 < x2 < 300
    assert 40 < y1 < 100 < 150 < y2 < 200
    assert read_image(tmp_path / "faces.jpg").shape == (512, 512, 3)


def test_the_first_run_says_that_it_compiles_and_the_second_is_silent(vj_detect, tmp_path):
    env = {**os.environ, "VJ_CACHE_DIR": str(tmp_path / "cache")}
    first = vj_detect("--sample", env=env)
    assert first.stderr.startswith(
        "compiling for this machine, which happens once ...\ncompiled in"
    )
    second = vj_detect("--sample", env=env)
    assert "compil" not in second.stderr
    assert first.stdout == second.stdout


def test_a_detection_imports_neither_scikit_image_nor_scipy(tmp_path):
    code = (
        "import sys; from vj.app.cli import main; main();"
        "print({'skimage', 'scipy.linalg', 'cv2', 'tqdm', 'PIL.ImageDraw', 'av'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--sample"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "set()"


def test_explain(vj_detect, tmp_path):
    done = vj_detect("--sample", "--explain", "220,120", "-o", "why.png")
    assert done.returncode == 0
    assert "accepted: it passes all 14 stages" in done.stdout
    picture = read_image(tmp_path / "why.png")
    assert picture.shape[0] > picture.shape[1] > 400
    far = vj_detect("--sample", "--explain", "20,120")
    assert "rejected by stage" in far.stdout
    outside = vj_detect("--sample", "--explain", "512,0")
    assert (outside.returncode, outside.stdout) == (2, "")
    assert outside.stderr == "vj-detect: --explain: no point of this picture of 512x512 px\n"


def test_explain_is_about_one_picture(vj_detect, crowd):
    done = vj_detect("in", "--explain", "5,5")
    assert (done.returncode, done.stderr) == (
        2,
        "vj-detect: --explain is about one picture, not 40\n",
    )


@pytest.mark.parametrize("method", ["blur", "pixelate", "solid"])
def test_a_redacted_face_is_found_no_more(vj_detect, tmp_path, method):
    def boxes(name):
        document = json.loads((tmp_path / name).read_text())
        return [box["xyxy"] for box in document["results"][0]["boxes"]]

    vj_detect("--sample", "-o", "hidden.png", "--redact", method, "--json", "before")
    vj_detect("hidden.png", "--json", "after")
    assert len(boxes("before")) == 1
    assert not vj.iou(boxes("before"), boxes("after")).max(initial=0) > 0.2


def test_list_detectors(vj_detect):
    done = vj_detect("--list-detectors")
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert "frontalface" in names
    assert names == [*vj.list_cascades(), "face-cnn", "face-fast", "face-tiny", "hybrid"]


@pytest.mark.parametrize(
    ("argv", "status", "says"),
    [
        (["--detector", "nobody"], 4, "no cascade named 'nobody'"),
        (["--detector", "gone.xml"], 4, "gone.xml: cannot read"),
        (["--detector", "text.xml"], 4, "text.xml: "),
        (["--scale-factor", "1"], 2, "`scale_factor` must be"),
        (["--scale-factor", "nan"], 2, "`scale_factor` must be"),
        (["--min-neighbors", "-1"], 2, "`min_neighbors` must be"),
        (["gone.jpg"], 1, "gone.jpg: cannot read: No such file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_arguments(vj_detect, tmp_path, argv, status, says):
    (tmp_path / "text.xml").write_text("no cascade")
    done = vj_detect("--sample", "-q", *argv)
    assert done.returncode == status
    assert done.stderr.startswith(f"vj-detect: {says}")
    assert done.stderr.count("\n") == 1


def test_a_picture_of_every_kind(vj_detect, tmp_path):
    astronaut = vj.sample()
    write_image(tmp_path / "gray.png", vj.as_gray(astronaut))
    write_image(tmp_path / "small.png", astronaut[:10, :10])
    write_image(tmp_path / "one.png", np.zeros((1, 1), np.uint8))
    done = vj_detect("gray.png", "small.png", "one.png")
    assert done.returncode == 0
    assert [line.split(":")[1] for line in done.stdout.splitlines()] == [
        *(" 1 face", " 0 faces", " 0 faces")
    ]


def test_threads_change_nothing(vj_detect, crowd):
    outputs = {vj_detect("in", "--json", "-", "-j", jobs).stdout for jobs in ("1", "3")}
    assert len(outputs) == 1
    assert vj_detect("--sample", "--jsonl", "-", "-j", "1").stdout == (
        vj_detect("--sample", "--jsonl", "-", "-j", "3").stdout
    )


# --------------------------------------------------------------------------- streams and signals


def test_a_full_disk_behind_standard_output(vj_detect):
    with Path("/dev/full").open("w") as full:
        done = vj_detect(
            *("--sample", "--json", "-"), stdout=full, stderr=subprocess.PIPE, capture_output=False
        )
    assert done.returncode == 6
    assert done.stderr == "vj-detect: standard output: cannot write: No space left on device\n"


@pytest.mark.parametrize("option", ["--help", "--version"])
@pytest.mark.parametrize("tool", ["cli", "train_cli", "samples_cli", "eval_cli"])
def test_a_full_disk_behind_the_help_of_each_command(tool, option):
    code = f"import sys; from vj.app.{tool} import main; sys.exit(main())"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code, option],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 6
    assert done.stderr.endswith(": standard output: cannot write: No space left on device\n")
    assert done.stderr.count("\n") == 1


def test_a_reader_that_stops_early(crowd):
    process = subprocess.Popen(
        [*MAIN, "in", "--jsonl", "-", "-q"],
        cwd=crowd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert json.loads(process.stdout.readline())["source"] == "in/00.png"
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 6
    process.stderr.close()


def test_what_a_killed_run_left_goes_although_all_is_there(vj_detect, crowd):
    (crowd / "out").mkdir()
    for path in (crowd / "in").iterdir():
        (crowd / "out" / path.name).write_bytes(b"there")
    (crowd / "out" / f".a.png.{files._machine()}.00000001.part").write_bytes(b"half")
    done = vj_detect("in", "-o", "out", "--skip-existing", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(list((crowd / "out").iterdir())) == 40


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_signals_leave_nothing_half_written(crowd, number, status, jobs):
    process = subprocess.Popen(
        [*MAIN, "in", "-o", "out/", "--json", "found.json", "-j", jobs],
        cwd=crowd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in err
    assert not list(crowd.rglob("*.part"))
    pictures = sorted((crowd / "out").iterdir())
    assert 0 < len(pictures) < 40
    assert all(read_image(path).shape == (512, 512, 3) for path in pictures)
    if number == signal.SIGINT:
        rows = json.loads((crowd / "found.json").read_text())["results"]
        assert 0 < len(rows) <= len(pictures)
        assert "interrupted" in err
    else:
        assert not (crowd / "found.json").exists()


def test_a_bar_on_a_terminal(crowd):
    fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    done = subprocess.run(
        [*MAIN, "in", "--json", "found.json"],
        cwd=crowd,
        stdout=subprocess.PIPE,
        stderr=follower,
        check=True,
    )
    os.close(follower)
    shown = b""
    with contextlib.suppress(OSError), os.fdopen(leader, "rb", buffering=0) as terminal:
        while part := terminal.read(4096):
            shown += part
    assert b"/40 [" in shown
    assert b"40 faces in 40 pictures" in shown
    assert len(done.stdout.splitlines()) == 40


def test_no_waiting_for_a_terminal_that_is_not_asked(vj_detect):
    started = time.monotonic()
    done = vj_detect("-", stdin=subprocess.DEVNULL)
    assert done.returncode == 3
    assert "not a picture" in done.stderr
    assert time.monotonic() - started < 60
