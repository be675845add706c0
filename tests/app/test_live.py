"""Streams on this machine: a server that is killed in mid-stream, devices that libav makes up."""

import contextlib
import http.server
import io
import itertools
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import clips
import pytest
from rtsp import Rtsp

from vj.errors import SourceError, StreamError
from vj.io import live
from vj.io.live import Live, live_input
from vj.io.source import find_inputs
from vj.io.video_source import Span


class Broadcast:
    """Sends a clip again and again, slowly, until it is killed in mid-stream, or so far at most."""

    def __init__(self, data, port=0, pause=0.01, most=None):
        connections = self.connections = []
        stop, kill = threading.Event(), self.kill
        self.stop = stop

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                connections.append(self.connection)
                self.send_response(200)
                self.send_header("Content-Type", "video/mp2t")
                self.end_headers()
                for at in range(0, len(data), 1880):
                    if stop.wait(pause):
                        return
                    if most is not None and at >= most:
                        threading.Thread(target=kill).start()
                        return
                    try:
                        self.wfile.write(data[at : at + 1880])
                    except OSError:
                        return

            def log_message(self, *_):
                pass

        http.server.ThreadingHTTPServer.allow_reuse_address = True
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/live.ts"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def kill(self):
        self.stop.set()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def data(tmp_path):
    path = clips.make_clip(
        tmp_path / "a.ts", range(0, 8000, 40), pix_fmt="yuv420p", options={}, speed=2
    )
    return path.read_bytes()


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(live, "BACK_OFF", (0.05, 0.1, 0.2))


def wanted(frames):
    return (frame for frame in frames if frame is not None)


def since(server, frames, count):
    """Frames that were still on their way, and so many after this server has a connection."""
    on_their_way = itertools.takewhile(lambda _: not server.connections, frames)
    return [*on_their_way, *itertools.islice(frames, count)]


def test_a_connection_that_is_lost_is_taken_up_again(data, fast):
    server = Broadcast(data)
    frames = wanted(live_input(server.url).frames())
    for _ in range(5):
        next(frames)
    server.kill()
    again = Broadcast(data, server.port)
    last = since(again, frames, 30)
    assert len(again.connections) == 1
    assert last[-1].image.shape == (72, 128, 3)
    assert all(a.time < b.time for a, b in itertools.pairwise(last))
    frames.close()
    again.kill()


def test_a_stream_that_stays_away_is_given_up_with_status_5(command, data, fast, tmp_path):
    server = Broadcast(data, most=len(data) // 2)
    started = time.monotonic()
    done = command(server.url, "-o", tmp_path / "out.mp4", "--track", "--hold", 2)
    assert time.monotonic() - started < 20
    assert done.status == 5
    assert f"vj-detect: {server.url}: lost, and not back after 3 tries\n" in done.err
    assert 3 < len(clips.times_of(tmp_path / "out.mp4")) < 200


@pytest.fixture
def film(tmp_path):
    """A clip as a camera sends it, with pictures too large for one packet."""
    return clips.make_clip(
        tmp_path / "a.h264", range(0, 2000, 40), size=(320, 240), pix_fmt="yuv420p", noise=True,
        container="h264",
    )  # fmt: skip


def test_an_rtsp_camera_that_goes_away_and_comes_back(film, fast):
    server = Rtsp(film)
    assert max(len(unit) for picture in server.pictures for unit in picture) > 10_000
    said = []
    frames = wanted(replace(live_input(server.url), say=said.append).frames())
    first = [next(frames) for _ in range(5)]
    assert first[0].image.shape == (240, 320, 3)
    assert [word for word, _ in server.said] == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]
    assert "RTP/AVP/TCP" in server.said[2][1]["Transport"]
    server.kill()
    again = Rtsp(film, server.port)
    last = since(again, frames, 20)
    assert again.connections
    assert said[0] == f"{server.url}: lost, trying again in 0.05 s"
    assert said[-1] == f"{server.url}: back"
    assert all(a.time < b.time for a, b in itertools.pairwise([*first, *last]))
    expected = clips.images_of(film)
    assert min(int((last[-1].image != image).sum()) for image in expected) == 0
    frames.close()
    again.kill()


def test_an_rtsp_camera_is_written_and_given_up(command, film, fast, tmp_path):
    server = Rtsp(film, most=30)
    done = command(server.url, "-o", tmp_path / "out.mp4")
    assert done.status == 5
    pauses = [f"{server.url}: lost, trying again in {pause} s" for pause in (0.05, 0.1, 0.2)]
    lost = f"vj-detect: {server.url}: lost, and not back after 3 tries"
    assert done.err.splitlines()[:4] == [*pauses, lost]
    assert 3 < len(clips.times_of(tmp_path / "out.mp4")) <= 30


