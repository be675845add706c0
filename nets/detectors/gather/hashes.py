"""Pictures recognised by a hash of 64 bits that survives scaling and compression.

A bit of the difference hash says whether a pixel of the picture, reduced to 9 x 8 gray pixels, is
darker than its right neighbour (dHash; N. Krawetz, "Kind of like that", 2013).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nets.detectors.training.data import read_pictures
from nets.detectors.training.store import Store

NEAR = 7  # bits in which two hashes of one picture may differ

Hash = tuple[int, int]


def hash_of(image: Image.Image) -> Hash:
    """Hashes of a picture and of its mirror image."""
    small = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.LANCZOS), np.int16)
    return _bits(small), _bits(small[:, ::-1])


def _bits(small: NDArray[np.int16]) -> int:
    bits = np.packbits((small[:, 1:] > small[:, :-1]).ravel())
    return int.from_bytes(bits.tobytes(), "big")


class Known:
    """Pictures that others must not resemble."""

    def __init__(self, hashes: Iterable[int] = ()) -> None:
        self.hashes = np.array(list(hashes), np.uint64)

    def add(self, hashes: Iterable[int]) -> None:
        """Further ones."""
        self.hashes = np.concatenate([self.hashes, np.array(list(hashes), np.uint64)])

    def has(self, image: Hash) -> bool:
        """Whether a picture or its mirror image differs from a known one in `NEAR` bits or less."""
        return any(
            bool((np.bitwise_count(self.hashes ^ np.uint64(one)) <= NEAR).any()) for one in image
        )


def hashes_of(folder: Path, only: Iterable[str] | None = None) -> Iterator[int]:
    """Hashes of the annotated pictures of a folder, or of those with the names ``only``."""
    store, names = Store(), None if only is None else set(only)
    for picture in read_pictures(folder):
        if names is None or picture.entry.name in names:
            yield hash_of(store.image(picture.entry))[0]
