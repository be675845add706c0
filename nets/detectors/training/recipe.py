"""How the face detectors that come with the package are trained, each by one recipe.

References: Ge et al., YOLOX, arXiv:2107.08430, 2021 (assignment, averaged weights); Loshchilov &
Hutter, SGDR, ICLR 2017 (cosine schedule); Shrivastava et al., Training region-based detectors with
online hard example mining, CVPR 2016.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nets.arrays import Array
from nets.autograd.tensor import Tensor
from nets.detectors.facenet import Cells, FaceNetDetector, model_of, read_net
from nets.detectors.training.augment import Cropping
from nets.detectors.training.data import WORLD, Data, Sets, read_data
from nets.detectors.training.frames import Frames, as_input
from nets.detectors.training.mining import mine
from nets.detectors.training.objective import Objective
from nets.detectors.training.scenes import Mixture, Scenes
from nets.detectors.training.store import Store
from nets.models.face import FaceNet
from nets.nn.init import seed
from nets.nn.layers import Module
from nets.nn.optim import SGD, Average, Cosine, Schedule, Trapezoid, reestimate_batch_norm
from nets.nn.state import save_state
from nets.training import Averaging, Callback, JsonLog, Run, fit
from nets.training.callbacks import Row
from nets.training.checkpoint import load_checkpoint
from nets.training.loop import CHECKPOINT
from vj.errors import TrainingError
from vj.io.files import writing

WARM_UP = 200  # steps
MEMORY = 8 << 30  # bytes of decoded pictures that are kept, at most
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
    zooms : sequence of float
        Sizes at which they are sought, in turn, over those of the pictures.
    mine_every : int
        They are sought after the first epoch and then whenever so many have passed; 0 never.
    cooling : int
        Epochs, at the end, in which the rate falls to a hundredth, after having stayed the same; 0
        lets it fall from the beginning, by a cosine.
    start : str
        SHA-256 of the weights to begin with; without it the net knows nothing.
    sets : Sets
        What is learned from.
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
    zooms: tuple[float, ...] = (1.0,)
    mine_every: int = 0
    cooling: int = 0
    start: str = ""
    seed: int = 0
    sets: Sets = field(default_factory=Sets)
    objective: Objective = field(default_factory=Objective)
    mixture: Mixture = field(default_factory=Mixture)


# Pictures from anywhere first: large parts of them, crowds, all sizes down to 8 pixels.
WORLDLY = Mixture(
    kinds=(("picture", 0.6), ("composite", 0.15), ("crowded", 0.03), ("background", 0.04),
           ("alarm", 0.18)),
    pictures=(
        ("wider_face", 2.0), ("mafa_like", 0.7), ("afw_helen", 0.4), ("masks_ilc", 0.4),
        ("masks_yolo", 0.4), ("crowds_above", 0.2), ("mask853", 0.6), ("all_age_faces", 0.15),
        ("flickr8k_1000", 1.0), ("coco2014_part", 1.0), ("shanghaitech_train", 0.5),
        ("lsp_extended", 0.3),
    ),
    crowds=0.4,
    cropping=Cropping((0.4, 1.4), about_faces=0.8, sized=0.25),
)  # fmt: skip
LONG = Recipe(
    epochs=188, plain=0.0, mining=(), mine_every=5, alarm=0.2, zooms=(1.0, 1.6, 0.6),
    cooling=19, sets=WORLD, mixture=WORLDLY,
)  # fmt: skip
SMALL = {"depths": (1, 2, 2, 2), "separable": True}
TINY = {"stem": (8, 16), "width": 40, **SMALL}
# It begins with weights of 20,000 steps by `Recipe(SMALL, epochs=40, seed=1)`.
FAST = replace(
    LONG, net=SMALL, start="943d51bcc2f06f6e51daeaba047178705e1e6719d18a27f75789ecf2f7d28044"
)
# Those of the nets that come with the package, and longer ones of their successors.
RECIPES = {
    "face-cnn": Recipe({"depths": (1, 1, 2, 2)}),
    "face-fast": replace(FAST, epochs=52, cooling=6),
    "face-tiny": Recipe(TINY, epochs=40),
    "face-cnn-2": replace(
        LONG,
        net={"depths": (1, 1, 2, 2)},
        start="c6b1e1d4f497c9aafc65b8400b6491261a75eefd4832d9191664311b8f6a8727",
    ),
    "face-fast-2": FAST,
    "face-tiny-2": replace(
        LONG, net=TINY, start="a3950edc0f3e312ff030be8098441332fb4fe581897b107e75813ec4d16fcee7"
    ),
}


class Mining(Callback):
    """Looks for false alarms in backgrounds after some of the epochs, and hands them to the scenes.

    What was found is part of the checkpoint.
    """

    def __init__(self, frames: Frames, net: FaceNet, average: Average, recipe: Recipe) -> None:
        self.frames, self.net, self.average, self.recipe = frames, net, average, recipe
        self.after = {max(1, round(share * recipe.epochs)) for share in recipe.mining}
        if recipe.mine_every:
            self.after |= set(range(1, recipe.epochs, recipe.mine_every))

    def epoch(self, run: Run, row: Row) -> None:
        """Seek, if it is time."""
        if row["epoch"] not in self.after:
            return
        scenes, entries = self.frames.scenes, self.frames.scenes.data.backgrounds
        turn, often = sorted(self.after).index(row["epoch"]), self.recipe.mine_every > 0
        step = max(1, len(entries) // self.recipe.backgrounds)
        # In time each picture is looked at in all sizes.
        zoom = self.recipe.zooms[(turn + turn // step) % len(self.recipe.zooms)]
        chosen = range((turn + 1 if often else row["epoch"]) % step, len(entries), step)
        training = self.net.training
        with self.average.applied():
            detector = FaceNetDetector(model_of(self.net), score_threshold=self.recipe.alarm)
            found = mine(detector, [entries[k] for k in chosen], Store(), zoom=zoom)
            fresh = [(chosen[n], box) for n, box, _ in found]
        self.net.train(training)
        # Of pictures that were not looked at this time the old alarms teach on.
        kept = [alarm for alarm in scenes.alarms if often and alarm[0] not in chosen]
        scenes.alarms = [*kept, *fresh]
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
    start: str | os.PathLike[str] | None = None,
    finish: tuple[str | os.PathLike[str], int] | None = None,
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
    start : path, optional
        Weights to begin with, if the recipe wants any.
    finish : (path, int), optional
        Finish early what was trained in another folder, which stays as it is: from its checkpoint
        on the rate falls, for so many epochs.

    Returns
    -------
    Path
        Of the weights: those after the last epoch that was trained.

    Raises
    ------
    TrainingError
        The weights to begin with are missing, or others than the recipe wants; there is nothing to
        finish; all that `nets.training.fit` raises.
    """
    folder = Path(folder)
    if finish:
        recipe, resume = _shortened(recipe, folder, *finish), True
    steps = recipe.batches * recipe.epochs
    seed(recipe.seed)
    net = _beginning(recipe, start, resume)
    learner, loss, form, forward = _engine(net, recipe.objective, torch)
    frames = frames_of(recipe, data or read_data()[0], workers, form)
    optimiser = SGD(
        learner.named_parameters(), lr=recipe.rate, momentum=recipe.momentum, nesterov=True,
        weight_decay=recipe.decay,
    )  # fmt: skip
    warm_up = min(WARM_UP, steps // 10)
    schedule = _schedule(optimiser, recipe, warm_up)
    average = Average(learner.named_parameters(), decay=recipe.average)
    watchers = [
        Averaging(average, start=warm_up + 1), Mining(frames, net, average, recipe),
        JsonLog(folder / "log.jsonl", every=100), *callbacks,
    ]  # fmt: skip
    fit(
        learner, loss, frames, optimiser, min(epochs or recipe.epochs, recipe.epochs),
        schedule=schedule, clip=20.0, callbacks=watchers, folder=folder, resume=resume, bar=bar,
    )  # fmt: skip
    with average.applied():
        more = islice(frames.epoch(recipe.epochs), MOMENTS)
        reestimate_batch_norm(learner, (batch[0] for batch in more), forward=forward)
        return save_net(folder / "weights.safetensors", net, recipe)


def _schedule(optimiser: SGD, recipe: Recipe, warm_up: int) -> Schedule:
    steps = recipe.batches * recipe.epochs
    if not recipe.cooling:
        return Cosine(optimiser, steps - warm_up, floor=0.01, warm_up=warm_up)
    decay = recipe.cooling * recipe.batches
    return Trapezoid(optimiser, steps - decay - warm_up, decay, floor=0.01, warm_up=warm_up)


def _beginning(recipe: Recipe, start: str | os.PathLike[str] | None, goes_on: bool) -> FaceNet:
    """The net before the first step; of one that goes on the weights come from the checkpoint."""
    if not recipe.start or (goes_on and start is None):
        return FaceNet(**recipe.net)
    if start is None:
        raise TrainingError(f"name the weights to begin with: those of SHA-256 {recipe.start}")
    try:
        digest = hashlib.sha256(Path(start).read_bytes()).hexdigest()
    except OSError as exc:
        raise TrainingError(f"{start}: {exc.strerror or exc}") from exc
    if digest != recipe.start:
        raise TrainingError(
            f"{start}: the recipe begins with other weights: SHA-256 {recipe.start[:12]}..., "
            f"not {digest[:12]}..."
        )
    return read_net(start)


def _shortened(recipe: Recipe, folder: Path, source: str | os.PathLike[str], epochs: int) -> Recipe:
    """The recipe of a training that is to be finished elsewhere; its checkpoint is copied there.

    It is what the shorter recipe would have made, bit for bit.
    """
    place = Path(source) / CHECKPOINT
    done = load_checkpoint(place)
    if not recipe.cooling or done["batch"] or not epochs > 0:
        raise TrainingError(
            f"{place}: epoch {done['epoch']}, batch {done['batch']}, cannot be finished within "
            f"{epochs} epochs: only whole epochs of a recipe with `cooling` can"
        )
    if not (folder / CHECKPOINT).exists():
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(place, folder / CHECKPOINT)
    return replace(recipe, epochs=done["epoch"] + epochs, cooling=epochs)


def frames_of(
    recipe: Recipe, data: Data, workers: int, form: Callable[[Array], Array] = as_input
) -> Frames:
    """The frames of a recipe's steps."""
    scenes = Scenes(data, recipe.size, seed=recipe.seed, mixture=recipe.mixture, memory=MEMORY)
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
