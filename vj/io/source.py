"""From what the user typed to inputs: files, folders, globs, standard input.

An input has a ``name`` (as it appears in data and messages), a ``place`` (its path in a mirrored
output tree) and ``frames()``. A picture is an input of one frame; a video has a ``length()`` too.
"""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, NoReturn

from vj.errors import SourceError, VJError
from vj.io.frame import Frame as Frame
from vj.io.video_source import VIDEOS, Span, Video

if TYPE_CHECKING:
    pass

# What a folder is searched for: the formats that Pillow reads and writes. A file that is named
# outright is read whatever its name is.
PICTURES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif"}
PICTURES |= {".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"}
# How the content of a picture begins, in the formats whose files are known to come without the
# suffix; raw files of cameras and many documents begin as TIFF does.
_HEADS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"\0\0\0\x0cjP  \r\n")

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")  # nothing like "concat:file://"


@dataclass(frozen=True)
class Picture:
    """An input of one frame."""

    name: str
    source: Any  # path or file object, as `read_image` takes it
    place: Path
    live: ClassVar[bool] = False

    @property
    def path(self) -> str | None:
        """The file behind it, with links resolved."""
        return os.path.realpath(self.source) if isinstance(self.source, str | Path) else None

    def frames(self) -> Iterator[Frame]:
        """The picture."""
        from vj.io.images import read_image

        yield Frame(read_image(self.source))


@dataclass(frozen=True)
class Missing:
    """An input that is not there, which is said when its turn comes."""

    name: str
    error: VJError
    place: Path = Path()
    path: str | None = None
    live: ClassVar[bool] = False

    def frames(self) -> NoReturn:
        """Never any."""
        raise self.error


Item = Picture | Video | Missing

FOLDERS = "/"  # among the suffixes of what a search leaves out


def find_inputs(
    specs: Sequence[str],
    stdin: BinaryIO,
    *,
    recursive: bool = False,
    leave_out: Path | None = None,
    span: Span | None = None,
    stdin_format: str | None = None,
    ignored: Counter[str] | None = None,
) -> list[Item]:
    """What the arguments name, in their order, each file once.

    Parameters
    ----------
    specs : sequence of str
        Files, folders, globs, "-".
    stdin : binary file
        What "-" means.
    recursive : bool
        Search the folders of folders too.
    leave_out : path, optional
        A folder that is not searched: that of the output.
    span : Span, optional
        Which part of the videos is read.
    stdin_format : str, optional
        What kind of video "-" is; by default it is a picture.
    ignored : Counter, optional
        Filled with the suffixes of what folders hold beside pictures and videos, and with the
        number of `FOLDERS` in them that are not searched.
    """
    search = _Search(recursive, leave_out, Counter() if ignored is None else ignored)
    found: dict[str, Item] = {}
    for spec in specs:
        standard: Item = Picture("-", stdin, Path("stdin"))
        if stdin_format is not None:
            standard = Video("-", stdin, Path("stdin"), format=stdin_format)
        for item in [standard] if spec == "-" else _expand(spec, search):
            if span is not None and isinstance(item, Video):
                item = replace(item, span=span)
            found.setdefault(item.path or item.name, item)
    return list(found.values())


def frames(source: Any, **span: Any) -> Iterator[Frame]:
    """Every image of a picture, folder, glob or video.

    Parameters
    ----------
    source : str or path
        What ``vj-detect`` takes: a file, a folder, a glob, "-", "camera:0", a URL.
    **span
        Of videos: ``start`` and ``duration`` in seconds, ``max_frames``, ``fps_limit``.

    Yields
    ------
    Frame
        ``image`` (H, W) or (H, W, 3) RGB uint8, as displayed; ``index``; ``time``, a fraction of
        seconds, or None for a picture.

    Raises
    ------
    SourceError, ImageError
        Something is missing or unreadable; after the last frame of a damaged video.
    StreamError
        A stream is lost and does not come back.

    Examples
    --------
    >>> import vj
    >>> from vj.io.images import sample_path
    >>> [frame.image.shape for frame in vj.frames(sample_path())]
    [(512, 512, 3)]
    """
    import sys

    for item in find_inputs([os.fspath(source)], sys.stdin.buffer, span=Span(**span)):
        yield from (frame for frame in item.frames() if frame is not None)


def _expand(spec: str, search: _Search) -> Iterator[Item]:
    path = Path(spec)
    if not spec:  # as an unset variable of the shell leaves it; Path("") is the current folder
        yield _missing("''", "an empty name")
    elif spec.startswith("camera:") or _URL.match(spec):
        from vj.io.live import live_input

        try:
            yield live_input(spec)
        except SourceError as exc:
            yield Missing(spec, exc)
    elif path.is_dir():
        found = list(search.folder(path, path))
        hint = "" if search.recursive else " (--recursive searches the folders in it)"
        yield from found or [_missing(spec, f"no pictures or videos in this folder{hint}")]
    elif glob.has_magic(spec) and not path.exists():
        yield from list(search.matches(path)) or [_missing(spec, "nothing matches")]
    else:
        yield _file(spec, path, Path(path.name))


@dataclass(frozen=True)
class _Search:
    """Files in folders by name; hidden ones are left out."""

    recursive: bool
    leave_out: Path | None
    ignored: Counter[str]

    def folder(self, folder: Path, base: Path) -> Iterator[Item]:
        """Files in a folder, placed in relation to ``base``."""
        unreadable: list[OSError] = []
        for root, folders, files in os.walk(folder, onerror=unreadable.append):
            folders[:] = self._searched(root, folders)
            for name in sorted(files):
                path = Path(root, name)
                if name.startswith("."):
                    continue
                if path.suffix.lower() in PICTURES | VIDEOS or _begins_as_picture(path):
                    yield _file(str(path), path, path.relative_to(base))
                else:
                    self.ignored[path.suffix.lower()] += 1
        for error in unreadable:
            yield _missing(str(error.filename), f"cannot read: {error.strerror}")

    def matches(self, pattern: Path) -> Iterator[Item]:
        """What a glob matches, placed in relation to its part without wildcards."""
        parts = pattern.parts
        base = Path(*parts[: next(i for i, part in enumerate(parts) if glob.has_magic(part))])
        for name in sorted(glob.glob(str(pattern), recursive=True)):  # noqa: PTH207
            path = Path(name)
            if path.is_dir():
                yield from self.folder(path, base)
            else:
                yield _file(str(path), path, path.relative_to(base))

    def _searched(self, root: str, folders: list[str]) -> list[str]:
        """Those of the folders in a folder that are searched; links are not, they may go round."""
        shut = None if self.leave_out is None else os.path.realpath(self.leave_out)
        seen = [d for d in sorted(folders) if not d.startswith(".")]
        seen = [d for d in seen if os.path.realpath(Path(root, d)) != shut]
        below = [d for d in seen if self.recursive and not Path(root, d).is_symlink()]
        self.ignored[FOLDERS] += len(seen) - len(below)
        return below


def _begins_as_picture(path: Path) -> bool:
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return False
    return head.startswith(_HEADS) or head[4:] == b"ftypavif" or head[:4] + head[8:] == b"RIFFWEBP"


def _file(name: str, path: Path, place: Path) -> Item:
    kind = Video if path.suffix.lower() in VIDEOS else Picture
    return kind(name, path, place)


def _missing(name: str, why: str) -> Missing:
    return Missing(name, SourceError(f"{name}: {why}"))
