import io
import itertools
from fractions import Fraction
from pathlib import Path

import av
import clips
import numpy as np
import pytest

import vj
from vj.errors import SourceError
from vj.io.source import find_inputs
from vj.io.video_source import Span, Video, decoded


def video(path, **span):
    return Video(str(path), path, path, Span(**span))


def faces(frames):
    """Left edge of the red face in each image."""
    return [int(np.flatnonzero((f.image[..., 0] > 180).any(axis=0))[0]) for f in frames]


def test_every_frame_in_order_with_its_time(tmp_path):
    times = list(itertools.accumulate([0] + [50, 20] * 12))
    path = clips.make_clip(tmp_path / "a.mp4", times)
    frames = list(video(path).frames())
    assert [f.index for f in frames] == list(range(25))
    assert [f.time for f in frames] == [Fraction(t, 1000) for t in times]
    assert faces(frames) == [clips.face_at(i, (128, 72))[0] for i in range(25)]
    assert video(path).length() == 25


@pytest.mark.parametrize("turn", [90, -90, 180])
def test_rotation_is_that_of_opencv(tmp_path, turn):
    cv2 = pytest.importorskip("cv2")
    path = clips.make_clip(tmp_path / "a.mp4", [0, 40], rotation=turn)
    ok, expected = cv2.VideoCapture(str(path)).read()
    assert ok
    frame = next(video(path).frames())
    assert frame.image.shape == expected.shape
    assert np.abs(frame.image.astype(int) - expected[..., ::-1]).max() <= 2
    assert frame.raw is None


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "shape"),
    [
        ("ffv1", "gray", (72, 128)),
        ("ffv1", "gray10le", (72, 128)),
        ("libx264", "yuv420p10le", (72, 128, 3)),
        ("ffv1", "bgr0", (72, 128, 3)),
        ("mpeg4", "yuv420p", (71, 127, 3)),
    ],
)
def test_gray_ten_bits_and_odd_sizes(tmp_path, codec, pix_fmt, shape):
    path = clips.make_clip(
        tmp_path / "a.mkv", [0, 40], (shape[1], shape[0]), codec=codec, pix_fmt=pix_fmt
    )
    frames = list(video(path).frames())
    assert [f.image.shape for f in frames] == [shape] * 2
    assert all(f.image.dtype == np.uint8 for f in frames)
    assert 100 < np.median(frames[0].image) < 120


def test_span(tmp_path):
    path = clips.make_clip(tmp_path / "a.mp4", range(0, 4000, 40), options={}, audio="aac")
    all_of_it = list(video(path).frames())
    part = list(video(path, start=1, duration=0.5).frames())
    assert [f.time for f in part] == [f.time for f in all_of_it if 1 <= f.time < 1.5]
    assert [f.index for f in part] == list(range(13))
    assert faces(part) == faces(all_of_it[25:38])
    assert len(list(video(path, max_frames=7).frames())) == 7
    assert video(path, max_frames=7).length() == 7
    assert video(path, start=1, duration=0.5).length() == 12


def test_a_limit_of_frames_a_second(tmp_path):
    path = clips.make_clip(tmp_path / "a.mp4", range(0, 4000, 40))
    times = [f.time for f in video(path, fps_limit=10).frames()]
    assert 38 <= len(times) <= 40
    assert min(b - a for a, b in itertools.pairwise(times)) >= Fraction(8, 100)
    assert len(list(video(path, fps_limit=25).frames())) == 100
    assert len(list(video(path, fps_limit=60).frames())) == 100


def test_broadcasts_start_at_any_time(tmp_path):
    path = clips.make_clip(tmp_path / "a.ts", range(90_000, 91_000, 40), pix_fmt="yuv420p")
    times = [f.time for f in video(path).frames()]
    assert times[0] < Fraction(1, 10)
    assert [b - a for a, b in itertools.pairwise(times)] == [Fraction(4, 100)] * 24


def damaged(path, where=0.6):
    data = bytearray(path.read_bytes())
    del data[int(where * len(data)) :]
    path.write_bytes(data)
    return path


def test_a_truncated_file_gives_what_it_has_and_then_says_so(tmp_path):
    fast = {"movflags": "faststart"}
    path = damaged(clips.make_clip(tmp_path / "a.mp4", range(0, 4000, 40), options=fast))
    with pytest.raises(SourceError, match=r"a\.mp4: (damaged|ends after)"):
        list(video(path).frames())
    kept = list(_until_error(video(path)))
    assert 20 < len(kept) < 95
    assert faces(kept[:20]) == [clips.face_at(i, (128, 72))[0] for i in range(20)]


def _until_error(item):
    try:
        yield from item.frames()
    except SourceError:
        return


