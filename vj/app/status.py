"""What the exit status of the command means."""

from __future__ import annotations

from enum import IntEnum

from vj.errors import (
    CascadeError,
    ImageError,
    NetError,
    ParameterError,
    SinkError,
    SourceError,
    StreamError,
    VJError,
)


class Status(IntEnum):
    """Exit status of ``vj-detect``; part of its interface."""

    DONE = 0  # faces or not
    PARTLY = 1  # some inputs failed, the others are done
    USAGE = 2  # arguments that make no sense
    INPUT = 3  # input missing or unreadable
    MODEL = 4  # cascade or net missing or malformed
    STREAM = 5  # live stream lost
    OUTPUT = 6  # output cannot be written
    NO_FACE = 10  # --fail-if-none: no face in any input
    FACE = 11  # --fail-if-any: a face in some input
    INTERRUPTED = 130  # ctrl-C
    TERMINATED = 143  # SIGTERM


class Terminated(KeyboardInterrupt):
    """SIGTERM, once what was under way is finished."""


_STATUS_OF: dict[type[VJError], Status] = {
    ParameterError: Status.USAGE,
    StreamError: Status.STREAM,
    SourceError: Status.INPUT,
    ImageError: Status.INPUT,
    CascadeError: Status.MODEL,
    NetError: Status.MODEL,
    SinkError: Status.OUTPUT,
}


def status_of(error: VJError) -> Status:
    """The exit status for an error that ends the command."""
    return next((s for kind, s in _STATUS_OF.items() if isinstance(error, kind)), Status.PARTLY)
