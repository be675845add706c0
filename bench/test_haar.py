import numpy as np
import pytest
from skimage.feature import haar_like_feature, multiblock_lbp

import vj
from bench.pictures import noise

TYPES = {"x2": "type-2-x", "y2": "type-2-y", "x3": "type-3-x", "y3": "type-3-y", "x2y2": "type-4"}


@pytest.mark.parametrize("lib", ["vj", "scikit-image"])
@pytest.mark.parametrize("family", TYPES)
def test_haar_responses(race, lib, family):
    """Every feature of one family in one 24x24 window. Ours includes the integral image."""
    gray = noise(24, 24)
    features = vj.enumerate_haar((24, 24), families=[family])
    ii = vj.integral_image(gray)[1:, 1:].astype(np.int64)
    run = {
        "vj": lambda: vj.haar_features(gray, features),
        "scikit-image": lambda: haar_like_feature(ii, 0, 0, 24, 24, TYPES[family]),
    }[lib]
    case = f"{family}, {len(features)} features"
    race(run, table="Haar responses", case=case, lib=lib)


@pytest.mark.parametrize("lib", ["vj", "scikit-image"])
def test_lbp_codes(race, lib):
    """The 8,464 multi-block LBP codes of one 24x24 window. scikit-image computes one a call."""
    gray = noise(24, 24)
    blocks = vj.enumerate_lbp((24, 24))
    ii = vj.integral_image(gray)[1:, 1:].astype(np.float32)
    run = {
        "vj": lambda: vj.lbp_codes(gray, blocks),
        "scikit-image": lambda: [multiblock_lbp(ii, y, x, w, h) for x, y, w, h in blocks],
    }[lib]
    race(run, table="LBP codes", case="8,464 blocks", lib=lib)
