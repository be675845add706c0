"""Small sound files of every format that is read; those of ``VJ_DATA`` come along where it is."""

import csv
import gzip
import hashlib
import io
import json
import warnings
import zipfile
from functools import partial
from pathlib import Path

import numpy as np

from tests.fuzz.graphs import graphs
from tests.fuzz.seeds import Seed, picture_bytes, written


def gray(rows=20, cols=40):
    return (np.arange(rows * cols) % 251).astype(np.uint8).reshape(rows, cols)


def pictures():
    image = np.stack([gray(), gray().T.reshape(20, 40), 255 - gray()], axis=2)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    for format_ in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "TGA", "ICO", "PCX", "SGI"):
        for name, pixels in (("rgb", image), ("gray", image[..., 0])):
            try:
                data = picture_bytes(pixels, format_)
            except OSError:
                continue
            yield Seed(f"{name}.{format_.lower()}", "png" if format_ == "PNG" else "bytes", data)
    yield Seed("turned.jpg", "bytes", picture_bytes(image, "JPEG", exif=exif))
    yield Seed("wide.png", "png", picture_bytes(gray().astype(np.uint16) * 257, "PNG"))
    rgba = np.concatenate([image, gray()[..., None]], axis=2)
    yield Seed("rgba.png", "png", picture_bytes(rgba, "PNG"))
    yield Seed("packed.tif", "bytes", picture_bytes(image, "TIFF", compression="tiff_lzw"))


def cascades():
    from tests.cascades import old_format, random_cascade
    from vj.cascade.opencv_xml import dumps

    rng = np.random.default_rng(1)
    for name, kind, nodes in (
        ("haar", "HAAR", (1, 1)),
        ("trees", "HAAR", (2, 5)),
        ("lbp", "LBP", (1, 3)),
    ):
        cascade = random_cascade(rng, kind, n_stages=2, nodes=nodes)
        yield Seed(f"{name}.xml", "xml", dumps(cascade))
        if kind == "HAAR":
            yield Seed(f"old_{name}.xml", "xml", old_format(cascade).encode())
    yield Seed("haar.xml.gz", "bytes", gzip.compress(dumps(cascade), mtime=0))


VOC = b"""<annotation><filename>a.png</filename>
<object><name>cup</name><bndbox><xmin>3</xmin><ymin>2</ymin><xmax>12</xmax><ymax>11</ymax></bndbox></object>
<object><name>jug</name><difficult>1</difficult>
<bndbox><xmin>20</xmin><ymin>5</ymin><xmax>25</xmax><ymax>9</ymax></bndbox></object></annotation>"""
CVAT = b"""<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><image id="0" name="a.png" width="40" height="20">
<box label="cup" xtl="2" ytl="1" xbr="12" ybr="11"/>
<polygon label="jug" points="29,1;35,4;31,11"/></image></annotations>"""
COCO = {
    "images": [{"id": 7, "file_name": "a.png", "width": 40, "height": 20}],
    "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "jug"}],
    "annotations": [
        {
            "id": 1,
            "image_id": 7,
            "category_id": 1,
            "bbox": [2, 1, 10, 10],
            "area": 100,
            "iscrowd": 0,
        },
        {"id": 2, "image_id": 7, "category_id": 2, "bbox": [29.5, 1, 6, 10], "ignore": 1},
    ],
}
LABELME = {
    "version": "5.0",
    "imagePath": "a.png",
    "shapes": [
        {"label": "cup", "points": [[12, 11], [2, 1]], "shape_type": "rectangle", "group_id": None},
        {
            "label": "jug",
            "points": [[29, 1], [35, 4], [31, 11]],
            "shape_type": "polygon",
            "group_id": 3,
        },
        {"label": "lid", "points": [[9, 9], [12, 9]], "shape_type": "circle"},
    ],
}
BUNDLE = [
    {
        "file": "a.png",
        "boxes": [[2, 1, 10, 10], [29, 1, 6, 10]],
        "ignore": [[20, 4, 6, 5]],
        "source": "s",
    },
    {"file": "sub/b.png", "boxes": [], "ignore_auto": [[1, 2, 3, 4]]},
]
TABLE = """file,group,box_x,box_y,box_w,box_h,roll_deg,source
a.png,Ann,2,1,10,10,-5,s
a.png,,29,1,6,10,,
"""


