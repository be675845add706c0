"""The experiments about the lecture notes run; what they find is theirs to say."""

import json
from importlib import import_module

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from bench.lecture import MINUTES, figures, findings


@pytest.mark.parametrize("name", MINUTES)
def test_an_experiment_runs(name, tmp_path):
    finding = import_module(f"bench.lecture.claims.{name}").experiment(quick=True)
    assert finding.claim
    assert finding.method
    assert "nan" not in finding.measured
    finding.minutes = 0.1
    findings.write(name, finding, tmp_path)
    kept = json.loads((tmp_path / f"{name}.json").read_text())
    assert findings.section(kept).count(finding.measured) == 1
    assert (tmp_path / f"{name}.png").stat().st_size > 1000


def test_every_experiment_is_in_the_index():
    claims = {path.stem for path in (findings.HERE / "claims").glob("*.py")}
    assert claims - {"__init__"} == set(MINUTES)


@pytest.mark.parametrize("name", MINUTES)
def test_the_index_says_what_was_found(name):
    result = findings.RESULTS / f"{name}.json"
    if not result.exists():
        pytest.skip(f"{name} has not been run yet")
    assert findings.section(json.loads(result.read_text())) in findings.PAGE.read_text()
    assert 1000 < result.with_suffix(".png").stat().st_size < 150_000


def test_a_sheet_is_filled_row_by_row():
    tiles = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((2, 3), np.uint8)
    picture = np.asarray(figures.sheet(tiles, 2, zoom=2))
    assert picture.shape == (8, 12)
    assert [picture[0, 0], picture[0, -1], picture[-1, 0], picture[-1, -1]] == [0, 1, 2, 3]


def test_a_verdict_is_one_of_three():
    with pytest.raises(AssertionError, match="maybe"):
        findings.Finding("", "", "", "maybe", {}, None)


def test_without_data_an_experiment_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("VJ_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match=r"skipped: no faces_train/faces_train\.csv"):
        findings.run(import_module("bench.lecture.claims.outliers"), [])
