"""``vj-detect``: `run` does the work, `program` turns errors into one line and a status."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vj.app.formats import count
from vj.app.options import DATA, METHODS, OF_DETECTORS, information, parse
from vj.app.progress import ClosedPipe, Console, Talk, abandon_stdout
from vj.app.status import Status, status_of
from vj.errors import CascadeError, OptionError, ParameterError, SourceError, VJError
from vj.io.files import sweep

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vj.app.pipeline import Paint
    from vj.app.sink import Task
    from vj.app.video_pipeline import Film
    from vj.detect.registry import Detector
    from vj.detections import Detections


def main() -> int:
    """Entry point of the command ``vj-detect``."""
    gc.set_threshold(100_000)  # imports make many objects and hardly any garbage
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # what matters is said in an error
    if hasattr(signal, "SIGTERM"):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    status = program(sys.argv[1:], Console.of_process())
    if status == Status.OUTPUT:
        abandon_stdout()
    return status


def program(argv: Sequence[str], console: Console) -> Status:
    """Run the command with these arguments and streams."""
    try:
        return run(parse(argv), console)
    except ClosedPipe:
        return Status.OUTPUT
    except VJError as exc:
        console.error(str(exc))
        return status_of(exc)
    except KeyboardInterrupt:
        return Status.INTERRUPTED


def run(args: Namespace, console: Console) -> Status:
    """Do what the arguments say."""
    if args.help or args.version or args.list_detectors or args.list_cameras:
        console.write(information(args).encode())
        return Status.DONE
    from vj.io.images import pixel_limit

    console.set_talk(Talk.QUIET if args.quiet else Talk.VERBOSE if args.verbose else Talk.NORMAL)
    with pixel_limit(args.max_pixels):
        return _run(args, console)


def _run(args: Namespace, console: Console) -> Status:
    from vj.app.inputs import find_tasks
    from vj.app.sink import has_film

    tasks, ignored = find_tasks(args, console)
    jobs = args.jobs or min(8, _processors())
    # One picture has all threads; the pictures of a crowd and of a film share them.
    alone = len(tasks) == 1 and (not has_film(tasks) or tasks[0].item.live)
    if args.detector is None:
        args.detector = _default(args)
    detector = (
        None if args.saved else _detector(args.detector, jobs if alone else 1, _options(args))
    )
    console.detail(f"detector {args.detector}, inputs {len(tasks)}, threads {jobs}")
    if args.page is not None:
        from vj.app.page.command import serve

        return serve(args, tasks, jobs, console)
    if args.explain:
        return _explain(args, tasks, detector, console)
    status = _detect(args, tasks, detector, jobs, console)
    if ignored:
        console.say(ignored)
    return status


def _detect(
    args: Namespace, tasks: list[Task], detector: Detector | None, jobs: int, console: Console
) -> Status:
    from vj.app import pipeline
    from vj.app.saved import read_saved
    from vj.app.sink import data_sink, has_film

    film = has_film(tasks)
    todo = [t for t in tasks if not (args.skip_existing and t.path and t.path.exists())]
    for folder in {t.path.parent for t in tasks if t.path}:  # also where all is there
        sweep(folder)
    targets = [(kind, getattr(args, kind)) for kind in DATA if getattr(args, kind)]
    # The frames of a video would be a flood where it is to be seen, or written down.
    shown = film and bool(args.output or args.suffix or args.show or targets)
    if not args.quiet and not shown and "-" not in [target for _, target in targets]:
        targets.append(("text", "-"))
    started = time.perf_counter()
    with contextlib.ExitStack() as stack:
        announced = stack.enter_context(_compilation_announced(console))
        sinks = [stack.enter_context(data_sink(*target, console)) for target in targets]
        frames = _film(args, jobs) if film else None
        saved = read_saved(args.saved) if args.saved else None
        name = args.saved or args.detector
        crops = Path(args.crops) if args.crops else None
        plan = pipeline.Pipeline(detector, name, _paint(args), console, frames, saved, crops)
        tally = pipeline.run(plan, todo, [announced, *sinks], jobs)
    images = count(tally.images, "frame" if film else "picture")
    words = [f"{count(tally.faces, 'face')} in {images}"]
    words += [f"{tally.failed} failed"] * bool(tally.failed)
    words += [f"{len(tasks) - len(todo)} skipped"] * (len(todo) < len(tasks))
    words += ["interrupted"] * (tally.interrupted is not None)
    words += [f"{time.perf_counter() - started:.2f} s"]
    there = args.output and (not tally.failed or Path(args.output).exists())
    words += [f"see {args.output}"] * bool(there and tally.images)
    if tally.images or len(tasks) > 1:
        console.say(", ".join(words))
    if args.audit and tally.images and tally.interrupted is None:
        from vj.app.audit import audit

        left = audit(todo, _detector(args.audit, jobs, {}), console)
        if left:
            return Status.FACE
    return tally.status(fail_if_none=args.fail_if_none, fail_if_any=args.fail_if_any)


def _explain(
    args: Namespace, tasks: list[Task], detector: Detector | None, console: Console
) -> Status:
    from vj.app.explanation import explanation_picture
    from vj.app.sink import has_film, picture_sink
    from vj.detect.detector import CascadeDetector

    if len(tasks) != 1 or has_film(tasks):
        what = "a video" if has_film(tasks) else len(tasks)
        raise ParameterError(f"--explain is about one picture, not {what}")
    if not isinstance(detector, CascadeDetector):
        raise ParameterError(f"--explain needs a cascade, and {args.detector} is none")
    (task,) = tasks
    with _compilation_announced(console) as announced, picture_sink(task.path) as write:
        for frame in task.item.frames():
            height, width = frame.image.shape[:2]
            if not (0 <= args.explain[0] < width and 0 <= args.explain[1] < height):
                raise ParameterError(f"--explain: no point of this picture of {width}x{height} px")
            explanation = detector.explain(frame.image, args.explain)
            console.write(f"{explanation}\n".encode())
            if task.path is not None:
                write(explanation_picture(detector, frame.image, explanation))
            announced()
    return Status.DONE


def _film(args: Namespace, jobs: int) -> Film:
    """How the frames of videos are handled."""
    from vj.app.video_pipeline import Film
    from vj.io.video_sink import Encoding

    encoding = Encoding(args.codec, args.crf, not args.no_audio, args.start)
    tracking = {"track": args.track, "every": args.every, "hold": args.hold}
    return Film(jobs, encoding, **tracking, smooth=args.smooth, stats=args.stats, show=args.show)


def _options(args: Namespace) -> dict[str, Any]:
    """What is asked of the detector, in its own words."""
    return {name: getattr(args, name) for name in OF_DETECTORS if getattr(args, name) is not None}


def _default(args: Namespace) -> str:
    """The detector of those who name none."""
    from vj.cascade.zoo import DEFAULT
    from vj.detect.registry import default_name

    return DEFAULT if args.explain else default_name(_options(args))


def _detector(name: str, n_jobs: int, options: dict[str, Any]) -> Detector:
    """A detector with these options; a file that is not there counts as a bad model."""
    from vj.detect.registry import DEFAULT, open_detector

    if name == DEFAULT:
        _spare_scipy()
    try:
        detector = open_detector(name, **options, n_jobs=n_jobs)
    except SourceError as exc:
        raise CascadeError(str(exc)) from exc
    except OptionError as exc:
        known = {*exc.known, *(["min_score"] if "score_threshold" in exc.known else [])}
        has = ", ".join(f"--{o.replace('_', '-')}" for o in OF_DETECTORS if o in known)
        option = f"--{exc.option.replace('_', '-')}"
        raise ParameterError(f"{option}: {name} has no such option; it has {has}") from exc
    if type(detector).__module__ == "vj.detect.detector":
        _spare_scipy()
    return detector


def _paint(args: Namespace) -> Paint:
    """What happens to a picture once the faces are known."""
    method, picture = args.redact, None
    if method and method not in METHODS:
        from vj.io.images import read_image

        method, picture = "image", read_image(args.redact)

    def paint(image: NDArray[np.uint8], found: Detections) -> NDArray[np.uint8]:
        from vj.draw import draw, redact

        if not args.redact:
            return draw(image, found)
        if args.keep_track and found.track_id is not None:
            kept = set(args.keep_track)
            found = found[[i for i, t in enumerate(found.track_id.tolist()) if t not in kept]]
        return redact(image, found, method, args.grow or 1.3, args.ellipse, picture=picture)

    return paint


@contextlib.contextmanager
def _compilation_announced(console: Console) -> Iterator[Callable[..., None]]:
    """Say that kernels are compiled, if they are; and how long it took, once called."""
    from vj.kernels.jit import on_compile

    started: list[float] = []

    def begun() -> None:
        console.say("compiling for this machine, which happens once ...")
        started.append(time.perf_counter())

    def done(*_: object) -> None:
        if started:
            console.say(f"compiled in {time.perf_counter() - started.pop():.1f} s")

    with on_compile(begun):
        yield done


def _spare_scipy() -> None:
    """Have Numba set itself up without scipy.linalg, whose import takes longer than a detection.

    Numba only asks whether it is there, for linear algebra that no kernel of ours uses.
    """
    if not {"numba.np.arraymath", "scipy.linalg"} & set(sys.modules):
        sys.modules["scipy.linalg"] = None  # type: ignore[assignment]
        try:
            import_module("numba.np.arraymath")
        finally:
            del sys.modules["scipy.linalg"]


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
