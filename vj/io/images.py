"""Images in and out: checked arrays, and files with their orientation applied."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from vj.errors import ImageError, ParameterError, SinkError, SourceError, VJError
from vj.io.files import replacing
from vj.io.memory import BYTES_PER_PIXEL, pixels_that_fit

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = NDArray[np.uint8]

# OpenCV's weights of red, green and blue, over 2**15.
_RED, _GREEN, _BLUE = 9798, 19235, 3735
_BOMB = (
    "too many pixels, which is how a decompression bomb looks: if you trust it, raise "
    "PIL.Image.MAX_IMAGE_PIXELS (--max-pixels of the command)"
)


def as_gray(image: Any, name: str = "image", *, order: str = "RGB") -> Pixels:
    """A gray image of the given one, copied only where it has to be.

    Parameters
    ----------
    image : array or PIL.Image.Image
        uint8 of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), with any strides, read-only or
        not. A fourth channel is ignored. A PIL image is taken as it is, its EXIF tag ignored.
    name : str
        What error messages call the image.
    order : {"RGB", "BGR"}
        Meaning of the first three channels.

    Returns
    -------
    (H, W) uint8, C-contiguous
        Bit-equal to ``cv2.cvtColor``.

    Raises
    ------
    ImageError
        The dtype is not uint8, the shape is another, or there are no pixels.
    """
    array = as_pixels(image, name)
    if array.ndim == 2:
        return np.ascontiguousarray(array)
    from vj.kernels.color import weigh_channels

    first, third = (_RED, _BLUE) if order == "RGB" else (_BLUE, _RED)
    out = np.empty(array.shape[:2], np.uint8)
    weigh_channels(np.ascontiguousarray(array), first, _GREEN, third, out)
    return out


def as_rgb(image: Any, name: str = "image") -> Pixels:
    """The image as C-contiguous (H, W, 3) uint8; takes what `as_gray` takes.

    Gray is repeated three times; contiguous RGB is not copied.
    """
    array = as_pixels(image, name)
    if array.ndim == 2:
        return np.repeat(array[:, :, None], 3, axis=2)
    return np.ascontiguousarray(array[:, :, :3])


def as_pixels(image: Any, name: str = "image") -> Pixels:
    """The image as it is, (H, W), (H, W, 3) or (H, W, 4); takes what `as_gray` takes."""
    if image is None:
        raise ImageError(f"`{name}` is None: the file was not read (cv2.imread returns None then)")
    # Only a program that has imported Pillow can pass its images; a thread may be importing it now.
    pil = getattr(sys.modules.get("PIL.Image"), "Image", None)
    if pil is not None and isinstance(image, pil):
        image = _pixels_of(image, name)
    array = np.asarray(image)
    if array.dtype != np.uint8:
        remedy = {
            "b": "multiply it by np.uint8(255)",
            "u": "scale it to 0..255 and convert it with .astype(np.uint8)",
            "i": "scale it to 0..255 and convert it with .astype(np.uint8)",
            "f": "scale it to 0..255 and convert it with .astype(np.uint8)",
            "U": "open a path with vj.read_image",
        }.get(array.dtype.kind, "an image holds numbers 0..255")
        raise ImageError(f"`{name}` must be uint8, got {array.dtype}: {remedy}")
    if array.ndim not in (2, 3):
        raise ImageError(
            f"`{name}` must have shape (H, W), (H, W, 3) or (H, W, 4), got {array.shape}"
        )
    if array.size == 0:
        raise ImageError(f"`{name}` has no pixels: its shape is {array.shape}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim == 3 and array.shape[2] not in (3, 4):
        first = array.shape[0] in (1, 3, 4)
        hint = ": move the channels last with .transpose(1, 2, 0)" if first else ""
        raise ImageError(
            f"`{name}` must have 1, 3 or 4 channels in its last axis, got {array.shape[2]} "
            f"(shape {array.shape}){hint}"
        )
    return array


def read_image(source: str | os.PathLike[str] | bytes | BinaryIO) -> Pixels:
    """Decode the first picture of a file, turned as its EXIF orientation says.

    Parameters
    ----------
    source : path, bytes, file object or "-"
        Any format that Pillow reads; bytes are the content of a file; "-" is standard input.

    Returns
    -------
    (H, W) or (H, W, 3) uint8
        Gray or RGB. Palettes are looked up, CMYK is converted, transparent pixels lie on white,
        of 16-bit pixels the high byte is kept.

    Raises
    ------
    SourceError
        The file is missing, is a folder or cannot be read.
    ImageError
        It does not decode, is truncated, or is larger than ``PIL.Image.MAX_IMAGE_PIXELS`` (89
        million pixels, the sign of a decompression bomb); raise that number for larger pictures.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    with _opened(source) as (file, name):
        try:
            with Image.open(file) as picture:
                if picture.format == "EPS":  # Pillow would run Ghostscript, a whole interpreter
                    raise ImageError(f"{name}: an EPS file is a program: convert it to PNG first")
                pixels = picture.width * picture.height
                if pixels > (Image.MAX_IMAGE_PIXELS or np.inf):  # Pillow itself only warns
                    gigabytes = pixels * BYTES_PER_PIXEL / 1e9
                    raise ImageError(
                        f"{name}: {_BOMB} to {pixels}; it takes about {gigabytes:.1f} GB of memory"
                    )
                picture.load()
                with suppress(Exception):  # a malformed EXIF block costs the orientation only
                    ImageOps.exif_transpose(picture, in_place=True)
                return _pixels_of(picture, name)
        except VJError:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
            raise ImageError(f"{name}: {_BOMB}") from exc
        except UnidentifiedImageError as exc:
            raise ImageError(f"{name}: not a picture in a format that Pillow reads") from exc
        except Exception as exc:  # Pillow's parsers raise whatever a broken file makes them meet
            reason = " ".join(str(exc).split()) or type(exc).__name__
            raise ImageError(f"{name}: broken picture: {reason}") from exc


