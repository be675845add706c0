"""One self-contained HTML page: headings, tables, charts as inline SVG, pictures as data."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

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
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 430, 300, 52, 42, 14
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
) -> str:
    """Lines through points, as SVG; ``log_x`` leaves out points at or below 0."""
    shown = {
        name: [(x, y) for x, y in points if not log_x or x > 0] for name, points in lines.items()
    }
    xs = [x for points in shown.values() for x, _ in points]
    low, high = x_range or (min(xs, default=0.1), max(xs, default=1))
    if log_x:
        low, high = math.log10(max(low, 1e-12)), math.log10(max(high, 1e-12))
    high = high if high > low else low + 1
    inner_w, inner_h = _WIDTH - _LEFT - 10, _HEIGHT - _BOTTOM - _TOP

    def place(x: float, y: float) -> tuple[float, float]:
        u = (math.log10(x) if log_x else x) - low
        v = (y - y_range[0]) / (y_range[1] - y_range[0])
        return _LEFT + inner_w * u / (high - low), _TOP + inner_h * (1 - v)

    out = [f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img">']
    for k in range(6):
        y = y_range[0] + (y_range[1] - y_range[0]) * k / 5
        at = _TOP + inner_h * (1 - k / 5)
        out.append(f'<path d="M{_LEFT} {at:.1f}H{_WIDTH - 10}" stroke="#e5e5e5"/>')
        out.append(f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{y:.3g}</text>')
    for tick in _ticks(low, high, log_x):
        at = _LEFT + inner_w * (tick - low) / (high - low)
        label = f"{10**tick:g}" if log_x else f"{tick:.3g}"
        out.append(f'<path d="M{at:.1f} {_TOP}V{_TOP + inner_h}" stroke="#f0f0f0"/>')
        out.append(
            f'<text x="{at:.1f}" y="{_TOP + inner_h + 15}" text-anchor="middle">{label}</text>'
        )
    for k, (name, points) in enumerate(shown.items()):
        colour = _COLOURS[k % len(_COLOURS)]
        path = " ".join(
            f"{'M' if j == 0 else 'L'}{x:.1f} {y:.1f}"
            for j, (x, y) in enumerate(place(*point) for point in points)
        )
        out.append(
            f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.8">'
            f"<title>{html.escape(name)}</title></path>"
        )
        if len(shown) <= len(_COLOURS):
            row = _TOP + inner_h - 12 * (len(shown) - k)
            out.append(
                f'<text x="{_WIDTH - 16}" y="{row}" text-anchor="end" style="fill:{colour}">'
                f"{html.escape(name)}</text>"
            )
    middle = _LEFT + inner_w / 2
    out.append(f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">{x_label}</text>')
    turned = f'transform="rotate(-90 12 {_TOP + inner_h / 2})"'
    out.append(
        f'<text x="12" y="{_TOP + inner_h / 2}" text-anchor="middle" {turned}>{y_label}</text>'
    )
    out.append("</svg>")
    note = f"<figcaption>{html.escape(title)}</figcaption>"
    return f"<figure>{''.join(out)}{note}</figure>"


def _ticks(low: float, high: float, log: bool) -> list[float]:
    if log:
        return [float(t) for t in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)]
    return [low + (high - low) * k / 5 for k in range(6)]
