"""Every reader on a small file of its format, and on broken ones."""

import json
import zipfile

import numpy as np
import pytest

from vj.datasets.annotations import Shelf, read_annotations
from vj.errors import SourceError
from vj.io.images import write_image


@pytest.fixture
def picture(tmp_path):
    write_image(tmp_path / "a.png", np.arange(20 * 40, dtype=np.uint8).reshape(20, 40))
    return tmp_path


def write(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


VOC = """<annotation>
  <filename>a.png</filename>
  <object><name>cup</name><bndbox><xmin>3</xmin><ymin>2</ymin><xmax>12</xmax><ymax>11</ymax></bndbox></object>
  <object><name>cup</name><difficult>1</difficult><bndbox><xmin>20</xmin><ymin>5</ymin><xmax>25</xmax><ymax>9</ymax></bndbox></object>
  <object><name>jug</name><bndbox><xmin>30</xmin><ymin>2</ymin><xmax>35</xmax><ymax>11</ymax></bndbox></object>
</annotation>"""
CVAT = """<annotations><version>1.1</version>
<image id="0" name="a.png" width="40" height="20">
  <box label="cup" xtl="2" ytl="1" xbr="12" ybr="11"/>
  <polygon label="jug" points="29,1;35,4;31,11"/>
</image></annotations>"""
COCO = {
    "images": [{"id": 7, "file_name": "a.png"}],
    "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "jug"}],
    "annotations": [
        {"image_id": 7, "category_id": 1, "bbox": [2, 1, 10, 10]},
        {"image_id": 7, "category_id": 2, "bbox": [29, 1, 6, 10]},
        {"image_id": 7, "category_id": 1, "bbox": [20, 4, 6, 5], "iscrowd": 1},
    ],
}
LABELME = {
    "imagePath": "a.png",
    "shapes": [
        {"label": "cup", "points": [[12, 11], [2, 1]], "shape_type": "rectangle"},
        {"label": "jug", "points": [[29, 1], [35, 4], [31, 11]], "shape_type": "polygon"},
    ],
}
BUNDLE = [{"file": "a.png", "boxes": [[2, 1, 10, 10], [29, 1, 6, 10]], "ignore": [[20, 4, 6, 5]]}]
CUP, JUG = [2, 1, 12, 11], [29, 1, 35, 11]


@pytest.mark.parametrize(
    ("name", "content", "labelled", "ignored"),
    [
        ("x.xml", VOC, True, 1),
        ("cvat.xml", CVAT, True, 0),
        ("coco.json", COCO, True, 1),
        ("a.json", LABELME, True, 0),
        ("annotations.json", BUNDLE, False, 1),
        ("info.dat", "# list\r\n\r\na.png 2 2 1 10 10 29 1 6 10\r\n", False, 0),
        (
            "wider.txt",
            "a.png\n3\n2 1 10 10 0 0 0 0 0 0\n29 1 6 10 0 0 0 0 0 0\n20 4 6 5 0 0 0 1 0 0\n",
            False,
            1,
        ),
    ],
)
def test_reads(picture, name, content, labelled, ignored):
    (got,) = read_annotations(write(picture, name, content))
    assert got.boxes.tolist() == [CUP, JUG]
    assert got.labels == (("cup", "jug") if labelled else ())
    assert len(got.ignore) == ignored
    assert got.read().shape == (20, 40)


def test_reads_yolo_with_names_and_pictures_beside(tmp_path):
    write(tmp_path, "labels/a.txt", "1 0.175 0.3 0.25 0.5\n0 0.8 0.3 0.15 0.5\n")
    write(tmp_path, "classes.txt", "jug\ncup\n")
    (tmp_path / "images").mkdir()
    write_image(tmp_path / "images" / "a.png", np.zeros((20, 40), np.uint8))
    (got,) = read_annotations(tmp_path)
    np.testing.assert_allclose(got.boxes, [CUP, JUG])
    assert got.labels == ("cup", "jug")


def test_reads_fddb_ellipses(picture):
    (got,) = read_annotations(write(picture, "fddb.txt", "a\n1\n10 5 1.570796326795 20 10  1\n"))
    np.testing.assert_allclose(got.boxes, [[15, 0, 25, 20]], atol=1e-6)


def test_reads_tables_with_groups_and_rolls(picture):
    header = "file,group,box_x,box_y,box_w,box_h,roll_deg\n"
    text = header + "a.png,Ann,2,1,10,10,-5\na.png,,29,1,6,10,\n"
    (got,) = read_annotations(write(picture, "faces.csv", text))
    assert got.boxes.tolist() == [CUP, JUG]
    assert got.groups == ("Ann", "a.png#1")
    assert got.rolls == (-5, 0)
    with pytest.raises(SourceError, match=r"bad\.csv:1: the header lacks box_h, box_w"):
        read_annotations(write(picture, "bad.csv", "file,box_x,box_y\n"))
    with pytest.raises(SourceError, match=r"bad\.csv:2: wanted 4 numbers"):
        read_annotations(write(picture, "bad.csv", header + "a.png,Ann,2,1,10,,0\n"))


def test_a_wider_picture_without_faces_has_a_row_of_zeros(picture):
    text = "a.png\n0\n0 0 0 0 0 0 0 0 0 0\na.png\n1\n2 1 10 10 0 0 0 0 0 0\n"
    first, second = read_annotations(write(picture, "wider.txt", text))
    assert (len(first.boxes), len(second.boxes)) == (0, 1)


def test_boxes_of_other_classes_are_ignored_not_background(picture):
    (got,) = read_annotations(write(picture, "coco.json", COCO), names=["jug"])
    assert got.boxes.tolist() == [JUG]
    assert CUP in got.ignore.tolist()


def test_names_with_spaces_and_letters_of_any_language(tmp_path):
    write_image(tmp_path / "ein Bild ü.png", np.zeros((20, 40), np.uint8))
    (got,) = read_annotations(write(tmp_path, "info.txt", "ein Bild ü.png 1 2 1 10 10\n"))
    assert got.read().shape == (20, 40)


def test_pictures_in_a_zip(tmp_path, picture):
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.write(picture / "a.png", "sub/b.png")
    (got,) = read_annotations(
        write(tmp_path, "annotations.json", [{"file": "sub/b.png", "boxes": []}])
    )
    assert got.read().shape == (20, 40)
    assert [p.name for p in Shelf(tmp_path / "images.zip").all()] == ["b.png"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.xml", "<annotation>\n<object>\n</annotation>", r"x\.xml:3: not XML"),
        ("x.xml", "<annotation>\n<object/>\n</annotation>", r"x\.xml:2: <object> has no <bndbox>"),
        (
            "x.xml",
            VOC.replace("<xmin>30</xmin>", "<xmin>left</xmin>"),
            r"x\.xml:5: <bndbox> xmin, ymin, xmax, ymax: wanted 4 numbers, got \['left'",
        ),
        ("c.xml", "<annotations>\n<track/></annotations>", "export it as .CVAT for images."),
        ("c.xml", CVAT.replace('xtl="2"', ""), r"c\.xml:3: <box> xtl"),
        ("c.json", '{"images": [],\n "annotations": [}', r"c\.json:2: not JSON"),
        ("c.json", {"images": []}, "wanted an object with 'annotations'"),
        (
            "c.json",
            {**COCO, "annotations": [{"image_id": 7, "bbox": [1, 2, 3]}]},
            "annotation 0, bbox: wanted 4",
        ),
        ("l.json", {"shapes": [{"points": [[1, 2]]}]}, "shape 0: wanted at least 2 points"),
        ("annotations.json", [{"file": "a.png"}], "entry 0: wanted an object with 'boxes'"),
        ("info.txt", "a.png 1 2 1 10 10\na.png 2 1 2 3 4\n", r"info\.txt:2: wanted `picture n`"),
        ("w.txt", "a.png\n2\n2 1 10 10 0 0 0 0 0 0\n", r"w\.txt:1: a\.png promises 2 boxes, has 1"),
        ("w.txt", "a.png\n1\n2 1 x 10\n", r"w\.txt:3: wanted 4 numbers"),
        ("w.txt", "hello\nworld\n", r"w\.txt:1: no list of boxes"),
        ("c.json", {"images": [], "annotations": []}, "read as coco: names no picture"),
        # numbers that Python alone would take, or stumble over
        ("w.txt", "a.png\n²\n", r"w\.txt:1: no list of boxes"),
        (
            "w.txt",
            "a.png\n1\n2 1 9 9\nb.png\n²\n",
            r"w\.txt:5: wanted the number of boxes, got '²'",
        ),
        ("w.txt", "a.png\n1\n1_0 1 9 9\n", r"w\.txt:3: wanted 4 numbers"),
        ("w.txt", f"a.png\n{'9' * 5000}\n", r"w\.txt:1: no list of boxes"),
        ("info.txt", "a.png ² 2 1 10 10\n", r"info\.txt:1: no list of boxes"),
        (
            "info.txt",
            "a.png 1 2 1 10 10\na.png 1 2 1 1e300 9\n",
            r"info\.txt:2: wanted `picture n`",
        ),
        (
            "annotations.json",
            [{"file": "a.png", "boxes": [[1, 2, True, 4]]}],
            r"boxes\[0\]: wanted 4",
        ),
        ("annotations.json", [{"file": "a.png", "boxes": [[1, 2, 1e9, 4]]}], "of at most 16777216"),
        ("annotations.json", [{"file": "a.png", "boxes": [[9, 2, -3, 4]]}], "no negative size"),
        (
            "annotations.json",
            f'[{{"file": "a.png", "boxes": [[1, 2, {"9" * 5000}, 4]]}}]',
            "not JSON",
        ),
        # values of other kinds
        (
            "annotations.json",
            [{"file": "a.png", "boxes": 7}],
            "entry 0, boxes: wanted a list, got 7",
        ),
        ("annotations.json", [7], "entry 0: wanted an object, got 7"),
        ("annotations.json", [{"file": ["a"], "boxes": []}], "entry 0, file: wanted text"),
        ("annotations.json", [{"file": "a\nb", "boxes": []}], "a name on one line"),
        (
            "annotations.json",
            [{"file": "a" * 5000, "boxes": []}],
            "at most 4096 characters, got 5000",
        ),
        ("c.json", '"text"', "wanted an object, got 'text'"),
        (
            "c.json",
            {**COCO, "categories": [{"id": [1], "name": "x"}]},
            "category 0, id: wanted a number",
        ),
        ("c.json", {**COCO, "categories": 3}, "categories: wanted a list, got 3"),
        ("c.json", {**COCO, "images": [{"id": {}, "file_name": "a.png"}]}, "image 0, id: wanted a"),
        ("l.json", {"shapes": {}}, "shapes: wanted a list"),
        ("l.json", {"shapes": [{"points": {"a": 1}}]}, "shape 0, points: wanted a list"),
        ("l.json", {"shapes": [{"points": [[1, 2], 3]}]}, r"points\[1\]: wanted 2 numbers, got 3"),
        # files that are nested without end, or of an encoding that does not exist
        ("l.json", "[" * 100_000, r"l\.json: nested in more than 100 levels"),
        ("l.json", '{"a":' * 100_000, r"l\.json: nested in more than 100 levels"),
        (
            "c.xml",
            CVAT.replace("<image", "<d>\n" * 2000 + "<image"),
            r"c\.xml:101: nested in more than",
        ),
        ("x.xml", '<?xml version="1.0" encoding="klingon"?><annotation/>', r"x\.xml"),
        (
            "t.csv",
            f"file,box_x,box_y,box_w,box_h\na.png,{'1' * 200_000},1,1,1\n",
            r"t\.csv:\d: not CSV",
        ),
        ("t.csv", "file,box_x,box_y,box_w,box_h\na.png,1 1,1,9,9\n", r"t\.csv:2: wanted 4 numbers"),
        (
            "t.csv",
            "file,box_x,box_y,box_w,box_h,roll_deg\na.png,1,1,9,9,left\n",
            r"t\.csv:2: wanted 1 number, got \['left'\]",
        ),
    ],
)
def test_errors_name_file_and_line(picture, name, content, says):
    with pytest.raises(SourceError, match=says):
        read_annotations(write(picture, name, content))


