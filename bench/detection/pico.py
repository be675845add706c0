"""Pico's detector in compiled loops: the runtime that its authors write in C, for comparison.

Reference: Markuš, Frljak, Pandžić, Ahlberg & Forchheimer, Object detection with pixel intensity
comparisons organized in decision trees, arXiv:1305.4537, 2013; runtime rnt/picornt.c.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numba import njit

MIN_SIZE = 20  # pixels
SHIFT, SCALE = 0.1, 1.1
OVERLAP = 0.3  # of windows that are one face


def read(path: Path):
    """(depth, codes (trees, 2**depth, 4) int8, leaves (trees, 2**depth), thresholds (trees,))."""
    data = path.read_bytes()
    depth, trees = np.frombuffer(data, np.int32, 2, 8)
    leaves = 1 << int(depth)
    row = np.dtype([("codes", np.int8, (leaves - 1, 4)), ("leaf", np.float32, leaves),
                    ("threshold", np.float32)])  # fmt: skip
    table = np.frombuffer(data, row, int(trees), 16)
    return int(depth), *(np.ascontiguousarray(table[name]) for name in row.names)


@njit(cache=False, nogil=True)
def scan(gray, depth, codes, leaf, threshold, smallest, out):
    """Every window that passes all trees: row, column, side, score. Returns their number."""
    rows, cols = gray.shape
    flat = gray.ravel()
    count, side = 0, float(smallest)
    while side <= min(rows, cols):
        size, step = int(side), max(int(SHIFT * side), 1)
        edge = size // 2 + 1
        for r in range(edge, rows - edge + 1, step):
            for c in range(edge, cols - edge + 1, step):
                score, good = np.float32(0), True
                for t in range(codes.shape[0]):
                    at = 1
                    for _ in range(depth):
                        r1, c1, r2, c2 = codes[t, at - 1]
                        a = ((256 * r + r1 * size) >> 8) * cols + ((256 * c + c1 * size) >> 8)
                        b = ((256 * r + r2 * size) >> 8) * cols + ((256 * c + c2 * size) >> 8)
                        at = 2 * at + (1 if flat[np.uint64(a)] <= flat[np.uint64(b)] else 0)
                    score += leaf[t, at - leaf.shape[1]]
                    if score <= threshold[t]:
                        good = False
                        break
                if good and count < out.shape[0]:
                    out[count, 0], out[count, 1], out[count, 2] = r, c, size
                    out[count, 3] = score - threshold[-1]
                    count += 1
        side *= SCALE
    return count


class Pico:
    """Windows that overlap are averaged and their scores added up, as in the authors' samples."""

    def __init__(self, path: Path) -> None:
        self.trees = read(path)
        self.out = np.empty((20000, 4), np.float32)

    def __call__(self, gray):
        count = scan(gray, *self.trees, MIN_SIZE, self.out)
        found = self.out[:count]
        low = found[:, 1::-1] - found[:, 2:3] / 2
        boxes = np.concatenate([low, low + found[:, 2:3]], 1)
        merged, score, free = [], [], np.ones(count, bool)
        for k in range(count):
            if not free[k]:
                continue
            side = np.minimum(boxes[k, 2:], boxes[:, 2:]) - np.maximum(boxes[k, :2], boxes[:, :2])
            both = np.maximum(side, 0).prod(1)
            union = (found[:, 2] ** 2) + found[k, 2] ** 2 - both
            group = free & (both > OVERLAP * union)
            group[k] = True
            free &= ~group
            merged.append(boxes[group].mean(0))
            score.append(found[group, 3].sum())
        return np.array(merged, np.float32).reshape(-1, 4), np.array(score, np.float32)
