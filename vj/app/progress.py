"""Talking to the person at the terminal: lines, a bar, and nothing of it among the data."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, BinaryIO, TextIO

from vj.errors import SinkError


class Talk(IntEnum):
    """How much the command says."""

    QUIET = 0  # errors
    NORMAL = 1
    VERBOSE = 2


class ClosedPipe(SinkError):
    """The reader of standard output has gone, as ``head`` does; no cause for a message."""


@dataclass
class Console:
    """Where a command reads and writes: the process's streams, or buffers in a test.

    Data goes to ``stdout``, talk to ``stderr``.
    """

    stdin: BinaryIO
    stdout: BinaryIO
    stderr: TextIO
    interactive: bool = False  # stderr is a terminal
    talk: Talk = Talk.NORMAL
    _bar: Any = field(default=None, repr=False)

    @classmethod
    def of_process(cls) -> Console:
        """The streams of this process; one that is closed fails when it is used."""
        stderr = sys.stderr or io.StringIO()
        return cls(
            stdin=sys.stdin.buffer if sys.stdin else _closed(),
            stdout=sys.stdout.buffer if sys.stdout else _closed(),
            stderr=stderr,
            interactive=stderr.isatty(),
        )

    def set_talk(self, talk: Talk) -> None:
        """Say so much from now on, and let the library log no more than that."""
        self.talk = talk
        level = logging.ERROR if talk == Talk.QUIET else logging.NOTSET
        logging.getLogger("vj").setLevel(level)

    def error(self, text: str) -> None:
        """Say what went wrong, in one line, even if told to be quiet."""
        self._write(f"vj-detect: {text}")

    def say(self, text: str) -> None:
        """Say something to whoever wants to hear it."""
        if self.talk >= Talk.NORMAL:
            self._write(text)

    def detail(self, text: str) -> None:
        """Say something to those who asked for more."""
        if self.talk >= Talk.VERBOSE:
            self._write(text)

    def write(self, data: bytes) -> None:
        """Write data to standard output at once.

        Raises
        ------
        ClosedPipe
            Nobody reads any more.
        SinkError
            Otherwise not written: a full disk behind a redirection.
        """
        try:
            with self._cleared():
                self.stdout.write(data)
                self.stdout.flush()
        except BrokenPipeError as exc:
            raise ClosedPipe("standard output is closed") from exc
        except (OSError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or exc
            raise SinkError(f"standard output: cannot write: {reason}") from exc

    @contextlib.contextmanager
    def bar(self, total: int | None, unit: str) -> Iterator[Any]:
        """A function that moves the bar by one; the bar shows on a terminal only.

        A total of None is not known; one of 1 needs no bar.
        """
        few = total is not None and total < 2
        if not self.interactive or self.talk < Talk.NORMAL or few:
            yield lambda: None
            return
        from tqdm import tqdm

        self._bar = tqdm(total=total, unit=unit, file=self.stderr, leave=False, dynamic_ncols=True)
        with self._bar:
            yield self._bar.update
        self._bar = None

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError), self._cleared():
            self.stderr.write(text + "\n")
            self.stderr.flush()

    def _cleared(self) -> contextlib.AbstractContextManager[None]:
        """The bar out of the way while a line is written."""
        if self._bar is None:
            return contextlib.nullcontext()
        return self._bar.external_write_mode(file=self.stderr)  # type: ignore[no-any-return]


def _closed() -> BinaryIO:
    """A stream that the process was started without."""
    stream = io.BytesIO()
    stream.close()
    return stream


def abandon_stdout() -> None:
    """Give up what could not be written, which Python would try, and complain about, at exit."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
