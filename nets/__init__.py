"""Convolutional networks on Numba kernels: inference, training, CNN face detectors.

The public names are loaded when first used, so that ``import nets`` costs almost nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "nets.onnx_reader": ["load_onnx"],
    "nets.detectors": ["ScrfdDetector", "UltraLightDetector", "YuNetDetector"],
    "nets.plan": ["Model", "Plan", "compile"],
    "nets.ops.threads": ["threads"],
    "nets.cards": ["ModelCard", "list_models"],
    "nets.registry": ["load"],
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [*sorted(_MODULE_OF)]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'nets' has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
