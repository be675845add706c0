"""The page: its server by hand, and in a real browser."""

import base64
import contextlib
import http.client
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import clips
import pytest
from browser import Browser, chromium
from PIL import Image

from vj.app.page import connections, preview
from vj.app.page import server as module
from vj.app.page.preview import Settings, Show, Studio
from vj.app.page.server import PageServer
from vj.detect.registry import list_detectors
from vj.errors import SinkError
from vj.io.images import sample_path
from vj.io.video_source import Video

pytest.importorskip("skimage")


def serving(host="127.0.0.1", show=None):
    studio = Studio(Settings("frontalface"), list_detectors())
    server = PageServer(host, 0, studio, None if show is None else Show(studio, show))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


@pytest.fixture(scope="module")
def server():
    with serving() as server:
        yield server
        server.shutdown()


@pytest.fixture
def unlimited(monkeypatch):
    monkeypatch.setattr(connections, "RATE", 1e9)


def ask(server, method, path, body=None, headers=None, source="127.0.0.1"):
    connection = http.client.HTTPConnection(
        "127.0.0.1", server.server_address[1], timeout=60, source_address=(source, 0)
    )
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, data, answer.headers


def test_the_page_and_its_state(server, unlimited):
    status, data, headers = ask(server, "GET", "/")
    assert status == 200
    assert b"<title>vj-detect</title>" in data
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    state = json.loads(ask(server, "GET", "/state")[1])
    assert state["show"] is False
    assert "frontalface" in state["detectors"]
    assert state["settings"]["scale_factor"] == 1.1


def test_a_posted_picture(server, unlimited):
    picture = sample_path().read_bytes()
    status, data, _ = ask(server, "POST", "/detect?min_neighbors=3&heat=1", picture)
    answer = json.loads(data)
    assert status == 200
    assert len(answer["boxes"]) == 1
    assert {"decode", "detect", "heat map"} <= answer["ms"].keys()
    heat = Image.open(io.BytesIO(base64.b64decode(answer["heat"].partition(",")[2])))
    assert heat.size == (512, 512)
    none = json.loads(ask(server, "POST", "/detect?min_size=400", picture)[1])
    assert none["boxes"] == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/detect", b"", 400),
        ("/detect", b"no picture", 400),
        ("/detect?scale_factor=1.0", b"x", 400),
        ("/detect?scale_factor=nan", b"x", 400),
        ("/detect?min_neighbors=1e9", b"x", 400),
        ("/detect?min_size=-1", b"x", 400),
        ("/detect?detector=/etc/passwd", b"x", 400),
        ("/etc/passwd", b"x", 404),
        ("/../../etc/passwd", b"x", 404),
        ("/settings", b"", 404),
    ],
)
def test_bad_requests(server, unlimited, path, body, status):
    code, data, _ = ask(server, "POST", path, body)
    assert code == status
    assert set(json.loads(data)) == {"error"}


def test_sizes_are_limited(server, unlimited):
    wide = io.BytesIO()
    Image.new("1", (8000, 8000)).save(wide, "PNG")
    status, data, _ = ask(server, "POST", "/detect", wide.getvalue())
    assert (status, json.loads(data)["error"]) == (
        400,
        "the picture has more than 12 million pixels",
    )
    status, _, _ = ask(server, "POST", "/detect", b"", {"Content-Length": "9000000"})
    assert status == 413
    status, _, _ = ask(server, "POST", "/detect", iter([b"x"]), {"Transfer-Encoding": "chunked"})
    assert status == 411


@pytest.mark.parametrize("kind", ["EPS", "TIFF", "PDF"])
def test_only_pictures_that_browsers_show(server, unlimited, kind):
    """Others may run programs: Pillow opens EPS by Ghostscript."""
    file = io.BytesIO()
    Image.new("RGB", (40, 40)).save(file, kind)
    status, data, _ = ask(server, "POST", "/detect", file.getvalue())
    assert status == 400
    assert "picture" in json.loads(data)["error"]


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}]
)
def test_other_sites_are_kept_out(server, unlimited, headers):
    assert ask(server, "GET", "/state", headers=headers)[0] == 403


def test_a_token_for_visitors_from_elsewhere(unlimited):
    with serving("0.0.0.0") as server:
        assert server.url.endswith(f"/?token={server.token}")
        assert ask(server, "GET", "/")[0] == 403
        assert ask(server, "GET", "/?token=wrong")[0] == 403
        status, _, headers = ask(server, "GET", f"/?token={server.token}")
        assert status == 200
        cookie = headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert ask(server, "GET", "/state", headers={"Cookie": cookie.split(";")[0]})[0] == 200
        server.shutdown()


