"""Haar-like features and LBP codes of one window, against scikit-image."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from skimage.feature import haar_like_feature, multiblock_lbp

import vj
from bench.features import noise
from bench.harness.timing import Case

TYPES = {"x2": "type-2-x", "y2": "type-2-y", "x3": "type-3-x", "y3": "type-3-y", "x2y2": "type-4"}


def cases(_) -> Iterator[Case]:
    gray = noise(24, 24)
    ii = vj.integral_image(gray)[1:, 1:]
    about = "Every feature of one template in one 24x24 window. Ours includes the integral image."
    for template, name in TYPES.items():
        features = vj.enumerate_haar((24, 24), families=[template])
        calls = {
            "vj": partial(vj.haar_features, gray, features),
            "scikit-image": partial(haar_like_feature, ii.astype(np.int64), 0, 0, 24, 24, name),
        }
        yield Case("Haar responses", about, f"{template}, {len(features)} features", calls)
    blocks, sums = vj.enumerate_lbp((24, 24)), ii.astype(np.float32)
    about = (
        "The 8,464 multi-block LBP codes of one 24x24 window. scikit-image computes one per call."
    )
    calls = {
        "vj": partial(vj.lbp_codes, gray, blocks),
        "scikit-image": lambda: [multiblock_lbp(sums, y, x, w, h) for x, y, w, h in blocks],
    }
    yield Case("LBP codes", about, "8,464 blocks", calls)
