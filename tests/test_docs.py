"""The API pages: every public name is on them."""

import subprocess
import sys

import pytest

import nets
import vj

pytest.importorskip("pdoc")


def test_every_public_name_has_an_entry(tmp_path):
    command = [sys.executable, "-W", "ignore", "-m", "vj.app.docs", "-o", tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    for package in (vj, nets):
        page = (tmp_path / f"{package.__name__}.html").read_text(encoding="utf-8")
        modules = {"autograd", "compat", "interpret", "models", "nn", "training"}
        missing = [n for n in set(package.__all__) - modules if f'<section id="{n}"' not in page]
        assert not missing
