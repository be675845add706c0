import cv2
import numpy as np
import pytest
import skimage.transform

import vj
from bench.pictures import SIZES, label, noise

SUM = {
    "vj": vj.integral_image,
    "opencv": lambda g: cv2.integral(g, sdepth=cv2.CV_32S),
    "scikit-image": skimage.transform.integral_image,
    "numpy": lambda g: g.cumsum(0, dtype=np.int32).cumsum(1, dtype=np.int32),
}
SQUARES = {
    "vj": lambda g: (vj.integral_image(g), vj.squared_integral_image(g)),
    "opencv, float64": lambda g: cv2.integral2(g, sdepth=cv2.CV_32S, sqdepth=cv2.CV_64F),
    "opencv, int32": lambda g: cv2.integral2(g, sdepth=cv2.CV_32S, sqdepth=cv2.CV_32S),
}
TILTED = {
    "vj": lambda g: (*SQUARES["vj"](g), vj.tilted_integral_image(g)),
    "opencv, float64": lambda g: cv2.integral3(g, sdepth=cv2.CV_32S, sqdepth=cv2.CV_64F),
    "opencv, int32": lambda g: cv2.integral3(g, sdepth=cv2.CV_32S, sqdepth=cv2.CV_32S),
}


@pytest.mark.parametrize("lib", SUM)
@pytest.mark.parametrize("size", SIZES, ids=label)
def test_sum(race, lib, size):
    """Sum of the pixels above and to the left of every corner, 32 bit."""
    gray = noise(*size)
    race(lambda: SUM[lib](gray), table="Integral image", case=label(size), lib=lib)


@pytest.mark.parametrize("lib", SQUARES)
@pytest.mark.parametrize("size", SIZES, ids=label)
def test_squares(race, lib, size):
    """Both images; ours holds the squares in 64-bit integers. OpenCV's 32-bit squares wrap."""
    gray = noise(*size)
    table = "Integral image and squared integral image"
    race(lambda: SQUARES[lib](gray), table=table, case=label(size), lib=lib)


@pytest.mark.parametrize("lib", TILTED)
@pytest.mark.parametrize("size", SIZES, ids=label)
def test_tilted(race, lib, size):
    """All three images, the last one tilted by 45 degrees."""
    gray = noise(*size)
    table = "Integral image, squared and tilted"
    race(lambda: TILTED[lib](gray), table=table, case=label(size), lib=lib)


@pytest.mark.benchmark(min_rounds=3)
@pytest.mark.parametrize("lib", ["vj, from the integral image", "compiled loop over the pixels"])
@pytest.mark.parametrize("side", [2, 4, 8, 16, 32, 64, 128, 256, 512])
def test_box_sum(race, lib, side):
    """Ten thousand square boxes at random places of a 1024x1024 image: four reads a box against
    side * side reads.
    """
    gray = noise(1024, 1024)
    corners = np.random.default_rng(side).integers(0, 1024 - side + 1, (10_000, 2))
    boxes = np.concatenate([corners, np.full((10_000, 2), side)], axis=1)
    ii = vj.integral_image(gray)
    runs = [lambda: vj.rect_sum(ii, boxes), lambda: vj.rect_sum_naive(gray, boxes)]
    run = runs[not lib.startswith("vj")]
    race(run, table="Sum of a box, by its side", case=f"{side}x{side}", lib=lib, x=side)
