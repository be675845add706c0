"""Training frames: what is read, how annotations follow the pixels, and that nothing is random."""

import io
import json
import math
import pickle
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import detector_bundle as bundle
import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from nets.detectors.training import compose as composing
from nets.detectors.training import sheet
from nets.detectors.training.augment import Cropping, Frame, crop_picture
from nets.detectors.training.compose import Composing, Part, compose, head, patch
from nets.detectors.training.data import HARD, TOO_ALIKE, WIDER, Data, Picture, Sets, read_data
from nets.detectors.training.faces import MIRROR, Motion, face_box, settle
from nets.detectors.training.mining import mine
from nets.detectors.training.occlude import KINDS as OCCLUSIONS
from nets.detectors.training.occlude import occlude
from nets.detectors.training.pixels import photograph
from nets.detectors.training.scenes import KINDS, Mixture, Scenes
from nets.detectors.training.store import Entry, Store
from nets.kernels.lookup_table import look_up
from nets.kernels.warp import warp_into
from vj.boxes import iou
from vj.detections import Detections
from vj.errors import ParameterError, SourceError
from vj.io.files import data_folder

DATA = data_folder()
real = pytest.mark.skipif(
    not (DATA / "faces_train").is_dir(), reason="VJ_DATA has no faces_train: data is not shipped"
)
NONE = np.empty((0, 4), np.float32)
UPRIGHT = bundle.POINTS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("data")
    landmarks = bundle.build(path)
    return path, landmarks


@pytest.fixture(scope="module")
def parts(folder):
    return read_data(folder[0])


@pytest.fixture(scope="module")
def whole(parts):
    """Both parts in one: the miniature is too small to be divided."""
    first, second = parts
    return Data(*([*getattr(first, n), *getattr(second, n)] for n in Data.__slots__))


@pytest.fixture(scope="module")
def true_data():
    return read_data(DATA)


# --------------------------------------------------------------------------- reading


def test_boxes_ignore_regions_and_landmarks_are_read(whole):
    by_name = {p.entry.name: p for p in whole.pictures}
    mask = by_name["mask3.png"]
    assert mask.boxes.tolist() == [[20, 30, 60, 80], [120, 40, 140, 64]]
    assert mask.ignore.tolist() == [[5, 5, 13, 13], [180, 100, 190, 112]]
    assert np.isnan(mask.landmarks).all()
    assert mask.landmarks.shape == (2, 5, 2)


def test_doubtful_machine_labels_are_ignored(whole):
    more = next(p for p in whole.pictures if p.entry.name == "more.png")
    assert more.boxes.tolist() == [[10, 10, 30, 36]]  # 0.65 is too low, 0.8 for a large box too
    assert more.ignore.tolist() == [[60, 20, 80, 46], [70, 40, 130, 110]]
    assert more.landmarks[0, 2].tolist() == [18, 24]


def test_landmarks_of_a_crop_are_found_in_its_picture(folder, whole):
    portrait = next(p for p in whole.pictures if p.entry.name == "aaf.png")
    assert np.abs(portrait.landmarks[0] - folder[1]).max() < 1.5


def test_a_crop_of_something_else_is_not_found():
    from nets.detectors.training.locate import locate

    rng = np.random.default_rng(0)
    picture, crop = bundle.texture(rng, 300, 340, 5), bundle.texture(rng, 96, 96)
    box = np.array([110, 98, 238, 268], np.float32)
    assert locate(picture, box, crop.convert("L"), UPRIGHT, 150 / 64) is None


