"""Where the data lies; writing files that are whole or not there."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from vj.errors import SinkError


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

    The bytes go to a temporary file beside ``path``, which is then renamed; after an error of any
    kind, ctrl-C included, the temporary file is gone and an older file at ``path`` is untouched. A
    pipe or a device (``/dev/stdout``) is written directly.

    Raises
    ------
    SinkError
        The folder is missing or read-only, the disk is full, the path is a folder.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise SinkError(f"{path}: is a folder: name a file in it")
    direct = target.exists() and not stat.S_ISREG(target.stat().st_mode)
    temporary = f".{target.name[:40]}.{os.urandom(4).hex()}.part"  # at most 255 bytes
    partial = target if direct else target.with_name(temporary)
    try:
        with writing(path):
            with partial.open("wb") as file:
                yield file
            if not direct:
                partial.replace(target)
    finally:
        if not direct:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
