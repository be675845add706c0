import contextlib
import csv
import io
import json
import os
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vj
from vj.app import pipeline
from vj.draw import draw
from vj.io import memory
from vj.io.images import read_image
from vj.kernels import jit


def files(folder="."):
    return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file())


# --------------------------------------------------------------------------- what is printed


def test_faces_on_standard_output_and_talk_on_standard_error(command, photos):
    done = command("in/a.png")
    assert done.status == 0
    assert done.out == "in/a.png: 1 face: 20x12+10+5\n"
    assert done.err.startswith("1 face in 1 picture, 0.")


def test_quiet_says_nothing(command, photos):
    done = command("in", "-q")
    assert (done.status, done.out, done.err) == (0, "", "")


def test_quiet_still_writes_data_and_errors(command, photos):
    done = command("in/a.png", "gone.png", "-q", "--jsonl", "-")
    assert json.loads(done.out)["source"] == "in/a.png"
    assert done.err == "vj-detect: gone.png: cannot read: No such file or directory\n"


def test_verbose_tells_the_detector_and_the_time_of_each_picture(command, photos):
    done = command("in", "-v", "-j", "2")
    assert "detector face-fast, inputs 3, threads 2\n" in done.err
    assert "in/b.png: detected in " in done.err


def test_version_and_help(command):
    assert command("--version").out == f"vj-detect {vj.__version__}\n"
    assert command("--help").out.startswith("usage: vj-detect INPUT...")
    assert command("-h").status == 0


def test_a_bar_on_a_terminal_only(command, photos):
    assert "picture/s" in command("in", terminal=True).err
    assert "picture/s" not in command("in").err
    assert "picture/s" not in command("in", "-q", terminal=True).err


# --------------------------------------------------------------------------- data


def test_json_csv_jsonl_and_coco_at_once(command, photos):
    done = command("in", "--json", "a", "--jsonl", "b", "--csv", "c", "--coco", "-")
    assert done.status == 0
    rows = json.loads(Path("a").read_text())["results"]
    assert rows == [json.loads(line) for line in Path("b").read_text().splitlines()]
    assert [len(row["boxes"]) for row in rows] == [1, 0, 1]
    assert rows[0]["boxes"] == [{"xyxy": [10, 5, 30, 17], "score": 2.4, "neighbors": 3}]
    assert [row["x1"] for row in csv.DictReader(io.StringIO(Path("c").read_text()))] == ["10", "30"]
    assert len(json.loads(done.out)["annotations"]) == 2


def test_data_in_files_leaves_the_text_on_standard_output(command, photos):
    assert command("in/a.png", "--json", "a").out == "in/a.png: 1 face: 20x12+10+5\n"


def test_boxes_are_those_of_the_picture_as_displayed(command, photos):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open("in/a.png").save("turned.png", exif=exif)
    row = json.loads(command("turned.png", "--jsonl", "-").out)
    assert (row["width"], row["height"]) == (40, 60)
    assert row["boxes"][0]["xyxy"] == [23, 10, 35, 30]


@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_order_does_not_depend_on_threads(command, photos, jobs):
    for i in range(12):
        (photos / "in" / f"more{i:02}.png").write_bytes((photos / "in" / "a.png").read_bytes())
    rows = command("in", "-r", "--jsonl", "-", "-j", jobs).out.splitlines()
    sources = [json.loads(row)["source"] for row in rows]
    assert len(sources) == 16
    assert sources[:3] == ["in/a.png", "in/b.png", "in/c.png"]
    assert sources[3:15] == sorted(sources[3:15])
    assert sources[15] == "in/deep/d.png"


# --------------------------------------------------------------------------- pictures


def test_a_picture_with_a_frame(command, photos):
    done = command("in/a.png", "-o", "out.png")
    assert done.status == 0
    assert done.err.endswith("see out.png\n")
    before = read_image("in/a.png")
    np.testing.assert_array_equal(read_image("out.png"), draw(before, done.detector.detect(before)))


@pytest.mark.parametrize("method", ["blur", "pixelate", "solid"])
def test_redaction(command, photos, method):
    assert command("in/a.png", "-o", "out.png", "--redact", method, "--grow", 1).status == 0
    before, after = read_image("in/a.png").astype(int), read_image("out.png").astype(int)
    changed = (before != after).any(axis=2)
    changed[5:17, 10:30] = False
    assert not changed.any()
    if method == "solid":
        assert not after[5:17, 10:30].any()


