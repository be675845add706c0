"""``--page``: from arguments to a server that runs."""

from __future__ import annotations

import os
import threading
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vj.app.page.preview import Settings, Show, Studio
from vj.app.page.server import PageServer
from vj.app.progress import Console
from vj.app.status import Status
from vj.detect.registry import list_detectors
from vj.errors import ParameterError
from vj.io.source import Missing
from vj.io.video_source import Video

if TYPE_CHECKING:
    from vj.app.sink import Task

_PATIENCE = 15.0  # seconds for a camera or stream to send a frame before the page is there
_END = 1.0  # seconds for what is under way once the page is ended


def serve(args: Namespace, tasks: Sequence[Task], jobs: int, console: Console) -> Status:
    """Serve the page until Ctrl-C.

    Raises
    ------
    ParameterError
        There is something else to watch than one video, camera or stream.
    SourceError
        It is not there, or cannot be read.
    SinkError
        The port is taken.
    """
    films = [task.item for task in tasks if isinstance(task.item, Video)]
    for task in tasks:
        path = task.item.path
        if isinstance(task.item, Missing) or (path and not Path(path).exists()):
            next(iter(task.item.frames()))  # raises what is wrong
    if len(tasks) > 1 or len(films) < len(tasks):
        raise ParameterError("--page watches one video, camera or stream, or nothing")
    given = {"scale_factor": args.scale_factor, "min_neighbors": args.min_neighbors}
    given["min_size"] = max(args.min_size) if args.min_size else None
    settings = Settings(args.detector, **{k: v for k, v in given.items() if v is not None})
    studio = Studio(settings, list_detectors(), jobs)
    with PageServer(args.page_host, args.page, studio) as server:
        try:
            if films:
                server.show = Show(studio, films[0])
                server.show.check(_PATIENCE)
            console.say(f"open {server.url} in a browser; Ctrl-C ends it")
            server.serve_forever()
        except KeyboardInterrupt:
            _end_within(_END, Status.DONE)
        except SystemExit as exc:  # SIGTERM
            _end_within(_END, exc.code)
            raise
    return Status.DONE


def _end_within(seconds: float, status: Any) -> None:
    """End the process although a detection is under way, which nothing else can stop."""
    timer = threading.Timer(seconds, os._exit, (status,))
    timer.daemon = True
    timer.start()