def test_the_latest_frame_wins(data):
    server = Broadcast(data, pause=0.001)
    slow = []
    for frame in wanted(live_input(server.url).frames()):
        slow.append(frame)
        time.sleep(0.15)
        if len(slow) == 6:
            break
    server.kill()
    left = [int((frame.image[..., 0] > 180).any(axis=0).argmax()) for frame in slow]
    assert max(b - a for a, b in itertools.pairwise(left)) > 3  # frames were left out


def test_a_file_elsewhere_comes_whole_and_ends(command, tmp_path):
    path = clips.make_clip(
        tmp_path / "a.mp4", range(0, 2000, 40), options={"movflags": "faststart"}
    )

    class Files(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/{path.name}"
    done = command(url, "-o", tmp_path / "out.mp4")
    server.shutdown()
    server.server_close()
    assert done.status == 0
    assert done.err.startswith("50 faces in 50 frames")


def test_nobody_at_the_port(command, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    for scheme in ("http", "rtsp"):
        url = f"{scheme}://127.0.0.1:{port}/x"
        done = command(url, "-o", tmp_path / "out.mp4")
        assert done.status == 3
        assert done.err == f"vj-detect: {url}: cannot read: Connection refused\n"
    assert not list(tmp_path.iterdir())


def test_a_scheme_nobody_knows(command):
    done = command("gopher1://x/y")
    assert done.status == 3
    assert "cannot read: Protocol not found" in done.err


def test_a_made_up_camera():
    camera = Live(
        "camera:0",
        "testsrc=size=64x48:rate=20,realtime",
        Path("camera"),
        Span(max_frames=8),
        options={"format": "lavfi"},
    )
    frames = list(wanted(camera.frames()))
    assert [frame.index for frame in frames] == list(range(8))
    assert frames[0].image.shape == (48, 64, 3)
    assert frames[0].time == 0
    assert 0.15 < frames[-1].time < 3
    assert camera.path is None


def test_cameras_by_number_and_name(monkeypatch):
    there = {"/dev/video0": "HD Webcam C920", "/dev/video2": "Capture"}
    monkeypatch.setattr(live, "cameras", lambda: there)
    for spec, source in [
        ("camera:0", "/dev/video0"),
        ("camera:1", "/dev/video2"),
        ("camera:c920", "/dev/video0"),
        ('camera:"Capture"', "/dev/video2"),
        ("camera:/dev/video2", "/dev/video2"),
    ]:
        assert live_input(spec).source == source
    with pytest.raises(SourceError, match=r"camera:7: no such camera; there are 0: HD Webcam C920"):
        live_input("camera:7")
    (item,) = find_inputs(["camera:7"], io.BytesIO())
    with pytest.raises(SourceError, match="no such camera"):
        item.frames()


def test_the_list_of_cameras(command, monkeypatch):
    monkeypatch.setattr(live, "cameras", lambda: {"/dev/video0": "C920"})
    assert command("--list-cameras").out == "camera:0  /dev/video0  C920\n"
    monkeypatch.setattr(live, "cameras", dict)
    assert command("--list-cameras").out == "no camera\n"


def test_no_password_in_messages():
    item = live_input("rtsp://me:secret@host:554/x")
    assert item.name == "rtsp://host:554/x"
    assert item.source == "rtsp://me:secret@host:554/x"


def test_mjpeg_on_standard_input(command, tmp_path):
    path = clips.make_clip(
        tmp_path / "a.mjpeg",
        range(0, 400, 40),
        codec="mjpeg",
        pix_fmt="yuvj444p",
        container="mjpeg",
    )
    done = command(
        "-",
        "--stdin-format",
        "mjpeg",
        "-o",
        tmp_path / "out.mp4",
        "--track",
        stdin=path.read_bytes(),
    )
    assert done.status == 0
    assert done.err.startswith("10 faces in 10 frames")
    assert len(clips.times_of(tmp_path / "out.mp4")) == 10
    done = command("-", "--stdin-format", "nonsense", stdin=b"x")
    assert done.status == 3


def test_smoothing_needs_a_file(command, data):
    server = Broadcast(data)
    done = command(server.url, "--smooth")
    server.kill()
    assert done.status == 2
    assert "--smooth reads twice" in done.err


def test_a_lost_stream_is_a_source_error():
    assert issubclass(StreamError, SourceError)
