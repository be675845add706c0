"""The parts of bench/README.md about face detectors: tables, and accuracy over time as a plot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.report.tables import save_plot

PLOT = "plots/face-detectors.svg"
OURS = ("face-cnn", "face-fast", "face-tiny", "frontalface", "frontalface-fast")
Rows = Mapping[str, Mapping[str, Any]]
ABOUT = """\
Average precision on {pictures} pictures with {faces} faces ({name}, IoU 0.5, never trained on)
against the CPU time of a whole call on one thread, mean over the pictures. All detectors see the
same pictures. {policy}

Recall is the share of the faces found with 50 false positives on the whole set; CMU-MIT B is the
recall on that part alone, where every unlabelled face counts as a false positive. Detectors in bold
are beaten by no other in both accuracy and time.
"""
BY_KIND = """\
### Recall by size, roll and masks

In percent, at the score threshold that gives 50 false positives on {name}. "px" columns are face
sizes in {name}; the others are composed frames of 320 px: crops of people and backgrounds, held out
of all training, composed by the code that makes training frames. They flatter networks trained on
such frames, and show trends rather than rates.
"""
ABLATION = """\
## What helps a face net

Networks of 3x3 convolutions trained from scratch in {steps} steps of {batch_size} frames of 256 px,
a tenth of what face-cnn has seen, evaluated on boxes_dev; each row changes one thing. With so few
steps, what speeds learning up counts for more than it does in the end. One seed per row:
differences of one or two hundredths are noise. The number of steps outweighs everything else,
followed by frames of annotated pictures and hard negatives mined in backgrounds. The last row shows
why the best network uses plain 3x3 convolutions: with Winograd's algorithm they do twice as many
multiplications in the time of separable ones. (Frames of 320 px, composed frames only, no pictures
of masks and hard negatives were trained after a change of one cost in the assignment, which ranks
cells far from a face.)
"""


WILD = """\
## Face detectors on pictures from anywhere

