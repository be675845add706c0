"""Responses on tables of samples against the detector's own, feature by feature."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vj.errors import TrainingError
from vj.features.haar import haar_features
from vj.features.lbp import lbp_codes
from vj.train.features import HaarBank, Table, make_bank


def patches_of(seed, n, rows, cols):
    rng = np.random.default_rng(seed)
    smooth = rng.integers(0, 256, (n, rows // 4 + 1, cols // 4 + 1)).repeat(4, 1).repeat(4, 2)
    noise = rng.integers(-20, 20, (n, rows, cols))
    return np.clip(smooth[:, :rows, :cols] + noise, 0, 255).astype(np.uint8)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 99), st.sampled_from([(8, 8), (12, 7), (9, 16)]), st.integers(1, 140))
def test_values_are_bit_equal_to_those_of_the_detector(seed, window, n):
    patches = patches_of(seed, n, *window)
    bank = HaarBank(window, "ALL")
    table = Table.of(patches, tilted=True)
    which = np.random.default_rng(seed).choice(len(bank), 60, replace=False)
    got = bank.values(table, which)
    for k in {0, n // 2, n - 1}:
        area = (window[0] - 2) * (window[1] - 2)
        accepted = patches[k, 1:-1, 1:-1].std() > 10
        want = haar_features(patches[k], bank.features[which], window=window)
        np.testing.assert_array_equal(got[:, k], want if accepted else 0 * want)
        assert (table.norms[k] * area > 0) == accepted
    assert not table.norms[n:].any()


@pytest.mark.parametrize("window", [(8, 8), (12, 7)])
def test_bins_are_the_quantised_values(window):
    patches = patches_of(1, 200, *window)
    bank = HaarBank(window, "ALL")
    table = Table.of(patches, tilted=True)
    bank.calibrate(table)
    every = np.arange(len(bank))
    values = bank.values(table, every)
    low, scale = bank._low[:, None], bank._scale[:, None]
    want = np.clip((values - low) * scale, 0, 255).astype(np.uint8)
    got = bank.bins(table, every)[:, :200]
    np.testing.assert_array_equal(got, want)
    assert np.mean((got > 0) & (got < 255)) > 0.95


def test_a_flat_sample_is_refused_and_a_contrasty_one_is_not():
    flat = np.full((1, 8, 8), 90, np.uint8)
    edge = flat.copy()
    edge[:, :, 4:] = 200
    norms = Table.of(np.concatenate([flat, edge])).norms
    assert norms[0] == 0
    assert norms[1] == pytest.approx(1 / (36 * edge[0, 1:-1, 1:-1].std()), rel=1e-6)


def test_lbp_codes_are_those_of_the_detector():
    patches = patches_of(3, 130, 12, 9)
    bank = make_bank((12, 9), "LBP")
    got = bank.values(Table.of(patches), np.arange(len(bank)))
    for k in (0, 64, 129):
        np.testing.assert_array_equal(got[:, k], lbp_codes(patches[k], bank.blocks))


def test_picked_samples_are_the_same_samples():
    patches = patches_of(5, 300, 8, 8)
    bank = make_bank((8, 8), "BASIC")
    which = np.array([299, 3, 3, 128])
    picked = bank.values(Table.of(patches).pick(which), np.arange(40))
    np.testing.assert_array_equal(picked, bank.values(Table.of(patches[which]), np.arange(40)))


@pytest.mark.parametrize("window", [(300, 300), (24, 4)])
def test_refuses_windows_that_cannot_be_exact(window):
    with pytest.raises(TrainingError, match=f"`window` {window[1]}x{window[0]}"):
        make_bank(window, "BASIC")
