"""The table of box formats, and the ones written in JSON and XML."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from vj import limits
from vj.datasets import lists
from vj.datasets.pictures import Picture, Shelf, boxes_from_xywh
from vj.errors import SourceError
from vj.records import Record, load_json, numbers, read_bytes, shown


def recognise(path: Path) -> str:
    """Name of the format of a file or folder, by what is in it."""
    if path.is_dir():
        if (path / "annotations.json").is_file():
            return recognise(path / "annotations.json")
        for name, pattern in (
            ("voc", "*.xml"),
            ("labelme", "*.json"),
            ("yolo", "*.txt"),
            ("table", "*.csv"),
        ):
            folders = (path, path / "Annotations", path / "labels")
            if any(next(folder.glob(pattern), None) for folder in folders):
                return name
        raise SourceError(
            f"{path}: no box files: wanted annotations.json or .xml (VOC), .json (LabelMe) or "
            ".txt (YOLO) or .csv files"
        )
    if path.suffix == ".json":
        data = load_json(path)
        if isinstance(data, list):
            return "bundle"
        return "labelme" if "shapes" in Record(data, str(path)) else "coco"
    if path.suffix == ".xml":
        return "cvat" if _load_xml(path).tag == "annotations" else "voc"
    return "table" if path.suffix == ".csv" else lists.recognise(path)


def read_bundle(path: Path) -> list[Picture]:
    """A list of {file, boxes, ignore, ignore_auto, source}, boxes as x, y, w, h."""
    path = path / "annotations.json" if path.is_dir() else path
    items, shelf, pictures = load_json(path), Shelf(path.parent), []
    if not isinstance(items, list):
        raise SourceError(f"{path}: wanted a list of pictures, got {shown(items)}")
    for k, item in enumerate(items):
        note = Record(item, f"{path}: entry {k}")
        name = note.text("file")
        ignore = [
            row for key in ("ignore", "ignore_auto") if key in note for row in note.rows(key, 4)
        ]
        pictures.append(
            Picture(
                name,
                shelf.find(name),
                boxes_from_xywh(note.rows("boxes", 4)),
                boxes_from_xywh(ignore),
                source=note.text("source", ""),
                where=note.where,
            )
        )
    return pictures


def read_coco(path: Path) -> list[Picture]:
    """COCO instances: crowds and boxes marked ``ignore`` become regions to ignore."""
    data, shelf = Record(load_json(path), str(path)), Shelf(path.parent)
    classes: dict[int | str, str] = {}
    if "categories" in data:
        classes = {c.identity("id"): c.text("name") for c in data.records("categories", "category")}
    boxes: dict[int | str, list[tuple[list[float], str, bool]]] = {}
    for note in data.records("annotations", "annotation"):
        label = classes.get(note.identity("category_id"), "") if "category_id" in note else ""
        crowd = note.flag("iscrowd") or note.flag("ignore")
        bbox = note.numbers("bbox", 4)
        boxes.setdefault(note.identity("image_id"), []).append((bbox, label, crowd))
    pictures = []
    for image in data.records("images", "image"):
        name = image.text("file_name")
        notes = boxes.get(image.identity("id"), [])
        pictures.append(
            Picture(
                name,
                shelf.find(name),
                boxes_from_xywh([b for b, _, crowd in notes if not crowd]),
                boxes_from_xywh([b for b, _, crowd in notes if crowd]),
                tuple(label for _, label, crowd in notes if not crowd),
                where=image.where,
            )
        )
    return pictures


def read_labelme(path: Path) -> list[Picture]:
    """LabelMe files: the bounding box of each shape."""
    shelf = Shelf(path if path.is_dir() else path.parent)
    pictures = []
    for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
        data = Record(load_json(file), str(file))
        shapes = list(data.records("shapes", "shape"))
        name = data.text("imagePath", file.stem)
        pictures.append(
            Picture(
                name,
                shelf.find(name),
                np.array([_extent(shape) for shape in shapes], np.float64).reshape(-1, 4),
                labels=tuple(shape.text("label", "") for shape in shapes),
                groups=tuple(
                    shape.text("group_id", f"{file.stem}#{k}") for k, shape in enumerate(shapes)
                ),
                where=str(file),
            )
        )
    return pictures


def _extent(shape: Record) -> list[float]:
    """Corners of the bounding box of a LabelMe shape."""
    points = np.array(shape.rows("points", 2)).reshape(-1, 2)
    if len(points) < 2:
        raise SourceError(f"{shape.where}: wanted at least 2 points, got {len(points)}")
    if shape.text("shape_type", "") == "circle":  # centre and a point on the rim
        reach = np.hypot(*(points[1] - points[0]))
        points = np.stack([points[0] - reach, points[0] + reach])
    return [*points.min(axis=0), *points.max(axis=0)]


def _load_xml(path: Path) -> Any:
    """Root element; every element knows its ``line``."""
    from defusedxml.ElementTree import DefusedXMLParser, ParseError, parse

    class Parser(DefusedXMLParser):  # type: ignore[misc]
        depth = 0

        def _start(self, *args: Any) -> Any:
            element = super()._start(*args)
            element.line = self.parser.CurrentLineNumber
            self.depth += 1
            if self.depth > limits.NESTING:
                raise SourceError(
                    f"{path}:{element.line}: nested in more than {limits.NESTING} levels"
                )
            return element

        def _end(self, *args: Any) -> Any:
            self.depth -= 1
            return super()._end(*args)

    try:
        return parse(BytesIO(read_bytes(path)), parser=Parser()).getroot()
    except ParseError as exc:
        raise SourceError(f"{path}:{exc.position[0]}: not XML: {exc}") from exc
    except (ValueError, LookupError) as exc:  # entities; an encoding that does not exist
        raise SourceError(f"{path}: not read: {exc}") from exc


def _corners(element: Any, keys: tuple[str, ...], path: Path) -> list[float]:
    values = [element.get(k) if element.get(k) else element.findtext(k) for k in keys]
    where = f"{path}:{element.line}: <{element.tag}> {', '.join(keys)}"
    return numbers(values, 4, where)


def read_voc(path: Path) -> list[Picture]:
    """PASCAL VOC files: 1-based inclusive corners; objects marked difficult are ignored."""
    folder = path if path.is_dir() else path.parent
    shelf = Shelf(folder if folder.name != "Annotations" else folder.parent)
    pictures = []
    for file in _xml_files(path):
        root = _load_xml(file)
        if root.tag != "annotation":
            raise SourceError(f"{file}:{root.line}: wanted <annotation> (VOC), got <{root.tag}>")
        boxes, labels, hard = [], [], []
        for item in root.iter("object"):
            box = item.find("bndbox")
            if box is None:
                raise SourceError(f"{file}:{item.line}: <object> has no <bndbox>")
            x1, y1, x2, y2 = _corners(box, ("xmin", "ymin", "xmax", "ymax"), file)
            boxes.append([max(x1 - 1, 0), max(y1 - 1, 0), x2, y2])
            labels.append(item.findtext("name", "").strip())
            hard.append(item.findtext("difficult", "0").strip() == "1")
        xyxy, difficult = np.array(boxes, np.float64).reshape(-1, 4), np.array(hard, bool)
        name = root.findtext("filename", "").strip() or file.stem
        kept = tuple(label for label, skip in zip(labels, hard, strict=True) if not skip)
        pictures.append(
            Picture(
                name,
                shelf.find(name),
                xyxy[~difficult],
                xyxy[difficult],
                kept,
                where=str(file),
            )
        )
    return pictures


def _xml_files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        yield from sorted(path.glob("*.xml")) or sorted((path / "Annotations").glob("*.xml"))


def read_cvat(path: Path) -> list[Picture]:
    """CVAT "for images" XML: boxes, and the bounding boxes of polygons."""
    root, shelf = _load_xml(path), Shelf(path.parent)
    if root.find("track") is not None:
        raise SourceError(f'{path}: a CVAT video export: export it as "CVAT for images" instead')
    pictures = []
    for image in root.iter("image"):
        boxes, labels = [], []
        for item in image:
            if item.tag == "box":
                boxes.append(_corners(item, ("xtl", "ytl", "xbr", "ybr"), path))
            elif item.tag == "polygon":
                where = f"{path}:{item.line}: <polygon> points"
                pairs = (p.split(",") for p in item.get("points", "").split(";"))
                points = np.array([numbers(pair, 2, where) for pair in pairs])
                boxes.append([*points.min(axis=0), *points.max(axis=0)])
            else:
                continue
            labels.append(item.get("label", ""))
        name, where = image.get("name", ""), f"{path}:{image.line}"
        xyxy = np.array(boxes, np.float64).reshape(-1, 4)
        pictures.append(Picture(name, shelf.find(name), xyxy, labels=tuple(labels), where=where))
    return pictures


FORMATS: dict[str, Callable[[Path], list[Picture]]] = {
    "bundle": read_bundle,
    "coco": read_coco,
    "labelme": read_labelme,
    "voc": read_voc,
    "cvat": read_cvat,
    "yolo": lists.read_yolo,
    "wider": lists.read_wider,
    "fddb": lists.read_fddb,
    "info": lists.read_info,
    "table": lists.read_table,
}
