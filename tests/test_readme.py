"""Every example of README.md and nets/README.md runs as it stands there."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from app.clips import make_clip
from PIL import Image

import vj
from vj.io.files import data_folder

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "nets/README.md", "vj/app/README.md")
YUNET = data_folder() / "ref_models" / "yunet" / "yunet_n_dynamic.onnx"
NOT_RUN = {  # part of a line, and why it is left out
    "pip install": "installs the package",
    "camera:": "needs a camera",
    "--time": "trains for minutes",
    "nets.detectors.train": "trains for hours",
    "nets.detectors.gather": "needs clones of repositories",
    "runs/": "needs the weights of such a training",
}
STATUS = {"--fail-if-any": 11}  # the photograph has a face


def blocks(page, language):
    """(line number, text) of the fenced blocks in one language."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for found in re.finditer(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        if found[1] == language:
            yield text[: found.start(2)].count("\n") + 1, found[2]


def commands():
    """Every line of a shell block."""
    for page in PAGES:
        for first, text in blocks(page, ""):
            for number, line in enumerate(text.splitlines(), first):
                if line.startswith(("vj-", "cat ", "python", ".venv/bin/")):
                    yield pytest.param(line, id=f"{page}:{number}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with everything that the examples name."""
    folder = tmp_path_factory.mktemp("readme")
    photo = Image.fromarray(vj.sample("astronaut"))
    (folder / "holiday" / "beach").mkdir(parents=True)
    for name in ("photo.jpg", "kitchen.jpg", "holiday/a.jpg", "holiday/beach/b.png"):
        photo.save(folder / name)
    make_clip(folder / "clip.mp4", times=range(0, 240, 40))
    rng = np.random.default_rng(0)
    crops = {"faces/train": "face other", "faces/test": "face other", "masks/train": "no yes odd"}
    for split, classes in crops.items():
        for name in classes.split():
            (folder / split / name).mkdir(parents=True)
            for k in range(6):
                pixels = rng.integers(0, 256, (40, 40), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{k}.jpg")
    items = []
    for name in ("labels", "backgrounds"):
        (folder / name).mkdir()
        for k in range(8):
            Image.fromarray(rng.integers(0, 256, (90, 120), dtype=np.uint8)).save(
                folder / name / f"{k}.png"
            )
    items = [{"file": f"{k}.png", "boxes": [[20, 20, 40, 40]]} for k in range(8)]
    (folder / "labels" / "annotations.json").write_text(json.dumps(items), encoding="utf-8")
    vj.save_cascade(vj.load_cascade("frontalface-fast"), folder / "cup.xml")
    if YUNET.is_file():
        for name in ("yunet.onnx", "face.onnx", "model.onnx"):
            shutil.copy(YUNET, folder / name)
    return folder


def run(line, folder):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(line, shell=True, cwd=folder, env=environment, capture_output=True)


@pytest.mark.parametrize("page", PAGES)
def test_python(page, folder, monkeypatch):
    """The blocks of a page, one after the other in one namespace."""
    monkeypatch.chdir(folder)
    image = vj.sample("astronaut")[:256, :256]
    array = np.zeros((1, 3, 320, 320), np.float32)
    names = {"image": image, "images": [image, image], "array": array}
    for line, text in blocks(page, "python"):
        if ".onnx" in text and "lenet" not in text and not YUNET.is_file():
            continue  # published networks do not come with the package
        exec(compile("\n" * (line - 1) + text, str(ROOT / page), "exec"), names)


@pytest.mark.parametrize("line", list(commands()))
def test_command(line, folder):
    for part, reason in NOT_RUN.items():
        if part in line:
            pytest.skip(reason)
    if "yunet.onnx" in line and not YUNET.is_file():
        pytest.skip("published networks do not come with the package")
    if not shutil.which("jq"):
        line = line.replace("| jq .results", "")
    done = run(line, folder)
    wanted = next((status for part, status in STATUS.items() if part in line), 0)
    assert done.returncode == wanted, done.stderr.decode()


def test_json(folder):
    """The row in vj/app/README.md has the fields that the command writes."""
    ((_, text),) = blocks("vj/app/README.md", "json")
    shown = json.loads(text)
    line = f"vj-detect photo.jpg --detector {shown['detector']} --json -"
    row = json.loads(run(line, folder).stdout)["results"][0]
    assert shown.keys() == row.keys()
    assert shown["boxes"][0].keys() <= row["boxes"][0].keys()


@pytest.mark.skipif(not YUNET.is_file(), reason="published networks do not come with the package")
def test_profile():
    """The layers shown in nets/README.md are those of the plan; times are the machine's."""
    import nets

    (shown,) = (text for _, text in blocks("nets/README.md", "") if text.startswith("layer "))
    there = nets.load_onnx(YUNET).describe((320, 320)).splitlines()

    def cells(lines):
        return [re.split(r"\s{2,}|\s(?=\()", line)[:5] for line in lines]

    lines = shown.splitlines()[:-1]
    assert cells(lines) == cells(there)[: len(lines)]


def test_links():
    """Relative links lead to a file, and their anchors to a heading in it."""
    broken = []
    below = (path for name in ("vj", "nets", "bench") for path in (ROOT / name).rglob("*.md"))
    for path in (*ROOT.glob("*.md"), *below):
        for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", path.read_text(encoding="utf-8")):
            name, _, anchor = target.partition("#")
            place = (path.parent / name) if name else path
            if not place.exists():
                broken.append(f"{path.relative_to(ROOT)}: {target}")
            elif anchor and anchor not in anchors(place.read_text(encoding="utf-8")):
                broken.append(f"{path.relative_to(ROOT)}: no heading for {target}")
    assert not broken


def anchors(text):
    """Headings as GitHub links to them."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}
