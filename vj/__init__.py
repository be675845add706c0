"""Face detection: Viola-Jones cascades and CNNs behind one ``detect(image)``.

The public names are loaded when first used (PEP 562), so that ``import vj`` costs almost nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from vj.moved import redirect

__version__ = "0.1.0"

_HOME = {
    "vj.io.source": ["frames"],
    "vj.boxes": ["iou"],
    "vj.cascade.model": ["Cascade"],
    "vj.cascade.zoo": ["list_cascades", "load_cascade", "save_cascade"],
    "vj.detect.detector": ["CascadeDetector"],
    "vj.detect.registry": ["detect"],
    "vj.detections": ["Detections"],
    "vj.draw": ["draw", "redact"],
    "vj.errors": [
        "CascadeError",
        "ImageError",
        "NetError",
        "ParameterError",
        "SinkError",
        "SourceError",
        "StreamError",
        "TrainingError",
        "VJError",
    ],
    "vj.evaluate.evaluation": ["evaluate"],
    "vj.features.correlation": ["convolve", "correlate"],
    "vj.features.haar": ["draw_feature", "enumerate_haar", "haar_features"],
    "vj.features.integral": [
        "integral_image",
        "rect_sum",
        "rect_sum_naive",
        "squared_integral_image",
        "tilted_integral_image",
    ],
    "vj.features.lbp": ["enumerate_lbp", "lbp_codes"],
    "vj.features.matching": ["match_template"],
    "vj.features.named": ["named_kernel"],
    "vj.io.images": ["as_gray", "read_image", "sample", "write_image"],
    "vj.train.trainer": ["CascadeTrainer"],
    "vj.detect.grouping": ["group_boxes", "nms"],
    "vj.track": ["Tracker"],
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
_SUBMODULES = ("compat",)
redirect(
    {
        "vj.evaluate.annotations": "vj.datasets.annotations",
        "vj.evaluate.curves": "vj.metrics.curves",
        "vj.evaluate.matching": "vj.metrics.matching",
        "vj.files": "vj.io.files",
        "vj.images": "vj.io.images",
    }
)

__all__ = ["__version__", *sorted(_MODULE_OF), *_SUBMODULES]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f"vj.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'vj' has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


class _Package(ModuleType):
    """`vj.detect` is the function, `vj.evaluate` too: a folder of the name must not hide it."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _MODULE_OF and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from vj import compat as compat
