"""Objects out of pictures: cut without squashing, counted, split without leaks."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vj.errors import SourceError, TrainingError
from vj.io.images import write_image
from vj.train.augment import PLAIN, Augment
from vj.train.samples import PatchStream, draw_pictures, fit_window, read_crops, split_groups
from vj.train.sources import gather_scenes, list_positives, read_backgrounds, read_positives
from vj.train.vec import write_vec
from vj.train.workers import Workers

WINDOW = (24, 24)


def picture(seed=0, rows=60, cols=90):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (rows // 6, cols // 6)).repeat(6, 0).repeat(6, 1).astype(np.uint8)


def write_bundle(folder, boxes, seed=0):
    write_image(folder / f"p{seed}.png", picture(seed))
    (folder / "annotations.json").write_text(json.dumps([{"file": f"p{seed}.png", "boxes": boxes}]))
    return folder


@given(
    st.floats(1, 100), st.floats(1, 100), st.sampled_from([(24, 24), (20, 40), (40, 16)]),
    st.floats(0.5, 2),
)  # fmt: skip
def test_windows_keep_their_aspect_and_hold_the_box(w, h, window, margin):
    box = np.array([10.0, 20.0, 10 + w, 20 + h])
    got = fit_window(box, window, margin)
    width, height = got[2:] - got[:2]
    assert width / height == pytest.approx(window[1] / window[0])
    assert width >= w * margin - 1e-6
    assert height >= h * margin - 1e-6
    np.testing.assert_allclose(got[:2] + got[2:], box[:2] + box[2:])


def test_crops_of_boxes_small_clipped_and_repeated_ones(tmp_path):
    boxes = [[10, 10, 30, 30], [10, 10, 30, 30], [5, 5, 6, 6], [70, 40, 40, 40]]
    crops, findings = read_crops(read_positives(write_bundle(tmp_path, boxes)), WINDOW)
    assert len(crops) == 2
    assert findings.too_small == [f"{tmp_path}/annotations.json: entry 0, box 3: 6x6 px"]
    assert "box 2 repeats" in findings.duplicates[0]
    assert "box 4 leaves the picture of 90x60" in findings.clipped[0]


def test_boxes_outside_their_picture_are_left_out(tmp_path):
    boxes = [[10, 10, 30, 30], [90, 10, 30, 30], [10, -40, 30, 40]]
    crops, findings = read_crops(read_positives(write_bundle(tmp_path, boxes)), WINDOW)
    assert len(crops) == 1
    assert [text.split(", ")[-1] for text in findings.outside] == [
        "box 2 in 90x60",
        "box 3 in 90x60",
    ]


def test_what_is_drawn_fits_count_and_memory(tmp_path):
    boxes = [[10, 10, 30, 30], [50, 20, 40, 30]]
    some = [
        replace(read_positives(write_bundle(tmp_path, boxes, k))[0], name=str(k)) for k in range(40)
    ]
    bare = [replace(some[0], name="bare", boxes=np.empty((0, 4)))]
    how = {"window": WINDOW, "margin": 1.0, "reach": 1.5, "seed": 0}

    def names(count, memory):
        return [p.name for p in draw_pictures(some + bare, count=count, memory=memory, **how)]

    every = [*map(str, range(40)), "bare"]
    assert names(80, 1 << 30) == every
    few = names(30, 1 << 30)
    assert (len(few), few[-1]) == (16, "bare")
    assert few[:-1] == sorted(few[:-1], key=int) != every[:15]
    kept = set(names(80, 20_000))
    size = sum(c.pixels.nbytes for c in read_crops([p for p in some if p.name in kept], WINDOW)[0])
    assert 5_000 < size < 25_000


def test_a_folder_of_crops_a_vec_file_and_arrays_are_objects(tmp_path):
    for k in range(3):
        write_image(tmp_path / f"käfer {k}.png", picture(k, 48, 48))
    vec = tmp_path / "a.vec"
    write_vec(vec, np.stack([picture(k, 24, 24) for k in (7, 8)]))
    for positives, count in ((tmp_path, 3), (vec, 2), ([picture(9), picture(10)], 2), (vec, 2)):
        pictures, arrays = list_positives(positives, WINDOW)
        crops, findings = read_crops(pictures, WINDOW, arrays=arrays)
        assert len(crops) == count
        assert not findings.unreadable


def test_unreadable_pictures_are_named_and_the_others_used(tmp_path):
    write_image(tmp_path / "good.png", picture())
    (tmp_path / "bad.png").write_bytes(b"no picture")
    crops, findings = read_crops(read_positives(tmp_path), WINDOW)
    assert len(crops) == 1
    assert "bad.png: not a picture" in findings.unreadable[0]


def test_sixteen_bit_and_cmyk_pictures_are_read(tmp_path):
    from PIL import Image

    wide = picture().astype(np.uint16) * 257
    Image.fromarray(wide).save(tmp_path / "wide.png")
    Image.fromarray(picture(1)).convert("CMYK").save(tmp_path / "print.jpg")
    crops, findings = read_crops(read_positives(tmp_path), WINDOW)
    assert (len(crops), findings.unreadable) == (2, [])


def test_backgrounds_from_lists_with_every_line_end(tmp_path, monkeypatch):
    (tmp_path / "sub dir").mkdir()
    write_image(tmp_path / "sub dir" / "ä.png", picture())
    write_image(tmp_path / "b.png", picture(1))
    bg = tmp_path / "lists" / "bg.txt"
    bg.parent.mkdir()
    bg.write_bytes("\r\n# backgrounds\r\n../sub dir/ä.png\r\n\r\nb.png\r\n".encode())
    monkeypatch.chdir(tmp_path)  # the second path counts from here, the first from the list
    scenes = gather_scenes(bg)
    assert [scene.size() for scene in scenes] == [(90, 60), (90, 60)]
    missing = bg.with_name("gone.txt")
    missing.write_text("gone.png\n")
    (scene,) = gather_scenes(missing)
    with pytest.raises(SourceError, match=r"gone\.txt:1: no picture at"):
        scene.size()


def test_annotated_backgrounds_know_their_objects(tmp_path):
    (scene,) = gather_scenes(write_bundle(tmp_path, [[10, 10, 30, 30]]))
    assert scene.boxes.tolist() == [[10, 10, 40, 40]]


def test_nothing_there(tmp_path):
    with pytest.raises(SourceError, match="no such file or folder"):
        read_positives(tmp_path / "x")
    with pytest.raises(SourceError, match="holds neither box files nor pictures"):
        read_backgrounds(tmp_path)


@given(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=40), st.integers(0, 99))
def test_no_group_is_on_both_sides(groups, seed):
    train, held = split_groups(groups, 0.25, seed)
    if len(set(groups)) == 1:
        assert train.tolist() == held.tolist() == list(range(len(groups)))
        return
    assert sorted([*train, *held]) == list(range(len(groups)))
    assert len(train)
    assert len(held)
    assert not {groups[k] for k in train} & {groups[k] for k in held}


def test_a_patch_is_the_same_whenever_and_however_it_is_asked_for():
    arrays = [(f"n{k}", picture(k, 40, 40)) for k in range(5)]
    crops, _ = read_crops([], WINDOW, arrays=arrays)
    stream = PatchStream(crops, WINDOW, Augment(), seed=3)
    whole = stream.take(0, 600)
    np.testing.assert_array_equal(whole[250:420], stream.take(250, 170))
    workers = Workers(2)
    np.testing.assert_array_equal(whole, stream.take(0, 600, workers))
    workers.close()
    plain = PatchStream(crops, WINDOW, PLAIN, seed=3).take(0, 10)
    np.testing.assert_array_equal(plain[:5], plain[5:])  # every object once, then again
    assert len(np.unique(plain[:5].reshape(5, -1), axis=0)) == 5


def test_no_objects_is_an_error():
    with pytest.raises(TrainingError, match="no objects to learn"):
        PatchStream([], WINDOW, PLAIN, 0)
