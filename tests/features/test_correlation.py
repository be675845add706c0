import cv2
import naive
import numpy as np
import pytest
import scipy.ndimage as ndimage
import scipy.signal as signal
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import vj
from vj.errors import ImageError, ParameterError
from vj.features.correlation import BOUNDARIES, separate

side = st.integers(1, 90)
taps = st.integers(1, 12)
seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from([np.uint8, np.float32, np.float64])
boundaries = st.sampled_from(BOUNDARIES)
methods = st.sampled_from(["auto", "direct", "fft"])
METHODS = ["direct", "separable", "fft"]


def close(got, want, kernel, dtype):
    """Equal but for the rounding of sums as large as the kernel and 255 make them."""
    eps = np.finfo(np.float64 if dtype == np.float64 else np.float32).eps
    scale = 255 * max(abs(kernel).sum(), 1e-30)
    np.testing.assert_allclose(got, want, rtol=0, atol=32 * eps * scale)


def example(rows, cols, h, w, dtype, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (rows, cols)).astype(dtype)
    return image, rng.normal(size=(h, w))


@given(side, side, taps, taps, dtypes, boundaries, methods, seeds)
def test_same_as_scipy_ndimage(rows, cols, h, w, dtype, boundary, method, seed):
    image, kernel = example(rows, cols, h, w, dtype, seed)
    for ours, theirs in ((vj.correlate, ndimage.correlate), (vj.convolve, ndimage.convolve)):
        got = ours(image, kernel, boundary=boundary, cval=9.5, method=method)
        assert got.dtype == (np.float64 if dtype == np.float64 else np.float32)
        want = theirs(image.astype(np.float64), kernel, mode=boundary, cval=9.5)
        close(got, want, kernel, dtype)


