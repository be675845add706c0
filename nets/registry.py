"""Detectors by name or file, and the plug-in of `vj-detect`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nets.cards import card_of, list_models
from vj.errors import NetError, OptionError

OPTIONS = (
    "min_confidence", "score_threshold", "iou_threshold", "size", "second_pass", "min_size",
    "max_size", "n_jobs",
)  # fmt: skip


WEIGHTS = ".safetensors"  # suffix of this project's weight files


def names() -> Mapping[str, str]:
    """Return the bundled detectors, each with a one-line description."""
    cards = list_models().values()
    return {card.name: str(card).partition(": ")[2] for card in cards if card.path}


def open(spec: str, **options: Any) -> Any:
    """Build the detector of a weight file or a name; None if ``spec`` is neither.

    Raises
    ------
    NetError
        The file is broken, or its network is not a known face detector; or the weights
        of the name do not come with the package.
    ParameterError
        An option is unknown, or has an invalid value.
    """
    if not str(spec).lower().endswith((".onnx", WEIGHTS)) and spec not in list_models():
        return None
    if "min_score" in options:  # common name of the option in all detectors
        options.setdefault("score_threshold", options.pop("min_score"))
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise OptionError(
            f"network detectors have no option `{unknown[0]}`; they have {', '.join(OPTIONS)}",
            unknown[0],
            OPTIONS,
        )
    return load(spec, **options)


def load(name_or_path: str | os.PathLike[str], **options: Any) -> Any:
    """Load a model of `list_models`, or a file, as the detector that matches its outputs.

    Parameters
    ----------
    name_or_path : str or path
        A name, a weight file of this project (``.safetensors``), or the ONNX file of a YuNet,
        SCRFD or Ultra-Light.
    **options
        Of the detector: ``min_confidence``, ``size``, ``second_pass``, ``n_jobs`` ...

    Returns
    -------
    FaceNetDetector, YuNetDetector, ScrfdDetector or UltraLightDetector
        Its ``card`` describes the file; None if the file is unknown.

    Raises
    ------
    NetError
        The file is broken or its network is none of these; or the weights of the name do not come
        with the package, or are not those that its card describes.
    """
    from nets.detectors import ScrfdDetector, UltraLightDetector, YuNetDetector
    from nets.detectors.facenet import FaceNetDetector
    from nets.onnx.reader import load_onnx

    path = _path(name_or_path)
    card = card_of(path)
    if path.suffix.lower() == WEIGHTS:
        return FaceNetDetector(path, card=card, **options)
    model = load_onnx(path, n_jobs=options.get("n_jobs", 1))
    for kind in (YuNetDetector, UltraLightDetector, ScrfdDetector):
        if kind.recognises(model.graph):
            return kind(model, card=card, **options)
    outputs = ", ".join(port.name for port in model.outputs)
    raise NetError(
        f"{path}: is no face detector that is known here (YuNet, SCRFD, Ultra-Light): "
        f"its outputs are {outputs}"
    )


def _path(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the verified file of a bundled model, or the caller's own."""
    card = list_models().get(os.fspath(name_or_path))
    if card is None:
        return Path(name_or_path)
    if card.path is None:
        raise NetError(
            f"the weights of {card.name!r} do not come with the package: get {card.source} "
            f"(licence: {card.licence}) and give the path of the file"
        )
    if card_of(card.path) != card:
        raise NetError(f"{card.path}: is not the file that its card describes: its digest differs")
    return card.path
