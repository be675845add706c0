"""The page about a training: what came out first, how it was made last, and what to do next."""

import re

import pytest
from train.test_trainer import QUICK, task, train

from vj.train.report import MANY, TrainingReport
from vj.train.trainer import CascadeTrainer


def page(report, folder):
    report.save_html(folder / "r.html")
    return (folder / "r.html").read_text()


def test_results_stand_before_samples_and_settings(tmp_path):
    text = page(train().report_, tmp_path)
    headings = re.findall("<h2>(.*?)</h2>", text)
    assert headings[0] == "Stages"
    assert headings[-2:] == ["Samples", "Settings"]
    assert text.index("of the held-out objects pass all stages") < text.index("<h2>")
    assert len(re.findall(r"<figcaption>stage \d+</figcaption>", text)) == 3
    assert text.count("clip-path") == 2
    for stage in range(3):  # in the legend of the ROC curves
        assert f">stage {stage}</text>" in text


@pytest.mark.parametrize("features", ["LBP", "ALL"])
def test_features_of_every_stage_are_drawn(features, tmp_path):
    report = train(features=features, n_stages=2).report_
    text = page(report, tmp_path)
    assert re.findall(r"<figcaption>(stage \d+)</figcaption>", text) == ["stage 0", "stage 1"]
    plain, drawn = (report._drawn(k, report.pictures["mean"][0], 1) for k in (0, 1))
    assert (plain != drawn).any()


def altered(report, **stage):
    """The report of a training whose last stage went otherwise."""
    log = [dict(row) for row in report.log]
    log[-1].update(stage)
    return TrainingReport(
        report.settings, log, "all stages are trained", "", 1.0, report.check, report.cascade,
        report.pictures,
    )  # fmt: skip


def test_a_missed_goal_comes_with_advice(tmp_path):
    report = train(n_stages=2).report_
    assert altered(report).hints == []
    hints = altered(report, reached=False, false_alarm=0.8, trees=20).hints
    assert len(hints) == 2
    assert hints[0].startswith("stage 1 missed the goal: 80% of the negatives pass with 20 trees")
    assert "CORE features (features, --features CORE) and trees of depth 2" in hints[1]
    assert "<li>stage 1 missed" in page(altered(report, reached=False), tmp_path)
    assert "found the task hard" in altered(report, trees=MANY).hints[0]


@pytest.mark.parametrize(
    ("more", "left"),
    [
        ({"features": "CORE"}, "trees of depth 2"),
        ({"depth": [1, 2]}, "CORE features"),
        ({"features": "CORE", "depth": 2}, ""),
        ({"features": "LBP"}, "trees of depth 2"),
    ],
)
def test_nothing_is_suggested_that_is_there(more, left):
    report = CascadeTrainer(**{**QUICK, "n_stages": 1, **more}).fit(*task()).report_
    richer = altered(report, trees=MANY)._richer()
    assert left in richer
    assert ("and" in richer) is False
    assert bool(richer) == bool(left)
