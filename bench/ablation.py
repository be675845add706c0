"""What helps a face net: short trainings that differ in one thing each.

    python -m bench.ablation FOLDER [--only NAME ...] [--torch] [--workers N]

Each variant is trained from nothing by the recipe of `BASE` but for what its row says, and judged
on boxes_dev (IoU 0.5, longer side at most 640 pixels). The weights stay in FOLDER and are not
trained again; the figures go to bench/results/ablation.json, from which `python -m bench.report`
makes the table. A quarter of an hour a variant on one core.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from bench.detection.competitors import DATA
from bench.harness.records import merge
from nets.detectors.facenet import FaceNetDetector, read_net
from nets.detectors.training.card import ALARMS
from nets.detectors.training.data import read_pictures
from nets.detectors.training.judge import judge
from nets.detectors.training.objective import Objective
from nets.detectors.training.recipe import Recipe, train
from nets.detectors.training.scenes import Mixture
from nets.detectors.training.store import Store

RESULTS = Path(__file__).parent / "results" / "ablation.json"
BASE = Recipe(batches=250, epochs=6, average=0.995, plain=0.08, mining=())
EQUAL = {"stem": (16, 64), "width": 128, "depths": (1, 2, 4, 3), "separable": True}


def without(*sources: str) -> Mixture:
    """The usual mixture, some sources of annotated pictures left out."""
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
    "no average of the weights": replace(BASE, average=0.0),
    "false alarms sought halfway": replace(BASE, mining=(0.5,)),
    "two more blocks": replace(BASE, net={"depths": (1, 1, 2, 2)}),
    "separable, as much time": replace(BASE, net=EQUAL),
}


def figures(weights: Path, data: Path) -> dict[str, float]:
    """How well a net does on boxes_dev."""
    detector, store = FaceNetDetector(weights).lowered(), Store()
    pictures = list(read_pictures(data / "boxes_dev"))
    all_of_them = judge(detector, pictures, store)
    old = judge(detector, [p for p in pictures if p.entry.source == "cmu_mit_B"], store)
    return {
        "ap": round(all_of_them.ap, 4),
        "recall_at_50": round(all_of_them.recall_at(ALARMS), 4),
        "cmu_mit_B_at_50": round(old.recall_at(ALARMS), 4),
        "parameters": read_net(weights).n_parameters,
    }


def in_order(rows: dict[str, dict]) -> dict[str, dict]:
    """As the variants stand here; those that no longer do are dropped."""
    return {name: rows[name] for name in VARIANTS if name in rows}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.ablation", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=VARIANTS)
    parser.add_argument("--torch", action="store_true", help="compute by PyTorch")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    for name in args.only or VARIANTS:
        folder = args.folder / name.replace(" ", "-")
        weights, how = folder / "weights.safetensors", "auto" if args.torch else None
        if not weights.is_file():
            train(VARIANTS[name], folder, resume=True, workers=args.workers, torch=how,
                  bar=sys.stderr.isatty())  # fmt: skip
        row = figures(weights, DATA)
        print(f"{name:32s}", row, flush=True)
        merge(
            RESULTS, "variants", {name: row}, in_order,
            steps=BASE.batches * BASE.epochs, batch_size=BASE.batch_size,
        )  # fmt: skip


if __name__ == "__main__":
    main()
