"""``vj-eval`` in this process."""

import json

import numpy as np
import pytest
from app.test_train_cli import run

from vj.app import eval_cli
from vj.app.status import Status
from vj.io.files import data_folder
from vj.io.images import write_image

DATA = data_folder()


@pytest.fixture
def portrait(tmp_path, astronaut):
    write_image(tmp_path / "a b.png", astronaut)
    entries = [{"file": "a b.png", "boxes": [[172, 58, 104, 120]], "source": "nasa"}]
    (tmp_path / "annotations.json").write_text(json.dumps(entries))
    return tmp_path


@pytest.fixture
def cascade_file(tmp_path):
    from vj.cascade.zoo import list_cascades, load_cascade

    names = list(list_cascades())
    path = tmp_path / "some cascade.xml"
    load_cascade(next(n for n in names if "frontalface" in n)).save(path)
    return path


def test_figures_report_and_json(portrait, cascade_file, tmp_path):
    report, figures = tmp_path / "out" / "r.html", tmp_path / "f.json"
    status, said = run(
        eval_cli, portrait, "--detector", cascade_file, "--iou", "0.3", "-o", report,
        "--json", figures,
    )  # fmt: skip
    assert status == Status.DONE, said
    assert f"report: {report}" in said
    assert "<svg" in report.read_text()
    (row,) = json.loads(figures.read_text())["detectors"]
    assert (row["detector"], row["faces"]) == ("some cascade", 1)
    assert row["AP"] == 1


def test_the_threshold_of_a_detector_is_a_point_of_its_curve(portrait, tmp_path):
    figures = tmp_path / "f.json"
    argv = (portrait, "--detector", "face-tiny", "--detector", "frontalface-fast", "--json", "-")
    status, said = run(eval_cli, *argv)
    assert status == Status.DONE, said
    at = said.splitlines().index("at the default threshold")
    assert "score 0.77" in said.splitlines()[at + 2]
    assert "score 3.235" in said.splitlines()[at + 3]
    assert run(eval_cli, *argv[:3], "--json", figures)[0] == Status.DONE
    (row,) = json.loads(figures.read_text())["detectors"]
    assert row["default"]["ranked_by"] == "score"
    assert row["default"]["recall"] == 1
    assert row["default"]["alarms"] == 0 < row["alarms"]
    argv = (*argv[:3], "--min-score", "0.77", "--json", figures)
    assert run(eval_cli, *argv)[0] == Status.DONE
    assert json.loads(figures.read_text())["detectors"][0]["alarms"] == 0


def test_pictures_that_are_left_out_are_counted(portrait, cascade_file):
    entries = json.loads((portrait / "annotations.json").read_text())
    entries += [{"file": f"{k}.png", "boxes": []} for k in range(8)]
    (portrait / "annotations.json").write_text(json.dumps(entries))
    status, said = run(eval_cli, portrait, "--detector", cascade_file)
    assert (status, said.count("left out: ")) == (Status.DONE, 6)
    assert "left out: 3 more" in said


def test_files_of_one_name_are_told_apart(portrait, cascade_file, tmp_path):
    other = tmp_path / "else" / cascade_file.name
    other.parent.mkdir()
    other.write_bytes(cascade_file.read_bytes())
    figures = tmp_path / "f.json"
    run(eval_cli, portrait, "--detector", cascade_file, "--detector", other, "--json", figures)
    names = [row["detector"] for row in json.loads(figures.read_text())["detectors"]]
    assert names == [str(cascade_file), str(other)]


@pytest.mark.parametrize(
    ("argv", "status", "says"),
    [
        (["nowhere", "--detector", "x"], Status.INPUT, "nowhere: no such file or folder"),
        (["."], Status.USAGE, "the following arguments are required: --detector"),
        ([".", "--detector", "no_such_thing"], Status.MODEL, "no_such_thing"),
        ([".", "--detector", "yunet=none.onnx"], Status.MODEL, "yunet=none.onnx: no such file"),
        ([".", "--detector", "x", "--source", "b"], Status.USAGE, "no 'b': the set has nasa"),
        ([".", "--detector", "x", "--source", "nasa", "b"], Status.USAGE, "--source: no 'b'"),
        ([".", "--detector", "face-tiny", "--min-score", "2"], Status.USAGE, "`min_score` must be"),
        ([".", "--detector", "frontalface", "--size", "320"], Status.USAGE, "no option `size`"),
    ],
)
def test_errors_are_one_line_with_a_status(portrait, monkeypatch, argv, status, says):
    monkeypatch.chdir(portrait)
    got, said = run(eval_cli, *argv)
    assert (got, said.count("\n")) == (status, 1)
    assert said.startswith("vj-eval: ")
    assert says in said


def test_an_onnx_file_that_cv2_cannot_read(portrait, tmp_path):
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2, "FaceDetectorYN"):
        pytest.skip("this cv2 has no FaceDetectorYN")
    (tmp_path / "bad.onnx").write_bytes(b"no net")
    status, said = run(eval_cli, portrait, "--detector", f"yunet={tmp_path / 'bad.onnx'}")
    assert status == Status.MODEL
    assert "cv2 cannot read it" in said


NET = DATA / "ref_models" / "yunet" / "yunet_n_320_320.onnx"


@pytest.mark.skipif(not NET.is_file(), reason="needs the reference nets (VJ_DATA)")
def test_yunet_finds_the_astronaut(portrait, tmp_path):
    pytest.importorskip("cv2")
    figures = tmp_path / "f.json"
    argv = (portrait, "--detector", f"yunet={NET}", "--json", figures)
    assert run(eval_cli, *argv)[0] == Status.DONE
    (row,) = json.loads(figures.read_text())["detectors"]
    assert row["recall at 10"] == 1
    assert np.isfinite(row["ms a picture"])
