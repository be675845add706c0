"""What is compiled for networks: few functions, fewer signatures, all known by name."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import nets.kernels
from nets.kernels.conv import LAYER
from vj.kernels.jit import Kernel

# All layers share one signature, so that a plan can call them by address.
LAYERS = {
    "conv_depthwise", "conv_direct", "conv_winograd2", "conv_winograd3", "conv_winograd4",
    "clear_halo", "image_in", "map_affine", "map_binary", "map_fill", "map_unary", "maxout",
    "norm_group", "norm_response", "planes_in", "pool", "resize_linear", "resize_nearest",
    "softmax", "unpool",
}  # fmt: skip
OTHERS = {"gru_gates", "lstm_gates", "planes_out", "run_tasks"}


# Files of these kernels; those of the others serve training only.
FILES = {
    "conv", "depthwise", "layout", "normalisation", "pointwise", "pooling", "recurrent", "resize",
    "softmax", "winograd",
}  # fmt: skip
MOST = 64  # kernels of all files together: each costs seconds when it is first compiled


def kernels(stems):
    found = {}
    for stem in stems:
        module = import_module(f"nets.kernels.{stem}")
        for name, item in vars(module).items():
            if isinstance(item, Kernel):
                found[name] = item
    return found


def test_the_list():
    inference = kernels(FILES)
    assert {name for name, k in inference.items() if k.signature == LAYER} == LAYERS
    assert inference.keys() - LAYERS == OTHERS


def test_there_are_few():
    files = {path.stem for path in Path(nets.kernels.__file__).parent.glob("*.py")}
    found = kernels(files - {"__init__"})
    assert len(found) <= MOST, sorted(found)
    assert {name for name, k in found.items() if k.signature == LAYER} == LAYERS


def test_importing_nets_costs_nothing():
    """Neither Numba nor onnx is loaded before a name is used."""
    code = "import sys, nets; print(sorted({'numba', 'onnx', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
