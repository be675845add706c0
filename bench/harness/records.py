"""Result files: what was measured, on which machine, with which versions, at which commit."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from vj.io.files import replacing

RESULTS = Path(__file__).parents[1] / "results"
PACKAGES = (
    "numpy", "numba", "scipy", "scikit-image", "opencv-python", "onnxruntime", "torch", "Pillow",
    "av",
)  # fmt: skip


def read(path: Path) -> dict[str, Any]:
    """Content of a result file, empty where there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def save(path: Path, **content: Any) -> None:
    """Replace a result file."""
    about = {**stamp(), "machine": machine()}
    with replacing(path) as file:
        text = json.dumps(about | content, indent=1, ensure_ascii=False, default=_plain)
        file.write(text.encode() + b"\n")


def merge(
    path: Path, part: str, rows: dict[str, dict], arrange: Callable[[dict], dict], **about: Any
) -> None:
    """Replace the rows of these names in ``part`` of a result file; each has its own stamp.

    The file is read again first: another process may have added rows in the meantime.
    """
    fresh = {name: row | stamp() for name, row in rows.items()}
    save(path, **about, **{part: arrange(read(path).get(part, {}) | fresh)})


def _plain(value: Any) -> Any:
    """NumPy's numbers, with four digits: more would claim more than was measured."""
    if isinstance(value, np.ndarray):
        return [_plain(x) for x in value]
    return float(f"{float(value):.4g}") if isinstance(value, np.floating) else value.item()


def stamp() -> dict[str, str | None]:
    """Date and commit of a measurement."""
    return {"date": time.strftime("%Y-%m-%d"), "commit": commit()}


def commit() -> str | None:
    """The commit of the checkout, with a ``+`` if the code differs from it; None outside git."""
    git = ["git", "-C", str(RESULTS.parents[1])]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=10", "HEAD"], capture_output=True,
                              text=True, check=True).stdout.strip()  # fmt: skip
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "*.py"]).returncode
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + "+" * changed


def machine() -> dict[str, Any]:
    """What makes timings comparable, and nothing that identifies the machine."""
    return {
        "cpu": f"{_cpu()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