def test_missing_and_broken_data_are_named(tmp_path, folder):
    with pytest.raises(SourceError, match=r"No such file.*VJ_DATA"):
        read_data(tmp_path)
    for name in ("faces_train", "boxes_more", "backgrounds_train", "backgrounds_more"):
        (tmp_path / name).symlink_to(folder[0] / name)
    (tmp_path / "boxes_train").mkdir()
    (tmp_path / "boxes_train" / "annotations.json").write_text(json.dumps([{"file": "a"}]))
    with pytest.raises(SourceError, match="cannot be understood"):
        read_data(tmp_path)
    with pytest.raises(SourceError, match=r"nothing\.png cannot be read"):
        Store().pixels(Entry(folder[0] / "boxes_more" / "images.zip", "nothing.png", "s", "g"))


def test_a_set_that_must_be_gathered_is_named(tmp_path, folder):
    shutil.copytree(folder[0], tmp_path / "data")
    want = Sets(("boxes_train", "new"), ("backgrounds_train", "objects"))
    with pytest.raises(SourceError, match=r"has no new: `python -m nets.detectors.gather CLONES"):
        read_data(tmp_path / "data", want, tmp_path)
    shutil.copytree(tmp_path / "data" / "boxes_more", tmp_path / "new")
    shutil.copytree(tmp_path / "data" / "boxes_more", tmp_path / "data" / "objects")
    first, second = read_data(tmp_path / "data", want, tmp_path)
    places = {p.entry.archive.parent for p in (*first.pictures, *second.pictures)}
    assert places == {tmp_path / "data" / "boxes_train", tmp_path / "new"}
    entries = [*first.backgrounds, *second.backgrounds]
    assert len(entries) == 8 + 1
    assert {e.archive.parent.name for e in entries} == {"backgrounds_train", "objects"}
    # Parts of the data itself are missing from the data, wherever else one looks.
    with pytest.raises(SourceError, match=r"boxes_wider.*name the folder of the data"):
        read_data(tmp_path / "data", Sets(("boxes_wider",)), tmp_path)


def test_what_is_kept_for_judging_is_not_in_the_data(tmp_path, folder):
    shutil.copytree(folder[0], tmp_path / "data")
    data = tmp_path / "data"
    shutil.copytree(data / "boxes_train", data / WIDER)
    rows = json.loads((data / WIDER / "annotations.json").read_text())
    rows[-1]["file"] = TOO_ALIKE[0]
    (data / WIDER / "annotations.json").write_text(json.dumps(rows))
    shutil.copytree(data / "backgrounds_train", data / HARD)
    names = [f"{k}.png" for k in range(8)]
    text = "file,source,original\n" + "".join(f"{n},x,y/{n}\n" for n in names)
    (data / HARD / f"{HARD}.csv").write_text(text)
    parts = read_data(data, Sets((WIDER,), (HARD,)))
    listed = sorted(row["file"] for row in rows)
    seen = {p.entry.name for part in parts for p in part.pictures}
    assert seen == {n for k, n in enumerate(listed) if k % 8 and n != TOO_ALIKE[0]}
    assert {b.name for part in parts for b in part.backgrounds} == {*names} - {"0.png", "4.png"}


