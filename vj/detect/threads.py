"""Work that several threads share, or the calling one alone where no more can be had."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

A = TypeVar("A")
B = TypeVar("B")


def call_in_threads(work: Callable[[], None], n_jobs: int) -> None:
    """Call ``work`` in this thread and, at the same time, in ``n_jobs - 1`` others.

    Each call takes pieces of work until none is left, so that fewer threads do as well: an
    interpreter that is shutting down (`atexit` handlers) starts none.
    """
    if n_jobs <= 1:
        work()
        return
    with ThreadPoolExecutor(n_jobs - 1) as pool:
        others = []
        with suppress(RuntimeError):  # new threads cannot be scheduled, or started
            for _ in range(n_jobs - 1):
                others.append(pool.submit(work))
        work()
        for other in others:
            other.result()


def map_in_threads(function: Callable[[A], B], items: Iterable[A], n_jobs: int) -> list[B]:
    """``function`` of each item, in order; of several errors the one of the first item counts."""
    if n_jobs == 1:
        return [function(item) for item in items]
    waiting = deque(enumerate(items))
    found: list[Any] = [None] * len(waiting)
    errors: dict[int, Exception] = {}

    def work() -> None:
        while waiting:
            try:
                at, item = waiting.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                found[at] = function(item)
            except Exception as exc:
                errors[at] = exc
                waiting.clear()

    call_in_threads(work, min(n_jobs, len(waiting)))
    if errors:
        raise errors[min(errors)]
    return found
