import itertools
from fractions import Fraction
from pathlib import Path

import av
import clips
import numpy as np
import pytest

from vj.errors import SinkError
from vj.io.source import Frame
from vj.io.video_sink import Encoding, video_sink
from vj.io.video_source import Span, Video


def copied(source, target, paint=None, start=0.0, **encoding):
    """Write every frame of a video again; the number of frames."""
    item = Video(str(source), source, source, Span(start=start))
    n = 0
    with video_sink(target, source, Encoding(start=start, **encoding)) as write:
        for frame in item.frames():
            write(frame, paint(frame.image) if paint else None)
            n += 1
    return n


@pytest.fixture
def uneven(tmp_path):
    """A clip with gaps of 20 and 50 ms, and sound."""
    times = list(itertools.accumulate([0] + [50, 20] * 30))
    return clips.make_clip(tmp_path / "in.mp4", times, pix_fmt="yuv420p", audio="aac")


@pytest.mark.parametrize("paint", [None, np.array])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_times_and_sound_are_those_of_the_source(uneven, tmp_path, paint, suffix):
    out = tmp_path / f"out{suffix}"
    assert copied(uneven, out, paint) == 61
    before, after = clips.packets_of(uneven), clips.packets_of(out)
    assert [data for data, _ in before] == [data for data, _ in after]
    if suffix == ".mkv":  # it has no times below 0, as encoded sound begins: all is moved alike
        shift = clips.times_of(out)[0]
        moved = [t - shift for t in clips.times_of(out)]
        gaps = [a - b + shift for (_, a), (_, b) in zip(before, after, strict=True)]
        assert max(map(abs, gaps)) <= Fraction(1, 999)
    else:
        moved = clips.times_of(out)
        assert before == after
    assert moved == clips.times_of(uneven)
    for a, b in zip(clips.images_of(uneven), clips.images_of(out), strict=True):
        assert np.abs(a.astype(int) - b).mean() < 1


def test_sound_can_be_left_out(uneven, tmp_path):
    copied(uneven, tmp_path / "out.mp4", audio=False)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [s.type for s in container.streams] == ["video"]


def test_a_later_start_moves_pictures_and_sound_to_time_0(tmp_path):
    source = clips.make_clip(tmp_path / "in.mp4", range(0, 4000, 40), audio="aac")
    out = tmp_path / "out.mp4"
    assert copied(source, out, start=2.0) == 50
    assert clips.times_of(out) == [t - 2 for t in clips.times_of(source)[50:]]
    kept = [data for data, time in clips.packets_of(source) if time >= 2]
    assert [data for data, _ in clips.packets_of(out)] == kept
    assert abs(clips.packets_of(out)[0][1]) < Fraction(1, 10)


@pytest.mark.parametrize("size", [(127, 71), (128, 71), (33, 17)])
@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".avi"])
def test_sizes_are_kept_odd_ones_too(tmp_path, size, suffix):
    source = clips.make_clip(
        tmp_path / "in.mkv", range(0, 400, 40), size, codec="ffv1", pix_fmt="bgr0", side=9
    )
    out = tmp_path / f"out{suffix}"
    copied(source, out, np.array)
    images = clips.images_of(out)
    assert [image.shape for image in images] == [(size[1], size[0], 3)] * 10


@pytest.mark.parametrize("pix_fmt", ["gray", "yuv420p10le", "yuvj420p"])
@pytest.mark.parametrize("paint", [None, np.array])
def test_gray_ten_bits_and_full_range_look_as_before(tmp_path, pix_fmt, paint):
    source = clips.make_clip(tmp_path / "in.mp4", range(0, 400, 40), pix_fmt=pix_fmt)
    copied(source, tmp_path / "out.mp4", paint)
    for a, b in zip(clips.images_of(source), clips.images_of(tmp_path / "out.mp4"), strict=True):
        assert np.abs(a.astype(int) - b).mean() < 2.5


@pytest.mark.parametrize("size", [(320, 240), (1280, 720)])
def test_colours_are_kept_in_sd_and_hd(tmp_path, size):
    source = clips.make_clip(tmp_path / "in.mp4", [0, 40], size, pix_fmt="yuv420p")
    copied(source, tmp_path / "out.mp4", np.array)
    a, b = (clips.images_of(p)[0].astype(int) for p in (source, tmp_path / "out.mp4"))
    x, y, w, h = clips.face_at(0, size)
    inside = np.s_[y + 4 : y + h - 4, x + 4 : x + w - 4]
    assert np.abs(a[inside] - b[inside]).mean() < 12


def test_a_frame_of_another_size_is_scaled(tmp_path):
    out = tmp_path / "out.mp4"
    with video_sink(out, None, Encoding()) as write:
        for n, size in enumerate([(128, 72), (128, 72), (64, 64), (128, 72)]):
            write(Frame(clips.picture(n, size), n, Fraction(n, 25)), None)
    assert {image.shape for image in clips.images_of(out)} == {(72, 128, 3)}
    assert len(clips.times_of(out)) == 4


def test_the_codec_and_its_quality(tmp_path, uneven):
    sizes = []
    for crf in (1, 50):
        copied(uneven, tmp_path / "out.mp4", codec="libx265", crf=crf, audio=False)
        sizes.append((tmp_path / "out.mp4").stat().st_size)
        with av.open(str(tmp_path / "out.mp4")) as container:
            assert container.streams.video[0].codec_context.name == "hevc"
    assert sizes[0] > sizes[1]


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("out.mp4", {"codec": "libx999"}, "no codec 'libx999': try libx264"),
        ("out.mp4", {"codec": "aac"}, "'aac' is no codec for video"),
        ("out.webm", {}, r"cannot hold aac sound: write \.mkv, or use --no-audio"),
        ("out.webm", {"codec": "libx264", "audio": False}, "out.webm: not written as video: "),
    ],
)
def test_what_cannot_be_written_leaves_no_file(tmp_path, uneven, name, options, says):
    with pytest.raises(SinkError, match=says):
        copied(uneven, tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == [uneven]


def test_an_error_leaves_an_older_file_as_it_was(tmp_path, uneven):
    out = tmp_path / "out.mp4"
    out.write_bytes(b"old")

    def fail():
        with video_sink(out, uneven, Encoding()) as write:
            write(Frame(clips.picture(0, (64, 64)), 0, Fraction(0)), None)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert out.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_a_full_disk(tmp_path, uneven, request):
    request.getfixturevalue("full_disk")
    noise = np.random.default_rng(0)

    def grain(image):
        return noise.integers(0, 256, image.shape, np.uint8)

    with pytest.raises(SinkError, match=r"out\.mp4: cannot write: File too large"):
        copied(uneven, tmp_path / "out.mp4", grain)
    assert list(tmp_path.iterdir()) == [uneven]


def test_a_folder_that_goes_away(tmp_path, uneven):
    folder = tmp_path / "new" / "deep"

    def move():
        with video_sink(folder / "out.mp4", None, Encoding()) as write:
            for n in range(3):
                write(Frame(clips.picture(n, (64, 64)), n, Fraction(n, 25)), None)
            folder.rename(tmp_path / "elsewhere")

    with pytest.raises(SinkError, match=r"out\.mp4: cannot write: No such file or directory"):
        move()
    assert not list(Path(tmp_path).rglob("out.mp4"))
