"""Weight cards: architecture, data, training recipe and scores of a weight file.

Without its card a weight file can neither be used correctly nor reproduced.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nets.nn.layers.module import Module
from nets.training.run import Run
from vj.errors import NetError, SourceError
from vj.io.files import replacing
from vj.records import Record, parse_json, read_bytes

_HOW = ("batch_size", "shuffle", "augment", "mean", "std", "seed", "drop_last")


@dataclass(frozen=True)
class Card:
    """Metadata of a weight file.

    Attributes
    ----------
    architecture : dict
        Name, number of parameters, layers.
    data : dict
        Samples, input, splits.
    recipe : dict
        Loss, optimiser, epochs, batches, augmentation, seed.
    scores : dict
        Measured quality, and on which data.
    notes : dict
        Licence, purpose, limits.
    sha256 : str
        Digest of the weight file.
    """

    architecture: dict[str, Any]
    data: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""


def save_weights(
    path: str | os.PathLike[str],
    model: Module,
    *,
    run: Run | None = None,
    data: dict[str, Any] | None = None,
    scores: dict[str, Any] | None = None,
    **notes: Any,
) -> Card:
    """Save the weights (safetensors) and next to them their card (same name, ``.json``).

    Parameters
    ----------
    path : path
        Weight file.
    model : Module
    run : Run, optional
        Source of the recipe, the data and the metrics of the last epoch.
    data, scores : dict, optional
        Added to the entries from ``run``.
    **notes
        Licence, purpose and other notes.

    Returns
    -------
    Card
    """
    model.save(path)
    card = Card(
        architecture={
            "name": type(model).__name__,
            "parameters": model.n_parameters,
            "layers": repr(model).splitlines(),
        },
        data={**_described(run, recipe=False), **(data or {})},
        recipe=_recipe(run) if run else {},
        scores={**(run.rows[-1] if run and run.rows else {}), **(scores or {})},
        notes=notes,
        sha256=_sha256(Path(path)),
    )
    with replacing(_beside(path)) as file:
        file.write(json.dumps(asdict(card), indent=1).encode())
    return card


def read_card(path: str | os.PathLike[str]) -> Card:
    """Read the card of a weight file.

    Raises
    ------
    SourceError
        The card is missing or not a card.
    NetError
        It belongs to other weights.
    """
    place = _beside(path)
    data = read_bytes(place)
    try:
        card = _card(Record(parse_json(data, "line"), "the document"))
    except SourceError as exc:
        raise SourceError(f"{place}: cannot read as a weight card: {exc}") from exc
    if card.sha256 != _sha256(Path(path)):
        raise NetError(f"{path}: is not the file that {place.name} describes: its digest differs")
    return card


def _card(known: Record) -> Card:
    parts = {
        key: dict(Record(known.raw(key), f"{known.where}, {key}").values)
        for key in ("architecture", "data", "recipe", "scores", "notes")
        if key == "architecture" or key in known
    }
    return Card(**parts, sha256=known.text("sha256", ""))


def _recipe(run: Run) -> dict[str, Any]:
    return {
        "loss": getattr(run.loss_function, "__name__", repr(run.loss_function)),
        "optimiser": {"name": type(run.optimiser).__name__, **_plain(run.optimiser.groups[0])},
        "schedule": run.schedule
        and {"name": type(run.schedule).__name__, **_plain(vars(run.schedule))},
        "epochs": run.epoch,
        "steps": run.step,
        "stopped": run.stopped,
        **_described(run, recipe=True),
    }


def _described(run: Run | None, *, recipe: bool) -> dict[str, Any]:
    """Return the description of the batches, by settings or by dataset."""
    found = run.data.describe() if run else {}
    return {key: value for key, value in found.items() if (key in _HOW) == recipe}


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    kinds = (bool, int, float, str, tuple)
    return {key: value for key, value in settings.items() if isinstance(value, kinds)}


def _beside(path: str | os.PathLike[str]) -> Path:
    return Path(path).with_suffix(".json")


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as exc:
        raise SourceError(f"{path}: cannot read: {exc.strerror or exc}") from exc
