"""What cameras and compression do to pixels: light, colour, blur, noise, JPEG.

All work on Pillow images and tables, so that a frame costs a fraction of a millisecond.
"""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from nets.kernels.lookup_table import look_up

Rng = np.random.Generator
NOISE_SIDE = 512


def relight(image: Image.Image, rng: Rng, strength: float = 1.0) -> Image.Image:
    """Change gamma, contrast, brightness and the colour of the light.

    Standard deviations at ``strength`` 1: 0.25 of the logarithm of gamma, 0.2 of that of
    contrast, 20 levels of brightness, 6 % of the gain of each channel.
    """
    gamma, contrast = np.exp(rng.standard_normal(2) * strength * (0.25, 0.2))
    shift = rng.standard_normal() * strength * 20
    gain = np.exp(rng.standard_normal((3, 1)) * strength * 0.06)
    level = (np.arange(256) / 255) ** gamma * 255
    return _mapped(image, ((level - 128) * contrast + 128 + shift) * gain)


def dim(image: Image.Image, rng: Rng) -> Image.Image:
    """Hardly any light: half to a seventh of it, unevenly coloured."""
    share = np.exp(rng.uniform(np.log(0.15), np.log(0.6)))
    gain = share * np.exp(rng.standard_normal((3, 1)) * 0.1)
    return _mapped(image, np.arange(256) * gain + rng.uniform(0, 12))


def _mapped(image: Image.Image, table: NDArray[np.float64]) -> Image.Image:
    """Each channel through its row of a table (3, 256); Pillow's own would go through a list."""
    levels = np.clip(np.rint(table), 0, 255).astype(np.uint8)
    pixels = np.asarray(image)
    mapped = np.empty_like(pixels)
    look_up(pixels, levels, mapped)
    return Image.fromarray(mapped)


def saturate(image: Image.Image, factor: float) -> Image.Image:
    """Move colours away from (``factor`` > 1) or towards gray; 0 is gray."""
    gray = np.array([0.299, 0.587, 0.114]) * (1 - factor)
    matrix = (np.eye(3) * factor + gray).round(6)
    return image.convert("RGB", tuple(np.c_[matrix, np.zeros(3)].ravel().tolist()))


def blur(image: Image.Image, rng: Rng, limit: float) -> Image.Image:
    """Out of focus, with a radius up to ``limit`` pixels, or moved along one axis."""
    radius = float(rng.uniform(0.3, max(limit, 0.4)))
    if rng.random() < 0.3:
        axes = (2 * radius, 0.0) if rng.random() < 0.5 else (0.0, 2 * radius)
        return image.filter(ImageFilter.BoxBlur(axes))
    return image.filter(ImageFilter.GaussianBlur(radius))


def compress(image: Image.Image, quality: int) -> Image.Image:
    """Through JPEG and back."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def add_noise(pixels: NDArray[np.uint8], rng: Rng, sigma: float) -> NDArray[np.uint8]:
    """Sensor noise: a random part of one large sheet of it, which is much faster than new noise."""
    rows, cols = pixels.shape[:2]
    sheet = _noise()
    top, left = rng.integers(NOISE_SIDE, size=2)
    part = sheet[top : top + rows, left : left + cols]
    level = pixels.astype(np.int16) + ((part * np.int16(round(sigma * 8))) >> 8)
    noisy: NDArray[np.uint8] = np.clip(level, 0, 255).astype(np.uint8)
    return noisy


@cache
def _noise() -> NDArray[np.int16]:
    """Noise of standard deviation 32, repeated so that any window of the first copy is whole."""
    values = np.random.default_rng(0).normal(0, 32, (NOISE_SIDE, NOISE_SIDE, 3))
    sheet = np.clip(np.rint(values), -127, 127).astype(np.int16)
    return np.tile(sheet, (3, 3, 1))


def photograph(image: Image.Image, rng: Rng) -> NDArray[np.uint8]:
    """The whole chain, each step with its own chance: (H, W, 3) uint8."""
    chance = rng.random(6)
    if chance[0] < 0.8:
        image = relight(image, rng)
    elif chance[0] < 0.86:
        image = dim(image, rng)
    if chance[1] < 0.25:
        image = saturate(image, 0.0)
    elif chance[1] < 0.55:
        image = saturate(image, float(rng.uniform(0.4, 1.5)))
    if chance[2] < 0.15:
        image = blur(image, rng, 1.6)
    pixels = np.asarray(image)
    if chance[3] < 0.25:
        pixels = add_noise(pixels, rng, float(rng.uniform(1, 12)))
    if chance[4] < 0.25:
        pixels = np.asarray(compress(Image.fromarray(pixels), int(rng.integers(25, 90))))
    return pixels
