"""The tables, paragraphs and figures of README.md and nets/README.md that are measurements.

A part stands between markers: ``<!-- bench:NAME -->`` and ``<!-- /bench -->`` on lines of their own
around a whole table or paragraph, ``<!--fig:NAME-->`` and ``<!--/-->`` around a number within a
line (never at its start, where a comment would end the paragraph).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from bench.report import tables
from bench.report.detectors import OURS, cells
from vj.detect.registry import DEFAULT

Results = Mapping[str, Mapping[str, Any]]
MARKED = re.compile(r"(<!-- bench:([\w-]+) -->\n|<!--fig:([\w-]+)-->).*?(<!-- /bench -->|<!--/-->)",
                    re.DOTALL)  # fmt: skip

SHIPPED = {
    "face-fast": "the default",
    "face-cnn": "the most accurate",
    "face-tiny": "for small boards",
}
DETECTORS = (
    "vj SCRFD-2.5G", "vj face-cnn", "vj SCRFD-500M", "vj face-fast", "cv2 5.0 YuNet-n",
    "onnxruntime YuNet-n", "vj YuNet-n", "vj Ultra-Light RFB @320", "vj face-tiny",
    "vj frontalface", "vj frontalface-fast", "cv2 frontalface_alt2", "vj frontalface_alt2", "pico",
)  # fmt: skip
ENGINES = {"vj": "our engine", "cv2": "OpenCV 4", "cv2 5.0": "OpenCV 5"}
NOTES = {
    DEFAULT: " (the default)", "frontalface": " (a cascade)", "frontalface-fast": " (a cascade)",
}  # fmt: skip
CASCADES = {
    "default": "frontalface_default",
    "alt": "frontalface_alt",
    "alt2": "frontalface_alt2",
    "LBP": "lbp frontalface",
}


def filled(text: str, results: Results) -> str:
    """The text with every marked part as the results have it."""

    def put(found: re.Match[str]) -> str:
        name = found[2] or found[3]
        if name not in PARTS:
            raise SystemExit(f"no part {name!r}: bench/report/readme.py has {', '.join(PARTS)}")
        return found[1] + PARTS[name](results) + found[4]

    return MARKED.sub(put, text)


def rows(*lines: list[str]) -> str:
    """A Markdown table; the first line is its head."""
    head, *body = (f"| {' | '.join(cells)} |" for cells in lines)
    return "\n".join([head, "|---" * len(lines[0]) + "|", *body]) + "\n"


def table(results: Results, name: str) -> tables.Table:
    found = (t for content in results.values() for t in content.get("tables", ()))
    return next(t for t in found if t["name"] == name)


def times(results: Results, name: str) -> dict[str, dict[str, float]]:
    """Seconds by case and competitor."""
    return {
        row["case"]: {who: t["min"] for who, t in row["times"].items()}
        for row in table(results, name)["cases"]
    }


def fastest(row: Mapping[str, float], name: str) -> float:
    """The best of a library in several settings."""
    return min(t for who, t in row.items() if who.startswith(name))


def ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f}" if seconds < 9.95e-3 else f"{seconds * 1e3:.0f}"


def opencv(results: Results) -> str:
    found = times(results, "Detection, one thread")
    pictures = list(dict.fromkeys(case.partition(": ")[2] for case in found))
    version = results["detection.opencv"]["machine"]["versions"]["opencv-python"]
    lines = [[f"vj / OpenCV {'.'.join(version.split('.')[:2])}, ms", *pictures]]
    for name, title in CASCADES.items():
        pairs = ([1e3 * t for t in found[f"{name}: {p}"].values()] for p in pictures)
        lines.append([title, *(f"{a:.0f} / {b:.0f} **{b / a:.1f}x**" for a, b in pairs)])
    return rows(*lines)


def shipped(results: Results) -> str:
    found, cards = results["detectors"], results["cards"]
    lines = [["network", f"AP on {found['faces']} faces", "weights", "ms a picture", ""]]
    for name, note in SHIPPED.items():
        row, card = found["detectors"][f"vj {name}"], cards[name]
        count = card["architecture"]["parameters"]
        size = f"{count / 1e3:.0f} thousand, {card['bytes'] / 1e6:.2f} MB"
        lines.append([f"`{name}`", f"{row['ap']:.3f}", size, f"{row['ms']:.1f}", note])
    return rows(*lines)


def detectors(results: Results) -> str:
    found = results["detectors"]["detectors"]
    head = ["detector", "AP", "recall at 50 false positives", "the same on CMU-MIT B", "ms"]
    kept = sorted((name for name in DETECTORS if name in found), key=lambda n: -found[n]["ap"])
    return rows(head, *([titled(name), cells(found[name])] for name in kept))


def titled(name: str) -> str:
    """Ours in bold, the others with their engine."""
    engine, _, model = name.rpartition(" ") if "@" not in name else name.partition(" ")
    if model in OURS:
        return f"**{model}**{NOTES.get(model, '')}"
    return f"{model}, {ENGINES.get(engine, engine)}" if engine else f"{model}, in Numba"


def wild(results: Results) -> str:
    found = results["detection.wild"]["wild"]
    head = ["detector", "AP", "precision", "recall", "false positives a picture"]
    lines = []
    for name, row in sorted(found.items(), key=lambda item: -item[1]["wild"]["ap"]):
        shares = [f"{row['wild'][key]:.3f}" for key in ("ap", "precision", "recall")]
        free = f"{row['face_free']['false_positives_a_picture']:.2f}"
        lines.append([f"**{name}**" if name in SHIPPED else name, *shares, free])
    return rows(head, *lines)


def wild_set(results: Results) -> str:
    found = results["detection.wild"]["wild"]["face-fast"]["wild"]
    return f"{found['pictures']} pictures, {found['faces']:,} faces"


def engine(results: Results) -> str:
    found = times(results, "Whole networks, 1 thread")
    yunet = found["YuNet-n @320"]
    gains = [row["onnxruntime"] / row["vj"] for case, row in found.items()
             if case.startswith(("SCRFD-2.5G", "plain 3x3"))]  # fmt: skip
    return paragraph(
        f"On one thread YuNet at 320x320 takes {ms(yunet['vj'])} ms against "
        f"{ms(yunet['onnxruntime'])} ms in onnxruntime; SCRFD-2.5G and networks of plain 3x3 "
        f"convolutions run {min(gains):.1f} to {max(gains):.1f} times as fast as there. "
        "`python -m bench nets` times every network and layer."
    )


def networks(results: Results) -> str:
    found = times(results, "Whole networks, 1 thread")
    head = ["nets", "onnxruntime", "OpenCV's dnn", "torch, frozen, the better layout"]
    lines = [["CPU time of one thread, ms", *head]]
    for case, row in found.items():
        name, _, size = case.rpartition(" @")
        engines = [row["vj"], *(fastest(row, n) for n in ("onnxruntime", "cv2.dnn", "torch"))]
        if size != "640":
            lines.append([f"{name}, {size}x{size}", *best_in_bold(engines)])
    return rows(*lines)


def paragraph(text: str) -> str:
    """The text in lines of the length that the pages have."""
    return textwrap.fill(text, 120, break_on_hyphens=False, break_long_words=False) + "\n"


def share_of_peak(results: Results) -> str:
    """The least of the matrix products, in percent."""
    found = table(results, "Convolution layers, 1 thread")["cases"]
    return f"{100 * min(row['share'] for row in found if row['case'].startswith('1x1')):.0f}"


def best_in_bold(seconds: list[float]) -> list[str]:
    return [f"**{ms(t)}**" if t == min(seconds) else ms(t) for t in seconds]


def training_steps(results: Results) -> str:
    one, two = (times(results, f"Training steps, {n}") for n in ("1 thread", "2 threads"))
    lines = [["ms a step", "nets", "PyTorch", "", "two threads: nets", "PyTorch", ""]]
    for case in one:
        line = [re.sub(r" (\d+x\d+) ", r", \1, ", case)]
        for row in (one[case], two[case]):
            mine, theirs = row["vj"], fastest(row, "torch")
            line += [*best_in_bold([mine, theirs]), f"{mine / theirs:.2f}"]
        lines.append(line)
    return rows(*lines)


def unseen(results: Results) -> str:
    found = results["recorded"]["pictures that no schedule was chosen on"]
    masks, streets = found["masked people"], found["sports, streets and crowds"]
    return paragraph(
        "Pictures that were not used for tuning agree about the cascades (AP; boxes and threshold "
        "fitted on one half, measured on the other, the same for alt2). On every fifth picture of "
        f"masked people, {masks['faces']} faces, kept out of the training, frontalface reaches "
        f"{masks['frontalface']} and frontalface-fast {masks['frontalface-fast']} against "
        f"{masks['alt2']} for alt2 ({masks['alt2, scored by OpenCV']} as OpenCV scores it). On "
        f"{streets['pictures']:,} photographs of sports, streets and crowds, {streets['faces']:,} "
        "faces as a network marked them, half of them below 15 pixels, cascades trained anew "
        f"without these photographs reach {streets['frontalface']} and "
        f"{streets['frontalface-fast']} against {streets['alt2']} and "
        f"{streets['alt2, scored by OpenCV']}."
    )


def shipped_runs(results: Results) -> str:
    found, runs = results["recorded"]["training of the shipped networks"], []
    for name in SHIPPED:
        recipe = results["cards"][name]["recipe"]
        steps = f"{recipe['batches'] * recipe['epochs']:,} steps"
        frames = f"{recipe['batch_size']} frames of {recipe['size']} px"
        onward = ", beginning with its previous weights" if recipe["start"] else " from scratch"
        runs.append(f"{name} {steps} of {frames} in {found[name]['minutes']} minutes{onward}")
    before, long = found["face-fast before"], found["face-fast-2"]["steps"]
    return paragraph(
        "The shipped weights are each one uninterrupted run of the recipe on our own engine, on "
        f"one core of two (the other one was busy): {'; '.join(runs)}. The previous weights of "
        f"face-fast ({before['steps']:,} steps from scratch in {before['minutes']} minutes) are in "
        f"the history of the repository. Its run is the beginning of a longer one of {long:,} "
        "steps (`face-fast-2`), finished early. Small steps are the better bargain: after more "
        "frames in steps of 64, 320 pixels wide, both larger networks were less accurate."
    )


def install_llvm(results: Results) -> str:
    sizes = results["install"]["megabytes"]
    return f"{100 * sizes['llvmlite'] / sum(sizes.values()):.0f}"


def learned(kind: str) -> Callable[[Results], str]:
    """How many of the boxes or crops of the data face-cnn was trained on."""
    return lambda r: f"{sum(row.get(kind, 0) for row in r['cards']['face-cnn']['data']):,}"


def lenet(results: Results) -> Mapping[str, Any]:
    return results["lecture.face_or_not"]["numbers"]["LeNet-5"]


PARTS: dict[str, Callable[[Results], str]] = {
    "boxes-learned": learned("faces"),
    "crops-learned": learned("crops"),
    "detectors": detectors,
    "engine": engine,
    "first-start": lambda r: f"{times(r, 'First start')['vj-detect --sample']['vj']:.0f}",
    "install": lambda r: f"{sum(r['install']['megabytes'].values()):.0f}",
    "install-llvm": install_llvm,
    "lenet-minutes": lambda r: f"{lenet(r)['minutes']:.1f}",
    "lenet-right": lambda r: f"{100 * lenet(r)['test']['accuracy']:.2f}",
    "networks": networks,
    "opencv": opencv,
    "parity-cascades": lambda r: f"{r['parity']['cascades']}",
    "parity-cases": lambda r: f"{r['parity']['cases']:,}",
    "share-of-peak": share_of_peak,
    "shipped": shipped,
    "shipped-runs": shipped_runs,
    "speed-up": lambda r: f"{median(tables.ratios(table(r, 'Detection, one thread'))):.0f}",
    "training-steps": training_steps,
    "unseen": unseen,
    "wild": wild,
    "wild-set": wild_set,
}
