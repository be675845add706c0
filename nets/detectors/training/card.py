"""The card of trained weights: what they are, what they learned from, how good and how sure."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nets.cards import calibrated
from nets.detectors.base import NetDetector
from nets.detectors.facenet import DEFAULT, SCALE, FaceNetDetector, read_net
from nets.detectors.training.calibrate import calibrate, default_threshold
from nets.detectors.training.data import WIDER, Data, Picture, read_pictures, read_wild
from nets.detectors.training.judge import Judged, judge
from nets.detectors.training.store import Entry, Store
from nets.nn.state import load_state
from nets.training.checkpoint import load_checkpoint
from nets.training.loop import CHECKPOINT
from vj.errors import TrainingError
from vj.io.files import data_folder, replacing
from vj.metrics import SIDE

ALARMS = 50
SURE = 0.5  # tens of thousands of lower scores would bend the calibration where it matters
WILD, OBJECTS = "wider_face", "caltech101"
TEACHER = (
    "YuNet (MIT): where it sees a face that has no label, nothing was learned; boxes_more and the "
    "portraits were labelled by it"
)
PURPOSE = (
    "Finding faces in photographs and video, to count, frame or hide them. It knows nobody and "
    "tells nobody apart. Most of its photographs come from the press, from Flickr and from sets "
    "of portraits, whose people are not a fair sample of all people"
)
TERMS = {  # of the sources of the data, as stated where they were found
    "all_age_faces": "All-Age-Faces: no licence stated, the authors ask to be cited",
    "afw_helen": "AFW and Helen: research; 68 points of one face, others ignored by YuNet",
    "bsds500": "BSDS500: non-commercial research and education",
    "caltech101": "Caltech-101: no licence stated in the copy; Caltech states CC BY 4.0 now",
    "catsdogs": "Kaggle Dogs vs. Cats (Asirra): research",
    "coco2014_part": "COCO 2014: terms of Flickr; boxes made by YuNet",
    "crowds_above": "heads in crowds, ignored: no licence stated",
    "dtd10": "Describable Textures: research",
    "flickr8k_1000": "Flickr8k: research and education; boxes made by YuNet",
    "haarneg": "negatives of face.urtho.net: no licence stated",
    "lfwexpr": "mostly Labeled Faces in the Wild: press photographs, research",
    "lsp_extended": "Leeds Sports Pose Extended: citation asked; boxes made by YuNet",
    "mafa_like": "occluded faces, presumably MAFA: research",
    "mask853": "Kaggle face-mask-detection: CC0 as stated there",
    "masks_ilc": "faces with masks of a student's project: no licence stated",
    "masks_yolo": "faces with masks of a student's project: no licence stated",
    "scene15": "15-Scene: research",
    "shanghaitech_train": "ShanghaiTech crowd counting: research; boxes made by YuNet",
    "utk": "UTKFace: non-commercial research",
    "wider_face": "WIDER FACE: non-commercial research",
}


def write_card(
    weights: Path, name: str, parts: tuple[Data, Data], folder: str | os.PathLike[str] | None = None
) -> Path:
    """Write the card of a file of weights beside it: what `nets.cards` reads.

    Parameters
    ----------
    weights : path
        As `recipe.train` leaves them, the checkpoint beside them.
    name : str
        Of the recipe.
    parts : Data, Data
        Of `read_data`: what was learned from, and what was held out; the latter calibrates.
    folder : path, optional
        Of the data: its boxes_dev gives the scores, if it is there.

    Returns
    -------
    Path
    """
    net, (_, notes) = read_net(weights), load_state(weights)
    detector, store = FaceNetDetector(weights, size=SIDE).lowered(), Store()
    held, sources, wild = parts[1].pictures, _sources(parts[0]), []
    if any(row["source"] == WILD for row in sources):
        wild = read_wild(Path(folder or data_folder()))
        held = [*(p for p in held if p.entry.archive.parent.name == WIDER), *wild]
    kept_off = judge(detector, held, store)
    entries: dict[str, Any] = {
        "description": f"faces and five landmarks; {net.n_parameters / 1e3:.0f} thousand weights",
        "detector": FaceNetDetector.__name__,
        "channels": "RGB",
        "mean": 0,
        "std": 1 / SCALE,
        "training_data": ", ".join(row["source"] for row in sources),
        "licence": "Apache-2.0",
        "source": f"python -m nets.detectors.train {name}",
        "sha256": [hashlib.sha256(weights.read_bytes()).hexdigest()],
        "scores": _scores(judge(detector, _development(folder), store)),
        "purpose": PURPOSE,
        "architecture": {
            "name": type(net).__name__, **json.loads(notes["facenet"]),
            "parameters": net.n_parameters, "stored as": "float16",
        },
        "data": sources,
        "recipe": {"epochs done": _epochs(weights), **json.loads(notes["recipe"])},
        "held out": {"pictures": len(held), **_scores(kept_off)},
        **_calibration(kept_off),
    }  # fmt: skip
    if wild:
        at_full_size = FaceNetDetector(weights, size=None).lowered()
        free = [entry for entry in parts[1].backgrounds if entry.source == OBJECTS]
        entries |= {
            "teacher": TEACHER,
            **_default(_threshold(detector, kept_off, free, store), entries["calibration"]),
            "wild": _scores(judge(at_full_size, wild, store)),
        }
    card = weights.with_suffix(".json")
    with replacing(card) as file:
        file.write(json.dumps(entries, indent=1).encode() + b"\n")
    return card


def _sources(data: Data) -> list[dict[str, Any]]:
    """What was learned from, source by source, and on which terms it is offered."""
    entries = {
        "pictures": [picture.entry for picture in data.pictures],
        "crops": [face.entry for face in data.faces],
        "backgrounds": data.backgrounds,
    }
    rows: dict[str, dict[str, Any]] = {}
    for kind, items in entries.items():
        for source, count in Counter(entry.source for entry in items).items():
            rows.setdefault(source, {"source": source})[kind] = count
    for picture in data.pictures:
        row = rows[picture.entry.source]
        row["faces"] = row.get("faces", 0) + len(picture.boxes)
    for source, row in rows.items():
        row["terms"] = TERMS.get(source, "not known")
    return [rows[source] for source in sorted(rows)]


def _calibration(judged: Judged) -> dict[str, Any]:
    try:
        at = judged.score >= SURE
        likely = Judged(judged.hit[at], judged.score[at], judged.faces)
        return {"calibration": [round(number, 4) for number in calibrate(likely)]}
    except TrainingError as exc:  # weights of a first epoch have a card as well
        return {"calibration": None, "not calibrated": str(exc)}


def _default(threshold: float, calibration: list[float] | None) -> dict[str, float]:
    """The default threshold, as a score and as the confidence that people see."""
    least = calibrated(np.array([threshold], np.float32), calibration)
    return {"score_threshold": threshold, "min_confidence": round(float(least[0]), 3)}


def _threshold(detector: NetDetector, judged: Judged, free: Sequence[Entry], store: Store) -> float:
    """Default of these weights; that of all nets where it cannot be told."""
    scores = [detector.detect(store.pixels(entry)[..., :3]).score for entry in free]
    elsewhere = np.concatenate([np.empty(0, np.float32), *scores])
    return default_threshold(judged, elsewhere, len(free)) or DEFAULT


def _scores(judged: Judged) -> dict[str, float]:
    if not judged.faces:
        return {}
    recall = judged.recall_at(ALARMS)
    return {"AP": round(judged.ap, 4), f"recall at {ALARMS} false alarms": round(recall, 4)}


def _development(folder: str | os.PathLike[str] | None) -> list[Picture]:
    place = Path(folder or data_folder()) / "boxes_dev"
    return list(read_pictures(place)) if place.is_dir() else []


def _epochs(weights: Path) -> int:
    """Epochs that were trained: a training may have been stopped before its end."""
    return int(load_checkpoint(weights.with_name(CHECKPOINT))["epoch"])
