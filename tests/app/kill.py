"""Kill a redaction at random times: ``python tests/app/kill.py --times 50``.

After each kill no file under a final name differs from that of an undisturbed run, and the same
command once more leaves the same bytes, and nothing else.
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import clips
import numpy as np

import vj

MAIN = [sys.executable, "-c", "import sys; from vj.app.cli import main; sys.exit(main())"]
REDACTED = ["--redact", "solid", "-o", "out/", "--json", "found.json", "--csv", "found.csv"]
COMMANDS = {
    "folder": ["in", "-r", *REDACTED],
    "clip": ["in", *REDACTED, "--track", "--hold", "5", "-j", "2"],
}


def make_inputs(kind, folder):
    """A tree of pictures with a face, or a clip with sound of a face that wanders about."""
    face = vj.sample()
    if kind == "folder":
        for i in range(12):
            place = folder / "in" / "ab"[i % 2]
            place.mkdir(parents=True, exist_ok=True)
            vj.write_image(place / f"{i:02}.{('png', 'jpg')[i % 3 == 0]}", np.roll(face, 9 * i, 1))
        return
    (folder / "in").mkdir(parents=True)

    def picture(n, size):
        return np.ascontiguousarray(np.roll(face, 5 * n, 1)[: size[1], : size[0]])

    clips.make_clip(
        folder / "in" / "a.mp4", range(0, 2000, 40), (512, 384), pix_fmt="yuv420p", audio="aac",
        make=picture,
    )  # fmt: skip


def files(folder):
    """Content of every file that is no input, by name."""
    found = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {path: (folder / path).read_bytes() for path in found if path.parts[0] != "in"}


def start(kind, folder):
    return subprocess.Popen(
        [*MAIN, *COMMANDS[kind]], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


class Killer:
    """Kills runs over the same inputs; what happened is in `seen`."""

    def __init__(self, kind, folder, seed=0):
        self.kind, self.folder, self.seen = kind, folder, Counter()
        self._random = random.Random(seed)
        make_inputs(kind, folder)
        assert start(kind, folder).wait() == 0  # kernels are compiled now
        self.expected = files(folder)
        started = time.monotonic()
        assert start(kind, folder).wait() == 0
        self.seconds = time.monotonic() - started
        assert files(folder) == self.expected

    def kill(self):
        """Kill a run that begins without outputs, look at what it left, and run it once more."""
        for path in self.expected:
            (self.folder / path).unlink()
        process = start(self.kind, self.folder)
        try:
            process.wait(self.seconds * self._random.uniform(0.2, 1.0))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        self.seen["killed"] += process.wait() == -signal.SIGKILL
        left = files(self.folder)
        hidden = [path for path in left if path.suffix == ".part"]
        done = {path: data for path, data in left.items() if path not in hidden}
        assert all(self.expected.get(path) == data for path, data in done.items()), done.keys()
        self.seen["with a temporary file left"] += bool(hidden)
        self.seen["with some outputs done"] += 0 < len(done) < len(self.expected)
        assert start(self.kind, self.folder).wait() == 0
        assert files(self.folder) == self.expected


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for kind in COMMANDS:
        with tempfile.TemporaryDirectory() as folder:
            killer = Killer(kind, Path(folder), args.seed)
            while killer.seen["killed"] < args.times:  # some runs end before
                killer.kill()
            print(f"{kind}: {dict(killer.seen)}, nothing half-written, all reruns equal")


if __name__ == "__main__":
    main()