def annotations():
    beside = {"a.png": picture_bytes(gray(), "PNG")}
    texts = {
        "x.xml": ("xml", VOC),
        "cvat.xml": ("xml", CVAT),
        "coco.json": ("json", json.dumps(COCO).encode()),
        "a.json": ("json", json.dumps(LABELME).encode()),
        "annotations.json": ("json", json.dumps(BUNDLE).encode()),
        "info.dat": (
            "text",
            b"# list\r\na.png 2 2 1 10 10 29 1 6 10\r\nein Bild.png 1 2 1 9 9\r\n",
        ),
        "wider.txt": (
            "text",
            b"a.png\n2\n2 1 10 10 0 0 0 0 0 0\n9 1 6 10 0 0 0 1 0 0\nb.png\n0\n0 0 0 0\n",
        ),
        "fddb.txt": ("text", b"a\n1\n10 5 1.570796326795 20 10  1\n"),
        "faces.csv": ("text", TABLE.encode()),
        "bg.txt": ("text", b"a.png\n# none\nsub/b.png\n"),
    }
    for name, (kind, data) in texts.items():
        yield Seed(name, kind, data, beside)
    yolo = {**beside, "classes.txt": b"jug\ncup\n"}
    yield Seed(
        "labels/a.txt",
        "text",
        b"1 0.175 0.3 0.25 0.5\n0 0.8 0.3 0.15 0.5\n",
        {"images/a.png": beside["a.png"], **yolo},
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", beside["a.png"])
        archive.writestr("sub/b.png", beside["a.png"])
    yield Seed(
        "pictures.zip", "bytes", out.getvalue(), {"annotations.json": json.dumps(BUNDLE).encode()}
    )


def saved():
    box = {"xyxy": [10, 5, 30.5, 17], "score": 2.4, "level": 20, "neighbors": 3}
    marked = {
        "xyxy": [1, 2, 3, 4],
        "score": None,
        "confidence": 0.5,
        "landmarks": [[1, 2], [3, 4]],
        "track_id": 7,
    }
    common = {"schema": 1, "width": 60, "height": 40, "detector": "d"}
    rows = [
        {**common, "source": "a.png", "frame": 0, "time_s": None, "boxes": [box, box]},
        {**common, "source": "v.mp4", "frame": 3, "time_s": 0.12, "boxes": [marked]},
        {**common, "source": "v.mp4", "frame": 4, "time_s": 0.16, "boxes": []},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    yield Seed("found.jsonl", "json", lines.encode())
    yield Seed("found.json", "json", json.dumps({"schema": 1, "results": rows}).encode())
    table = io.StringIO()
    writer = csv.DictWriter(table, [*rows[0], "x1"])
    writer.writeheader()
    writer.writerows({k: v for k, v in row.items() if k != "boxes"} for row in rows)
    yield Seed("found.csv", "text", table.getvalue().encode())


def weights():
    from nets.models.face import FaceNet
    from nets.nn import init
    from nets.nn.state import save_state

    for name, how in (("plain", {}), ("separable", {"separable": True})):
        settings = {"stem": [2, 2], "width": 4, "depths": [0, 1, 1, 0], **how}
        init.seed(1)
        state, notes = FaceNet(**settings).state_dict(), {"facenet": json.dumps(settings)}
        data = written("face.safetensors", partial(save_state, state=state, metadata=notes))
        yield Seed(f"{name}.safetensors", "safetensors", data)


def cards():
    from nets import cards

    for name in ("face-tiny.json", "face-cnn.json"):
        whole = json.loads((cards._FOLDER / name).read_text())
        short = {k: v for k, v in whole.items() if len(json.dumps(v)) < 600}
        yield Seed(name, "json", json.dumps(short).encode())
    learnt = {
        "architecture": {"name": "LeNet5", "parameters": 7, "layers": ["a"]},
        **{"data": {}, "recipe": {"epochs": 3}, "scores": {}, "notes": {}},
        "sha256": hashlib.sha256(b"x").hexdigest(),
    }
    yield Seed("weights.json", "json", json.dumps(learnt).encode(), {"weights.safetensors": b"x"})


def vecs():
    from vj.train.vec import write_vec

    patches = np.arange(3 * 24 * 24, dtype=np.int64).astype(np.uint8).reshape(3, 24, 24)
    yield Seed("a.vec", "bytes", written("a.vec", lambda path: write_vec(path, patches)))
    yield Seed(
        "b.vec", "bytes", written("b.vec", lambda path: write_vec(path, patches[:1, :4, :4]))
    )


def videos():
    from tests.app.clips import make_clip

    small = {"times": range(0, 320, 40), "size": (64, 48), "options": {"fflags": "+bitexact"}}
    for name, options in {
        "a.mp4": {},
        "b.mkv": {"codec": "mpeg4", "pix_fmt": "yuv420p"},
        "c.avi": {"codec": "mjpeg", "pix_fmt": "yuvj444p"},
        "d.ts": {"pix_fmt": "yuv420p"},
        "e.mp4": {"rotation": 90, "codec": "mpeg4", "pix_fmt": "yuv420p"},
    }.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = written(name, lambda path, o=options: make_clip(path, **{**small, **o}))
        yield Seed(name, "bytes", data)


def checkpoints():
    from nets.training.checkpoint import save_checkpoint
    from tests.cascades import random_cascade
    from vj.train.assemble import TrainedStage
    from vj.train.checkpoint import Checkpoint

    state = {"step": 3, "model": {"w": np.arange(4, dtype=np.float32)}, "list": [1, {"a": None}]}
    data = written("state.safetensors", lambda path: save_checkpoint(path, state))
    yield Seed("state.safetensors", "safetensors", data)
    trees = random_cascade(np.random.default_rng(1)).stages[0].trees

    def save(path):
        files = Checkpoint(path.parent, {"seed": 1})
        files.save([TrainedStage(trees, np.float32(0.5))], [{"stage": 0}], {"a": np.arange(3)})
        files.save_partial(1, 1, trees[:1])

    state, partial_ = written("state.npz", save), written("partial.npz", save)
    yield Seed("state.npz", "bytes", state)
    yield Seed("partial.npz", "bytes", partial_, {"state.npz": state})


MAKERS = {
    "cascade": cascades,
    "onnx": graphs,
    "weights": weights,
    "cards": cards,
    "saved": saved,
    "annotations": annotations,
    "vec": vecs,
    "pictures": pictures,
    "video": videos,
    "checkpoint": checkpoints,
}


def from_data(reader):
    """Small files of the same kinds from ``VJ_DATA``, where it is."""
    from vj.io.files import data_folder

    root = data_folder()
    if reader == "pictures" and (root / "boxes_dev" / "images.zip").is_file():
        with zipfile.ZipFile(root / "boxes_dev" / "images.zip") as archive:
            for info in sorted(archive.infolist(), key=lambda info: info.file_size)[:2]:
                yield Seed(Path(info.filename).name, "bytes", archive.read(info))
    for path in {"onnx": root.glob("ref_models/yunet/*"), "video": root.glob("video/*")}.get(
        reader, ()
    ):
        if path.suffix in (".onnx", ".avi") and path.stat().st_size < 500_000:
            yield Seed(path.name, "onnx" if reader == "onnx" else "bytes", path.read_bytes())


def seeds(reader):
    """The sound files of a reader, the same ones each time."""
    return [*MAKERS[reader](), *from_data(reader)]
