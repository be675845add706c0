"""Start-up: whole processes and imports, with compiled kernels and without."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.harness.timing import Case

COMMAND = str(Path(sys.executable).with_name("vj-detect"))
RUNS = {
    "vj-detect --help": [COMMAND, "--help"],
    "vj-detect --sample, kernels compiled before": [COMMAND, "--sample", "--quiet"],
    **{f"python -c 'import {name}'": [sys.executable, "-c", f"import {name}"]
       for name in ("vj", "numba", "cv2", "numpy")},
}  # fmt: skip


def start(command: list[str], **env: str) -> None:
    # bytecode may be cached, as it is after any ordinary installation
    env = {**os.environ, **env}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run(command, check=True, capture_output=True, env=env)


def cases(_) -> Iterator[Case]:
    for name, command in RUNS.items():
        calls = {"vj" if "vj" in name else "alone": partial(start, command)}
        yield Case("Start", "Whole processes.", name, calls, clock="perf_counter")
    about = "The first detection on a machine, which compiles the kernels."
    with tempfile.TemporaryDirectory() as folder:
        empty = (str(Path(folder, str(k))) for k in itertools.count())

        def first() -> None:
            start([COMMAND, "--sample", "--quiet"], VJ_CACHE_DIR=next(empty))

        yield Case("First start", about, "vj-detect --sample", {"vj": first}, clock="perf_counter")
