"""``vj-train`` and ``vj-samples`` in this process: what they write, what they refuse."""

import io
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from train.test_trainer import clutter, target

from vj.app import samples_cli, tools, train_cli
from vj.app.opencv_flags import translate
from vj.app.progress import Console
from vj.app.status import Status
from vj.cascade.model import Cascade
from vj.cascade.opencv_xml import read
from vj.datasets.annotations import read_annotations
from vj.errors import ParameterError
from vj.io.images import read_image, write_image
from vj.train.vec import read_vec, write_vec

QUICK = [
    "--positives",
    "120",
    "--negatives",
    "120",
    "--stages",
    "2",
    "--max-trees",
    "10",
    "--hit-rate",
    "0.98",
    "-j",
    "1",
]


def run(tool, *argv):
    """Status, standard output and what was said."""
    said = io.StringIO()
    console = Console(io.BytesIO(), io.BytesIO(), said)
    name = f"vj-{tool.__name__.rpartition('.')[2].removesuffix('_cli')}"
    status = tools.program(name, tool.parse, tool.run, [str(a) for a in argv], console)
    return status, said.getvalue()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Pictures with boxes around a disc with a cross, and pictures without."""
    root, rng = tmp_path_factory.mktemp("ein Ordner"), np.random.default_rng(1)
    for name in ("labels", "backgrounds"):
        (root / name).mkdir()
    entries = []
    for k in range(30):
        scene = clutter(rng)
        x, y = rng.integers(0, 90), rng.integers(0, 70)
        scene[y : y + 28, x : x + 28] = target(rng)
        write_image(root / "labels" / f"ä {k}.png", scene)
        entries.append({"file": f"ä {k}.png", "boxes": [[int(x), int(y), 28, 28]]})
    (root / "labels" / "annotations.json").write_text(json.dumps(entries))
    for k in range(6):
        write_image(root / "backgrounds" / f"{k}.jpg", clutter(rng))
    return root


def test_train_writes_cascade_report_log_and_goes_on(folders, tmp_path):
    out = tmp_path / "new" / "disc.xml"
    argv = [folders / "labels", folders / "backgrounds", "-o", out, "--window", "14x14", *QUICK]
    status, said = run(train_cli, *argv)
    assert status == Status.DONE, said
    assert read(out).window == (14, 14)
    assert "30 objects; their shape suggests a window of 24x24" in said
    assert f"{out}: 2 stages" in said
    page = out.with_suffix(".html").read_text()
    assert page.count("<svg") == 2
    assert "hardest negatives" in page
    assert json.loads(out.with_suffix(".json").read_text())["reason"] == "all stages are trained"
    first = out.read_bytes()
    status, said = run(train_cli, *argv, "--resume")
    assert (status, out.read_bytes()) == (Status.DONE, first)
    assert "resuming after 1 stages" in said
    status, said = run(train_cli, *argv, "--resume", "--depth", "2")
    assert status != Status.DONE
    assert "depth: 1 then, 2 now" in said


def test_check_says_what_would_be_and_draws_it(folders, tmp_path):
    out = tmp_path / "c.xml"
    status, said = run(train_cli, folders / "labels", folders / "backgrounds", "-o", out, "--check")
    assert status == Status.DONE
    assert "false-alarm rates down to about" in said
    assert read_image(tmp_path / "c.samples.png").ndim == 2
    assert not out.exists()


def test_quiet_says_nothing(folders, tmp_path):
    out = tmp_path / "c.xml"
    argv = (folders / "labels", "-o", out, "--window", "14", *QUICK, "-q")
    assert run(train_cli, *argv) == (Status.DONE, "")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["x"], "the following arguments are required: -o/--output"),
        (["x", "-o", "folder.xml"], "-o folder.xml: is a folder: name a file in it"),
        (["x", "-o", "x/c.xml"], "-o x/c.xml: x is a file, not a folder"),
        (["x", "-o", "c.txt"], "name a file that ends in .xml"),
        (["nowhere", "-o", "c.xml"], "nowhere: no such file or folder"),
        (["x", "-o", "c.xml", "--window", "24,24"], "wanted W or WxH in pixels"),
        (["x", "-o", "c.xml", "--time", "soon"], "wanted a time such as 90s, 20m or 1.5h"),
        (["x", "-o", "c.xml", "--memory", "lots"], "wanted an amount such as 500M or 2G"),
        (["x", "-o", "c.xml", "--hit-rate", "0.9,x"], "wanted a rate, or rates between commas"),
        (["x", "-o", "c.xml", "--depth", "9"], "`depth` must be 1 to 4, got 9"),
        (["x", "-o", "c.xml", "--hitrate", "1"], "unrecognized arguments"),
        (["x", "-o", "c.xml", "-j", "0"], "`n_jobs` must be at least 1, got 0"),
        (["x", "-o", "c.xml", "--memory", "1"], "`memory` must be 67,108,864 to "),
        (["x", "-o", "c.xml", "--features", "hog"], "invalid choice: 'HOG'"),
    ],
)
def test_errors_are_one_line_with_a_status(argv, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.xml").mkdir()
    (tmp_path / "x").touch()
    status, said = run(train_cli, *argv)
    assert status in (Status.USAGE, Status.INPUT)
    assert says in said
    assert said.startswith("vj-train: ")
    assert said.count("\n") == 1


def test_mining_tells_rate_and_time_left():
    said = io.StringIO()
    tell = train_cli._Teller(
        Console(io.BytesIO(), io.BytesIO(), said, interactive=True), Path("c.xml")
    )
    event = {"event": "mining", "stage": 7, "scenes": 25, "of": 100, "windows": 4_000_000}
    tell({**event, "rate": 2.5e-5, "complete": False, "seconds": 10})
    assert said.getvalue().endswith(
        "stage 7: 25/100 backgrounds, 4,000,000 windows, 2.5e-05 pass, at most 30 s left"
    )


def test_suspects_are_named_with_a_sheet_and_what_to_do(tmp_path):
    said = io.StringIO()
    tell = train_cli._Teller(Console(io.BytesIO(), io.BytesIO(), said), tmp_path / "cup.xml")
    event = {"event": "suspects", "stage": 2, "text": "objects: a.png", "left_out": []}
    tell({**event, "sheet": np.full((9, 9, 3), 7, np.uint8)})
    sheet = tmp_path / "cup.suspects.png"
    assert read_image(sheet).shape == (9, 9, 3)
    assert said.getvalue() == (
        f"warning: objects: a.png. See {sheet}; --drop-suspects leaves them out, from now on "
        "with --resume\n"
    )
    tell({**event, "sheet": np.zeros((9, 9, 3), np.uint8), "left_out": ["object"]})
    assert said.getvalue().endswith("they are left out from now on\n")


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_says_how_to_go_on(folders, tmp_path, sent):
    options = ["--window", "14", *QUICK[:4], "--stages", "4", *QUICK[6:], "--features", "core"]
    argv = [str(folders / "labels"), str(folders / "backgrounds"), *options]
    whole, cut = tmp_path / "whole.xml", tmp_path / "c u t.xml"
    assert run(train_cli, *argv, "-o", whole)[0] == Status.DONE
    code = "import sys; from vj.app.train_cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *argv, "-o", str(cut)]
    lines = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            lines.append(line)
            if line.startswith("stage 1: "):
                process.send_signal(sent)
                break
        lines += process.stderr.readlines()
    assert process.returncode == 128 + sent
    assert lines[-1].startswith("interrupted; go on with: vj-train ")
    assert list(tmp_path.glob(".*")) == []
    command = shlex.split(lines[-1].partition("go on with: ")[2])
    assert command == ["vj-train", *argv, "-o", str(cut), "--resume"]
    status, said = run(train_cli, *command[1:])
    assert (status, "resuming after" in said) == (Status.DONE, True)
    assert cut.read_bytes() == whole.read_bytes()


def test_the_command_that_goes_on():
    again = train_cli.parse(["a b", "-o", "c.xml", "--resume"]).again
    assert again == "vj-train 'a b' -o c.xml --resume"
    flags = ["--opencv", "-data", "d", "-vec", "v", "-bg", "b"]
    assert train_cli.parse(flags).again == "vj-train --resume --opencv -data d -vec v -bg b"
    assert train_cli.parse(["--resume", *flags]).resume


def test_a_new_training_in_the_place_of_another_says_so(folders, tmp_path):
    argv = [folders / "labels", folders / "backgrounds", "-o", tmp_path / "c.xml", "--window", "14"]
    quick = [*QUICK[:4], "--stages", "1", *QUICK[6:]]
    assert "replaces" not in run(train_cli, *argv, *quick)[1]
    said = run(train_cli, *argv, *quick)[1]
    assert f"warning: {tmp_path / 'c.train'} holds a training, which this one replaces" in said


def test_time_that_is_up_says_how_to_go_on(folders, tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    save = Cascade.save

    def late(self, path):
        now[0] = 100.0
        save(self, path)

    monkeypatch.setattr(Cascade, "save", late)
    argv = [folders / "labels", folders / "backgrounds", "-o", tmp_path / "c.xml", "--window", "14"]
    said = run(train_cli, *argv, *QUICK, "--time", "60s")[1]
    assert "the time is up" in said
    assert said.endswith("--time 60s --resume\n")


def test_flags_of_opencv_traincascade(folders, tmp_path):
    vec, bg = tmp_path / "a.vec", tmp_path / "bg.txt"
    rng = np.random.default_rng(0)
    write_vec(vec, np.stack([target(rng, 16) for _ in range(60)]))
    bg.write_text("".join(f"{p}\n" for p in (folders / "backgrounds").iterdir()))
    flags = f"-data {tmp_path}/out -vec {vec} -bg {bg} -w 16 -h 16 -numPos 50 -numNeg 60".split()
    flags += [
        "-numStages",
        "2",
        "-minHitRate",
        "0.98",
        "-featureType",
        "LBP",
        "-bt",
        "GAB",
        "-numThreads",
        "1",
    ]
    status, said = run(train_cli, "--opencv", *flags, "-precalcValBufSize", "2048")
    assert status == Status.DONE, said
    assert read(tmp_path / "out" / "cascade.xml").feature_type == "LBP"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("-data d -vec v", "-bg is missing"),
        ("-data d -vec v -bg b \N{EN DASH}w 24", "starts with a typographic dash: write '-w'"),
        ("-data d -vec v -bg b -width 24", "'-width' is no flag of opencv_traincascade"),
        ("-data d -vec v -bg -w 24", "-bg needs a value"),
        ("-data d -vec v -bg b -featureType HOG", "no detector reads that"),
        ("-data d -vec v -bg b -baseFormatSave", "the old file format is not written"),
    ],
)
def test_refuses_what_opencv_swallowed(flags, says):
    with pytest.raises(ParameterError, match=says):
        translate(flags.split())


def test_flags_that_are_no_numbers_are_refused_in_one_line():
    flags = ["-data", "d", "-vec", "v", "-bg", "b", "-acceptanceRatioBreakValue"]
    assert train_cli.parse(["--opencv", *flags, "-1"]).target_rate is None
    assert train_cli.parse(["--opencv", *flags, "1e-5"]).target_rate == 1e-5
    with pytest.raises(ParameterError, match="--target-rate: invalid float value: 'soon'"):
        train_cli.parse(["--opencv", *flags, "soon"])


def test_opencv_defaults_are_those_of_opencv():
    args = train_cli.parse(["--opencv", "-data", "d", "-vec", "v", "-bg", "b"])
    assert (args.n_positives, args.n_negatives, args.n_stages) == (2000, 1000, 20)
    assert (args.hit_rate, args.false_alarm, args.max_trees) == (0.995, 0.5, 100)
    assert (args.window, args.features, args.trim) == ((24, 24), "BASIC", 0.95)


def test_samples_become_a_vec_file_and_back(folders, tmp_path):
    vec = tmp_path / "a.vec"
    status, said = run(
        samples_cli, folders / "labels", "-o", vec, "--window", "20x14", "--count", 50
    )
    assert (status, "50 samples of 20x14" in said) == (Status.DONE, True)
    assert read_vec(vec, (14, 20)).shape == (50, 14, 20)
    for name, made in (("s.png", "s.png"), ("crops", "crops/000049.png")):
        status, _ = run(samples_cli, vec, "-o", tmp_path / name, "--window", "20x14")
        assert status == Status.DONE
        assert read_image(tmp_path / made).ndim == 2
    status, said = run(samples_cli, vec, "-o", tmp_path / "s.png", "--window", "30")
    assert (status, "samples have 280 pixels, not 30x30" in said) == (Status.INPUT, True)


def test_crops_are_listed_in_their_real_size(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "crops").mkdir()
    for k, side in enumerate((20, 31)):
        write_image(tmp_path / "crops" / f"{k}.png", target(rng, side))
    out = tmp_path / "a.json"
    assert run(samples_cli, tmp_path / "crops", "-o", out)[0] == Status.DONE
    assert [e["boxes"] for e in json.loads(out.read_text())] == [
        [[0, 0, 20, 20]], [[0, 0, 31, 31]]
    ]  # fmt: skip


def test_samples_take_the_shape_of_the_objects_and_tell_what_is_left_out(tmp_path):
    rng = np.random.default_rng(0)
    write_image(tmp_path / "a.png", clutter(rng))
    boxes = [[10, 10, 60, 20], [10, 50, 60, 20], [500, 10, 60, 20]]
    (tmp_path / "annotations.json").write_text(json.dumps([{"file": "a.png", "boxes": boxes}]))
    status, said = run(samples_cli, tmp_path, "-o", tmp_path / "a.vec")
    assert (status, "2 samples of 42x14" in said, "1 outside: " in said) == (0, True, True)


@pytest.mark.parametrize("tool", [train_cli, samples_cli])
def test_help_tells_the_exit_statuses(tool):
    console = Console(io.BytesIO(), io.BytesIO(), io.StringIO())
    assert tools.program("vj", tool.parse, tool.run, ["--help"], console) == Status.DONE
    text = console.stdout.getvalue().decode()
    assert "  3 input missing or unreadable    6 output cannot be written" in text


@pytest.mark.parametrize("name", ["annotations.json", "info.dat"])
def test_boxes_are_converted(folders, tmp_path, name):
    out = tmp_path / "converted" / name
    assert run(samples_cli, folders / "labels", "-o", out)[0] == Status.DONE
    before, after = (read_annotations(path) for path in (folders / "labels", out))
    for a, b in zip(before, after, strict=True):
        assert a.boxes.tolist() == b.boxes.tolist()
        np.testing.assert_array_equal(a.read(), b.read())
