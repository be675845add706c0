"""Images in archives: which part of the data they belong to, and reading them."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vj.errors import SourceError

HELD_OUT = 0.08  # share of the groups that are never trained on


@dataclass(frozen=True, slots=True)
class Entry:
    """An image in an archive; ``group`` is shared by images of one person or one event."""

    archive: Path
    name: str
    source: str
    group: str

    @property
    def held_out(self) -> bool:
        """Whether it belongs to the validation part: decided by a hash of the group alone."""
        digest = hashlib.sha256(f"{self.source}/{self.group}".encode()).digest()
        return int.from_bytes(digest[:4], "big") < HELD_OUT * 2**32


class Store:
    """Decoded images; the first ones that fit into ``memory`` bytes are kept.

    May be used by several threads; a copy that went to another process opens its own files.
    """

    def __init__(self, memory: int = 0) -> None:
        self.memory = memory
        self._reset()

    def _reset(self) -> None:
        self._room, self._lock = self.memory, threading.Lock()
        self._archives: dict[Path, zipfile.ZipFile] = {}
        self._kept: dict[tuple[Path, str], NDArray[np.uint8]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"memory": self.memory}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.memory = state["memory"]
        self._reset()

    def pixels(self, entry: Entry) -> NDArray[np.uint8]:
        """The image as (H, W, 4) uint8 with 255 in the last channel; not to be written to.

        Raises
        ------
        SourceError
            The archive has no such file, or the file is no image.
        """
        key = entry.archive, entry.name
        if key in self._kept:
            return self._kept[key]
        try:
            with self._lock:
                if entry.archive not in self._archives:
                    self._archives[entry.archive] = zipfile.ZipFile(entry.archive)
                content = self._archives[entry.archive].read(entry.name)
            pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB").convert("RGBA"))
        except (OSError, KeyError, zipfile.BadZipFile) as exc:
            raise SourceError(f"{entry.archive}: {entry.name} cannot be read: {exc}") from exc
        with self._lock:
            if pixels.nbytes <= self._room and key not in self._kept:
                self._room -= pixels.nbytes
                self._kept[key] = pixels
        return pixels

    def image(self, entry: Entry) -> Image.Image:
        """The same as an RGB image."""
        return as_image(self.pixels(entry)).convert("RGB")


def as_image(pixels: NDArray[np.uint8]) -> Image.Image:
    """Pixels of four bytes as an image over the same memory."""
    rows, cols, _ = pixels.shape
    return Image.frombuffer("RGBX", (cols, rows), pixels, "raw", "RGBX", 0, 1)
