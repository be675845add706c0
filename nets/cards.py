"""What is known of models: what they take, where they come from, what one may do with them, scores.

A model that comes with the package is a file of weights in ``nets/data`` with its card, the same
name with ``.json``, beside it. ``published.json`` describes files that others have published and
that the detectors here can run: these are recognised by their digests and never shipped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vj.errors import NetError

_FOLDER = Path(__file__).parent / "data"
_WEIGHTS = (".onnx", ".safetensors")
_TINY = 1e-6


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known of a model.

    Attributes
    ----------
    name : str
    description, training_data, licence, source : str
    detector : str
        Class that runs it.
    channels : str
        Order of the channels that the network takes, "RGB" or "BGR".
    mean, std : float
        The network takes ``(value - mean) / std`` of values from 0 to 255.
    sha256 : tuple of str
        Digests of the files that it has been published in.
    scores : mapping
        On 200 photographs with 939 faces, nearly half of them behind masks: average precision (AP)
        and recall, by the protocol of `vj.metrics` and as ``vj-eval`` prints them.
    calibration : (slope, intercept) or None
        Of the logit of the score, to that of the probability of a face.
    path : Path or None
        The weights, if they come with the package.
    details : mapping
        Whatever else the card says.
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
    path: Path | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.calibration is not None:
            numbers = np.array(self.calibration, np.float64)
            if numbers.shape != (2,) or not np.isfinite(numbers).all() or numbers[0] <= 0:
                raise NetError(
                    f"card of {self.name!r}: `calibration` must be a positive slope and an "
                    f"intercept, got {self.calibration}"
                )

    def __str__(self) -> str:
        return f"{self.name}: {self.description} ({self.licence}; {self.source})"

    def confidence(self, score: NDArray[np.float32]) -> NDArray[np.float32]:
        """P(face | score); the score itself, 0 to 1, where nobody has measured that."""
        if self.calibration is None:
            return score
        slope, intercept = self.calibration
        odds = slope * logit(score) + intercept
        return np.asarray(1 / (1 + np.exp(-odds)), np.float32)


def logit(score: NDArray[Any]) -> NDArray[np.float64]:
    """Logarithm of the odds of scores from 0 to 1, which are kept off both ends."""
    inside = np.clip(np.asarray(score, np.float64), _TINY, 1 - _TINY)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def list_models() -> dict[str, ModelCard]:
    """The models that are known, by name; those that come with the package first.

    Examples
    --------
    >>> list_models()["yunet-n"].licence
    'Apache-2.0'
    """
    return dict(_cards())


def card_of(path: Path) -> ModelCard | None:
    """The card of a file of weights, by its digest; None if nothing is known of it.

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
            yield _card(path.stem, _read(beside), path)


def _published() -> Iterator[ModelCard]:
    for name, entries in _read(_FOLDER / "published.json").items():
        yield _card(name, entries)


def _card(name: str, entries: dict[str, Any], path: Path | None = None) -> ModelCard:
    known = {key: entries.pop(key) for key in ModelCard.__slots__ if key in entries}
    known["sha256"] = tuple(known["sha256"])
    if known.get("calibration"):
        known["calibration"] = tuple(known["calibration"])
    return ModelCard(name, path=path, details=entries, **known)


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text("utf-8")))
