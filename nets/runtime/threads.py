"""How many threads the ops use, and how work is shared out among them.

Work is split over outputs, never over sums: the answer is the same for any number of threads. Ops
hand over calls of kernels; several threads make them without Python's lock
(`nets.runtime.worker_pool`).
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from nets.arrays import Array
from nets.runtime import memory
from nets.runtime.worker_pool import WorkerPool
from vj.errors import NetError
from vj.kernels.jit import Kernel

SMALL = 1 << 16  # numbers that are not worth a second thread
LITTLE = 1 << 20  # multiplications that are not worth one either
BLOCK = 1 << 10  # numbers that stay with one thread
CHUNKS = 4  # for each thread, so that one that is held up does not hold up the others


class _State:
    threads = 1
    pool: WorkerPool | None = None
    making = threading.Lock()


def _forget_pool() -> None:
    """In a forked process the workers do not exist, and its lock may be anyone's."""
    if _State.pool is not None:
        atexit.unregister(_State.pool.shut_down)
    _State.pool, _State.making = None, threading.Lock()


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


class Caller:
    """Makes the calls of a task at once."""

    def __call__(self, kernel: Kernel, *args: Any) -> None:
        """Call a kernel, now or later."""
        kernel(*args)

    def scratch(self, name: str, size: int) -> Array:
        """``size`` floats that only the calls of this task use at that time."""
        return memory.scratch(name, size)


class _DeferredCaller(Caller):
    """Writes the calls of a task down as a unit of the pool's job."""

    def __init__(self, pool: WorkerPool, unit: int) -> None:
        self.table, self.unit = pool.table, unit
        self.table.unit()

    def __call__(self, kernel: Kernel, *args: Any) -> None:
        self.table.add(kernel, args)

    def scratch(self, name: str, size: int) -> Array:
        # Units are done side by side, by whom is not known yet.
        return memory.scratch(f"{name} {self.unit}" if self.unit else name, size)


NOW = Caller()
Task = Callable[[Caller, int, int], None]


def share(total: int, task: Task, *, small: bool = False) -> None:
    """Call ``task(call, first, last)`` for bands that cover 0 to ``total``.

    Parameters
    ----------
    total : int
        Units of work of about equal size.
    task : callable
        Does the units first to last by ``call(kernel, *args)``, in places of ``call.scratch``. The
        kernels run later and in other threads, those of one band in the given order: apart from
        such calls a task must neither read nor write what kernels compute.
    small : bool
        Whether the whole takes less time than handing it over (some microseconds).

    Raises
    ------
    RuntimeError
        The task shares out work itself.
    """
    bands = min(_State.threads, total)
    pool = _enter() if bands > 1 and not small else None
    if pool is None:
        task(NOW, 0, total)
        return
    try:
        pool.at_work = True
        pool.call(bands - 1)
        for band in range(bands):
            task(_DeferredCaller(pool, band), band * total // bands, (band + 1) * total // bands)
        pool.run(bands - 1, bands, pool.table.finish())
    finally:
        _leave(pool)


def share_kernel(
    kernel: Kernel, args: Sequence[Any], total: int, *, step: int = 1, small: bool = False
) -> None:
    """Call a kernel for bands that cover 0 to ``total``.

    Parameters
    ----------
    kernel : Kernel
        One that has parameters ``first, last``.
    args : sequence
        The others.
    total : int
        Units of work of about equal size.
    step : int
        Bands, but for the last one, are multiples of it.
    small : bool
        As for `share`.
    """
    place, steps = kernel.band, -(-total // step)
    args = (*args[:place], 0, total, *args[place:])
    workers = min(_State.threads, steps) - 1
    pool = _enter() if workers > 0 and not small else None
    if pool is None:
        kernel(*args)
        return
    try:
        pool.at_work = True
        pool.call(workers)
        pool.table.one(kernel, args)
        pool.run(workers, min(steps, CHUNKS * (workers + 1)), -1, total, step)
    finally:
        _leave(pool)


def share_numbers(kernel: Kernel, *args: Any, size: int) -> None:
    """Call a kernel for blocks of 0 to ``size``, each number being little work."""
    share_kernel(kernel, args, size, step=BLOCK, small=size < SMALL)


def _enter() -> WorkerPool | None:
    """The pool, for this thread alone; None if another thread has it or there is none."""
    pool = _State.pool
    if pool is None:
        with _State.making:
            pool = _State.pool = _State.pool or WorkerPool()
    if not pool.lock.acquire(blocking=False):
        return None
    if pool.at_work:
        pool.lock.release()
        raise RuntimeError("share: a task must not share out work itself")
    return pool


def _leave(pool: WorkerPool) -> None:
    pool.at_work = False
    pool.table.clear()
    pool.lock.release()
