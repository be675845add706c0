import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from cascades import random_cascade

import vj
from vj.cascade import zoo
from vj.errors import CascadeError, SourceError


@pytest.fixture
def our_folder(tmp_path, monkeypatch):
    """An empty folder in the place of the cascades of our own."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setattr(zoo, "_OURS", folder)
    zoo._cards.cache_clear()
    zoo._bundled.cache_clear()
    yield folder
    zoo._cards.cache_clear()
    zoo._bundled.cache_clear()


def test_default_is_there_and_loaded_once():
    cascade = vj.load_cascade("frontalface")
    assert cascade is vj.load_cascade("frontalface")
    assert cascade.name == "frontalface"
    assert cascade.metadata["card"] == vj.list_cascades()["frontalface"]


def test_files_of_opencv_go_by_their_names():
    names = list(vj.list_cascades())
    files = {path.stem for path in Path(cv2.data.haarcascades).glob("*.xml")}
    assert len(files) == 17
    assert files < set(names)
    assert vj.load_cascade("haarcascade_eye").n_trees == 1066
    for card in vj.list_cascades().values():
        assert card.path.is_file()
        assert card.description
        assert card.licence
        assert str(card).startswith(f"{card.name}: ")


def test_a_cascade_put_into_the_folder_appears_first_with_its_card(our_folder):
    ours = random_cascade(np.random.default_rng(0))
    ours.save(our_folder / "frontalface.xml")
    ours.save(our_folder / "stray.xml")  # without a card it is not published
    card = {"description": "ours", "licence": "Apache-2.0", "source": "trained here", "recall": 0.9}
    (our_folder / "frontalface.json").write_text(json.dumps(card))
    cards = vj.list_cascades()
    assert next(iter(cards)) == "frontalface"
    assert "stray" not in cards
    assert "lbpcascade_frontalface" in cards
    assert cards["frontalface"].description == "ours"
    assert dict(cards["frontalface"].details) == {"recall": 0.9}
    assert vj.load_cascade("frontalface").window == ours.window


def test_a_broken_card_is_one_line(our_folder):
    random_cascade(np.random.default_rng(0)).save(our_folder / "x.xml")
    for text in ("{", "[3]"):
        (our_folder / "x.json").write_text(text)
        with pytest.raises(CascadeError, match=r"x\.json: no model card"):
            vj.list_cascades()


def test_unknown_names_get_a_hint():
    with pytest.raises(CascadeError, match="'frontalfaec': did you mean frontalface"):
        vj.load_cascade("frontalfaec")
    with pytest.raises(CascadeError, match="no cascade named 'zzz': There are frontalface, "):
        vj.load_cascade("zzz")
    with pytest.raises(SourceError, match=r"frontalface\.xml: cannot read the cascade"):
        vj.load_cascade("frontalface.xml")
    with pytest.raises(SourceError, match="cannot read the cascade"):
        vj.load_cascade("./frontalface")


def test_paths_bytes_and_files(tmp_path, monkeypatch):
    ours = random_cascade(np.random.default_rng(0))
    monkeypatch.chdir(tmp_path)
    vj.save_cascade(ours, "no_suffix")
    data = Path("no_suffix").read_bytes()
    with open("no_suffix", "rb") as file:  # noqa: PTH123
        for source in ("no_suffix", "./no_suffix", Path("no_suffix"), data, file):
            assert vj.load_cascade(source).n_trees == ours.n_trees


@pytest.mark.parametrize("source", [None, 7, [], 1.5])
def test_refuses_what_is_no_source(source):
    with pytest.raises(SourceError, match="a name, a path, bytes or a file object, got"):
        vj.load_cascade(source)


def test_loading_imports_neither_numba_nor_the_packages_that_carry_the_files():
    code = (
        "import sys, vj; vj.load_cascade('frontalface'); vj.list_cascades(); "
        "print([m for m in ('numba', 'cv2', 'skimage', 'scipy', 'PIL') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
