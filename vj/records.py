"""Values out of files that may lie: of the kind and within the bounds asked for, or one line.

Everything here raises `SourceError` for what is malformed; ``where`` names the file and the place
in it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from reprlib import Repr
from typing import Any

import numpy as np

from vj import limits
from vj.errors import SourceError

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKETS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # +1 and -1 as int8
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[{]}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SHOWN = Repr()
_SHOWN.maxlevel = 3
_SHOWN.maxstring = _SHOWN.maxlong = _SHOWN.maxother = 60


def shown(value: Any) -> str:
    """A value as a message shows it: its beginning, however long or deep it is."""
    return _SHOWN.repr(value)


def brief(exc: BaseException) -> str:
    """What another library's error says, on one line of bounded length."""
    text = " ".join(str(exc).split()) or type(exc).__name__
    return text if len(text) <= 300 else f"{text[:140]} ... {text[-140:]}"


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The content of a text file of at most `limits.TEXT_BYTES`."""
    most = limits.TEXT_BYTES
    try:
        with Path(path).open("rb") as file:
            found = os.fstat(file.fileno())
            # read() makes room for as much as it is asked for; a pipe does not tell its size.
            data = file.read(1 + min(most, found.st_size if stat.S_ISREG(found.st_mode) else most))
    except (OSError, ValueError) as exc:  # ValueError: a null in the path
        raise SourceError(f"{path}: cannot read: {getattr(exc, 'strerror', None) or exc}") from exc
    if len(data) > most:
        raise SourceError(f"{path}: more than {most >> 30} GiB of text: split it")
    return data


def read_text(path: str | os.PathLike[str]) -> str:
    """The content of a text file, UTF-8 or, where it is not, Latin-1."""
    data = read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def load_json(path: str | os.PathLike[str]) -> Any:
    """What a JSON file holds."""
    return parse_json(read_bytes(path), str(path))


def parse_json(data: bytes, where: str) -> Any:
    """What JSON text holds."""
    if _nesting(data) > limits.NESTING:
        raise SourceError(f"{where}: nested in more than {limits.NESTING} levels")
    try:
        return json.loads(data.decode("utf-8-sig"))
    except json.JSONDecodeError as exc:
        raise SourceError(f"{where}:{exc.lineno}: not JSON: {exc.msg}") from exc
    except ValueError as exc:  # no UTF-8, or a number of thousands of digits
        raise SourceError(f"{where}: not JSON: {brief(exc)}") from exc


def _nesting(data: bytes) -> int:
    """Levels of objects and lists."""
    naive = _deepest(data)  # brackets within strings count, which a slower look corrects
    return naive if naive <= limits.NESTING else _deepest(_STRING.sub(b"", data))


def _deepest(data: bytes) -> int:
    steps = np.frombuffer(data.translate(_BRACKETS, _NO_BRACKETS), np.int8)
    return int(np.cumsum(steps, dtype=np.int32).max(initial=0))


class Record:
    """An object of a JSON file.

    Parameters
    ----------
    value : object
        What the file holds at this place; SourceError if that is no object.
    where : str
        File and place, for messages.
    """

    __slots__ = ("_values", "where")

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, Mapping):
            raise SourceError(f"{where}: wanted an object, got {shown(value)}")
        self._values, self.where = value, where

    @property
    def values(self) -> Mapping[str, Any]:
        """Everything as it is."""
        return self._values

    def __contains__(self, key: str) -> bool:
        """Whether it has the key, with a value other than null."""
        return self._values.get(key) is not None

    def raw(self, key: str) -> Any:
        """The value as it is."""
        if key not in self._values:
            raise SourceError(f"{self.where}: wanted an object with {key!r}")
        return self._values[key]

    def flag(self, key: str) -> bool:
        """Whether the value is true, or anything that is not 0 or empty."""
        return bool(self._values.get(key))

    def entries(self, key: str) -> list[Any]:
        """A list."""
        value = self.raw(key)
        if not isinstance(value, list):
            raise SourceError(f"{self.where}, {key}: wanted a list, got {shown(value)}")
        return value

    def records(self, key: str, what: str) -> Iterator[Record]:
        """The objects of a list; ``what`` is one of them, for messages."""
        for k, value in enumerate(self.entries(key)):
            yield Record(value, f"{self.where}: {what} {k}")

    def text(self, key: str, default: str | None = None) -> str:
        """Text as `name` takes it; of nothing or empty text the default, a number as text."""
        if default is not None and self._values.get(key) in (None, ""):
            return default
        value = self.raw(key)
        if isinstance(value, int | float):
            value = shown(value)
        if not isinstance(value, str):
            raise SourceError(f"{self.where}, {key}: wanted text, got {shown(value)}")
        return name(value, f"{self.where}, {key}")

    def identity(self, key: str) -> int | str:
        """A whole number or text that other objects refer to."""
        value = self.raw(key)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int | str):
            raise SourceError(f"{self.where}, {key}: wanted a number or text, got {shown(value)}")
        return value

    def number(self, key: str) -> float:
        """A number, as `numbers` takes them."""
        (value,) = numbers([self.raw(key)], 1, f"{self.where}, {key}")
        return value

    def numbers(self, key: str, count: int) -> list[float]:
        """As many numbers, as `numbers` takes them."""
        return numbers(self.raw(key), count, f"{self.where}, {key}")

    def rows(self, key: str, count: int) -> list[list[float]]:
        """A list of lists of as many numbers."""
        where = f"{self.where}, {key}"
        return [numbers(row, count, f"{where}[{k}]") for k, row in enumerate(self.entries(key))]

    def whole(self, key: str, bounds: range) -> int:
        """A whole number within bounds."""
        return whole(self.raw(key), f"{self.where}, {key}", bounds)

    def wholes(self, key: str, count: int, bounds: range) -> tuple[int, ...]:
        """A list of as many whole numbers within bounds."""
        values = self.entries(key)
        if len(values) != count:
            raise SourceError(f"{self.where}, {key}: wanted {count} numbers, got {shown(values)}")
        return tuple(whole(value, f"{self.where}, {key}", bounds) for value in values)


def name(value: str, where: str) -> str:
    """Text that names a file or class, on one line: what does not is refused before it is shown."""
    if len(value) > limits.NAME:
        fault = f"at most {limits.NAME} characters, got {len(value)}"
    elif _CONTROL.search(value):
        fault = "a name on one line, without control characters, got"
    else:
        return value
    raise SourceError(f"{where}: wanted {fault}: {shown(value)}")


def numbers(values: Any, count: int, where: str, *, more: bool = False) -> list[float]:
    """As many finite numbers, or their texts; where there may be ``more``, at least as many.

    None is larger than `limits.COORDINATE`.
    """
    row: list[float] = []
    if isinstance(values, list) and (len(values) == count or (more and len(values) > count)):
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            row = [_real(value) for value in values]
    if len(row) < count or not all(map(math.isfinite, row)):
        plural = "1 number" if count == 1 else f"{count} numbers"
        raise SourceError(f"{where}: wanted {plural}, got {shown(values)}")
    if row and max(map(abs, row)) > limits.COORDINATE:
        raise SourceError(
            f"{where}: wanted numbers of at most {limits.COORDINATE}, got {shown(values)}"
        )
    return row


def _real(value: Any) -> float:
    """A number or the text of one; float() alone takes True, "1_0" and digits of other scripts."""
    if isinstance(value, str):
        if not value.isascii() or "_" in value:
            raise ValueError
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)


def whole(value: Any, where: str, bounds: range) -> int:
    """A whole number within bounds, or its digits."""
    found = digits(value) if isinstance(value, str) else value
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, int) or found not in bounds:
        raise SourceError(
            f"{where}: wanted a whole number of {bounds.start} to {bounds.stop - 1}, got "
            f"{shown(value)}"
        )
    return found


def digits(text: str) -> int | None:
    """The number that a text of at most nine decimal digits writes; None if it is none.

    ``str.isdigit`` takes "²" too, which int() does not.
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
