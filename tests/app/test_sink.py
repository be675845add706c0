import io
from pathlib import Path

import numpy as np
import pytest

from vj.app.progress import Console
from vj.app.sink import data_sink, picture_sink, plan
from vj.errors import ParameterError, SinkError, SourceError
from vj.io.source import Missing, find_inputs


def planned(specs, target, suffix="", **options):
    tasks = plan(find_inputs(specs, io.BytesIO(), **options), target, suffix)
    return {task.item.name: None if task.path is None else str(task.path) for task in tasks}


def test_one_picture(photos):
    assert planned(["in/a.png"], "faces.jpg") == {"in/a.png": "faces.jpg"}
    assert planned(["-"], "faces.jpg") == {"-": "faces.jpg"}


def test_the_tree_is_mirrored(photos):
    assert planned(["in"], "out", recursive=True) == {
        "in/a.png": "out/a.png",
        "in/b.png": "out/b.png",
        "in/c.png": "out/c.png",
        "in/deep/d.png": "out/deep/d.png",
    }


@pytest.mark.parametrize("target", ["out", "out/", "in/", "in"])
def test_a_folder_for_one_picture(photos, target):
    assert planned(["in/deep/d.png"], target) == {"in/deep/d.png": str(Path(target, "d.png"))}


def test_a_folder_whose_name_has_a_suffix(photos):
    (photos / "out.v2").mkdir()
    assert planned(["in/a.png"], "out.v2") == {"in/a.png": "out.v2/a.png"}
    assert planned(["in/a.png"], "new.v2/") == {"in/a.png": "new.v2/a.png"}


def test_suffix_in_a_folder_and_beside_the_input(photos):
    assert planned(["in/a.png"], "out", "_faces") == {"in/a.png": "out/a_faces.png"}
    assert planned(["in/deep/d.png"], None, "_faces") == {"in/deep/d.png": "in/deep/d_faces.png"}


def test_a_name_that_says_no_format_gets_one(photos):
    assert planned(["in/notes.txt"], "out") == {"in/notes.txt": "out/notes.txt.png"}
    assert planned(["-"], "out") == {"-": "out/stdin.png"}


def test_no_pictures_are_asked_for(photos):
    assert planned(["in/a.png"], None) == {"in/a.png": None}


def test_what_is_missing_writes_nothing(photos):
    missing = [Missing("x", SourceError("x")), Missing("y", SourceError("y"))]
    assert [task.path for task in plan(missing, "out", "")] == [None, None]


def test_own_output_is_never_read(photos):
    for name in ("a_faces.png", "a_faces_faces.png", "z_faces.png"):
        (photos / "in" / name).write_bytes((photos / "in" / "a.png").read_bytes())
    tasks = planned(["in"], None, "_faces")
    assert list(tasks) == ["in/a.png", "in/b.png", "in/c.png", "in/z_faces.png"]
    (photos / "one").mkdir()
    for name in ("a.png", "out.png"):
        (photos / "one" / name).write_bytes((photos / "in" / "a.png").read_bytes())
    assert planned(["one"], "one/out.png") == {"one/a.png": "one/out.png"}


@pytest.mark.parametrize(
    ("specs", "target", "suffix", "says"),
    [
        (["in"], "out.jpg", "", "-o out.jpg is one file for 3: name a folder"),
        (["in/a.png"], "out.jpg", "_x", "--suffix is for files in a folder"),
        (
            ["in/a.png"],
            "out.xyz",
            "",
            "nothing is written as '.xyz': use .jpg or .png, .mp4 or",
        ),
        (["in/a.png"], "out.json", "", "nothing is written as '.json'"),
        (["in/a.png"], "in/a.png", "", "in/a.png: would be overwritten"),
        (["in"], "in", "", "in/a.png: would be overwritten"),
        (["in/a.png"], "./in/../in", "", "would be overwritten"),
        (["-"], None, "_x", "-: has no folder to write to: name one with -o"),
        (["in/a.png", "other/a.png"], "out", "", "in/a.png and other/a.png would both be written"),
    ],
)
def test_refuses(photos, specs, target, suffix, says):
    (photos / "other").mkdir()
    (photos / "other" / "a.png").write_bytes((photos / "in" / "b.png").read_bytes())
    with pytest.raises(ParameterError, match=says):
        planned(specs, target, suffix)


def test_an_input_behind_a_link_is_not_overwritten(photos):
    (photos / "link.png").symlink_to("in/a.png")
    with pytest.raises(ParameterError, match="would be overwritten"):
        planned(["link.png"], "in/a.png")


# --------------------------------------------------------------------------- writing


def test_pictures_make_their_folders(tmp_path):
    with picture_sink(tmp_path / "a" / "b" / "c.png") as write:
        write(np.zeros((3, 4), np.uint8))
    assert (tmp_path / "a" / "b" / "c.png").is_file()


def test_a_folder_that_cannot_be_made(read_only):
    with (
        pytest.raises(SinkError, match="cannot write: "),
        picture_sink(read_only / "a" / "c.png") as write,
    ):
        write(np.zeros((3, 4), np.uint8))


class Loud:
    def row(self):
        return {"schema": 1}


def lines(target, console=None, n=1):
    with data_sink("jsonl", str(target), console) as write:
        for _ in range(n):
            write(Loud())


def test_data_goes_to_a_file_or_to_standard_output(tmp_path):
    console = Console(io.BytesIO(), io.BytesIO(), io.StringIO())
    lines(tmp_path / "a", console)
    lines("-", console)
    assert (tmp_path / "a").read_bytes() == console.stdout.getvalue() == b'{"schema": 1}\n'


def test_a_data_file_is_whole_or_not_there(tmp_path, full_disk):
    with pytest.raises(SinkError, match=r"a\.jsonl: cannot write: File too large"):
        lines(tmp_path / "a.jsonl", n=20_000)
    assert not list(tmp_path.iterdir())


def test_the_error_names_the_file_that_failed(tmp_path):
    def both():
        with (
            data_sink("jsonl", "/dev/full", None) as first,
            data_sink("jsonl", str(tmp_path / "b"), None) as second,
        ):
            for _ in range(9_000):
                first(Loud())
                second(Loud())

    with pytest.raises(SinkError, match=r"^/dev/full: cannot write: No space"):
        both()
    assert not list(tmp_path.iterdir())
