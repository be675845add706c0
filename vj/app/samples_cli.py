"""``vj-samples``: convert annotated objects to .vec, crops, an info list, JSON or a picture."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vj.app import tools
from vj.app.progress import Console
from vj.app.status import Status
from vj.datasets.lists import picture_size
from vj.errors import ParameterError, TrainingError
from vj.io.files import replacing, writing

USAGE = "vj-samples POSITIVES -o out.vec|sheet.png|annotations.json|info.dat|FOLDER [options]"
EPILOG = """\
The ending of -o says what is made:
  .vec         samples for opencv_traincascade
  .png .jpg    contact sheet: one picture of all samples
  .json        boxes as a list of {file, boxes, ignore}
  .dat         boxes as an OpenCV info list
  anything else: a folder of crops

examples:
  vj-samples labels -o cups.vec --window 24x24 --count 2000
  vj-samples cups.vec -o cups.png --window 24x24
"""


def main() -> int:
    """Entry point of the command ``vj-samples``."""
    return tools.execute("vj-samples", parse, run)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments."""
    p = tools.ToolParser("vj-samples", USAGE, "Convert samples.", EPILOG)
    add = p.add_argument
    add("positives", metavar="POSITIVES", help="as for vj-train")
    add("-o", "--output", metavar="PATH", required=True)
    add(
        "--window",
        type=tools.window,
        default="auto",
        metavar="WxH",
        help="default: auto, 24x24 or as much of the shape of the objects",
    )
    add("--names", nargs="+", metavar="NAME", help="classes (default: all)")
    add("--margin", type=float, default=1.0, metavar="F", help="window over box (default: 1.0)")
    add("--count", type=int, metavar="N", help="so many samples, variants where objects are fewer")
    add("--flip", type=float, default=0.5, metavar="P", help="share of mirrored variants")
    add("--seed", type=int, default=0, metavar="N")
    return p.parse_args(list(argv))


def run(args: argparse.Namespace, console: Console) -> Status:
    """Do what the arguments say."""
    from vj.train.shape import list_shaped

    output = Path(args.output)
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
    args.window, pictures, arrays = list_shaped(args.positives, args.window, args.names)
    if output.suffix in (".json", ".dat"):
        if arrays:
            raise ParameterError(f"{args.positives}: samples have no boxes to list")
        rows = [(p, _finite(p)) for p in pictures]
        count = sum(len(boxes) for _, boxes in rows)
        with replacing(output) as file:
            file.write(_boxes(rows, output).encode())
        console.say(f"{output}: {count} boxes on {len(rows)} pictures")
        return Status.DONE
    patches = _patches(args, pictures, arrays, console)
    _write(patches, output)
    console.say(f"{output}: {len(patches)} samples of {args.window[1]}x{args.window[0]}")
    return Status.DONE


def _finite(picture: Any) -> Any:
    """Boxes; that of a picture which is an object as a whole in its real size."""
    if not np.isinf(picture.boxes).any():
        return picture.boxes
    return np.minimum(picture.boxes, [0, 0, *picture_size(picture.path)])


def _boxes(rows: list[tuple[Any, Any]], output: Path) -> str:
    """Boxes as JSON, or as an info list whose paths count from its own folder."""
    if output.suffix == ".json":
        entries = []
        for picture, boxes in rows:
            lists = {
                name: np.concatenate([b[:, :2], b[:, 2:] - b[:, :2]], axis=1).round(2).tolist()
                for name, b in (("boxes", boxes), ("ignore", picture.ignore))
            }
            entries.append({"file": _relative(picture, output), **lists, "source": picture.source})
        return json.dumps(entries, indent=1, ensure_ascii=False)
    lines = []
    for picture, boxes in rows:
        whole = np.rint(boxes).astype(int)
        numbers = " ".join(f"{x1} {y1} {x2 - x1} {y2 - y1}" for x1, y1, x2, y2 in whole)
        lines.append(f"{_relative(picture, output)} {len(boxes)} {numbers}".rstrip())
    return "\n".join(lines) + "\n"


def _relative(picture: Any, output: Path) -> str:
    path = picture.path
    if not isinstance(path, Path):
        raise ParameterError(f"{picture.name}: is inside a zip: unpack it to list its boxes")
    return Path(os.path.relpath(path, output.parent)).as_posix()


def _patches(
    args: argparse.Namespace, pictures: list[Any], arrays: list[Any], console: Console
) -> Any:
    from vj.train.augment import PLAIN, Augment
    from vj.train.samples import PatchStream, read_crops

    augment = Augment(flip=args.flip)
    crops, findings = read_crops(
        pictures, args.window, arrays=arrays, margin=args.margin, reach=augment.reach()
    )
    for what in ("unreadable", "too_small", "clipped", "outside", "duplicates"):
        found = getattr(findings, what)
        if found:
            console.say(f"{len(found)} {what.replace('_', ' ')}: {'; '.join(found[:3])}")
    if not crops:
        raise TrainingError(f"{args.positives}: no object is readable and large enough")
    count = args.count or len(crops)
    plain = PatchStream(crops, args.window, PLAIN, args.seed).take(0, min(count, len(crops)))
    more = count - len(plain)
    if more <= 0:
        return plain
    return np.concatenate(
        [plain, PatchStream(crops, args.window, augment, args.seed).take(0, more)]
    )


def _write(patches: Any, output: Path) -> None:
    from vj.io.images import image_format, write_image
    from vj.train.sheets import contact_sheet
    from vj.train.vec import write_vec

    if output.suffix == ".vec":
        write_vec(output, patches)
    elif output.suffix and image_format(output):
        write_image(output, contact_sheet(patches))
    else:
        with writing(output):
            output.mkdir(exist_ok=True)
        for k, patch in enumerate(patches):
            write_image(output / f"{k:06d}.png", patch)
