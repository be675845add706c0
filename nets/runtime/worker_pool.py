"""Spin-wait worker pool: workers spin briefly after each job, then back off, then sleep.

Waking a thread takes about 50 microseconds, as long as many ops. Within a training step ops follow
each other so closely that workers still spin when the next job is posted
(`nets.kernels.worker_pool`). Otherwise they poll after short sleeps, at no cost to the leader; some
milliseconds after the last job they block until woken. They never need the GIL while working, and a
leader never waits for a worker that has not joined: it does the work itself.
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
SLEEPS = 40  # sleeps of about 80 microseconds each, before it blocks


def _system(posix: str, windows: str) -> int:
    """Return the address of a system function; 0 if there is none."""
    try:
        library: Any = ctypes.CDLL(None) if os.name == "posix" else ctypes.CDLL("kernel32")
        function = getattr(library, posix if os.name == "posix" else windows)
        return ctypes.cast(function, ctypes.c_void_p).value or 0
    except (OSError, AttributeError):
        return 0


@cache
def yield_function() -> int:
    """Return the address of the yield function; 0 if there is none."""
    return _system("sched_yield", "SwitchToThread")


@cache
def sleep_function() -> int:
    """Return the address of a function sleeping n of the smallest system units; 0 if none."""
    return _system("usleep", "Sleep")


class _Worker:
    """A daemon thread that serves the job board."""

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
        """Wake the worker if it is blocked."""
        if self.asleep:
            self.asleep = False
            self.bell.release()


class WorkerPool:
    """Workers, their job board, and the descriptor table of the jobs.

    There is one job at a time: a thread that posts one holds ``lock`` from the first descriptor to
    the last result. The lock is re-entrant, so that an interrupt before its release does not lock a
    thread out of its own pool; ``at_work`` is True while there is a job.
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
        """Return the duration of one poll of the board, in seconds."""
        spins, start = 1000, time.perf_counter()
        kernels.serve(self.board, spins, 0, 0)
        return (time.perf_counter() - start) / spins

    def call(self, workers: int) -> None:
        """Start or wake ``workers`` workers, or fewer if the system runs out of threads."""
        with contextlib.suppress(RuntimeError):  # no more threads, or the interpreter shuts down
            while len(self.workers) < workers and not self.board[kernels.OVER]:
                self.workers.append(_Worker(self.board, self.spins))
        for worker in self.workers[:workers]:
            worker.wake()

    def shut_down(self) -> None:
        """Stop all workers before their code is unloaded; later jobs run on one thread."""
        self.board[kernels.OVER] = 1
        for worker in self.workers:
            worker.wake()
            worker.thread.join(1.0)

    def run(self, workers: int, units: int, spans: int, total: int = 0, step: int = 1) -> None:
        """Run the job in the table, with the fields of `nets.kernels.worker_pool`."""
        self.board[kernels.JOB :] = units, workers, self.table.address, spans, total, step
        kernels.lead(self.board, yield_function())
