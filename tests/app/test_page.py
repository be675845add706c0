"""The page: its server by hand, and in a real browser."""

import base64
import http.client
import io
import json
import os
import random
import socket
import threading
import time
from pathlib import Path

import clips
import pytest
from browser import Browser, chromium
from PIL import Image

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
    monkeypatch.setattr(module, "RATE", 1e9)


def ask(server, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
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


def test_the_rate_is_limited(server, monkeypatch):
    monkeypatch.setattr(module, "RATE", 5.0)
    server._credit = 5.0
    codes = [ask(server, "GET", "/state")[0] for _ in range(12)]
    assert codes[:4] == [200] * 4
    assert 429 in codes


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
    Browser.wait(lambda: server.slots._value > 8)
    assert ask(server, "GET", "/state")[0] == 200
    assert capfd.readouterr() == ("", "")


def test_more_connections_than_places(server, unlimited):
    address = ("127.0.0.1", server.server_address[1])
    idle = [socket.create_connection(address) for _ in range(20)]
    time.sleep(0.2)
    for visitor in idle:
        visitor.close()
    Browser.wait(lambda: server.slots._value > 8)
    assert ask(server, "GET", "/state")[0] == 200


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
