"""How the face detectors that come with the package are trained, each by one recipe.

References: Ge et al., YOLOX, arXiv:2107.08430, 2021 (assignment, averaged weights); Loshchilov &
Hutter, SGDR, ICLR 2017 (cosine schedule); Shrivastava et al., Training region-based detectors with
online hard example mining, CVPR 2016.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nets.arrays import Array
from nets.autograd.tensor import Tensor
from nets.detectors.facenet import Cells, FaceNetDetector, model_of
from nets.detectors.training.data import Data, read_data
from nets.detectors.training.frames import Frames, as_input
from nets.detectors.training.mining import mine
from nets.detectors.training.objective import Objective
from nets.detectors.training.scenes import Mixture, Scenes
from nets.models.face import FaceNet
from nets.nn.init import seed
from nets.nn.layers import Module
from nets.nn.optim import SGD, Average, Cosine, reestimate_batch_norm
from nets.nn.state import save_state
from nets.training import Averaging, Callback, JsonLog, Run, fit
from nets.training.callbacks import Row

WARM_UP = 200  # steps
MOMENTS = 50  # batches from which the averaged net learns its moments


@dataclass(frozen=True)
class Recipe:
    """A net and its training; whatever stands here is all there is to it, besides the data.

    Attributes
    ----------
    net : dict
        Arguments of `FaceNet`.
    size, batch_size : int
        Pixels of a frame, frames of a step.
    batches, epochs : int
        Steps of an epoch, epochs.
    rate, momentum, decay : float
        Of SGD with Nesterov's momentum.
    average : float
        Decay of the average of the weights, which is what is kept.
    plain : float
        Share of the steps, at the beginning, that assign cells by size.
    mining : sequence of float
        Shares of the training after which false alarms are sought.
    backgrounds : int
        Pictures in which they are sought.
    alarm : float
        Score from which one teaches.
    """

    net: dict[str, Any] = field(default_factory=dict)
    size: int = 256
    batch_size: int = 16
    batches: int = 500
    epochs: int = 30
    rate: float = 0.01
    momentum: float = 0.9
    decay: float = 5e-4
    average: float = 0.999
    plain: float = 0.02
    mining: tuple[float, ...] = (0.5, 0.75)
    backgrounds: int = 1500
    alarm: float = 0.05
    seed: int = 0
    objective: Objective = field(default_factory=Objective)
    mixture: Mixture = field(default_factory=Mixture)


RECIPES = {
    "face-cnn": Recipe({"depths": (1, 1, 2, 2)}),
    "face-fast": Recipe({"depths": (1, 2, 2, 2), "separable": True}, epochs=40, seed=1),
    "face-tiny": Recipe(
        {"stem": (8, 16), "width": 40, "depths": (1, 2, 2, 2), "separable": True}, epochs=40
    ),
}  # fmt: skip


class Mining(Callback):
    """Looks for false alarms in backgrounds after some of the epochs, and hands them to the scenes.

    What was found is part of the checkpoint.
    """

    def __init__(self, frames: Frames, net: FaceNet, average: Average, recipe: Recipe) -> None:
        self.frames, self.net, self.average, self.recipe = frames, net, average, recipe
        self.after = {max(1, round(share * recipe.epochs)) for share in recipe.mining}

    def epoch(self, run: Run, row: Row) -> None:
        """Seek, if it is time."""
        if row["epoch"] not in self.after:
            return
        scenes, count = self.frames.scenes, self.recipe.backgrounds
        entries = scenes.data.backgrounds
        step = max(1, len(entries) // count)
        training = self.net.training
        with self.average.applied():
            detector = FaceNetDetector(model_of(self.net), score_threshold=self.recipe.alarm)
            chosen = [(k, entries[k]) for k in range(row["epoch"] % step, len(entries), step)]
            found = mine(detector, [entry for _, entry in chosen], scenes.store)
            scenes.alarms = [(chosen[n][0], box) for n, box, _ in found]
        self.net.train(training)
        row["alarms"] = len(scenes.alarms)

    def state_dict(self) -> dict[str, Any]:
        """The alarms."""
        return {"alarms": [[number, *box] for number, box in self.frames.scenes.alarms]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the alarms over."""
        self.frames.scenes.alarms = [(int(n), tuple(box)) for n, *box in state["alarms"]]


