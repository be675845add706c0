"""Draw training frames: ``python -m nets.detectors.training.sheet sheet.jpg``.

Green boxes are learned, with red points where landmarks are known; yellow ones are ignored.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw

from nets.detectors.training.data import read_data
from nets.detectors.training.scenes import KINDS, Mixture, Sample, Scenes
from vj.errors import VJError
from vj.io.images import write_image


def draw(sample: Sample) -> Image.Image:
    """One frame with its annotation."""
    image = Image.fromarray(sample.image)
    pen = ImageDraw.Draw(image)
    for boxes, colour in ((sample.ignore, "yellow"), (sample.boxes, "lime")):
        for box in boxes.tolist():
            pen.rectangle((box[0], box[1], max(box[2] - 1, box[0]), max(box[3] - 1, box[1])),
                          outline=colour)  # fmt: skip
    for x, y in sample.landmarks.reshape(-1, 2).tolist():
        if np.isfinite(x):
            pen.ellipse((x - 1, y - 1, x + 1, y + 1), fill="red")
    pen.text((3, 2), sample.kind, fill="white", stroke_width=1, stroke_fill="black")
    return image


def sheet(samples: Sequence[Sample], columns: int) -> Image.Image:
    """All frames in rows."""
    size = samples[0].image.shape[0]
    rows = -(-len(samples) // columns)
    page = Image.new("RGB", (columns * (size + 4), rows * (size + 4)), "gray")
    for k, sample in enumerate(samples):
        page.paste(draw(sample), ((k % columns) * (size + 4), (k // columns) * (size + 4)))
    return page


def main(argv: Sequence[str] | None = None) -> int:
    """Write a sheet, say what is on it."""
    parser = argparse.ArgumentParser(
        prog="python -m nets.detectors.training.sheet", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument("output", help="image file to write")
    parser.add_argument("--data", help="folder of the data (default: VJ_DATA)")
    parser.add_argument("--only", choices=KINDS, help="frames of one kind")
    parser.add_argument("--held-out", action="store_true", help="the part for validation")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    mixture = Mixture()
    if args.only:
        mixture = replace(mixture, kinds=((args.only, 1.0),))
    try:
        training, validation = read_data(args.data)
        data = validation if args.held_out else training
        scenes = Scenes(data, args.size, seed=args.seed, mixture=mixture)
        samples = [scenes.sample(k) for k in range(max(args.count, 1))]
        write_image(args.output, sheet(samples, args.columns))
    except VJError as exc:
        sys.stderr.write(f"sheet: {exc}\n")
        return 2
    sizes = [float(s) for m in samples for s in np.sqrt((m.boxes[:, 2:] - m.boxes[:, :2]).prod(1))]
    spread = " ".join(f"{v:.0f}" for v in np.percentile(sizes or [0], (5, 25, 50, 75, 95)))
    sys.stdout.write(
        f"{args.output}: {len(samples)} frames, {len(sizes)} faces, "
        f"{sum(len(m.ignore) for m in samples)} regions ignored; sizes in px, percentiles "
        f"5 to 95: {spread}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
