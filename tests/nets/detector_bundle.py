"""A folder of data in miniature, laid out as the real one."""

from __future__ import annotations

import csv
import io
import json
import zipfile

import numpy as np
from PIL import Image, ImageFilter

POINTS = np.array([[35, 40], [61, 41], [48, 56], [37, 68], [59, 69]], np.float32)
COLUMNS = [
    "file", "source", "original", "group", "box_w", "src_face_px",
    *(f"valid_{e}" for e in ("x0", "y0", "x1", "y1")),
    *(f"{p}_{axis}" for p in ("le", "re", "nose", "ml", "mr") for axis in "xy"),
]  # fmt: skip


def texture(rng, width, height, soft=2.0):
    """Smooth random colours: no two places look alike, and shrinking changes little."""
    noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(noise).filter(ImageFilter.GaussianBlur(soft))
    level = np.asarray(image).astype(float)
    level = (level - level.min()) / np.ptp(level) * 255
    return Image.fromarray(level.astype(np.uint8))


def save(archive, name, image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    archive.writestr(name, buffer.getvalue())


def portrait(rng, face_px):
    """A picture, the crop of its face, and the landmarks of the crop in pixels of the picture."""
    scale = face_px / 64
    picture = texture(rng, 300, 340, 5)
    start = np.array([70.0, 80.0])
    crop = picture.transform(
        (96, 96), Image.Transform.EXTENT, (*start, *(start + 96 * scale)), Image.Resampling.BILINEAR
    )
    return picture, crop, POINTS * scale + start


def build(folder):
    """Write the folder; returns the landmarks of the portrait of person 00007."""
    rng = np.random.default_rng(5)
    picture, crop, landmarks = portrait(rng, 150)
    box = [110.0, 98.0, 128.0, 170.0]  # about the face of those landmarks
    (folder / "boxes_train").mkdir()
    with zipfile.ZipFile(folder / "boxes_train" / "images.zip", "w") as archive:
        save(archive, "aaf.png", picture)
        items = [item("aaf.png", "all_age_faces", "00007A20.jpg", picture, [box])]
        for k in range(12):
            image = texture(rng, 200, 150)
            save(archive, f"mask{k}.png", image)
            boxes = [[20, 30, 40, 50], [120, 40, 20, 24]]
            items.append(item(f"mask{k}.png", "mask853", f"images/{k}.png", image, boxes))
            items[-1]["ignore"] = [[5, 5, 8, 8]]
            items[-1]["ignore_auto"] = [[180, 100, 10, 12]]
    write(folder / "boxes_train", items)
    (folder / "boxes_more").mkdir()
    with zipfile.ZipFile(folder / "boxes_more" / "images.zip", "w") as archive:
        image = texture(rng, 160, 120)
        save(archive, "more.png", image)
        boxes = [[10, 10, 20, 26], [60, 20, 20, 26], [70, 40, 60, 70]]
        more = item("more.png", "lsp_extended", "images/im00010.jpg", image, boxes)
        points = [[12, 18], [24, 18], [18, 24], [14, 30], [24, 30]]
        more |= {"scores": [0.9, 0.65, 0.8], "landmarks5": [points, None, None]}
    write(folder / "boxes_more", [more])
    (folder / "faces_train").mkdir()
    rows = []
    for source, group in (("aaf", "00007"), ("lfwexpr", "A_Name"), ("utk", "")):
        with zipfile.ZipFile(folder / "faces_train" / f"faces_{source}.zip", "w") as archive:
            for k in range(1 if source == "aaf" else 6):
                image = crop if source == "aaf" else texture(rng, 96, 96, 3)
                save(archive, f"{source}_{k}.png", image)
                row = [
                    f"{source}_{k}.png",
                    source,
                    f"{group}A20.jpg",
                    group and f"{group}{k or ''}",
                ]
                rows.append([*row, 64, 150, 2.5, 4, 96, 90, *POINTS.ravel().tolist()])
    with (folder / "faces_train" / "faces_train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    for name in ("backgrounds_train", "backgrounds_more"):
        (folder / name).mkdir()
        with zipfile.ZipFile(folder / name / "backgrounds.zip", "w") as archive:
            rows = []
            for k in range(8):
                source = "haarneg" if k % 2 else "bsds500"
                image = texture(rng, 120, 90)
                save(archive, f"{source}_{k}.png", image.convert("L") if k % 2 else image)
                rows.append([f"{source}_{k}.png", source])
        with (folder / name / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["file", "source"], *rows])
    return landmarks


def item(file, source, original, image, boxes):
    return {
        "file": file, "source": source, "original": original, "boxes": boxes, "ignore": [],
        "ignore_auto": [], "width": image.width, "height": image.height,
    }  # fmt: skip


def write(folder, items):
    (folder / "annotations.json").write_text(json.dumps(items), encoding="utf-8")
