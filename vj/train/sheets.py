"""Contact sheets: many small pictures on one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vj.io.images import Pixels
from vj.train.augment import PLAIN, Crop, variant
from vj.train.settings import Settings
from vj.train.sources import Scene
from vj.train.windows import WindowFinder

_HIGH, _WIDE, _LINE = 80, 150, 18  # pixels of a tile at most; of a line of text


def contact_sheet(patches: Pixels | NDArray[np.uint8], columns: int = 16, zoom: int = 3) -> Pixels:
    """One gray picture of (n, rows, cols) patches side by side."""
    n, rows, cols = patches.shape
    lines = -(-max(n, 1) // columns)
    sheet = np.full((lines, rows + 1, columns, cols + 1), 255, np.uint8)
    for k in range(n):
        sheet[k // columns, :rows, k % columns, :cols] = patches[k]
    flat = sheet.reshape(lines * (rows + 1), columns * (cols + 1))
    return np.ascontiguousarray(flat.repeat(zoom, axis=0).repeat(zoom, axis=1))


def sample_sheet(crops: Sequence[Crop], scenes: Sequence[Scene], settings: Settings) -> Pixels:
    """Contact sheet: objects as they are, variants of them, and windows of the backgrounds."""
    rng = np.random.default_rng(settings.random_state)
    some = [crops[k] for k in rng.permutation(len(crops))[:64]]
    parts = [variant(crop, settings.shape, PLAIN, rng) for crop in some]
    parts += [variant(crop, settings.shape, settings.augment, rng) for crop in some[:32]]
    finder = WindowFinder(None, settings.shape, contrast=True)
    for k in rng.permutation(len(scenes))[:32]:
        parts += list(finder.find(scenes[k], 0, 2, rng).patches)
    return contact_sheet(np.stack(parts))


def framed(gray: Pixels, box: Sequence[float]) -> Pixels:
    """A box (x, y, w, h) of a picture with half of its size around it, framed, as a small picture.

    Returns
    -------
    (H, W, 3) uint8
    """
    from PIL import Image, ImageDraw

    x, y, w, h = box
    scale = min(_HIGH / (2 * h), _WIDE / (2 * w))
    area = (round(x - w / 2), round(y - h / 2), round(x + 1.5 * w), round(y + 1.5 * h))
    size = (max(round(2 * w * scale), 1), max(round(2 * h * scale), 1))
    tile = Image.fromarray(gray).crop(area).resize(size, Image.Resampling.BILINEAR).convert("RGB")
    inner = (size[0] // 4, size[1] // 4, size[0] - size[0] // 4, size[1] - size[1] // 4)
    ImageDraw.Draw(tile).rectangle(inner, outline=(255, 200, 0))
    return np.asarray(tile)


def titled_rows(rows: Sequence[tuple[str, Sequence[Pixels]]]) -> Pixels:
    """Rows of (H, W, 3) tiles, each under a line of text, as one picture."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(12)
    widths = [max(7 * len(text), sum(t.shape[1] + 4 for t in tiles)) for text, tiles in rows]
    heights = [_LINE + max((t.shape[0] for t in tiles), default=0) + 8 for _, tiles in rows]
    sheet = Image.new("RGB", (max(widths, default=0) + 8, sum(heights) + 4), "white")
    draw, top = ImageDraw.Draw(sheet), 4
    for (text, tiles), height in zip(rows, heights, strict=True):
        draw.text((4, top), text, fill="black", font=font)
        left = 4
        for tile in tiles:
            sheet.paste(Image.fromarray(tile), (left, top + _LINE))
            left += tile.shape[1] + 4
        top += height
    return np.asarray(sheet)
