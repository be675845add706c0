"""``--page``: from arguments to a server that runs."""

from __future__ import annotations

import contextlib
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vj.app.page.preview import Settings, Show, Studio
from vj.app.page.server import PageServer
from vj.app.progress import Console
from vj.app.status import Status
from vj.detect.registry import list_detectors
from vj.errors import ParameterError
from vj.io.video_source import Video

if TYPE_CHECKING:
    from vj.app.sink import Task


def serve(args: Namespace, tasks: Sequence[Task], jobs: int, console: Console) -> Status:
    """Serve the page until Ctrl-C.

    Raises
    ------
    ParameterError
        There is something else to watch than one video, camera or stream.
    SinkError
        The port is taken.
    """
    films = [task.item for task in tasks if isinstance(task.item, Video)]
    if len(tasks) > 1 or len(films) < len(tasks):
        raise ParameterError("--page watches one video, camera or stream, or nothing")
    given = {"scale_factor": args.scale_factor, "min_neighbors": args.min_neighbors}
    given["min_size"] = max(args.min_size) if args.min_size else None
    settings = Settings(args.detector, **{k: v for k, v in given.items() if v is not None})
    studio = Studio(settings, list_detectors(), jobs)
    with PageServer(args.page_host, args.page, studio) as server:
        if films:
            server.show = Show(studio, films[0])
        console.say(f"open {server.url} in a browser; Ctrl-C ends it")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
    return Status.DONE
