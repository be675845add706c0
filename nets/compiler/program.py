"""Programs: tables of kernel calls, executed by one compiled loop.

Execution never returns to Python between layers: a call costs about 15 ns, waiting for another
thread less than a microsecond.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from nets.conv.tensor_layout import F32, I64, aligned
from nets.kernels import layout
from nets.operators.layer import Step
from nets.runtime.thread_pool import ThreadPool
from nets.runtime.worker_pool import yield_function

BAND_NS = 4_000  # minimum cost of a band of rows for a thread of its own


def _pointers(step: Step) -> list[int]:
    """Return address and length of the arrays of a step, in the format of a task."""
    found: list[int] = []
    for array in (step.weights, step.bias, step.shape):
        found += [array.ctypes.data, array.size]
    return found


class Program:
    """Steps of a network as tasks for one thread or several.

    A large step is split into bands of rows, the same band for the same thread, so that a thread
    mostly reads what it has just written; small steps go to the least loaded thread. The schedule
    is static: a task holds the number of tasks of each thread that must be complete first.
    """

    def __init__(
        self, steps: Sequence[Step], n_jobs: int = 1, overlaps: Mapping[str, set[str]] | None = None
    ) -> None:
        self.steps = list(steps)  # keeps the arrays in the table alive
        self.n_jobs, self.overlaps = n_jobs, overlaps or {}
        self.imports: dict[str, list[int]] = {}  # their rows in the table
        self.fed: dict[str, Step] = {}
        self.limits: F32 = np.array([[s.lo, s.hi] for s in steps] or [[0, 0]], np.float32)
        self.done = [0] * n_jobs  # tasks of each thread so far
        self.load = [0.0] * n_jobs  # cost of the tasks of each thread
        self.reads: dict[
            str, list[int]
        ] = {}  # by array: tasks of each thread up to the last that uses it
        self.writes: dict[str, list[int]] = {}
        lines = [line for k, step in enumerate(steps) for line in self._lines(k, step)]
        self.table: I64 = np.array(lines, np.int64).reshape(-1, layout.NEEDS + n_jobs)
        size = max([step.scratch for step in steps], default=1)
        self.scratch = [aligned(size) for _ in range(n_jobs)]
        for line, k in enumerate(self.table[:, layout.LIMITS]):
            if steps[k].imports:
                self.imports.setdefault(steps[k].imports, []).append(line)
        self.progress: I64 = np.zeros(n_jobs * layout.APART, np.int64)

    def _lines(self, k: int, step: Step) -> list[list[int]]:
        """Return the tasks of a step."""
        needs = self._needs(step)
        bands = int(min(max(1, step.cost // BAND_NS), self.n_jobs, step.rows))
        owners = list(range(self.n_jobs))
        if bands < self.n_jobs:
            owners = sorted(owners, key=lambda n: (self.load[n], n))[:bands]
        lines = []
        for b, owner in enumerate(owners):
            first, last = step.rows * b // bands, step.rows * (b + 1) // bands
            head = [step.kernel.address, *_pointers(step), k, first, last, owner]
            lines.append(head + [0 if n == owner else need for n, need in enumerate(needs)])
            self.done[owner] += 1
            self.load[owner] += step.cost / bands
        for owner in owners:
            for names, seen in ((step.reads, self.reads), (step.writes, self.writes)):
                for name in names:
                    seen.setdefault(name, [0] * self.n_jobs)[owner] = self.done[owner]
        return lines

    def _needs(self, step: Step) -> list[int]:
        """Return the number of tasks of each thread that must be complete.

        Inputs must have been written, and overwritten arrays must no longer be in use, including
        all arrays that share their memory.
        """
        needs = [0] * self.n_jobs
        for name in {*step.reads, *step.writes}:
            for other in self.overlaps.get(name, {name}):
                found = [self.writes.get(other)]
                found += [self.reads.get(other)] if name in step.writes else []
                for counts in filter(None, found):
                    needs = [max(a, b) for a, b in zip(needs, counts, strict=True)]
        return needs

    def run(self, arena: F32, pool: ThreadPool | None = None) -> None:
        """Run all steps, on the threads of a pool if it is given and free."""
        self.progress[:] = 0
        shared = (arena, self.table, self.limits, self.progress, yield_function())
        work = [partial(layout.run_tasks, *shared, n, self.scratch[n]) for n in range(self.n_jobs)]
        if pool is None or not pool.run(work):
            layout.run_tasks(*shared, -1, self.scratch[0])

    def feed(self, name: str, step: Step) -> None:
        """Fill the array ``name`` by ``step`` instead of its import."""
        self.fed[name] = step  # keeps its arrays alive
        for line in self.imports[name]:
            self.table[line, layout.KERNEL] = step.kernel.address
            self.table[line, layout.WEIGHTS : layout.LIMITS] = _pointers(step)