def test_redaction_grows_by_itself_and_can_be_an_ellipse(command, photos):
    command("in/a.png", "-o", "big.png", "--redact", "solid")
    command("in/a.png", "-o", "round.png", "--redact", "solid", "--ellipse")
    big, ellipse = ((read_image(name) == 0).all(axis=2) for name in ("big.png", "round.png"))
    assert big[4:18, 8:32].all()
    assert not ellipse[4, 8]
    assert ellipse[11, 8]


def test_a_tree_is_mirrored_and_existing_pictures_are_skipped(command, photos):
    command("in", "-r", "-o", "out", "-j", 2)
    assert files("out") == ["a.png", "b.png", "c.png", "deep/d.png"]
    Path("out/b.png").unlink()
    Path("out/a.png").write_bytes(b"mine")
    done = command("in", "-r", "-o", "out", "--skip-existing")
    assert done.out == "in/b.png: 0 faces\n"
    assert "0 faces in 1 picture, 3 skipped, " in done.err
    assert Path("out/a.png").read_bytes() == b"mine"


def test_an_output_folder_in_the_input_folder_is_not_read(command, photos):
    for _ in range(2):
        done = command("in", "-r", "-o", "in/out", "--suffix", "_x")
        assert "3 faces in 4 pictures" in done.err
    assert files("in/out") == ["a_x.png", "b_x.png", "c_x.png", "deep/d_x.png"]


def test_pictures_beside_the_inputs(command, photos):
    for left_out in (False, True):
        done = command("in", "--suffix", "_faces")
        assert "2 faces in 3 pictures" in done.err
        assert ("3 files of an earlier run left out" in done.err) is left_out
    assert "a_faces.png" in files("in")
    assert "a_faces_faces.png" not in files("in")


def test_data_beside_the_pictures(command, photos):
    assert command("in", "-o", "out/new", "--csv", "out/new/found.csv").status == 0
    assert files("out/new") == ["a.png", "b.png", "c.png", "found.csv"]


def test_a_file_where_the_folder_should_be(command, photos):
    Path("out").write_text("mine")
    done = command("in", "-o", "out/")
    assert (done.status, done.err) == (6, "vj-detect: out/: cannot write: File exists\n")


def test_standard_input(command, photos):
    data = Path("in/a.png").read_bytes()
    done = command("-", "-o", "out.jpg", stdin=data)
    assert done.out == "-: 1 face: 20x12+10+5\n"
    assert Path("out.jpg").exists()


def test_sample(command, photos):
    pytest.importorskip("skimage")
    row = json.loads(command("--sample", "--jsonl", "-", "-o", "faces.jpg").out)
    assert (row["source"], row["width"], row["height"]) == ("astronaut", 512, 512)
    assert Path("faces.jpg").exists()


def test_unicode_names(command, photos):
    Path("in/a.png").rename("Müller 名前 ☃.png")
    done = command("Müller 名前 ☃.png", "-o", "größe.png", "--json", "données.json")
    assert done.out.startswith("Müller 名前 ☃.png: 1 face")
    assert json.loads(Path("données.json").read_bytes())["results"][0]["source"][0] == "M"
    assert Path("größe.png").exists()


# --------------------------------------------------------------------------- the detector


def test_options_reach_the_detector(command, photos):
    argv = ["--scale-factor", 1.2, "--min-neighbors", 0, "--min-size", 20, "--max-size", "90x80"]
    done = command("in/a.png", *argv, "--min-score", 3.5, "--second-pass", "-j", 3)
    assert done.detector.options == {
        "scale_factor": 1.2,
        "min_neighbors": 0,
        "min_score": 3.5,
        "min_size": (20, 20),
        "max_size": (80, 90),
        "second_pass": True,
        "n_jobs": 3,
    }
    assert command("in").detector.options == {"n_jobs": 1}  # the pictures share the threads


def test_unknown_detector(command, photos):
    done = command("in/a.png", "--detector", "forntalface")
    assert (done.status, done.out) == (4, "")
    assert done.err == "vj-detect: no cascade named 'forntalface'\n"


# --------------------------------------------------------------------------- bad input


def truncated():
    file = io.BytesIO()
    Image.effect_noise((200, 200), 90).save(file, "JPEG")
    return file.getvalue()[:3000]


