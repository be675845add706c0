"""Thread count of the ops, and distribution of work over threads.

Work is split over outputs, never over sums: results are the same for any number of threads. Ops
submit kernel calls, which several threads execute without the GIL (`nets.runtime.worker_pool`).
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

SMALL = 1 << 16  # elements below which a second thread does not pay
LITTLE = 1 << 20  # the same, in multiplications
BLOCK = 1 << 10  # elements: bands of elementwise work are multiples of this
CHUNKS = 4  # bands per thread, so that a delayed thread does not delay the others


class _State:
    threads = 1
    pool: WorkerPool | None = None
    making = threading.Lock()


def _forget_pool() -> None:
    """Drop the pool after a fork: its workers do not exist and its lock may be held."""
    if _State.pool is not None:
        atexit.unregister(_State.pool.shut_down)
    _State.pool, _State.making = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


class threads:
    """Set the number of threads of the differentiable ops, permanently or within a block.

    Parameters
    ----------
    n : int
        At least 1, which is the default. Results do not depend on it.

    Raises
    ------
    NetError
        ``n`` is not a positive integer.

    Examples
    --------
    >>> import nets
    >>> with nets.threads(2):
    ...     pass
    """

    def __init__(self, n: int) -> None:
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise NetError(f"threads: must be an integer of at least 1, got {n!r}")
        self.before, _State.threads = _State.threads, n

    def __enter__(self) -> None:
        """Do nothing: the number has been in effect since construction."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _State.threads = self.before


def thread_count() -> int:
    """Return the current number of threads of the ops."""
    return _State.threads


class Caller:
    """Executes the calls of a task immediately."""

    def __call__(self, kernel: Kernel, *args: Any) -> None:
        """Call a kernel, now or later."""
        kernel(*args)

    def scratch(self, name: str, size: int) -> Array:
        """Return ``size`` floats of scratch, exclusive to the calls of this task."""
        return memory.scratch(name, size)


class _DeferredCaller(Caller):
    """Records the calls of a task as a unit of the pool's job."""

    def __init__(self, pool: WorkerPool, unit: int) -> None:
        self.table, self.unit = pool.table, unit
        self.table.unit()

    def __call__(self, kernel: Kernel, *args: Any) -> None:
        self.table.add(kernel, args)

    def scratch(self, name: str, size: int) -> Array:
        # Units run concurrently, on threads not yet known.
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
        Computes the units first to last by ``call(kernel, *args)``, with buffers of
        ``call.scratch``. The kernels run later and in other threads, those of one band in order:
        apart from such calls a task must neither read nor write what kernels compute.
    small : bool
        True if the work takes less time than submitting it (a few microseconds).

    Raises
    ------
    RuntimeError
        The task itself calls `share`.
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
        The other arguments.
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
    """Call a kernel for blocks of 0 to ``size``, for cheap elementwise work."""
    share_kernel(kernel, args, size, step=BLOCK, small=size < SMALL)


def _enter() -> WorkerPool | None:
    """Acquire the pool; None if another thread holds it or there is none."""
    pool = _State.pool
    if pool is None:
        with _State.making:
            pool = _State.pool = _State.pool or WorkerPool()
    if not pool.lock.acquire(blocking=False):
        return None
    if pool.at_work:
        pool.lock.release()
        raise RuntimeError("share: a task must not call `share` itself")
    return pool


def _leave(pool: WorkerPool) -> None:
    pool.at_work = False
    pool.table.clear()
    pool.lock.release()
