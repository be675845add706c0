"""Compiled kernels on disk: nobody else's code runs, and a broken file costs time only."""

import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from vj.codecache import Folders, Store, _digest, find_folders
from vj.kernels.jit import Kernel

TINY = """
from numba import float64
from vj.kernels.jit import kernel, on_compile

@kernel(float64(float64))
def double(x):
    "Twice x."
    return x * 2

@kernel(float64(float64))
def triple(x):
    "Three times x."
    return x * 3

def main():
    compiled = []
    with on_compile(lambda: compiled.append(True)):
        print(double(21.0), triple(14.0), "compiled" if compiled else "read")
"""
STRANGER = 12345
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0,
    reason="only root can make folders of another user",
)


def start(folder, *, variables=None, **options):
    """Run both kernels in a process whose only cache is the temporary one in ``folder``."""
    env = {k: v for k, v in os.environ.items() if k not in ("VJ_CACHE_DIR", "XDG_CACHE_HOME")}
    env |= {"HOME": "/dev/null", "TMPDIR": str(folder / "tmp"), **(variables or {})}
    return subprocess.Popen(
        [sys.executable, "-W", "always", "-c", "import tiny; tiny.main()"],
        **{"cwd": folder, "env": env, "text": True, **options},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(process):
    """Whether the kernels were 'compiled' or 'read', and what was said; the answer is right."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    answer, _, how = out.strip().rpartition(" ")
    assert answer == "42.0 42.0"
    return how, err


def run(folder, **options):
    return finish(start(folder, **options))[0]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A folder with the module and, in tmp/vj-detect-UID, its compiled kernels."""
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "tiny.py").write_text(TINY)
    (folder / "tmp").mkdir()
    assert run(folder) == "compiled"
    assert run(folder) == "read"
    return folder


@pytest.fixture
def place(compiled, tmp_path):
    """A copy of it to spoil."""
    shutil.copytree(compiled, tmp_path / "place", symlinks=True)
    return tmp_path / "place"


def base(place):
    (found,) = (place / "tmp").iterdir()
    return found


def files(place, below="tmp"):
    found = sorted(path for path in (place / below).rglob("*") if path.is_file())
    assert len(found) >= 2
    return found


