"""Limits on connections to the page: how many, how often, and how long a request may take."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

PENDING = 16  # connections whose token has not been checked yet
PENDING_EACH = 8  # of these, from one address
ADMITTED = 48  # connections with a valid token
ADMITTED_EACH = 16  # of these, from one address: a browser opens six, a proxy more
RATE = 60.0  # requests a second from one address
_REMEMBERED = 256  # addresses whose rate is known


@dataclass
class _Credit:
    """Requests an address may still make."""

    left: float
    since: float


@dataclass
class Connections:
    """Open connections, pending and admitted.

    A connection is pending until its request has been read and its token checked. Pending ones have
    slots of their own, and the oldest is closed to make room for the next, so that clients which
    send a byte now and then lock nobody out. Only admitted ones count towards the other limits.
    """

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _pending: dict[socket.socket, str] = field(default_factory=dict)  # in order of arrival
    _admitted: dict[socket.socket, str] = field(default_factory=dict)
    _rates: dict[str, _Credit] = field(default_factory=dict)

    def arrive(self, connection: socket.socket, address: str) -> None:
        """Add a pending connection; close the oldest one if there are too many."""
        with self._lock:
            self._pending[connection] = address
            same = [other for other, at in self._pending.items() if at == address]
            if len(same) > PENDING_EACH:
                self._close(same[0])
            elif len(self._pending) > PENDING:
                self._close(next(iter(self._pending)))

    def admit(self, connection: socket.socket) -> HTTPStatus:
        """Admit a pending connection; return OK, or the status that refuses it."""
        with self._lock:
            address = self._pending.pop(connection, None)
            if address is None:  # closed to make room
                return HTTPStatus.SERVICE_UNAVAILABLE
            if not self._within_rate(address):
                return HTTPStatus.TOO_MANY_REQUESTS
            if Counter(self._admitted.values())[address] >= ADMITTED_EACH:
                return HTTPStatus.TOO_MANY_REQUESTS
            if len(self._admitted) >= ADMITTED:
                return HTTPStatus.SERVICE_UNAVAILABLE
            self._admitted[connection] = address
            return HTTPStatus.OK

    def leave(self, connection: socket.socket) -> None:
        """Free the slot of a connection."""
        with self._lock:
            self._pending.pop(connection, None)
            self._admitted.pop(connection, None)

    def __len__(self) -> int:
        return len(self._pending) + len(self._admitted)

    def _close(self, connection: socket.socket) -> None:
        del self._pending[connection]
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    def _within_rate(self, address: str) -> bool:
        now = time.monotonic()
        credit = self._rates.pop(address, None) or _Credit(RATE, now)
        credit.left = min(RATE, credit.left + RATE * (now - credit.since))
        credit.since = now
        allowed = credit.left >= 1
        credit.left -= allowed
        self._rates[address] = credit  # at the end: the first one has been idle longest
        if len(self._rates) > _REMEMBERED:
            del self._rates[next(iter(self._rates))]
        return allowed


class Incoming(io.RawIOBase):
    """Raw stream of a connection that times out at a deadline, however slowly bytes arrive."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection
        self.allow(seconds)

    def allow(self, seconds: float) -> None:
        """Set the deadline to this many seconds from now."""
        self._deadline = time.monotonic() + seconds

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Wait for the next bytes; TimeoutError when the time is over."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request takes too long")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)
