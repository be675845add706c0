"""Training frames of the face networks: decoding, cropping, composing, augmentation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from bench.harness.timing import Case
from nets.detectors.training.data import Data, read_data
from nets.detectors.training.scenes import KINDS, Mixture, Scenes

FRAMES = 64


def batches(data: Data, size: int, mixture: Mixture) -> Callable[[], object]:
    scenes, count = Scenes(data, size, mixture=mixture), itertools.count()
    return lambda: scenes.batch(next(count) * FRAMES, FRAMES)


def cases(_) -> Iterator[Case]:
    data, _ = read_data()
    about = f"{FRAMES} frames for the training of face detectors, on one core."
    for kind in (*KINDS, "the usual mixture"):
        mixture = Mixture(kinds=((kind, 1.0),)) if kind in KINDS else Mixture()
        for size in (256, 320):
            calls = {"vj": batches(data, size, mixture)}
            yield Case("Training frames", about, f"{kind}, {size}x{size}", calls)
