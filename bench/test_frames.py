"""What training frames cost: decoding, cutting, composing, light and compression."""

from __future__ import annotations

import itertools

import pytest

from nets.detectors.training.data import read_data
from nets.detectors.training.scenes import KINDS, Mixture, Scenes
from vj.io.files import data_folder

DATA = data_folder()
MIXED = 64  # frames in a row


@pytest.fixture(scope="module")
def data():
    if not (DATA / "faces_train").is_dir():
        pytest.skip("VJ_DATA has no faces_train: data is not shipped")
    return read_data(DATA)[0]


@pytest.mark.parametrize("size", [256, 320])
@pytest.mark.parametrize("kind", [*KINDS, "the usual mixture"])
def test_frames(race, data, size, kind):
    """64 frames for the training of face detectors, on one core."""
    mixture = Mixture(kinds=((kind, 1.0),)) if kind in KINDS else Mixture()
    scenes, count = Scenes(data, size, mixture=mixture), itertools.count()
    case = f"{kind}, {size}x{size}"

    def make():
        return scenes.batch(next(count) * MIXED, MIXED)

    race(make, table="Training frames", case=case, lib="vj")
