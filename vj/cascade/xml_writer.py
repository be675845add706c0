"""A cascade as an XML file in OpenCV's format."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from vj.cascade.arrays import CascadeArrays, Stage
from vj.io.files import replacing


def write(cascade: CascadeArrays, path: str | os.PathLike[str]) -> None:
    """Write a cascade in the new format, gzipped if the name ends with ``.gz``.

    The file is written under a temporary name and renamed. cv2 4.x loads it with results
    identical to ours, and so does `read`: every number comes back bit for bit.

    Raises
    ------
    SinkError
        The file cannot be written; nothing is left behind.
    """
    data = dumps(cascade)
    if os.fspath(path).endswith(".gz"):
        data = gzip.compress(data, mtime=0)
    with replacing(path) as file:
        file.write(data)


def dumps(cascade: CascadeArrays) -> bytes:
    """The bytes of the file that `write` writes."""
    return ("\n".join(_lines(cascade)) + "\n").encode()


def _lines(c: CascadeArrays) -> Iterator[str]:
    rows, cols = c.window
    longest = int(np.diff(c.stage_first).max())
    yield '<?xml version="1.0"?>'
    if comment := c.metadata.get("comment"):
        legal = "".join(c if c.isprintable() or c in "\n\t" else "?" for c in str(comment))
        yield "<!--\n" + re.sub("-(?=-)", "- ", legal) + "\n-->"
    yield "<opencv_storage>"
    yield '<cascade type_id="opencv-cascade-classifier">'
    yield "  <stageType>BOOST</stageType>"
    yield f"  <featureType>{c.feature_type}</featureType>"
    yield f"  <height>{rows}</height>"
    yield f"  <width>{cols}</width>"
    yield f"  <stageParams><maxWeakCount>{longest}</maxWeakCount></stageParams>"
    categories = 256 if c.feature_type == "LBP" else 0
    yield f"  <featureParams><maxCatCount>{categories}</maxCatCount></featureParams>"
    yield f"  <stageNum>{c.n_stages}</stageNum>"
    yield "  <stages>"
    for s, stage in enumerate(c.stages):
        yield f"    <!-- stage {s} -->"
        yield from _stage_lines(stage)
    yield "  </stages>"
    yield "  <features>"
    yield from _haar_lines(c) if c.feature_type == "HAAR" else _lbp_lines(c)
    yield "  </features>"
    yield "</cascade>"
    yield "</opencv_storage>"


def _stage_lines(stage: Stage) -> Iterator[str]:
    yield "    <_>"
    yield f"      <maxWeakCount>{len(stage.trees)}</maxWeakCount>"
    yield f"      <stageThreshold>{_real(np.float32(stage.threshold))}</stageThreshold>"
    yield "      <weakClassifiers>"
    for tree in stage.trees:
        links = np.stack([tree.left, tree.right, tree.feature], axis=1).tolist()
        if len(tree.subset):
            tests: Iterable[list[Any]] = tree.subset.view(np.int32).tolist()
        else:
            tests = ([_real(value)] for value in tree.threshold)
        numbers = (str(n) for link, test in zip(links, tests, strict=True) for n in (*link, *test))
        yield "        <_>"
        yield f"          <internalNodes>{' '.join(numbers)}</internalNodes>"
        yield f"          <leafValues>{' '.join(map(_real, tree.leaf))}</leafValues></_>"
    yield "      </weakClassifiers></_>"


def _haar_lines(c: CascadeArrays) -> Iterator[str]:
    for boxes, weights, tilted in zip(c.rects.tolist(), c.weights, c.tilted.tolist(), strict=True):
        yield "    <_><rects>"
        # A third rectangle is left out where OpenCV does not look at it; two are always written.
        for box, weight in zip(boxes, weights[: 3 if weights[2] else 2], strict=False):
            yield f"        <_>{' '.join(map(str, box))} {_real(weight)}</_>"
        yield f"      </rects><tilted>{int(tilted)}</tilted></_>"


def _lbp_lines(c: CascadeArrays) -> Iterator[str]:
    for box in c.rects[:, 0].tolist():
        yield f"    <_><rect>{' '.join(map(str, box))}</rect></_>"


def _real(value: np.float32) -> str:
    """The shortest text that OpenCV, reading a float64 and rounding it, takes for this float32."""
    if np.isnan(value):
        return ".Nan"
    text = str(value)
    return text if np.float32(float(text)) == value else repr(float(value))