@given(side, side, taps, taps, dtypes, st.sampled_from(["full", "same", "valid"]), methods, seeds)
def test_full_and_valid_as_in_scipy_signal(rows, cols, h, w, dtype, mode, method, seed):
    assume(mode != "valid" or (h <= rows and w <= cols))
    image, kernel = example(rows, cols, h, w, dtype, seed)
    exact = image.astype(np.float64)
    options = {"mode": mode, "boundary": "constant", "method": method}
    if mode == "same":  # the centre of an even kernel differs: compare odd ones
        kernel = kernel[: h - 1 + h % 2, : w - 1 + w % 2]
        assume(kernel.size)
    close(
        vj.correlate(image, kernel, **options),
        signal.correlate2d(exact, kernel, mode),
        kernel,
        dtype,
    )
    close(
        vj.convolve(image, kernel, **options), signal.convolve2d(exact, kernel, mode), kernel, dtype
    )


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=8)
@given(st.integers(1, 6), st.integers(1, 7), st.integers(1, 5), st.integers(1, 6), seeds)
def test_matches_naive_in_every_mode(boundary, method, rows, cols, h, w, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (rows, cols), dtype=np.uint8)
    kernel = np.outer(rng.normal(size=h), rng.normal(size=w))
    for mode, shape, before in [
        ("same", (rows, cols), (h // 2, w // 2)),
        ("full", (rows + h - 1, cols + w - 1), (h - 1, w - 1)),
        ("valid", (rows - h + 1, cols - w + 1), (0, 0)),
    ]:
        if min(shape) < 1:
            continue
        got = vj.correlate(image, kernel, mode, boundary, cval=-3, method=method)
        close(got, naive.correlate(image, kernel, boundary, -3.0, *shape, *before), kernel, "u1")


@given(seeds, st.sampled_from(["full", "valid"]))
def test_convolution_is_correlation_with_the_flipped_kernel(seed, mode):
    image, kernel = example(20, 21, *np.random.default_rng(seed).integers(1, 8, 2), np.uint8, seed)
    flipped = kernel[::-1, ::-1]
    np.testing.assert_array_equal(
        vj.convolve(image, kernel, mode), vj.correlate(image, flipped, mode)
    )
    odd = kernel[: 1 + (len(kernel) - 1) // 2 * 2, : 1 + (kernel.shape[1] - 1) // 2 * 2]
    np.testing.assert_array_equal(vj.convolve(image, odd), vj.correlate(image, odd[::-1, ::-1]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_channel_by_itself(method, channels):
    image = np.random.default_rng(0).integers(0, 256, (37, 45, channels), dtype=np.uint8)
    kernel = vj.named_kernel("gaussian", size=9)[:, 1:]
    for boundary in BOUNDARIES:
        together = vj.correlate(image, kernel, boundary=boundary, cval=50, method=method)
        assert together.shape == image.shape
        for c in range(channels):
            alone = vj.correlate(image[..., c], kernel, boundary=boundary, cval=50, method=method)
            np.testing.assert_array_equal(together[..., c], alone)


@pytest.mark.parametrize("size", [3, 7, 8, 9, 12])
def test_integer_kernels_are_exact(size):
    rng = np.random.default_rng(size)
    image = rng.integers(0, 256, (50, 83), dtype=np.uint8)
    kernel = rng.integers(-9, 10, (size, size))
    want = ndimage.correlate(image.astype(np.int64), kernel)
    np.testing.assert_array_equal(vj.correlate(image, kernel), want)
    separable = np.outer(rng.integers(1, 5, size), 2 ** rng.integers(0, 3, size))
    want = ndimage.correlate(image.astype(np.int64), separable)
    np.testing.assert_array_equal(vj.correlate(image, separable, method="separable"), want)


def test_uint8_rounds_and_saturates_like_opencv(astronaut):
    for name in ("sharpen", "sharpen_8", "emboss", "laplacian"):
        kernel = vj.named_kernel(name)
        want = cv2.filter2D(astronaut, -1, kernel, borderType=cv2.BORDER_REFLECT)
        got = vj.correlate(astronaut, kernel, dtype=np.uint8)
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, want)
    halves = vj.correlate(np.uint8([[1, 2, 4, 5]]), [[0.5]], dtype=np.uint8)
    assert halves.tolist() == [[0, 1, 2, 2]]


def test_large_kernels_take_the_fourier_path():
    rng = np.random.default_rng(0)
    image, kernel = rng.integers(0, 256, (150, 301), dtype=np.uint8), rng.normal(size=(41, 35))
    auto, direct = vj.correlate(image, kernel), vj.correlate(image, kernel, method="direct")
    assert (auto != direct).any()
    close(auto, direct, kernel, np.uint8)
    image = image.astype(np.float64)
    close(
        vj.correlate(image, kernel),
        vj.correlate(image, kernel, method="direct"),
        kernel,
        np.float64,
    )


def test_read_only_and_strided_images():
    image = np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8)
    image.flags.writeable = False
    kernel = np.arange(9.0).reshape(3, 3)
    want = ndimage.correlate(image[::-1, ::2].astype(float), kernel)
    np.testing.assert_array_equal(vj.correlate(image[::-1, ::2], kernel), want)


@given(taps, taps, seeds)
def test_outer_products_are_found_and_others_are_not(h, w, seed):
    rng = np.random.default_rng(seed)
    kernel = np.outer(rng.normal(size=h), rng.normal(size=w))
    column, row = separate(kernel)
    assert column.shape == (h, 1)
    assert row.shape == (1, w)
    np.testing.assert_allclose(column * row, kernel, rtol=0, atol=1e-12 * abs(kernel).max())
    sizes = np.linalg.svd(kernel, compute_uv=False)
    assert sizes[1:].max(initial=0) <= 1e-6 * sizes[0]
    if h > 1 and w > 1:
        kernel[0, 0] += 1e-3 * abs(kernel).max() + abs(kernel[0, 0])
        assert separate(kernel) is None


def test_separable_named_kernels():
    for name in ("box", "gaussian", "binomial", "sobel_x", "sobel_y", "scharr_x", "prewitt_y"):
        assert separate(vj.named_kernel(name)), name
    for name in ("laplacian", "sharpen", "disk", "log", "emboss", "roberts_x"):
        assert separate(vj.named_kernel(name)) is None, name
    assert separate(np.zeros((3, 3)))


@given(taps, taps, seeds)
def test_factors_of_integers_are_integers(h, w, seed):
    rng = np.random.default_rng(seed)
    kernel = np.outer(rng.integers(-9, 10, h), rng.integers(-9, 10, w))
    column, row = separate(kernel)
    assert (column == np.rint(column)).all()
    assert (row == np.rint(row)).all()
    np.testing.assert_array_equal(column * row, kernel)


GRAY = np.zeros((5, 6), np.uint8)
BOX = np.ones((3, 3))


@pytest.mark.parametrize("function", [vj.correlate, vj.convolve])
@pytest.mark.parametrize(
    ("args", "options", "error", "says"),
    [
        ((GRAY.astype(np.int32), BOX), {}, ImageError, "uint8, float32 or float64, got int32"),
        ((GRAY > 0, BOX), {}, ImageError, "got bool"),
        ((GRAY[0], BOX), {}, ImageError, r"shape \(H, W\) or \(H, W, C\), got \(6,\)"),
        ((GRAY[:0], BOX), {}, ImageError, "must have pixels"),
        ((GRAY, BOX[0]), {}, ParameterError, "`kernel` must be a 2-D array"),
        ((GRAY, BOX * 1j), {}, ParameterError, "real numbers, got complex128"),
        ((GRAY, BOX[:0]), {}, ParameterError, "`kernel`"),
        ((GRAY, BOX * np.nan), {}, ParameterError, "not a finite number"),
        ((GRAY, BOX * 1e200), {}, ParameterError, "not a finite number below 1e30"),
        ((GRAY, np.ones((6, 3))), {"mode": "valid"}, ParameterError, "larger than the image"),
        ((GRAY, BOX), {"mode": "half"}, ParameterError, "same, full, valid, got 'half'"),
        ((GRAY, BOX), {"boundary": "symm"}, ParameterError, "`boundary` must be one of reflect"),
        ((GRAY, BOX), {"method": "gpu"}, ParameterError, "`method` must be one of auto"),
        ((GRAY, BOX), {"dtype": np.int16}, ParameterError, "`dtype` must be .*, got int16"),
        ((GRAY, np.eye(3)), {"method": "separable"}, ParameterError, "not the product of a column"),
    ],
)
def test_refuses(function, args, options, error, says):
    with pytest.raises(error, match=says):
        function(*args, **options)