def test_noise_in_the_middle_costs_frames_and_not_the_rest(tmp_path):
    path = clips.make_clip(tmp_path / "a.mkv", range(0, 4000, 40), codec="mpeg4", pix_fmt="yuv420p")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    path.write_bytes(data)
    kept = list(_until_error(video(path)))
    assert len(kept) > 80
    assert kept[-1].time > 3.8


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot read: No such file or directory"),
        (b"", "cannot read: Invalid data found"),
        (b"Dear diary, " * 50, "cannot read: Invalid data found"),
        ("sound", "holds no video, only sound or data"),
        ("headless", "cannot read: "),
    ],
)
def test_what_is_no_video(tmp_path, content, says):
    path = tmp_path / "a.mp4"
    if content == "sound":
        with av.open(str(path), "w") as out:
            sound = out.add_stream("aac", rate=22050, layout="mono")
            clips._add_tone(out, sound, 1)
    elif content == "headless":  # the index is at the end, which is missing
        damaged(clips.make_clip(path), 0.9)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=says):
        list(video(path).frames())


def test_no_frames_at_all(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        out.start_encoding()
    with pytest.raises(SourceError, match=r"cannot read: End of file|holds no frame"):
        list(video(path).frames())


def test_inputs_that_are_videos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clips.make_clip(tmp_path / "a.MP4", container="mp4")
    (tmp_path / "b.png").write_bytes(b"")
    items = find_inputs(["."], io.BytesIO(), span=Span(max_frames=3))
    assert [(type(i).__name__, i.name) for i in items] == [("Video", "a.MP4"), ("Picture", "b.png")]
    assert len(list(items[0].frames())) == 3


def test_frames_for_everybody(tmp_path, photos):
    path = clips.make_clip(tmp_path / "in" / "a.mp4")
    frames = list(vj.frames(path, start=0.2, max_frames=5))
    assert [float(f.time) for f in frames] == [0.2, 0.24, 0.28, 0.32, 0.36]
    kinds = [f.time is None for f in vj.frames("in", max_frames=1)]
    assert kinds == [False, True, True, True]
    with pytest.raises(SourceError, match="gone: cannot read"):
        list(vj.frames("gone"))


# --------------------------------------------------------------------------- files that name others


SESSION = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
LISTS = {
    "concat.mp4": "ffconcat version 1.0\nfile secret.mp4\n",
    "concat.mkv": "ffconcat version 1.0\nfile secret.mp4\nduration 1\n",
    "hls.ts": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n",
    "session.mp4": SESSION + "m=video 5004 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n",
}


@pytest.mark.parametrize("name", LISTS)
def test_a_playlist_is_not_followed(command, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    clips.make_clip("secret.mp4")
    clips.make_clip("secret.ts", pix_fmt="yuv420p")
    Path(name).write_text(LISTS[name])
    says = f"{name}: names other files, as a playlist does, and is not followed: give those"
    for argv in ([name], [name, "-o", "out.mp4"], [name, "--page", 0]):
        done = command(*argv)
        assert done.status == 3
        assert done.err.startswith(f"vj-detect: {says}")
        assert done.err.count("\n") == 1
    assert not Path("out.mp4").exists()


def test_a_playlist_is_not_followed_from_standard_input_or_a_url(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clips.make_clip("secret.mp4")
    text = LISTS["concat.mp4"].encode()
    done = command("-", "--stdin-format", "concat", stdin=text)
    assert done.status == 3
    assert "-: names other files" in done.err
    Path("concat.mp4").write_bytes(text)
    assert command(f"file://{tmp_path}/concat.mp4").status == 3
    assert command(f"file://{tmp_path}/secret.mp4").status == 0


@pytest.mark.parametrize(
    "spec", ["concat:a.ts|b.ts", "subfile,,start,0,end,9,,:a.ts", "concat:file://{}/a.ts"]
)
def test_the_name_of_a_file_is_no_protocol(command, tmp_path, monkeypatch, spec):
    monkeypatch.chdir(tmp_path)
    clips.make_clip("a.ts", pix_fmt="yuv420p")
    clips.make_clip("b.ts", pix_fmt="yuv420p")
    done = command(spec.format(tmp_path), "-q")
    assert (done.status, done.err.count("\n")) == (3, 1)
    assert "No such file" in done.err
    Path("concat:x.ts").write_bytes(Path("a.ts").read_bytes())
    assert command("concat:x.ts", "-q").status == 0


class Late:
    """A container in which another stream begins after four packets; PyAV stumbles over it."""

    def __init__(self, container):
        self.container, self.stumbled = container, False

    def __getattr__(self, name):
        return getattr(self.container, name)

    def demux(self, stream):
        for n, packet in enumerate(self.container.demux(stream)):
            yield packet
            if n == 3 and not self.stumbled:
                self.stumbled = True
                raise IndexError("list index out of range")


def test_a_stream_that_begins_later_costs_no_frame(tmp_path):
    path = clips.make_clip(tmp_path / "a.ts")
    with av.open(str(path)) as container:
        late = Late(container)
        frames = list(decoded(late, "a.ts"))
    assert late.stumbled
    assert len(frames) == 25
