"""The threads that help: they wait awake for a moment after each job, nap, then sleep.

Waking a thread takes some 50 microseconds, as long as many an op. Within a training step ops follow
each other so closely that the helpers of the last one are still looking at the board when the next
one is posted (`nets.kernels.worker_pool`). Where they do not, helpers look again after short naps,
which costs the leader nothing; some milliseconds after the last job they sleep until they are
woken. They never need Python's lock while they help, and a leader never waits for a helper that has
not come: it does the work itself.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import time
from functools import cache
from typing import Any

import numpy as np

from nets.kernels import worker_pool as kernels
from nets.runtime.call_descriptors import Table

AWAKE = 200e-6  # seconds that a helper looks for the next job
NAPS = 40  # of some 80 microseconds each, between looks, before it goes to sleep


def _system(posix: str, windows: str) -> int:
    """Address of a function of the system's; 0 if there is none."""
    try:
        library: Any = ctypes.CDLL(None) if os.name == "posix" else ctypes.CDLL("kernel32")
        function = getattr(library, posix if os.name == "posix" else windows)
        return ctypes.cast(function, ctypes.c_void_p).value or 0
    except (OSError, AttributeError):
        return 0


@cache
def give_way() -> int:
    """Address of the function that lets another thread run; 0 if there is none."""
    return _system("sched_yield", "SwitchToThread")


@cache
def nap() -> int:
    """Address of the function that sleeps for at least as many of the least units as it is told."""
    return _system("usleep", "Sleep")


class _Helper:
    """A thread that serves a board for ever; it dies with the process."""

    def __init__(self, board: np.ndarray[Any, Any], looks: int) -> None:
        self.board, self.looks = board, looks
        self.asleep, self.bell = False, threading.Lock()
        self.bell.acquire()
        self.thread = threading.Thread(target=self._live, name="nets", daemon=True)
        self.thread.start()

    def _live(self) -> None:
        while not self.board[kernels.OVER]:
            kernels.serve(self.board, self.looks, NAPS if nap() else 0, nap())
            self.asleep = True
            self.bell.acquire()

    def wake(self) -> None:
        """Let it look at the board, if it sleeps."""
        if self.asleep:
            self.asleep = False
            self.bell.release()


class Crew:
    """Helpers, the board they look at, and the table on which jobs are written down.

    One job at a time: who wants to post one holds ``lock`` from the first note to the last result.
    It lets its holder in twice, so that an interrupt that comes before it is given back does not
    shut a thread out of its own crew; ``at_work`` says whether there is a job.
    """

    def __init__(self) -> None:
        self.lock, self.at_work = threading.RLock(), False
        self.table = Table()
        self.helpers: list[_Helper] = []
        self.board = np.zeros(kernels.BOARD, np.int64)
        kernels.serve.compile()
        self.looks = int(AWAKE / min(self._look() for _ in range(5))) + 1
        atexit.register(self.dismiss)

    def _look(self) -> float:
        """Seconds that a look at the board takes."""
        looks, start = 1000, time.perf_counter()
        kernels.serve(self.board, looks, 0, 0)
        return (time.perf_counter() - start) / looks

    def call(self, helpers: int) -> None:
        """See to it that so many helpers are there and awake."""
        while len(self.helpers) < helpers and not self.board[kernels.OVER]:
            self.helpers.append(_Helper(self.board, self.looks))
        for helper in self.helpers[:helpers]:
            helper.wake()

    def dismiss(self) -> None:
        """Let all helpers end, before the code that they run is gone; jobs are done alone then."""
        self.board[kernels.OVER] = 1
        for helper in self.helpers:
            helper.wake()
            helper.thread.join(1.0)

    def run(self, helpers: int, units: int, spans: int, total: int = 0, step: int = 1) -> None:
        """Do the job on the table, whose fields are those of `nets.kernels.worker_pool`."""
        self.board[kernels.JOB :] = units, helpers, self.table.address, spans, total, step
        kernels.lead(self.board, give_way())