def test_the_rate_of_each_address_is_limited(monkeypatch):
    monkeypatch.setattr(connections, "RATE", 5.0)
    with serving() as server:
        codes = [ask(server, "GET", "/state")[0] for _ in range(12)]
        assert codes[:4] == [200] * 4
        assert 429 in codes
        assert ask(server, "GET", "/state", source="127.0.0.2")[0] == 200
        server.shutdown()


def test_a_thousand_bad_requests(server, unlimited, capfd):
    noise = random.Random(0)
    address = ("127.0.0.1", server.server_address[1])
    for i in range(1000):
        with socket.create_connection(address, timeout=5) as visitor:
            lines = [
                noise.randbytes(60),
                b"GET / HTTP/9.9\r\n\r\n",
                b"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
                b"GET " + b"/x" * 40000 + b" HTTP/1.1\r\n\r\n",
                b"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            ]
            try:
                visitor.sendall(lines[i % 5])
                if i % 3:
                    visitor.shutdown(socket.SHUT_WR)
                    visitor.recv(100)
            except OSError:
                continue
    Browser.wait(lambda: len(server.connections) < 8)
    assert ask(server, "GET", "/state")[0] == 200
    assert capfd.readouterr() == ("", "")


def test_more_connections_than_places(server, unlimited):
    address = ("127.0.0.1", server.server_address[1])
    idle = [socket.create_connection(address) for _ in range(20)]
    time.sleep(0.2)
    for visitor in idle:
        visitor.close()
    Browser.wait(lambda: len(server.connections) < 8)
    assert ask(server, "GET", "/state")[0] == 200


# --------------------------------------------------------------- clients without the token


@pytest.fixture
def guarded():
    """A server that wants a token."""
    with serving("0.0.0.0") as server:
        yield server
        server.shutdown()


def connect(server, source="127.0.0.1"):
    address = ("127.0.0.1", server.server_address[1])
    return socket.create_connection(address, timeout=30, source_address=(source, 0))


def answer_to(visitor, data=b""):
    """Status of the answer, None if the connection is closed without one."""
    with contextlib.suppress(ConnectionError):
        if data:
            visitor.sendall(data)
        line = visitor.makefile("rb").readline()
        return int(line.split()[1]) if line else None


@contextlib.contextmanager
def dripping(visitors):
    """Connections on which a byte of a request comes now and then, without an end."""
    over = threading.Event()

    def drip():
        while not over.wait(0.05):
            for visitor in visitors:
                with contextlib.suppress(OSError):
                    visitor.send(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for visitor in visitors:
            visitor.close()


@pytest.mark.parametrize("sources", [["127.0.0.1"], [f"127.0.0.{i}" for i in range(2, 12)]])
def test_connections_that_say_nothing_keep_nobody_out(guarded, sources):
    with dripping([connect(guarded, source) for source in sources * (40 // len(sources))]):
        for _ in range(5):
            assert ask(guarded, "GET", f"/state?token={guarded.token}")[0] == 200
        assert len(guarded.connections) <= connections.PENDING


def test_a_request_has_to_come_in_time_however_slowly(guarded, monkeypatch):
    monkeypatch.setattr(module, "HEAD_SECONDS", 0.5)
    visitor = connect(guarded)
    with dripping([visitor]):  # which would go on for ever
        assert answer_to(visitor, b"GET / HTTP/1.1\r\nX: ") is None


def test_a_body_has_to_come_in_time_too(guarded, monkeypatch):
    monkeypatch.setattr(module, "BODY_SECONDS", 0.5)
    visitor = connect(guarded)
    head = f"POST /detect?token={guarded.token} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999"
    with dripping([visitor]):
        assert answer_to(visitor, head.encode() + b"\r\n\r\n") == 408


def test_clients_without_the_token_use_up_nothing(guarded, monkeypatch):
    monkeypatch.setattr(connections, "RATE", 5.0)
    codes = [ask(guarded, "GET", "/state")[0] for _ in range(30)]
    assert codes == [403] * 30
    assert ask(guarded, "GET", f"/state?token={guarded.token}")[0] == 200


def test_one_address_leaves_slots_for_others(guarded, unlimited):
    head = f"POST /detect?token={guarded.token} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999"
    visitors = []
    for _ in range(connections.ADMITTED_EACH + 1):
        visitors.append(connect(guarded, "127.0.0.2"))
        visitors[-1].sendall(head.encode() + b"\r\n\r\n")
        Browser.wait(
            lambda: (
                len(guarded.connections._admitted) == min(len(visitors), connections.ADMITTED_EACH)
            )
        )
    with dripping(visitors):
        assert answer_to(visitors[-1]) == 429
        assert ask(guarded, "GET", f"/state?token={guarded.token}")[0] == 200


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Host: [::1"], 400),
        (["Host: a b"], 400),
        (["Host: "], 400),
        (["Host: localhost:port"], 400),
        (["Host: localhost", "Host: localhost"], 400),
        ([], 400),
        (["Host: localhost", "Origin: http://[::1"], 403),
        (["Host: localhost", "Content-Length: -5"], 400),
        (["Host: localhost", "Content-Length: many"], 400),
        (["Host: localhost", "Content-Length: 1e3"], 400),
        (["Host: localhost", "Content-Length: +5"], 400),
        (["Host: localhost", "Content-Length: 99999999999999999999999999"], 400),
        (["Host: localhost", "Content-Length: 5", "Content-Length: 6"], 400),
        (["Host: localhost"], 411),
    ],
)
def test_a_malformed_request_gets_an_answer(server, unlimited, lines, status):
    text = "\r\n".join(["POST /detect HTTP/1.1", *lines, "", "body!"])
    with connect(server) as visitor:
        assert answer_to(visitor, text.encode()) == status


@pytest.mark.parametrize("path", ["//[", "//[x]/"])
def test_a_malformed_address_gets_an_answer(server, unlimited, path):
    with connect(server) as visitor:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        assert answer_to(visitor, request.encode()) in (400, 404)


def test_a_malformed_cookie_and_a_short_body_get_an_answer(guarded):
    with connect(guarded) as visitor:
        request = b"GET / HTTP/1.1\r\nHost: x\r\nCookie: a]b=c; token=x\r\n\r\n"
        assert answer_to(visitor, request) in (400, 403)
    with connect(guarded) as visitor:
        head = f"POST /detect?token={guarded.token} HTTP/1.1\r\nHost: x\r\nContent-Length: 99"
        visitor.sendall(head.encode() + b"\r\n\r\nshort")
        visitor.shutdown(socket.SHUT_WR)
        assert answer_to(visitor) == 400


def test_a_picture_refused_before_it_is_read_gets_an_answer(guarded):
    assert ask(guarded, "POST", "/detect", bytes(5_000_000))[0] == 403


# --------------------------------------------------------------------------- work


def test_much_work_is_refused_at_once(server, unlimited):
    file = io.BytesIO()
    Image.effect_noise((4000, 3000), 90).save(file, "JPEG", quality=40)
    assert ask(server, "POST", "/detect?min_size=200&scale_factor=1.01", file.getvalue())[0] == 200
    codes = []

    def post():
        codes.append(ask(server, "POST", "/detect?scale_factor=1.01", file.getvalue())[:2])

    threads = [threading.Thread(target=post) for _ in range(16)]
    for thread in threads:
        thread.start()
    assert ask(server, "GET", "/state", source="127.0.0.2")[0] == 200
    for thread in threads:
        thread.join()
    assert {status for status, _ in codes} <= {400, 429}
    refused = [json.loads(data)["error"] for status, data in codes if status == 400]
    assert refused[0] == (
        "scale factor 1.01 is too much work for a picture of 4000x3000: "
        "raise it, or the smallest face"
    )


def test_a_detection_that_waits_too_long_is_told_so(server, unlimited, monkeypatch):
    monkeypatch.setattr(preview, "_PATIENCE", 0.1)
    with server.studio._lock:
        status, data, _ = ask(server, "POST", "/detect", sample_path().read_bytes())
    assert (status, json.loads(data)["error"]) == (503, "busy with other pictures: try again")


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 0)])
def test_a_signal_ends_the_page_although_a_detection_is_under_way(tmp_path, number, status):
    code = (
        "import signal, sys, time; from concurrent.futures import ThreadPoolExecutor\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # shells may ignore it
        "from vj.app import cli; from vj.detect import registry\n"
        "class Slow:\n"
        "    def detect(self, image):\n"
        "        print('begun', flush=True)\n"
        "        ThreadPoolExecutor(1).submit(time.sleep, 60).result()\n"
        "registry.open_detector = lambda *_, **__: Slow()\n"
        "sys.exit(cli.main())"
    )
    clips.make_clip(tmp_path / "a.mp4", range(0, 400, 40))
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "a.mp4", "--page", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout.readline() == b"begun\n"
        assert process.stderr.readline().startswith(b"open http://127.0.0.1:")
        process.send_signal(number)
        assert process.wait(30) == status  # half of what the detection takes
    finally:
        process.kill()
        process.communicate()


# --------------------------------------------------------------------------- start


def test_an_address_of_ipv6():
    try:
        server = serving("::1")
    except SinkError as exc:
        pytest.skip(f"no IPv6 here: {exc}")
    with server:
        assert server.url == f"http://[::1]:{server.server_address[1]}/"
        connection = http.client.HTTPConnection("::1", server.server_address[1], timeout=60)
        connection.request("GET", "/state")
        assert connection.getresponse().status == 200
        connection.close()
        server.shutdown()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "x" * 300, "256.1.1.1"])