def test_pictures_that_cannot_be_decoded_are_named(tmp_path):
    buffer = io.BytesIO()
    bundle.texture(np.random.default_rng(0), 64, 48).save(buffer, "AVIF")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("whole.avif", buffer.getvalue())
        archive.writestr("half.avif", buffer.getvalue()[: len(buffer.getvalue()) // 2])
    store = Store()
    assert store.pixels(Entry(tmp_path / "images.zip", "whole.avif", "", "")).shape == (48, 64, 4)
    with pytest.raises(SourceError, match=r"images.zip: half.avif cannot be read: "):
        store.pixels(Entry(tmp_path / "images.zip", "half.avif", "", ""))


def test_the_held_out_part_is_a_fixed_share_of_groups():
    where = Path("a.zip")
    held = [Entry(where, f"{k}.jpg", "utk", f"{k}.jpg").held_out for k in range(5000)]
    assert 0.07 < np.mean(held) < 0.09
    assert [k for k in range(40) if held[k]] == HELD_OF_FORTY  # the rule must never change
    one, other = (Entry(where, name, "lfwexpr", "A_Name").held_out for name in ("a", "b"))
    assert one == other


HELD_OF_FORTY = [15]


@real
def test_no_person_is_in_both_parts(true_data):
    groups = [
        {(e.source, e.group) for e in (*(p.entry for p in d.pictures), *(f.entry for f in d.faces))}
        for d in true_data
    ]
    assert not groups[0] & groups[1]
    training, validation = true_data
    assert (
        len(training.pictures) + len(validation.pictures) == 2305 - 2
    )  # of which two are `TOO_ALIKE`
    assert len(training.faces) + len(validation.faces) == 31205
    assert 120 < len(validation.pictures) < 250
    used = {e.archive.parent.name for d in true_data for e in d.backgrounds}
    used |= {p.entry.archive.parent.name for d in true_data for p in d.pictures}
    assert used == {"boxes_train", "boxes_more", "backgrounds_train", "backgrounds_more"}


@real
def test_portraits_have_landmarks_and_the_rule_for_boxes_fits_the_labels(true_data):
    training, _ = true_data
    portraits = [p for p in training.pictures if p.entry.source == "all_age_faces"]
    known = [p for p in portraits if np.isfinite(p.landmarks).all()]
    assert len(known) > 0.9 * len(portraits)
    overlaps = [iou(face_box(p.landmarks[0])[None], p.boxes)[0, 0] for p in known]
    assert np.percentile(overlaps, 5) > 0.75
    assert np.median(overlaps) > 0.88


# --------------------------------------------------------------------------- geometry


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 10**6))
def test_levels_are_looked_up(rows, cols, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (rows, cols, 3), dtype=np.uint8)
    table, out = rng.integers(0, 256, (3, 256), dtype=np.uint8), np.empty_like(pixels)
    look_up(pixels, table, out)
    np.testing.assert_array_equal(out, naive.look_up(pixels, table))


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 12), st.integers(1, 12)),
    st.integers(0, 2**32 - 1),
)
def test_warp_is_its_plain_twin(shape, seed):
    rng = np.random.default_rng(seed)
    h, w, rows, cols = shape
    image = rng.integers(0, 256, (h, w, 4), dtype=np.uint8)
    image[..., 3] = np.where(rng.random((h, w)) < 0.6, 255, image[..., 3])
    back = np.array([*rng.normal(0.5, 0.5, 2), rng.normal(0, 2), *rng.normal(0.5, 0.5, 2), 1.0])
    before = rng.integers(0, 256, (rows, cols, 3), dtype=np.uint8)
    left, top = int(rng.integers(cols)), int(rng.integers(rows))
    out = before.copy()
    warp_into(image.view(np.uint32)[..., 0], back, left, top, cols, rows, out)
    expected = naive.warp_into(image, back, left, top, cols, rows, before)
    assert np.abs(out.astype(int) - expected).max() <= 2  # three roundings to 8 bits
    assert (out[:top] == before[:top]).all()
    assert (out[:, :left] == before[:, :left]).all()


def test_an_identical_map_draws_the_image_itself():
    image = np.random.default_rng(0).integers(0, 256, (7, 9, 4), dtype=np.uint8)
    image[..., 3] = 255
    out = np.zeros((7, 9, 3), np.uint8)
    warp_into(image.view(np.uint32)[..., 0], np.array([1.0, 0, 0, 0, 1, 0]), 0, 0, 9, 7, out)
    assert (out == image[..., :3]).all()


@pytest.mark.parametrize("mirror", [False, True])
def test_a_motion_and_its_way_back(mirror):
    motion = Motion(0.4, 1.7, (10, 20), (50, 60), mirror)
    points = motion.points(UPRIGHT[None])[0]
    points = points[list(MIRROR)] if mirror else points
    b = motion.back()
    x = points @ b[:2] + b[2]
    y = points @ b[3:5] + b[5]
    assert np.allclose(np.stack([x, y], 1), UPRIGHT, atol=1e-3)
    assert np.allclose(motion.matrix @ [10, 20] + motion.shift, [50, 60])


