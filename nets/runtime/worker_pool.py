"""A pool of workers that spin for a moment after each job, then back off, then sleep.

Waking a thread takes some 50 microseconds, as long as many an op. Within a training step ops follow
each other so closely that the workers of the last one are still spinning when the next job is
posted (`nets.kernels.worker_pool`). Where they do not, workers look again after short sleeps, which
costs the leader nothing; some milliseconds after the last job they wait until they are woken. They
never need Python's lock while they work, and a leader never waits for a worker that has not joined:
it does the work itself.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import threading
import time
from functools import cache
from typing import Any

import numpy as np

from nets.kernels import worker_pool as kernels
from nets.runtime.call_descriptors import Table

SPIN_SECONDS = 200e-6  # seconds that a worker spins for the next job
SLEEPS = 40  # of some 80 microseconds each, before it waits to be woken


def _system(posix: str, windows: str) -> int:
    """Address of a function of the system's; 0 if there is none."""
    try:
        library: Any = ctypes.CDLL(None) if os.name == "posix" else ctypes.CDLL("kernel32")
        function = getattr(library, posix if os.name == "posix" else windows)
        return ctypes.cast(function, ctypes.c_void_p).value or 0
    except (OSError, AttributeError):
        return 0


@cache
def yield_function() -> int:
    """Address of the function that lets another thread run; 0 if there is none."""
    return _system("sched_yield", "SwitchToThread")


@cache
def sleep_function() -> int:
    """Address of the function that sleeps for at least as many of the least units as it is told."""
    return _system("usleep", "Sleep")


class _Worker:
    """A thread that serves a board for ever; it dies with the process."""

    def __init__(self, board: np.ndarray[Any, Any], spins: int) -> None:
        self.board, self.spins = board, spins
        self.asleep, self.bell = False, threading.Lock()
        self.bell.acquire()
        self.thread = threading.Thread(target=self._live, name="nets", daemon=True)
        self.thread.start()

    def _live(self) -> None:
        while not self.board[kernels.OVER]:
            kernels.serve(
                self.board, self.spins, SLEEPS if sleep_function() else 0, sleep_function()
            )
            self.asleep = True
            self.bell.acquire()

    def wake(self) -> None:
        """Let it look at the board, if it sleeps."""
        if self.asleep:
            self.asleep = False
            self.bell.release()


class WorkerPool:
    """Workers, the board they look at, and the table on which jobs are written down.

    There is one job at a time: a thread that posts one holds ``lock`` from its first descriptor to
    its last result. The lock is re-entrant, so that an interrupt before its release does not shut a
    thread out of its own pool; ``at_work`` says whether there is a job.
    """

    def __init__(self) -> None:
        self.lock, self.at_work = threading.RLock(), False
        self.table = Table()
        self.workers: list[_Worker] = []
        self.board = np.zeros(kernels.BOARD, np.int64)
        kernels.serve.compile()
        self.spins = int(SPIN_SECONDS / min(self._spin() for _ in range(5))) + 1
        atexit.register(self.shut_down)

    def _spin(self) -> float:
        """Seconds that a look at the board takes."""
        spins, start = 1000, time.perf_counter()
        kernels.serve(self.board, spins, 0, 0)
        return (time.perf_counter() - start) / spins

    def call(self, workers: int) -> None:
        """Start or wake so many workers, or as many as the system has threads for."""
        with contextlib.suppress(RuntimeError):  # no more threads, or the interpreter shuts down
            while len(self.workers) < workers and not self.board[kernels.OVER]:
                self.workers.append(_Worker(self.board, self.spins))
        for worker in self.workers[:workers]:
            worker.wake()

    def shut_down(self) -> None:
        """End all workers, before the code that they run is gone; later jobs run on one thread."""
        self.board[kernels.OVER] = 1
        for worker in self.workers:
            worker.wake()
            worker.thread.join(1.0)

    def run(self, workers: int, units: int, spans: int, total: int = 0, step: int = 1) -> None:
        """Do the job on the table, whose fields are those of `nets.kernels.worker_pool`."""
        self.board[kernels.JOB :] = units, workers, self.table.address, spans, total, step
        kernels.lead(self.board, yield_function())
