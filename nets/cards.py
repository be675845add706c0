"""Model cards: input format, origin, licence and scores of models.

A bundled model is a weight file in ``nets/data`` next to its card, the same name with ``.json``.
``published.json`` describes files published by others that the detectors can run: these are
recognised by their digests and never shipped.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vj.errors import NetError, SourceError
from vj.records import Record, load_json, shown

_FOLDER = Path(__file__).parent / "data"
_WEIGHTS = (".onnx", ".safetensors")
_TINY = 1e-6
_ONE = int(np.float32(1).view(np.uint32))


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Metadata of a model.

    Attributes
    ----------
    name : str
    description, training_data, licence, source : str
    detector : str
        Class that runs it.
    channels : str
        Channel order of the network's input, "RGB" or "BGR".
    mean, std : float
        The network's input is ``(value - mean) / std`` of values from 0 to 255.
    sha256 : tuple of str
        Digests of its published files.
    scores : mapping
        On 200 photographs with 939 faces, nearly half of them behind masks: average precision (AP)
        and recall, by the protocol of `vj.metrics` and as ``vj-eval`` prints them.
    calibration : (slope, intercept) or None
        Maps the logit of the score to the logit of the face probability.
    score_threshold : float or None
        Default of the detector, if it differs from that of its class.
    path : Path or None
        The weights, if they are bundled.
    details : mapping
        Other entries of the card.
    """

    name: str
    description: str
    detector: str
    channels: str
    mean: float
    std: float
    training_data: str
    licence: str
    source: str
    sha256: tuple[str, ...]
    scores: Mapping[str, float]
    calibration: tuple[float, float] | None = None
    score_threshold: float | None = None
    path: Path | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.channels not in ("RGB", "BGR") or not self.std > 0:
            raise NetError(
                f"card of {self.name!r}: `channels` must be RGB or BGR and `std` positive, got "
                f"{shown(self.channels)} and {self.std}"
            )
        if self.calibration is not None:
            numbers = np.array(self.calibration, np.float64)
            if numbers.shape != (2,) or not np.isfinite(numbers).all() or numbers[0] <= 0:
                raise NetError(
                    f"card of {self.name!r}: `calibration` must be a positive slope and an "
                    f"intercept, got {self.calibration}"
                )
        if self.score_threshold is not None and not 0 < self.score_threshold < 1:
            raise NetError(
                f"card of {self.name!r}: `score_threshold` must be between 0 and 1, got "
                f"{self.score_threshold}"
            )

    def __str__(self) -> str:
        least = self.min_confidence
        default = "" if least is None else f"; by default min_confidence={least:g}"
        return f"{self.name}: {self.description} ({self.licence}; {self.source}{default})"

    @property
    def min_confidence(self) -> float | None:
        """Confidence at the default threshold, to three digits."""
        if self.score_threshold is None:
            return None
        least = self.confidence(np.array([self.score_threshold], np.float32))
        return round(float(least[0]), 3)

    def confidence(self, score: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return P(face | score); the score itself, 0 to 1, without a calibration."""
        return calibrated(score, self.calibration)

    def score_at(self, confidence: float) -> float:
        """Return the least float32 score of at least this confidence; 1 if there is none."""
        low, high = 0, _ONE  # bits of floats, which are ordered as the floats are
        while low < high:
            middle = (low + high) // 2
            score = np.array([middle], np.uint32).view(np.float32)
            if self.confidence(score)[0] >= np.float32(confidence):
                high = middle
            else:
                low = middle + 1
        return float(np.uint32(low).view(np.float32))


def calibrated(
    score: NDArray[np.float32], calibration: Sequence[float] | None
) -> NDArray[np.float32]:
    """Return calibrated probabilities of scores; the scores themselves without a calibration."""
    if calibration is None:
        return score
    slope, intercept = calibration
    odds = slope * logit(score) + intercept
    with np.errstate(over="ignore"):  # 1 / inf is 0, as intended
        return np.asarray(1 / (1 + np.exp(-odds)), np.float32)


def logit(score: NDArray[Any]) -> NDArray[np.float64]:
    """Return the logit of scores, clipped away from 0 and 1."""
    inside = np.clip(np.asarray(score, np.float64), _TINY, 1 - _TINY)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def list_models() -> dict[str, ModelCard]:
    """Return the known models by name, bundled ones first.

    Examples
    --------
    >>> list_models()["yunet-n"].licence
    'Apache-2.0'
    """
    return dict(_cards())


def card_of(path: Path) -> ModelCard | None:
    """Return the card of a weight file, by its digest; None if it is unknown.

    Raises
    ------
    NetError
        The file cannot be read.
    """
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as exc:
        raise NetError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    return next((card for card in _cards().values() if digest in card.sha256), None)


@cache
def _cards() -> dict[str, ModelCard]:
    return {card.name: card for card in (*_shipped(), *_published())}


def _shipped() -> Iterator[ModelCard]:
    for path in sorted(_FOLDER.iterdir()):
        beside = path.with_suffix(".json")
        if path.suffix in _WEIGHTS and beside.is_file():
            yield read_card(beside, path)


def _published() -> Iterator[ModelCard]:
    path = _FOLDER / "published.json"
    with _net_errors():
        for name, entries in Record(load_json(path), str(path)).values.items():
            yield _card(name, Record(entries, f"{path}: {name}"))


def read_card(path: Path, weights: Path) -> ModelCard:
    """Read the card of a weight file.

    Raises
    ------
    NetError
        It is missing or malformed; the message names the entry.
    """
    with _net_errors():
        return _card(weights.stem, Record(load_json(path), f"card {path}"), weights)


@contextlib.contextmanager
def _net_errors() -> Iterator[None]:
    try:
        yield
    except SourceError as exc:
        raise NetError(str(exc)) from exc


def _card(name: str, entries: Record, path: Path | None = None) -> ModelCard:
    scores = Record(entries.raw("scores"), f"{entries.where}, scores")
    known: dict[str, Any] = {
        "mean": entries.number("mean"),
        "std": entries.number("std"),
        "sha256": tuple(_hex(text, entries.where) for text in entries.entries("sha256")),
        "scores": {key: scores.number(key) for key in scores.values},
        "calibration": None,
        "score_threshold": None,
    }
    if "calibration" in entries:
        known["calibration"] = tuple(entries.numbers("calibration", 2))
    if "score_threshold" in entries:
        known["score_threshold"] = entries.number("score_threshold")
    for key in ("description", "detector", "channels", "training_data", "licence", "source"):
        known[key] = entries.text(key)
    details = {key: value for key, value in entries.values.items() if key not in known}
    return ModelCard(name, path=path, details=details, **known)


def _hex(value: Any, where: str) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise SourceError(f"{where}, sha256: wanted 64 hexadecimal digits, got {shown(value)}")
    return value
