"""Old import paths of modules that have moved."""

import importlib
import sys

import pytest

import nets
import vj

OLD = {
    "nets.layers": "nets.nn.layers",
    "nets.layers.module": "nets.nn.layers.module",
    "nets.losses": "nets.nn.losses",
    "nets.ops.pooling": "nets.autograd.ops.pooling",
    "nets.train": "nets.training",
    "nets.inside": "nets.interpret",
    "nets.onnx_reader": "nets.onnx.reader",
    "vj.images": "vj.io.images",
    "vj.evaluate.matching": "vj.metrics.matching",
}


@pytest.mark.parametrize("old", OLD)
def test_old_path_gives_the_same_module_and_warns(old):
    for name in [name for name in sys.modules if name == old or name.startswith(old + ".")]:
        del sys.modules[name]
    with pytest.warns(DeprecationWarning, match=f"import {OLD[old].split('.')[0]}"):
        module = importlib.import_module(old)
    assert module is importlib.import_module(OLD[old])


def test_old_attributes_of_the_package():
    sys.modules.pop("nets.layers", None)
    vars(nets).pop("layers", None)
    with pytest.warns(DeprecationWarning, match=r"nets.layers has moved"):
        assert nets.layers.Linear is nets.nn.layers.Linear


def test_unknown_modules_are_still_unknown():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("nets.no_such_module")
    assert vj.__version__
