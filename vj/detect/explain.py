"""Why a window was accepted or rejected, and how far every window of an image comes.

Everything is computed a second time, in OpenCV's own order; nothing is asked of the fast scan.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vj.cascade.model import Cascade
from vj.detect import window
from vj.detect.figures import heat, panels
from vj.detect.votes import StageResult as StageResult
from vj.detect.votes import TreeVote as TreeVote
from vj.errors import ParameterError
from vj.io.images import as_gray

Pixels = NDArray[np.uint8]
_N_VOTES = 7  # with the window itself, two rows of panels


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """How a cascade judges one window.

    Attributes
    ----------
    cascade : Cascade
    rect : (4,) ints
        ``x, y, w, h`` of the window in the image, as the detector would report it.
    scale : float
        Of the level of the pyramid that holds the window.
    place : (2,) ints
        ``x, y`` of the window in that level.
    pixels : (rows, cols) uint8
        What the cascade saw.
    contrast : float
        Standard deviation of the window without its outermost pixels, in gray levels.
    has_contrast : bool
        HAAR: OpenCV does not look at a window of no more than 10 gray levels. True for LBP.
    stages : tuple of StageResult
        Every stage, those after the one that rejects too; empty without contrast.
    rejected_by : int or None
        First stage that fails.
    votes : tuple of TreeVote
        Trees of the stage that decided, the most decisive first; empty without contrast.
    """

    cascade: Cascade
    rect: tuple[int, int, int, int]
    scale: float
    place: tuple[int, int]
    pixels: Pixels
    contrast: float
    has_contrast: bool
    stages: tuple[StageResult, ...]
    rejected_by: int | None
    votes: tuple[TreeVote, ...]

    @property
    def accepted(self) -> bool:
        """The window passes every stage."""
        return self.has_contrast and self.rejected_by is None

    @property
    def verdict(self) -> str:
        """The outcome in one line."""
        n_stages = self.cascade.n_stages
        if not self.has_contrast:
            return f"not looked at: its contrast is {self.contrast:.1f}, 10 gray levels are needed"
        margin = self.stages[-1 if self.rejected_by is None else self.rejected_by].margin
        if self.rejected_by is None:
            return f"accepted: it passes all {n_stages} stages, the last by {margin:.3f}"
        return f"rejected by stage {self.rejected_by} of {n_stages}: it is {-margin:.3f} short"

    def __str__(self) -> str:
        x, y, w, h = self.rect
        lines = [
            f"window {w} x {h} at ({x}, {y}), scale {self.scale:.4g}, contrast {self.contrast:.1f}",
            self.verdict,
        ]
        if self.stages:
            lines.append("stage         sum       limit      margin")
        for s in self.stages:
            mark = "" if s.passed else "  fails"
            lines.append(f"{s.stage:5d}  {s.sum:10.4f}  {s.limit:10.4f}  {s.margin:10.4f}{mark}")
        return "\n".join(lines)

    def picture(self, image: Any = None, panel: int = 192) -> Pixels:
        """The window, and the features that decided drawn on it, as one RGB picture.

        Regions that count positive are black and the others white; for LBP the cells that are
        not darker than the centre are white.

        Parameters
        ----------
        image : (H, W) or (H, W, 3) uint8, optional
            The image, to be shown above, with the window framed and under the reject depth of
            all windows of its size (see `heatmap_picture`).
        panel : int
            Width of each of the panels in pixels.

        Returns
        -------
        (H, W, 3) uint8
        """
        scene = None
        if image is not None:
            depth = reject_depth_map(self.cascade, image, scale=self.scale)
            scene = heatmap_picture(image, depth, self.cascade.n_stages)
        return panels(
            self.cascade, self.verdict, self.pixels, self.rect, self.votes, side=panel, scene=scene
        )


def explain(
    cascade: Cascade, image: Any, box: ArrayLike, *, scale_factor: float = 1.1
) -> Explanation:
    """Judge one window of an image, stage by stage.

    Parameters
    ----------
    cascade : Cascade
    image : (H, W) or (H, W, 3) uint8
    box : (4,) or (2,)
        ``x1, y1, x2, y2``: the window of the pyramid nearest to it is taken. ``x, y``: of the
        windows about that point, the one that comes furthest.
    scale_factor : float
        Step of the pyramid; that of the detector to be explained.

    Returns
    -------
    Explanation

    Raises
    ------
    ImageError
        No image, or one smaller than the window.
    ParameterError
        ``box`` is neither a box nor a point in the image; ``scale_factor`` is not above 1.
    """
    gray, target = as_gray(image), window.box_or_point(box)
    scales = window.pyramid_scales(cascade, gray, scale_factor)
    if target.shape == (2,):
        scale, x, y = window.deepest(cascade, gray, target, scales)
    else:
        scale, x, y = window.nearest(cascade, gray, target, scales)
    rows, cols = cascade.window
    level = window.make_level(gray, scale)
    pixels = np.ascontiguousarray(level[y : y + rows, x : x + cols])
    depth, last = window.evaluate(cascade, pixels, 1, to_the_end=True)
    rect = [int(np.rint(np.float32(v) * scale)) for v in (x, y, cols, rows)]
    stages = _stages(cascade, last[0]) if depth[0, 0] >= 0 else ()
    failed = [result.stage for result in stages if not result.passed]
    decisive = failed[0] if failed else cascade.n_stages - 1
    return Explanation(
        cascade=cascade,
        rect=(rect[0], rect[1], rect[2], rect[3]),
        scale=float(scale),
        place=(x, y),
        pixels=pixels,
        contrast=float(pixels[1:-1, 1:-1].std()),
        has_contrast=bool(depth[0, 0] >= 0),
        stages=stages,
        rejected_by=failed[0] if failed else None,
        votes=_votes(cascade, decisive, bool(failed), *last[1:]) if stages else (),
    )


def reject_depth_map(
    cascade: Cascade, image: Any, *, scale_factor: float = 1.1, scale: float | None = None
) -> NDArray[np.int32]:
    """How many stages the windows about each pixel pass.

    Parameters
    ----------
    cascade : Cascade
    image : (H, W) or (H, W, 3) uint8
    scale_factor : float
        Step of the pyramid.
    scale : float, optional
        One scale, 1 or more; otherwise the best of all of them counts.

    Returns
    -------
    (H, W) int32
        Stages passed by the window whose centre is nearest, ``cascade.n_stages`` where one is
        accepted; -1 where windows have no contrast, or near the border, where none is centred.

    Raises
    ------
    ImageError
        No image, or one smaller than the window.
    ParameterError
        ``scale_factor`` is not above 1, or ``scale`` below 1 or too large for the image.
    """
    gray = as_gray(image)
    scales = window.pyramid_scales(cascade, gray, scale_factor)
    if scale is not None:
        scales = window.checked_scale(cascade, gray, scale)
    out = np.full(gray.shape, -1, np.int32)
    for f in scales:
        step = 1 if f >= 2 else 2
        depth = window.depths(cascade, window.make_level(gray, f), step)
        index = []
        for side, size, count in zip(gray.shape, cascade.window, depth.shape, strict=True):
            centre = ((np.arange(side) + 0.5) / f - size / 2) / step
            index.append(np.where(np.abs(centre - (count - 1) / 2) <= count / 2, centre, np.nan))
        rows, cols = (np.flatnonzero(np.isfinite(axis)) for axis in index)
        ys, xs = (
            np.clip(np.rint(axis[np.isfinite(axis)]).astype(int), 0, count - 1)
            for axis, count in zip(index, depth.shape, strict=True)
        )
        patch = np.ix_(rows, cols)
        out[patch] = np.maximum(out[patch], depth[np.ix_(ys, xs)])
    return out


def heatmap_picture(image: Any, depth: NDArray[np.int32], n_stages: int) -> Pixels:
    """An image with its reject depth laid over it, from dark violet (0) to yellow (accepted).

    Parameters
    ----------
    image : (H, W) or (H, W, 3) uint8
    depth : (H, W) int32
        From `reject_depth_map`.
    n_stages : int, of the cascade

    Returns
    -------
    (H, W, 3) uint8
    """
    gray = as_gray(image)
    if depth.shape != gray.shape:
        raise ParameterError(
            f"`depth` must have the shape of the image {gray.shape}, got {depth.shape}"
        )
    return heat(gray, depth, n_stages)


def _stages(cascade: Cascade, sums: NDArray[np.float64]) -> tuple[StageResult, ...]:
    limits = cascade.stage_limit.tolist()
    return tuple(
        StageResult(s, total, limit, not total < limit)  # NaN passes
        for s, (total, limit) in enumerate(zip(sums.tolist(), limits, strict=True))
    )


def _votes(
    cascade: Cascade, stage: int, failed: bool, leaves: NDArray[Any], values: NDArray[Any]
) -> tuple[TreeVote, ...]:
    """The trees of a stage that did most for what happened there."""
    votes, first_tree = [], int(cascade.stage_first[stage])
    for number, tree in enumerate(cascade.stages[stage].trees):
        t = first_tree + number
        leaf = float(cascade.leaf[leaves[t]])
        known = tree.leaf[np.isfinite(tree.leaf)].tolist() or [0.0]
        contribution = leaf - (min(known) + max(known)) / 2
        nodes = slice(int(cascade.tree_first[t]), int(cascade.tree_first[t + 1]))
        came = np.isfinite(values[nodes])
        votes.append(
            TreeVote(
                stage,
                number,
                leaf,
                np.inf if np.isnan(contribution) else contribution,  # NaN alone lets it pass
                tuple(tree.feature[came].tolist()),
                tuple(values[nodes][came].tolist()),
            )
        )
    votes.sort(key=lambda vote: vote.contribution, reverse=not failed)
    return tuple(votes[:_N_VOTES])