def test_folders_and_files_are_the_users_alone(compiled):
    for path in [base(compiled), *base(compiled).rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
        assert path.stat().st_uid == os.geteuid()


DAMAGE = {
    "empty": lambda data: b"",
    "one byte": lambda data: data[:1],
    "half": lambda data: data[: len(data) // 2],
    "all but one byte": lambda data: data[:-1],
    "zeroed": lambda data: bytes(len(data)),
    "random": lambda data: np.random.default_rng(1).bytes(len(data)),
    "one bit": lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
}


def test_broken_files_are_compiled_again_and_replaced(place):
    names = files(place)
    for name, damage in DAMAGE.items():
        for path in names:
            path.write_bytes(damage(path.read_bytes()))
        assert run(place) == "compiled", name
        assert files(place) == names, "nothing half-written is left"
    assert run(place) == "read"


def test_a_file_under_the_name_of_another_is_not_taken_for_it(place):
    one, two = (path for path in files(place) if path.suffix in (".bin", ".nbc"))
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    assert run(place) == "compiled"


def test_processes_that_compile_at_once_leave_a_whole_cache(place):
    shutil.rmtree(base(place))
    for process in [start(place) for _ in range(3)]:
        finish(process)
    assert not [path for path in files(place) if ".part" in path.name or ".tmp" in path.name]
    assert run(place) == "read"


@as_root
@pytest.mark.parametrize("whose", ["folder", "folder of the version", "files"])
def test_what_another_user_made_is_not_run(place, whose):
    spoiled = {
        "folder": [base(place)],
        "folder of the version": [*base(place).iterdir()],
        "files": files(place),
    }[whose]
    for path in spoiled:
        os.chown(path, STRANGER, STRANGER)
    before = {path: path.read_bytes() for path in files(place)}
    assert run(place) == "compiled"
    if whose != "files":  # nor is anything written there
        assert {path: path.read_bytes() for path in files(place)} == before


@as_root
def test_a_link_that_another_user_made_is_not_followed(place):
    link = base(place)
    link.rename(place / "elsewhere")
    link.symlink_to(place / "elsewhere")
    assert run(place) == "read", "one of our own is"
    os.chown(link, STRANGER, STRANGER, follow_symlinks=False)
    assert run(place) == "compiled"
    (place / "elsewhere").rename(place / "before")
    (place / "elsewhere").mkdir()
    assert run(place) == "compiled"
    assert not list((place / "elsewhere").iterdir()), "nothing is made there"


@pytest.mark.skipif(os.name != "posix", reason="mode bits")
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777], ids=oct)
@pytest.mark.parametrize("whose", ["folder", "folder of the version"])
def test_a_folder_that_others_may_write_is_not_used(place, monkeypatch, mode, whose):
    stamp = next(base(place).iterdir())
    monkeypatch.setattr(tempfile, "tempdir", str(place / "tmp"))
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.delenv("VJ_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert find_folders(stamp.name) == Folders((stamp,), stamp)
    {"folder": base(place), "folder of the version": stamp}[whose].chmod(mode)
    assert find_folders(stamp.name) == Folders((), None)


@pytest.mark.skipif(os.name != "posix", reason="mode bits")
def test_files_that_others_may_write_are_not_run(place):
    for path in files(place):
        path.chmod(0o660)
    assert run(place) == "compiled"
    assert run(place) == "read"
    assert all(path.stat().st_mode & 0o077 == 0 for path in files(place))


def obey_modes():
    """Let mode bits bind this process and what it starts, even if it is root."""
    import ctypes

    if os.geteuid() != 0:
        return
    drop_from_bounding_set, dac_override = 24, 1
    if ctypes.CDLL(None).prctl(drop_from_bounding_set, dac_override, 0, 0, 0):
        raise PermissionError


@pytest.fixture
def image(place):
    """A cache that was made when an image was built: it can be read, nothing there be written."""
    image = base(place).rename(place / "image")
    paths = [image, *image.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        code = "import os, sys; sys.exit(os.access(sys.argv[1], os.W_OK))"
        seen = subprocess.run([sys.executable, "-c", code, str(image)], preexec_fn=obey_modes)
        if seen.returncode:
            pytest.skip("mode bits do not bind this user")
    except subprocess.SubprocessError:
        pytest.skip("root who may not give up the right to write everywhere")
    yield image
    for path in paths:
        if path.is_dir():
            path.chmod(0o755)


def test_a_complete_cache_that_is_read_only_is_used(place, image):
    variables = {"VJ_CACHE_DIR": str(image)}
    assert finish(start(place, variables=variables, preexec_fn=obey_modes)) == ("read", "")


def test_what_a_read_only_cache_lacks_goes_to_the_next_one(place, image):
    lacking = min(files(place, image))
    lacking.parent.chmod(0o755)
    lacking.unlink()
    lacking.parent.chmod(0o555)
    options = {"variables": {"VJ_CACHE_DIR": str(image)}, "preexec_fn": obey_modes}
    assert finish(start(place, **options)) == ("compiled", "")
    assert [path.name for path in base(place).rglob("*.bin")] == [lacking.name]
    assert finish(start(place, **options)) == ("read", "")


@as_root
def test_what_root_made_is_used_by_others(compiled, monkeypatch):
    monkeypatch.setenv("VJ_CACHE_DIR", str(base(compiled)))
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    (stamp,) = base(compiled).iterdir()
    assert find_folders(stamp.name).read == (stamp,)


@pytest.mark.parametrize("fault", ["mode", "nothing there", "a file"])
def test_a_named_folder_that_is_not_used_is_said(tmp_path, monkeypatch, read_only, fault):
    folder = {"nothing there": read_only / "cache"}.get(fault, tmp_path / "cache")
    if fault == "mode":
        folder.mkdir()
        folder.chmod(0o777)
    elif fault == "a file":
        folder.write_text("")
    monkeypatch.setenv("VJ_CACHE_DIR", str(folder))
    says = {
        "mode": "written by others",
        "nothing there": "holds no kernels",
        "a file": "not a folder",
    }
    with pytest.warns(RuntimeWarning, match=f"VJ_CACHE_DIR=.*cache is not used.*{says[fault]}"):
        assert folder not in find_folders("stamp").read


def test_a_full_disk_costs_the_cache_only(place):
    resource = pytest.importorskip("resource")
    shutil.rmtree(base(place))
    limit = (2000, 2000)
    how = run(place, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
    assert how == "compiled"
    assert not [path for path in (place / "tmp").rglob("*") if path.is_file()]


def test_a_sound_file_that_cannot_be_loaded_is_compiled_again(tmp_path):
    """As one written by another build of LLVM may be."""
    from numba import int64

    def half(x):
        """Half of x."""
        return x // 2

    made = [Kernel(half, int64(int64)) for _ in range(2)]
    for kernel in made:
        kernel.dispatcher._cache = Store(half, lambda: Folders((tmp_path,), tmp_path))
    made[0].compile()
    (path,) = tmp_path.iterdir()
    code = made[0].dispatcher.overloads[(int64,)]
    key = made[0].dispatcher._cache._key(int64(int64), code.codegen)
    path.write_bytes(_digest(key, b"not a pickle") + b"not a pickle")
    assert made[1](42) == 21
    assert path.stat().st_size > 1000


def test_a_library_call_that_compiles_says_so_once_by_logging(tmp_path):
    (tmp_path / "tiny.py").write_text(TINY)
    code = "import tiny; print(tiny.double(21.0), tiny.triple(14.0))"
    env = {**os.environ, "VJ_CACHE_DIR": str(tmp_path / "cache")}
    runs = {
        "first": code,
        "second": code,
        "silenced": f"import logging; logging.getLogger('vj').setLevel('ERROR'); {code}",
    }
    said = {}
    for name, text in runs.items():
        if name == "silenced":
            shutil.rmtree(tmp_path / "cache")
        done = subprocess.run(
            [sys.executable, "-c", text], cwd=tmp_path, env=env, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        assert done.stdout == "42.0 42.0\n"
        said[name] = done.stderr
    assert said == {
        "first": "compiling for this machine, which happens once ...\n",
        "second": "",
        "silenced": "",
    }
