"""The API pages show every public name, and CONTRIBUTING.md names real files."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import nets
import vj

ROOT = Path(__file__).parents[1]


def test_contributing_names_files_that_are_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:vj|nets|bench|tests)/[\w/.-]*)", text))
    assert len(paths) > 20
    assert not [path for path in paths - {"nets/operators/FAMILY.py"} if not (ROOT / path).exists()]


def test_every_public_name_has_an_entry(tmp_path):
    pytest.importorskip("pdoc")
    command = [sys.executable, "-W", "ignore", "-m", "vj.app.docs", "-o", tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    for package in (vj, nets):
        page = (tmp_path / f"{package.__name__}.html").read_text(encoding="utf-8")
        modules = {"autograd", "compat", "interpret", "models", "nn", "training"}
        missing = [n for n in set(package.__all__) - modules if f'<section id="{n}"' not in page]
        assert not missing
