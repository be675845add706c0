"""What can go wrong, as exceptions: one line each: what, wanted, got, remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class VJError(Exception):
    """Base of every error that this package raises on purpose."""


class ParameterError(VJError, ValueError):
    """An argument has a value that makes no sense; the message names it."""


class OptionError(ParameterError):
    """An option that a detector does not have: its name, and those that there are."""

    def __init__(self, message: str, option: str, known: Sequence[str]) -> None:
        super().__init__(message)
        self.option, self.known = option, tuple(known)

    def __reduce__(self) -> tuple[Any, ...]:
        return OptionError, (str(self), self.option, self.known)


class ImageError(VJError, ValueError):
    """An image or array that cannot be used: shape, dtype, size, or a file that does not decode."""


class CascadeError(VJError, ValueError):
    """A cascade file or model that is malformed or not supported."""


class NetError(VJError, ValueError):
    """A network file or graph that is malformed or not supported."""


class SourceError(VJError):
    """An input that is missing or cannot be read."""


class StreamError(SourceError):
    """A live stream that is lost and does not come back."""


class SinkError(VJError):
    """An output that cannot be written."""


class TrainingError(VJError):
    """A training that cannot start or go on; the message says what data would help."""
