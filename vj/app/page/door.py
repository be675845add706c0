"""Who may ask the page, how often, and how long it takes them to say what they want."""

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

STRANGERS = 16  # connections that have not said yet who they are
STRANGERS_EACH = 8  # of these, from one address
GUESTS = 48  # connections of those who may be here
GUESTS_EACH = 16  # of these, from one address: a browser opens six, a proxy more
RATE = 60.0  # requests a second from one address
_REMEMBERED = 256  # addresses whose rate is known


@dataclass
class _Credit:
    """Requests that an address has left."""

    left: float
    since: float


@dataclass
class Door:
    """Connections by what is known of them.

    Whoever connects is a stranger until the request is read and its token is checked. Strangers
    have places of their own, and the one that has been waiting longest makes room for the next: who
    sends a byte now and then keeps nobody out. Only guests use up places of guests and a rate.
    """

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _strangers: dict[socket.socket, str] = field(default_factory=dict)  # in order of arrival
    _guests: dict[socket.socket, str] = field(default_factory=dict)
    _rates: dict[str, _Credit] = field(default_factory=dict)

    def arrive(self, connection: socket.socket, address: str) -> None:
        """Give a connection a stranger's place."""
        with self._lock:
            self._strangers[connection] = address
            same = [other for other, at in self._strangers.items() if at == address]
            if len(same) > STRANGERS_EACH:
                self._send_away(same[0])
            elif len(self._strangers) > STRANGERS:
                self._send_away(next(iter(self._strangers)))

    def admit(self, connection: socket.socket) -> HTTPStatus:
        """Make a stranger a guest; OK, or why that cannot be."""
        with self._lock:
            address = self._strangers.pop(connection, None)
            if address is None:  # it had to make room
                return HTTPStatus.SERVICE_UNAVAILABLE
            if not self._may_ask(address):
                return HTTPStatus.TOO_MANY_REQUESTS
            if Counter(self._guests.values())[address] >= GUESTS_EACH:
                return HTTPStatus.TOO_MANY_REQUESTS
            if len(self._guests) >= GUESTS:
                return HTTPStatus.SERVICE_UNAVAILABLE
            self._guests[connection] = address
            return HTTPStatus.OK

    def leave(self, connection: socket.socket) -> None:
        """Free the place of a connection."""
        with self._lock:
            self._strangers.pop(connection, None)
            self._guests.pop(connection, None)

    def __len__(self) -> int:
        return len(self._strangers) + len(self._guests)

    def _send_away(self, connection: socket.socket) -> None:
        del self._strangers[connection]
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    def _may_ask(self, address: str) -> bool:
        now = time.monotonic()
        credit = self._rates.pop(address, None) or _Credit(RATE, now)
        credit.left = min(RATE, credit.left + RATE * (now - credit.since))
        credit.since = now
        allowed = credit.left >= 1
        credit.left -= allowed
        self._rates[address] = credit  # at the end: the first one has been silent longest
        if len(self._rates) > _REMEMBERED:
            del self._rates[next(iter(self._rates))]
        return allowed


class Incoming(io.RawIOBase):
    """What a connection sends until a deadline, however slowly it comes."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection
        self.allow(seconds)

    def allow(self, seconds: float) -> None:
        """So many seconds from now on."""
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