def test_an_address_that_is_none(host):
    with pytest.raises(SinkError, match="cannot listen: "):
        PageServer(host, 0, None)


@pytest.mark.parametrize(
    ("source", "status", "says"),
    [
        ("gone.mp4", 3, "gone.mp4: cannot read: No such file or directory"),
        ("gone.jpg", 3, "gone.jpg: cannot read: No such file or directory"),
        ("camera:nobody", 3, "camera:nobody: no such camera; there are"),
        ("text.mp4", 3, "text.mp4: cannot read: Invalid data found"),
        ("http://127.0.0.1:1/x", 3, "http://127.0.0.1:1/x: cannot read: Connection refused"),
    ],
)
def test_what_is_not_there_is_said_at_once(command, photos, source, status, says):
    (photos / "text.mp4").write_text("no video")
    done = command(source, "--page", 0)
    assert (done.status, done.err.startswith(f"vj-detect: {says}")) == (status, True), done.err
    assert done.err.count("\n") == 1


def test_a_port_that_is_taken(server):
    with pytest.raises(SinkError, match="cannot listen: Address already in use"):
        PageServer("127.0.0.1", server.server_address[1], server.studio)


def test_the_command_refuses_pictures(command, photos):
    done = command("in", "--page", 0)
    assert done.status == 2
    assert "--page watches one video, camera or stream" in done.err