def bomb(side=1_000_000):
    """A PNG that says it has so many pixels a side, by default more than any memory holds."""

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("gone.jpg", None, "gone.jpg: cannot read: No such file or directory"),
        ("text.jpg", b"Dear diary", "text.jpg: not a picture in a format that Pillow reads"),
        ("empty.jpg", b"", "empty.jpg: not a picture in a format that Pillow reads"),
        ("half.jpg", truncated(), "half.jpg: broken picture: image file is truncated"),
        ("bomb.png", bomb(), "bomb.png: too many pixels, which is how a decompression bomb looks"),
        ("no*match", None, "no*match: nothing matches"),
        ("folder", "mkdir", "folder: no pictures or videos in this folder (--recursive searches"),
    ],
)
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_bad_input_is_one_line_and_status_3_or_1(command, photos, name, content, says, jobs):
    if content == "mkdir":
        Path(name).mkdir()
    elif content is not None:
        Path(name).write_bytes(content)
    done = command(name, "-o", "out/", "--json", "-", "-j", jobs)
    assert done.status == 3
    assert done.err.startswith(f"vj-detect: {says}")
    assert done.err.count("\n") == 1
    assert json.loads(done.out)["results"] == []
    assert files("out") == [] if Path("out").exists() else True
    done = command("in/a.png", name, "in/c.png", "-o", "out/", "-j", jobs)
    assert done.status == 1
    assert done.out.count("1 face") == 2
    assert f"vj-detect: {says}" in done.err
    assert "2 faces in 2 pictures, 1 failed" in done.err
    assert files("out") == ["a.png", "c.png"]


def test_the_limit_of_pixels_can_be_raised_and_lowered(command, photos, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    assert command("in/a.png", "--max-pixels", 2399).status == 3
    assert command("in/a.png", "--max-pixels", 2400).status == 0


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_large_picture_is_refused_only_where_memory_forbids_it(command, photos, monkeypatch):
    limit = Image.MAX_IMAGE_PIXELS
    Image.new("1", (12_000, 9_000)).save("large.png")  # 108 million pixels
    done = command("large.png", "--json", "-")
    assert done.status == 0
    assert json.loads(done.out)["results"][0]["width"] == 12_000
    monkeypatch.setattr(memory, "free_memory", lambda: 1_000_000_000)
    done = command("large.png", "in/a.png")
    assert done.status == 1
    assert done.err.splitlines()[0] == (
        "vj-detect: large.png: too many pixels, which is how a decompression bomb looks: if you "
        "trust it, raise PIL.Image.MAX_IMAGE_PIXELS (--max-pixels of the command) to 108000000; "
        "it takes about 1.7 GB of memory"
    )
    assert command("large.png", "--max-pixels", 108_000_000).status == 0
    monkeypatch.setattr(memory, "free_memory", lambda: None)  # then Pillow's own limit holds
    assert command("large.png").status == 3
    assert limit == Image.MAX_IMAGE_PIXELS


def test_what_is_free_in_a_container(tmp_path):
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("900000\n")
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 50000\n")
    names = [str(tmp_path / name) for name in ("memory.max", "memory.current")]
    assert memory._free_of_container(*names, "inactive_file") == 150_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._free_of_container(*names, "inactive_file") is None
    assert memory._free_of_container("/gone", "/gone", "x") is None


def test_a_folder_says_what_it_left_out(command, photos):
    for name in ("a.txt", "b.TXT", "c.pdf", "d.heic", "e.zip", "f.json", "g.csv", "h", ".hidden"):
        (photos / "in" / name).write_bytes(b"text")
    (photos / "in" / "link").symlink_to("deep")
    done = command("in", "-o", "out/")
    assert done.err.splitlines()[-1] == (
        "9 files ignored: 3 .txt, 1 .pdf, 1 .heic, 1 .zip, 1 .json, 2 others; "
        "2 folders not searched"
    )
    assert command("in", "-r").err.splitlines()[-1].endswith("; 1 folder not searched")
    assert command("in", "-q").err == ""
    assert "ignored" not in command("in/a.png", "in/*.png").err


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "JPEG2000"])
@pytest.mark.parametrize("name", ["IMG_0001", "photo.jpg_large", "photo.jpg~"])
def test_a_picture_is_known_by_its_content(command, photos, kind, name):
    Image.open("in/a.png").save(photos / "in" / "deep" / name, kind)
    done = command("in/deep", "-o", "out/", "--jsonl", "found")
    assert done.status == 0
    assert f"in/deep/{name}: 1 face" in done.out
    assert files("out") == sorted([f"{name}.png", "d.png"])


