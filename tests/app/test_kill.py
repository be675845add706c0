"""Three kills of each kind; `kill` as a command makes as many as one likes."""

import os

import pytest
from kill import COMMANDS, Killer

pytest.importorskip("skimage")


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("kind", COMMANDS)
def test_a_killed_redaction_leaves_nothing_half_written(tmp_path, kind):
    killer = Killer(kind, tmp_path)
    for _ in range(3):
        killer.kill()
