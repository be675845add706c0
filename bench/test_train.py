"""Training: the search for a stump, a stage, a whole cascade."""

import time

import numpy as np
import pytest

from vj.train.augment import Augment
from vj.train.boosting import Goal, Recipe, Samples, boost_stage
from vj.train.features import Table, make_bank
from vj.train.search import SearchPlan, SplitSearch, pack
from vj.train.trainer import CascadeTrainer
from vj.train.workers import Workers

SAMPLES = 10_000
MILLION = 100  # rows of bins a case is made of: 100 features x 10,000 samples are a million
FEATURES = 100 * MILLION


@pytest.fixture(scope="module")
def samples():
    """5,000 faces-like blobs and 5,000 windows of noise, 24x24."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (SAMPLES, 6, 6)).repeat(4, 1).repeat(4, 2)
    coarse[: SAMPLES // 2, 8:12] //= 2  # a dark band across the upper half
    noise = rng.integers(-20, 21, coarse.shape)
    return Samples(Table.of(np.clip(coarse + noise, 0, 255).astype(np.uint8)), SAMPLES // 2)


@pytest.fixture(scope="module")
def bank(samples):
    bank = make_bank((24, 24), "BASIC")
    bank.calibrate(samples.table.pick(np.arange(0, SAMPLES, 20)))
    return bank


def search_of(bank, samples, jobs):
    plan = SearchPlan("random", share=FEATURES / len(bank))
    weight = np.random.default_rng(1).random(SAMPLES)
    weight /= weight.sum()
    search = SplitSearch(bank, samples.table, plan, Workers(jobs), absolute=False)
    search.start_round(0, weight, samples.positive, [0])
    packed = pack(weight, np.where(samples.positive, weight, -weight), 2.0**30)
    index = np.arange(SAMPLES, dtype=np.int32)
    return lambda: search.candidates(index, packed, 4)


@pytest.mark.parametrize("lib", ["vj"])
def test_search_on_one_thread(race, samples, bank, lib):
    """The best cut of each of 10,000 features on 10,000 samples with 256 bins, bins ready: 1e8
    feature-samples; 62 ms are 1.6e9 of them a second. CPU time.
    """
    race(search_of(bank, samples, 1), table="Stump search", case="1e8 feature-samples", lib=lib)


@pytest.mark.benchmark(timer=time.perf_counter)
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("lib", ["vj"])
def test_search_by_threads(race, samples, bank, lib, jobs):
    """The same on the wall: 33 ms are 3e9 feature-samples a second."""
    case = f"{jobs} thread{'s' * (jobs > 1)}"
    race(search_of(bank, samples, jobs), table="Stump search, by threads", case=case, lib=lib)


@pytest.mark.parametrize("features", ["BASIC", "LBP"])
@pytest.mark.parametrize("lib", ["vj"])
def test_responses(race, samples, lib, features):
    """Values of all features quantised to 8 bits, on 1,000 samples of 24x24."""
    bank, table = make_bank((24, 24), features), samples.table.pick(np.arange(1000))
    which = np.arange(len(bank))[: 40 * MILLION]
    race(lambda: bank.bins(table, which), table="Responses", lib=lib,
         case=f"{features}: {len(which)} features")  # fmt: skip


@pytest.mark.benchmark(min_rounds=1, max_time=1)
@pytest.mark.parametrize("mode", ["exact", "screen", "random"])
@pytest.mark.parametrize("lib", ["vj"])
def test_stage(race, samples, bank, lib, mode):
    """Five GentleBoost stumps out of 162,336 features on 10,000 samples, integral images ready;
    exact search recomputes its bins in every round.
    """
    recipe = Recipe(plan=SearchPlan(mode, memory=0))
    goal = Goal(0.995, 1e-9, 5, 5)
    race(lambda: boost_stage(bank, samples, samples, goal, recipe), table="A stage of five stumps",
         case=mode, lib=lib)  # fmt: skip


@pytest.mark.benchmark(min_rounds=1, max_time=1)
@pytest.mark.parametrize("features", ["BASIC", "LBP"])
@pytest.mark.parametrize("lib", ["vj"])
def test_small_training(race, lib, features):
    """500 objects and 500 negatives a stage, 20x20, at most six stages, mining included."""
    rng = np.random.default_rng(2)
    blocks = [rng.integers(0, 256, (60, 80)).repeat(5, 0).repeat(5, 1) for _ in range(20)]
    scenes = [np.clip(b + rng.integers(-9, 10, b.shape), 0, 255).astype(np.uint8) for b in blocks]
    objects = rng.integers(100, 156, (200, 30, 30))
    objects[:, 10:16] -= 70
    objects[:, 16:, 12:18] += 60
    crops = list(objects.clip(0, 255).astype(np.uint8))
    trainer = CascadeTrainer(
        window=(20, 20), features=features, n_positives=500, n_negatives=500, n_stages=6,
        augment=Augment(contrast=0.4, noise=20),
    )  # fmt: skip
    race(lambda: trainer.fit(crops, scenes), table="A small training", case=features, lib=lib)
