"""What improves a face network: short trainings that differ in one thing each.

Each variant is trained from scratch by the recipe `BASE` except for what its row says, and
evaluated on boxes_dev (longer side at most 640 pixels, IoU 0.5). The weights stay in ``--folder``,
and a variant whose weights are there is not trained again. About a quarter of an hour per variant
on one core.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from bench.detection.competitors import boxes_of
from bench.detection.detectors import DEVELOPMENT, FALSE_POSITIVES, run
from bench.detection.sets import annotated
from bench.harness import records
from nets.detectors.facenet import FaceNetDetector, read_net
from nets.detectors.training.objective import Objective
from nets.detectors.training.recipe import Recipe, train
from nets.detectors.training.scenes import Mixture

BASE = Recipe(batches=250, epochs=6, average=0.995, plain=0.08, mining=())
EQUAL = {"stem": (16, 64), "width": 128, "depths": (1, 2, 4, 3), "separable": True}


def without(*sources: str) -> Mixture:
    """The usual mixture without some sources of annotated pictures."""
    left = [(name, 0.0 if name in sources else share) for name, share in Mixture().pictures]
    return replace(Mixture(), pictures=tuple(left))


def of_kinds(**shares: float) -> Mixture:
    return replace(Mixture(), kinds=tuple(shares.items()))


MORE = ("flickr8k_1000", "coco2014_part", "shanghaitech_train", "lsp_extended")
VARIANTS = {
    "the recipe": BASE,
    "half as long": replace(BASE, epochs=3),
    "twice as long": replace(BASE, epochs=12),
    "frames of 192 px": replace(BASE, size=192),
    "frames of 320 px": replace(BASE, size=320),
    "no composed frames": replace(BASE, mixture=of_kinds(picture=0.92, background=0.08)),
    "composed frames only": replace(BASE, mixture=of_kinds(composite=0.92, background=0.08)),
    "no pictures of masks": replace(BASE, mixture=without("mask853")),
    "no machine-labelled pictures": replace(BASE, mixture=without(*MORE)),
    "cells assigned by size": replace(BASE, plain=1.0),
    "GIoU instead of EIoU": replace(BASE, objective=Objective(outline="giou")),
    "no landmarks": replace(BASE, objective=Objective(landmark=0.0)),
    "no weight averaging": replace(BASE, average=0.0),
    "hard negatives mined halfway": replace(BASE, mining=(0.5,)),
    "two more blocks": replace(BASE, net={"depths": (1, 1, 2, 2)}),
    "separable, as much time": replace(BASE, net=EQUAL),
}


def figures(weights: Path) -> dict[str, float]:
    """Accuracy of a network on boxes_dev."""
    detector = boxes_of(FaceNetDetector(weights).lowered())
    found = run({"net": detector}, annotated(DEVELOPMENT), 0)["net"]
    curve, old = found.curve(), found.curve("cmu_mit_B")
    return {
        "ap": round(curve.ap, 4),
        "recall_at_50": round(curve.recall_at(FALSE_POSITIVES), 4),
        "cmu_mit_B_at_50": round(old.recall_at(FALSE_POSITIVES), 4),
        "parameters": read_net(weights).n_parameters,
    }


def in_order(rows: dict[str, dict]) -> dict[str, dict]:
    """In the order of `VARIANTS`; rows of variants that no longer exist are dropped."""
    return {name: rows[name] for name in VARIANTS if name in rows}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench training.ablation", description=(__doc__ or "").split("\n\n")[0]
    )
    add = parser.add_argument
    add("--folder", type=Path, required=True, help="for weights and checkpoints")
    add("--only", nargs="+", choices=VARIANTS, metavar="NAME", help="these variants")
    add("--torch", action="store_true", help="compute with PyTorch")
    add("--workers", type=int, default=1)
    add("--write", action="store_true", help="record the rows in bench/results")
    args = parser.parse_args(argv)
    for name in args.only or VARIANTS:
        folder = args.folder / name.replace(" ", "-")
        weights, how = folder / "weights.safetensors", "auto" if args.torch else None
        if not weights.is_file():
            train(VARIANTS[name], folder, resume=True, workers=args.workers, torch=how,
                  bar=sys.stderr.isatty())  # fmt: skip
        row = figures(weights)
        print(f"{name:32s}", row, flush=True)
        if args.write:
            records.merge(
                records.RESULTS / "training.ablation.json", "variants", {name: row}, in_order,
                steps=BASE.batches * BASE.epochs, batch_size=BASE.batch_size,
            )  # fmt: skip
    return 0
