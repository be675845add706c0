"""What the experiments share: what a finding is, and how it is written down with its figure.

An experiment is a module with a function ``main(quick=False, ...) -> Finding``; ``quick`` is for
tests: it runs for a moment, on invented data where need be, and its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import inspect
import io
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from bench.notes import data
from nets.autograd.ops.resize import upsample_bilinear
from nets.autograd.tensor import Tensor

RESULTS = Path(__file__).parent / "results"
PHOTOGRAPHS = "VJ_NOTES_PHOTOGRAPHS"  # set it to see the pictures of the data in the figures
VERDICTS = ("yes", "in part", "no")


@dataclass
class Finding:
    """What an experiment found.

    Attributes
    ----------
    claim : str
        What the notes say.
    method : str
        What was done to see whether it is so.
    measured : str
        What came out, in words and numbers.
    holds : "yes", "in part" or "no"
        Whether that is what the claim says.
    numbers : dict
        All of it, for whoever wants to look further.
    figure : Figure or Image
    minutes : float, optional
        CPU time of it all; that of the process if not given.
    """

    claim: str
    method: str
    measured: str
    holds: str
    numbers: dict[str, Any]
    figure: Figure | Image.Image = field(repr=False)
    minutes: float | None = None

    def __post_init__(self) -> None:
        assert self.holds in VERDICTS, self.holds


def run(main: Callable[..., Finding], arguments: Sequence[str] | None = None) -> None:
    """Command line of an experiment: run it, write figure, finding and the index."""
    parser = argparse.ArgumentParser(description=inspect.getdoc(inspect.getmodule(main)))
    options = inspect.signature(main).parameters
    if "folder" in options:
        parser.add_argument("--folder", type=Path, help="keeps checkpoints, to go on from there")
    chosen = vars(parser.parse_args(arguments))
    why = data.missing()
    if why:
        raise SystemExit(f"skipped: {why}")
    name = Path(inspect.getfile(main)).stem
    began = time.process_time()
    finding = main(**chosen)
    if finding.minutes is None:
        finding.minutes = round((time.process_time() - began) / 60, 2)
    write(name, finding)
    print(f"{name}: {finding.holds}: {finding.measured}")


def write(name: str, finding: Finding, folder: Path = RESULTS) -> None:
    """The figure as a picture, the rest as JSON beside it, and the index anew."""
    from bench.notes import index

    folder.mkdir(exist_ok=True)
    figure = finding.figure
    if isinstance(figure, Image.Image):
        figure.save(folder / f"{name}.png", optimize=True)
    else:
        drawn = io.BytesIO()
        figure.savefig(drawn, dpi=100, bbox_inches="tight")
        palette = Image.open(drawn).convert("RGB").quantize(128, dither=Image.Dither.NONE)
        palette.save(folder / f"{name}.png", optimize=True)
    kept = {key: value for key, value in vars(finding).items() if key != "figure"}
    text = json.dumps({"name": name, **kept}, default=_plain)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    index.write()


def _plain(value: Any) -> Any:
    """JSON of NumPy's numbers, with four digits: more would say more than was measured."""
    if isinstance(value, np.ndarray):
        return [_plain(x) for x in value]
    return float(f"{float(value):.4g}") if isinstance(value, np.floating) else value.item()


def invented(n: int, side: int, colour: bool = False, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth noise (n, side, side), or (n, side, side, 3), where tests have no pictures."""
    rng = np.random.default_rng(seed)
    small = Tensor(rng.uniform(0, 255, (n, 3 if colour else 1, 5, 5)))
    smooth = upsample_bilinear(small, size=(side, side)).data.transpose(0, 2, 3, 1)
    return (smooth if colour else smooth[..., 0]).astype(np.uint8)


def panels(
    rows: int, columns: int, width: float = 3.2, height: float = 2.6
) -> tuple[Figure, NDArray[Any]]:
    """A figure and its axes (rows, columns), each of a size in inches."""
    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def show(axes: Any, picture: ArrayLike, title: str, **options: Any) -> None:
    """A picture without scales; gray where it has no colours."""
    axes.imshow(picture, **{"cmap": "gray", "interpolation": "nearest", **options})
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


def hidden(pictures: Any) -> Any:
    """Photographs blanked, which are not ours to publish; `PHOTOGRAPHS` shows them at home."""
    pixels = np.asarray(pictures)
    if os.environ.get(PHOTOGRAPHS):
        return pixels
    return np.full_like(pixels, 215 if pixels.dtype == np.uint8 else 0.84)


def sheet(pictures: ArrayLike, columns: int, zoom: int = 1) -> Image.Image:
    """Pictures (n, H, W) uint8, or of 0..1, side by side in rows."""
    tiles = np.asarray(pictures)
    if tiles.dtype != np.uint8:
        tiles = np.round(np.clip(tiles, 0, 1) * 255).astype(np.uint8)
    n, rows, cols = tiles.shape[:3]
    assert n % columns == 0, f"{n} pictures do not fill rows of {columns}"
    joined = tiles.reshape(-1, columns, *tiles.shape[1:]).swapaxes(1, 2)
    wide = joined.reshape(n // columns * rows, columns * cols, *tiles.shape[3:])
    return Image.fromarray(wide).resize(
        (wide.shape[1] * zoom, wide.shape[0] * zoom), Image.Resampling.NEAREST
    )
