"""Calls of kernels that machine code has made, made again in another mode, with the same answers.

By hand, more of them::

    python -m tests.replay --record calls.pickle --rounds 5
    NUMBA_DISABLE_JIT=1 python -m tests.replay calls.pickle
    NUMBA_BOUNDSCHECK=1 python -m tests.replay calls.pickle
"""

import argparse
import copy
import pickle
import sys
import traceback
from pathlib import Path

import numpy as np

from nets.kernels import layout, worker_pool
from tests.guard import Calls, all_kernels, leaves, memory_of, seeded

# These find arrays by their addresses.
BY_ADDRESS = {
    layout.image_in, layout.run_tasks, worker_pool.lead, worker_pool.place, worker_pool.serve,
}  # fmt: skip
# Fused multiply-adds of float64, and functions of the C library; all others agree to the last bit.
TOLERANCE = {
    "vj.kernels.correlate.correlate_f64": 1e-12,
    "vj.kernels.correlate.separable_f64": 1e-12,
    "nets.kernels.recurrent.lstm_gates": 1e-5,
    "nets.kernels.recurrent.gru_gates": 1e-5,
}


class Recorder(Calls):
    """Keeps the smallest calls of each kernel, with what they returned and left in their arrays."""

    def __init__(self, most):
        self.most, self.calls = most, {}

    def call(self, kernel, args):
        """Call a kernel and remember it."""
        arrays = [a for a, _ in leaves(args, kernel.signature.args)]
        size, kept = sum(a.size for a in arrays), self.calls.setdefault(kernel, [])
        apart = all(len({id(a) for a in members}) == 1 for _, members in memory_of(arrays))
        if kernel in BY_ADDRESS or not apart or (len(kept) == self.most and size >= kept[-1][0]):
            return self._plain(kernel, *args)
        before = copy.deepcopy(args)
        result = self._plain(kernel, *args)
        kept.append((size, before, result, [a.copy() for a in arrays]))
        kept.sort(key=lambda call: call[0])
        del kept[self.most :]
        return result


def record(path, rounds, most):
    """Write calls of all kernels to a file."""
    from tests.guard_cases import CASES

    with Recorder(most) as recorder:
        for seed in range(rounds):
            for name, run in CASES.items():
                run(seeded(name, seed))
    calls = {
        name: [call[1:] for call in recorder.calls.get(kernel, [])]
        for name, kernel in all_kernels().items()
        if kernel not in BY_ADDRESS
    }
    path.write_bytes(pickle.dumps(calls))
    print(*(f"{len(found)} calls of {name}" for name, found in calls.items()), sep="\n")


def check(kernel, call, tolerance):
    """Make a call again."""
    args, *wanted = call
    result = kernel(*args)
    found = result, [a for a, _ in leaves(args, kernel.signature.args)]
    for a, b in zip(flat(found), flat(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, strict=True)


def flat(found):
    """Arrays and numbers of nested tuples and lists."""
    if isinstance(found, tuple | list):
        return [item for part in found for item in flat(part)]
    return [] if found is None else [np.asarray(found)]


def replay(path):
    """Make the calls of a file again; 1 if an answer is another one."""
    kernels, calls = all_kernels(), pickle.loads(path.read_bytes())
    failed = 0
    for name, found in calls.items():
        for call in found:
            try:
                check(kernels[name], call, TOLERANCE.get(name, 0))
            except Exception:
                failed += 1
                print(f"{name}:", file=sys.stderr)
                traceback.print_exc()
    silent = [name for name, found in calls.items() if not found]
    total = sum(map(len, calls.values()))
    print(
        f"{total} calls of {len(calls)} kernels, {failed} wrong; none of {silent or 'those left'}"
    )
    return int(failed > 0 or bool(silent))


def main(argv=None):
    """Record, or replay."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=int, default=3, help="calls of each kernel")
    options = parser.parse_args(argv)
    if options.record:
        return record(options.file, options.rounds, options.most)
    return replay(options.file)


if __name__ == "__main__":
    sys.exit(main())
