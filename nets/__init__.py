"""Convolutional networks on Numba kernels: inference, training, CNN face detectors.

The public names are loaded when first used, so that ``import nets`` costs almost nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    # run: graphs and what they are compiled to
    "nets.onnx_reader": ["load_onnx"],
    "nets.plan": ["Model", "Plan"],
    # learn: tensors, layers, and how a model of them becomes a graph
    "nets.tensor": ["Tensor", "no_grad"],
    "nets.ops.threads": ["threads"],
    "nets.init": ["seed"],
    "nets.layers.module": ["Module", "Parameter"],
    "nets.state": ["load_state", "save_state"],
    "nets.trace": ["compile", "export_onnx", "to_graph"],
    # detect
    "nets.detectors": ["ScrfdDetector", "UltraLightDetector", "YuNetDetector"],
    "nets.detectors.facenet": ["FaceNetDetector"],
    "nets.cards": ["ModelCard", "list_models"],
    "nets.registry": ["load"],
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
_SUBMODULES = ("init", "inside", "layers", "losses", "models", "ops", "optim", "train")

__all__ = [*sorted(_MODULE_OF), *_SUBMODULES]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f"nets.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'nets' has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