def test_untouched_sliders_leave_the_detector_as_it_is(astronaut):
    import vj

    studio = Studio(Settings("frontalface"), list_detectors())
    found = studio._detector(studio.default).detect(astronaut)
    assert found.confidence is not None  # the scoring of the card
    assert found.xyxy.tolist() == vj.detect(astronaut, "frontalface").xyxy.tolist()
    counted = studio._detector(Settings("frontalface", min_neighbors=2)).detect(astronaut)
    assert counted.confidence is None


def test_a_clip_is_shown_until_it_is_stopped(tmp_path, unlimited):
    path = clips.make_clip(tmp_path / "a.mp4", range(0, 400, 40))
    with serving(show=Video("a.mp4", path, path)) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
        connection.request("GET", "/live.mjpg")
        answer = connection.getresponse()
        assert answer.headers["Content-Type"].startswith("multipart/x-mixed-replace")
        data = b""
        while data.count(b"--frame") < 25:  # more than the clip has: it is shown again
            data += answer.read1(65536)
        view = data.split(b"\r\n\r\n", 2)[1].split(b"\r\n--frame")[0]
        assert Image.open(io.BytesIO(view)).size == (128, 72)
        changed = json.loads(ask(server, "POST", "/settings?min_neighbors=7", b"")[1])
        assert changed["min_neighbors"] == 7
        assert server.show.settings.min_neighbors == 7
        server.shutdown()
    assert not [thread for thread in threading.enumerate() if thread.name == "page"]
    answer.read()  # to its end, which has come
    connection.close()


# --------------------------------------------------------------------------- in a browser


@pytest.mark.skipif(chromium() is None, reason="needs chromium")
def test_in_a_browser(tmp_path, unlimited):
    path = clips.make_clip(tmp_path / "a.mp4", range(0, 2000, 40))
    shots = Path(os.environ.get("VJ_SCREENSHOTS", tmp_path))
    with serving(show=Video("a.mp4", path, path)) as server:
        browser = Browser(tmp_path / "profile", server.url)
        try:
            browser.until("document.body && document.body.dataset.ready")
            browser.until("document.getElementById('live').naturalWidth === 128")
            browser.until("document.getElementById('times').rows.length >= 4")
            browser.screenshot(shots / "live.png")

            browser.upload("#file", sample_path())
            browser.until("canvas.dataset.faces === '1'")
            assert browser.run("canvas.width") == 512
            browser.screenshot(shots / "picture.png")
            slide = "(form.elements.{}.value = {}, form.dispatchEvent(new Event('input')), 1)"
            browser.run(slide.format("min_size", 300))
            browser.until("canvas.dataset.faces === '0'")
            browser.run(slide.format("min_size", 0))
            browser.until("canvas.dataset.faces === '1'")
            browser.run("($('heat').checked = true, form.dispatchEvent(new Event('input')), 1)")
            browser.until("canvas.dataset.heat === '1'")
            browser.screenshot(shots / "heat.png")

            browser.run("($('heat').checked = false, $('camera').click(), 1)")
            browser.until(
                "mode === 'camera' && canvas.width === 640 && canvas.dataset.heat === '0'"
            )
            browser.screenshot(shots / "camera.png")
            browser.run("($('show').click(), 1)")
            browser.until("!live.hidden && live.naturalWidth === 128")
            assert browser.errors == []
            assert browser.run("$('error').textContent") == ""
        finally:
            browser.close()
            server.shutdown()
