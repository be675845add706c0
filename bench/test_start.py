"""Whole processes, from the shell's point of view."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("vj-detect")
RUNS = {
    "vj-detect --help": [COMMAND, "--help"],
    "vj-detect --sample, kernels compiled before": [COMMAND, "--sample", "--quiet"],
    "python -c 'import vj'": [sys.executable, "-c", "import vj"],
    "python -c 'import numba'": [sys.executable, "-c", "import numba"],
    "python -c 'import cv2'": [sys.executable, "-c", "import cv2"],
    "python -c 'import numpy'": [sys.executable, "-c", "import numpy"],
}


def start(command, **env):
    # bytecode may be cached, as it is after any ordinary installation
    env = {**os.environ, **env}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run(command, check=True, capture_output=True, env=env)


@pytest.mark.benchmark(min_rounds=5, timer=time.perf_counter)
@pytest.mark.parametrize("name", RUNS)
def test_warm(race, name):
    """Whole processes, wall time."""
    lib = "vj" if "vj" in name else "alone"
    race(lambda: start(RUNS[name]), table="Start", case=name, lib=lib)


@pytest.mark.benchmark(min_rounds=2, max_time=0.1, timer=time.perf_counter)
def test_cold(race, tmp_path):
    """The first detection ever on a machine, which compiles the kernels; wall time."""
    count = iter(range(100))

    def run():
        start([COMMAND, "--sample", "--quiet"], VJ_CACHE_DIR=str(tmp_path / str(next(count))))

    race(run, table="First start", case="vj-detect --sample", lib="vj")
