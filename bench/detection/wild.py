"""Face detectors on pictures from anywhere, and on pictures without faces.

Nothing is trained on these sets: every eighth picture of boxes_wider (wild), boxes_dev, a quarter
of backgrounds_hard, and pictures of scikit-image without faces. Pictures are shown at their own
size. A hit needs an IoU of 0.5. Average precision and recall at 50 false positives are those of all
scores, precision, recall and false positives a picture those of the default threshold.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

import nets
from bench.detection.competitors import DATA, MODELS, OUR_NETS, SCORE
from bench.detection.detectors import FALSE_POSITIVES
from bench.harness import records
from nets.detectors.training.data import Picture, read_pictures, read_wild
from nets.detectors.training.store import Entry, Store
from nets.detectors.training.wild import free_names
from vj.evaluate import Curve, match

RESULTS = Path(__file__).parents[1] / "results" / "detection.wild.json"
SIZES = (12, 16, 24, 48, 96)  # pixels of the shorter side that divide the faces
PEERS = {
    "YuNet-n": "yunet/yunet_n_dynamic.onnx",
    "SCRFD-500M": "scrfd/scrfd_500m_kps.onnx",
    "SCRFD-2.5G": "scrfd/scrfd_2.5g_kps.onnx",
}
NO_FACES = (  # of scikit-image
    "brick", "camera", "cell", "chelsea", "clock", "coffee", "coins", "grass", "gravel",
    "hubble_deep_field", "immunohistochemistry", "moon", "page", "retina", "rocket", "text",
)  # fmt: skip


def face_free(data: Path) -> list[np.ndarray]:
    """The pictures of backgrounds_hard that are never trained on."""
    archive, store = data / "backgrounds_hard" / "backgrounds.zip", Store()
    return [store.pixels(Entry(archive, n, "", n))[..., :3] for n in free_names(data)]


def scikit_image() -> list[np.ndarray]:
    """Those of `NO_FACES` that are at hand: some must be downloaded."""
    from skimage import data

    found = []
    for name in NO_FACES:
        try:
            image = np.asarray(getattr(data, name)())
        except (OSError, ModuleNotFoundError):
            continue
        image = image.astype(np.uint8) * 255 if image.dtype == bool else image
        image = image if image.ndim == 3 else np.stack([image] * 3, 2)
        found.append(np.ascontiguousarray(image[..., :3]))
    return found


def on_faces(detector, pictures: Sequence[Picture], default: float) -> dict:
    """Figures of an annotated set."""
    store, verdicts, scores, faces = Store(), [], [], []
    for picture in pictures:
        found = detector.detect(store.pixels(picture.entry)[..., :3])
        matched = match(found.xyxy, found.score, picture.boxes, picture.ignore)
        verdicts.append(matched.verdict)
        scores.append(found.score.astype(float))
        short = (picture.boxes[:, 2:] - picture.boxes[:, :2]).min(1, initial=np.inf)
        by = matched.found_by
        faces.append(np.stack([short, np.where(by >= 0, np.append(scores[-1], -1)[by], -1)], 1))
    size, found_at = np.concatenate(faces).T
    curve = Curve.of(verdicts, scores, len(size))
    sure = np.concatenate(verdicts)[np.concatenate(scores) >= default]
    hits, wrong = int((sure == 1).sum()), int((sure == 0).sum())
    found = found_at >= curve.threshold_at(FALSE_POSITIVES)
    bucket = np.searchsorted(SIZES, size, side="right")
    names = [f"under {SIZES[0]}", *(f"{a}-{b}" for a, b in pairwise(SIZES)), f"from {SIZES[-1]}"]
    return {
        "pictures": len(pictures),
        "faces": len(size),
        "ap": curve.ap,
        "recall_at_50": curve.recall_at(FALSE_POSITIVES),
        "recall_by_size": {
            name: [int((bucket == k).sum()), float(found[bucket == k].mean())]
            for k, name in enumerate(names)
            if (bucket == k).any()
        },
        "precision": hits / max(hits + wrong, 1),
        "recall": hits / max(len(size), 1),
        "false_positives_a_picture": wrong / len(pictures),
    }


def on_nothing(detector, pictures: Sequence[np.ndarray], default: float) -> dict:
    """False positives in pictures without faces."""
    counts = [int((detector.detect(p).score >= default).sum()) for p in pictures]
    return {"pictures": len(pictures), "false_positives_a_picture": float(np.mean(counts))}


def figures(name: str, data: Path) -> dict:
    """All figures of a detector by name, or of a file of weights."""
    model = str(MODELS / PEERS[name]) if name in PEERS else name
    default = nets.load(model).score_threshold
    detector = nets.load(model, score_threshold=SCORE, size=None)
    development, wild = list(read_pictures(data / "boxes_dev")), read_wild(data)
    old = [p for p in development if p.entry.source == "cmu_mit_B"]
    row = {"default": default} | {
        key: on_faces(detector, pictures, default)
        for key, pictures in (("wild", wild), ("boxes_dev", development), ("cmu_mit_B", old))
    }
    row["face_free"] = on_nothing(detector, face_free(data), default)
    row["scikit_image"] = on_nothing(detector, scikit_image(), default)
    row["confidence"] = calibration_error(detector, wild)
    return rounded(row)


def calibration_error(detector, pictures: Sequence[Picture], least: float = 0.3) -> dict:
    """Expected calibration error of confidences from ``least`` on, in ten equal bins."""
    store, parts = Store(), []
    for picture in pictures:
        found = detector.detect(store.pixels(picture.entry)[..., :3])
        verdict = match(found.xyxy, found.score, picture.boxes, picture.ignore).verdict
        parts.append(np.stack([found.confidence, verdict], 1)[verdict >= 0])
    confidence, hit = np.concatenate(parts).T
    confidence, hit = confidence[confidence >= least], hit[confidence >= least]
    bins = np.minimum((confidence * 10).astype(int), 9)
    gaps = [abs((hit[bins == k] - confidence[bins == k]).sum()) for k in range(10)]
    return {"detections": len(hit), "expected_calibration_error": float(sum(gaps) / len(hit))}


def rounded(value):
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return round(value, 4) if isinstance(value, float) else value


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench detection.wild", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="detectors, or files of weights")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the data")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name}")
    args = parser.parse_args(argv)
    if not (args.data / "boxes_wider").is_dir():
        parser.error(f"{args.data} has no boxes_wider: name the folder of the data (VJ_DATA)")
    for name in args.only or (*OUR_NETS, *PEERS):
        row = figures(name, args.data)
        print(name, json.dumps(row), flush=True)
        if args.write:
            records.merge(RESULTS, "wild", {name: row}, lambda rows: rows)
    return 0
