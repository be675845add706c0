"""What nets call convolution is correlation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy import signal

import vj
from bench.lecture import data
from bench.lecture.figures import hidden, panels, show
from bench.lecture.findings import Finding
from nets.autograd.ops.convolution import conv2d
from nets.autograd.tensor import Tensor
from nets.nn import init
from nets.nn.layers import Conv2d
from nets.nn.losses import mse_loss
from nets.nn.optim import Adam

CLAIM = (
    "Correlation applies a kernel to the image as it is; convolution first rotates it by 180 "
    "degrees. A convolutional layer computes correlation. As its kernels are learned this makes no "
    "difference: under true convolution the same kernels would be learned, rotated. Convolution "
    "commutes, correlation does not; finding a pattern takes correlation."
)
METHOD = (
    "The same face filtered by the layer of `nets`, by `vj` and by scipy. An eye is cut out, "
    "shifted to mean 0 and searched for in its face by both operations. A 5x5 layer is trained to "
    "imitate the convolution of faces with a given kernel."
)


def eye_of(row: data.Row) -> tuple[int, int]:
    """Row and column of the left eye, in a crop of 64 pixels without margin."""
    return round(float(row["le_y"]) - 16), round(float(row["le_x"]) - 16)


def subject(quick: bool) -> tuple[NDArray[np.uint8], list[tuple[int, int]]]:
    """Faces (n, 64, 64) and where an eye is."""
    if quick:
        return data.invented(3, 64), [(24, 20)] * 3
    rows = [row for row in data.face_rows(sets=["lfwexpr"]) if row["side"] == "test"][:200]
    return data.face_crops(rows, 64), [eye_of(row) for row in rows]


def imitate(faces: NDArray[np.float32], kernel: NDArray[np.float32], steps: int) -> Conv2d:
    """A layer trained to give the true convolution of faces with a kernel."""
    init.seed(0)
    layer = Conv2d(1, 1, kernel.shape, bias=False)
    wanted = np.stack([signal.convolve2d(face, kernel, "valid") for face in faces])[:, None]
    optimiser = Adam(layer.named_parameters(), 0.02)
    for _ in range(steps):
        optimiser.zero_grad()
        mse_loss(layer(Tensor(faces[:, None])), wanted).backward()
        optimiser.step()
    return layer


def experiment(quick: bool = False) -> Finding:
    faces, eyes = subject(quick)
    pixels = faces / np.float32(255)
    kernel = np.array([[0, 0, 1, 2, 3], [0, 0, 0, 2, 2], [-1, 0, 0, 0, 1],
                       [-2, -2, 0, 0, 0], [-3, -2, -1, 0, 0]], np.float32) / 9  # fmt: skip
    face = pixels[0]
    layer = conv2d(Tensor(face[None, None]), Tensor(kernel[None, None])).data[0, 0]
    ours = vj.correlate(face, kernel, "valid")
    apart = {
        "layer_to_correlation": np.abs(layer - signal.correlate2d(face, kernel, "valid")).max(),
        "layer_to_convolution": np.abs(layer - signal.convolve2d(face, kernel, "valid")).max(),
        "vj_to_layer": np.abs(ours - layer).max(),
        "convolution_swapped": swapped(face, kernel, vj.convolve),
        "correlation_swapped": swapped(face, kernel, vj.correlate),
    }
    found: dict[str, list[bool]] = {"correlation": [], "convolution": []}
    for image, (y, x) in zip(pixels, eyes, strict=True):
        eye = image[y - 5 : y + 6, x - 8 : x + 9]
        for name, method in (("correlation", vj.correlate), ("convolution", vj.convolve)):
            top = np.argmax(method(image - image.mean(), eye - eye.mean()))
            found[name].append(bool(np.hypot(top // 64 - y, top % 64 - x) <= 3))
    learned = imitate(pixels[:32] - pixels.mean(), kernel, 5 if quick else 1500).weight.data[0, 0]
    rotated = np.abs(learned - kernel[::-1, ::-1]).max()
    share = {name: float(np.mean(hits)) for name, hits in found.items()}
    right = apart["layer_to_correlation"] < 1e-5 < apart["layer_to_convolution"]
    holds = right and rotated < 0.02 and share["correlation"] > 2 * share["convolution"]
    measured = (
        f"The layer differs from scipy's correlation by {apart['layer_to_correlation']:.1e} and "
        f"from its convolution by {apart['layer_to_convolution']:.2f}. Swapping image and kernel "
        f"changes the full convolution by {apart['convolution_swapped']:.1e}, the correlation by "
        f"{apart['correlation_swapped']:.2f}. Correlation with the eye peaks at the eye in "
        f"{share['correlation']:.0%} of {len(pixels)} faces, convolution in "
        f"{share['convolution']:.0%}; without normalisation a bright patch can still exceed the "
        "eye. The trained layer holds the kernel rotated by 180 degrees (largest difference "
        f"{rotated:.4f})."
    )
    figure, ax = panels(1, 5, 1.9, 2.0)
    chosen = int(np.argmax(found["correlation"]))
    (y, x), shown = eyes[chosen], pixels[chosen]
    eye = shown[y - 5 : y + 6, x - 8 : x + 9]
    show(ax[0, 0], hidden(shown), "face, eye", vmin=0, vmax=255)
    ax[0, 0].add_patch(Rectangle((x - 8.5, y - 5.5), 17, 11, fill=False, color="red"))
    for axes, method in ((ax[0, 1], vj.correlate), (ax[0, 2], vj.convolve)):
        answer = method(shown - shown.mean(), eye - eye.mean())
        top = np.unravel_index(np.argmax(answer), answer.shape)
        show(axes, answer, f"{method.__name__} with the eye")
        axes.plot(top[1], top[0], "r+", markersize=12)
    show(ax[0, 3], kernel, "kernel convolved with")
    show(ax[0, 4], learned, "kernel the layer learned")
    numbers = {**apart, **share, "learned_to_rotated": rotated}
    return Finding(CLAIM, METHOD, measured, "yes" if holds else "in part", numbers, figure)


def swapped(
    face: NDArray[np.float32],
    kernel: NDArray[np.float32],
    method: Callable[..., NDArray[np.float32]],
) -> float:
    """Largest change of the full result when picture and kernel change places."""
    return float(np.abs(method(face, kernel, "full") - method(kernel, face, "full")).max())
