"""The split search against brute force."""

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vj.errors import ParameterError
from vj.kernels import boost as kernels
from vj.train.features import Table, make_bank
from vj.train.search import SearchPlan, SplitSearch, gains, pack
from vj.train.workers import Workers


@st.composite
def problem(draw, codes=256):
    n, features = draw(st.integers(1, 40)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    bins = rng.integers(0, codes, (features, n)).astype(np.uint8)
    weight = rng.integers(1, 2**24, n)
    gradient = weight * rng.choice([-1, 1], n)
    index = np.flatnonzero(rng.random(n) < 0.8).astype(np.int32)
    return bins, index, weight, gradient


@settings(max_examples=60, deadline=None)
@given(problem(), st.booleans())
def test_best_cut_is_that_of_brute_force(case, absolute):
    bins, index, weight, gradient = case
    packed = ((gradient << 32) + weight)[index]
    work, left = np.empty(1024, np.int64), np.empty(512)
    gain, cut = np.empty(len(bins)), np.empty(len(bins), np.int32)
    kernels.best_cuts(bins, index, packed, absolute, work, left, gain, cut)
    for f in range(len(bins)):
        want = naive.best_cut(bins[f, index], weight[index], gradient[index], absolute)
        assert gain[f] == pytest.approx(want[0], rel=1e-12)
        if want[0] >= 0:
            sides = bins[f, index] <= cut[f]
            sums = [
                int(a[index][side].sum()) for side in (sides, ~sides) for a in (weight, gradient)
            ]
            assert naive.gain(*sums, absolute) == pytest.approx(want[0], rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(problem(codes=6))
def test_best_subset_is_that_of_all_subsets(case):
    bins, index, weight, gradient = case
    bins *= 41  # codes all over the range
    packed = ((gradient << 32) + weight)[index]
    got = gains(bins, index, packed, False, ordered=False, prune=False)
    want = [naive.best_subset_gain(row[index], weight[index], gradient[index]) for row in bins]
    np.testing.assert_allclose(got, want, rtol=1e-9)
    pruned = gains(bins, index, packed, False, ordered=False)
    assert pruned.argmax() == got.argmax()
    assert pruned.max() == got.max()


def test_packing_keeps_weight_and_gradient_apart():
    weight = np.array([0.25, 0.5, 0.25])
    packed = pack(weight, weight * [1, -1, 0.5], 2.0**30)
    total = int(packed.sum())
    assert total & kernels.LOW == 2**30
    assert total >> 32 == -(2**27)


@pytest.fixture(scope="module")
def task():
    rng = np.random.default_rng(0)
    patches = rng.integers(0, 256, (300, 10, 10)).astype(np.uint8)
    patches[:150, :, 5:] //= 2
    bank = make_bank((10, 10), "BASIC")
    table = Table.of(patches)
    bank.calibrate(table)
    return bank, table, np.arange(300) < 150


def candidates(task, plan, jobs=1):
    bank, table, positive = task
    weight = np.full(300, 1 / 300)
    workers = Workers(jobs)
    search = SplitSearch(bank, table, plan, workers, absolute=False)
    search.start_round(0, weight, positive, [7])
    packed = pack(weight, np.where(positive, weight, -weight), 2.0**30)
    found = search.candidates(np.arange(300, dtype=np.int32), packed, 3)
    workers.close()
    return found.tolist()


@pytest.mark.parametrize("mode", ["exact", "screen", "random"])
def test_two_threads_find_what_one_finds(task, mode):
    assert candidates(task, SearchPlan(mode), 1) == candidates(task, SearchPlan(mode), 2)


def test_recomputed_bins_change_nothing(task):
    kept, recomputed = SearchPlan("exact"), SearchPlan("exact", memory=0)
    assert candidates(task, kept) == candidates(task, recomputed)


def test_the_obvious_edge_is_found(task):
    best = candidates(task, SearchPlan("exact"))[0]
    x, _, w, _ = task[0].features.rects[best, 0]
    assert x + w / 2 == 5  # the two halves meet where the samples have their edge
    assert best in candidates(task, SearchPlan("screen", keep=200))


def test_refuses_unknown_modes():
    with pytest.raises(ParameterError, match="`search` must be one of exact, screen, random"):
        SearchPlan("fast")
    with pytest.raises(ParameterError, match="`share` must be above 0"):
        SearchPlan("random", share=0)
