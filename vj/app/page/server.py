"""The server behind the page: few addresses, strict limits, no files."""

from __future__ import annotations

import hmac
import json
import secrets
import threading
import time
from http import HTTPStatus
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from vj.app.page.preview import Show, Studio
from vj.errors import SinkError, VJError

MAX_BODY = 8_000_000  # bytes of a posted picture
RATE = 60.0  # requests a second, of all visitors together
_AT_ONCE = 16  # connections
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_MARK = "frame"
_POLICY = "default-src 'self'; img-src 'self' data: blob:; style-src 'unsafe-inline'; "
_POLICY += "script-src 'unsafe-inline'; media-src 'self' blob:; frame-ancestors 'none'"


class PageServer(ThreadingHTTPServer):
    """Serve the page of a studio.

    Parameters
    ----------
    host, port : str, int
        Where to listen; from beyond this machine only who knows the token is let in.
    studio : Studio
    show : Show, optional
        What is watched.

    Raises
    ------
    SinkError
        The port is taken, or the address is not of this machine.
    """

    daemon_threads = True
    request_queue_size = 32

    def __init__(self, host: str, port: int, studio: Studio, show: Show | None = None) -> None:
        self.studio, self.show = studio, show
        self.token = None if host in _LOOPBACK else secrets.token_urlsafe(16)
        self.slots = threading.BoundedSemaphore(_AT_ONCE)
        self._lock, self._credit, self._last = threading.Lock(), RATE, time.monotonic()
        self._host = host
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as exc:
            reason = getattr(exc, "strerror", None) or exc
            raise SinkError(f"--page {host}:{port}: cannot listen: {reason}") from exc

    @property
    def url(self) -> str:
        """What to type into a browser."""
        secret = f"?token={self.token}" if self.token else ""
        return f"http://{self._host}:{self.server_address[1]}/{secret}"

    def server_close(self) -> None:
        """Stop listening and watching."""
        super().server_close()
        if self.show is not None:
            self.show.close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Turn away whoever comes when all places are taken."""
        if not self.slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: visitors hang up whenever they like."""

    def may_ask(self) -> bool:
        """Whether the rate allows one more request."""
        with self._lock:
            now = time.monotonic()
            self._credit = min(RATE, self._credit + RATE * (now - self._last))
            self._last = now
            allowed = self._credit >= 1
            self._credit -= allowed
            return allowed


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    server_version, sys_version = "vj-detect", ""
    timeout = 15

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        """Serve the page and what it shows."""
        path = self._admitted()
        if path == "/":
            page = files("vj.app.page").joinpath("page.html").read_bytes()
            self._answer(HTTPStatus.OK, page, "text/html; charset=utf-8")
        elif path == "/state":
            show = self.server.show
            names = {**dict.fromkeys([self.server.studio.default.detector]), **dict(self._names())}
            state: dict[str, Any] = {"detectors": list(names), "show": show is not None}
            state |= {} if show is None else {"ms": show.ms, "trouble": show.trouble}
            state |= {"settings": vars(show.settings if show else self.server.studio.default)}
            self._json(HTTPStatus.OK, state)
        elif path == "/live.mjpg" and self.server.show is not None:
            self._stream(self.server.show)
        elif path is not None:
            self._json(HTTPStatus.NOT_FOUND, {"error": "there is no such page"})

    def do_POST(self) -> None:
        """Detect in a posted picture, or change the settings of what is watched."""
        path = self._admitted()
        if path is None:
            return
        body = self._body()
        if body is None:
            return
        query = dict(parse_qsl(urlsplit(self.path).query))
        try:
            if path == "/detect":
                self._json(HTTPStatus.OK, self.server.studio.look(body, query))
            elif path == "/settings" and self.server.show is not None:
                show = self.server.show
                show.settings = show.settings.changed(query, self.server.studio.names)
                self._json(HTTPStatus.OK, vars(show.settings))
            else:
                self._json(HTTPStatus.NOT_FOUND, {"error": "there is no such page"})
        except (VJError, MemoryError) as exc:
            text = str(exc) or "too large for the memory"
            self._json(HTTPStatus.BAD_REQUEST, {"error": text})

    def _names(self) -> Any:
        return self.server.studio.names.items()

    def _admitted(self) -> str | None:
        """The path of the request, or None if it is refused, which is answered then."""
        url = urlsplit(self.path)
        if not self.server.may_ask():
            self._json(HTTPStatus.TOO_MANY_REQUESTS, {"error": "too many requests"})
            return None
        token, host = self.server.token, self.headers.get("Host", "")
        if token is None:
            # A page from elsewhere may be sent here under a name of its own (DNS rebinding).
            good = (urlsplit(f"//{host}").hostname or "") in _LOOPBACK
        else:
            cookie = SimpleCookie(self.headers.get("Cookie", "")).get("token")
            given = dict(parse_qsl(url.query)).get("token") or (cookie.value if cookie else "")
            good = hmac.compare_digest(given.encode(), token.encode())
        origin = self.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != host:
            good = False
        if not good:
            self._json(HTTPStatus.FORBIDDEN, {"error": "wrong token or address"})
            return None
        return url.path

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self._json(HTTPStatus.LENGTH_REQUIRED, {"error": "Content-Length is missing"})
        elif int(length) > MAX_BODY:
            self._json(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": "more than 8 MB"})
        else:
            return self.rfile.read(int(length))
        return None

    def _stream(self, show: Show) -> None:
        self._head(HTTPStatus.OK, f"multipart/x-mixed-replace; boundary={_MARK}")
        for view in show.views():
            head = f"--{_MARK}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(view)}\r\n\r\n"
            self.wfile.write(head.encode() + view + b"\r\n")

    def _json(self, status: HTTPStatus, value: dict[str, Any]) -> None:
        self._answer(status, json.dumps(value).encode(), "application/json")

    def _answer(self, status: HTTPStatus, data: bytes, kind: str) -> None:
        self._head(status, kind, len(data))
        self.wfile.write(data)

    def _head(self, status: HTTPStatus, kind: str, length: int | None = None) -> None:
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        if self.server.token and status == HTTPStatus.OK:
            cookie = f"token={self.server.token}; HttpOnly; SameSite=Strict"
            self.send_header("Set-Cookie", cookie)
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Content-Security-Policy", _POLICY)
        self.end_headers()