def train(
    recipe: Recipe,
    folder: str | os.PathLike[str],
    *,
    data: Data | None = None,
    epochs: int | None = None,
    resume: bool = False,
    workers: int = 1,
    callbacks: Sequence[Callback] = (),
    bar: bool = False,
    torch: str | None = None,
) -> Path:
    """Train a net and write its weights.

    Parameters
    ----------
    recipe : Recipe
    folder : path
        Gets ``checkpoint.safetensors``, ``log.jsonl`` and, at the end, ``weights.safetensors``.
    data : Data, optional
        By default the training part of `read_data`.
    epochs : int, optional
        Stop after so many of the recipe's epochs, to be resumed another day.
    resume : bool
        Go on from the checkpoint in the folder.
    workers : int
        Processes that make frames; the result does not depend on it, nor on `nets.threads`.
    torch : str, optional
        A device of PyTorch, which then computes in place of our engine: "cpu", "cuda", "auto".

    Returns
    -------
    Path
        Of the weights: those after the last epoch that was trained.
    """
    folder = Path(folder)
    steps = recipe.batches * recipe.epochs
    seed(recipe.seed)
    net = FaceNet(**recipe.net)
    learner, loss, form, forward = _engine(net, recipe.objective, torch)
    frames = frames_of(recipe, data or read_data()[0], workers, form)
    optimiser = SGD(
        learner.named_parameters(), lr=recipe.rate, momentum=recipe.momentum, nesterov=True,
        weight_decay=recipe.decay,
    )  # fmt: skip
    warm_up = min(WARM_UP, steps // 10)
    schedule = Cosine(optimiser, steps - warm_up, floor=0.01, warm_up=warm_up)
    average = Average(learner.named_parameters(), decay=recipe.average)
    watchers = [
        Averaging(average, start=warm_up + 1), Mining(frames, net, average, recipe),
        JsonLog(folder / "log.jsonl", every=100), *callbacks,
    ]  # fmt: skip
    fit(
        learner, loss, frames, optimiser, min(epochs or recipe.epochs, recipe.epochs),
        schedule=schedule, clip=20.0, callbacks=watchers, folder=folder, save_every=200,
        resume=resume, bar=bar,
    )  # fmt: skip
    with average.applied():
        more = islice(frames.epoch(recipe.epochs), MOMENTS)
        reestimate_batch_norm(learner, (batch[0] for batch in more), forward=forward)
        return save_net(folder / "weights.safetensors", net, recipe)


def frames_of(
    recipe: Recipe, data: Data, workers: int, form: Callable[[Array], Array] = as_input
) -> Frames:
    """The frames of a recipe's steps."""
    scenes = Scenes(data, recipe.size, seed=recipe.seed, mixture=recipe.mixture, memory=1 << 30)
    plain = round(recipe.plain * recipe.batches * recipe.epochs)
    return Frames(
        scenes, recipe.batch_size, recipe.batches, plain=plain, workers=workers, form=form
    )


class _Engine(NamedTuple):
    """What computes: a model and its loss for `fit`, what they are given, and answers alone."""

    learner: Module
    loss: Callable[..., Tensor]
    form: Callable[[Array], Array]
    forward: Callable[[Array], Tensor]


def _engine(net: FaceNet, objective: Objective, torch: str | None) -> _Engine:
    if torch is None:
        ours = Cells(net)
        return _Engine(ours, objective, as_input, lambda x: ours(Tensor(x)))
    from nets.detectors.training import torch_path

    theirs = torch_path.Cells(net, torch)
    return _Engine(theirs, torch_path.Loss(objective), np.asarray, theirs.answers)


def save_net(path: Path, net: FaceNet, recipe: Recipe) -> Path:
    """Write the weights in half precision, which is all that detection needs of them."""
    state = {
        name: array.astype(np.float16) if array.dtype == np.float32 else array
        for name, array in net.state_dict().items()
    }
    save_state(
        path, state, {"facenet": json.dumps(recipe.net), "recipe": json.dumps(asdict(recipe))}
    )
    return path
