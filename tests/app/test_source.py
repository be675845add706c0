import io
import os
from pathlib import Path

import pytest

from vj.errors import ImageError, SourceError
from vj.io.source import Missing, Picture, find_inputs


def names(specs, **options):
    return [item.name for item in find_inputs(specs, io.BytesIO(), **options)]


def places(specs, **options):
    return [str(item.place) for item in find_inputs(specs, io.BytesIO(), **options)]


def test_files_come_in_the_order_given(photos):
    assert names(["in/c.png", "in/a.png"]) == ["in/c.png", "in/a.png"]
    assert places(["in/c.png"]) == ["c.png"]


def test_a_folder_is_searched_by_name(photos):
    assert names(["in"]) == ["in/a.png", "in/b.png", "in/c.png"]
    assert names(["in"], recursive=True) == [*names(["in"]), "in/deep/d.png"]
    assert places(["in"], recursive=True)[-1] == "deep/d.png"


def test_hidden_files_and_folders_are_left_out(photos):
    (photos / "in" / "._a.png").write_bytes(b"resource fork")
    (photos / "in" / ".thumbs").mkdir()
    (photos / "in" / ".thumbs" / "t.png").write_bytes(b"thumbnail")
    assert names(["in"], recursive=True)[0] == "in/a.png"
    assert len(names(["in"], recursive=True)) == 4


def test_the_output_folder_is_left_out(photos):
    assert len(names(["in"], recursive=True, leave_out=Path("in/deep"))) == 3


def test_globs_are_expanded_here_too(photos):
    assert names(["in/[ab].png"]) == ["in/a.png", "in/b.png"]
    assert names(["in/**/d.*"]) == ["in/deep/d.png"]
    assert places(["in/**/*.png"]) == ["a.png", "b.png", "c.png", "deep/d.png"]
    assert places([str(photos / "i*" / "a.png")]) == ["in/a.png"]


def test_a_folder_that_a_glob_matches_is_searched(photos):
    assert places(["i*"]) == ["in/a.png", "in/b.png", "in/c.png"]
    assert places(["i*"], recursive=True)[3] == "in/deep/d.png"
    assert places(["in/d*"]) == ["deep/d.png"]


def test_a_file_whose_name_looks_like_a_glob(photos):
    (photos / "[x].png").write_bytes((photos / "in" / "a.png").read_bytes())
    assert names(["[x].png"]) == ["[x].png"]


def test_each_file_once(photos):
    Path("link.png").symlink_to("in/a.png")
    assert names(["in/a.png", "in", "./in/b.png", "link.png", "in/*.png"]) == [
        *("in/a.png", "in/b.png", "in/c.png")
    ]


def test_standard_input(photos):
    (item,) = find_inputs(["-"], io.BytesIO(Path("in/a.png").read_bytes()))
    assert item.name == "-"
    (frame,) = item.frames()
    assert frame.image.shape == (40, 60, 3)
    assert (frame.index, frame.time) == (0, None)


@pytest.mark.parametrize(
    ("spec", "error", "says"),
    [
        ("gone.png", SourceError, "gone.png: cannot read: No such file"),
        ("", SourceError, "'': an empty name"),
        ("*.gif", SourceError, r"\*.gif: nothing matches"),
        (
            "empty",
            SourceError,
            "empty: no pictures or videos in this folder",
        ),
        ("in/notes.txt", ImageError, "in/notes.txt: not a picture"),
    ],
)
def test_what_is_not_there_is_said_when_its_turn_comes(photos, spec, error, says):
    (photos / "empty").mkdir()
    good, bad = find_inputs(["in/a.png", spec], io.BytesIO())
    assert isinstance(good, Picture)
    with pytest.raises(error, match=says):
        list(bad.frames())


def test_an_empty_tree_gives_no_idle_advice(photos):
    (photos / "empty").mkdir()
    (item,) = find_inputs(["empty"], io.BytesIO(), recursive=True)
    assert isinstance(item, Missing)
    assert str(item.error) == "empty: no pictures or videos in this folder"


def test_an_unreadable_folder(photos, monkeypatch):
    def walk(folder, onerror):
        onerror(PermissionError(13, "Permission denied", str(folder)))
        return iter(())

    monkeypatch.setattr(os, "walk", walk)
    (item,) = find_inputs(["in"], io.BytesIO())
    with pytest.raises(SourceError, match="in: cannot read: Permission denied"):
        list(item.frames())
