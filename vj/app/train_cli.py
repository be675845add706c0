"""``vj-train``: pictures with and without the object in, a cascade that cv2 loads out."""

from __future__ import annotations

import argparse
import os
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from vj.app import tools
from vj.app.opencv_flags import translate
from vj.app.progress import Console, Talk
from vj.app.status import Status
from vj.errors import ParameterError, SinkError
from vj.io.files import writing

if TYPE_CHECKING:
    from vj.cascade.model import Cascade

USAGE = """vj-train POSITIVES [BACKGROUNDS ...] -o cascade.xml [options]
       vj-train --opencv -data DIR -vec FILE -bg FILE [flags of opencv_traincascade]"""
EPILOG = """\
POSITIVES   boxes on pictures (VOC, COCO, YOLO, CVAT, LabelMe, WIDER, OpenCV info list, CSV), a
            folder of crops, or a .vec file
BACKGROUNDS pictures without the object: folders, zips, or lists with a path a line

Beside cascade.xml: cascade.html (the report), cascade.json (the log), cascade.train/ (to resume),
cascade.suspects.png (samples that look wrong, if there are any).

examples:
  vj-train crops backgrounds -o cup.xml
  vj-train labels backgrounds -o cup.xml --names cup --window 20x32 --time 20m
  vj-train labels backgrounds -o cup.xml --check
"""
_CLEAR = "\r\x1b[K"  # of a terminal: away with the line that moves
SETTINGS = (
    "window", "features", "boost", "depth", "n_stages", "hit_rate", "false_alarm", "max_trees",
    "target_rate", "n_positives", "n_negatives", "margin", "search", "share", "trim", "views",
    "multi_exit", "memory", "random_state",
)  # fmt: skip


