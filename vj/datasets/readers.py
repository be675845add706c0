"""The table of box formats, and the ones written in JSON and XML."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vj.datasets import lists
from vj.datasets.annotations import Boxes, Picture, Shelf, boxes_from_xywh
from vj.errors import SourceError


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
        data = _load_json(path)
        if isinstance(data, list):
            return "bundle"
        return "labelme" if "shapes" in data else "coco"
    if path.suffix == ".xml":
        return "cvat" if _load_xml(path).tag == "annotations" else "voc"
    return "table" if path.suffix == ".csv" else lists.recognise(path)


def _load_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as exc:
        raise SourceError(f"{path}:{exc.lineno}: not JSON: {exc.msg}") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise SourceError(f"{path}: cannot read: {exc}") from exc


def _get(record: Any, key: str, where: str) -> Any:
    if not isinstance(record, Mapping) or key not in record:
        raise SourceError(f"{where}: wanted an object with {key!r}")
    return record[key]


def _numbers(values: Any, count: int, where: str) -> list[float]:
    try:
        row = [float(v) for v in values]
    except (TypeError, ValueError):
        row = []
    if len(row) != count or not np.isfinite(row).all():
        raise SourceError(f"{where}: wanted {count} numbers, got {values!r}")
    return row


def _xywh(rows: Any, where: str) -> Boxes:
    return boxes_from_xywh([_numbers(row, 4, f"{where}[{k}]") for k, row in enumerate(rows)])


def read_bundle(path: Path) -> list[Picture]:
    """A list of {file, boxes, ignore, ignore_auto, source}, boxes as x, y, w, h."""
    path = path / "annotations.json" if path.is_dir() else path
    shelf = Shelf(path.parent)
    pictures = []
    for k, item in enumerate(_load_json(path)):
        where = f"{path}: entry {k}"
        name = str(_get(item, "file", where))
        boxes = _xywh(_get(item, "boxes", where), f"{where}, boxes")
        ignore = [*item.get("ignore", []), *item.get("ignore_auto", [])]
        source = str(item.get("source", ""))
        pictures.append(
            Picture(
                name,
                shelf.find(name),
                boxes,
                _xywh(ignore, f"{where}, ignore"),
                source=source,
                where=where,
            )
        )
    return pictures


def read_coco(path: Path) -> list[Picture]:
    """COCO instances: crowds and boxes marked ``ignore`` become regions to ignore."""
    data, shelf = _load_json(path), Shelf(path.parent)
    classes = {c["id"]: str(c["name"]) for c in data.get("categories", [])}
    boxes: dict[Any, list[tuple[list[float], str, bool]]] = {}
    for k, note in enumerate(_get(data, "annotations", str(path))):
        where = f"{path}: annotation {k}"
        bbox = _numbers(_get(note, "bbox", where), 4, f"{where}, bbox")
        label = classes.get(note.get("category_id"), "")
        crowd = bool(note.get("iscrowd") or note.get("ignore"))
        boxes.setdefault(_get(note, "image_id", where), []).append((bbox, label, crowd))
    pictures = []
    for k, image in enumerate(_get(data, "images", str(path))):
        where = f"{path}: image {k}"
        name = str(_get(image, "file_name", where))
        notes = boxes.get(_get(image, "id", where), [])
        pictures.append(
            Picture(
                name,
                shelf.find(name),
                boxes_from_xywh([b for b, _, crowd in notes if not crowd]),
                boxes_from_xywh([b for b, _, crowd in notes if crowd]),
                tuple(label for _, label, crowd in notes if not crowd),
                where=where,
            )
        )
    return pictures


def read_labelme(path: Path) -> list[Picture]:
    """LabelMe files: the bounding box of each shape."""
    folder = path if path.is_dir() else path.parent
    shelf = Shelf(folder)
    pictures = []
    for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
        data = _load_json(file)
        boxes, labels, groups = [], [], []
        for k, shape in enumerate(_get(data, "shapes", str(file))):
            where = f"{file}: shape {k}"
            points = np.array(
                [_numbers(p, 2, f"{where}, points") for p in _get(shape, "points", where)]
            ).reshape(-1, 2)
            if len(points) < 2:
                raise SourceError(f"{where}: wanted at least 2 points, got {len(points)}")
            if shape.get("shape_type") == "circle":  # centre and a point on the rim
                reach = np.hypot(*(points[1] - points[0]))
                points = np.stack([points[0] - reach, points[0] + reach])
            boxes.append([*points.min(axis=0), *points.max(axis=0)])
            labels.append(str(shape.get("label", "")))
            groups.append(str(shape.get("group_id") or f"{file.stem}#{k}"))
        name = str(data.get("imagePath") or file.stem)
        xyxy = np.array(boxes, np.float64).reshape(-1, 4)
        pictures.append(
            Picture(
                name,
                shelf.find(name),
                xyxy,
                labels=tuple(labels),
                groups=tuple(groups),
                where=str(file),
            )
        )
    return pictures


def _load_xml(path: Path) -> Any:
    """Root element; every element knows its ``line``."""
    from defusedxml.ElementTree import DefusedXMLParser, ParseError, parse

    class Parser(DefusedXMLParser):  # type: ignore[misc]
        def _start(self, *args: Any) -> Any:
            element = super()._start(*args)
            element.line = self.parser.CurrentLineNumber
            return element

    try:
        return parse(path, parser=Parser()).getroot()
    except ParseError as exc:
        raise SourceError(f"{path}:{exc.position[0]}: not XML: {exc}") from exc
    except (OSError, ValueError) as exc:
        raise SourceError(f"{path}: cannot read: {exc}") from exc


def _corners(element: Any, keys: tuple[str, ...], path: Path) -> list[float]:
    values = [element.get(k) if element.get(k) else element.findtext(k) for k in keys]
    where = f"{path}:{element.line}: <{element.tag}> {', '.join(keys)}"
    return _numbers(values, 4, where)


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
                points = np.array([_numbers(pair, 2, where) for pair in pairs])
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
