"""One self-contained HTML page: headings, tables, charts as inline SVG, pictures as data."""

from __future__ import annotations

import base64
import html
import io
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from vj.io.images import Pixels

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:68rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0;font-variant-numeric:tabular-nums}
td,th{padding:.2rem .7rem;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}
figure{display:inline-block;margin:.5rem 1rem .5rem 0;vertical-align:top}
figcaption{font-size:13px;color:#555}
img{image-rendering:pixelated;max-width:100%}
text{font:11px system-ui,sans-serif;fill:#444}
"""
_COLOURS = ("#1b6ca8", "#d1495b", "#2e8b57", "#e08e1b", "#7a4fa3", "#555555", "#00a0a0", "#a0522d")
_WIDTH, _HEIGHT, _LEFT, _TOP = 430, 300, 52, 14
_INNER_W, _INNER_H = _WIDTH - _LEFT - 10, _HEIGHT - _TOP - 42  # within the axes
Points = Sequence[tuple[float, float]]


def page(title: str, *parts: str) -> bytes:
    """A whole document."""
    body, name = "\n".join(parts), html.escape(title)
    head = f'<meta charset="utf-8"><title>{name}</title><style>{_STYLE}</style>'
    text = f'<!doctype html>\n<html lang="en">{head}\n<h1>{name}</h1>\n{body}\n</html>\n'
    return text.encode()


def heading(text: str) -> str:
    """A second-level heading."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{html.escape(text)}</p>"


def bullets(texts: Sequence[str]) -> str:
    """A list of plain texts."""
    return f"<ul>{''.join(f'<li>{html.escape(text)}</li>' for text in texts)}</ul>"


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table; numbers by four significant digits."""
    top = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    lines = "".join(
        "<tr>" + "".join(f"<td>{html.escape(number(v))}</td>" for v in row) + "</tr>\n"
        for row in rows
    )
    return f"<table><tr>{top}</tr>\n{lines}</table>"


def number(value: Any) -> str:
    """A number as a person would write it; other things as they are."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def picture(image: Pixels, caption: str = "", zoom: int = 1) -> str:
    """An image, enlarged ``zoom`` times."""
    from PIL import Image

    buffer = io.BytesIO()
    photo = image.size > 40_000
    Image.fromarray(image).save(buffer, "JPEG" if photo else "PNG", quality=85)
    data = base64.b64encode(buffer.getvalue()).decode()
    kind = "jpeg" if photo else "png"
    width = image.shape[1] * zoom
    note = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    source = f'<img width="{width}" src="data:image/{kind};base64,{data}" alt="">'
    return f"<figure>{source}{note}</figure>"


def chart(
    title: str,
    lines: Mapping[str, Points],
    x_label: str,
    y_label: str,
    *,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] = (0, 1),
    log_x: bool = False,
    marks: Mapping[str, tuple[float, float]] | None = None,
) -> str:
    """Lines through points, as SVG, with a legend below.

    What leaves the ranges is cut off at the axes; ``log_x`` leaves out points at or below 0.
    ``marks`` are single points, drawn as circles in the colour of the line of that name.
    """
    shown = {
        name: [(x, y) for x, y in points if not log_x or x > 0] for name, points in lines.items()
    }
    xs = [x for points in shown.values() for x, _ in points]
    low, high = x_range or (min(xs, default=0.1), max(xs, default=1))
    if log_x:
        low, high = math.log10(max(low, 1e-12)), math.log10(max(high, 1e-12))
    high = high if high > low else low + 1
    frame = _Frame(low, high, *y_range, log_x)
    many = [f"hsl({360 * k // len(shown)} 65% 42%)" for k in range(len(shown))]
    colour = dict(zip(shown, many if len(shown) > len(_COLOURS) else _COLOURS, strict=False))
    legend, height = _legend(colour)
    middle, centre = _LEFT + _INNER_W / 2, _TOP + _INNER_H / 2
    turned = f'transform="rotate(-90 12 {centre})"'
    axes = f"axes{zlib.crc32(title.encode())}"  # unique on a page
    out = [
        f'<svg width="{_WIDTH}" height="{_HEIGHT + height}" role="img">',
        *frame.grid(),
        f'<clipPath id="{axes}"><rect x="{_LEFT}" y="{_TOP}" width="{_INNER_W}" '
        f'height="{_INNER_H}"/></clipPath><g clip-path="url(#{axes})">',
        *(frame.line(points, colour[name], name) for name, points in shown.items()),
        "</g>",
        *(frame.mark(point, colour[name], name) for name, point in (marks or {}).items()),
        f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">{html.escape(x_label)}</text>',
        f'<text x="12" y="{centre}" text-anchor="middle" {turned}>{html.escape(y_label)}</text>',
        *legend,
        "</svg>",
    ]
    return f"<figure><figcaption>{html.escape(title)}</figcaption>{''.join(out)}</figure>"


class _Frame(NamedTuple):
    """The axes of a chart; ``low`` and ``high`` are logarithms where ``log_x``."""

    low: float
    high: float
    bottom: float
    top: float
    log_x: bool

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of the drawing."""
        u = ((math.log10(x) if self.log_x else x) - self.low) / (self.high - self.low)
        v = (self.top - y) / (self.top - self.bottom)
        return _LEFT + _INNER_W * u, _TOP + _INNER_H * v

    def grid(self) -> Iterator[str]:
        """Lines and numbers of both axes."""
        right, foot = _LEFT + _INNER_W, _TOP + _INNER_H
        for y in _ticks(self.bottom, self.top, log=False):
            at = _TOP + _INNER_H * (self.top - y) / (self.top - self.bottom)
            yield f'<path d="M{_LEFT} {at:.1f}H{right}" stroke="#e5e5e5"/>'
            yield f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{y:.3g}</text>'
        for tick in _ticks(self.low, self.high, self.log_x):
            at = _LEFT + _INNER_W * (tick - self.low) / (self.high - self.low)
            label = f"{10**tick:g}" if self.log_x else f"{tick:.3g}"
            yield f'<path d="M{at:.1f} {_TOP}V{foot}" stroke="#f0f0f0"/>'
            yield f'<text x="{at:.1f}" y="{foot + 15}" text-anchor="middle">{label}</text>'

    def line(self, points: Points, colour: str, name: str) -> str:
        """The path through points."""
        path = " ".join(
            f"{'L' if k else 'M'}{x:.1f} {y:.1f}"
            for k, (x, y) in enumerate(self.place(*point) for point in points)
        )
        return (
            f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.8">'
            f"<title>{html.escape(name)}</title></path>"
        )

    def mark(self, point: tuple[float, float], colour: str, name: str) -> str:
        """A circle about a point; nothing if it lies off the axes."""
        if self.log_x and point[0] <= 0:
            return ""
        x, y = self.place(*point)
        if not (_LEFT <= x <= _LEFT + _INNER_W and _TOP <= y <= _TOP + _INNER_H):
            return ""
        return (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="white" '
            f'stroke="{colour}" stroke-width="2"><title>{html.escape(name)}: '
            f"{number(float(point[0]))}, {number(float(point[1]))}</title></circle>"
        )


def _legend(colours: Mapping[str, str]) -> tuple[list[str], int]:
    """Names beside their colours, in columns, and the height that this takes."""
    width = 34 + 6 * max(map(len, colours), default=0)
    columns = max((_WIDTH - 10) // width, 1)
    out = []
    for k, (name, colour) in enumerate(colours.items()):
        x, y = 10 + k % columns * width, _HEIGHT + 10 + 16 * (k // columns)
        out.append(f'<rect x="{x}" y="{y - 6}" width="18" height="3" fill="{colour}"/>')
        out.append(f'<text x="{x + 24}" y="{y}">{html.escape(name)}</text>')
    return out, 16 * -(-len(colours) // columns) + 4


def _ticks(low: float, high: float, log: bool) -> list[float]:
    """Powers of ten, or multiples of 1, 2 or 5 times one, four to nine of them."""
    step = 1.0
    if not log:
        decade = 10.0 ** math.floor(math.log10((high - low) / 4))
        step = next(decade * k for k in (5, 2, 1) if decade * k <= (high - low) / 4)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]
