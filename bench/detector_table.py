"""The part of bench/README.md about face detectors: tables, and accuracy over time as a plot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.detection.competitors import OUR_CASCADES, OUR_NETS

PLOT = "plots/face-detectors.svg"
OURS = OUR_NETS + OUR_CASCADES
ABOUT = """\
Average precision on {pictures} pictures with {faces} faces ({name}, IoU 0.5, never trained on),
against the CPU time of a whole call on one thread, mean over the pictures. All see the
same pictures. {policy}.

The first column after AP is the share of the faces that are found with {alarms} false alarms on the
whole set; the next is the same on CMU-MIT B alone, where unlabelled faces count as alarms. Bold are
those that no other beats in both accuracy and time.
"""
BY_KIND = """\
### Faces found, by size, tilt and masks

In percent, at the threshold that gives 50 false alarms on boxes_dev. "px" are sizes in boxes_dev;
the other columns are composed frames of 320 px: crops of people, and backgrounds, that are held out
of all training, set in by the code that makes training frames. So they flatter a network that was
trained on such frames, and show trends rather than rates.
"""


ABLATION = """\
## What helps a face net

Nets of 3x3 convolutions trained from nothing in {steps} steps of {batch_size} frames of 256 px, of
which each row changes one thing, judged on boxes_dev: a tenth of what face-cnn has seen, so what
makes a net learn sooner counts for more here than in the end. One seed a row: differences of one or
two hundredths say little. Length outweighs everything else, frames of annotated pictures and false
alarms sought in backgrounds come next. The last row shows why the best net is made of plain 3x3
convolutions: Winograd's algorithm gives them twice as many multiplications in the time of separable
ones. (Frames of 320 px, composed frames only, no masks and false alarms were trained after a change
of one cost in assignment, which orders cells far from a face.)
"""


def ablation(content: dict[str, Any]) -> Iterator[str]:
    """Lines of Markdown about `bench.ablation`."""
    yield ABLATION.format(**content)
    yield "| | AP | | recall at 50 false alarms | CMU-MIT B | weights |"
    yield "|---|---|---|---|---|---|"
    rows = content["variants"]
    base = next(iter(rows.values()))["ap"]
    for name, row in rows.items():
        change = "" if row["ap"] == base else f"{row['ap'] - base:+.3f}"
        figures = f"{row['recall_at_50']:.3f} | {row['cmu_mit_B_at_50']:.3f}"
        yield f"| {name} | {row['ap']:.3f} | {change} | {figures} | {row['parameters']:,} |"
    yield ""


def front(detectors: dict[str, dict[str, Any]]) -> list[str]:
    """Names that no other beats in both time and AP, from the fastest on."""
    best, names = 0.0, []
    for name, row in sorted(detectors.items(), key=lambda item: (item[1]["ms"], -item[1]["ap"])):
        if row["ap"] > best:
            best = row["ap"]
            names.append(name)
    return names


def section(content: dict[str, Any], folder: Path) -> Iterator[str]:
    """Lines of Markdown; draws the plot into ``folder``."""
    detectors = content["detectors"]
    leading = front(detectors)
    plot(detectors, leading, folder / PLOT)
    policy = content["policy"].rstrip(".")
    yield "## Face detectors\n"
    name = content.get("set", "boxes_dev")
    counts = {key: content[key] for key in ("pictures", "faces")}
    yield ABOUT.format(policy=policy, alarms=50, name=name, **counts)
    yield f"![Face detectors]({PLOT})\n"
    yield "| detector | AP | recall | CMU-MIT B | ms |"
    yield "|---|---|---|---|---|"
    for name, row in detectors.items():
        shown = f"**{name}**" if name in leading else name
        figures = [row[key] for key in ("ap", "recall_at_50", "cmu_mit_B_strict_at_50")]
        yield f"| {shown} | " + " | ".join(f"{v:.3f}" for v in figures) + f" | {row['ms']:.1f} |"
    yield ""
    kinds = ordered({kind for row in detectors.values() for kind in row["recall_by_kind"]})
    if kinds:
        yield BY_KIND
        faces = {k: n for row in detectors.values() for k, (n, _) in row["recall_by_kind"].items()}
        yield "| | " + " | ".join(kinds) + " |"
        yield "|---" * (len(kinds) + 1) + "|"
        yield "| faces | " + " | ".join(str(faces[kind]) for kind in kinds) + " |"
        for name, row in detectors.items():
            found = [row["recall_by_kind"].get(kind) for kind in kinds]
            cells = ["" if one is None else f"{100 * one[1]:.0f}" for one in found]
            yield f"| {name} | " + " | ".join(cells) + " |"
        yield ""


def ordered(kinds: set[str]) -> list[str]:
    """Sizes in boxes_dev, composed sizes, tilt, masks; numbers in their order."""

    def key(kind: str) -> tuple[int, int, str]:
        groups = ("px", "size", "over half", "roll", "no mask", "mask")
        group = next((k for k, g in enumerate(groups) if g in kind), len(groups))
        digits = "".join(c if c.isdigit() else " " for c in kind).split()
        return group, int(digits[0]) if digits and not kind.startswith("under") else 0, kind

    return sorted(kinds, key=key)


def plot(detectors: dict[str, dict[str, Any]], leading: list[str], path: Path) -> None:
    """AP over milliseconds, the front as a line."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot, rcParams, ticker

    rcParams |= {"svg.hashsalt": "bench", "svg.fonttype": "none"}  # same numbers, same small file
    figure, axes = pyplot.subplots(figsize=(9, 5.5), layout="constrained")
    line = [(detectors[name]["ms"], detectors[name]["ap"]) for name in leading]
    axes.step(*zip(*line, strict=True), where="post", linewidth=1, alpha=0.5, color="gray")
    colours = {"vj": "C0", "cv2": "C1", "onnxruntime": "C2"}
    for name, row in detectors.items():
        engine, _, model = name.partition(" ")
        colour = colours.get(engine, "C3")
        axes.plot(row["ms"], row["ap"], marker="o" if engine == "vj" else "s", color=colour,
                  markersize=7 if engine == "vj" else 4, linestyle="")  # fmt: skip
        if engine in ("vj", "pico") or not model or f"vj {model}" not in detectors:
            axes.annotate(model if engine == "vj" else name, (row["ms"], row["ap"]),
                          textcoords="offset points", xytext=(5, 4), fontsize=7,
                          fontweight="bold" if model in OURS else None)  # fmt: skip
    for engine, colour in colours.items():
        label = {"vj": "our engine; bold: our nets and cascades"}.get(engine, engine)
        axes.plot([], [], marker="o" if engine == "vj" else "s", color=colour, linestyle="",
                  label=label)  # fmt: skip
    axes.set(xscale="log", xlabel="CPU time of a picture", ylabel="AP on boxes_dev")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda t, _: f"{t:g} ms"))
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
