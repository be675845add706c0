"""``python -m tests.fuzz``: all readers for some minutes, in a process that may crash or hang."""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz import run, targets
from tests.fuzz.worker import Worker


def keep(finding, chosen, data, out):
    """Save the first input of each place with what it led to."""
    name = "".join(c if c.isalnum() else "-" for c in f"{finding.reader} {finding.place}")[:120]
    if (out / name).exists():
        return
    run.write(out / name, chosen, data)
    (out / name / "finding.txt").write_text(f"{finding.reader} {finding.index}\n{finding.text}")
    print(f"{finding.reader} #{finding.index}: {finding.place} -> {out / name}", flush=True)


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long (default: 10)")
    parser.add_argument("--count", type=int, help="inputs instead of minutes")
    parser.add_argument("--seed", type=int, default=0, help="other inputs (default: 0)")
    parser.add_argument("--only", action="append", choices=targets.TARGETS, metavar="READER",
                        help=f"of {', '.join(targets.TARGETS)}; may be given again")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="for findings")
    args = parser.parse_args()
    readers = args.only or list(targets.TARGETS)
    shutil.rmtree(args.out, ignore_errors=True)
    end, tally, count = time.monotonic() + 60 * args.minutes, run.Tally(), 0
    memory = (
        "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    )  # several times as fast as a disk
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        process = Worker(readers, Path(folder) / "case")
        process.start()
        while count < args.count if args.count else time.monotonic() < end:
            reader = readers[count % len(readers)]
            index = len(run.seeds_of(reader)) + count // len(readers)
            damaged = run.case(reader, args.seed, index)
            began = time.monotonic()
            outcome = process.outcome(reader, index, *damaged)
            tally.add(reader, outcome, time.monotonic() - began)
            if isinstance(outcome, run.Finding):
                keep(outcome, *damaged, args.out)
            count += 1
            if count % 5000 == 0:
                print(f"{count} inputs, {len(tally.findings)} findings", flush=True)
        process.stop()
    print(*tally.lines(), sep="\n")
    return 1 if tally.findings else 0


if __name__ == "__main__":
    sys.exit(main())
