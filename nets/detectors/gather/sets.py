"""Where each set has its pictures and labels, and what of it may be learned from."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from defusedxml import ElementTree
from numpy.typing import NDArray
from PIL import Image

from nets.detectors.gather.clones import Clone
from nets.detectors.gather.hashes import Known, hash_of
from nets.detectors.training.wild import free_names, wild_names
from vj.errors import SourceError

F32 = NDArray[np.float32]
NONE: F32 = np.empty((0, 4), np.float32)


@dataclass
class Item:
    """A picture of a set; boxes are (n, 4) x1, y1, x2, y2 in its pixels.

    ``landmarks`` (n, 5, 2) parallel to ``boxes``, NaN where unknown.
    """

    original: str
    content: bytes
    boxes: F32 = field(default_factory=lambda: NONE)
    ignore: F32 = field(default_factory=lambda: NONE)
    landmarks: NDArray[np.floating] | None = None


@dataclass(frozen=True)
class Set:
    """A set to be gathered.

    Attributes
    ----------
    repositories : dict of str
        "owner/name" to commit.
    items : callable
        Of the clones, in that order, and of the folder of the data.
    source : str
        Name in annotations and cards.
    complete : bool
        Whether all faces are labelled; otherwise YuNet looks for the others.
    faces : bool
        Whether there are any. Pictures of a set without are dropped where YuNet sees one.
    side : int
        Pixels of the longer side of what is kept; frames of training are smaller still.
    """

    repositories: dict[str, str]
    items: Callable[[list[Clone], Path], Iterator[Item]]
    source: str
    complete: bool = False
    faces: bool = True
    side: int = 640


# ---------------------------------------------------------------------- WIDER FACE


def wider(clones: list[Clone], data: Path) -> Iterator[Item]:
    """The pictures of boxes_wider at full size; all others are reserved for testing."""
    crowds, others = clones
    allowed = {
        item["original"]: item
        for item in json.loads((data / "boxes_wider" / "annotations.json").read_text())
    }
    labels = dict(_official(crowds))
    kept_off = set(wild_names(data))
    for clone, start in ((crowds, "data/"), (others, "VOCdevkit/")):
        names = sorted(
            name for name, item in allowed.items()
            if name.startswith(start) and item["file"] not in kept_off
        )  # fmt: skip
        for name, content in clone.read(names):
            boxes, invalid = labels[Path(name).stem]
            small = (boxes[:, 2:] - boxes[:, :2]).min(1, initial=np.inf) < 8
            seen = np.array(allowed[name]["ignore_auto"], np.float32).reshape(-1, 4)
            seen[:, 2:] += seen[:, :2]
            doubtful = [boxes[invalid | small], seen / np.float32(allowed[name]["scale"])]
            yield Item(name, content, boxes[~(invalid | small)], np.concatenate(doubtful))


def _official(clone: Clone) -> Iterator[tuple[str, tuple[F32, NDArray[np.bool_]]]]:
    """Boxes of a picture, and which of them are marked as invalid."""
    from scipy.io import loadmat

    for part in ("train", "val"):
        table = loadmat(io.BytesIO(clone.one(f"data/wider_face_split/wider_face_{part}.mat")))
        for event in range(len(table["file_list"])):
            files, boxes, invalid = (
                table[key][event, 0] for key in ("file_list", "face_bbx_list", "invalid_label_list")
            )
            for k in range(len(files)):
                xywh = boxes[k, 0].astype(np.float32)
                xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)
                yield str(files[k, 0][0]), (xyxy, invalid[k, 0].ravel() != 0)


# ---------------------------------------------------------------------- masks, things in front


def voc(
    clones: list[Clone], data: Path, *, pictures: str, labels: str, names: str = ""
) -> Iterator[Item]:
    """Pictures with one XML file each as of PASCAL VOC; all kinds of objects are faces."""
    (clone,) = clones
    known = set(clone.names(labels))
    wanted = {}
    for name in clone.names(pictures):
        label = f"{labels}/{Path(name).stem}.xml"
        if re.match(names, Path(name).name) and label in known:
            wanted[name] = label
    contents = clone.read(wanted)
    for (_, text), (name, content) in zip(clone.read(wanted.values()), contents, strict=True):
        if text and content:
            yield Item(name, content, _voc_boxes(text))


def _voc_boxes(content: bytes) -> F32:
    root = ElementTree.fromstring(content)
    edges = ("xmin", "ymin", "xmax", "ymax")
    boxes = [[float(box.findtext(e)) for e in edges] for box in root.iter("bndbox")]
    return np.array(boxes, np.float32).reshape(-1, 4)


def yolo(clones: list[Clone], data: Path) -> Iterator[Item]:
    """Pictures with one text file each: kind, centre and size in shares of the picture."""
    (clone,) = clones
    known = set(clone.names("data/labels"))
    for name, content in clone.read(clone.names("data/images")):
        label = f"data/labels/{Path(name).stem}.txt"
        if label not in known or not content:
            continue
        rows = np.array(clone.one(label).split(), float).reshape(-1, 5)[:, 1:]
        rows *= np.tile(_size(content), 2)
        boxes = np.concatenate([rows[:, :2] - rows[:, 2:] / 2, rows[:, :2] + rows[:, 2:] / 2], 1)
        yield Item(name, content, boxes.astype(np.float32))


def _size(content: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(content)) as image:
        return image.width, image.height


def unlike(items: Callable[..., Iterator[Item]], clones: list[Clone], data: Path) -> Iterator[Item]:
    """What is not among the pictures of the last clone, in which test pictures are."""
    *own, other = clones
    names = other.names("data/images")
    pictures = [content for _, content in other.read(names)]
    if not all(pictures):
        raise SourceError(f"{other.folder}: some of its pictures are missing: clone it in full")
    known = Known(hash_of(Image.open(io.BytesIO(content)))[0] for content in pictures)
    for item in items(own, data):
        if not known.has(hash_of(Image.open(io.BytesIO(item.content)))):
            yield item


# ---------------------------------------------------------------------- landmarks


def landmarks(clones: list[Clone], data: Path) -> Iterator[Item]:
    """AFW and Helen: 68 points of one face a file; files of one photograph are brought together."""
    (clone,) = clones
    names = [name for name in clone.names() if re.match(r"(afw|helen)/.*\.pts$", name)]
    photographs: dict[bytes, Item] = {}
    pictures = clone.read([name[:-3] + "jpg" for name in names])
    for (name, content), (_, text) in zip(pictures, clone.read(names), strict=True):
        numbers = text.split(b"{")[-1].partition(b"}")[0].split()
        points = np.array([float(number) for number in numbers])
        box, five = _from_68(points.reshape(-1, 2))
        item = photographs.setdefault(content, Item(name, content, landmarks=np.empty((0, 5, 2))))
        item.boxes = np.concatenate([item.boxes, box[None]]).astype(np.float32)
        item.landmarks = np.concatenate([item.landmarks, five[None]])
    yield from photographs.values()


def _from_68(points: NDArray[np.float64]) -> tuple[F32, NDArray[np.float64]]:
    """Box from chin to forehead, which is a third above the brows; eyes, nose, mouth."""
    low, high = points.min(0), points.max(0)
    box = np.array([low[0], low[1] - 0.35 * (high[1] - low[1]), *high], np.float32)
    eyes = [points[36:42].mean(0), points[42:48].mean(0)]
    return box, np.array([*eyes, points[30], points[48], points[54]])


# ---------------------------------------------------------------------- no faces


def heads(clones: list[Clone], data: Path) -> Iterator[Item]:
    """Crowds from above: heads are ignored, the rest is background."""
    for item in voc(clones, data, pictures="images", labels="labels"):
        yield Item(item.original, item.content, ignore=item.boxes)


NO_OBJECTS = (
    "Faces", "Faces_easy", "BACKGROUND_Google", "buddha", "garfield", "snoopy", "dollar_bill",
    "airplanes", "accordion", "anchor", "ant", "trilobite", "minaret", "cellphone", "pagoda",
)  # fmt: skip


def objects(clones: list[Clone], data: Path) -> Iterator[Item]:
    """Caltech-101: no faces, no portraits on things, no turned pictures with black corners."""
    (clone,) = clones
    kept_off = set(free_names(data).values())
    names = [
        name for name in clone.names("caltech-101")
        if name.endswith(".jpg") and name.split("/")[1] not in NO_OBJECTS and name not in kept_off
    ]  # fmt: skip
    for name, content in clone.read(names):
        yield Item(name, content)


MASKS_853 = {"iAmEthanMai/mask-detection-dataset": "c5d6b886a9409a93d3b52387d562fdb38546eecf"}
CHIN = {"CHINbunhyou/FaceMask-Dataset": "80847dd85f333560a71119171a82233092a55fbd"}
JOLIGNIER = {"jolignier/face-mask-dataset-ilc-2021": "1178de48480a2fb7ca5f3c200f335f97fcd0c434"}
SETS: dict[str, Set] = {
    "wider_full": Set(
        {"SihanWang-WHU/Face_Detection": "ed26e6abf086cb7cc1042a30b100f896d19a5015", **CHIN},
        wider, "wider_face", complete=True, side=1024,
    ),
    "occluded": Set(
        CHIN,
        partial(
            voc, pictures="VOCdevkit/VOC2007/JPEGImages", labels="VOCdevkit/VOC2007/Annotations",
            names="test_",
        ),
        "mafa_like",
    ),
    "landmarks": Set(
        {"Spinkoo/Face-alignement": "e08a16aa91ad771df34e75f70bc5aaf20238ff6a"},
        landmarks, "afw_helen",
    ),
    "masks_ilc": Set(
        {**JOLIGNIER, **MASKS_853},
        partial(unlike, partial(voc, pictures="JPEGImages", labels="annotations")), "masks_ilc",
    ),
    "masks_yolo": Set(
        {"MacwinWin/face_mask_dataset": "5791f890b03dc73fb6201e086073545bbd32b2b2", **MASKS_853},
        partial(unlike, yolo), "masks_yolo",
    ),
    "heads": Set(
        {"ch-tseng/Dataset_for-_body_head": "d2c46e0cc0f6a9e3e4cf3f31a0eedc338932afd7"},
        heads, "crowds_above", complete=True,
    ),
    "objects": Set(
        {"taibarehm/CVassimgement": "5e5ee696e6576f6ed4c674e3763f77e40242332a"},
        objects, "caltech101", faces=False,
    ),
}  # fmt: skip
