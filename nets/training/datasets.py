"""Training datasets: indexed samples, each a tuple of arrays, the input first."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vj.errors import ImageError, SourceError, TrainingError
from vj.io.images import Pixels, as_gray, as_rgb, image_format, read_image

Sample = tuple[NDArray[Any], ...]
Crop = tuple[int, int, int, int]


class Dataset:
    """Indexed samples. A subclass defines ``__len__`` and either ``__getitem__`` or `batch`."""

    classes: Sequence[str] | None = None

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, index: int) -> Sample:
        raise NotImplementedError

    def batch(self, indices: Sequence[int] | NDArray[np.intp]) -> Sample:
        """Return several samples, each part stacked along a new first axis."""
        parts = list(zip(*(self[int(index)] for index in indices), strict=True))
        for part in parts:
            shapes = {np.shape(array) for array in part}
            if len(shapes) > 1:
                raise TrainingError(
                    f"samples of several shapes {sorted(shapes)[:3]} cannot form a batch: scale "
                    "the images with `size`"
                )
        return tuple(np.stack(part) for part in parts)

    def load(self) -> Arrays:
        """Return the dataset in memory, decoded once."""
        return Arrays(*self.batch(range(len(self))))

    def describe(self) -> dict[str, Any]:
        """Return the description stored in weight cards and compared on resume."""
        return {"samples": len(self)}


class Arrays(Dataset):
    """Samples in memory.

    Parameters
    ----------
    *parts : array_like
        Inputs, then targets (labels, masks), all of equal length. Images are uint8 (N, H, W) or
        (N, H, W, C); inputs of any other dtype are passed to the network unchanged.
    classes : int, optional
        Number of classes; if given, the last part must hold labels 0 to ``classes - 1``.

    Raises
    ------
    TrainingError
        There are no samples, lengths differ, or a label is out of range.
    """

    def __init__(self, *parts: ArrayLike, classes: int | None = None) -> None:
        self.parts = tuple(np.asarray(part) for part in parts)
        lengths = [len(part) for part in self.parts]
        if len(set(lengths)) > 1:
            raise TrainingError(f"the parts of a dataset must have equal lengths, got {lengths}")
        if not lengths or not lengths[0]:
            raise TrainingError("the dataset is empty: training needs at least one sample")
        if classes is not None:
            check_labels(self.parts[-1], classes)

    def __len__(self) -> int:
        return len(self.parts[0])

    def __getitem__(self, index: int) -> Sample:
        return tuple(part[index] for part in self.parts)

    def batch(self, indices: Sequence[int] | NDArray[np.intp]) -> Sample:
        """Return several samples at once."""
        chosen = np.asarray(indices, np.intp)
        return tuple(part[chosen] for part in self.parts)

    def describe(self) -> dict[str, Any]:
        """Return sample count, shape and dtype of each part, and a checksum of some samples."""
        shapes = [f"{part.dtype} {part.shape[1:]}" for part in self.parts]
        some = np.linspace(0, len(self) - 1, 100).astype(int)
        check = zlib.crc32(b"".join(part[some].tobytes() for part in self.parts))
        return {"samples": len(self), "parts": shapes, "checksum": check}


class Pictures(Dataset):
    """Images decoded on demand.

    Parameters
    ----------
    names : sequence of str
    labels : sequence of int, optional
        One per image; without them a sample is the image alone.
    read : callable
        Returns the path, or the bytes of the file, of a name.
    size : (rows, cols), optional
        Images are scaled to this size; without it all must have the same size.
    gray : bool
        One channel, (H, W); else RGB, (H, W, 3).
    crop : (x0, y0, x1, y1), optional
        Region of each image to use.
    classes : sequence of str, optional
        Class names.

    Raises
    ------
    TrainingError
        There are no images, or a label is out of range.
    """

    def __init__(
        self,
        names: Sequence[str],
        labels: Sequence[int] | None = None,
        *,
        read: Callable[[str], Path | bytes] = Path,
        size: tuple[int, int] | None = None,
        gray: bool = False,
        crop: Crop | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        if not names:
            raise TrainingError("the dataset is empty: no images were found")
        self.names, self.classes = list(names), classes
        self.labels = None if labels is None else np.asarray(labels, np.int64)
        if self.labels is not None:
            if len(self.labels) != len(self.names):
                raise TrainingError(f"{len(names)} images have {len(self.labels)} labels")
            check_labels(self.labels, len(classes) if classes else int(self.labels.max()) + 1)
        self._read, self.size, self.gray, self.crop = read, size, gray, crop

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        pixels = self.picture(self.names[index])
        return (pixels,) if self.labels is None else (pixels, self.labels[index])

    def picture(self, name: str) -> Pixels:
        """Return one image, cropped and scaled.

        Raises
        ------
        ImageError
            The image cannot be decoded; the message names it.
        """
        from PIL import Image

        try:
            pixels = (as_gray if self.gray else as_rgb)(read_image(self._read(name)))
        except ImageError as exc:
            raise ImageError(f"{name}: {str(exc).partition(': ')[2] or exc}") from exc
        x0, y0, x1, y1 = self.crop or (0, 0, pixels.shape[1], pixels.shape[0])
        if self.size is None or (y1 - y0, x1 - x0) == self.size:
            return pixels[y0:y1, x0:x1]
        scaled = Image.fromarray(pixels[y0:y1, x0:x1]).resize(
            self.size[::-1], Image.Resampling.BILINEAR
        )
        return np.asarray(scaled)

    def describe(self) -> dict[str, Any]:
        """Return sample count, classes, size, and a checksum of the names."""
        check = zlib.crc32("\n".join(self.names).encode())
        return {
            "samples": len(self),
            "classes": self.classes,
            "size": self.size,
            "checksum": check,
        }


def from_folder(root: str | os.PathLike[str], **options: Any) -> Pictures:
    """Load images from a folder; the sorted names of its sub-folders are the classes.

    If no sub-folder has images, those in ``root`` itself are used, without labels. ``options`` are
    those of `Pictures`.

    Raises
    ------
    SourceError
        There is no such folder.
    TrainingError
        It holds no images.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise SourceError(f"{root}: no such folder")
    found = sorted(p for p in folder.rglob("*") if p.is_file() and image_format(p))
    if not found:
        raise TrainingError(f"{root}: the dataset is empty: no images in this folder")
    return _classified(
        [str(path) for path in found], [str(p.relative_to(folder)) for p in found], Path, options
    )


