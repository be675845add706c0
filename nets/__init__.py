"""Convolutional networks on Numba kernels: inference, training, CNN face detectors.

The public names are loaded when first used, so that ``import nets`` costs almost nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from vj.moved import redirect

_HOME = {
    # inference: graphs and compiled plans
    "nets.onnx.reader": ["load_onnx"],
    "nets.compiler": ["Model", "Plan"],
    # training: tensors, layers, and tracing of models to graphs
    "nets.autograd.tensor": ["Tensor", "no_grad"],
    "nets.runtime.threads": ["threads"],
    "nets.nn.init": ["seed"],
    "nets.nn.layers.module": ["Module", "Parameter"],
    "nets.nn.state": ["load_state", "save_state"],
    "nets.tracing": ["compile", "to_graph"],
    "nets.onnx.writer": ["export_onnx"],
    # detect
    "nets.detectors": ["ScrfdDetector", "UltraLightDetector", "YuNetDetector"],
    "nets.detectors.facenet": ["FaceNetDetector"],
    "nets.cards": ["ModelCard", "list_models"],
    "nets.registry": ["load"],
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
_SUBMODULES = ("autograd", "interpret", "models", "nn", "training")
_MOVED = {
    "nets.init": "nets.nn.init",
    "nets.inside": "nets.interpret",
    "nets.layers": "nets.nn.layers",
    "nets.losses": "nets.nn.losses",
    "nets.onnx_reader": "nets.onnx.reader",
    "nets.ops": "nets.autograd.ops",
    "nets.optim": "nets.nn.optim",
    "nets.plan": "nets.compiler",
    "nets.state": "nets.nn.state",
    "nets.tensor": "nets.autograd.tensor",
    "nets.trace": "nets.tracing",
    "nets.train": "nets.training",
}
redirect(_MOVED)

__all__ = [*sorted(_MODULE_OF), *_SUBMODULES]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES or f"nets.{name}" in _MOVED:
        return import_module(f"nets.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'nets' has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
