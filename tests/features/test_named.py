import cv2
import numpy as np
import pytest
import scipy.ndimage as ndimage

import vj
from vj.errors import ParameterError
from vj.features.named import KERNELS

SMOOTH = ["box", "gaussian", "binomial", "disk", "motion"]
SHARP = ["identity", "sharpen", "sharpen_8", "unsharp", "emboss"]
EDGES = sorted(set(KERNELS) - set(SMOOTH) - set(SHARP))


@pytest.mark.parametrize("name", KERNELS)
def test_sums(name):
    kernel = vj.named_kernel(name)
    assert kernel.dtype == np.float64
    assert kernel.sum() == pytest.approx(0 if name in EDGES else 1, abs=1e-12)


@pytest.mark.parametrize("name", SMOOTH)
def test_smoothing_kernels_are_positive_and_symmetric(name):
    for size in (1, 3, 5, 9):
        kernel = vj.named_kernel(name, size=size)
        assert kernel.shape == (size, size)
        assert (kernel >= 0).all()
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1])


@pytest.mark.parametrize("name", ["sobel", "scharr"])
def test_derivatives_as_in_opencv(name, astronaut):
    gray = cv2.cvtColor(astronaut, cv2.COLOR_RGB2GRAY)
    theirs = {"sobel": cv2.Sobel, "scharr": cv2.Scharr}[name]
    for axis, order in (("x", (1, 0)), ("y", (0, 1))):
        want = theirs(gray, cv2.CV_32F, *order, borderType=cv2.BORDER_REFLECT)
        np.testing.assert_array_equal(vj.correlate(gray, vj.named_kernel(f"{name}_{axis}")), want)


def test_other_kernels_as_in_scipy_and_opencv():
    image = np.random.default_rng(0).uniform(0, 255, (30, 31))
    for axis, name in enumerate(("prewitt_y", "prewitt_x")):
        want = ndimage.prewitt(image, axis=axis)
        np.testing.assert_allclose(vj.correlate(image, vj.named_kernel(name)), want, atol=1e-10)
    want = ndimage.laplace(image)
    np.testing.assert_allclose(vj.correlate(image, vj.named_kernel("laplacian")), want, atol=1e-10)
    want = ndimage.gaussian_filter(image, 2, radius=6)
    np.testing.assert_allclose(
        vj.correlate(image, vj.named_kernel("gaussian", sigma=2)), want, atol=1e-10
    )
    line = cv2.getGaussianKernel(15, 0)
    np.testing.assert_allclose(vj.named_kernel("gaussian", size=15), line @ line.T, rtol=1e-10)
    want = ndimage.gaussian_laplace(image, 2, truncate=6)
    got = vj.correlate(image, vj.named_kernel("log", size=25, sigma=2))
    np.testing.assert_allclose(got, want, atol=0.05)


def test_motion_follows_its_angle():
    across, up = vj.named_kernel("motion", size=7), vj.named_kernel("motion", size=7, angle=90)
    assert across[3].tolist() == pytest.approx([1 / 7] * 7)
    np.testing.assert_allclose(up, across.T, atol=1e-15)
    rising = vj.named_kernel("motion", size=7, angle=45)
    assert rising[1, 5] > 0  # right and up
    assert rising[5, 5] == 0


def test_unsharp_adds_what_the_blur_takes_away():
    image = np.random.default_rng(0).uniform(0, 255, (30, 31))
    blurred = vj.correlate(image, vj.named_kernel("gaussian", sigma=1.5))
    sharp = vj.correlate(image, vj.named_kernel("unsharp", sigma=1.5, amount=0.7))
    np.testing.assert_allclose(sharp, image + 0.7 * (image - blurred), atol=1e-10)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("blurry", {}, "`name` must be one of identity, box"),
        ("box", {"size": 4}, "`size` must be an odd number of pixels, got 4"),
        ("box", {"size": 0}, "odd number"),
        ("box", {"size": 2.5}, "odd number"),
        ("box", {"size": "3"}, "`size` must be a finite number, got '3'"),
        ("box", {"size": float("inf")}, "finite number"),
        ("gaussian", {"sigma": 0}, "`sigma` must be above 0"),
        ("log", {"sigma": -1}, "`sigma` must be above 0"),
        ("box", {"sigma": 1}, "'box' has size: not 'sigma'"),
        ("sobel_x", {"size": 3}, "'sobel_x' has no options: not 'size'"),
    ],
)
def test_refuses(name, options, says):
    with pytest.raises(ParameterError, match=says):
        vj.named_kernel(name, **options)
