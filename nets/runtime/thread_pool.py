"""Worker threads that run the programs of a plan.

Unlike the pools of `concurrent.futures` they work in `atexit` handlers, in threads that outlive the
main thread, and in forked processes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from weakref import WeakSet

Call = Callable[[], object]


class ThreadPool:
    """``count`` threads, started when they are first needed, each with its own queue.

    They end with this object or the process.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._forget()
        _pools.add(self)

    def _forget(self) -> None:
        """Begin without threads: a forked process has none, and a lock may be held for good."""
        self._lock = threading.Lock()
        self._calls: list[SimpleQueue[Call | None]] = []
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        self._pending = 0

    def run(self, calls: Sequence[Call]) -> bool:
        """Make all calls at the same time, the first one in this thread.

        Returns
        -------
        bool
            False if nothing was called: the threads work for another caller, or cannot be started
            (the system has no more of them, or the interpreter is shutting down).
        """
        if not self._lock.acquire(blocking=False):
            return False
        try:
            self._wait()  # two interrupts may have left them at work
            if not self._start():
                return False
            for queue, call in zip(self._calls, calls[1:], strict=True):
                self._pending += 1
                queue.put(call)
            try:
                calls[0]()
            finally:  # after an interrupt, too: the others use the caller's memory
                self._wait()
        finally:
            self._lock.release()
        return True

    def _start(self) -> bool:
        """Start the threads that are missing; whether all are there."""
        while len(self._calls) < self.count:
            calls: SimpleQueue[Call | None] = SimpleQueue()
            work = threading.Thread(
                target=_serve, args=(calls, self._done), name="nets", daemon=True
            )
            try:
                work.start()
            except RuntimeError:
                return False
            self._calls.append(calls)
        return True

    def _wait(self) -> None:
        """Return when the threads have made their calls; raise the first error of one."""
        error = None
        while self._pending:
            found = self._done.get()
            self._pending -= 1
            error = error or found
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


_pools: WeakSet[ThreadPool] = WeakSet()


def _after_fork() -> None:
    for pool in _pools:
        pool._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
