"""Kernel calls as a table of numbers that one compiled loop works through.

From the first layer to the last nothing comes back to Python: a call costs some 15 ns, and threads
share the table by taking the next line.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import cache
from typing import Any

import numpy as np

from nets.kernels import layout
from nets.packing.slots import F32, I64, aligned
from nets.plan.layers.base import Step
from vj.kernels.jit import Kernel

BAND_NS = 20_000  # a band of rows is worth a thread of its own from here on


def address_of(kernel: Kernel) -> int:
    """Where the machine code of a kernel lies."""
    kernel.compile()
    compiled = next(iter(kernel.dispatcher.overloads.values()))
    name = compiled.fndesc.llvm_func_name
    return int(compiled.library.get_pointer_to_function(name))


@cache
def give_way() -> int:
    """Address of the system's function that lets another thread run; 0 if there is none."""
    try:
        library: Any = ctypes.CDLL(None) if os.name == "posix" else ctypes.CDLL("kernel32")
        function = library.sched_yield if os.name == "posix" else library.SwitchToThread
        return ctypes.cast(function, ctypes.c_void_p).value or 0
    except (OSError, AttributeError):
        return 0


class Program:
    """Steps that run one after the other, each split into bands of rows for several threads."""

    def __init__(self, steps: Sequence[Step], costs: Sequence[float], n_jobs: int) -> None:
        self.steps = list(steps)  # keeps the arrays alive that the table points to
        self.n_jobs = n_jobs
        self.limits: F32 = np.array([[s.lo, s.hi] for s in steps] or [[0, 0]], np.float32)
        lines: list[list[int]] = []
        for k, (step, cost) in enumerate(zip(steps, costs, strict=True)):
            done = len(lines)
            bands = 1
            if n_jobs > 1:
                bands = int(min(max(1, cost // BAND_NS), 2 * n_jobs, step.rows))
            for b in range(bands):
                first, last = step.rows * b // bands, step.rows * (b + 1) // bands
                lines.append(self._line(k, step, first, last, done))
        self.table: I64 = np.array(lines, np.int64).reshape(-1, layout.TASK)
        size = max([step.scratch for step in steps], default=1)
        self.scratch = [aligned(size) for _ in range(n_jobs)]
        self.progress: I64 = np.zeros(16, np.int64)

    def _line(self, k: int, step: Step, first: int, last: int, after: int) -> list[int]:
        arrays: list[int] = []
        for array in (step.weights, step.bias, step.shape):
            arrays += [array.ctypes.data, array.size]
        return [address_of(step.kernel), *arrays, k, first, last, after]

    def run(self, arena: F32, threads: Executor | None = None) -> None:
        """Run all steps, with the threads' help where they are given."""
        self.progress[:] = 0
        shared = (arena, self.table, self.limits, self.progress, give_way())
        helpers = []
        if threads is not None:
            for scratch in self.scratch[1:]:
                helpers.append(threads.submit(layout.run_tasks, *shared, scratch))
        layout.run_tasks(*shared, self.scratch[0])
        for helper in helpers:
            helper.result()