def from_zip(
    path: str | os.PathLike[str], labels: Mapping[str, int] | None = None, **options: Any
) -> Pictures:
    """Load images from a zip archive, without unpacking it.

    Parameters
    ----------
    path : path
    labels : mapping from a name in the archive to an int, optional
        Use only the images named here. By default all are used, with the names of the top folders
        as classes, as in `from_folder`.
    **options
        Of `Pictures`.

    Raises
    ------
    SourceError
        The file does not exist or is not an archive.
    TrainingError
        It holds no images, or lacks one that ``labels`` names.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as exc:
        raise SourceError(f"{path}: cannot read as a zip archive: {exc}") from exc
    inside = sorted(name for name in archive.namelist() if image_format(name))
    if labels is None:
        if not inside:
            raise TrainingError(f"{path}: the dataset is empty: no images in this archive")
        return _classified(inside, inside, archive.read, options)
    missing = sorted(set(labels) - set(inside))
    if missing:
        raise TrainingError(f"{path}: has no image {missing[0]!r} ({len(missing)} are missing)")
    return Pictures(list(labels), list(labels.values()), read=archive.read, **options)


def check_labels(labels: NDArray[Any], classes: int) -> None:
    """Raise unless all labels are integers from 0 to ``classes - 1``.

    Raises
    ------
    TrainingError
        The message names the first one.
    """
    if labels.dtype.kind not in "iu":
        raise TrainingError(f"labels must be integers, got {labels.dtype}")
    bad = np.argwhere((labels < 0) | (labels >= classes))
    if len(bad):
        first = tuple(bad[0].tolist())
        raise TrainingError(
            f"labels must be 0 to {classes - 1}, got {labels[first]} at sample {first[0]} "
            f"({len(bad)} are out of range)"
        )


def _classified(
    names: list[str], places: list[str], read: Callable[[str], Any], options: dict[str, Any]
) -> Pictures:
    """Return images whose path (a/b.jpg) starts with their class; others are ignored."""
    tops = [Path(place).parts[0] if len(Path(place).parts) > 1 else None for place in places]
    classes = sorted({top for top in tops if top is not None})
    if not classes:
        return Pictures(names, read=read, **options)
    chosen = [(name, classes.index(top)) for name, top in zip(names, tops, strict=True) if top]
    return Pictures(
        [name for name, _ in chosen],
        [label for _, label in chosen],
        read=read,
        classes=classes,
        **options,
    )
