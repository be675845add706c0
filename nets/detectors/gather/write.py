"""A gathered set as a folder: annotations.json and images.zip, as of boxes_train."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from nets.detectors.gather.hashes import Known, hash_of
from nets.detectors.gather.sets import F32, Item, Set
from nets.detectors.gather.unlabelled import Teacher
from vj.boxes import to_xywh
from vj.errors import SourceError
from vj.io.files import writing

QUALITY = 92
LEAST = 6.0  # pixels; of faces that are smaller nothing is learned


class Counts(dict[str, int]):
    """What became of the pictures."""

    def note(self, what: str) -> None:
        """One more."""
        self[what] = self.get(what, 0) + 1


def write_set(
    folder: Path, one: Set, items: Iterator[Item], known: Known, teacher: Teacher
) -> Counts:
    """Write a set, and say how many pictures were kept or dropped, and why.

    The folder takes its name when all is in it. Pictures that ``known`` has, that cannot be read,
    or whose faces are not to be had are dropped; of pictures that resemble each other the first is
    kept.
    """
    partial, counts = folder.with_name(f".{folder.name}.part"), Counts()
    with writing(folder):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            with zipfile.ZipFile(partial / "images.zip", "w") as archive:
                rows = list(_kept(items, folder.name, one, known, teacher, archive, counts))
            if not rows:
                raise SourceError(f"{folder}: no picture is left of {sum(counts.values())}")
            (partial / "annotations.json").write_text(json.dumps(rows), encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return counts


def _kept(
    items: Iterator[Item],
    name: str,
    one: Set,
    known: Known,
    teacher: Teacher,
    archive: zipfile.ZipFile,
    counts: Counts,
) -> Iterator[dict[str, Any]]:
    """Annotations of what is kept, whose images go into the archive."""
    own = Known()
    for item in items:
        image = _open(item)
        if image is None:
            counts.note("cannot be read")
            continue
        found = hash_of(image)
        if known.has(found):
            counts.note("resembles a reserved picture")
        elif own.has(found):
            counts.note("resembles another of the set")
        elif (row := _row(item, image, one, teacher)) is None:
            counts.note("has no use")
        else:
            own.add(found[:1])
            file = f"{name}_{counts.get('kept', 0):05d}.jpg"
            archive.writestr(file, row.pop("content"))
            counts.note("kept")
            yield {"file": file, **row}


def _open(item: Item) -> Image.Image | None:
    try:
        image = Image.open(io.BytesIO(item.content))
        image.load()
    except (OSError, UnidentifiedImageError, ValueError):
        return None
    return image


def _row(item: Item, image: Image.Image, one: Set, teacher: Teacher) -> dict[str, Any] | None:
    """Annotation and bytes of a picture, None where it is of no use."""
    boxes, there = clip(item.boxes, image.size)
    ignore, real = clip(item.ignore, image.size)
    ignore = ignore[real]
    content, scale = item.content, min(1.0, one.side / max(image.size))
    if scale < 1 or image.format != "JPEG" or image.mode != "RGB":
        size = round(image.width * scale), round(image.height * scale)
        image = image.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=3)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=QUALITY)
        content = buffer.getvalue()
    boxes, ignore = boxes * np.float32(scale), ignore * np.float32(scale)
    if not one.faces:
        if len(teacher.boxes(image)):
            return None
    elif not one.complete:
        seen, _ = clip(teacher.unlabelled(image, boxes), image.size)
        ignore = np.concatenate([ignore, seen])
    large = (boxes[:, 2:] - boxes[:, :2]).min(1, initial=np.inf) >= LEAST
    good = there & large
    row: dict[str, Any] = {
        "width": image.width, "height": image.height,
        "boxes": _listed(boxes[good]),
        "ignore": _listed(np.concatenate([ignore, boxes[there & ~large]])),
        "ignore_auto": [], "source": one.source, "original": item.original, "content": content,
    }  # fmt: skip
    if item.landmarks is not None:
        points = (item.landmarks[good] * scale).round(1)
        row["landmarks5"] = points.tolist()
    return row


def clip(boxes: F32, size: tuple[int, int]) -> tuple[F32, NDArray[np.bool_]]:
    """The part of each box that is in a picture, and which boxes have one."""
    inside = np.clip(boxes, 0, np.tile(size, 2)).astype(np.float32)
    return inside, (inside[:, 2:] - inside[:, :2]).min(1, initial=np.inf) > 0


def _listed(boxes: F32) -> list[list[float]]:
    return [[round(float(v), 1) for v in row] for row in to_xywh(boxes)]
