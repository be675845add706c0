"""Showing detections on a picture, and hiding what they found."""

from __future__ import annotations

import colorsys
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vj import boxes
from vj.detections import Detections
from vj.errors import ParameterError
from vj.io.images import as_gray, as_pixels, as_rgb

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw as Pen
    from PIL.ImageFont import FreeTypeFont, ImageFont

Pixels = NDArray[np.uint8]
RGB = tuple[int, int, int]
Method = Literal["blur", "pixelate", "solid", "image"]

_GREEN = (64, 224, 110)
_SHADOW = (0, 0, 0, 130)


def draw(
    image: Any,
    detections: Detections,
    color: str | RGB | None = None,
    width: int | None = None,
    labels: bool = True,
) -> Pixels:
    """Copy of the image with a frame around every box.

    Parameters
    ----------
    image : array
        Gray or colour, as `vj.as_gray` takes it.
    detections : Detections
        Boxes that leave the image are cut at its border; empty ones are left out.
    color : str or (r, g, b), optional
        A name or "#rrggbb". By default green; where boxes are tracked, one colour a track.
    width : int, optional
        Thickness of the lines in pixels; by default it grows with the image.
    labels : bool
        Write the track and the confidence, or the score where there is none, above each box.

    Returns
    -------
    (H, W, 3) uint8
        RGB.

    Raises
    ------
    ImageError
        No image that `vj.as_gray` takes.
    ParameterError
        An unknown colour, a thickness below 1.
    """
    from PIL import Image, ImageDraw

    picture = Image.fromarray(as_rgb(image))
    if width is None:
        width = max(2, round(min(picture.size) / 240))
    elif width < 1:
        raise ParameterError(f"`width` must be at least 1 pixel, got {width}")
    pen = ImageDraw.Draw(picture, "RGBA")  # this mode blends what is half transparent
    fixed = None if color is None else _rgb(color)
    corners = boxes.clip(detections.xyxy, (picture.height, picture.width)).round().astype(int)
    for i in reversed(range(len(detections))):  # the best one last: on top
        x1, y1, x2, y2 = (int(v) for v in corners[i])
        if x1 >= x2 or y1 >= y2:
            continue
        tint = fixed or _tint(detections, i)
        line = max(1, min(width, (x2 - x1) // 10))
        _frame(pen, (x1, y1, x2, y2), tint, line)
        if detections.landmarks is not None:
            _dots(pen, detections.landmarks[i], tint, line)
        if labels:
            _label(pen, (x1, y1, x2, y2), _caption(detections, i), tint, line)
    return np.array(picture)


def redact(
    image: Any,
    detections: Detections | ArrayLike,
    method: Method = "blur",
    grow: float = 1.0,
    ellipse: bool = False,
    color: str | RGB = "black",
    picture: Any = None,
) -> Pixels:
    """Copy of the image with what lies in the boxes made unrecognisable.

    Blur and mosaic grow with the box, so that a face keeps about six shades a side at any
    resolution. That hides it from the eye, but it is not anonymity: software can match blurred
    faces. Only "solid" and "image" leave nothing to match.

    Parameters
    ----------
    image : array
        Gray or colour, as `vj.as_gray` takes it.
    detections : Detections or (n, 4) array
        Boxes ``x1, y1, x2, y2``; they may leave the image or be empty.
    method : {"blur", "pixelate", "solid", "image"}
        What happens to the pixels.
    grow : float
        Factor on the sides of each box. Detectors frame the face from brow to chin: 1.3 takes in
        hair and ears.
    ellipse : bool
        Redact the ellipse that the box encloses, not its corners.
    color : str or (r, g, b)
        Fill of "solid".
    picture : array, optional
        What "image" puts over each box, stretched to its size; as `vj.as_gray` takes it.

    Returns
    -------
    uint8 of the shape of ``image``
            (H, W, 1) becomes (H, W).

    Raises
    ------
    ImageError
        No image, or picture, that `vj.as_gray` takes.
    ParameterError
        An unknown method or colour, "image" without a picture, ``grow`` not positive, boxes of
        another shape.
    """
    if method not in get_args(Method):
        raise ParameterError(f"`method` must be one of {get_args(Method)}, got {method!r}")
    if not 0 < grow < np.inf:
        raise ParameterError(f"`grow` must be a positive number, got {grow}")
    if (method == "image") != (picture is not None):
        raise ParameterError('`picture` and the method "image" go together')
    out: Pixels = as_pixels(image).copy()
    xyxy = boxes.as_boxes(
        detections.xyxy if isinstance(detections, Detections) else detections, "detections"
    )
    xyxy = xyxy[(xyxy[:, :2] < xyxy[:, 2:]).all(axis=1)]
    fill = _fill(_rgb(color), out.shape)
    for box in boxes.grow(xyxy.clip(-1e9, 1e9), grow):
        x1, y1, x2, y2 = boxes.clip(np.r_[np.floor(box[:2]), np.ceil(box[2:])], out.shape)
        patch = out[int(y1) : int(y2), int(x1) : int(x2)]
        if patch.size == 0:
            continue
        if method == "image":
            hidden = _stuck_on(picture, box, patch.shape, y1, x1)
        elif method == "solid":
            hidden = fill
        else:
            hidden = _smear(patch, method, float(np.ptp(box[::2])))
        inside = _ellipse(box, patch.shape, y1, x1) if ellipse else True
        np.copyto(patch, hidden, where=inside)
    return out


# --------------------------------------------------------------------------- frames and labels


def _frame(pen: Pen, box: tuple[int, int, int, int], tint: RGB, line: int) -> None:
    # Half of the line lies outside the box, and a shadow around it: legible on any ground.
    x1, y1, x2, y2 = box
    for out, colour, width in ((line // 2 + 1, _SHADOW, line + 2), (line // 2, tint, line)):
        edges = (x1 - out, y1 - out, x2 - 1 + out, y2 - 1 + out)
        pen.rounded_rectangle(edges, radius=2 * line, outline=colour, width=width)


def _dots(pen: Pen, points: NDArray[np.float32], tint: RGB, line: int) -> None:
    for x, y in points[np.isfinite(points).all(axis=1)].clip(-1e6, 1e6).tolist():
        pen.circle((x, y), line + 1, fill=_SHADOW)
        pen.circle((x, y), line, fill=tint)


def _label(pen: Pen, box: tuple[int, int, int, int], text: str, tint: RGB, line: int) -> None:
    x1, y1, x2, _ = box
    columns, rows = pen.im.size
    short = min(columns, rows)
    font = _font(int(np.clip((x2 - x1) / 6, max(11, short / 80), max(11, short / 24))))
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    pad = max(2, round((bottom - top) / 4))
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    x = max(0, min(x1 - line // 2, columns - width))
    y = y1 - line - height
    if y < 0:  # no room above: inside the frame
        y = y1 + line
    pen.rounded_rectangle((x, y, x + width - 1, y + height - 1), radius=pad, fill=tint)
    dark = np.dot(tint, (0.299, 0.587, 0.114)) > 120
    ink = (0, 0, 0) if dark else (255, 255, 255)
    pen.text((x + pad - left, y + pad - top), text, fill=ink, font=font)


def _caption(detections: Detections, i: int) -> str:
    track = "" if detections.track_id is None else f"#{detections.track_id[i]}  "
    if detections.confidence is not None:
        return f"{track}{detections.confidence[i]:.0%}"
    return f"{track}{detections.score[i]:.1f}"


def _tint(detections: Detections, i: int) -> RGB:
    if detections.track_id is None:
        return _GREEN
    hue = int(detections.track_id[i]) * 0.618034 % 1  # the golden ratio keeps neighbours apart
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.7, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def _rgb(color: str | RGB) -> RGB:
    from PIL import ImageColor

    try:
        red, green, blue = ImageColor.getrgb(color)[:3] if isinstance(color, str) else color
        if all(0 <= v <= 255 for v in (red, green, blue)):
            return int(red), int(green), int(blue)
    except (TypeError, ValueError):
        pass
    raise ParameterError(
        f'`color` must be a name, "#rrggbb" or three numbers 0..255, got {color!r}'
    )


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont | FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)


# --------------------------------------------------------------------------- hiding


def _smear(patch: Pixels, method: Method, side: float) -> Pixels:
    """The patch with nothing left that is finer than a sixth of ``side``."""
    from PIL import Image, ImageFilter

    picture = Image.fromarray(patch)
    side = min(side, 6.0 * max(patch.shape[:2]))
    if method == "blur":
        return np.asarray(picture.filter(ImageFilter.GaussianBlur(max(2.0, side / 6))))
    block = max(4, int(np.ceil(side / 6)))
    small = picture.reduce(block)
    mosaic = small.resize((small.width * block, small.height * block), Image.Resampling.NEAREST)
    return np.asarray(mosaic)[: patch.shape[0], : patch.shape[1]]


def _stuck_on(
    picture: Any, box: NDArray[np.float32], shape: tuple[int, ...], top: float, left: float
) -> Pixels:
    """What is seen of a picture, stretched over the box, in a patch at (top, left)."""
    from PIL import Image

    pixels = as_gray(picture) if len(shape) == 2 else as_rgb(picture)
    rows, cols = pixels.shape[:2]
    x1, y1, x2, y2 = box.astype(float)
    across, down = cols / (x2 - x1), rows / (y2 - y1)
    # The patch reaches up to a pixel over the box: there the border of the picture goes on.
    seen = np.array([[left - x1, top - y1], [left + shape[1] - x1, top + shape[0] - y1]])
    near, far = np.clip(seen * [across, down], 0.0, [cols, rows])
    near = np.maximum(np.minimum(near, far - 0.01), 0.0)
    far = np.maximum(far, near + 0.01)
    size = (shape[1], shape[0])
    scaled = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR, (*near, *far))
    if len(shape) == 3 and shape[2] == 4:
        scaled = scaled.convert("RGBA")
    return np.asarray(scaled)


def _ellipse(
    box: NDArray[np.float32], shape: tuple[int, ...], top: float, left: float
) -> NDArray[np.bool_]:
    """Which pixels of a patch at (top, left) lie in the ellipse inscribed in the box."""
    x1, y1, x2, y2 = box
    y = (np.arange(shape[0])[:, None] + top + 0.5 - (y1 + y2) / 2) / ((y2 - y1) / 2)
    x = (np.arange(shape[1])[None, :] + left + 0.5 - (x1 + x2) / 2) / ((x2 - x1) / 2)
    inside: NDArray[np.bool_] = x * x + y * y <= 1
    return inside if len(shape) == 2 else inside[:, :, None]


def _fill(color: RGB, shape: tuple[int, ...]) -> Pixels:
    if len(shape) == 2:
        return as_gray(np.array([[color]], np.uint8))
    return np.array([*color, 255][: shape[2]], np.uint8)