def test_empty_standard_input(command, photos):
    done = command("-", stdin=b"")
    assert done.status == 3
    assert "not a picture" in done.err


@pytest.mark.parametrize(
    "argv", [[], ["--nonsense"], ["in", "-o", "x.jpg"], ["in/a.png", "--redact", "blur"]]
)
def test_arguments_that_make_no_sense(command, photos, argv):
    done = command(*argv)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("vj-detect: ")
    assert done.err.count("\n") == 1


def test_a_folder_where_nothing_can_be_written(command, photos, read_only):
    for target in (read_only / "x.jpg", f"{read_only}/out/"):
        done = command("in/a.png", "-o", target)
        assert done.status == 6
        assert "cannot write: " in done.err
        assert done.err.count("\n") == 1
    for kind in ("--json", "--jsonl", "--csv", "--coco"):
        done = command("in/a.png", kind, read_only / "x")
        assert (done.status, done.out) == (6, "")


def test_a_folder_as_the_name_of_a_file(command, photos):
    done = command("in/a.png", "--json", "in")
    assert (done.status, done.err) == (6, "vj-detect: in: is a folder: name a file in it\n")


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_full_disk_leaves_nothing_half_written(command, photos, request, jobs):
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(noise).save("in/b.png")
    request.getfixturevalue("full_disk")
    done = command("in", "-o", "out/", "--json", "found.json", "-q", "-j", jobs)
    assert done.status == 6
    assert done.err == "vj-detect: out/b.png: cannot write: File too large\n"
    assert not Path("found.json").exists()
    assert set(files("out")) <= {"a.png", "c.png"}
    assert all(read_image(f"out/{name}").shape == (40, 60, 3) for name in files("out"))


def test_a_full_disk_behind_standard_output(command, photos):
    with Path("/dev/full").open("wb", buffering=0) as full:
        done = command("in/a.png", stdout=full)
    assert done.status == 6
    assert done.err == "vj-detect: standard output: cannot write: No space left on device\n"


def test_a_reader_that_has_gone(command, photos):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as pipe:
        done = command("in", "--jsonl", "-", "-o", "out/", stdout=pipe)
    assert (done.status, done.err) == (6, "")


def test_ctrl_c_keeps_what_is_done(command, photos, red, monkeypatch):
    class Stopping(pipeline.Pipeline):
        def outcome(self, task):
            if task.item.name == "in/b.png":
                raise KeyboardInterrupt
            return super().outcome(task)

    monkeypatch.setattr(pipeline, "Pipeline", Stopping)
    done = command("in", "-o", "out/", "--json", "found.json", "-j", 1)
    assert done.status == 130
    assert "1 face in 1 picture, interrupted" in done.err
    assert len(json.loads(Path("found.json").read_text())["results"]) == 1
    assert files("out") == ["a.png"]


def test_fail_if_none_and_fail_if_any(command, photos):
    assert command("in/b.png", "--fail-if-none").status == 10
    assert command("in/a.png", "--fail-if-none").status == 0
    assert command("in", "--fail-if-any").status == 11
    assert command("in/b.png", "--fail-if-any").status == 0


# --------------------------------------------------------------------------- start


def test_the_first_run_says_that_it_compiles(command, photos, red_detector, monkeypatch):
    @contextlib.contextmanager
    def on_compile(tell):
        detect = red_detector.detect
        monkeypatch.setattr(red_detector, "detect", lambda *args: (tell(), detect(*args))[1])
        yield

    monkeypatch.setattr(jit, "on_compile", on_compile)
    done = command("in/a.png")
    first, second, _ = done.err.splitlines()
    assert first == "compiling for this machine, which happens once ..."
    assert re.fullmatch(r"compiled in \d+\.\d s", second)
    assert command("in/a.png", "-q").err == ""


def test_help_imports_no_numerics():
    """In a fresh process, because this one has imported everything."""
    code = (
        "import sys; from vj.app.cli import main; sys.argv = ['vj-detect', '--help']; main();"
        "print(sorted({'numba', 'numpy', 'PIL', 'skimage', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.decode().splitlines()[-1] == "[]"
