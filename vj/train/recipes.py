"""How the cascades of this package are made: ``python -m vj.train.recipes NAME --data FOLDER``.

The command writes ``NAME.xml`` and its card ``NAME.json``, the same bytes every time. The data are
photographs that may be trained on but not passed on; the folders are those that the cards name.
Every fifth picture of ``boxes_train`` is kept out of the training, to fit boxes and confidences on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vj.cascade.model import Cascade
from vj.datasets.annotations import Picture, read_annotations
from vj.detect.scoring import Scoring
from vj.errors import SourceError, VJError
from vj.evaluate.evaluation import evaluate
from vj.io.files import data_folder, replacing
from vj.train.augment import Augment
from vj.train.fitting import ScoredDetector, fit_scoring
from vj.train.trainer import CascadeTrainer

MARGIN = 1.2  # side of the window over that of the face square
# The box that people draw around a face, in sides of that window: shift of the centre, and size.
DRAWN_BOX = (0.0, 0.067, 0.81, 1.0)
SMALLEST = 22  # windows of fewer pixels show too little to learn from
LICENCE = "Apache-2.0 (the weights; trained on photographs for research use)"


@dataclass(frozen=True, slots=True)
class FaceRecipe:
    """What one of our cascades is for, and its settings."""

    description: str
    settings: Mapping[str, Any]


# Stumps reject most windows in the early stages for the fewest features; later, trees of depth 2
# tell masked faces apart, which are like the others in the upper half only.
COMMON: dict[str, Any] = {
    "margin": MARGIN,
    "surroundings": False,
    "depth": [1, 1, 1, 1, 1, 2],
    "min_negatives": 600,
}
RECIPES = {
    "frontalface": FaceRecipe(
        "frontal faces from 16 pixels on, masked ones too; Haar, 20x20",
        {
            **COMMON,
            "window": (20, 20),
            "features": "CORE",
            "n_positives": 16_000,
            "n_negatives": 10_000,
            "hit_rate": [0.987, 0.99, 0.992, 0.994, 0.995, 0.996, 0.997],
            "false_alarm": [0.5, 0.45, 0.45, 0.4],
            "max_trees": 250,
            "n_stages": 14,
            "views": 2,
            "memory": 3 << 30,
            "augment": Augment(
                shift=0.021, scale=0.03, rotation=2.4, contrast=0.2, gamma=0.18, noise=4,
                blur=0.25, jpeg=0.2,
            ),
        },
    ),
    "frontalface-fast": FaceRecipe(
        "frontal faces from 20 pixels on, few features a window; Haar, 24x24",
        {
            **COMMON,
            "window": (24, 24),
            "n_positives": 10_000,
            "n_negatives": 7_000,
            "hit_rate": [0.975, 0.98, 0.985, 0.99, 0.993, 0.996],
            "false_alarm": [0.5, 0.45, 0.4],
            "max_trees": 200,
            "n_stages": 13,
            "target_rate": 6e-6,
            "augment": Augment(shift=0.021, scale=0.03, rotation=2.4),
        },
    ),
}  # fmt: skip


def positives(data: Path) -> list[Picture]:
    """Face squares: of the crops, from the boxes of masked faces, and from landmarks."""
    masks = [p for p in read_annotations(data / "boxes_train") if p.source == "mask853"]
    return [
        *read_annotations(data / "faces_train"),
        *(_squares_of_boxes(picture) for picture in masks if not _is_held(picture.name)),
        *_squares_of_landmarks(data / "boxes_more"),
    ]


def backgrounds(data: Path) -> list[Any]:
    """Pictures without faces, and what is around the faces of pictures with them."""
    return [
        data / "backgrounds_train" / "backgrounds.zip",
        data / "backgrounds_more" / "backgrounds.zip",
        *read_annotations(data / "boxes_more"),
    ]


def held_out(data: Path) -> list[Picture]:
    """The pictures to fit boxes and confidences on: those whose boxes are drawn as on `measure`."""
    return [p for p in read_annotations(data / "boxes_train") if _is_held(p.name)]


def _is_held(name: str) -> bool:
    return hashlib.sha256(name.encode()).digest()[0] % 5 == 0


def _squares_of_boxes(picture: Picture) -> Picture:
    """The picture with face squares such that `DRAWN_BOX` in their windows is the drawn box."""
    dx, dy, width, height = DRAWN_BOX
    size = picture.boxes[:, 2:] - picture.boxes[:, :2]
    window = np.sqrt(size.prod(axis=1) / (width * height))
    centre = (picture.boxes[:, :2] + picture.boxes[:, 2:]) / 2 - window[:, None] * [dx, dy]
    aspect = size[:, 0] / size[:, 1]
    keep = (window >= SMALLEST) & (aspect > 0.55) & (aspect < 1.25)
    half = window[keep, None] / MARGIN / 2
    squares = np.concatenate([centre[keep] - half, centre[keep] + half], axis=1)
    return replace(picture, boxes=squares)


def _squares_of_landmarks(folder: Path) -> list[Picture]:
    """Frontal faces whose eyes and mouth are known, as the face squares of the crops are made."""
    notes = json.loads((folder / "annotations.json").read_text())
    out = []
    for picture, note in zip(read_annotations(folder), notes, strict=True):
        pairs = [
            face
            for points, score in zip(note["landmarks5"], note["scores"], strict=True)
            if points is not None and score >= 0.75
            for face in [_square(np.array(points))]
            if face is not None
        ]
        if pairs:
            boxes = np.array([square for square, _ in pairs])
            rolls = tuple(roll for _, roll in pairs)
            out.append(replace(picture, boxes=boxes, rolls=rolls, where=f"faces of {picture.name}"))
    return out


def _square(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], float] | None:
    """Face square and roll in degrees of five landmarks; None if small or not frontal."""
    left, right, nose, mouth = points[0], points[1], points[2], points[3:].mean(axis=0)
    eyes, across, down = (left + right) / 2, right - left, mouth - (left + right) / 2
    between, drop = np.hypot(*across), np.hypot(*down)
    side = max(2.4 * between, 2.25 * drop)
    roll = float(np.degrees(np.arctan2(across[1], across[0])))
    yaw = abs((nose - eyes) @ across) / max(between, 1e-6) ** 2
    if side < SMALLEST / MARGIN or abs(roll) > 30 or yaw > 0.28:
        return None
    centre = eyes + 0.12 * side * down / max(drop, 1e-6)
    return np.concatenate([centre - side / 2, centre + side / 2]), roll


def make(name: str, data: Path, folder: Path, n_jobs: int = 1, **more: Any) -> Cascade:
    """Train a cascade of ours and write it with its card into ``folder``."""
    recipe = RECIPES[name]
    if not (data / "faces_train").is_dir():
        raise SourceError(f"{data}: holds no faces_train: name the folder of the data (VJ_DATA)")
    folder.mkdir(parents=True, exist_ok=True)
    trainer = CascadeTrainer(
        n_jobs=n_jobs, checkpoint=folder / f"{name}.train", **recipe.settings, **more
    ).fit(positives(data), backgrounds(data))
    cascade = replace(trainer.cascade_, name=name)
    cascade.save(folder / f"{name}.xml")
    trainer.report_.save_html(folder / f"{name}.html")
    write_card(name, cascade, data, folder)
    return cascade


def write_card(name: str, cascade: Cascade, data: Path, folder: Path) -> None:
    """Write the card of a trained cascade: scoring fitted, scores measured."""
    recipe, scoring = RECIPES[name], fit_scoring(cascade, held_out(data))
    settings = {
        key: value if not isinstance(value, Augment) else repr(value)
        for key, value in recipe.settings.items()
    }
    card = {
        "description": recipe.description,
        "licence": LICENCE,
        "source": f"python -m vj.train.recipes {name}",
        "sha256": hashlib.sha256((folder / f"{name}.xml").read_bytes()).hexdigest(),
        "stages": cascade.n_stages,
        "trees": cascade.n_trees,
        "settings": settings,
        "data": ["faces_train", "boxes_train", "boxes_more", "backgrounds_train",
                 "backgrounds_more"],
        "scoring": scoring.to_card(),
        "scores": measure(cascade, scoring, data),
    }  # fmt: skip
    with replacing(folder / f"{name}.json") as file:
        file.write((json.dumps(card, indent=1, default=list) + "\n").encode())


def measure(cascade: Cascade, scoring: Scoring, data: Path) -> dict[str, float]:
    """Figures on ``boxes_dev``, which nothing was trained or fitted on."""
    done = evaluate(ScoredDetector(cascade, scoring), data / "boxes_dev")
    figures = {"ap": done.ap, "recall_at_50": done.curve.recall_at(50)}
    figures |= {f"ap_{name}": one.ap for name, one in done.sources().items()}
    return {key: round(value, 4) for key, value in figures.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m vj.train.recipes``."""
    p = argparse.ArgumentParser(prog="python -m vj.train.recipes", description=__doc__)
    p.add_argument("name", choices=sorted(RECIPES))
    p.add_argument("--data", default=data_folder())
    p.add_argument("-o", "--output", default=str(Path(__file__).parents[1] / "data"))
    p.add_argument("-j", "--jobs", type=int, default=os.cpu_count())
    p.add_argument("--resume", action="store_true")
    args = p.parse_args(argv)

    def tell(event: Mapping[str, Any]) -> None:
        if event["event"] not in ("tree", "mining"):
            line = {k: v for k, v in event.items() if k not in ("roc", "sheet")}
            sys.stderr.write(f"{json.dumps(line, default=str)}\n")

    try:
        make(args.name, Path(args.data), Path(args.output), args.jobs, resume=args.resume,
             on_event=tell)  # fmt: skip
    except VJError as exc:
        sys.stderr.write(f"{p.prog}: {exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
