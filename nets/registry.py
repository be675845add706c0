"""Networks by file: which detector a graph is, and the plug-in that `vj-detect` asks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vj.errors import NetError, ParameterError

OPTIONS = (
    "score_threshold", "iou_threshold", "size", "second_pass", "min_size", "max_size", "n_jobs",
)  # fmt: skip


def names() -> Mapping[str, str]:
    """Detectors that can be opened by name: none, the weights are the user's own files."""
    return {}


def open(spec: str, **options: Any) -> Any:
    """Make the detector of an ONNX file; None where ``spec`` names no such file.

    Raises
    ------
    NetError
        The file is broken, or its network is no face detector that is known here.
    ParameterError
        An option is unknown, or has a value that makes no sense.
    """
    if not str(spec).lower().endswith(".onnx"):
        return None
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise ParameterError(
            f"network detectors have no option `{unknown[0]}`; they have {', '.join(OPTIONS)}"
        )
    return load(spec, **options)


def load(path: str | os.PathLike[str], **options: Any) -> Any:
    """Read an ONNX file as the detector that its outputs make it.

    Parameters
    ----------
    path : str or path
        A YuNet, SCRFD or Ultra-Light file.
    **options
        Of the detector: ``score_threshold``, ``size``, ``second_pass``, ``n_jobs`` ...

    Returns
    -------
    YuNetDetector, ScrfdDetector or UltraLightDetector

    Raises
    ------
    NetError
        The file is broken, or its network is none of these.
    """
    from nets.detectors import ScrfdDetector, UltraLightDetector, YuNetDetector
    from nets.onnx_reader import load_onnx

    model = load_onnx(Path(path), n_jobs=options.get("n_jobs", 1))
    for kind in (YuNetDetector, UltraLightDetector, ScrfdDetector):
        if kind.recognises(model.graph):
            return kind(model, **options)
    outputs = ", ".join(port.name for port in model.outputs)
    raise NetError(
        f"{path}: is no face detector that is known here (YuNet, SCRFD, Ultra-Light): "
        f"its outputs are {outputs}"
    )
