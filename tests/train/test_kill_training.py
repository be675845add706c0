"""Three kills of each kind of training; `kill_training` as a command makes as many as one likes."""

import os

import pytest
from train.kill_training import KINDS, Killer


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_training_leaves_nothing_half_written_and_ends_the_same(tmp_path, kind):
    killer = Killer(kind, tmp_path)
    for _ in range(3):
        killer.kill()
