"""What all detectors share: scaling, padding, batches, a second pass, suppression.

A family of networks says how pixels become numbers (`Pixels`) and how its outputs become boxes
(`decode`); everything else stands here.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nets.cards import ModelCard
from nets.compiler import Model, Plan
from nets.graph.ir import Graph
from nets.kernels import layout
from nets.onnx.reader import load_onnx
from nets.operators.layer import Step
from vj.detections import Detections
from vj.errors import NetError, ParameterError
from vj.io.images import as_rgb
from vj.kernels import group

F32 = NDArray[np.float32]
SMALLEST = 32  # pixels of the longer side that a coarse pass still looks at
BATCH = 8  # images that run together


@dataclass(frozen=True)
class Pixels:
    """How an image becomes the input of a network: ``value * scale + shift``, RGB or BGR."""

    scale: float = 1.0
    shift: float = 0.0
    bgr: bool = False


class Found(NamedTuple):
    """Faces above the threshold, in pixels of the network's input, in any order."""

    xyxy: F32
    score: F32
    landmarks: F32 | None


class NetDetector(ABC):
    """Base of the network detectors.

    Parameters
    ----------
    model : str, path or Model
        ONNX file of the family, or a model that was read already.
    min_confidence : float, optional
        0 to 1; what is less probably a face is not reported. Default: what the card says.
    score_threshold : float, optional
        Instead: 0 to 1, of the network's own score, which is not calibrated. Default: 0.6, where no
        card says more.
    iou_threshold : float
        0 to 1; of two boxes that overlap more the better one stays.
    size : int or None
        Images whose longer side exceeds this many pixels are scaled down to it; None never scales.
    second_pass : bool
        Look again at a quarter of the size: finds faces that fill the image.
    min_size, max_size : int, optional
        Limits of the longer side of a face, in pixels of the image.
    n_jobs : int
        Threads; the result does not depend on it.
    card : ModelCard, optional
        What is known of the weights. Without a calibration `confidence` is the score.

    Raises
    ------
    ParameterError
        A parameter has a value that makes no sense.
    NetError
        The file is no network of this family.
    """

    stride = 32  # input sizes are multiples of this
    pixels = Pixels()
    usual_score = 0.6  # of what is reported where no card says more
    least_score = 0.02  # of evaluations: thousands of boxes score less, hardly one of them a face
    about = ""

    def __init__(
        self,
        model: str | os.PathLike[str] | Model,
        *,
        min_confidence: float | None = None,
        score_threshold: float | None = None,
        iou_threshold: float = 0.3,
        size: int | None = 640,
        second_pass: bool = False,
        min_size: int | tuple[int, int] | None = None,
        max_size: int | tuple[int, int] | None = None,
        n_jobs: int = 1,
        card: ModelCard | None = None,
    ) -> None:
        self.card = card
        self.model = model if isinstance(model, Model) else load_onnx(model, n_jobs=n_jobs)
        self._set_threshold(min_confidence, score_threshold)
        self.iou_threshold = _share("iou_threshold", iou_threshold)
        if size is not None and (not isinstance(size, int) or size < SMALLEST):
            raise ParameterError(f"`size` must be None or at least {SMALLEST}, got {size!r}")
        self.size, self.second_pass = size, second_pass
        self.min_size, self.max_size = _side("min_size", min_size), _side("max_size", max_size)
        graph = self.model.graph
        if not self.recognises(graph):
            outputs = ", ".join(port.name for port in self.model.outputs)
            raise NetError(f"{graph.source}: is no {self.about}: outputs are {outputs}")
        self._swap = self.pixels.bgr
        turned = _with_channels_reversed(graph) if self._swap else None
        if turned is not None:  # BGR weights in RGB order: pixels need not be swapped
            self.model, self._swap = Model(turned, n_jobs=self.model.n_jobs), False

    # ----------------------------------------------------------------- what a family defines

    @classmethod
    @abstractmethod
    def recognises(cls, graph: Graph) -> bool:
        """Whether a graph belongs to the family."""

    @abstractmethod
    def decode(self, plan: Plan, image: int, outputs: dict[str, F32]) -> Found:
        """Boxes of one image of a batch; `outputs` are valid until the next run."""

    # ----------------------------------------------------------------- public

    @property
    def threshold(self) -> float:
        """The least score of what is reported."""
        return self.score_threshold

    @property
    def min_confidence(self) -> float:
        """The least confidence of what is reported."""
        least = self._confidence(np.array([self.score_threshold], np.float32))
        return round(float(least[0]), 6)  # scores are float32

    def lowered(self, min_score: float | None = None) -> NetDetector:
        """The same detector at its lowest threshold, or at ``min_score``, to draw curves with.

        It shares the network, and so the memory, of this one.
        """
        least = min(self.least_score, self.score_threshold) if min_score is None else min_score
        other = copy(self)
        other.score_threshold = _share("min_score", least)
        return other

    def detect(self, image: Any) -> Detections:
        """Find the faces in an image.

        Parameters
        ----------
        image : (H, W), (H, W, 3) or (H, W, 4) uint8, or PIL.Image.Image
            Gray, RGB or RGBA of any size.

        Returns
        -------
        Detections
            Best score first; ``score`` is the network's, ``confidence`` the probability of a face
            at such a score where the card of the weights knows it, else the same; ``landmarks`` the
            (n, 5, 2) points where it has them: eyes, nose, corners of the mouth, those on the left
            of the picture first.

        Raises
        ------
        ImageError
            The image has another dtype or shape, or no pixels.
        """
        return next(self._detect([as_rgb(image)]))

    def detect_many(self, images: Iterable[Any]) -> list[Detections]:
        """Detections of each image, in order; neighbours of one size run as a batch."""
        found: list[Detections] = []
        most = self._fixed_batch() or BATCH
        for _, same in groupby((as_rgb(image) for image in images), key=lambda a: a.shape):
            batch: list[NDArray[np.uint8]] = []
            for image in same:
                batch.append(image)
                if len(batch) == most:
                    found += self._detect(batch)
                    batch = []
            if batch:
                found += self._detect(batch)
        return found

    # ----------------------------------------------------------------- inside

    def _fixed_batch(self) -> int:
        """Images that a graph exported for a certain number runs at once; 0 where it takes any."""
        return max(0, (self.model.inputs[0].shape or (0,))[0])

    def _set_threshold(self, confidence: float | None, score: float | None) -> None:
        """Of the least confidence and the least score, at most one is given."""
        if confidence is not None and score is not None:
            raise ParameterError("`min_confidence` and `score_threshold` exclude each other")
        if confidence is None:
            if score is None:
                score = (self.card and self.card.score_threshold) or self.usual_score
            self.score_threshold = _share("score_threshold", score)
        else:
            confidence = _share("min_confidence", confidence)
            # As a score, so that what is too low is not even decoded.
            self.score_threshold = self.card.score_at(confidence) if self.card else confidence

    def _confidence(self, score: F32) -> F32:
        return score if self.card is None else self.card.confidence(score)

    def _detect(self, images: list[NDArray[np.uint8]]) -> Iterator[Detections]:
        """Detections of images of one size."""
        rows, cols = images[0].shape[:2]
        longer = max(rows, cols)
        first = min(longer, self.size or longer)
        sides = [first]
        if self.second_pass and first // 4 >= SMALLEST:
            sides.append(first // 4)
        passes = [self._pass(images, side / longer) for side in sides]
        for parts in zip(*passes, strict=True):
            yield self._finish(_join(list(parts)))

    def _pass(self, images: list[NDArray[np.uint8]], factor: float) -> list[Found]:
        """Run the network on all images, scaled by ``factor``; boxes in pixels of the images."""
        rows, cols = images[0].shape[:2]
        small = (max(1, round(rows * factor)), max(1, round(cols * factor)))
        if factor < 1:
            images = [_shrink(image, small) for image in images]
        count = len(images)
        images = images + images[-1:] * (self._fixed_batch() - count)
        name = self.model.inputs[0].name
        shape = (len(images), 3, *(-(-n // self.stride) * self.stride for n in small))
        scale = np.array([cols / small[1], rows / small[0]], np.float32)

        def fill(plan: Plan) -> Step:
            p = self.pixels
            shared = plan.pixels(name)
            geometry = np.concatenate([shared, [image.ctypes.data for image in images]])
            geometry[[layout.HIGH, layout.WIDE, layout.SWAP]] = *small, self._swap
            return Step(layout.image_in, geometry, 0, bias=np.array([p.scale, p.shift], np.float32))

        with self.model.lock:
            plan = self.model.plan({name: shape})
            env = plan.execute({name: fill})
            outputs = {out: plan.fetch(at, env) for out, at in plan.special.outputs}
            found = [self.decode(plan, i, outputs) for i in range(count)]
        return [_scaled(f, scale) for f in found]

    def _finish(self, found: Found) -> Detections:
        """Drop boxes without an area, suppress, filter by size, sort."""
        found = _with_area(found)
        boxes = self.suppression_boxes(found.xyxy)
        order = np.argsort(-found.score, kind="stable")
        keep, gone = np.empty(len(order), np.int64), np.empty(len(order), np.bool_)
        kept = keep[: group.suppress(boxes, order, self.iou_threshold, gone, keep)]
        side = (found.xyxy[kept, 2:] - found.xyxy[kept, :2]).max(axis=1, initial=0)
        kept = kept[(side >= (self.min_size or 0)) & (side <= (self.max_size or np.inf))]
        score = found.score[kept]
        points = None if found.landmarks is None else found.landmarks[kept]
        sure = self._confidence(score)
        return Detections(found.xyxy[kept], score, confidence=sure, landmarks=points).sorted()

    def suppression_boxes(self, xyxy: F32) -> F32:
        """The boxes whose overlap is measured."""
        return np.ascontiguousarray(xyxy)


def _with_channels_reversed(graph: Graph) -> Graph | None:
    """The same network for an input whose channels come in the reverse order.

    None where the input is read by something else than one convolution with weights of its own.
    """
    readers = [node for node in graph.nodes if graph.inputs[0].name in node.inputs]
    weights = readers[0].inputs[1] if readers and len(readers[0].inputs) > 1 else ""
    uses = sum(node.inputs.count(weights) for node in graph.nodes)
    plain = len(readers) == 1 and readers[0].op == "Conv" and readers[0].get("group", 1) == 1
    if not plain or weights not in graph.constants or uses != 1:
        return None
    turned = {**graph.constants, weights: np.ascontiguousarray(graph.constants[weights][:, ::-1])}
    return replace(graph, constants=turned)


def _join(parts: list[Found]) -> Found:
    if len(parts) == 1:
        return parts[0]
    points = [part.landmarks for part in parts if part.landmarks is not None]
    return Found(
        np.concatenate([part.xyxy for part in parts]),
        np.concatenate([part.score for part in parts]),
        np.concatenate(points) if points else None,
    )


def _with_area(found: Found) -> Found:
    """The boxes whose sides are in order: networks that regress each side may swap them."""
    good = (found.xyxy[:, 2:] > found.xyxy[:, :2]).all(axis=1)
    points = None if found.landmarks is None else found.landmarks[good]
    return Found(found.xyxy[good], found.score[good], points)


def _scaled(found: Found, scale: F32) -> Found:
    if (scale == 1).all():
        return found
    points = None if found.landmarks is None else found.landmarks * scale
    return Found(found.xyxy * np.tile(scale, 2), found.score, points)


def _shrink(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A smaller image, every pixel the mean of what it covers."""
    from PIL import Image

    small = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(small)


def _share(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ParameterError(f"`{name}` must be 0 to 1, got {value}")
    return float(value)


def _side(name: str, value: int | tuple[int, int] | None) -> int | None:
    """A size in pixels; of (rows, cols) the larger, as faces are measured by their longer side."""
    if value is None:
        return None
    side = max(value) if isinstance(value, tuple) else value
    if side < 0:
        raise ParameterError(f"`{name}` must not be negative, got {value}")
    return int(side)