def test_a_mirrored_face_has_its_left_eye_on_the_left():
    points = Motion(0.0, 1.0, (48, 48), (48, 48), True).points(UPRIGHT[None])[0]
    assert points[0, 0] < points[1, 0]
    assert points[3, 0] < points[4, 0]
    assert points[0].tolist() == [96 - 61, 41]


@pytest.mark.parametrize("angle", [0.0, 0.3, -0.5])
def test_boxes_turn_with_faces(angle):
    """The box of turned points and the turned box agree."""
    motion = Motion(angle, 1.5, (48, 48), (70, 70))
    by_points = face_box(motion.points(UPRIGHT[None])[0])
    by_box = motion.boxes(face_box(UPRIGHT)[None])
    assert iou(by_points[None], by_box)[0, 0] > 0.97


def test_settling_in_a_frame():
    boxes = np.array(
        [[10, 10, 30, 30], [50, 50, 55, 60], [-18, 10, 4, 30], [-40, -40, 140, 150],
         [120, 10, 140, 30]], np.float32,
    )  # fmt: skip
    landmarks = np.full((5, 5, 2), np.nan, np.float32)
    kept, _, ignored = settle(boxes, landmarks, np.array([[90, 90, 120, 120]], np.float32), 100)
    assert kept.tolist() == [[10, 10, 30, 30], [0, 0, 100, 100]]  # one larger than the frame
    assert ignored.tolist() == [[90, 90, 100, 100], [50, 50, 55, 60], [0, 10, 4, 30]]


def test_a_face_whose_points_are_outside_is_ignored():
    box = np.array([[-40, 10, 60, 90]], np.float32)
    points = np.tile(np.array([[-20.0, 50]], np.float32), (1, 5, 1))
    assert len(settle(box, points, NONE, 100)[0]) == 0
    assert len(settle(box, points + np.float32([60, 0]), NONE, 100)[0]) == 1


# --------------------------------------------------------------------------- pixels follow


def with_dots(size, points, radius):
    """Black, with a white dot at every point."""
    image = Image.new("RGB", size)
    pen = ImageDraw.Draw(image)
    for x, y in np.asarray(points).tolist():
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill="white")
    return image


def brightness(image, point, radius):
    """Mean around a point, against the mean of the frame."""
    x, y = np.rint(point).astype(int)
    near = image[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1]
    return near.mean()


@pytest.mark.parametrize("seed", range(8))
def test_landmarks_stay_on_what_they_mark_in_a_cut_picture(seed):
    points = np.array([[150, 120], [190, 124], [168, 144], [150, 165], [186, 168]], np.float32)
    image = with_dots((400, 300), points, 4)
    box = face_box(points)[None]
    entry = Entry(Path("a.zip"), "a", "s", "g")
    picture = Picture(entry, (300, 400), box, points[None], NONE)
    pixels = np.asarray(image.convert("RGBA"))
    how = Cropping(sized=0.0, about_faces=1.0)
    frame = crop_picture(picture, pixels, 128, np.random.default_rng(seed), how)
    frame.image[(frame.image != frame.image[0, 0]).any(2) & (frame.image < 40).all(2)] = 0
    for face in frame.landmarks:
        for point in face[((face > 4) & (face < 124)).all(1)]:
            assert brightness(frame.image, point, 0) > 100


