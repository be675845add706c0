"""Training sets from clones: what is read, what may not be learned from, and what is written."""

import io
import json
import shutil
import subprocess
import zipfile
from functools import partial

import detector_bundle as bundle
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from nets.detectors.gather import __main__ as gather
from nets.detectors.gather import sets
from nets.detectors.gather.clones import Clone
from nets.detectors.gather.hashes import NEAR, Known, hash_of, hashes_of
from nets.detectors.gather.sets import SETS, Item, Set
from nets.detectors.gather.unlabelled import Teacher
from nets.detectors.gather.write import write_set
from nets.detectors.training.data import WIDER, Sets, read_data, read_pictures
from nets.detectors.training.store import Store
from nets.detectors.training.wild import free_names, wild_names
from vj.detections import Detections
from vj.errors import SourceError
from vj.io.files import data_folder

DATA = data_folder()
VOC = "<annotation>{}</annotation>"
BOX = ("<object><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"
       "</object>")  # fmt: skip


def picture(seed, width=120, height=90, kind="JPEG"):
    """A picture and its bytes."""
    image, buffer = bundle.texture(np.random.default_rng(seed), width, height, 6), io.BytesIO()
    image.save(buffer, kind, quality=95)
    return image, buffer.getvalue()


def repository(folder, files, bare=False):
    """A repository of one commit; its name."""
    folder.mkdir(parents=True)

    def git(*args):
        who = ["-c", "user.name=n", "-c", "user.email=e@e", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", "-C", folder, *who, *args], capture_output=True, check=True)
        return done.stdout.decode().strip()

    git("init", "-q")
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    git("add", "-A")
    git("commit", "-qm", "all")
    commit = git("rev-parse", "HEAD")
    if bare:
        shutil.move(folder / ".git", folder.with_name("bare"))
        shutil.rmtree(folder)
        folder.with_name("bare").rename(folder)
        git("config", "core.bare", "true")
    return commit


class Sees:
    """A teacher that sees the same boxes in every picture."""

    def __init__(self, *boxes):
        self.found = np.array(boxes, np.float32).reshape(-1, 4)

    def boxes(self, image):
        return self.found

    unlabelled = Teacher.unlabelled


def written(folder):
    rows = json.loads((folder / "annotations.json").read_text())
    with zipfile.ZipFile(folder / "images.zip") as archive:
        images = {name: Image.open(io.BytesIO(archive.read(name))) for name in archive.namelist()}
    assert {row["file"] for row in rows} == set(images)
    for row in rows:
        assert images[row["file"]].size == (row["width"], row["height"])
    return rows


# --------------------------------------------------------------------------- clones


@pytest.mark.parametrize("bare", [False, True], ids=["work tree", "bare"])
@pytest.mark.parametrize("place", ["owner/name", "owner+name", "name", "owner+name/repo"])
def test_files_of_a_commit_are_read_from_any_clone(tmp_path, bare, place):
    commit = repository(tmp_path / place, {"a/b c.txt": b"one\n", "a/d": b"", "e": b"two"}, bare)
    clone = Clone.find(tmp_path, "owner/name", commit)
    assert clone.names() == ["a/b c.txt", "a/d", "e"]
    assert clone.names("a") == ["a/b c.txt", "a/d"]
    assert list(clone.read(["e", "none", "a/b c.txt"])) == [
        ("e", b"two"), ("none", b""), ("a/b c.txt", b"one\n"),
    ]  # fmt: skip
    with pytest.raises(SourceError, match="none is missing: clone it in full"):
        clone.one("none")


def test_missing_clones_and_commits_are_named(tmp_path):
    with pytest.raises(SourceError, match=r"no clone of owner/name: git clone https://"):
        Clone.find(tmp_path, "owner/name", "0" * 40)
    repository(tmp_path / "name", {"a": b"a"})
    with pytest.raises(SourceError, match=f"name: has no commit {'0' * 40}: fetch it"):
        Clone.find(tmp_path, "owner/name", "0" * 40)


# --------------------------------------------------------------------------- hashes


def test_a_picture_is_known_again_small_mirrored_and_compressed():
    image, _ = picture(1, 400, 300)
    known = Known([hash_of(image)[0]])
    changed = image.resize((133, 100)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    buffer = io.BytesIO()
    changed.save(buffer, "JPEG", quality=40)
    assert known.has(hash_of(Image.open(buffer)))
    assert not known.has(hash_of(picture(2, 400, 300)[0]))
    assert not Known().has(hash_of(image))


def test_as_many_bits_as_are_allowed_may_differ():
    known = Known([0])
    assert known.has(((1 << NEAR) - 1, 2**64 - 1))
    assert known.has((2**64 - 1, (1 << NEAR) - 1))
    assert not known.has(((1 << (NEAR + 1)) - 1, 2**64 - 1))


# --------------------------------------------------------------------------- labels


def found(tmp_path, items, files, data=None):
    clone = Clone("o/n", repository(tmp_path / "c", files), tmp_path / "c")
    return list(items([clone], data))


def test_labels_of_voc(tmp_path):
    _, content = picture(1)
    label = VOC.format(BOX.format(10, 20, 40, 60) + BOX.format(50, 10, 70, 35)).encode()
    files = {"p/test_1.jpg": content, "p/other.jpg": content, "p/test_2.jpg": content,
             "l/test_1.xml": label, "l/other.xml": label}  # fmt: skip
    (item,) = found(tmp_path, partial(sets.voc, pictures="p", labels="l", names="test_"), files)
    assert (item.original, item.content) == ("p/test_1.jpg", content)
    assert item.boxes.tolist() == [[10, 20, 40, 60], [50, 10, 70, 35]]


def test_labels_of_yolo(tmp_path):
    _, content = picture(1)
    files = {"data/images/a.jpg": content, "data/labels/a.txt": b"0 0.5 0.5 0.25 0.2\n",
             "data/images/b.jpg": content}  # fmt: skip
    (item,) = found(tmp_path, sets.yolo, files)
    np.testing.assert_allclose(item.boxes, [[45, 36, 75, 54]], atol=1e-4)


def test_landmarks_of_one_photograph_are_brought_together(tmp_path):
    _, content = picture(1)
    points = np.stack([np.linspace(10, 40, 68), np.linspace(30, 50, 68)], 1)
    rows = "\n".join(f"{x} {y}" for x, y in points)
    whole = f"version: 1\nn_points: 68\n{{\n{rows}\n}}\n"
    files = {"afw/afw/1_1.jpg": content, "afw/afw/1_1.pts": rows.encode(),
             "afw/afw/1_2.jpg": content, "afw/afw/1_2.pts": whole.encode(),
             "other/x.jpg": content, "other/x.pts": rows.encode()}  # fmt: skip
    (item,) = found(tmp_path, sets.landmarks, files)
    np.testing.assert_allclose(item.boxes, [[10, 23, 40, 50]] * 2, atol=1e-4)
    eye = points[36:42].mean(0)
    np.testing.assert_allclose(item.landmarks[:, 0], [eye, eye])
    np.testing.assert_allclose(item.landmarks[0, 2:], points[[30, 48, 54]])


def test_of_wider_only_named_pictures_that_are_not_held_out(tmp_path):
    """The first of each eight names is the development set; what is not named is for testing."""
    names = [f"e_{k}" for k in range(9)]
    listed = [
        {"file": f"wider_{k}.avif", "original": f"data/WIDER_train/images/e/{n}.jpg", "scale": 0.5,
         "ignore_auto": [[10, 10, 5, 5]]}
        for k, n in enumerate(names)
    ]  # fmt: skip
    (tmp_path / "boxes_wider").mkdir()
    (tmp_path / "boxes_wider" / "annotations.json").write_text(json.dumps(listed))
    boxes, invalid, files = (np.empty((1, 1), object) for _ in range(3))
    whole = [*names, "e_test"]
    boxes[0, 0], invalid[0, 0], files[0, 0] = (np.empty((len(whole), 1), object) for _ in range(3))
    for k, name in enumerate(whole):
        boxes[0, 0][k, 0] = np.array([[1, 2, 30, 40], [5, 5, 3, 9], [50, 5, 20, 20]])
        invalid[0, 0][k, 0], files[0, 0][k, 0] = np.array([[0], [0], [1]]), name
    buffer = io.BytesIO()
    savemat(buffer, {"face_bbx_list": boxes, "invalid_label_list": invalid, "file_list": files})
    place = "data/wider_face_split/wider_face_{}.mat"
    content = {place.format(part): buffer.getvalue() for part in ("train", "val")}
    content |= {f"data/WIDER_train/images/e/{n}.jpg": n.encode() for n in whole}
    clone = Clone("o/n", repository(tmp_path / "c", content), tmp_path / "c")
    items = list(sets.wider([clone, clone], tmp_path))
    assert [item.content.decode() for item in items] == names[1:8]
    assert items[0].boxes.tolist() == [[1, 2, 31, 42]]
    assert items[0].ignore.tolist() == [[5, 5, 8, 14], [50, 5, 70, 25], [20, 20, 30, 30]]


def test_what_resembles_test_pictures_elsewhere_is_left_out(tmp_path):
    _, first = picture(1)
    image, second = picture(2)
    buffer = io.BytesIO()
    image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(buffer, "PNG")
    other = repository(tmp_path / "other", {"data/images/t.png": buffer.getvalue()})
    clones = [Clone("a/b", "", tmp_path), Clone("c/d", other, tmp_path / "other")]
    items = [Item("first", first), Item("second", second)]
    kept = list(sets.unlike(lambda own, data: iter(items), clones, tmp_path))
    assert [item.original for item in kept] == ["first"]


# --------------------------------------------------------------------------- a set


def test_what_is_written_can_be_read_as_a_set(tmp_path):
    _, content = picture(1, 800, 600)
    points = np.full((3, 5, 2), 100.0)
    boxes = np.array([[100, 100, 200, 220], [-50, 580, 60, 700], [900, 10, 950, 60]], np.float32)
    item = Item("x/1.jpg", content, boxes, np.array([[0, 0, 4, 4]], np.float32), points)
    one = Set({}, lambda *_: iter(()), "source", side=400)
    teacher = Sees([55, 55, 95, 105], [300, 200, 340, 250])  # the first is labelled
    counts = write_set(tmp_path / "one", one, iter([item]), Known(), teacher)
    assert counts == {"kept": 1}
    (row,) = written(tmp_path / "one")
    assert (row["width"], row["height"], row["source"]) == (400, 300, "source")
    (read,) = read_pictures(tmp_path / "one")
    np.testing.assert_allclose(read.boxes, [[50, 50, 100, 110], [0, 290, 30, 300]])
    np.testing.assert_allclose(read.landmarks, np.full((2, 5, 2), 50))
    np.testing.assert_allclose(read.ignore, [[0, 0, 2, 2], [300, 200, 340, 250]])
    assert hash_of(Store().image(read.entry))[0] in list(hashes_of(tmp_path / "one"))


def test_pictures_that_fit_are_kept_byte_for_byte(tmp_path):
    _, content = picture(1)
    one = Set({}, lambda *_: iter(()), "source", complete=True)
    item = Item("1", content, np.array([[10, 10, 40, 40], [50, 50, 53, 53]], np.float32))
    write_set(tmp_path / "one", one, iter([item]), Known(), Sees())
    with zipfile.ZipFile(tmp_path / "one" / "images.zip") as archive:
        assert archive.read("one_00000.jpg") == content
    (row,) = written(tmp_path / "one")
    assert (row["boxes"], row["ignore"]) == ([[10, 10, 30, 30]], [[50, 50, 3, 3]])


def test_reserved_repeated_broken_and_doubtful_pictures_are_counted(tmp_path):
    reserved, _ = picture(1)
    mirrored = io.BytesIO()
    reserved.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(mirrored, "PNG")
    _, good = picture(2)
    avif = picture(3, kind="AVIF")[1]
    contents = [mirrored.getvalue(), good, good, avif[: len(avif) // 2], b"no picture", avif]
    items = [Item(str(k), content) for k, content in enumerate(contents)]
    one = Set({}, lambda *_: iter(()), "source", faces=False)
    known = Known([hash_of(reserved)[0]])
    counts = write_set(tmp_path / "one", one, iter(items), known, Sees())
    assert counts == {
        "resembles a reserved picture": 1, "kept": 2, "resembles another of the set": 1,
        "cannot be read": 2,
    }  # fmt: skip
    assert [row["original"] for row in written(tmp_path / "one")] == ["1", "5"]
    seen = Sees([10, 10, 30, 30])  # a face where none should be
    with pytest.raises(SourceError, match="no picture is left"):
        write_set(tmp_path / "two", one, iter(items), known, seen)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_an_interrupted_set_has_not_its_name_and_an_old_one_stays(tmp_path):
    one = Set({}, lambda *_: iter(()), "source", complete=True)
    write_set(tmp_path / "one", one, iter([Item("1", picture(1)[1])]), Known(), Sees())

    def items():
        yield Item("2", picture(2)[1])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_set(tmp_path / "one", one, items(), Known(), Sees())
    assert [row["original"] for row in written(tmp_path / "one")] == ["1"]
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    write_set(tmp_path / "one", one, iter([Item("3", picture(3)[1])]), Known(), Sees())
    assert [row["original"] for row in written(tmp_path / "one")] == ["3"]


class Finds:
    def __init__(self, *boxes):
        self.boxes = np.array(boxes, np.float32)

    def detect(self, pixels):
        return Detections(self.boxes, np.ones(len(self.boxes), np.float32))


def test_the_teacher_looks_at_two_sizes_and_tells_what_is_not_labelled():
    teacher = object.__new__(Teacher)
    teacher.looks = [Finds([0, 0, 10, 10]), Finds([50, 50, 70, 70], [0, 0, 10, 10])]
    image = Image.new("L", (80, 80))
    labelled = np.array([[1, 1, 11, 11]], np.float32)
    assert teacher.unlabelled(image, labelled).tolist() == [[50, 50, 70, 70]]
    assert len(teacher.unlabelled(image, labelled[:0])) == 3


def test_a_teacher_without_weights(tmp_path):
    with pytest.raises(SourceError, match=r"yunet_n_dynamic.onnx: no such file"):
        Teacher(tmp_path, 0.4)


# --------------------------------------------------------------------------- the command


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Data in miniature, clones of one set, and a teacher that sees nothing."""
    bundle.build(tmp_path)
    (tmp_path / "boxes_dev").mkdir()
    shutil.copy(tmp_path / "boxes_more" / "annotations.json", tmp_path / "boxes_dev")
    shutil.copy(tmp_path / "boxes_more" / "images.zip", tmp_path / "boxes_dev")
    shutil.copytree(tmp_path / "boxes_train", tmp_path / "boxes_wider")
    with zipfile.ZipFile(tmp_path / "boxes_dev" / "images.zip") as archive:
        reserved = archive.read("more.png")
    label = VOC.format(BOX.format(10, 20, 40, 60)).encode()
    files = {f"p/{k}.jpg": picture(100 + k)[1] for k in range(3)} | {"p/9.jpg": reserved}
    files |= {f"l/{name[2:-4]}.xml": label for name in files}
    commit = repository(tmp_path / "clones" / "o+n", files)
    one = Set({"o/n": commit}, partial(sets.voc, pictures="p", labels="l"), "new")
    monkeypatch.setitem(SETS, "occluded", one)
    monkeypatch.setattr(gather, "Teacher", lambda data, score: Sees())
    return tmp_path


def command(world, *more):
    return gather.main([
        str(world / "clones"), "-o", str(world / "out"), "--data", str(world), *more,
    ])  # fmt: skip


def test_the_command(world, capsys):
    assert command(world, "--only", "occluded") == 0
    said = capsys.readouterr().out
    assert said == "occluded: 3 kept, 1 resembles a reserved picture\n"
    assert len(written(world / "out" / "occluded")) == 3
    assert command(world, "--only", "occluded") == 0
    assert capsys.readouterr().out == "occluded: is there already\n"


def test_the_command_names_a_clone_that_is_missing(world, capsys):
    assert command(world) == 2
    assert "no clone of SihanWang-WHU/Face_Detection: git clone" in capsys.readouterr().err
    assert not (world / "out").exists()


# --------------------------------------------------------------------------- the rules


def test_every_set_has_repositories_at_a_commit():
    for one in SETS.values():
        assert one.repositories
        for name, commit in one.repositories.items():
            assert name.count("/") == 1
            assert len(commit) == 40


def test_the_development_sets_by_rule(world):
    names = sorted(f"{n}.png" for n in ("aaf", *(f"mask{k}" for k in range(12))))
    assert wild_names(world) == [names[0], names[8]]
    (world / "backgrounds_hard").mkdir()
    rows = "".join(f"c_{k}.avif,orig{k}\n" for k in (3, 0, 4, 2, 1))
    place = world / "backgrounds_hard" / "backgrounds_hard.csv"
    place.write_text("file,original\n" + rows)
    assert free_names(world) == {"c_0.avif": "orig0", "c_4.avif": "orig4"}


@pytest.mark.skipif(not (DATA / "boxes_wider").is_dir(), reason="VJ_DATA has no boxes_wider")
def test_nothing_of_the_development_sets_is_trained_on():
    """By hash, of all pictures with faces that come with the data."""
    reserved = Known([
        *hashes_of(DATA / "boxes_dev"), *hashes_of(DATA / "boxes_wider", wild_names(DATA)),
    ])  # fmt: skip
    assert len(reserved.hashes) == 200 + 264
    store, sets = Store(), Sets(("boxes_train", "boxes_more", WIDER), ())
    parts = read_data(DATA, sets)
    seen = [picture.entry for part in parts for picture in part.pictures]
    assert len(seen) > 4000
    assert not [entry.name for entry in seen if reserved.has(hash_of(store.image(entry)))]
