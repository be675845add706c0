"""Cascade training: the search for a stump, feature responses, a stage, a whole cascade."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from bench.harness.timing import Case, several
from vj.train.augment import Augment
from vj.train.boosting import Goal, Recipe, Samples, boost_stage
from vj.train.features import Table, make_bank
from vj.train.search import SearchPlan, SplitSearch, pack
from vj.train.trainer import CascadeTrainer
from vj.train.workers import Workers

SAMPLES, FEATURES = 10_000, 10_000
SEARCH = (
    "The best threshold of each of 10,000 features on 10,000 samples with 256 bins, bins ready: "
    "1e8 feature-samples."
)
STAGE = (
    "Five GentleBoost stumps out of 162,336 features on 10,000 samples, integral images ready; "
    "exact search recomputes its bins in every round."
)
RESPONSES = "Values of all features quantised to 8 bits, on 1,000 samples of 24x24."
SMALL = "500 objects and 500 negatives a stage, 20x20, at most six stages, mining included."


def samples() -> Samples:
    """5,000 windows with a dark band across the upper half and 5,000 without, 24x24."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (SAMPLES, 6, 6)).repeat(4, 1).repeat(4, 2)
    coarse[: SAMPLES // 2, 8:12] //= 2
    noise = rng.integers(-20, 21, coarse.shape)
    return Samples(Table.of(np.clip(coarse + noise, 0, 255).astype(np.uint8)), SAMPLES // 2)


def search(bank, data: Samples, jobs: int) -> Callable[[], object]:
    plan = SearchPlan("random", share=FEATURES / len(bank))
    weight = np.random.default_rng(1).random(SAMPLES)
    weight /= weight.sum()
    found = SplitSearch(bank, data.table, plan, Workers(jobs), absolute=False)
    found.start_round(0, weight, data.positive, [0])
    packed = pack(weight, np.where(data.positive, weight, -weight), 2.0**30)
    return partial(found.candidates, np.arange(SAMPLES, dtype=np.int32), packed, 4)


def small_training(features: str) -> Callable[[], object]:
    rng = np.random.default_rng(2)
    blocks = [rng.integers(0, 256, (60, 80)).repeat(5, 0).repeat(5, 1) for _ in range(20)]
    scenes = [np.clip(b + rng.integers(-9, 10, b.shape), 0, 255).astype(np.uint8) for b in blocks]
    objects = rng.integers(100, 156, (200, 30, 30))
    objects[:, 10:16] -= 70
    objects[:, 16:, 12:18] += 60
    trainer = CascadeTrainer(
        window=(20, 20), features=features, n_positives=500, n_negatives=500, n_stages=6,
        augment=Augment(contrast=0.4, noise=20),
    )  # fmt: skip
    return partial(trainer.fit, list(objects.clip(0, 255).astype(np.uint8)), scenes)


def cases(_) -> Iterator[Case]:
    data, bank = samples(), make_bank((24, 24), "BASIC")
    bank.calibrate(data.table.pick(np.arange(0, SAMPLES, 20)))
    name = "1e8 feature-samples"
    yield Case("Stump search", SEARCH, name, {"vj": search(bank, data, 1)})
    for jobs in (1, 2):
        name, wall = f"{jobs} thread{'s' * (jobs > 1)}", several(jobs) | {"clock": "perf_counter"}
        calls = {"vj": search(bank, data, jobs)}
        yield Case("Stump search, by threads", "The same, wall time.", name, calls, **wall)
    for features in ("BASIC", "LBP"):
        some, table = make_bank((24, 24), features), data.table.pick(np.arange(1000))
        which = np.arange(len(some))[:4000]
        name = f"{features}: {len(which)} features"
        yield Case("Responses", RESPONSES, name, {"vj": partial(some.bins, table, which)})
    for mode in ("exact", "screen", "random"):
        recipe, goal = Recipe(plan=SearchPlan(mode, memory=0)), Goal(0.995, 1e-9, 5, 5)
        calls = {"vj": partial(boost_stage, bank, data, data, goal, recipe)}
        yield Case("A stage of five stumps", STAGE, mode, calls)
    for features in ("BASIC", "LBP"):
        yield Case("A small training", SMALL, features, {"vj": small_training(features)})
