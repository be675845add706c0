"""How many threads the ops use, and how work is shared out among them.

Kernels release Python's lock, so threads of Python run them side by side. Work is split over
outputs, never over sums: the answer is the same for any number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from types import TracebackType

from vj.errors import NetError

SMALL = 1 << 16  # numbers that are not worth a second thread
LITTLE = 1 << 22  # multiplications that are not worth one either
BLOCK = 1 << 10  # numbers that stay with one thread
CHUNKS = 4  # for each thread, so that one that is held up does not hold up the others


class _State:
    threads = 1
    pool: ThreadPoolExecutor | None = None


def _forget_pool() -> None:
    """In a forked process the threads of the pool do not exist."""
    _State.pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


class threads:
    """Let the differentiable ops use ``n`` threads, from now on or for the length of a block.

    Parameters
    ----------
    n : int
        At least 1, which is the default. Results do not depend on it.

    Raises
    ------
    NetError
        ``n`` is no positive whole number.

    Examples
    --------
    >>> import nets
    >>> with nets.threads(2):
    ...     pass
    """

    def __init__(self, n: int) -> None:
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise NetError(f"threads: must be a whole number of at least 1, got {n!r}")
        self.before, _State.threads = _State.threads, n

    def __enter__(self) -> None:
        """The number is in force since the object was made."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _State.threads = self.before


def thread_count() -> int:
    """Number of threads that ops may use now."""
    return _State.threads


def share(total: int, task: Callable[[int, int], object], *, small: bool = False) -> None:
    """Call ``task(first, last)`` for bands that cover 0 to ``total``, in any order and thread.

    Parameters
    ----------
    total : int
        Units of work of about equal size.
    task : callable
        Does the units first to last; most of it without Python's lock.
    small : bool
        Whether the whole takes less time than waking a thread (some 50 microseconds).
    """
    helpers = min(_State.threads, total) - 1
    if helpers < 1 or small:
        task(0, total)
        return
    chunks = min(total, CHUNKS * (helpers + 1))
    numbers = count()

    def work() -> None:
        while (chunk := next(numbers)) < chunks:
            task(chunk * total // chunks, (chunk + 1) * total // chunks)

    pool = _pool(helpers)
    waiting = [pool.submit(work) for _ in range(helpers)]
    work()
    for other in waiting:
        if not other.cancel():
            other.result()


def share_numbers(size: int, task: Callable[[int, int], object]) -> None:
    """Call ``task(first, last)`` for blocks of 0 to ``size``, each number being little work."""
    share(
        -(-size // BLOCK),
        lambda first, last: task(first * BLOCK, min(last * BLOCK, size)),
        small=size < SMALL,
    )


def _pool(helpers: int) -> ThreadPoolExecutor:
    pool = _State.pool
    if pool is None or pool._max_workers < helpers:
        pool = _State.pool = ThreadPoolExecutor(helpers, thread_name_prefix="nets")
    return pool
