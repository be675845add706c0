"""OpenCV's XML storage: bytes to elements, elements to numbers.

Nothing here knows what a cascade is. Numbers are read as OpenCV reads them: as float64, rounded to
float32 later; a real number where an integer belongs is rounded half to even; ``.Nan`` and ``.Inf``
are spellings of their own. The texts of many elements are parsed at once.
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Callable, Sequence
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import IO
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers.expat import ExpatError

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser
from numpy.typing import NDArray

from vj.errors import CascadeError, SourceError
from vj.limits import CASCADE_BYTES as MAX_BYTES
from vj.limits import CASCADE_TAGS as MAX_TAGS

Source = str | os.PathLike[str] | bytes | IO[bytes] | IO[str]
Where = Callable[[int], str]  # names the place of the i-th text

_PLAIN = re.compile(r"[0-9eE+.\- ]*")
_REAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_OCTAL = re.compile(r"(?:^| )[+-]?0[0-9]")
_SPECIAL = {".nan": np.nan, ".inf": np.inf, "-.inf": -np.inf, "+.inf": np.inf}


# --------------------------------------------------------------------------- bytes and elements


def load(source: Source) -> tuple[str, bytes]:
    """The name of a source and its bytes, unzipped.

    Raises
    ------
    SourceError
        It is missing or cannot be read.
    CascadeError
        It is a damaged gzip file, or far too long.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        label = "<bytes>"
    elif isinstance(source, (str, os.PathLike)):
        label = str(source)
    elif hasattr(source, "read"):
        label = str(getattr(source, "name", "<stream>"))
    else:
        got = type(source).__name__
        raise SourceError(f"a cascade is a name, a path, bytes or a file object, got {got}")
    label = label if label.isprintable() else repr(label)
    try:
        data = _read(source)
    except (OSError, ValueError) as exc:  # ValueError: a null in a path, a stream that is closed
        reason = getattr(exc, "strerror", None) or exc
        raise SourceError(f"{label}: cannot read the cascade: {reason}") from exc
    return label, _unzipped(data, label)


def _read(source: Source) -> bytes:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, (str, os.PathLike)):
        with Path(source).open("rb") as file:
            return file.read(MAX_BYTES + 1)
    text = source.read(MAX_BYTES + 1)
    return text.encode() if isinstance(text, str) else bytes(text)


def _unzipped(data: bytes, label: str) -> bytes:
    if data.startswith(b"\x1f\x8b"):
        try:
            with gzip.GzipFile(fileobj=BytesIO(data)) as file:
                data = file.read(MAX_BYTES + 1)
        except (OSError, EOFError, zlib.error) as exc:
            raise CascadeError(f"{label}: the gzip file is damaged: {exc}") from exc
    if len(data) > MAX_BYTES:
        raise CascadeError(f"{label}: more than {MAX_BYTES >> 20} MiB of text: this is no cascade")
    return data


