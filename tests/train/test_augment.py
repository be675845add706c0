"""Variants: exact where nothing changes, small where little does, the same for the same seed."""

from dataclasses import replace

import numpy as np
import pytest

from vj.errors import ParameterError
from vj.train.augment import PLAIN, Augment, variant
from vj.train.samples import cut, fit_window

WINDOW = (24, 20)


def crop_of(gray, box, roll=0.0):
    region = fit_window(np.array(box, float), WINDOW, 1.0)
    return cut(gray, region, WINDOW, 1.8, roll, "g", "w")


@pytest.fixture
def scene(astronaut):
    return np.ascontiguousarray(astronaut[:300, 100:400, 1])


def test_a_plain_variant_of_window_size_is_the_pixels_themselves(scene):
    crop = crop_of(scene, [100, 50, 120, 74])
    got = variant(crop, WINDOW, replace(PLAIN, point_sampled=1), np.random.default_rng(0))
    np.testing.assert_array_equal(got, scene[50:74, 100:120])


def test_shrinking_by_areas_averages(scene):
    crop = crop_of(scene, [100, 50, 140, 98])
    got = variant(crop, WINDOW, PLAIN, np.random.default_rng(0))
    want = scene[50:98, 100:140].reshape(24, 2, 20, 2).mean(axis=(1, 3))
    assert np.abs(got - want).mean() < 2


def test_a_mirrored_variant_is_the_mirror_image(scene):
    crop = crop_of(scene, [100, 50, 120, 74])
    mirror = replace(PLAIN, flip=1, point_sampled=1)
    got = variant(crop, WINDOW, mirror, np.random.default_rng(0))
    np.testing.assert_array_equal(got, scene[50:74, 100:120][:, ::-1])


def test_a_known_roll_is_taken_back():
    from PIL import Image

    upright = np.zeros((200, 200), np.uint8)
    upright[60:100, 80:120] = 200  # above the centre
    turned = np.asarray(Image.fromarray(upright).rotate(-25, Image.Resampling.BILINEAR))
    box = [50, 50, 150, 170]
    flat, rolled = crop_of(upright, box), crop_of(turned, box, roll=25.0)
    a, b = (variant(c, WINDOW, PLAIN, np.random.default_rng(0)) for c in (flat, rolled))
    wrong = variant(replace(rolled, roll=-25.0), WINDOW, PLAIN, np.random.default_rng(0))
    assert np.abs(a.astype(int) - b).mean() < 12 < np.abs(a.astype(int) - wrong).mean()


def test_same_seed_same_variant_and_seeds_differ(scene):
    crop, wild = crop_of(scene, [100, 50, 160, 122]), Augment(occlusion=0.5, blur=0.5, jpeg=0.5)
    first, again, other = (
        variant(crop, WINDOW, wild, np.random.default_rng([1, k])) for k in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_changing_one_setting_leaves_the_others_alone(scene):
    crop = crop_of(scene, [100, 50, 160, 122])
    base = replace(PLAIN, shift=0.1)
    moved = variant(crop, WINDOW, base, np.random.default_rng(5))
    brighter = variant(crop, WINDOW, replace(base, contrast=0.3), np.random.default_rng(5))
    assert np.corrcoef(moved.ravel(), brighter.ravel())[0, 1] > 0.99
    assert (moved != brighter).any()


@pytest.mark.parametrize("name", ["gamma", "contrast", "noise", "blur", "jpeg", "occlusion"])
def test_every_photometric_setting_does_something(scene, name):
    crop = crop_of(scene, [100, 50, 160, 122])
    plain = variant(crop, WINDOW, PLAIN, np.random.default_rng(2))
    changed = variant(crop, WINDOW, replace(PLAIN, **{name: 1.0}), np.random.default_rng(2))
    assert (plain != changed).any()


def test_variants_never_reach_beyond_the_crop(scene):
    augment = Augment()
    region = fit_window(np.array([120.0, 100.0, 180.0, 172.0]), WINDOW, 1.0)
    crop = cut(np.full_like(scene, 255), region, WINDOW, augment.reach(), 10.0, "g", "w")
    geometric = replace(PLAIN, shift=augment.shift, scale=augment.scale, rotation=3, unroll=0.6)
    darkest = min(
        variant(crop, WINDOW, geometric, np.random.default_rng(k)).min() for k in range(300)
    )
    assert darkest == 255  # a black corner would show that pixels were missing


def test_refuses_impossible_settings():
    with pytest.raises(ParameterError, match="`flip` must be 0 to 1, got 2"):
        Augment(flip=2)
    with pytest.raises(ParameterError, match="`shift` must be at least 0, got -1"):
        Augment(shift=-1)
