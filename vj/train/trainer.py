"""`CascadeTrainer`: pictures with and without the object in, a cascade out."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vj.cascade.model import Cascade
from vj.errors import ParameterError, TrainingError
from vj.io.images import Pixels
from vj.train.augment import Crop
from vj.train.check import Check, check_samples
from vj.train.checkpoint import Checkpoint
from vj.train.features import make_bank
from vj.train.inspection import Inspection
from vj.train.loop import Loop
from vj.train.mining import NegativePool
from vj.train.objects import ObjectSet
from vj.train.report import TrainingReport
from vj.train.samples import ENOUGH, PatchStream, draw_pictures, read_crops, split_groups
from vj.train.settings import Settings
from vj.train.shape import list_shaped
from vj.train.sheets import sample_sheet
from vj.train.sources import Scene, gather_scenes, has_surroundings
from vj.train.workers import Workers


class CascadeTrainer:
    """Train a cascade of boosted Haar or LBP trees.

    Parameters
    ----------
    n_jobs : int
        Threads. The cascade does not depend on it.
    time_limit : float, optional
        Seconds after which training ends with the best cascade so far.
    checkpoint : path, optional
        Folder to save the state in, after every stage and every 50 trees.
    drop_suspects : bool
        Leave out, from the stage on after which they are found, objects that are unlike all others
        and backgrounds that seem to show the object. Otherwise they are only named.
    resume : bool
        Go on from the checkpoint; other settings or data are an error that lists the differences.
    on_event : callable, optional
        Told what happens, as dicts with an ``event``: check, mining, mined, tree, stage, suspects,
        stop, ...
    on_cascade : callable, optional
        Given the cascade so far after every stage.
    window : (rows, cols) or "auto"
        Size of the objects that are learned. "auto", the default, is (24, 24) where they are about
        as wide as high; else of the shape that is their median, and of that area.
    features : {"BASIC", "CORE", "ALL", "LBP"}
        Haar families as in opencv_traincascade, or multi-block LBP.
    boost : {"gentle", "real", "discrete", "logit"}
    depth : int or sequence of int
        Nodes on the way to a leaf, 1 to 4; 1 makes stumps. Sequences as for `hit_rate`.
    n_stages : int
        At most so many stages.
    hit_rate, false_alarm : float or sequence of float
        What each stage must keep of the held-out objects, and let pass of the held-out negatives.
        Of a sequence every stage takes its own, the last one holds for the rest.
    max_trees : int
        At most so many trees in a stage.
    target_rate : float
        Training ends when this share of background windows passes.
    n_positives, n_negatives : int, optional
        Samples of a stage. Default: up to 25 variants of an object, 1000 to 5000 in all; as many
        negatives.
    min_negatives : int, optional
        Training ends when fewer are found. Default: a twentieth of `n_negatives`.
    held_out : float
        Share of the objects that sets thresholds and rates instead of being learned.
    margin : float
        Side of the window over the side of the box.
    surroundings : bool
        Take negatives from annotated pictures too, where no box is, if boxes cover less than a
        quarter of them.
    augment : Augment
        How variants differ.
    views : int
        1 to 8: the backgrounds as they are, mirrored, turned by quarters.
    search : {"screen", "exact", "random"}
        `share` is the part of the features that a round of random search looks at.
    trim, balance : float
        Share of the weight that takes part in a round; share of it that the objects start with.
    multi_exit : bool
        Every stage goes on from the trees of the one before it (and repeats them in the file).
    memory : int
        Bytes for what grows with the data: a quarter for objects (fewer are read if they do not
        fit), two fifths for negatives, a third for bins. Beside it stand about 5 kB a sample of a
        stage, 120 bytes a feature, and Python's own 200 MB.
    random_state : int
        Same seed, same samples, same settings: same bytes, for any `n_jobs`.

    Attributes
    ----------
    cascade_ : Cascade
    report_ : TrainingReport
        The log, why training ended, what would help.

    Raises
    ------
    ParameterError
        An unknown parameter, or a value that makes no sense.

    References
    ----------
    Viola & Jones, IJCV 57(2), 2004, sections 3-4.  doi:10.1023/B:VISI.0000013087.49260.fb
    """

    cascade_: Cascade
    report_: TrainingReport

    def __init__(
        self,
        *,
        n_jobs: int = 1,
        time_limit: float | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        drop_suspects: bool = False,
        resume: bool = False,
        on_event: Callable[[Mapping[str, Any]], None] | None = None,
        on_cascade: Callable[[Cascade], None] | None = None,
        **settings: Any,
    ) -> None:
        known = [field.name for field in fields(Settings)]
        for name in settings:
            if name not in known:
                near = get_close_matches(name, known, 1)
                hint = f": did you mean `{near[0]}`?" if near else ""
                raise ParameterError(f"no parameter is named `{name}`{hint}")
        if n_jobs < 1:
            raise ParameterError(f"`n_jobs` must be at least 1, got {n_jobs}")
        if time_limit is not None and not time_limit > 0:
            raise ParameterError(f"`time_limit` must be above 0 seconds, got {time_limit}")
        self.settings = Settings(**settings)
        self.n_jobs, self.time_limit, self.resume = n_jobs, time_limit, resume
        self.drop_suspects = drop_suspects
        self.checkpoint = Path(checkpoint) if checkpoint is not None else None
        self._tell = on_event or (lambda event: None)
        self._on_cascade = on_cascade or (lambda cascade: None)

    def fit(
        self, positives: Any, negatives: Any = (), names: Sequence[str] | None = None
    ) -> CascadeTrainer:
        """Train.

        Parameters
        ----------
        positives : path, Picture, array, or an iterable of these
            Annotated pictures in any format of `vj.datasets.annotations.read_annotations`, a
            folder of crops, a .vec file; each uint8 array is one object.
        negatives : path, Picture, array, or an iterable of these
            Pictures without the object (annotated ones: everywhere but at the boxes).
        names : sequence of str, optional
            Classes to learn, where boxes have classes.

        Returns
        -------
        CascadeTrainer
            Itself, with ``cascade_`` and ``report_``.

        Raises
        ------
        SourceError
            Positives or negatives are missing or malformed.
        TrainingError
            They are too few or too small, or no stage can be trained.
        """
        started = time.monotonic()
        with self._workers() as workers:
            settings, check, crops, scenes = self._gather(positives, negatives, names, workers)
            loop = self._loop(settings, crops, scenes, check, workers)
            loop.deadline = started + (self.time_limit or np.inf)
            loop.run(self.resume)
            found = loop.inspection.found
            sheet = {"suspects": loop.inspection.sheet()} if found else {}
        self.cascade_ = loop.cascade()
        self.report_ = TrainingReport(
            settings.to_dict(),
            loop.log,
            loop.reason,
            loop.advice,
            time.monotonic() - started,
            check,
            self.cascade_,
            {"samples": sample_sheet(crops, scenes, settings), **loop.pictures, **sheet},
            tuple(found.values()),
        )
        return self

    def check(
        self, positives: Any, negatives: Any = (), names: Sequence[str] | None = None
    ) -> Check:
        """Look at all samples without training: problems, feasibility, memory and time."""
        with self._workers() as workers:
            return self._gather(positives, negatives, names, workers, every=True)[1]

    def sheet(
        self, positives: Any, negatives: Any = (), names: Sequence[str] | None = None
    ) -> Pixels:
        """Contact sheet of what training would see: objects, their variants, negatives."""
        with self._workers() as workers:
            found = self._gather(positives, negatives, names, workers, every=True)
            settings, _, crops, scenes = found
            return sample_sheet(crops, scenes, settings)

    @contextmanager
    def _workers(self) -> Iterator[Workers]:
        workers = Workers(self.n_jobs)
        try:
            yield workers
        finally:
            workers.close()

    def _gather(
        self,
        positives: Any,
        negatives: Any,
        names: Sequence[str] | None,
        workers: Workers,
        every: bool = False,
    ) -> tuple[Settings, Check, list[Crop], list[Scene]]:
        window, pictures, arrays = list_shaped(positives, self.settings.window, names)
        settings = replace(self.settings, window=window)
        there = sum(len(picture.boxes) for picture in pictures)
        shape = {"margin": settings.margin, "reach": settings.augment.reach()}
        drawn = pictures if every else draw_pictures(
            pictures,
            window,
            count=ENOUGH * (settings.sized(there).n_positives or 0),
            memory=settings.memory // 4,
            seed=settings.random_state,
            **shape,
        )  # fmt: skip
        crops, findings = read_crops(drawn, window, arrays=arrays, workers=workers, **shape)
        scenes = gather_scenes(negatives)
        if settings.surroundings:
            scenes += [Scene.of(picture) for picture in drawn if has_surroundings(picture)]
        sized = settings.sized(len(crops))
        check, scenes = check_samples(crops, findings, pictures, scenes, sized, workers)
        if len(drawn) < len(pictures):
            check.drawn_from = there
        self._tell({"event": "check", "text": str(check)})
        check.refuse()
        return sized, check, crops, scenes

    def _loop(
        self,
        settings: Settings,
        crops: list[Crop],
        scenes: list[Scene],
        check: Check,
        workers: Workers,
    ) -> Loop:
        train, held = split_groups(
            [crop.group for crop in crops], settings.held_out, settings.random_state
        )
        bank = make_bank(settings.shape, settings.features)
        count = settings.n_positives or 0

        def objects(which: NDArray[np.intp], many: int, seed: int) -> ObjectSet:
            mine = [crops[k] for k in which]
            return ObjectSet(PatchStream(mine, settings.shape, settings.augment, seed), many)

        pool = NegativePool(
            scenes,
            settings.shape,
            views=settings.views,
            capacity=settings.capacity,
            seed=settings.random_state,
            contrast=bank.ordered,
        )
        sides = {
            "object": objects(train, count, settings.random_state),
            "held": objects(held, max(count // 4, 1), settings.random_state + (1 << 32)),
        }
        inspection = Inspection(
            bank, sides, pool, workers, settings.random_state, self.drop_suspects
        )
        config = {**settings.to_dict(), "objects": _identity(crops), "scenes": check.scenes_digest}
        saver = Checkpoint(self.checkpoint, config) if self.checkpoint is not None else None
        return Loop(
            settings,
            bank,
            sides["object"],
            sides["held"],
            pool,
            workers,
            inspection,
            saver,
            tell=self._tell,
            on_cascade=self._on_cascade,
        )


def _identity(crops: Sequence[Crop]) -> str:
    """A short name of what the crops show."""
    digest = hashlib.sha256()
    for crop in crops:
        digest.update(crop.pixels.tobytes())
    if not crops:
        raise TrainingError("no objects to learn")
    return f"{len(crops)} ({digest.hexdigest()[:12]})"