def parse(data: bytes) -> tuple[Element, str]:
    """The element tree and the comments before its root.

    The guards of defusedxml stay in force; the tree is built by the C code that they bypass.
    """
    start = data[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        raise CascadeError("the file is empty")
    if start.startswith((b"%YAML", b"{")):
        kind = "YAML" if start.startswith(b"%") else "JSON"
        raise CascadeError(f"{kind} cascades are not read: save it as XML with cv2.FileStorage")
    if not start.startswith(b"<"):
        raise CascadeError("this is no XML file, so no cascade")
    if data.count(b"<") > MAX_TAGS:
        raise CascadeError(f"more than {MAX_TAGS} tags: this is no cascade")
    comments: list[str] = []
    builder = TreeBuilder()
    parser = DefusedXMLParser(encoding=_encoding(data), forbid_dtd=True)
    expat = parser.parser

    def begin(tag: str, attributes: dict[str, str]) -> None:
        expat.CommentHandler = None
        expat.StartElementHandler = builder.start
        builder.start(tag, attributes)

    expat.ordered_attributes = False  # a dict, as the builder wants it
    expat.StartElementHandler = begin
    expat.EndElementHandler = builder.end
    expat.CharacterDataHandler = builder.data
    expat.CommentHandler = comments.append
    try:
        expat.Parse(data, True)
    except ExpatError as exc:
        raise CascadeError(f"not well-formed XML, damaged or truncated: {exc}") from exc
    except DefusedXmlException as exc:
        raise CascadeError("a document type or entity declaration is refused") from exc
    return builder.close(), "\n".join(comments).strip("\n")


def _encoding(data: bytes) -> str:
    """The encoding, whatever the file declares: licence headers are not always honest UTF-8."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "iso-8859-1"
    return "utf-8"


# --------------------------------------------------------------------------- numbers


def numbers(
    texts: Sequence[str], where: Where, tag: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """All numbers of many texts as one array, and how many each text holds."""
    split = [text.split() for text in texts]
    counts = np.fromiter(map(len, split), np.int64, len(split))
    flat = list(chain.from_iterable(split))
    line = " ".join(flat)
    if _PLAIN.fullmatch(line) and not _OCTAL.search(line):
        try:
            return np.array(list(map(float, flat)), np.float64), counts
        except ValueError:
            pass  # the loop below finds the place
    return np.array(
        [_number(token, where, i, tag) for i, tokens in enumerate(split) for token in tokens],
        np.float64,
    ), counts


def _number(token: str, where: Where, i: int, tag: str) -> float:
    special = _SPECIAL.get(token.lower())
    if special is not None:
        return special
    if _REAL.fullmatch(token) and not _OCTAL.match(token):
        return float(token)
    raise CascadeError(f"{where(i)}: {tag} must hold numbers, got {token[:40]!r}")


def integers(values: NDArray[np.float64], where: Where, tag: str) -> NDArray[np.int32]:
    """Rounded half to even, within 32 bits; row ``i`` of ``values`` is named by ``where(i)``."""
    rounded = np.rint(values)
    bad = np.argwhere(~(np.abs(rounded) < 2**31) & (rounded != -(2**31)))
    if bad.size:
        got = values[tuple(bad[0])]
        raise CascadeError(f"{where(int(bad[0][0]))}: {tag} must hold 32-bit integers, got {got}")
    out: NDArray[np.int32] = rounded.astype(np.int32)
    return out


def floats(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """As float32; what is too large becomes inf, which the model refuses."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def column(
    elements: Sequence[Element], tag: str, where: Where
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The numbers of the child ``tag`` of each element, and how many each has: at least one."""
    values, counts = numbers([element.findtext(tag, "") for element in elements], where, tag)
    if not counts.all():
        raise CascadeError(f"{where(int(np.argmin(counts)))}: <{tag}> is missing or empty")
    return values, counts


def scalars(elements: Sequence[Element], tag: str, where: Where) -> NDArray[np.float64]:
    """The one number that each element holds under ``tag``."""
    values, counts = column(elements, tag, where)
    expect(counts == 1, counts, where, f"<{tag}>", "one number")
    return values


def expect(
    good: NDArray[np.bool_], counts: NDArray[np.int64], where: Where, what: str, wanted: str
) -> None:
    """Refuse the first text whose count of numbers is not good."""
    if not good.all():
        i = int(np.argmin(good))
        raise CascadeError(f"{where(i)}: {what} must hold {wanted}, got {counts[i]}")


def children(parent: Element, tag: str) -> list[Element]:
    """What is inside the first child of this name; nothing if there is none."""
    child = parent.find(tag)
    return [] if child is None else list(child)


def entries(parent: Element, tag: str, where: str) -> list[Element]:
    """The entries of a list that must not be empty."""
    items = children(parent, tag)
    if not items:
        raise CascadeError(f"{where}: <{tag}> is missing or empty")
    return items
