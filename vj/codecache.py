"""Compiled kernels on disk: which folders are trusted, and files that may be broken.

What lies there is unpickled and runs as machine code, so whoever can write a file decides what the
process does. A folder, and each file in it, counts only if it belongs to the current user or to
root and nobody else may write to it. A file holds a digest of its own contents and of the kernel
that it was made for: one that is truncated, zeroed or mixed up is compiled again and replaced.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import stat
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numba
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

DIGEST = hashlib.sha256().digest_size  # bytes at the start of each file


class Folders(NamedTuple):
    """Where compiled kernels are looked for, in order, and where new ones go."""

    read: tuple[Path, ...]
    write: Path | None


def find_folders(stamp: str) -> Folders:
    """Trusted folders for kernels of the sources with this stamp.

    The candidates are ``VJ_CACHE_DIR``, the user's cache and a temporary folder, up to the first
    that can be written. Those before it that can only be read are used where they hold the stamp,
    as in a container image with kernels compiled at build time.
    """
    read: list[Path] = []
    named = os.environ.get("VJ_CACHE_DIR")
    for base in _candidates(named):
        folder = base / stamp
        fault = _prepare(base, folder)
        if not fault:
            read.append(folder)
            if _writable(folder):
                return Folders(tuple(read), folder)
        elif named and base == Path(named):
            warnings.warn(f"VJ_CACHE_DIR={base} is not used: {fault}", RuntimeWarning, stacklevel=2)
    return Folders(tuple(read), None)


def _candidates(named: str | None) -> Iterator[Path]:
    if named:
        yield Path(named)
    if os.environ.get("XDG_CACHE_HOME"):
        yield Path(os.environ["XDG_CACHE_HOME"]) / "vj-detect"
    with contextlib.suppress(RuntimeError):  # no home directory
        yield Path.home() / ".cache" / "vj-detect"
    user = os.geteuid() if hasattr(os, "geteuid") else "user"
    with contextlib.suppress(OSError):  # no temporary folder
        yield Path(tempfile.gettempdir()) / f"vj-detect-{user}"


def _prepare(base: Path, folder: Path) -> str:
    """Make both folders if they can be made; why they cannot be used, empty if they can."""
    try:
        with contextlib.suppress(OSError):
            base.parent.mkdir(parents=True, exist_ok=True)
        for path in (base, folder):
            with contextlib.suppress(OSError):  # read-only: what is there already may do
                path.mkdir(mode=0o700, exist_ok=True)
            if fault := _folder_fault(path):  # before anything is made in it
                return fault
        return ""
    except FileNotFoundError:
        return "it cannot be written and holds no kernels of this version"
    except OSError as exc:
        return f"{exc.filename}: {exc.strerror}"


def _folder_fault(path: Path) -> str:
    """Why a folder is not ours alone; a symbolic link of our own may lead to it."""
    if stat.S_ISLNK((link := path.lstat()).st_mode) and (owner := _stranger(link)):
        return f"{path} is a symbolic link of {owner}"
    found = path.stat()
    if not stat.S_ISDIR(found.st_mode):
        return f"{path} is not a folder"
    return (fault := _fault(found)) and f"{path} {fault}"


def _fault(found: os.stat_result) -> str:
    """Why a file or folder cannot be trusted: of another user, or others may write to it."""
    if owner := _stranger(found):
        return f"belongs to {owner}"
    if os.name == "posix" and found.st_mode & 0o022:
        return f"can be written by others (mode {stat.S_IMODE(found.st_mode):o}): chmod go-w"
    return ""


def _stranger(found: os.stat_result) -> str:
    """Another user who owns this; empty if it is root or the current user.

    Where there are no user numbers (Windows), access lists guard the folders of a profile.
    """
    ours = not hasattr(os, "geteuid") or found.st_uid in (0, os.geteuid())
    return "" if ours else f"user {found.st_uid}"


def _writable(folder: Path) -> bool:
    """Whether a file can be made here; permission bits alone do not tell."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


class Store(NullCache):  # type: ignore[misc]
    """The cache of one function, as Numba's dispatcher uses it: a file for each signature."""

    def __init__(self, function: Callable[..., Any], folders: Callable[[], Folders]) -> None:
        self._function, self._folders = function, folders

    @property
    def cache_path(self) -> str | None:
        """Folder of new files."""
        folder = self._folders().write
        return None if folder is None else str(folder)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Compiled code from the first folder with a sound file, or None."""
        target_context.refresh()
        key = self._key(sig, target_context.codegen())
        for folder in self._folders().read:
            payload = _payload(folder / self._name(key), key)
            if payload is not None:
                # A sound file can still be one that this build of LLVM or Numba does not take.
                with contextlib.suppress(Exception):
                    return CompileResult._rebuild(target_context, *pickle.loads(payload))
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write compiled code under a temporary name, then rename; a failure costs speed only."""
        folder = self._folders().write
        if folder is None or data.library.has_dynamic_globals:  # addresses of this process
            return
        key = self._key(sig, data.codegen)
        payload = dumps(data._reduce())
        with contextlib.suppress(OSError):
            descriptor, temporary = tempfile.mkstemp(suffix=".part", dir=folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(_digest(key, payload) + payload)
                Path(temporary).replace(folder / self._name(key))
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise

    def _name(self, key: bytes) -> str:
        return f"{self._function.__name__}-{hashlib.sha256(key).hexdigest()[:16]}.bin"

    def _key(self, sig: Any, codegen: Any) -> bytes:
        """What the compiled code depends on, beside the sources."""
        function, code = self._function, self._function.__code__
        cells = tuple(cell.cell_contents for cell in function.__closure__ or ())
        parts = (
            *(numba.__version__, sys.implementation.cache_tag, sys.platform, codegen.magic_tuple()),
            *(function.__module__, function.__qualname__, code.co_firstlineno, sig),
            *(hashlib.sha256(blob).hexdigest() for blob in (code.co_code, dumps(cells))),
        )
        return repr(tuple(map(str, parts))).encode()


def _digest(key: bytes, payload: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(key).digest() + payload).digest()


def _payload(path: Path, key: bytes) -> bytes | None:
    """Contents of a trusted file that was written for this key and is whole; None otherwise."""
    try:
        with path.open("rb") as file:
            if _fault(os.fstat(file.fileno())):
                return None
            data = file.read()
    except OSError:
        return None
    payload = data[DIGEST:]
    return payload if data[:DIGEST] == _digest(key, payload) else None
