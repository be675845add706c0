"""What the commands ``vj-train``, ``vj-samples`` and ``vj-eval`` share."""

from __future__ import annotations

import argparse
import re
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from vj import __version__
from vj.app.progress import ClosedPipe, Console, abandon_stdout
from vj.app.status import Status, Terminated, status_of
from vj.errors import ParameterError, VJError

EXIT_STATUS = """\
exit status:
  0 done                  3 input missing or unreadable    6 output cannot be written
  1 nothing to learn      4 cascade or model unusable      130 interrupted
  2 wrong arguments                                        143 terminated
"""
Run = Callable[[argparse.Namespace, Console], Status]


class ToolParser(argparse.ArgumentParser):
    """Errors are `ParameterError`; every tool has --version and -q."""

    def __init__(self, prog: str, usage: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            usage=usage,
            description=description,
            epilog=f"{epilog}\n{EXIT_STATUS}",
            formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(
                prog, max_help_position=30, width=96
            ),
            allow_abbrev=False,
            add_help=False,
        )
        self.add_argument("-h", "--help", action=_Tell, help="print this")
        version = f"{prog} {__version__}\n"
        self.add_argument("--version", action=_Tell, const=version, help="print the version")
        self.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")

    def error(self, message: str) -> NoReturn:
        """Raise instead of leaving the process."""
        raise ParameterError(f"{message} (see {self.prog} --help)")


class _Told(Exception):
    """What was asked for instead of work."""


class _Tell(argparse.Action):
    """Print a text, by default the help; argparse takes no notice of a full disk."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        raise _Told(self.const or parser.format_help())


def execute(name: str, parse: Callable[[Sequence[str]], argparse.Namespace], run: Run) -> int:
    """Run a tool as a process."""
    signal.signal(signal.SIGTERM, _terminate)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    status = program(name, parse, run, sys.argv[1:], Console.of_process())
    if status == Status.OUTPUT:
        abandon_stdout()
    return status


def _terminate(*_: object) -> NoReturn:
    raise Terminated


def program(
    name: str,
    parse: Callable[[Sequence[str]], argparse.Namespace],
    run: Run,
    argv: Sequence[str],
    console: Console,
) -> Status:
    """Run a tool with these arguments and streams; errors become one line and a status."""
    from vj.app.progress import Talk

    try:
        try:
            args = parse(argv)
        except _Told as told:
            console.write(str(told).encode())
            return Status.DONE
        console.set_talk(Talk.QUIET if args.quiet else Talk.NORMAL)
        return run(args, console)
    except ClosedPipe:
        return Status.OUTPUT
    except VJError as exc:
        console.stderr.write(f"{name}: {exc}\n")
        return status_of(exc)
    except Terminated:
        return Status.TERMINATED
    except KeyboardInterrupt:
        return Status.INTERRUPTED


def size(text: str) -> tuple[int, int]:
    """``24`` or ``32x24`` (width x height) as (rows, cols)."""
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not found:
        raise argparse.ArgumentTypeError(f"wanted W or WxH in pixels, got {text!r}")
    width = int(found[1])
    return int(found[2] or width), width


def window(text: str) -> tuple[int, int] | str:
    """``auto``, or a size as (rows, cols)."""
    return "auto" if text.lower() == "auto" else size(text)


def duration(text: str) -> float:
    """``90``, ``90s``, ``20m`` or ``1.5h`` in seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not found or float(found[1]) <= 0:
        raise argparse.ArgumentTypeError(f"wanted a time such as 90s, 20m or 1.5h, got {text!r}")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def amount(text: str) -> int:
    """``500M`` or ``2G`` in bytes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kKMG]?)B?", text)
    if not found:
        raise argparse.ArgumentTypeError(f"wanted an amount such as 500M or 2G, got {text!r}")
    scale = {"": 1, "k": 1 << 10, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[found[2]]
    return int(float(found[1]) * scale)


def rates(text: str) -> float | list[float]:
    """``0.995`` or one rate a stage: ``0.99,0.995``."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"wanted a rate, or rates between commas, got {text!r}"
        ) from None
    return values[0] if len(values) == 1 else values


def depths(text: str) -> int | list[int]:
    """``2`` or one depth a stage: ``1,1,2``."""
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise argparse.ArgumentTypeError(f"wanted a depth, or depths between commas, got {text!r}")
    values = [int(part) for part in text.split(",")]
    return values[0] if len(values) == 1 else values