def main() -> int:
    """Entry point of the command ``vj-train``."""
    return tools.execute("vj-train", parse, run)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments; those of opencv_traincascade after ``--opencv``."""
    words = list(argv)
    if "--opencv" in words:
        at = words.index("--opencv")
        words = [*words[:at], *translate(words[at + 1 :])]
    args = parser().parse_args(words)
    args.again = _again(list(argv))
    return args


def _again(words: list[str]) -> str:
    """The command that goes on with an interrupted training."""
    rest = [word for word in words if word != "--resume"]
    at = rest.index("--opencv") if "--opencv" in rest else len(rest)
    return shlex.join(["vj-train", *rest[:at], "--resume", *rest[at:]])


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    p = tools.ToolParser("vj-train", USAGE, "Train a cascade.", EPILOG)
    p.add_argument("positives", metavar="POSITIVES")
    p.add_argument("backgrounds", metavar="BACKGROUNDS", nargs="*")
    p.add_argument("-o", "--output", metavar="FILE", required=True, help="cascade to write")
    p.add_argument("--check", action="store_true", help="look at the samples, do not train")
    _add_samples(p.add_argument_group("samples").add_argument)
    _add_training(p.add_argument_group("training").add_argument)
    _add_run(p.add_argument_group("run").add_argument)
    return p


def _add_samples(add: Any) -> None:
    add(
        "--window",
        type=tools.window,
        metavar="WxH",
        help="size that is learned (default: auto, 24x24 or as much of the shape of the objects)",
    )
    add("--names", nargs="+", metavar="NAME", help="classes to learn (default: all)")
    add("--margin", type=float, metavar="F", help="window over box (default: 1.0)")
    add("--flip", type=float, metavar="P", help="share of mirrored variants (default: 0.5)")
    add("--no-augment", action="store_true", help="use the objects as they are")
    add("--no-surroundings", action="store_true", help="no negatives from annotated pictures")
    add("--positives", dest="n_positives", type=int, metavar="N", help="objects a stage")
    add("--negatives", dest="n_negatives", type=int, metavar="N", help="negatives a stage")
    add("--views", type=int, metavar="N", help="2: backgrounds mirrored too; to 8: turned too")


def _add_training(add: Any) -> None:
    kinds = ["BASIC", "CORE", "ALL", "LBP"]
    add("--features", type=str.upper, choices=kinds, help="default: BASIC (Haar)")
    add("--boost", metavar="NAME", help="gentle (default), real, discrete, logit")
    add("--depth", type=tools.depths, metavar="N", help="of trees, or N,N,... (default: 1, stumps)")
    add("--stages", dest="n_stages", type=int, metavar="N", help="at most (default: 20)")
    add("--hit-rate", type=tools.rates, metavar="P", help="of a stage, or p,p,... (default: 0.995)")
    add("--false-alarm", type=tools.rates, metavar="P", help="of a stage (default: 0.5)")
    add("--max-trees", type=int, metavar="N", help="in a stage (default: 200)")
    add("--target-rate", type=float, metavar="P", help="stop at this share of windows (1e-7)")
    add("--search", metavar="MODE", help="screen (default), exact, random")
    add("--share", type=float, metavar="P", help="features of a round of random search (0.1)")
    add("--trim", type=float, metavar="P", help="weight that takes part (default: 0.97)")
    add("--multi-exit", action="store_const", const=True, help="stages go on from the last one")


def _add_run(add: Any) -> None:
    add("--time", type=tools.duration, metavar="T", help="stop after 90s, 20m, 1.5h")
    add("--drop-suspects", action="store_true", help="leave out samples that look wrong")
    add("--resume", action="store_true", help="go on where an interrupted training stopped")
    add("--seed", dest="random_state", type=int, metavar="N", help="default: 0")
    add("--memory", type=tools.amount, metavar="M", help="for negatives and bins (default: 2G)")
    add("-j", "--jobs", type=int, metavar="N", help="threads (default: one a processor)")


def run(args: argparse.Namespace, console: Console) -> Status:
    """Do what the arguments say."""
    from vj.io.images import write_image
    from vj.train.augment import PLAIN, Augment
    from vj.train.loop import TIME_IS_UP
    from vj.train.trainer import CascadeTrainer

    output = Path(args.output)
    if output.suffix != ".xml":
        raise ParameterError(f"-o {output}: name a file that ends in .xml")
    if output.is_dir():
        raise ParameterError(f"-o {output}: is a folder: name a file in it")
    if output.parent.is_file():
        raise ParameterError(f"-o {output}: {output.parent} is a file, not a folder")
    with writing(output):  # now, rather than after hours
        output.parent.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=output.parent).close()
    options = {name: getattr(args, name) for name in SETTINGS}
    options = {name: value for name, value in options.items() if value is not None}
    if args.no_augment:
        options["augment"] = PLAIN
    elif args.flip is not None:
        options["augment"] = Augment(flip=args.flip)
    trainer = CascadeTrainer(
        n_jobs=(os.cpu_count() or 1) if args.jobs is None else args.jobs,
        time_limit=args.time,
        checkpoint=output.with_suffix(".train"),
        drop_suspects=args.drop_suspects,
        resume=args.resume,
        on_event=_Teller(console, output),
        on_cascade=lambda cascade: cascade.save(output),
        surroundings=not args.no_surroundings,
        **options,
    )
    if args.check:
        sheet = output.with_suffix(".samples.png")
        write_image(sheet, trainer.sheet(args.positives, args.backgrounds, args.names))
        console.say(f"contact sheet: {sheet}")
        return Status.DONE
    try:
        trainer.fit(args.positives, args.backgrounds, args.names)
    except KeyboardInterrupt:
        kept = trainer.checkpoint is not None and trainer.checkpoint.is_dir()
        line = f"interrupted; go on with: {args.again}" if kept else "interrupted"
        console.say(_CLEAR * console.interactive + line)
        raise
    _finish(trainer.cascade_, trainer.report_, output, console)
    if trainer.report_.reason == TIME_IS_UP:
        console.say(f"go on with: {args.again}")
    return Status.DONE


def _finish(cascade: Cascade, report: Any, output: Path, console: Console) -> None:
    cascade.save(output)
    report.save_json(output.with_suffix(".json"))
    report.save_html(output.with_suffix(".html"))
    console.say(report.reason)
    for hint in report.hints:
        console.say(f"hint: {hint}")
    if not report.suspects:
        _sheet_beside(output).unlink(missing_ok=True)  # of an earlier training
    console.say(
        f"{output}: {cascade.n_stages} stages, {cascade.n_trees} trees, "
        f"{report.hit_rate:.1%} of held-out objects pass; {report.seconds:.0f} s; "
        f"report: {output.with_suffix('.html')}"
    )


def _sheet_beside(output: Path) -> Path:
    return output.with_suffix(".suspects.png")


class _Teller:
    """Events of a training as lines; on a terminal the last one keeps moving."""

    def __init__(self, console: Console, output: Path) -> None:
        self._console, self._output, self._shown = console, output, 0.0

    def __call__(self, event: Mapping[str, Any]) -> None:
        line = getattr(self, f"_{event['event']}", lambda event: None)(event)
        if line is None:
            return
        moving = event["event"] in ("tree", "mining")
        if not moving:
            self._console.say(_CLEAR * self._console.interactive + line)
        elif self._console.interactive and self._console.talk >= Talk.NORMAL:
            now = time.monotonic()
            if now - self._shown > 0.2:
                self._shown = now
                self._console.stderr.write(_CLEAR + line)
                self._console.stderr.flush()

    def _check(self, event: Mapping[str, Any]) -> str:
        return str(event["text"])

    def _warning(self, event: Mapping[str, Any]) -> str:
        return f"warning: {event['text']}"

    def _suspects(self, event: Mapping[str, Any]) -> str:
        from vj.io.images import write_image

        sheet = _sheet_beside(self._output)
        try:
            write_image(sheet, event["sheet"])
        except SinkError as exc:  # must not end a training
            self._console.say(f"warning: {exc}")
        after = (
            "they are left out from now on"
            if event["left_out"]
            else "--drop-suspects leaves them out, from now on with --resume"
        )
        return f"warning: {event['text']}. See {sheet}; {after}"

    def _resume(self, event: Mapping[str, Any]) -> str:
        return f"resuming after {event['stages']} stages and {event['trees']} trees"

    def _mining(self, event: Mapping[str, Any]) -> str:
        left = event["seconds"] / event["scenes"] * (event["of"] - event["scenes"])
        most = "at most " if not event["complete"] else ""
        return (
            f"stage {event['stage']}: {event['scenes']}/{event['of']} backgrounds, "
            f"{event['windows']:,} windows, {event['rate']:.1e} pass, {most}{left:.0f} s left"
        )

    def _mined(self, event: Mapping[str, Any]) -> str:
        every = ", all there are" if event["complete"] else ""
        return (
            f"stage {event['stage']}: {event['negatives']} negatives{every}; "
            f"{event['rate']:.1e} of the windows pass"
        )

    def _tree(self, event: Mapping[str, Any]) -> str:
        return (
            f"stage {event['stage']}: {event['trees']} trees, hit rate {event['hit_rate']:.4f}, "
            f"false alarms {event['false_alarm']:.3f}"
        )

    def _stage(self, event: Mapping[str, Any]) -> str:
        missed = "" if event["reached"] else " (goal missed: see the hints at the end)"
        return f"{self._tree(event)}{missed}, {event['seconds']:.1f} s"