def test_brackets_within_names_are_not_levels(picture):
    note = {"file": "a.png", "boxes": [], "source": '"[{' * 200}
    (got,) = read_annotations(write(picture, "annotations.json", [note]))
    assert got.source == '"[{' * 200


@pytest.mark.parametrize("kind", ["1.5", "-1", "1e300", "nan"])
def test_a_yolo_class_is_a_whole_number(picture, kind):
    write(picture, "a.txt", f"{kind} 0.5 0.5 0.1 0.1\n")
    with pytest.raises(SourceError, match=r"a\.txt:1"):
        read_annotations(picture)


def test_a_name_that_no_file_can_have_is_a_missing_picture(picture):
    for name in ("a" * 300 + ".png", "a.png/b.png"):
        (got,) = read_annotations(write(picture, "info.txt", f"{name} 1 2 1 10 10\n"))
        with pytest.raises(SourceError, match=r"info\.txt:1: no picture at"):
            got.read()


def test_broken_and_encrypted_archives_are_named(picture):
    notes = write(picture, "annotations.json", [{"file": "b.png", "boxes": []}])
    with zipfile.ZipFile(picture / "images.zip", "w") as archive:
        archive.write(picture / "a.png", "b.png")
    whole = (picture / "images.zip").read_bytes()
    for at, value in ((whole.index(b"PK\1\2") + 8, 1), (whole.index(b"PK\1\2") + 10, 99)):
        (picture / "images.zip").write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
        (got,) = read_annotations(notes)
        with pytest.raises(SourceError, match=r"b\.png: cannot read"):
            got.read()
    with zipfile.ZipFile(picture / "images.zip", "w") as archive:
        archive.writestr("//", b"")  # older Pythons look for its folder for ever
    with pytest.raises(SourceError, match=r"images\.zip: broken zip archive"):
        read_annotations(notes)


