import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vj.errors import SinkError
from vj.io import files
from vj.io.files import replacing, sweep

DAY = 86_400


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def test_the_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "Ünïcode 名前.txt"
    with replacing(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == [path.name]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")

    def interrupted():
        with replacing(path) as file:
            file.write(b"half")
            raise error("stop")

    with pytest.raises(error, match="stop"):
        interrupted()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.txt"]


def test_permissions_are_those_of_an_ordinary_new_file(tmp_path):
    with replacing(tmp_path / "a") as file:
        file.write(b"")
    (tmp_path / "b").write_bytes(b"")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_link_is_followed_and_stays_a_link(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    with replacing(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_a_long_name_still_fits(tmp_path):
    for name in ("x" * 250, "名" * 80):
        with replacing(tmp_path / name) as file:
            file.write(b"new")
        assert (tmp_path / name).read_bytes() == b"new"


def test_two_files_of_one_long_prefix_at_once(tmp_path):
    first, second = tmp_path / ("x" * 200 + "1"), tmp_path / ("x" * 200 + "2")
    with replacing(first) as a, replacing(second) as b:
        a.write(b"1")
        b.write(b"2")
    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")


def test_a_full_disk_is_one_line_and_leaves_nothing():
    before = names("/dev")
    with (
        pytest.raises(SinkError, match="/dev/full: cannot write: No space left"),
        replacing("/dev/full") as file,
    ):
        file.write(b"x" * 100_000)
    assert names("/dev") == before
    assert Path("/dev/full").is_char_device()


def test_a_full_disk_under_an_ordinary_file(tmp_path, full_disk):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    with pytest.raises(SinkError, match="cannot write: File too large"), replacing(path) as file:
        file.write(b"x" * 100_000)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.txt"]


def test_missing_folder(tmp_path):
    missing = tmp_path / "no" / "a.txt"
    with pytest.raises(SinkError, match="No such file or directory"), replacing(missing):
        pass


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(SinkError, match="is a folder"), replacing(tmp_path):
        pass


def test_read_only_folder(tmp_path, read_only):
    with pytest.raises(SinkError, match="cannot write: "), replacing(read_only / "a.txt"):
        pass


# --------------------------------------------------------------------------- what was left behind


@pytest.fixture
def unswept(monkeypatch):
    monkeypatch.setattr(files, "_swept", set())


@pytest.fixture
def writer(tmp_path):
    """A process in the middle of writing ``a.txt``."""
    code = (
        "import sys; from vj.io.files import replacing\n"
        "with replacing(sys.argv[1]) as file:\n"
        "    file.write(b'half'); file.flush(); print('there', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "a.txt"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"there\n"
    yield process
    process.stdin.close()
    process.wait(30)
    process.stdout.close()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_what_a_killed_process_leaves_is_removed_by_the_next_write(tmp_path, writer, unswept):
    writer.send_signal(signal.SIGKILL)
    writer.wait(30)
    (left,) = names(tmp_path)
    assert left.endswith(".part")
    with replacing(tmp_path / "b.txt") as file:
        file.write(b"new")
    assert names(tmp_path) == ["b.txt"]


def test_what_a_living_process_writes_stays(tmp_path, writer, unswept):
    (partial,) = tmp_path.iterdir()
    os.utime(partial, (time.time() - 2 * DAY,) * 2)
    sweep(tmp_path)
    assert partial.exists()
    writer.stdin.close()
    assert writer.wait(30) == 0
    assert names(tmp_path) == ["a.txt"]


def test_only_what_is_certainly_ours_is_removed(tmp_path, unswept):
    elsewhere = f"{int(files._machine(), 16) ^ 1:08x}"
    fresh, old = (f".a.{elsewhere}.0000000{n}.part" for n in (1, 2))
    others = [fresh, ".a.part", "a.part", f"a.{files._machine()}.00000003.part", "a.txt"]
    for name in (*others, old):
        (tmp_path / name).write_bytes(b"half")
    os.utime(tmp_path / old, (time.time() - 2 * DAY,) * 2)
    (tmp_path / f".b.{files._machine()}.00000004.part").symlink_to("a.txt")
    sweep(tmp_path)
    assert old not in names(tmp_path)
    assert len(names(tmp_path)) == len(others) + 1


def test_a_file_that_was_swept_away_before_its_lock_is_made_again(tmp_path, monkeypatch):
    lock, taken = files._lock, []

    def swept(descriptor, *, wait):
        if not taken:
            taken.extend(tmp_path.iterdir())
            taken[0].unlink()
        lock(descriptor, wait=wait)

    monkeypatch.setattr(files, "_lock", swept)
    with replacing(tmp_path / "a.txt") as file:
        file.write(b"new")
    assert len(taken) == 1
    assert (tmp_path / "a.txt").read_bytes() == b"new"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.name == "nt", reason="locks of POSIX")
def test_a_file_system_without_locks_is_written_and_not_swept(tmp_path, monkeypatch, unswept):
    def none(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.fcntl, "flock", none)
    left = f".a.{files._machine()}.00000001.part"
    (tmp_path / left).write_bytes(b"perhaps of another process")
    with replacing(tmp_path / "a.txt") as file:
        file.write(b"new")
    assert names(tmp_path) == [left, "a.txt"]
