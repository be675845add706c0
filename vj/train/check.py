"""The look before the leap: what is wrong with the samples, what they can teach, what it costs."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vj.datasets.annotations import Picture
from vj.detect import pyramid
from vj.errors import TrainingError, VJError
from vj.train.augment import PLAIN, Crop, variant
from vj.train.samples import Findings
from vj.train.settings import Settings
from vj.train.shape import SQUARE, median_aspect, suited_window
from vj.train.sources import Scene
from vj.train.windows import SCALE_FACTOR
from vj.train.workers import Workers

FEW_OBJECTS = 30
UNLIKE = 1.4  # shape of the objects over that of the window
_SHOWN = 5


@dataclass(slots=True, eq=False)
class Check:
    """What a training would start with.

    Attributes
    ----------
    errors, warnings : list of str
        What makes a training pointless; what it survives.
    objects, scenes : int
    drawn_from : int
        Objects there are, if only some of them were read.
    windows : int
        Background windows that the detector visits.
    memory : int
        Bytes.
    seconds : float
        A rough guess.
    """

    objects: int = 0
    drawn_from: int = 0
    scenes: int = 0
    windows: int = 0
    memory: int = 0
    seconds: float = 0.0
    window: tuple[int, int] = SQUARE
    suggested_window: tuple[int, int] = SQUARE
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    scenes_digest: str = ""

    def refuse(self) -> None:
        """Raise TrainingError if there is an error."""
        if self.errors:
            raise TrainingError("; ".join(self.errors))

    def __str__(self) -> str:
        rows, cols = self.suggested_window
        used = f" (in use: {self.window[1]}x{self.window[0]})" * (self.window != (rows, cols))
        drawn = f", drawn from {self.drawn_from:,}" if self.drawn_from else ""
        lines = [
            f"{self.objects} objects{drawn}; their shape suggests a window of {cols}x{rows}{used}",
            f"{self.scenes} backgrounds with {self.windows:,} windows: false-alarm rates down to "
            f"about {20 / max(self.windows, 1):.0e} can be learned",
            f"about {self.memory / 2**20:.0f} MB and {_duration(self.seconds)}",
        ]
        lines += [f"warning: {text}" for text in self.warnings]
        lines += [f"error: {text}" for text in self.errors]
        return "\n".join(lines)


def check_samples(
    crops: Sequence[Crop],
    findings: Findings,
    pictures: Sequence[Picture],
    scenes: Sequence[Scene],
    settings: Settings,
    workers: Workers,
) -> tuple[Check, list[Scene]]:
    """Look at the samples; also returns the scenes without those that must not be used."""
    check = Check(objects=len(crops), window=settings.shape)
    _check_objects(check, crops, findings, settings)
    scenes = _check_scenes(check, pictures, scenes, settings, workers)
    check.scenes = len(scenes)
    count = (settings.n_positives or 0) + (settings.n_negatives or 0)
    rows, cols = settings.shape
    features = rows * rows * cols * cols // 2 if settings.features != "LBP" else rows * cols * 15
    pool = min(settings.capacity, 60 * (settings.n_negatives or 0), check.windows)
    crops_size = sum(crop.pixels.nbytes for crop in crops)
    table = count * (rows + 1) * (cols + 1) * 5
    check.memory = crops_size + table + pool * rows * cols + features * 120 + count * 1500
    depth = settings.recipe(settings.n_stages - 1).depth
    trees = settings.n_stages * min(settings.max_trees, 60) * depth
    work = trees * (count * 1000 / 1.2e9 + features * 1024 / 5e9)
    check.seconds = (work + 2 * check.windows / 8e6) / workers.n_jobs + 5
    return check, scenes


def _check_objects(
    check: Check, crops: Sequence[Crop], findings: Findings, settings: Settings
) -> None:
    rows, cols = settings.shape
    for what, found in (
        ("pictures cannot be read", findings.unreadable),
        ("boxes are smaller than the window", findings.too_small),
        ("boxes leave their picture; border pixels are repeated", findings.clipped),
        ("boxes lie outside their picture and are left out", findings.outside),
        ("objects are exact copies of others and used once", findings.duplicates),
    ):
        if found:
            check.warnings.append(f"{len(found)} {what}: {_some(found)}")
    if not crops:
        why = "no picture has a box"
        if findings.too_small:
            w, h = np.median(findings.sizes, axis=0)
            why = f"the window of {cols}x{rows} is larger than the boxes (median {w:.0f}x{h:.0f})"
        elif findings.unreadable:
            why = f"no picture can be read: {_some(findings.unreadable)}"
        check.errors.append(f"no objects to learn: {why}")
        return
    if len(crops) < FEW_OBJECTS:
        what = "one object" if len(crops) == 1 else f"{len(crops)} objects"
        check.warnings.append(
            f"{what} teach little more than what these pictures look like: variants of them are "
            f"made, but give {FEW_OBJECTS} or better several hundred"
        )
    if settings.features != "LBP":
        plain = np.stack(
            [variant(crop, settings.shape, PLAIN, np.random.default_rng(0)) for crop in crops]
        )
        inner = plain[:, 1:-1, 1:-1].reshape(len(crops), -1).astype(np.float32)
        dull = np.flatnonzero(inner.std(axis=1) <= 10)
        if len(dull):
            names = [crops[k].where for k in dull.tolist()]
            text = f"{len(dull)} objects have so little contrast that no Haar cascade looks at them"
            check.warnings.append(f"{text} (features LBP would): {_some(names)}")
        if len(dull) == len(crops):
            check.errors.append("no object has the contrast that Haar cascades need: use LBP")
    aspect = median_aspect(findings.sizes)
    check.suggested_window = suited_window(aspect)
    alike = aspect * rows / cols  # of the objects and of the window
    if not 1 / UNLIKE < alike < UNLIKE:
        suited = "{1}x{0}".format(*check.suggested_window)
        check.warnings.append(
            f"the objects are {aspect:.2g} times as wide as high (median), the window of "
            f"{cols}x{rows} is not: {1 - min(alike, 1 / alike):.0%} of it shows what is around "
            f"them; give --window auto or {suited}"
        )


def _check_scenes(
    check: Check,
    pictures: Sequence[Picture],
    scenes: Sequence[Scene],
    settings: Settings,
    workers: Workers,
) -> list[Scene]:
    sizes = {_bytes_of(scene.path) for scene in scenes} - {None}  # others need no closer look
    twins = [p for p in pictures if len(p.boxes) and _bytes_of(p.path) in sizes]
    known = {_bytes_digest(p.path): p.where or p.name for p in twins}
    known.pop("", None)
    rows, cols = settings.shape

    def look(scene: Scene) -> tuple[tuple[int, int] | None, str, str]:
        try:
            return scene.size(), "", _bytes_digest(scene.path)
        except VJError as exc:
            return None, str(exc), ""

    usable, unreadable, small, mixed, copies = [], [], [], [], []
    seen: dict[str, str] = {}
    digest = hashlib.sha256()
    for scene, (size, problem, name) in zip(scenes, workers.map(look, scenes), strict=True):
        if size is None:
            unreadable.append(problem)
        elif size[0] < cols or size[1] < rows:
            small.append(f"{scene.name} is {size[0]}x{size[1]}")
        elif name in known and not len(scene.boxes):
            mixed.append(f"{scene.name} is {known[name]}")
        elif name and name in seen:
            copies.append(f"{scene.name} repeats {seen[name]}")
        else:
            seen[name] = scene.name
            usable.append(scene)
            check.windows += _count_windows(size, settings.shape) * settings.views
            digest.update(f"{scene.name} {name} {size} {scene.boxes.tolist()}".encode())
    for what, found in (
        ("backgrounds cannot be read", unreadable),
        ("backgrounds are smaller than the window", small),
        ("backgrounds are pictures of objects too and left out", mixed),
        ("backgrounds are exact copies of others and left out", copies),
    ):
        if found:
            check.warnings.append(f"{len(found)} {what}: {_some(found)}")
    if not usable:
        why = f": {check.warnings[-1]}" if scenes else ""
        check.errors.append(f"no negatives: give pictures that hold no object{why}")
    check.scenes_digest = f"{len(usable)} ({digest.hexdigest()[:12]})"
    return usable


def _count_windows(size: tuple[int, int], window: tuple[int, int]) -> int:
    levels = pyramid.levels((size[1], size[0]), window, SCALE_FACTOR, None, None)
    return sum(level.window_rows * level.window_cols for level in levels)


def _bytes_of(path: Path | zipfile.Path | None) -> int | None:
    """Length of a file; None for what is no file."""
    try:
        if isinstance(path, zipfile.Path):
            return path.root.getinfo(path.at).file_size
        return path.stat().st_size if path is not None else None
    except (OSError, KeyError):
        return None


def _bytes_digest(path: object) -> str:
    """Identity of a file's content; empty for what is no file."""
    if path is None or not hasattr(path, "is_file") or not path.is_file():
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()  # type: ignore[attr-defined]


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return "; ".join(texts[:_SHOWN]) + more


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.0f} minutes"