def test_missing_things_are_named(tmp_path):
    with pytest.raises(SourceError, match="no such file or folder"):
        read_annotations(tmp_path / "nothing")
    with pytest.raises(SourceError, match="no box files"):
        read_annotations(tmp_path)
    with pytest.raises(SourceError, match=r"no \.csv file in this folder"):
        read_annotations(tmp_path, format="table")
    with pytest.raises(SourceError, match="unknown format 'vox'"):
        read_annotations(tmp_path, format="vox")
    (got,) = read_annotations(write(tmp_path, "info.txt", "gone.png 1 2 1 10 10\n"))
    with pytest.raises(SourceError, match=r"info\.txt:1: no picture at .*gone\.png"):
        got.read()
    write(tmp_path, "labels/a.txt", "0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(SourceError, match=r"no picture a\.\*"):
        read_annotations(tmp_path, format="yolo")
    write_image(tmp_path / "a.png", np.zeros((20, 40), np.uint8))
    write(tmp_path, "labels/a.txt", "0 5 0.5 0.1 0.1\n")
    (tmp_path / "images").mkdir()
    write_image(tmp_path / "images" / "a.png", np.zeros((20, 40), np.uint8))
    with pytest.raises(SourceError, match=r"a\.txt:1: YOLO boxes are parts"):
        read_annotations(tmp_path, format="yolo")
