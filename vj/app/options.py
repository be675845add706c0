"""The arguments of ``vj-detect``: what they are, and that they make sense together."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from vj import __version__
from vj.app.values import factor, point, positive, quality, seconds, share, size
from vj.errors import ParameterError

DATA = ("json", "jsonl", "csv", "coco", "parquet")
METHODS = ("blur", "pixelate", "solid")
OF_VIDEOS = (
    *("track", "every", "hold", "smooth", "start", "duration", "max_frames", "fps_limit"),
    *("no_audio", "codec", "crf", "stats", "show"),
)
OF_DETECTORS = (
    *("scale_factor", "min_neighbors", "min_confidence", "min_score"),
    *("min_size", "max_size", "second_pass"),
)
EXIT_STATUS = """\
exit status:
  0 done, faces or not       3 input missing or unreadable   6 output cannot be written
  1 some inputs failed       4 cascade or model unusable     10 no face (--fail-if-none)
  2 wrong arguments          5 live stream lost              11 a face (--fail-if-any)
  130 interrupted            143 terminated
"""
EXAMPLES = """\
examples:
  vj-detect --sample -o faces.jpg           see it work
  vj-detect photo.jpg                       print the faces
  vj-detect photos -r -o out --redact blur  hide the faces of a folder
  vj-detect '*.jpg' --json - | jq           data for a program
  vj-detect clip.mp4 -o out.mp4 --redact blur --track --hold 5
                                            hide faces without a gap; the sound is kept
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ParameterError(f"{message} (see vj-detect --help)")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments, checked.

    Raises
    ------
    ParameterError
        They make no sense; the message says which and why.
    """
    args = parser().parse_args(argv)
    if not (args.help or args.version or args.list_detectors or args.list_cameras):
        _check(args)
    return args


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    p = _Parser(
        prog="vj-detect",
        usage="vj-detect INPUT... [-o PATH] [options]",
        description="Find faces in pictures and videos; show, hide or locate them.",
        epilog=EXAMPLES + "\n" + EXIT_STATUS,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(
            prog, max_help_position=30, width=96
        ),
        allow_abbrev=False,
        add_help=False,
    )
    p.set_defaults(method=None)
    _add_input(p.add_argument_group("input").add_argument)
    _add_pictures(p.add_argument_group("pictures").add_argument)
    _add_video(p.add_argument_group("video").add_argument)
    data = p.add_argument_group("data (- is standard output)").add_argument
    data("--json", metavar="FILE", help="one document with a row for every picture")
    data("--jsonl", metavar="FILE", help="one row a line, as they come")
    data("--csv", metavar="FILE", help="one line for every face")
    data("--coco", metavar="FILE", help="COCO images and annotations")
    data("--parquet", metavar="FILE", help="one row for every face; needs pyarrow")
    data("--crops", metavar="DIR", help="a picture of every face")
    data("--from", dest="saved", metavar="FILE", help="draw or hide what --json or --jsonl saved")
    _add_detector(p.add_argument_group("detector").add_argument)
    page = p.add_argument_group("preview").add_argument
    page("--show", action="store_true", help="show a video in a window; Q closes it")
    page(
        "--page",
        nargs="?",
        type=int,
        const=8000,
        metavar="PORT",
        help="show INPUT, a webcam or pictures in a web browser (default port: 8000)",
    )
    page("--page-host", default="127.0.0.1", metavar="ADDRESS", help="let others in, by a token")
    _add_run(p.add_argument_group("run").add_argument)
    return p


def information(args: argparse.Namespace) -> str:
    """What --help, --version and the lists print."""
    if args.help:
        return parser().format_help()
    if args.version:
        return f"vj-detect {__version__}\n"
    if args.list_cameras:
        from vj.io.live import cameras

        names = enumerate(cameras().items())
        lines = (f"camera:{i}  {device}  {name}\n" for i, (device, name) in names)
        return "".join(lines) or "no camera\n"
    from vj.detect.registry import list_detectors

    found = list_detectors()
    width = max(map(len, found), default=0)
    return "".join(f"{name:<{width}}  {line}\n" for name, line in found.items())


def _add_input(add: Any) -> None:
    add(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="picture, video, folder, glob, camera:0, URL, - (stdin)",
    )
    add(
        "--stdin-format",
        metavar="NAME",
        help="video on stdin: mjpeg, matroska, mpegts, ... (default: a picture)",
    )
    add("--list-cameras", action="store_true", help="print the cameras of this machine")
    add("-r", "--recursive", action="store_true", help="search the folders of folders too")
    add("--sample", action="store_true", help="use a photograph that comes with scikit-image")
    add(
        "--max-pixels",
        type=positive,
        metavar="N",
        help="refuse larger pictures (default: what memory allows)",
    )


def _add_pictures(add: Any) -> None:
    add(
        "-o",
        "--output",
        metavar="PATH",
        help="picture or video to write, or folder for many; x-%%06d.png for pictures of a video",
    )
    add("--suffix", default="", help="added to the names in a folder: _faces")
    add("--skip-existing", action="store_true", help="leave out inputs whose output is there")
    add("--draw", action="store_true", help="frame the faces (default)")
    add(
        "--redact",
        metavar="METHOD",
        help="hide the faces: blur, pixelate, solid, or a picture to put over them",
    )
    add("--grow", type=factor, metavar="F", help="enlarge what is hidden (default: 1.3)")
    add("--ellipse", action="store_true", help="hide ellipses, not rectangles")
    add(
        "--keep-track",
        type=positive,
        action="append",
        metavar="ID",
        help="do not hide this track; may be repeated",
    )
    add(
        "--audit",
        metavar="NAME",
        help="search the result with this detector; exit status 11 if it finds a face",
    )
    add(
        "--explain",
        type=point,
        metavar="X,Y",
        help="show how the cascade judges the window about a point",
    )


def _add_video(add: Any) -> None:
    add("--start", type=seconds, default=0.0, metavar="S", help="begin here, in seconds")
    add("--duration", type=factor, metavar="S", help="stop after this many seconds")
    add("--max-frames", type=positive, metavar="N", help="stop after this many frames")
    add("--fps-limit", type=factor, metavar="R", help="leave out frames beyond this rate")
    add("--track", action="store_true", help="give faces identities over the frames")
    add(
        "--every",
        type=positive,
        default=1,
        metavar="K",
        help="search each K-th frame, track between them",
    )
    add(
        "--hold",
        type=positive,
        default=0,
        metavar="N",
        help="show a face N frames more: after its last hit, before its first",
    )
    add("--smooth", action="store_true", help="take the jitter out of boxes, in two passes")
    add("--no-audio", action="store_true", help="leave out the sound")
    add("--codec", metavar="NAME", help="encoder (default: libx264; libvpx-vp9 for .webm)")
    add("--crf", type=quality, metavar="N", help="0 best to 63 smallest (default: 20)")


def _add_detector(add: Any) -> None:
    model = "name or path of a model (default: face-fast; a cascade where options are of cascades)"
    add("--detector", metavar="NAME", help=model)
    add("--scale-factor", type=float, metavar="F", help="step between sizes (default: 1.1)")
    add("--min-neighbors", type=int, metavar="N", help="windows that must agree (default: 3)")
    add(
        "--min-confidence",
        type=share,
        metavar="P",
        help=f"least probability of a face, 0 to 1 (default: the detector's own{_usual()})",
    )
    add("--min-score", type=float, metavar="F", help="instead: least raw score")
    add("--min-size", type=size, metavar="W[xH]", help="smallest face, in pixels")
    add("--max-size", type=size, metavar="W[xH]", help="largest face, in pixels")
    close = "networks: look again at a quarter of the size, for faces that fill the picture"
    add("--second-pass", action="store_true", default=None, help=close)
    add("--list-detectors", action="store_true", help="print the names of detectors")


def _usual() -> str:
    """The least confidence of the default detector, from its card, which is found in no time."""
    spec = find_spec("nets")
    if spec is None or spec.origin is None:
        return ""
    card = json.loads(Path(spec.origin).with_name("data").joinpath("face-fast.json").read_text())
    least = card.get("min_confidence")
    return "" if least is None else f"; of face-fast {least:g}"


def _add_run(add: Any) -> None:
    add("-j", "--jobs", type=positive, metavar="N", help="threads (default: one a processor)")
    add("--fail-if-none", action="store_true", help="exit status 10 if there is no face at all")
    add("--fail-if-any", action="store_true", help="exit status 11 if there is any face")
    add("--stats", action="store_true", help="print the time of each stage of a video")
    add("-q", "--quiet", action="store_true", help="say nothing but errors")
    add("-v", "--verbose", action="store_true", help="say more")
    add("--version", action="store_true", help="print the version")
    add("-h", "--help", action="store_true", help="print this")


def _check(args: argparse.Namespace) -> None:
    """What argparse cannot express."""
    pictures = bool(args.output or args.suffix)
    if not args.inputs and not args.sample and args.page is None:
        raise ParameterError("nothing to do: name a picture or video, or try --sample -o faces.jpg")
    if args.output == "-":
        raise ParameterError("-o - has no format: name a picture or a folder")
    together = [
        (args.quiet and args.verbose, "--quiet and --verbose"),
        (args.draw and args.redact, "--draw and --redact"),
        (args.fail_if_none and args.fail_if_any, "--fail-if-none and --fail-if-any"),
        (args.explain and (args.redact or args.draw), "--explain and --draw or --redact"),
        (args.saved and args.every > 1, "--from and --every"),
        (args.saved and args.explain, "--from and --explain"),
        *(
            (args.saved and getattr(args, name) is not None, f"--from and --{name}")
            for name in ("detector", *OF_DETECTORS)
        ),
        (
            args.min_confidence is not None and args.min_score is not None,
            "--min-confidence and --min-score",
        ),
        (args.explain and args.crops, "--explain and --crops"),
        (args.page is not None and args.show, "--page and --show"),
        (args.page is not None and (pictures or args.explain or args.saved), "--page and output"),
        (args.explain and any(getattr(args, kind) for kind in DATA), "--explain and data"),
    ]
    for clash, what in together:
        if clash:
            raise ParameterError(f"{what.replace('_', '-')} exclude each other")
    alone = [
        (args.draw, pictures, "--draw", "-o"),
        (args.redact, pictures, "--redact", "-o"),
        (args.skip_existing, pictures, "--skip-existing", "-o"),
        (args.grow, args.redact, "--grow", "--redact"),
        (args.ellipse, args.redact, "--ellipse", "--redact"),
        (args.audit, args.redact, "--audit", "--redact"),
        (args.keep_track, args.redact, "--keep-track", "--redact"),
        (args.keep_track, _tracks(args) or args.saved, "--keep-track", "--track or --from"),
        (args.recursive, args.inputs, "--recursive", "a folder"),
    ]
    for given, needed, what, wanted in alone:
        if given and not needed:
            raise ParameterError(f"{what} needs {wanted}")
    if args.min_size and args.max_size and not _fits(args.min_size, args.max_size):
        raise ParameterError("--min-size is larger than --max-size")
    if args.redact and args.redact not in METHODS and not Path(args.redact).exists():
        raise ParameterError(
            f"--redact is {', '.join(METHODS)} or a picture that is there, not {args.redact!r}"
        )
    if args.parquet == "-":
        raise ParameterError("--parquet - is no text: name a file")
    _check_targets([getattr(args, kind) for kind in DATA if getattr(args, kind)])


def _check_targets(targets: list[str]) -> None:
    seen: set[str] = set()
    for target in targets:
        name = target if target == "-" else os.path.realpath(target)
        if name in seen:
            raise ParameterError(f"two kinds of data would be written to {target}")
        seen.add(name)


def _tracks(args: argparse.Namespace) -> bool:
    return bool(args.track or args.every > 1 or args.hold or args.smooth)


def _fits(small: tuple[int, int], large: tuple[int, int]) -> bool:
    return small[0] <= large[0] and small[1] <= large[1]
