"""Flavours, trees and stages on small problems whose answers are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vj.errors import ParameterError
from vj.train.boosting import Goal, Recipe, Samples, boost_stage, trimmed
from vj.train.boosting_variants import FLAVOURS, Flavour
from vj.train.features import Table, make_bank
from vj.train.search import SearchPlan
from vj.train.trees import sum_scores, tree_scores
from vj.train.workers import Workers


def samples_of(bank, seed, n, make_object):
    """n objects, then n negatives: noise with and without the pattern of ``make_object``."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(60, 200, (2 * n, *bank.window)).astype(np.int64)
    for k in range(n):
        make_object(patches[k], rng)
    return Samples(Table.of(np.clip(patches, 0, 255).astype(np.uint8)), n)


def dark_left(patch, rng):
    patch[:, :5] -= rng.integers(10, 60)


def one_bright_corner(patch, rng):
    patch[:5, :5] += 70 * rng.integers(0, 2)
    patch[5:, 5:] -= 50


@pytest.fixture(scope="module")
def bank():
    bank = make_bank((10, 10), "BASIC")
    bank.calibrate(samples_of(bank, 0, 200, dark_left).table)
    return bank


@pytest.mark.parametrize("name", FLAVOURS)
def test_every_flavour_learns_and_generalises(bank, name):
    train, held = (samples_of(bank, seed, 250, one_bright_corner) for seed in (1, 2))
    result = boost_stage(bank, train, held, Goal(0.98, 0.02, 60), Recipe(Flavour(name)))
    last = result.rounds[-1]
    assert result.reached
    assert last.hit_rate >= 0.98
    assert last.false_alarm <= 0.02
    assert len(result.trees) == last.trees <= 60
    score = sum_scores(bank, held.table, result.trees)
    np.testing.assert_array_equal(score, result.held_scores)
    assert np.mean(score[:250] >= result.threshold) == last.hit_rate


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 50))
def test_formulas_of_the_paper(seed, n):
    rng = np.random.default_rng(seed)
    label, score = rng.choice([-1.0, 1.0], n), rng.normal(0, 1, n)
    base = np.full(n, 1 / n)
    w, g = Flavour("gentle").targets(label, score, base)
    want = np.exp(-label * score)
    np.testing.assert_allclose(w, want / want.sum())
    np.testing.assert_allclose(g, w * label)
    w, g = Flavour("logit").targets(label, score, base)
    p = np.exp(score) / (np.exp(score) + np.exp(-score))
    np.testing.assert_allclose(w, p * (1 - p) / (p * (1 - p)).sum())
    np.testing.assert_allclose(g / w, np.clip(((label > 0) - p) / (p * (1 - p)), -10, 10))


def test_leaves_by_hand():
    weight, gradient = np.array([0.5, 0.5]), np.array([-0.3, 0.4])
    assert Flavour("gentle").leaves(weight, gradient).tolist() == pytest.approx([-0.6, 0.8])
    real = Flavour("real").leaves(weight, gradient)
    assert real.tolist() == pytest.approx([np.log(0.2 / 0.8) / 2, np.log(0.9 / 0.1) / 2])
    error = 0.1 + 0.05
    alpha = np.log((1 - error) / error) / 2
    assert Flavour("DAB").leaves(weight, gradient).tolist() == pytest.approx([-alpha, alpha])
    assert Flavour("logit").leaves(weight, gradient).tolist() == pytest.approx([-0.3, 0.4])


def test_depth_two_separates_what_one_stump_cannot(bank):
    def halves(seed):  # objects have a middling edge, negatives none or a strong one
        rng = np.random.default_rng(seed)
        patches = rng.integers(80, 110, (800, 10, 10)).astype(np.int64)
        patches[:400, :, 5:] += 40
        patches[400:600, :, 5:] += 110
        return Samples(Table.of(patches.astype(np.uint8)), 400)

    train, held = halves(1), halves(2)
    goal = Goal(0.99, 0.01, 1)
    rates = []
    for depth in (1, 2):
        recipe = Recipe(depth=depth, plan=SearchPlan("exact"))
        result = boost_stage(bank, train, held, goal, recipe)
        rates.append(result.rounds[-1].false_alarm)
        assert len(result.trees[0].feature) == depth
    assert rates[1] < 0.05 < 0.4 < rates[0]


@pytest.mark.parametrize("features", ["BASIC", "LBP"])
@pytest.mark.parametrize("depth", [1, 2])
def test_same_trees_for_any_threads_and_after_an_interruption(features, depth):
    bank = make_bank((10, 10), features)
    train, held = (samples_of(bank, seed, 150, one_bright_corner) for seed in (1, 2))
    bank.calibrate(train.table)
    goal, recipe = Goal(0.99, 1e-9, 8), Recipe(depth=depth, plan=SearchPlan(refresh=4))
    whole = boost_stage(bank, train, held, goal, recipe, seed=(3, 1))
    workers = Workers(2)
    threaded = boost_stage(bank, train, held, goal, recipe, seed=(3, 1), workers=workers)
    workers.close()
    resumed = boost_stage(bank, train, held, goal, recipe, seed=(3, 1), trees=whole.trees[:4])
    for other in (threaded, resumed):
        assert other.threshold == whole.threshold
        for a, b in zip(whole.trees, other.trees, strict=True):
            assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_tree_says_what_its_nodes_say(bank):
    train = samples_of(bank, 4, 200, one_bright_corner)
    tree = boost_stage(bank, train, train, Goal(0.99, 0.01, 1), Recipe(depth=2)).trees[0]
    values = bank.values(train.table, tree.feature.astype(np.intp))
    for k in (0, 57, 399):
        node = 0
        while True:
            goes_left = values[node, k] < tree.threshold[node]
            node = int((tree.left if goes_left else tree.right)[node])
            if node <= 0:
                break
        assert tree_scores(tree, values)[k] == tree.leaf[-node]


def test_trimming_keeps_the_heavy_samples_in_order():
    weight = np.array([0.1, 0.4, 0.05, 0.3, 0.15])
    assert trimmed(weight, 0.8).tolist() == [1, 3, 4]
    assert trimmed(weight, 1.0).tolist() == [0, 1, 2, 3, 4]


def test_inseparable_samples_end_at_the_limit_and_say_so(bank):
    patches = np.random.default_rng(0).integers(0, 256, (1, 10, 10)).repeat(40, 0).astype(np.uint8)
    same = Samples(Table.of(patches), 20)
    result = boost_stage(bank, same, same, Goal(0.99, 0.5, 5), Recipe())
    assert not result.reached
    assert len(result.trees) == 0


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Goal(hit_rate=1.0), "`hit_rate` must be between 0 and 1, got 1.0"),
        (lambda: Goal(false_alarm=0), "`false_alarm` must be between 0 and 1"),
        (lambda: Goal(max_trees=0), "`max_trees` must be at least 1, got 0"),
        (lambda: Recipe(depth=9), "`depth` must be 1 to 4, got 9"),
        (lambda: Recipe(trim=0), "`trim` must be above 0"),
        (lambda: Flavour("ada"), "`boost` must be one of gentle, real, discrete, logit"),
    ],
)
def test_refuses_nonsense(make, says):
    with pytest.raises(ParameterError, match=says):
        make()
