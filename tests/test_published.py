"""README, cards, benchmark results and ``vj-eval`` agree on the detectors of the package."""

import json
import re
from pathlib import Path

import pytest
from app.test_train_cli import run

import nets
from vj.app import eval_cli
from vj.app.status import Status
from vj.cascade.zoo import list_cascades
from vj.io.files import data_folder

ROOT = Path(__file__).parents[1]
NETS = [name for name, card in nets.list_models().items() if card.path]
CASCADES = ["frontalface", "frontalface-fast"]
DEV = data_folder() / "boxes_dev"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def in_card(name):
    """AP and recall at 50 false positives, three digits."""
    if name in CASCADES:
        scores = list_cascades()[name].details["scores"]
        return f"{scores['ap']:.3f}", f"{scores['recall_at_50']:.3f}"
    scores = nets.list_models()[name].scores
    return f"{scores['AP']:.3f}", f"{scores['recall at 50 false alarms']:.3f}"


@pytest.mark.parametrize("name", [*NETS, *CASCADES])
def test_readme_results_and_card_agree(name):
    ap, recall = in_card(name)
    row = re.search(rf"^\| \*\*{name}\*\*[^|]*\| (0\.\d{{3}}) \| (0\.\d{{3}}) \|", README, re.M)
    assert row.groups() == (ap, recall)
    kept = json.loads((ROOT / "bench" / "results" / "detectors.json").read_text())
    measured = kept["detectors"][f"vj {name}"]
    assert (f"{measured['ap']:.3f}", f"{measured['recall_at_50']:.3f}") == (ap, recall)


@pytest.mark.parametrize("name", NETS)
def test_both_tables_of_the_readme_agree(name):
    (ap,) = re.findall(rf"^\| `{name}` \| (0\.\d{{3}}) \|", README, re.M)
    assert ap == in_card(name)[0]


@pytest.mark.skipif(not DEV.is_dir(), reason="needs boxes_dev (VJ_DATA)")
@pytest.mark.parametrize("name", ["face-tiny", "frontalface-fast"])
def test_the_command_prints_what_the_card_says(name, tmp_path):
    figures = tmp_path / "figures.json"
    status, said = run(eval_cli, DEV, "--detector", name, "--json", figures)
    assert status == Status.DONE, said
    (row,) = json.loads(figures.read_text())["detectors"]
    assert (f"{row['AP']:.3f}", f"{row['recall at 50']:.3f}") == in_card(name)
    default = row["default"]
    assert default["recall"] < row["recall"]
    assert default["alarms"] < row["alarms"] / 5
    assert 0.9 < default["precision"] < 1