@pytest.mark.parametrize("seed", range(8))
def test_landmarks_stay_on_what_they_mark_in_a_composed_frame(seed):
    part = Part(with_dots((96, 96), UPRIGHT, 4), UPRIGHT, composing.WHOLE)
    base = Frame(np.zeros((160, 160, 3), np.uint8), NONE, np.empty((0, 5, 2), np.float32), NONE)
    how = Composing(faces=(3, 3), others=(0, 0), size=(0.2, 0.5), occluded=0, blurred=0)
    frame = compose(base, lambda: part, lambda: part, np.random.default_rng(seed), how)
    assert 1 <= len(frame.boxes) <= 3
    assert not base.image.any()  # the given frame is left alone
    for face in frame.landmarks:
        inside = face[((face > 2) & (face < 157)).all(1)]
        around = frame.image.mean()
        assert all(brightness(frame.image, p, 0) > around + 20 for p in inside)
    assert (np.abs(frame.boxes - 80) <= 80).all()


def test_what_is_set_in_covers_no_face():
    boxes = np.array([[20, 20, 100, 120]], np.float32)
    image = np.zeros((160, 160, 3), np.uint8)
    unknown = np.full((1, 5, 2), np.nan, np.float32)
    base = Frame(image, boxes, unknown, NONE)
    part = Part(Image.new("RGB", (96, 96), "white"), UPRIGHT, composing.WHOLE)
    for seed in range(20):
        how = Composing(faces=(4, 4), size=(0.1, 0.5))
        frame = compose(base, lambda: part, lambda: part, np.random.default_rng(seed), how)
        overlap = iou(frame.boxes[1:], boxes)
        assert (overlap < 0.2).all()


def test_sizes_and_angles_are_kept_to():
    part = Part(Image.new("RGB", (96, 96), "white"), UPRIGHT, composing.WHOLE)
    base = Frame(np.zeros((320, 320, 3), np.uint8), NONE, np.empty((0, 5, 2), np.float32), NONE)
    angles, sizes = [], []
    for seed in range(60):
        how = Composing(faces=(1, 1), others=(0, 0), size=(0.1, 0.4), roll=25, alike=0)
        frame = compose(base, lambda: part, lambda: part, np.random.default_rng(seed), how)
        for face in frame.landmarks:
            angles.append(math.degrees(math.atan2(*(face[1] - face[0])[::-1])))
            unit = np.hypot(*(face[3:].mean(0) - face[:2].mean(0)))
            sizes.append(unit * math.sqrt(2.79 * 2.16) / 320)
    assert max(map(abs, angles)) < 25.5
    assert max(angles) > 15
    assert min(angles) < -15
    assert 0.095 < min(sizes) < 0.15
    assert 0.3 < max(sizes) < 0.41


@pytest.mark.parametrize("kind", OCCLUSIONS)
def test_occlusions_hide_a_part_of_the_face(kind):
    image = bundle.texture(np.random.default_rng(1), 96, 96, 3)
    before, shares = np.asarray(image).copy(), []
    for seed in range(8):
        after = np.asarray(occlude(image, UPRIGHT, np.random.default_rng(seed), kind))
        shares.append((after != before).any(2)[16:80, 16:80].mean())
    assert max(shares) < 0.9
    assert np.median(shares) > 0.01
    assert (np.asarray(image) == before).all()
    if kind == "mask":  # the mouth is covered, the eyes are not
        assert (after[68, 48] != before[68, 48]).any()
        assert (after[40, 35] == before[40, 35]).all()


def test_patches_come_from_where_they_should():
    pixels = np.zeros((100, 100, 4), np.uint8)
    pixels[40:60, 30:50] = 255
    pixels[..., 3] = 255
    part = patch(pixels, np.random.default_rng(0), (30, 40, 50, 60))
    crop = np.asarray(part.image)
    assert part.landmarks is None
    assert crop[30:66, 30:66].min() == 255  # the box is in the middle
    assert crop[48, 2].max() == 0
    assert head(np.random.default_rng(0)).landmarks is None


def test_photograph_changes_light_and_keeps_the_frame():
    image = bundle.texture(np.random.default_rng(0), 64, 64)
    made = [photograph(image, np.random.default_rng(k)) for k in range(12)]
    assert all(m.shape == (64, 64, 3) and m.dtype == np.uint8 for m in made)
    assert len({m.tobytes() for m in made}) > 8
    assert (photograph(image, np.random.default_rng(3)) == made[3]).all()


