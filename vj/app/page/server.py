"""The server behind the page: few addresses, strict limits, no files."""

from __future__ import annotations

import hmac
import io
import json
import re
import secrets
import socket
import socketserver
from collections.abc import Callable
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from vj.app.page.connections import Connections, Incoming
from vj.app.page.preview import Busy, Show, Studio
from vj.errors import SinkError, VJError

MAX_BODY = 8_000_000  # bytes of a posted picture
HEAD_SECONDS = 5.0  # in which all of a request but its body has to come
BODY_SECONDS = 5.0  # in which the body has to come, and one more for each
_SLOWEST = 100_000  # bytes of it
_ANSWER_SECONDS = 15.0  # in which a visitor takes an answer, or a frame
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+(%[\w.-]+)?\]|[\w.-]+)(:\d{1,5})?", re.ASCII)
_MARK = "frame"
_POLICY = "default-src 'self'; img-src 'self' data: blob:; style-src 'unsafe-inline'; "
_POLICY += "script-src 'unsafe-inline'; media-src 'self' blob:; frame-ancestors 'none'"


class _Refused(Exception):
    """A request that is answered with a status and a line."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


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
        self.connections = Connections()
        self._host = host
        try:
            found = {entry[0] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
            # "localhost" is both, and browsers try both.
            self.address_family = min(found, key=lambda family: family != socket.AF_INET)
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError, UnicodeError) as exc:
            reason = getattr(exc, "strerror", None) or exc
            raise SinkError(f"--page {host}:{port}: cannot listen: {reason}") from exc

    def server_bind(self) -> None:
        """Bind, without asking a name server what this machine is called."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self._host, self.server_address[1]

    @property
    def url(self) -> str:
        """What to type into a browser."""
        secret = f"?token={self.token}" if self.token else ""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.server_address[1]}/{secret}"

    def server_close(self) -> None:
        """Stop listening and watching."""
        super().server_close()
        if self.show is not None:
            self.show.close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the connection a place, and a thread."""
        self.connections.arrive(request, client_address[0])
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.connections.leave(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: visitors hang up whenever they like."""


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    server_version, sys_version = "vj-detect", ""

    def setup(self) -> None:
        """Read from the connection, until the time for a request is over."""
        super().setup()
        self._incoming = Incoming(self.connection, HEAD_SECONDS)
        self.rfile = io.BufferedReader(self._incoming)

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        """Serve the page and what it shows."""
        self._answered(self._get)

    def do_POST(self) -> None:
        """Detect in a posted picture, or change the settings of what is watched."""
        self._answered(self._post)

    def _answered(self, work: Callable[[str], None]) -> None:
        """Do what is asked, or answer why not."""
        try:
            work(self._admitted())
        except _Refused as exc:
            self._json(exc.status, {"error": str(exc)})
            self._drain()
        except Busy as exc:
            self._json(HTTPStatus.SERVICE_UNAVAILABLE, {"error": str(exc)})
        except (VJError, MemoryError) as exc:
            text = str(exc) or "too large for the memory"
            self._json(HTTPStatus.BAD_REQUEST, {"error": text})

    def _get(self, path: str) -> None:
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
        else:
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such page")

    def _post(self, path: str) -> None:
        body = self._body()
        query = dict(parse_qsl(urlsplit(self.path).query))
        if path == "/detect":
            self._json(HTTPStatus.OK, self.server.studio.look(body, query))
        elif path == "/settings" and self.server.show is not None:
            show = self.server.show
            show.settings = show.settings.changed(query, self.server.studio.names)
            self._json(HTTPStatus.OK, vars(show.settings))
        else:
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such page")

    def _names(self) -> Any:
        return self.server.studio.names.items()

    def _admitted(self) -> str:
        """The path of the request, if whoever asks may come in."""
        try:
            url = urlsplit(self.path)
        except ValueError:
            raise _Refused(HTTPStatus.BAD_REQUEST, "malformed address") from None
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
            raise _Refused(HTTPStatus.BAD_REQUEST, "one Host is wanted: NAME or NAME:PORT")
        origin = self.headers.get("Origin", f"http://{hosts[0]}")
        if origin.partition("//")[2] != hosts[0] or not self._knows_token(url.query, hosts[0]):
            raise _Refused(HTTPStatus.FORBIDDEN, "wrong token or address")
        status = self.server.connections.admit(self.connection)
        if status != HTTPStatus.OK:
            raise _Refused(status, "too many requests")
        return url.path

    def _knows_token(self, query: str, host: str) -> bool:
        token = self.server.token
        if token is None:
            # A page from elsewhere may be sent here under a name of its own (DNS rebinding).
            return urlsplit(f"//{host}").hostname in _LOOPBACK
        given = dict(parse_qsl(query)).get("token")
        if given is None:
            try:
                cookie = SimpleCookie(self.headers.get("Cookie", "")).get("token")
            except CookieError:
                raise _Refused(HTTPStatus.BAD_REQUEST, "malformed Cookie") from None
            given = cookie.value if cookie else ""
        return hmac.compare_digest(given.encode(), token.encode())

    def _body(self) -> bytes:
        lengths = set(self.headers.get_all("Content-Length", []))
        if not lengths:
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "Content-Length is missing")
        length = lengths.pop()
        if lengths or not re.fullmatch("[0-9]{1,18}", length):
            raise _Refused(HTTPStatus.BAD_REQUEST, "Content-Length is no number of bytes")
        if int(length) > MAX_BODY:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "more than 8 MB")
        self._incoming.allow(BODY_SECONDS + int(length) / _SLOWEST)
        try:
            body = self.rfile.read(int(length))
        except TimeoutError:
            raise _Refused(HTTPStatus.REQUEST_TIMEOUT, "the picture takes too long") from None
        if len(body) < int(length):
            raise _Refused(HTTPStatus.BAD_REQUEST, "shorter than its Content-Length")
        return body

    def _drain(self) -> None:
        """Read on for a moment: closing a connection with something unread loses the answer."""
        self.connection.shutdown(socket.SHUT_WR)
        self._incoming.allow(1.0)
        for _ in range(MAX_BODY // 65536):
            if not self.rfile.read1(65536):
                break

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
        self.connection.settimeout(_ANSWER_SECONDS)
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
