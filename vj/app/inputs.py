"""From the arguments to the tasks: inputs, where their outputs go, and options that fit them."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vj.app.formats import count
from vj.app.options import OF_VIDEOS, parser
from vj.app.progress import Console
from vj.app.sink import Task, has_film, is_file, plan
from vj.errors import ParameterError
from vj.io.files import writing
from vj.io.live import Live
from vj.io.source import FOLDERS, Missing, Picture, find_inputs
from vj.io.video_source import Span

_KINDS = 5  # of ignored files that are told one by one


def find_tasks(args: Namespace, console: Console) -> tuple[list[Task], str]:
    """What is to be done, in order; and a line about what folders hold beside it, if anything.

    Raises
    ------
    ParameterError
        The options do not fit the inputs.
    SinkError
        The folder of the output cannot be made.
    """
    out = Path(args.output) if args.output else None
    span = Span(args.start, args.duration, args.max_frames, args.fps_limit)
    ignored: Counter[str] = Counter()
    items = find_inputs(
        args.inputs,
        console.stdin,
        recursive=args.recursive,
        leave_out=out,
        span=span,
        stdin_format=args.stdin_format,
        ignored=ignored,
    )
    if args.sample:
        from vj.io.images import sample_path

        items.append(Picture("astronaut", sample_path(), Path("astronaut.png")))
    items = [replace(item, say=console.say) if isinstance(item, Live) else item for item in items]
    tasks = plan(items, args.output, args.suffix)
    _check_videos(args, tasks)
    if len(tasks) < len(items):
        console.say(f"{count(len(items) - len(tasks), 'file')} of an earlier run left out")
    if args.output and not is_file(args.output):
        with writing(args.output):  # now, because data may be wanted in it
            Path(args.output).mkdir(parents=True, exist_ok=True)
    return tasks, _told(ignored)


def _told(ignored: Counter[str]) -> str:
    """What the search of folders left out, in one line."""
    folders = ignored.pop(FOLDERS, 0)
    kinds = [f"{n} {suffix or 'without a suffix'}" for suffix, n in ignored.most_common()]
    others = sum(sorted(ignored.values())[:-_KINDS])
    told = kinds[:_KINDS] + [f"{others} others"] * bool(others)
    parts = [f"{count(ignored.total(), 'file')} ignored: {', '.join(told)}"] * bool(kinds)
    parts += [f"{count(folders, 'folder')} not searched"] * bool(folders)
    return "; ".join(parts)


def _check_videos(args: Namespace, tasks: Sequence[Task]) -> None:
    """Refuse options of videos where no input is one."""
    if has_film(tasks) or any(isinstance(task.item, Missing) for task in tasks):
        return
    usual = parser().get_default
    for name in OF_VIDEOS if tasks else ():
        if getattr(args, name) != usual(name):
            option = f"--{name.replace('_', '-')}"
            raise ParameterError(f"{option} is for videos, cameras and streams")
