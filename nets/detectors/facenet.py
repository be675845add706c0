"""Our own face detectors: `nets.models.face`, from weights that come with the package."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from inspect import signature
from typing import Any

import numpy as np

from nets.arrays import Array
from nets.autograd.tensor import Tensor
from nets.compiler import Model, Plan
from nets.detectors.base import F32, Found, NetDetector, Pixels
from nets.graph.ir import Graph
from nets.models.face import ANSWERS, STRIDES, FaceNet
from nets.nn.layers import Module
from nets.nn.state import load_state
from nets.tracing import to_graph
from vj import limits
from vj.errors import NetError, SourceError
from vj.kernels.jit import shapes_only
from vj.records import Record, brief, parse_json, shown

SCALE = 1 / 64  # pixels reach the net times this; nothing is subtracted, so zeros are black
OUTPUT = "answers"
DEFAULT = 0.77  # score threshold of weights whose card names none


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
    if "facenet" not in notes:
        raise NetError(f"{path}: does not say that it holds the weights of a FaceNet")
    try:
        settings = _settings(notes["facenet"], state, f"{path}: FaceNet")
    except SourceError as exc:
        raise NetError(str(exc)) from exc
    net = FaceNet(**settings)
    try:
        net.load_state_dict(state)
    except NetError as exc:
        raise NetError(f"{path}: {brief(exc)}") from exc
    return net


def _settings(text: str, state: Mapping[str, Array], where: str) -> dict[str, Any]:
    """How the net is built, from the header of the file, whose arrays must be those of such a net.

    Otherwise a header of a few bytes would ask for a net that no memory holds.
    """
    header = Record(parse_json(text.encode(), where), where)
    settings = {key: p.default for key, p in signature(FaceNet).parameters.items()}
    for key in header.values:
        if key not in settings:
            raise NetError(f"{where}: there is no setting {shown(key)}")
        settings[key] = _setting(header, key, settings[key])
    for name, shape in _convolutions(**settings):
        got = state[name].shape if name in state else "nothing"
        if got != shape:
            raise NetError(f"{where}: the header asks for {name} of {shape}, the file has {got}")
    return settings


def _setting(header: Record, key: str, like: Any) -> Any:
    bounds = range(limits.NET_DEPTH + 1) if key == "depths" else range(1, limits.NET_CHANNELS + 1)
    if isinstance(like, bool):
        if not isinstance(header.raw(key), bool):
            raise NetError(f"{header.where}, {key}: wanted true or false")
        return header.raw(key)
    if isinstance(like, int):
        return header.whole(key, bounds)
    return header.wholes(key, len(like), bounds)


def _convolutions(
    stem: Sequence[int], width: int, depths: Sequence[int], separable: bool, **_: Any
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the weights that make a net large: at least one of each block."""
    side = 1 if separable else 3
    yield "answer.weight", (ANSWERS, width, 1, 1)
    yield "stem.0.weight", (stem[0], 3, 3, 3)
    yield "lateral.0.0.weight", (width, width, 1, 1)
    yield "head.0.weight", (width, width, side, side)
    before = stem[0]
    for stage, depth in zip(("stage4", "stages.0", "stages.1", "stages.2"), depths, strict=True):
        channels = stem[1] if stage == "stage4" else width
        first = "1.conv1" if separable else "0.0"
        yield f"{stage}.{first}.weight", (channels, before, side, side)
        for block in range(depth):
            part = f"{block + 2}.conv1" if separable else f"{block + 1}.conv1.0"
            yield f"{stage}.{part}.weight", (channels, channels, side, side)
        before = channels


class FaceNetDetector(NetDetector):
    """Faces and five landmarks by a network of our own.

    Parameters
    ----------
    model : str, path or Model
        Weights (``.safetensors``).
    **options
        Those of `NetDetector`; unless given, ``score_threshold`` is 0.77, or what the card says
        (`nets.load`), and ``iou_threshold`` 0.4, which boxes_dev prefers to 0.3 and held-out
        pictures hardly tell from it.
    """

    pixels = Pixels(scale=SCALE)
    usual_score = DEFAULT
    about = "FaceNet"

    def __init__(self, model: str | os.PathLike[str] | Model, **options: Any) -> None:
        if not isinstance(model, Model):
            model = model_of(read_net(model), n_jobs=options.get("n_jobs", 1))
        super().__init__(model, **{"iou_threshold": 0.4, **options})

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