# --------------------------------------------------------------------------- scenes


def same(a, b):
    return all(
        len(x) == len(y) and all(np.array_equal(p, q, equal_nan=p.dtype != np.uint8)
                                 for p, q in zip(x, y, strict=True))
        for x, y in zip(a, b, strict=True)
    )  # fmt: skip


def test_a_frame_depends_on_seed_and_index_only(whole):
    one, two = (Scenes(whole, 64, seed=4, memory=m) for m in (0, 1 << 24))
    forward, backward = [one.sample(k) for k in range(6)], [two.sample(k) for k in range(5, -1, -1)]
    for a, b in zip(forward, backward[::-1], strict=True):
        assert (a.image == b.image).all()
        assert np.array_equal(a.boxes, b.boxes)
        assert a.kind == b.kind
    other = Scenes(whole, 64, seed=5)
    assert any((other.sample(k).image != forward[k].image).any() for k in range(6))


def test_batches_do_not_depend_on_the_number_of_workers(whole):
    scenes = Scenes(whole, 64, seed=1, mixture=Mixture(kinds=(("composite", 1.0),), hard=1.0))
    here = list(scenes.batches(3, batch_size=4))
    there = list(scenes.batches(3, batch_size=4, workers=2))
    assert all(same(a, b) for a, b in zip(here, there, strict=True))
    pool = scenes._workers(2)
    again = scenes.batches(3, batch_size=4, workers=2)  # by the same processes, left half-way
    assert same(next(again), here[0])
    again.close()
    assert scenes._workers(2) is pool
    scenes.alarms = [(0, (10, 10, 40, 40))]  # reaches the processes too
    now = list(scenes.batches(3, batch_size=4))
    assert all(
        same(a, b) for a, b in zip(now, scenes.batches(3, batch_size=4, workers=1), strict=True)
    )
    assert not same(now[0], here[0])
    assert same(next(scenes.batches(1, first=2, batch_size=4)), now[2])
    scenes.close()
    assert here[0].images.shape == (4, 64, 64, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_frame(whole, kind):
    scenes = Scenes(whole, 96, mixture=replace(Mixture(), kinds=((kind, 1.0),)))
    samples = [scenes.sample(k) for k in range(10)]
    assert {s.kind for s in samples} == {kind}
    faces = sum(len(s.boxes) for s in samples)
    assert faces == 0 if kind in ("background", "alarm") else faces >= 8
    for s in samples:
        assert len(s.landmarks) == len(s.boxes)
        assert ((s.boxes >= 0) & (s.boxes <= 96)).all()
        assert ((s.boxes[:, 2:] - s.boxes[:, :2]).min(1, initial=99) >= 6).all()
        assert s.boxes.dtype == s.landmarks.dtype == s.ignore.dtype == np.float32


def test_bad_parameters_of_scenes(whole):
    with pytest.raises(ParameterError, match="`size` must be a multiple of 32, got 100"):
        Scenes(whole, 100)
    with pytest.raises(ParameterError, match="only kinds of frames that the data has not"):
        Scenes(replace(whole, pictures=[]), 64, mixture=Mixture(kinds=(("picture", 1.0),)))


def test_scenes_can_be_sent_to_a_process(whole):
    scenes = Scenes(whole, 64)
    scenes.sample(0)
    copy = pickle.loads(pickle.dumps(scenes))
    assert (copy.sample(3).image == scenes.sample(3).image).all()


class Eager:
    """Takes one place of every picture for a face."""

    def detect(self, image):
        assert image.shape[2] == 3
        box = np.array([[10, 10, 40, 40], [50, 20, 70, 50]], np.float32)
        return Detections(box, np.array([0.3, 0.9], np.float32))


def test_false_alarms_are_mined_and_learned_from(whole):
    found = list(mine(Eager(), whole.backgrounds, Store(), most=1))
    assert [number for number, _, _ in found] == list(range(16))
    assert found[0][1] == (50, 20, 70, 50)
    hard = Mixture(kinds=(("composite", 1.0),), hard=1.0, composing=Composing(others=(3, 3)))
    alarms = [(number, box) for number, box, _ in found]
    with_alarms, without = (
        Scenes(whole, 96, mixture=hard, alarms=alarms),
        Scenes(whole, 96, mixture=hard),
    )
    assert any((with_alarms.sample(k).image != without.sample(k).image).any() for k in range(3))


def test_small_and_large_pictures_are_mined_at_other_sizes(whole):
    shapes = []

    class Seer(Eager):
        def detect(self, image):
            shapes.append(image.shape[:2])
            return super().detect(image)

    found = list(mine(Seer(), whole.backgrounds[:1], Store(), most=1, zoom=2.0))
    rows, cols = Store().pixels(whole.backgrounds[0]).shape[:2]
    assert shapes == [(2 * rows, 2 * cols)]
    assert found[0][1] == (25, 10, 35, 25)


def test_frames_about_alarms_show_them_whole_and_teach_no_face(whole):
    """A white square on black is the alarm: it is in each frame, with what is around it."""
    entry = whole.backgrounds[0]
    pixels = np.zeros((100, 140, 4), np.uint8)
    pixels[30:60, 50:80], pixels[..., 3] = 255, 255

    class Bright(Store):
        def pixels(self, entry):
            return pixels

    how = Mixture(kinds=(("alarm", 1.0),))
    scenes = Scenes(replace(whole, backgrounds=[entry]), 96, mixture=how,
                    alarms=[(0, (50, 30, 80, 60))])  # fmt: skip
    scenes.store = Bright()
    for k in range(30):
        sample = scenes.sample(k)
        assert len(sample.boxes) == len(sample.ignore) == 0
        assert np.ptp(sample.image.mean(2)) > 30


def test_crowds_are_shown_more_often_and_heads_to_be_ignored_as_well(whole):
    one = next(p for p in whole.pictures if p.entry.name == "mask1.png")
    few = replace(one, boxes=one.boxes[:1], landmarks=one.landmarks[:1])
    many = replace(one, entry=replace(one.entry, name="mask2.png"),
                   boxes=np.repeat(one.boxes[:1], 16, 0),
                   landmarks=np.repeat(one.landmarks[:1], 16, 0))  # fmt: skip
    none = replace(few, boxes=NONE, landmarks=np.empty((0, 5, 2), np.float32))

    def drawn(crowds):
        data = replace(whole, pictures=[few, many, none])
        scenes = Scenes(data, 64, mixture=Mixture(crowds=crowds))
        rng = np.random.default_rng(0)
        counts = [len(scenes._pictures.draw(rng).boxes) for _ in range(3000)]
        return [counts.count(n) / 3000 for n in (0, 1, 16)]

    np.testing.assert_allclose(drawn(0.0), [0, 1 / 2, 1 / 2], atol=0.03)
    np.testing.assert_allclose(drawn(0.5), [1 / 6, 1 / 6, 4 / 6], atol=0.03)


def test_the_sheet(folder, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    argv = [str(out), "--data", str(folder[0]), "--count", "5", "--columns", "3", "--size", "64"]
    assert sheet.main([*argv, "--only", "picture"]) == 0
    assert "5 frames" in capsys.readouterr().out
    with Image.open(out) as page:
        assert page.size == (3 * 68, 2 * 68)
    assert sheet.main([str(out), "--data", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("sheet: ")


@real
def test_real_frames(true_data):
    scenes = Scenes(true_data[1], 128, seed=2)
    samples = [scenes.sample(k) for k in range(40)]
    assert {s.kind for s in samples} == set(KINDS) - {"alarm"}  # which nobody has handed over
    assert sum(len(s.boxes) for s in samples) > 30
