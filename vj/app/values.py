"""What the values of options look like."""

from __future__ import annotations

import argparse


def size(text: str) -> tuple[int, int]:
    """``W`` or ``WxH`` to (rows, cols)."""
    width, _, height = text.lower().partition("x")
    try:
        cols, rows = int(width), int(height or width)
    except ValueError:
        cols = rows = 0
    if cols < 1 or rows < 1 or text.lower().endswith("x"):
        raise argparse.ArgumentTypeError(f"a size is W or WxH in pixels, not {text!r}")
    return rows, cols


def point(text: str) -> tuple[float, float]:
    """``X,Y``."""
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"a point is X,Y in pixels, not {text!r}") from None
    return x, y


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number of at least 1 is wanted, not {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """A number of at least 0."""
    return 0.0 if text in ("0", "0.0") else factor(text)


def quality(text: str) -> int:
    """A whole number of 0 to 63."""
    if not text.isdecimal() or int(text) > 63:
        raise argparse.ArgumentTypeError(f"a whole number of 0 to 63 is wanted, not {text!r}")
    return int(text)


def factor(text: str) -> float:
    """A positive number."""
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise argparse.ArgumentTypeError(f"a positive number is wanted, not {text!r}")
    return factor


def share(text: str) -> float:
    """A number of 0 to 1."""
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"a number of 0 to 1 is wanted, not {text!r}")
    return share
