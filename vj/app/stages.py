"""Threads between the stages of a film: bounded queues, order kept, a clean end."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from queue import Empty, Full, Queue
from typing import Any, Generic, TypeVar, cast

from vj.app.status import Terminated

T = TypeVar("T")
R = TypeVar("R")
_END = object()
_SPREAD = 4  # times as many frames may be in memory where few of them are work


class Ahead(Generic[T]):
    """An iterator that runs in a thread of its own, a few things ahead of who reads it.

    An exception comes out where the thing would have; `close` ends the thread and the iterator.
    """

    def __init__(self, things: Iterator[T], depth: int, name: str = "") -> None:
        self._queue: Queue[Any] = Queue(depth)
        self._things = things
        self._closed = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def __iter__(self) -> Ahead[T]:
        return self

    def __next__(self) -> T:
        thing: Any = _END if self._closed.is_set() else self._queue.get()
        if thing is _END:
            self.close()
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            raise StopIteration
        return cast(T, thing)

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        while self._thread.is_alive():
            with contextlib.suppress(Empty):
                self._queue.get(timeout=0.02)

    def _run(self) -> None:
        try:
            for thing in self._things:
                if not self._put(thing):
                    break
        except BaseException as exc:  # whatever it is, the reader has to know
            self._error = exc
        finally:
            close = getattr(self._things, "close", None)
            try:
                if close is not None:
                    close()
            except BaseException as exc:
                self._error = self._error or exc
            self._put(_END)

    def _put(self, thing: Any) -> bool:
        while not self._closed.is_set():
            with contextlib.suppress(Full):
                self._queue.put(thing, timeout=0.1)
                return True
        return False


def mapped(
    work: Callable[[T], R], things: Iterable[T], jobs: int, every: int = 1
) -> Generator[tuple[T, R], None, None]:
    """Things and what the work makes of them, in order; ``jobs`` at once.

    Where only each ``every``-th thing is work, so many more are under way that all threads have
    some.
    """
    if jobs == 1:
        for thing in things:
            yield thing, work(thing)
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    pool = ThreadPoolExecutor(jobs)
    waiting: deque[tuple[T, Future[R]]] = deque()
    most = 2 * jobs * min(every, _SPREAD)
    try:
        for thing in things:
            waiting.append((thing, pool.submit(work, thing)))
            if len(waiting) == most:
                first, result = waiting.popleft()
                yield first, result.result()
        while waiting:
            first, result = waiting.popleft()
            yield first, result.result()
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass
class Clock:
    """Seconds that each stage worked, whichever threads did it."""

    seconds: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextlib.contextmanager
    def at(self, stage: str) -> Iterator[None]:
        """Count the time of the block."""
        started = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                spent = time.perf_counter() - started
                self.seconds[stage] = self.seconds.get(stage, 0.0) + spent

    def each(self, stage: str, things: Iterable[T]) -> Generator[T, None, None]:
        """The things, and count the time that each takes to come."""
        iterator = iter(things)
        try:
            while True:
                with self.at(stage):
                    thing = next(iterator, _END)
                if thing is _END:
                    return
                yield thing  # type: ignore[misc]
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    def lines(self, frames: int, wall: float) -> Iterator[str]:
        """A table for people."""
        for stage, seconds in self.seconds.items():
            each = 1000 * seconds / max(1, frames)
            yield f"{stage:<8} {seconds:8.2f} s  {each:8.2f} ms a frame"
        rate = frames / wall if wall else 0.0
        yield f"{'in all':<8} {wall:8.2f} s  {rate:8.1f} frames/s"


@dataclass
class Stop:
    """A wish to stop, and the signal that brought it."""

    number: int = 0
    closed: bool = False  # without a signal: nobody looks any more

    def __bool__(self) -> bool:
        return bool(self.number) or self.closed

    def until(self, things: Iterable[T]) -> Generator[T, None, None]:
        """The things until somebody wishes to stop; None only gives time to ask."""
        for thing in things:
            if self:
                return
            if thing is not None:
                yield thing

    def raise_(self) -> None:
        """Go on as the signal usually does."""
        if self.number == getattr(signal, "SIGTERM", 0):
            raise Terminated
        if self.number:
            raise KeyboardInterrupt


@contextlib.contextmanager
def stopping() -> Iterator[Stop]:
    """Have the first Ctrl-C or SIGTERM only ask to stop, so that files are finished.

    A second one interrupts. Signals go to the main thread: in others nothing changes.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {
        number: signal.getsignal(number)
        for number in (signal.SIGINT, getattr(signal, "SIGTERM", signal.SIGINT))
    }

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(number: int, _: object) -> None:
        stop.number = number
        restore()

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        restore()
