import cv2
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import skimage.feature

import vj
from bench.pictures import SIZES, label, noise

SIDES = [3, 5, 7, 9, 11, 15, 21, 31]
GENERAL = {
    "vj": vj.correlate,
    "opencv, to float32": lambda g, k: cv2.filter2D(g, cv2.CV_32F, k),
    "opencv, to uint8": lambda g, k: cv2.filter2D(g, -1, k),
    "scipy.ndimage": lambda g, k: scipy.ndimage.correlate(g, k, output=np.float32),
    "scipy.signal, FFT": lambda g, k: scipy.signal.fftconvolve(
        g.astype(np.float32), k[::-1, ::-1].astype(np.float32), "same"
    ),
}
SEPARABLE = {
    "vj": lambda g, line: vj.correlate(g, np.outer(line, line)),
    "opencv filter2D": lambda g, line: cv2.filter2D(g, cv2.CV_32F, np.outer(line, line)),
    "opencv, given the factors": lambda g, line: cv2.sepFilter2D(g, cv2.CV_32F, line, line),
    "scipy.ndimage, given the factors": lambda g, line: scipy.ndimage.correlate1d(
        scipy.ndimage.correlate1d(g, line, 0, output=np.float32), line, 1
    ),
}


@pytest.mark.benchmark(min_rounds=3, max_time=0.2)
@pytest.mark.parametrize("lib", GENERAL)
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("size", SIZES, ids=label)
def test_general_kernel(race, lib, size, side):
    """Gray uint8 image, random kernel. Ours and scipy give float32, OpenCV float32 or uint8."""
    gray, kernel = noise(*size), np.random.default_rng(0).normal(size=(side, side))
    table = f"Correlation with a general kernel, {label(size)}"
    case = f"{side}x{side}"
    race(lambda: GENERAL[lib](gray, kernel), table=table, case=case, lib=lib, x=side)


@pytest.mark.benchmark(min_rounds=3, max_time=0.2)
@pytest.mark.parametrize("lib", SEPARABLE)
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("size", SIZES, ids=label)
def test_separable_kernel(race, lib, size, side):
    """Gray uint8 image, a kernel that is an outer product. Ours is given the kernel and finds that
    out itself.
    """
    gray, line = noise(*size), np.random.default_rng(0).normal(size=side)
    table = f"Correlation with a separable kernel, {label(size)}"
    case = f"{side}x{side}"
    race(lambda: SEPARABLE[lib](gray, line), table=table, case=case, lib=lib, x=side)


MATCH = {
    "vj": vj.match_template,
    "opencv": lambda g, t: cv2.matchTemplate(g, t, cv2.TM_CCOEFF_NORMED),
    "scikit-image": skimage.feature.match_template,
}


@pytest.mark.benchmark(min_rounds=3, max_time=0.2)
@pytest.mark.parametrize("lib", MATCH)
@pytest.mark.parametrize("side", [8, 16, 32, 64, 128])
def test_match_template(race, lib, side):
    """Normalised cross-correlation in a 640x480 image. Ours is exact; OpenCV adds up in float32."""
    gray = noise(480, 640)
    template = np.ascontiguousarray(gray[100 : 100 + side, 200 : 200 + side])
    case = f"{side}x{side}"
    race(lambda: MATCH[lib](gray, template), table="Template matching", case=case, lib=lib)
