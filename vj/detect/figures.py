"""Pictures of an explanation: deciding features on the window, reject depth on the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vj.cascade.model import Cascade
from vj.detect.votes import TreeVote
from vj.features.haar import HaarFeatures, draw_feature

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage


Pixels = NDArray[np.uint8]

_CAPTION = 18  # pixels under each panel
_COLUMNS = 4
# Anchors of a colour scale of rising lightness, so that it reads in gray too.
_HEAT = np.array(
    [[13, 8, 66], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float64
)


def panels(
    cascade: Cascade,
    verdict: str,
    pixels: Pixels,
    rect: tuple[int, int, int, int],
    votes: Sequence[TreeVote],
    *,
    side: int,
    scene: Pixels | None,
) -> Pixels:
    """The verdict; the scene with the window framed; the window; one panel for each vote."""
    from PIL import Image, ImageDraw

    scale = side / pixels.shape[1]
    size = (side, round(pixels.shape[0] * scale))
    window = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    x, y, w, h = rect
    tiles = [(window, f"{w}x{h} at {x},{y}")]
    for vote in votes:
        drawn = _features(cascade, vote, np.asarray(window), scale)
        tiles.append(
            (Image.fromarray(drawn), f"stage {vote.stage} tree {vote.tree}: {vote.leaf:+.3f}")
        )
    cell = (size[0] + 4, size[1] + _CAPTION)
    columns = min(_COLUMNS, len(tiles))
    width, top = max(columns * cell[0], 2 * side + 8), _CAPTION
    wide = None if scene is None else _framed(scene, rect, width - 4)
    height = top + (wide.height + 4 if wide else 0) - (-len(tiles) // columns) * cell[1]
    canvas = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(canvas)
    pen.text((4, 3), f"{cascade.name}: {verdict}", fill="black")
    if wide:
        canvas.paste(wide, (2, top))
        top += wide.height + 4
    for k, (tile, caption) in enumerate(tiles):
        at = (k % columns * cell[0] + 2, k // columns * cell[1] + top)
        canvas.paste(tile, at)
        pen.text((at[0] + 2, at[1] + size[1] + 2), caption, fill="black")
    return np.array(canvas)


def _framed(scene: Pixels, rect: tuple[int, int, int, int], width: int) -> PILImage:
    """The scene at a given width, with a frame around the window."""
    from PIL import Image, ImageDraw

    rows, cols = scene.shape[:2]
    scale = width / cols
    out = Image.fromarray(scene).resize((width, max(1, round(rows * scale))))
    x, y, w, h = (v * scale for v in rect)
    for grow, tint in ((1, "black"), (0, "white")):
        box = (x - grow, y - grow, max(x, x + w - 1) + grow, max(y, y + h - 1) + grow)
        ImageDraw.Draw(out).rectangle(box, outline=tint, width=2)
    return out


def heat(gray: Pixels, depth: NDArray[np.int32], n_stages: int) -> Pixels:
    """Gray image under the colours of the depth; where there is none, the image alone."""
    share = np.clip(depth / n_stages, 0, 1) * (len(_HEAT) - 1)
    colour = np.stack([np.interp(share, np.arange(len(_HEAT)), c) for c in _HEAT.T], axis=-1)
    opacity = np.where(depth < 0, 0.0, 0.65)[..., None]
    mixed = (1 - opacity) * gray[..., None] + opacity * colour
    out: Pixels = np.rint(mixed).astype(np.uint8)
    return out


def _features(cascade: Cascade, vote: TreeVote, ground: Pixels, scale: float) -> Pixels:
    """The features of a vote on the window."""
    index = list(vote.features)
    if cascade.feature_type == "HAAR":
        rects, weights, tilted = cascade.rects[index], cascade.weights[index], cascade.tilted[index]
    else:
        grids = [
            _grid(cascade.rects[f, 0], int(code))
            for f, code in zip(vote.features, vote.values, strict=True)
        ]
        rects = np.concatenate([grid[0] for grid in grids])
        weights = np.concatenate([grid[1] for grid in grids])
        tilted = np.zeros(len(rects), np.bool_)
    return draw_feature(ground, HaarFeatures(rects, weights, tilted), scale=scale, opacity=0.55)


def _grid(cell: NDArray[np.int32], code: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The eight outer cells of a pattern as features of one box each: dark is positive."""
    x, y, w, h = (int(v) for v in cell)
    around = [(0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    rects, weights = np.zeros((8, 3, 4), np.int32), np.zeros((8, 3), np.float32)
    for k, (i, j) in enumerate(around):
        rects[k, 0] = (x + i * w, y + j * h, w, h)
        weights[k, 0] = -1 if code & (128 >> k) else 1
    return rects, weights
