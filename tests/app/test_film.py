"""Videos through the command."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import av
import clips
import numpy as np
import pytest
from PIL import Image

from vj.io.files import data_folder, replacing

MAIN = [sys.executable, "-c", "import sys; from vj.app.cli import main; sys.exit(main())"]
VIDEOS = data_folder() / "video"


@pytest.fixture
def clip(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return clips.make_clip(tmp_path / "in.mp4", range(0, 2000, 40), audio="aac")


def rows(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_every_frame_is_detected_hidden_and_written_at_its_time(command, clip, jobs):
    argv = ["in.mp4", "-o", "out.mp4", "--redact", "solid", "--jsonl", "found", "-j", jobs]
    done = command(*argv)
    assert (done.status, done.out) == (0, "")
    assert done.err.startswith("50 faces in 50 frames, ")
    found = rows(Path("found").read_text())
    assert [row["frame"] for row in found] == list(range(50))
    assert [row["time_s"] for row in found] == [i / 25 for i in range(50)]
    for i, row in enumerate(found):
        x, y, w, h = clips.face_at(i, (128, 72))
        (box,) = row["boxes"]
        assert np.abs(np.array(box["xyxy"]) - [x, y, x + w, y + h]).max() <= 1
    assert clips.times_of("out.mp4") == clips.times_of("in.mp4")
    assert clips.packets_of("out.mp4") == clips.packets_of("in.mp4")
    for i, image in enumerate(clips.images_of("out.mp4")):
        x, y, w, h = clips.face_at(i, (128, 72))
        assert image[y : y + h, x : x + w].max() < 50


def test_text_for_people_unless_there_is_a_video_to_see(command, clip):
    done = command("in.mp4", "--max-frames", 2, "--start", 0.4)
    assert done.out == "in.mp4 0.400 s: 1 face: 24x24+44+24\nin.mp4 0.440 s: 1 face: 24x24+48+24\n"


def test_a_bar_with_the_rate(command, clip):
    shown = command("in.mp4", "-o", "out.mp4", terminal=True).err
    assert "/50 [" in shown
    assert "frame/s" in shown


def test_the_time_of_each_stage(command, clip):
    said = command("in.mp4", "-o", "out.mp4", "-v").err
    assert [line.split()[0] for line in said.splitlines()[1:-1]] == [
        *("decode", "detect", "paint", "encode", "in"),
    ]


def test_pictures_and_videos_of_a_folder(command, photos):
    clips.make_clip(photos / "in" / "clip.mov", range(0, 200, 40))
    clips.make_clip(
        photos / "in" / "old.wmv",
        range(0, 200, 40),
        codec="wmv2",
        pix_fmt="yuv420p",
        container="asf",
    )
    done = command("in", "-o", "out")
    assert done.status == 0
    names = sorted(path.name for path in Path("out").iterdir())
    assert names == ["a.png", "b.png", "c.png", "clip.mov", "old.wmv.mp4"]
    assert len(clips.times_of("out/old.wmv.mp4")) == 5


def test_numbered_pictures(command, clip):
    assert command("in.mp4", "-o", "out/%03d.png", "--max-frames", 3).status == 0
    assert sorted(p.name for p in Path("out").iterdir()) == ["000.png", "001.png", "002.png"]


@pytest.mark.parametrize("target", ["x.png", "%s.png", "x%03d%03d.png"])
def test_one_picture_for_a_video(command, clip, target):
    done = command("in.mp4", "-o", target)
    assert done.status == 2
    assert "one picture for the frames of in.mp4: name a video such as out.mp4" in done.err


def test_a_video_for_a_picture(command, photos):
    done = command("in/a.png", "-o", "x.mp4")
    assert (done.status, done.err) == (
        2,
        "vj-detect: -o x.mp4: a video, but in/a.png is a picture\n",
    )


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_truncated_video_gives_what_it_has(command, tmp_path, monkeypatch, jobs):
    monkeypatch.chdir(tmp_path)
    path = clips.make_clip(
        tmp_path / "in.mp4", range(0, 4000, 40), options={"movflags": "faststart"}
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    done = command("in.mp4", "-o", "out.mp4", "-j", jobs)
    assert done.status == 1
    assert done.err.startswith("vj-detect: in.mp4: ")
    assert done.err.count("\n") == 2
    assert 20 < len(clips.times_of("out.mp4")) < 100


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_detector_that_fails_leaves_nothing(command, clip, monkeypatch, red_detector, jobs):
    from vj.errors import ImageError

    def detect(self, image):
        raise ImageError("no")

    monkeypatch.setattr(red_detector, "detect", detect)
    done = command("in.mp4", "-o", "out.mp4", "-j", jobs)
    assert (done.status, Path("out.mp4").exists()) == (3, False)
    assert list(Path().iterdir()) == [Path("in.mp4")]


def test_a_full_disk(command, clip, request):
    clips.make_clip("noise.mkv", range(0, 2000, 40), (256, 256), noise=True)
    request.getfixturevalue("full_disk")
    for jobs in (1, 2):
        done = command("noise.mkv", "-o", "out.mkv", "--crf", 0, "-j", jobs)
        assert done.status == 6
        assert done.err == "vj-detect: out.mkv: cannot write: File too large\n"
        assert sorted(path.name for path in Path().iterdir()) == ["in.mp4", "noise.mkv"]


def test_two_runs_on_one_output_do_not_mix(command, clip):
    with replacing("out.mp4") as other:
        other.write(b"of the other one")
        assert command("in.mp4", "-o", "out.mp4").status == 0
        assert len(clips.times_of("out.mp4")) == 50
    assert Path("out.mp4").read_bytes() == b"of the other one"


def test_a_source_that_is_deleted_while_it_is_read(command, clip, monkeypatch, red_detector):
    seen = red_detector.detect

    def detect(self, image):
        Path("in.mp4").unlink(missing_ok=True)
        return seen(self, image)

    monkeypatch.setattr(red_detector, "detect", detect)
    done = command("in.mp4", "-o", "out.mp4", "-j", 1)
    assert (done.status, len(clips.times_of("out.mp4"))) == (0, 50)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_the_file(tmp_path, number, status):
    clips.make_clip(tmp_path / "in.mp4", range(0, 100_000, 40), audio="aac")
    process = subprocess.Popen(
        [*MAIN, "in.mp4", "-o", "out.mp4", "--jsonl", "-", "--json", "found.json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in err
    assert "interrupted" in err
    n = out.count("\n") + 1
    assert n < 2500
    assert len(clips.times_of(tmp_path / "out.mp4")) == n
    assert len(json.loads((tmp_path / "found.json").read_text())["results"]) == n
    assert sorted(p.name for p in tmp_path.iterdir()) == ["found.json", "in.mp4", "out.mp4"]


@pytest.mark.skipif(not VIDEOS.is_dir(), reason="the clips are not there: set VJ_DATA")
def test_threads_do_not_change_the_boxes_of_a_real_clip(tmp_path):
    import vj
    from vj.app.cli import program
    from vj.app.progress import Console
    from vj.detect.registry import open_detector

    source = VIDEOS / "short_hamilton_clip.mp4"
    found = {}
    for jobs in (1, 3):
        out = tmp_path / f"{jobs}.jsonl"
        argv = [str(source), "--jsonl", str(out), "-q", "-j", str(jobs), "--max-frames", "40"]
        assert program(argv, Console.of_process()) == 0
        found[jobs] = rows(out.read_text())
    assert found[1] == found[3]
    detector = open_detector()
    for row, frame in zip(found[1], vj.frames(source, max_frames=40), strict=True):
        assert row["boxes"] == detector.detect(frame.image).to_rows()


# --------------------------------------------------------------------------- tracks


@pytest.fixture
def gaps(tmp_path, monkeypatch):
    """A clip whose face is there from frame 10 to 39, but for frames 20 to 22."""
    monkeypatch.chdir(tmp_path)
    hidden = {*range(10), 20, 21, 22, *range(40, 50)}
    return clips.make_clip(tmp_path / "in.mp4", range(0, 2000, 40), hidden=hidden, speed=2)


def frames_with(path):
    return [row["frame"] for row in rows(Path(path).read_text()) if row["boxes"]]


def deviation(path, speed=2):
    """Largest distance of the first box from where the face is, where there is one."""
    worst = 0
    for row in rows(Path(path).read_text()):
        x, y, w, h = clips.face_at(row["frame"], (128, 72), speed=speed)
        for box in row["boxes"][:1]:
            worst = max(worst, np.abs(np.array(box["xyxy"]) - [x, y, x + w, y + h]).max())
    return worst


@pytest.mark.parametrize("jobs", [1, 3])
def test_hold_leaves_no_gap_and_begins_before_the_first_hit(command, gaps, jobs):
    argv = ["in.mp4", "--track", "--hold", 3, "--jsonl", "found", "-j", jobs]
    assert command(*argv, "-o", "out.mp4", "--redact", "solid").status == 0
    assert frames_with("found") == list(range(7, 43))
    assert deviation("found") < 3
    found = rows(Path("found").read_text())
    assert {box["track_id"] for row in found for box in row["boxes"]} == {1}
    assert [row["boxes"][0]["neighbors"] for row in found[18:24]] == [3, 3, 0, 0, 0, 3]
    dark = [int((image.max(axis=2) < 40).sum()) for image in clips.images_of("out.mp4")]
    assert [i for i, n in enumerate(dark) if n > 600] == list(range(7, 43))


def test_without_hold_a_track_shows_its_hits_only(command, gaps):
    command("in.mp4", "--track", "--jsonl", "found")
    assert frames_with("found") == [*range(10, 20), *range(23, 40)]


def test_every_third_frame_is_searched_and_every_frame_is_known(command, clip, red_detector):
    clips.make_clip(clip, range(0, 2000, 40), speed=2)
    done = command("in.mp4", "--every", 3, "--jsonl", "found")
    assert frames_with("found") == list(range(50))
    assert deviation("found") <= 4  # where the face turns back between two searches
    counted = []
    red_detector_detect = red_detector.detect
    red_detector.detect = lambda self, image: counted.append(1) or red_detector_detect(self, image)
    try:
        command("in.mp4", "--every", 3, "--jsonl", "again")
    finally:
        red_detector.detect = red_detector_detect
    assert len(counted) == 17
    assert Path("again").read_text() == Path("found").read_text()
    assert done.status == 0


@pytest.mark.parametrize("jobs", [1, 2])
def test_smooth_writes_in_a_second_pass(command, gaps, jobs):
    argv = ["in.mp4", "--hold", 3, "--smooth", "--jsonl", "found", "-j", jobs, "-o", "out.mp4"]
    assert command(*argv).status == 0
    assert frames_with("found") == list(range(7, 43))
    assert deviation("found") < 3
    assert clips.times_of("out.mp4") == clips.times_of("in.mp4")


def test_a_track_can_be_kept(command, clip):
    argv = ["in.mp4", "-o", "out.mp4", "--track", "--redact", "solid"]
    for kept, least in ((1, 170), (2, 0)):
        assert command(*argv, "--keep-track", kept).status == 0
        red = min(int(image[..., 0].max()) for image in clips.images_of("out.mp4"))
        assert red >= least
        assert (red > 170) is (kept == 1)


def test_saved_detections_hide_without_a_detector(command, clip, red):
    for kind in ("--json", "--jsonl"):
        command("in.mp4", kind, "found", "--track")
        made = len(red)
        done = command(
            "in.mp4",
            "--from",
            "found",
            "-o",
            "out.mp4",
            "--redact",
            "solid",
            "--start",
            1,
            "--jsonl",
            "again",
        )
        assert len(red) == made
        assert done.err.startswith("25 faces in 25 frames")
        again = rows(Path("again").read_text())
        assert [row["time_s"] for row in again] == [(25 + i) / 25 for i in range(25)]
        assert all(row["boxes"][0]["track_id"] == 1 for row in again)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "found: cannot read: No such file"),
        ("[1, 2", "found: not what --json or --jsonl writes"),
        ('{"source": "in.mp4", "frame": 0, "time_s": 0.0, "boxes": []}', "nothing about 0.040 s"),
        ("", "in.mp4: found has nothing about it"),
    ],
)
def test_what_was_not_searched_is_not_taken_for_empty(command, clip, content, says):
    if content is not None:
        Path("found").write_text(content)
    done = command("in.mp4", "--from", "found", "-o", "out.mp4", "--redact", "blur")
    assert done.status == (1 if "0.040" in says else 3)  # of a frame it was known
    assert says in done.err
    assert "see out.mp4" not in done.err
    assert not Path("out.mp4").exists()


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"size": (160, 72)}, "in.mp4: has 128x72 pixels, and found is about a file of 160x72"),
        (
            {"times": range(0, 4000, 40)},
            "in.mp4: lasts 2.00 s, and found is about a file with a frame at 3.96 s",
        ),
        ({"name": "b.mp4"}, "in.mp4: found has nothing about it, only about b.mp4"),
    ],
)
def test_detections_of_another_video_are_not_painted(command, clip, tmp_path, other, says):
    name = other.pop("name", "in.mp4")
    Path("other").mkdir()
    clips.make_clip(Path("other") / name, **{"times": range(0, 2000, 40), **other})
    assert command(f"other/{name}", "--jsonl", "found").status == 0
    Path("found").write_text(Path("found").read_text().replace("other/", ""))
    done = command("in.mp4", "--from", "found", "-o", "out.mp4", "--redact", "solid")
    assert (done.status, done.err) == (2, f"vj-detect: {says}\n")
    assert not Path("out.mp4").exists()


def test_detections_of_more_frames_than_there_are_are_not_painted(command, clip):
    clips.make_clip(Path("more.mp4"), range(0, 2000, 20))
    command("more.mp4", "--jsonl", "found")
    Path("found").write_text(Path("found").read_text().replace("more.mp4", "in.mp4"))
    done = command("in.mp4", "--from", "found", "-o", "out.mp4", "--redact", "solid")
    assert done.status == 1
    assert "in.mp4: has 50 frames, and found is about a file of 100\n" in done.err
    assert not Path("out.mp4").exists()


def test_detections_of_another_picture_are_not_painted(command, photos):
    command("in/a.png", "--json", "found")
    Image.new("RGB", (40, 60)).save("in/a.png")
    done = command("in/a.png", "--from", "found", "-o", "out.png", "--redact", "solid")
    assert (done.status, done.err) == (
        2, "vj-detect: in/a.png: has 40x60 pixels, and found is about a file of 60x40\n"
    )  # fmt: skip


OF_VIDEOS = [
    *(["--track"], ["--every", 2], ["--hold", 5], ["--smooth"], ["--start", 1], ["--stats"]),
    *(["--duration", 1], ["--max-frames", 3], ["--fps-limit", 5], ["--no-audio"], ["--show"]),
    *(["--codec", "libx264"], ["--crf", 20]),
]


@pytest.mark.parametrize("option", OF_VIDEOS, ids=lambda option: option[0])
def test_options_of_videos_are_refused_where_there_is_none(command, photos, option):
    done = command("in", "-o", "out/", *option)
    assert (done.status, done.out) == (2, "")
    assert done.err == f"vj-detect: {option[0]} is for videos, cameras and streams\n"
    assert not Path("out").exists()
    missing = command("no*match", *option, "-q")
    assert (missing.status, missing.err) == (3, "vj-detect: no*match: nothing matches\n")


def test_crops(command, clip, photos):
    assert command("in.mp4", "--crops", "c", "--max-frames", 2, "--track").status == 0
    assert sorted(p.name for p in Path("c").iterdir()) == [
        *("in.mp4-000000-t1.png", "in.mp4-000001-t1.png"),
    ]
    command("in", "-r", "--crops", "d")
    made = sorted(str(p.relative_to("d")) for p in Path("d").rglob("*.png"))
    assert made == ["a.png-1.png", "c.png-1.png", "deep/d.png-1.png"]
    from vj.io.images import read_image

    assert read_image("d/a.png-1.png").shape == (12, 20, 3)
    assert (read_image("d/a.png-1.png") == (255, 0, 0)).all()


def test_parquet(command, clip):
    pq = pytest.importorskip("pyarrow.parquet")
    assert command("in.mp4", "--parquet", "found", "--jsonl", "rows", "--track").status == 0
    table = pq.read_table("found").to_pylist()
    found = rows(Path("rows").read_text())
    assert [row["time_s"] for row in table] == [row["time_s"] for row in found]
    assert [row["x1"] for row in table] == [row["boxes"][0]["xyxy"][0] for row in found]
    assert {row["track_id"] for row in table} == {1}
    assert {row["landmarks"] for row in table} == {None}


def test_parquet_without_pyarrow(command, clip, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = command("in.mp4", "--parquet", "found")
    assert done.status == 2
    assert "--parquet needs pyarrow: pip install pyarrow" in done.err
    assert not Path("found").exists()


def test_stats(command, clip):
    said = command("in.mp4", "-o", "out.mp4", "--stats", "--track").err
    assert [line.split()[0] for line in said.splitlines()[:-1]] == [
        *("decode", "detect", "track", "paint", "encode", "in"),
    ]


@pytest.mark.parametrize(("keep", "status"), [([], 0), (["--keep-track", 1], 11)])
@pytest.mark.parametrize("target", ["out.mp4", "out/%03d.png"])
def test_an_audit_finds_what_is_left(command, clip, keep, status, target):
    argv = ["in.mp4", "-o", target, "--redact", "solid", "--track", "--max-frames", 12]
    done = command(*argv, *keep, "--audit", "frontalface")
    assert done.status == status
    assert f"audit: a face is left in {12 if keep else 0} of 12 frames" in done.err
    assert done.err.count(": a face is left: ") == (10 if keep else 0)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turned_video_is_written_upright(command, clip, turn):
    clips.make_clip(clip, range(0, 400, 40), rotation=turn)
    assert command("in.mp4", "-o", "out.mp4", "--redact", "solid", "--jsonl", "found").status == 0
    width, height = (128, 72) if turn == 180 else (72, 128)
    with av.open("out.mp4") as container:
        frames = list(container.decode(video=0))
    assert {(f.width, f.height, f.rotation) for f in frames} == {(width, height, 0)}
    for row, frame in zip(rows(Path("found").read_text()), frames, strict=True):
        x1, y1, x2, y2 = (round(v) for v in row["boxes"][0]["xyxy"])
        image = frame.to_ndarray(format="rgb24")
        assert image[y1:y2, x1:x2].max() < 50
        assert not ((image[..., 0] > 150) & (image[..., 1] < 80)).any()


def test_a_picture_over_the_faces(command, clip, photos):
    from PIL import Image

    Image.new("RGB", (8, 8), (0, 0, 255)).save("blue.png")
    assert command("in.mp4", "-o", "out.mp4", "--redact", "blue.png").status == 0
    for i, image in enumerate(clips.images_of("out.mp4")):
        x, y, w, h = clips.face_at(i, (128, 72))
        assert image[y : y + h, x : x + w, 2].min() > 150
        assert image[y : y + h, x : x + w, 0].max() < 100