Wild: every eighth picture of boxes_wider ({pictures} pictures of WIDER FACE with {faces} faces,
half of them under 17 px). Face-free: pictures in which earlier networks of ours saw a face. Our
networks are never trained on them; YuNet and SCRFD were trained on WIDER FACE, so on many of these
pictures. All are shown at their own size; a hit needs an IoU of 0.5. AP and recall at 50 false
positives (R50) use all scores; precision, recall and false positives a picture (FP) are those of
the default threshold. ECE is the expected calibration error of confidences from 0.3 on.
"""


def wild(content: Mapping[str, Any]) -> Iterator[str]:
    """Lines of Markdown about `bench.detection.wild`."""
    rows = content["wild"]
    yield WILD.format(**next(iter(rows.values()))["wild"])
    yield (
        "| detector | AP | R50 | boxes_dev AP | default threshold | precision | recall | FP | "
        "FP, face-free | FP, scikit-image | ECE |"
    )
    yield "|---" * 11 + "|"
    for name, row in sorted(rows.items(), key=lambda item: -item[1]["wild"]["ap"]):
        found, free = row["wild"], (row["face_free"], row["scikit_image"])
        figures = [found["ap"], found["recall_at_50"], row["boxes_dev"]["ap"], row["default"],
                   *(found[key] for key in ("precision", "recall", "false_positives_a_picture")),
                   *(one["false_positives_a_picture"] for one in free),
                   row["confidence"]["expected_calibration_error"]]  # fmt: skip
        yield f"| {name} | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |"
    yield "\nRecall in percent at 50 false positives, by the shorter side of a face in px:\n"
    sizes = next(iter(rows.values()))["wild"]["recall_by_size"]
    yield "| | " + " | ".join(sizes) + " |"
    yield "|---" * (len(sizes) + 1) + "|"
    yield "| faces | " + " | ".join(str(count) for count, _ in sizes.values()) + " |"
    for name, row in sorted(rows.items(), key=lambda item: -item[1]["wild"]["ap"]):
        shares = [f"{100 * share:.0f}" for _, share in row["wild"]["recall_by_size"].values()]
        yield f"| {name} | " + " | ".join(shares) + " |"
    yield ""


def ablation(content: Mapping[str, Any]) -> Iterator[str]:
    """Lines of Markdown about `bench.training.ablation`."""
    yield ABLATION.format(**content)
    yield "| | AP | | recall at 50 false positives | CMU-MIT B | weights |"
    yield "|---|---|---|---|---|---|"
    rows = content["variants"]
    base = next(iter(rows.values()))["ap"]
    for name, row in rows.items():
        change = "" if row["ap"] == base else f"{row['ap'] - base:+.3f}"
        figures = f"{row['recall_at_50']:.3f} | {row['cmu_mit_B_at_50']:.3f}"
        yield f"| {name} | {row['ap']:.3f} | {change} | {figures} | {row['parameters']:,} |"
    yield ""


def front(rows: Rows) -> list[str]:
    """Names that no other beats in both time and AP, from the fastest on."""
    best, names = 0.0, []
    timed = [(name, row) for name, row in rows.items() if row["ms"]]
    for name, row in sorted(timed, key=lambda item: (item[1]["ms"], -item[1]["ap"])):
        if row["ap"] > best:
            best = row["ap"]
            names.append(name)
    return names


def cells(row: Mapping[str, Any]) -> str:
    """AP, recall, recall on CMU-MIT B and milliseconds of a detector."""
    keys = ("ap", "recall_at_50", "cmu_mit_B_strict_at_50")
    shares = [f"{row[key]:.3f}" if key in row else "" for key in keys]
    return " | ".join([*shares, f"{row['ms']:.1f}" if row["ms"] else ""])


def section(content: Mapping[str, Any]) -> Iterator[str]:
    """Lines of Markdown about one set of pictures."""
    rows, name = content["detectors"], content["set"]
    leading = front(rows)
    standard = name == "boxes_dev"
    yield "## Face detectors\n" if standard else f"## Face detectors on {name}\n"
    yield ABOUT.format(name=name, **{k: content[k] for k in ("pictures", "faces", "policy")})
    if standard:
        yield f"![Face detectors]({PLOT})\n"
    yield "| detector | AP | recall | CMU-MIT B | ms |"
    yield "|---|---|---|---|---|"
    for detector, row in rows.items():
        yield f"| {f'**{detector}**' if detector in leading else detector} | {cells(row)} |"
    yield ""
    kinds = ordered({kind for row in rows.values() for kind in row["recall_by_kind"]})
    if kinds:
        yield BY_KIND.format(name=name)
        faces = {k: n for row in rows.values() for k, (n, _) in row["recall_by_kind"].items()}
        yield "| | " + " | ".join(kinds) + " |"
        yield "|---" * (len(kinds) + 1) + "|"
        yield "| faces | " + " | ".join(str(faces[kind]) for kind in kinds) + " |"
        for detector, row in rows.items():
            found = [row["recall_by_kind"].get(kind) for kind in kinds]
            shares = ["" if one is None else f"{100 * one[1]:.0f}" for one in found]
            yield f"| {detector} | " + " | ".join(shares) + " |"
        yield ""


def ordered(kinds: set[str]) -> list[str]:
    """Sizes in the set, composed sizes, roll, masks; numbers in their order."""

    def key(kind: str) -> tuple[int, int, str]:
        groups = ("px", "size", "over half", "roll", "no mask", "mask")
        group = next((k for k, g in enumerate(groups) if g in kind), len(groups))
        digits = "".join(c if c.isdigit() else " " for c in kind).split()
        return group, int(digits[0]) if digits and not kind.startswith("under") else 0, kind

    return sorted(kinds, key=key)


def plot(content: Mapping[str, Any], folder: Path) -> None:
    """AP over milliseconds, the front as a line."""
    rows = content["detectors"]
    numbers = {name: (row["ms"], row["ap"]) for name, row in rows.items() if row["ms"]}
    leading = front(rows)

    def draw(axes: Any) -> None:
        from matplotlib import ticker

        line = [numbers[name] for name in leading]
        axes.step(*zip(*line, strict=True), where="post", linewidth=1, alpha=0.5, color="gray")
        colours = {"vj": "C0", "cv2": "C1", "onnxruntime": "C2"}
        for name, point in numbers.items():
            engine, _, model = name.partition(" ")
            own = engine == "vj"
            axes.plot(*point, marker="o" if own else "s", color=colours.get(engine, "C3"),
                      markersize=7 if own else 4, linestyle="")  # fmt: skip
            if own or engine == "pico" or not model or f"vj {model}" not in numbers:
                axes.annotate(model if own else name, point, textcoords="offset points",
                              xytext=(5, 4), fontsize=7,
                              fontweight="bold" if model in OURS else None)  # fmt: skip
        for engine, colour in colours.items():
            own = engine == "vj"
            label = "our engine; bold: our networks and cascades" if own else engine
            axes.plot([], [], marker="o" if own else "s", color=colour, linestyle="", label=label)
        axes.set(xscale="log", xlabel="CPU time of a picture", ylabel=f"AP on {content['set']}")
        axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter(ticker.NullFormatter())
        axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda t, _: f"{t:g} ms"))
        axes.grid(alpha=0.3, which="both")
        axes.legend(frameon=False, loc="lower right")

    save_plot(draw, (9, 5.5), content, folder / PLOT)
