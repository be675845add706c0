"""Kernels between unreadable pages.

Within `Guard` every call of a kernel works on copies of its arrays, twice: copies that end where a
page begins that may be neither read nor written, then copies that begin behind such a page. What
lies on their other side must stay as it is, and differs from the first time to the second: both
must give the same answer to the last bit. An access beyond an array ends the process.

The layers of a plan, which share one block of memory, are called one by one, in bands of rows;
whatever a layer has no business with is filled with numbers that show.

By hand, for as long as patience allows::

    python -m tests.guard --minutes 5
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import os
import subprocess
import sys
import time
import traceback
import zlib
from importlib import import_module
from pathlib import Path

import numpy as np
from numba import types

from nets.compiler import arena
from nets.compiler.plan import Plan
from nets.compiler.program import Program
from nets.kernels import layout, worker_pool
from vj.kernels.jit import Kernel

ROOT = Path(__file__).parents[1]
PAGE = mmap.PAGESIZE
FILLS = (0xFF, 0x55)  # bytes beside the arrays: NaN, and 1.5e13
NO_COPIES = {worker_pool.place}  # it returns the address of what it gets
_libc = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None


class Region:
    """Pages between two that nobody may touch."""

    def __init__(self, pages):
        self.memory = mmap.mmap(-1, (pages + 2) * PAGE)
        whole = np.frombuffer(self.memory, np.uint8)
        self.bytes = whole[PAGE:-PAGE]
        for page in (0, pages + 1):
            if _libc.mprotect(ctypes.c_void_p(whole.ctypes.data + page * PAGE), PAGE, 0):
                raise OSError(ctypes.get_errno(), "memory cannot be protected here")


class Copy:
    """Bytes copied to one end of a region; ``members`` are the arrays that lie in them."""

    def __init__(self, region, source, members, at_end, fill):
        self.region, self.members, self.fill = region, members, fill
        start = region.bytes.size - source.size if at_end else 0
        region.bytes[:] = fill
        self.bytes = region.bytes[start : start + source.size]
        self.bytes[:] = source
        self.beside = region.bytes[:start] if at_end else region.bytes[source.size :]
        self.offset = start - (source.ctypes.data if source.size else 0)

    def view(self, array):
        """The array that stands here for one of the members."""
        start = self.offset + array.ctypes.data if array.size else 0
        part = self.region.bytes[start : start + array.nbytes]
        part = part.view(array.dtype).reshape(array.shape)
        part.flags.writeable = array.flags.writeable
        return part


def leaves(args, kinds):
    """The arrays among arguments, and whether a kernel of such a signature may write them."""
    for arg, kind in zip(args, kinds, strict=True):
        if isinstance(arg, tuple):
            yield from leaves(arg, kind.types)
        elif isinstance(kind, types.Array):
            yield arg, kind.mutable


def replaced(args, new):
    """Arguments with other arrays in the places of theirs."""
    return tuple(
        replaced(arg, new)
        if isinstance(arg, tuple)
        else next(new)
        if isinstance(arg, np.ndarray)
        else arg
        for arg in args
    )


def memory_at(address, size):
    """Bytes at an address."""
    kind = ctypes.c_uint8 * size
    return np.frombuffer(kind.from_address(address), np.uint8) if size else np.zeros(0, np.uint8)


def memory_of(arrays):
    """The memory of arrays, once where they overlap, and the arrays that lie in it."""
    spans = []
    for array in sorted(arrays, key=lambda a: a.ctypes.data):
        start, end = array.ctypes.data, array.ctypes.data + array.nbytes
        if spans and array.size and start < spans[-1][1]:
            spans[-1][1] = max(end, spans[-1][1])
            spans[-1][2].append(array)
        else:
            spans.append([start, end, [array]])
    return [(memory_at(start, end - start), members) for start, end, members in spans]


class Calls:
    """A block within which ``call(kernel, args)`` decides what a call of a kernel does."""

    def __enter__(self):
        self._before = Kernel.__call__, Program.run, Plan.execute
        self._plain, _, execute = self._before

        def remembered(plan, *args):
            self.plan = plan
            return execute(plan, *args)

        self._slack, arena.SLACK = arena.SLACK, 0
        Kernel.__call__ = lambda kernel, *args: self.call(kernel, args)
        Program.run = lambda program, memory, threads=None: self.run(program, memory)
        Plan.execute = remembered
        return self

    def __exit__(self, *failure):
        Kernel.__call__, Program.run, Plan.execute = self._before
        arena.SLACK = self._slack

    def run(self, program, memory):
        """Run the steps of a program, the lower half of its rows first."""
        for step in program.steps:
            fed = program.fed.get(step.imports, step) if step.imports else step
            limits, scratch = map(np.float32, (fed.lo, fed.hi)), program.scratch[0][: fed.scratch]
            arrays = (memory, fed.weights, fed.bias, fed.shape, *limits)
            half = step.rows // 2
            for first, last in ((half, step.rows), (0, half)):
                self.step(step, (fed.kernel, (*arrays, first, last, scratch)))

    def step(self, step, call):
        """Make the call of a step."""
        self.call(*call)


class Guard(Calls):
    """Guard pages about all arrays; ``seen`` are the kernels that have been called."""

    def __init__(self):
        self.seen, self._free = set(), {}

    def call(self, kernel, args):
        """Call a kernel twice and compare; an array that is no argument for it is refused first."""
        self.seen.add(kernel)
        found = list(leaves(args, kernel.signature.args))
        if kernel in NO_COPIES or not all(a.flags.c_contiguous for a, _ in found):
            return self._plain(kernel, *args)
        memory = memory_of([a for a, _ in found])
        first, second = (
            self._guarded(kernel, args, memory, at_end, fill)
            for at_end, fill in zip((True, False), FILLS, strict=True)
        )
        if repr(first[0]) != repr(second[0]):
            raise AssertionError(f"{kernel.__name__} returns {first[0]}, then {second[0]}")
        written = {id(a) for a, mutable in found if mutable}
        for (source, members), one, two in zip(memory, first[1], second[1], strict=True):
            if not np.array_equal(one, two):
                raise AssertionError(f"{kernel.__name__}: the answer depends on memory beside it")
            if any(id(a) in written for a in members):
                source[:] = one
            elif not np.array_equal(source, one):
                raise AssertionError(f"{kernel.__name__} writes to an array that it only reads")
        return first[0]

    def _guarded(self, kernel, args, memory, at_end, fill):
        """What a call returns and leaves in its arrays, which lie at an end of their pages."""
        copies = [Copy(self._take(m.size), m, members, at_end, fill) for m, members in memory]
        views = {id(array): copy.view(array) for copy in copies for array in copy.members}
        arrays = [views[id(a)] for a, _ in leaves(args, kernel.signature.args)]
        lent = self._images(arrays[3], at_end, fill) if kernel is layout.image_in else None
        result = self._plain(kernel, *replaced(args, iter(arrays)))
        if lent is not None:
            arrays[3][layout.SHARED :] = lent
        if not all((copy.beside == fill).all() for copy in copies):
            raise AssertionError(f"{kernel.__name__} writes beside an array")
        found = [copy.bytes.copy() for copy in copies]
        for copy in copies:
            self._free.setdefault(copy.region.bytes.size // PAGE, []).append(copy.region)
        return result, found

    def _images(self, shape, at_end, fill):
        """Guard the images whose addresses are in the shape of `image_in`; the addresses before."""
        shape.flags.writeable = True
        before, size = (
            shape[layout.SHARED :].copy(),
            int(3 * shape[layout.HIGH] * shape[layout.WIDE]),
        )
        regions = [Region(-(-size // PAGE)) for _ in before]
        images = [
            Copy(region, memory_at(address, size), [], at_end, fill)
            for region, address in zip(regions, before.tolist(), strict=True)
        ]
        shape[layout.SHARED :] = [image.bytes.ctypes.data for image in images]
        self._lent = images
        return before

    def _take(self, size):
        pages = max(1, -(-size // PAGE))
        waiting = self._free.get(pages)
        return waiting.pop() if waiting else Region(pages)

    def run(self, program, memory):
        """Step by step, and then all steps at once, which must be the same."""
        whole = memory.copy()
        super().run(program, memory)
        self._before[1](program, whole)
        if not np.array_equal(whole.view(np.int32), memory.view(np.int32)):
            raise AssertionError("steps one by one give another answer than their program")

    def step(self, step, call):
        """Call with the memory of all arrays that the step does not name filled with numbers."""
        kernel, (memory, *rest) = call
        buffers = self.plan.arena.buffers
        foreign = np.ones(memory.size, bool)
        for name in {*step.reads, *step.writes} & buffers.keys():
            foreign[buffers[name].offset :][: buffers[name].size] = False
        results = []
        for fill in FILLS:
            trial = memory.copy()
            floats = trial.view(np.uint8).reshape(-1, 4)
            floats[foreign] = fill
            self.call(kernel, (trial, *rest))
            if not (floats[foreign] == fill).all():
                raise AssertionError(f"{kernel.__name__} writes to other arrays than {step.writes}")
            results.append(trial)
        if not np.array_equal(*(trial[~foreign].view(np.int32) for trial in results)):
            raise AssertionError(f"{kernel.__name__} reads other arrays than {step.reads}")
        memory[~foreign] = results[0][~foreign]


def all_kernels():
    """Every kernel of the two packages by its dotted name."""
    found = {}
    for package in ("vj", "nets"):
        folder = Path(import_module(package).__file__).parent / "kernels"
        for path in sorted(folder.glob("*.py")):
            module = import_module(f"{package}.kernels.{path.stem}")
            for item in vars(module).values():
                if isinstance(item, Kernel) and item.__wrapped__.__module__ == module.__name__:
                    found[f"{module.__name__}.{item.__name__}"] = item
    return found


def seeded(name, seed):
    """The generator of a case."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def work(names, seeds, minutes):
    """Run cases in this process; 1 if one has failed."""
    from tests.guard_cases import CASES

    end, failed, runs = time.monotonic() + 60 * minutes, 0, 0
    with Guard() as guard:
        for seed in seeds:
            for name in names or CASES:
                if time.monotonic() > end:
                    break
                print(f"case {name!r} --seed {seed}", flush=True)
                runs += 1
                try:
                    CASES[name](seeded(name, seed))
                except Exception:
                    failed += 1
                    print(f"--case {name!r} --seed {seed}:", file=sys.stderr)
                    traceback.print_exc()
    unseen = [name for name, kernel in all_kernels().items() if kernel not in guard.seen]
    print(f"{runs} runs, {failed} failed; kernels that were not called: {' '.join(unseen) or '-'}")
    return int(failed > 0)


def run(*args):
    """Run cases in a process of its own; its exit status, and what is to be told."""
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.guard", "--here", *map(str, args)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    last = next((line for line in reversed(lines) if line.startswith("case")), "before any case")
    if done.returncode < 0:
        return done.returncode, f"crash in {last}\n{done.stderr}"
    return done.returncode, done.stderr + "\n".join(lines[-1:])


def main(argv=None):
    """Run cases with one seed after the other; 1 if a case crashes or fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    parser.add_argument("--rounds", type=int, default=1 << 30)
    parser.add_argument("--case", action="append", help="only this one; may be repeated")
    parser.add_argument("--here", action="store_true", help="in this process, for a debugger")
    options = parser.parse_args(argv)
    if options.here:
        seeds = range(options.seed, options.seed + options.rounds)
        return work(options.case, seeds, options.minutes)
    status, report = run(*(sys.argv[1:] if argv is None else argv))
    print(report)
    return int(status != 0)


if __name__ == "__main__":
    sys.exit(main())
