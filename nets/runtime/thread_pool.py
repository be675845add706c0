"""Worker threads that run the programs of a plan.

Unlike the pools of `concurrent.futures` they work in `atexit` handlers, and in threads that outlive
the main thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue

Call = Callable[[], object]


class ThreadPool:
    """``count`` threads, each with its own queue; they end with this object or the process.

    Raises
    ------
    RuntimeError
        The system has no more threads, or the interpreter is shutting down.
    """

    def __init__(self, count: int) -> None:
        self._calls: list[SimpleQueue[Call | None]] = [SimpleQueue() for _ in range(count)]
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        self._pending = 0
        for calls in self._calls:
            threading.Thread(
                target=_serve, args=(calls, self._done), name="nets", daemon=True
            ).start()

    def start(self, calls: Sequence[Call]) -> None:
        """Run each call in its own thread, at most ``count`` calls."""
        for queue, call in zip(self._calls, calls, strict=False):
            self._pending += 1
            queue.put(call)

    def wait(self) -> None:
        """Wait for all calls; re-raise an error of any of them."""
        while self._pending:
            error = self._done.get()
            self._pending -= 1
            if error is not None:
                raise error

    def __del__(self) -> None:
        for calls in self._calls:
            calls.put(None)


def _serve(calls: SimpleQueue[Call | None], done: SimpleQueue[BaseException | None]) -> None:
    while (call := calls.get()) is not None:
        try:
            call()
        except BaseException as exc:
            done.put(exc)
        else:
            done.put(None)