def write_image(path: str | os.PathLike[str], image: Any, *, quality: int = 95) -> None:
    """Write an image in the format that the suffix of ``path`` names.

    It is encoded in memory, written under a temporary name and renamed, so that the file is whole
    or not there.

    Parameters
    ----------
    path : path
        ``.jpg``, ``.png``, ``.webp``, ``.tiff``, ``.bmp`` or another suffix that Pillow writes.
    image : array
        As `as_gray` takes it.
    quality : int
        1 to 100, for the formats that lose something.

    Raises
    ------
    SinkError
        Unknown suffix, unwritable folder, full disk.
    """
    from PIL import Image

    format_ = image_format(path)
    if format_ is None:
        suffix = Path(path).suffix
        raise SinkError(f"{path}: no picture format has the suffix {suffix!r}: use .jpg or .png")
    if not 1 <= quality <= 100:
        raise ParameterError(f"`quality` must be 1 to 100, got {quality}")
    picture = Image.fromarray(as_pixels(image))
    if format_ == "JPEG" and picture.mode == "RGBA":
        picture = picture.convert("RGB")
    # In memory, because some encoders write to a file by themselves, and take no notice of a full
    # disk (JPEG loses its end) or try for ever (JPEG 2000).
    encoded = io.BytesIO()
    try:
        picture.save(encoded, format_, quality=quality)
    except MemoryError:
        raise
    except Exception as exc:  # Pillow's encoders raise whatever a picture makes them meet
        reason = " ".join(str(exc).split()) or type(exc).__name__
        raise SinkError(f"{path}: not written as {format_}: {reason}") from exc
    with replacing(path) as file:
        file.write(encoded.getbuffer())


@contextmanager
def pixel_limit(most: int | None) -> Iterator[None]:
    """Read pictures of up to so many pixels; by default, as many as there is memory for."""
    from PIL import Image

    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = most or pixels_that_fit() or before
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def image_format(path: str | os.PathLike[str]) -> str | None:
    """Name of the format in which Pillow writes files with this suffix, or None."""
    from PIL import Image

    suffix = Path(path).suffix.lower()
    Image.preinit()
    if suffix not in Image.EXTENSION:
        Image.init()
    found = Image.EXTENSION.get(suffix)
    return found if found in Image.SAVE else None


def sample(name: str = "astronaut") -> Pixels:
    """A picture that comes with scikit-image: "astronaut" (a face), "camera", "coffee" and more.

    Raises
    ------
    SourceError
        scikit-image carries no such picture.
    """
    return read_image(sample_path(name))


def sample_path(name: str = "astronaut") -> Path:
    """The file of a `sample`."""
    # Found without importing scikit-image, which takes longer than reading a picture.
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise SourceError("samples come with scikit-image: pip install scikit-image")
    folder = Path(spec.origin).parent / "data"
    found = {path.stem: path for path in folder.iterdir() if path.suffix in (".png", ".jpg")}
    if name not in found:
        raise SourceError(f"no sample named {name!r}: there are {', '.join(sorted(found))}")
    return found[name]


@contextmanager
def _opened(source: str | os.PathLike[str] | bytes | BinaryIO) -> Iterator[tuple[BinaryIO, str]]:
    """The source as a binary file and its name for messages; closed if it was opened here."""
    if isinstance(source, bytes | bytearray | memoryview):
        yield io.BytesIO(source), "image bytes"
    elif source == "-":
        yield io.BytesIO(sys.stdin.buffer.read()), "standard input"
    elif not isinstance(source, str | os.PathLike):
        if not hasattr(source, "read"):
            raise SourceError(f"no path, bytes or file object: {type(source).__name__}")
        yield source, str(getattr(source, "name", "image file"))
    else:
        try:
            path = Path(source)
            if path.is_dir():
                raise SourceError(f"{path}: is a folder: name a picture in it")
            file = path.open("rb")
        except (OSError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or exc
            raise SourceError(f"{source!s}: cannot read: {reason}") from exc
        with file:
            yield file, str(path)


def _pixels_of(picture: Image, name: str) -> Pixels:
    """Gray or RGB pixels of a PIL image of any mode."""
    from PIL import Image

    mode = picture.mode
    if mode.startswith("I"):  # 16-bit gray; Pillow opens some of it as 32-bit
        wide = np.asarray(picture)
        if wide.size and (wide.min() < 0 or wide.max() > 0xFFFF):
            raise ImageError(f"{name}: holds 32-bit pixels: convert it to 8 or 16 bit")
        return (wide >> 8).astype(np.uint8)
    if mode == "F":
        raise ImageError(f"{name}: holds float pixels: scale it to 0..255 and convert it to 8 bit")
    if mode in ("LA", "La", "PA", "RGBa") or (mode == "P" and "transparency" in picture.info):
        picture = picture.convert("RGBA")
    if picture.mode == "RGBA":
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    if mode not in ("L", "RGB"):
        picture = picture.convert("L" if mode == "1" else "RGB")
    return np.array(picture)
