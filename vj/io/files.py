"""Where the data lies; writing files that are whole or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import stat
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from vj.errors import SinkError

if sys.platform != "win32":
    import fcntl

_TEMPORARY = re.compile(r"\..+\.([0-9a-f]{8})\.[0-9a-f]{8}\.part")
_DAY = 86_400  # seconds without a write after which a file of another machine counts as left behind
_swept: set[Path] = set()


def data_folder() -> Path:
    """Pictures, boxes and weights that do not come with the package, to train and measure with.

    The environment variable ``VJ_DATA`` names it; without it, ``../shared/data`` from where one is.
    """
    return Path(os.environ.get("VJ_DATA", "../shared/data")).absolute()


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what the operating system says about ``path`` into a `SinkError`."""
    try:
        yield
    except OSError as exc:
        raise SinkError(f"{path}: cannot write: {exc.strerror or exc}") from exc


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its name only when the block ends without an error.

    The bytes go to a temporary file beside ``path``, which is flushed to the disk and then renamed;
    after an error of any kind, ctrl-C included, the temporary file is gone and an older file at
    ``path`` is untouched. What a killed process left in the folder is removed first (`sweep`). A
    pipe or a device (``/dev/stdout``) is written directly.

    Raises
    ------
    SinkError
        The folder is missing or read-only, the disk is full, the path is a folder.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise SinkError(f"{path}: is a folder: name a file in it")
    with writing(path):
        if target.exists() and not stat.S_ISREG(target.stat().st_mode):
            with target.open("wb") as file:
                yield file
            return
        sweep(target.parent)
        with _temporary(target) as (file, partial):
            yield file
            file.flush()
            _sync(file)
            if sys.platform == "win32":  # it does not rename a file that is open
                file.close()
            partial.replace(target)


def sweep(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files in a folder whose processes were killed.

    A process holds a lock on the file that it writes, so only files without one are removed; on
    another machine, whose locks may not be seen from here, and where there are no locks, only
    those that nobody has written to for a day. A folder is searched once a process.
    """
    folder = Path(os.path.realpath(folder))
    if folder in _swept:
        return
    _swept.add(folder)
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _TEMPORARY.fullmatch(entry.name)
            if found and entry.is_file(follow_symlinks=False):
                local = found[1] == _machine() and sys.platform != "win32"
                with contextlib.suppress(OSError):
                    if local or time.time() - entry.stat().st_mtime > _DAY:
                        _remove_unlocked(Path(entry.path))


@contextlib.contextmanager
def _temporary(target: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A locked file beside the target, and its path; removed at the end if it is still there."""
    while True:
        name = f".{target.name[:40]}.{_machine()}.{os.urandom(4).hex()}.part"  # at most 255 bytes
        partial = target.with_name(name)
        file = partial.open("xb")
        try:
            _lock(file.fileno(), wait=True)
            # Between its creation and the lock another process may have swept it away.
            if partial.exists():
                break
        except BaseException:
            file.close()
            partial.unlink(missing_ok=True)
            raise
        file.close()
    try:
        with file:
            yield file, partial
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _lock(descriptor: int, *, wait: bool) -> None:
    """Lock a file until it is closed, if its file system has locks.

    A lock of another is waited for; if it shall not be, OSError is raised, and without locks too.
    """
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        if not wait:
            raise


def _remove_unlocked(path: Path) -> None:
    if sys.platform == "win32":  # it does not remove a file that is open
        path.unlink()
        return
    descriptor = os.open(path, os.O_RDWR)
    try:
        _lock(descriptor, wait=False)
        path.unlink()
    finally:
        os.close(descriptor)


def _sync(file: BinaryIO) -> None:
    """Wait until the file is on the disk, which may only now be found to be full."""
    try:
        os.fsync(file.fileno())
    except OSError as exc:
        if exc.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):  # not known here
            raise


def _machine() -> str:
    """What tells this machine from others that share a folder, in eight characters."""
    return f"{zlib.crc32(platform.node().encode()):08x}"
