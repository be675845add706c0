"""Files of results that `bench.report` reads, written by the benchmarks that run by themselves."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

NETS = ("numpy", "numba", "onnxruntime", "torch", "opencv-python")
FACES = ("numpy", "numba", "onnxruntime")


def write(path: str | os.PathLike[str], benchmarks: list[dict]) -> None:
    """Timings as pytest-benchmark has them, in place of those that were there."""
    _write(path, NETS, benchmarks=benchmarks)


def keep(
    path: Path, part: str, rows: dict[str, dict], arrange: Callable[[dict], dict], **about: object
) -> None:
    """Add rows to a file of results as it is by now: others may be measuring at the same time."""
    kept = json.loads(path.read_text(encoding="utf-8"))[part] if path.is_file() else {}
    _write(path, FACES, **about, benchmarks=[], **{part: arrange(kept | rows)})


def _write(path: str | os.PathLike[str], libraries: tuple[str, ...], **content: object) -> None:
    about = {"datetime": time.strftime("%Y-%m-%d"), "machine_info": _machine(libraries)}
    text = json.dumps(about | content, indent=1, ensure_ascii=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


def _machine(libraries: tuple[str, ...]) -> dict:
    try:
        from cpuinfo import get_cpu_info

        cpu = get_cpu_info().get("brand_raw", platform.machine())
    except ImportError:
        cpu = platform.machine()
    return {
        "cpu": f"{cpu}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in libraries},
    }
