"""Our own face detectors: `nets.models.face`, from weights that come with the package."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from nets.autograd.tensor import Tensor
from nets.compiler import Model, Plan
from nets.detectors.base import F32, Found, NetDetector, Pixels
from nets.graph.ir import Graph
from nets.models.face import STRIDES, FaceNet
from nets.nn.layers import Module
from nets.nn.state import load_state
from nets.tracing import to_graph
from vj.errors import NetError
from vj.kernels.jit import shapes_only

SCALE = 1 / 64  # pixels reach the net times this; nothing is subtracted, so zeros are black
OUTPUT = "answers"


class Cells(Module):
    """A `FaceNet` that gives the raw answers of all cells: what is trained, and what is run."""

    def __init__(self, net: FaceNet) -> None:
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, P, 16)."""
        return self.net.cells(x)


def read_net(path: str | os.PathLike[str]) -> FaceNet:
    """The net of a file of weights, which says how it is built.

    Raises
    ------
    NetError
        The file is damaged, or holds weights of another kind of net.
    """
    state, notes = load_state(path)
    try:
        net = FaceNet(**json.loads(notes["facenet"]))
    except (KeyError, ValueError, TypeError):
        raise NetError(f"{path}: does not say that it holds the weights of a FaceNet") from None
    net.load_state_dict(state)
    return net


class FaceNetDetector(NetDetector):
    """Faces and five landmarks by a network of our own.

    Parameters
    ----------
    model : str, path or Model
        Weights (``.safetensors``).
    **options
        Those of `NetDetector`; unless given, ``score_threshold`` is 0.77, at which about seven of
        ten detections are faces by held-out pictures, and ``iou_threshold`` 0.4, which boxes_dev
        prefers to 0.3 and held-out pictures hardly tell from it.
    """

    pixels = Pixels(scale=SCALE)
    about = "FaceNet"

    def __init__(self, model: str | os.PathLike[str] | Model, **options: Any) -> None:
        if not isinstance(model, Model):
            model = model_of(read_net(model), n_jobs=options.get("n_jobs", 1))
        super().__init__(model, **{"score_threshold": 0.77, "iou_threshold": 0.4, **options})

    @classmethod
    def recognises(cls, graph: Graph) -> bool:  # noqa: D102
        return [port.name for port in graph.outputs] == [OUTPUT]

    def decode(self, plan: Plan, image: int, outputs: dict[str, F32]) -> Found:
        """As `nets.detectors.yunet`, from logits: few cells need an exponential."""
        *_, rows, cols = plan.special.specs[self.model.inputs[0].name].dims
        raw, least = outputs[OUTPUT][image], self.score_threshold**2
        with np.errstate(divide="ignore"):
            logit = np.log(least) - np.log1p(-least)  # neither factor of a score can be lower
        at = np.flatnonzero(np.minimum(raw[:, 0], raw[:, 1]) >= logit)
        own = raw[at]
        score = np.sqrt(1 / (1 + np.exp(-own[:, 0])) / (1 + np.exp(-own[:, 1])))
        good = score >= self.score_threshold
        at, own, score = at[good], own[good], score[good]
        cell, stride = _place(at, rows, cols)
        centre = (cell + own[:, 2:4]) * stride
        half = np.exp(own[:, 4:6]) * (stride / 2)
        marks = (own[:, 6:].reshape(-1, 5, 2) + cell[:, None]) * stride[:, None]
        xyxy = np.concatenate([centre - half, centre + half], 1)
        return Found(xyxy.astype(np.float32), score.astype(np.float32), marks.astype(np.float32))


def model_of(net: FaceNet, n_jobs: int = 1) -> Model:
    """The net for our engine, images of any size whose sides are multiples of 32."""
    from dataclasses import replace

    with shapes_only(), np.errstate(all="ignore"):  # the kernels of training need not be compiled
        graph = to_graph(Cells(net), (64, 96), dynamic=("batch", "height", "width"))
    (port,) = graph.outputs
    nodes = tuple(
        replace(n, outputs=tuple(OUTPUT if o == port.name else o for o in n.outputs))
        for n in graph.nodes
    )
    return Model(replace(graph, nodes=nodes, outputs=(replace(port, name=OUTPUT),)), n_jobs=n_jobs)


def _place(at: np.ndarray[Any, Any], rows: int, cols: int) -> tuple[F32, F32]:
    """Column and row, and stride, of cells by their numbers."""
    counts = [(rows // s) * (cols // s) for s in STRIDES]
    level = np.searchsorted(np.cumsum(counts), at, side="right")
    stride = np.array(STRIDES)[level]
    within = at - np.concatenate([[0], np.cumsum(counts)[:-1]])[level]
    cell = np.stack([within % (cols // stride), within // (cols // stride)], 1)
    return cell.astype(np.float32), stride[:, None].astype(np.float32)
