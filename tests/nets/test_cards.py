"""What is known of models, and models by name."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import nets
import vj
from nets import cards, detectors, registry
from vj.errors import NetError
from vj.io.files import data_folder

MODELS = data_folder() / "ref_models"
with_models = pytest.mark.skipif(
    not MODELS.is_dir(), reason="VJ_DATA has no ref_models: third-party weights are not shipped"
)

OPTIONAL = ("path", "details", "mean", "calibration", "score_threshold")


@pytest.mark.parametrize("card", nets.list_models().values(), ids=lambda card: card.name)
def test_every_card_is_whole(card):
    """No field is empty, and the pixels are those that the detector makes."""
    for entry in dataclasses.fields(card):
        value = getattr(card, entry.name)
        assert entry.name in OPTIONAL or value, f"{card.name}: {entry.name}"
    assert all(len(bytes.fromhex(digest)) == 32 for digest in card.sha256)
    pixels = getattr(detectors, card.detector).pixels
    assert pixels.bgr == (card.channels == "BGR")
    np.testing.assert_allclose([pixels.scale, pixels.shift], [1 / card.std, -card.mean / card.std])
    assert all(0 < score <= 1 for score in card.scores.values())
    assert str(card).startswith(f"{card.name}: ")


@with_models
def test_files_are_recognised_by_their_digests():
    pytest.importorskip("onnx")
    found = {}
    for path in sorted(MODELS.rglob("*.onnx")):
        detector = nets.load(path)
        assert detector.card.detector == type(detector).__name__
        found[path.name] = detector.card.name
    assert set(found.values()) == {
        card.name for card in nets.list_models().values() if card.path is None
    }


def test_weights_that_do_not_come_with_the_package():
    with pytest.raises(NetError, match=r"'yunet-n' do not come .* give the path of the file"):
        nets.load("yunet-n")
    with pytest.raises(NetError, match="'scrfd-500m' do not come with the package"):
        vj.detect(np.zeros((40, 40), np.uint8), "scrfd-500m")
    with pytest.raises(NetError, match=r"gone\.onnx: cannot be read"):
        cards.card_of(Path("gone.onnx"))


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A package that ships one model."""
    source = MODELS / "yunet" / "yunet_n_320_320.onnx"
    entries = json.loads((cards._FOLDER / "published.json").read_text())
    (tmp_path / "published.json").write_text(json.dumps(entries))
    (tmp_path / "mine.onnx").write_bytes(source.read_bytes())
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    card = {**entries["yunet-n"], "sha256": [digest], "recipe": "none"}
    (tmp_path / "mine.json").write_text(json.dumps(card))
    monkeypatch.setattr(cards, "_FOLDER", tmp_path)
    cards._cards.cache_clear()
    yield tmp_path
    cards._cards.cache_clear()


@with_models
def test_a_model_that_comes_with_the_package(shipped):
    pytest.importorskip("onnx")
    assert next(iter(nets.list_models())) == "mine"
    assert list(registry.names()) == ["mine"]
    detector = nets.load("mine", n_jobs=2)
    assert (detector.card.name, detector.card.details) == ("mine", {"recipe": "none"})
    assert len(vj.detect(vj.sample("astronaut"), "mine")) == 1
    with (shipped / "mine.onnx").open("r+b") as file:  # another bit somewhere in the weights
        file.seek(200_000)
        file.write(b"\0\0")
    with pytest.raises(NetError, match=r"mine\.onnx: is not the file that its card describes"):
        nets.load("mine")


@with_models
def test_path_objects(astronaut):
    pytest.importorskip("onnx")
    assert len(vj.detect(astronaut, MODELS / "yunet" / "yunet_n_320_320.onnx")) == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mean": "left"}, "mean: wanted 1 number"),
        ({"std": 0}, "`std` positive"),
        ({"std": float("inf")}, "std: wanted 1 number"),
        ({"channels": ["RGB"]}, "channels: wanted text"),
        ({"channels": "XYZ"}, "`channels` must be RGB or BGR"),
        ({"sha256": "abc"}, "sha256: wanted a list"),
        ({"sha256": [7]}, "sha256: wanted 64 hexadecimal digits, got 7"),
        ({"scores": [1]}, "scores: wanted an object"),
        ({"scores": {"AP": None}}, "scores, AP: wanted 1 number"),
        ({"calibration": {"a": 1}}, "calibration: wanted 2 numbers"),
        ({"calibration": [[1], 2]}, "calibration: wanted 2 numbers"),
        ({"licence": None}, "licence: wanted text, got None"),
    ],
)
def test_a_card_that_lies_is_one_line(tmp_path, changes, says):
    card = json.loads((cards._FOLDER / "face-tiny.json").read_text())
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(card))
    assert cards.read_card(path, tmp_path / "mine.onnx").name == "mine"
    path.write_text(json.dumps({**card, **changes}))
    with pytest.raises(NetError, match=says):
        cards.read_card(path, tmp_path / "mine.onnx")
    path.write_text("[" * 100_000)
    with pytest.raises(NetError, match="nested in more than 100 levels"):
        cards.read_card(path, tmp_path / "mine.onnx")


def test_a_steep_calibration_ends_at_0_and_1():
    card = dataclasses.replace(nets.list_models()["face-tiny"], calibration=(1e6, 0.0))
    np.testing.assert_array_equal(card.confidence(np.array([0.25, 0.75], np.float32)), [0, 1])
