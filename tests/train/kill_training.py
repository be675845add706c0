"""Kill trainings at random moments: ``python tests/train/kill_training.py --times 50``.

Half of the kills come at a random time, half right before or after a random one of the renames that
give files their names. Whatever stands under a final name then is whole, and the training that goes
on ends with the bytes of one that was left alone.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[1]
DEADLY = """
import hashlib, itertools, os, pathlib, signal
count, deadly, plain = itertools.count(), int(os.environ.get("KILL_AT", -1)), pathlib.Path.replace
def replace(self, target):
    k = next(count)
    if 2 * k == deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    done = plain(self, target)
    if 2 * k + 1 == deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    if deadly < 0:
        print("renamed", target.name, hashlib.sha256(target.read_bytes()).hexdigest(), flush=True)
    return done
pathlib.Path.replace = replace
"""
CASCADE = """
import sys
from vj.app.train_cli import main
sys.argv[1:] = ["in/crops", "in/bg", "-o", "out/cup.xml", "--window", "14", "--positives", "120",
                "--negatives", "120", "--stages", "4", "--max-trees", "30", "--hit-rate", "0.99",
                "-j", "1"]
sys.argv += ["--resume"] * pathlib.Path("out/cup.train/state.npz").exists()
print("begun", flush=True)
sys.exit(main())
"""
NET = """
import numpy as np
import nets
from nets.nn.losses import cross_entropy
from nets.nn.layers import Conv2d, Dropout, Flatten, Linear, ReLU, Sequential
from nets.nn.optim import SGD
from nets.training import Arrays, Flip, Loader, fit, save_weights
nets.seed(1)
rng = np.random.default_rng(0)
data = Arrays(rng.random((96, 1, 12, 12), np.float32), rng.integers(0, 3, 96))
model = Sequential(Conv2d(1, 6, 3), ReLU(), Dropout(0.2), Flatten(), Linear(600, 3))
loader = Loader(data, 16, shuffle=True, augment=Flip(), seed=3)
print("begun", flush=True)
fit(model, cross_entropy, loader, SGD(model.named_parameters(), 0.05, momentum=0.9), epochs=12,
    folder="out", save_every=4, resume=True)
save_weights("out/weights.safetensors", model)
"""


def make_inputs(kind, folder):
    """Crops and backgrounds; a net needs none."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind != "cascade":
        return
    from train.test_trainer import task

    from vj.io.images import write_image

    for name, pictures in zip(("crops", "bg"), task(), strict=True):
        (folder / "in" / name).mkdir(parents=True)
        for k, picture in enumerate(pictures):
            write_image(folder / "in" / name / f"{k:03d}.png", picture)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_cascade(folder):
    """Read all that stands under a final name; what the training was for, if it is there."""
    from vj.cascade.opencv_xml import read
    from vj.train.checkpoint import _read

    for path in folder.rglob("*.npz"):
        assert _read(path)
    for path in folder.glob("*.json"):
        assert json.loads(path.read_text())["reason"]
    for path in folder.glob("*.html"):
        assert path.read_text().endswith("</html>\n")
    for path in folder.glob("*.xml"):
        assert read(path).n_stages
    return folder / "cup.xml"


def read_net(folder):
    """As `read_cascade`."""
    from nets.nn.state import load_state
    from nets.training.checkpoint import load_checkpoint

    for path in folder.glob("check*"):
        assert load_checkpoint(path)["step"]
    for path in folder.glob("weights.s*"):
        assert load_state(path)[0]
    return folder / "weights.safetensors"


KINDS = {"cascade": (CASCADE, read_cascade), "net": (NET, read_net)}
REPEATED = {".xml", ".safetensors"}  # the other files hold times


class Killer:
    """Kills trainings of one kind; what happened is in `seen`."""

    def __init__(self, kind, folder, seed=0):
        self.folder, self.seen, self._random = folder, Counter(), random.Random(seed)
        self._code, self._read = KINDS[kind]
        make_inputs(kind, folder)
        self.train()  # kernels are compiled now
        self.clear()
        started = time.monotonic()
        lines = self.train().splitlines()
        self.seconds = time.monotonic() - started
        self.written = [line.split()[1:] for line in lines if line.startswith("renamed ")]
        self.expected = digest(self.look())

    def start(self, deadly=-1):
        environment = {**os.environ, "KILL_AT": str(deadly)}
        code = DEADLY + self._code
        command, pipe = [sys.executable, "-c", code], subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=pipe, stderr=pipe, text=True
        )

    def train(self):
        """A training that nobody disturbs, from what there is in the folder."""
        with self.start() as process:
            out, said = process.communicate()
        assert process.returncode == 0, said
        return out

    def clear(self):
        shutil.rmtree(self.folder / "out", ignore_errors=True)

    def look(self):
        """All that stands under a final name is whole, and stood there in the first training."""
        for path in (self.folder / "out").rglob("[!.]*"):
            if path.suffix in REPEATED:
                assert [path.name, digest(path)] in self.written, path
        return self._read(self.folder / "out")

    def kill(self):
        """Kill a training that begins from nothing, look at what it left, and let it go on."""
        self.clear()
        at_rename = self._random.random() < 0.5
        deadly = self._random.randrange(2 * len(self.written)) if at_rename else -1
        patience = None if at_rename else self._random.uniform(0.2, 1.0) * self.seconds
        with self.start(deadly) as process:
            try:
                process.communicate(timeout=patience)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
        what = "killed at a rename" if at_rename else "killed at a time"
        self.seen[what] += process.returncode == -signal.SIGKILL
        self.seen["before the file it is for is there"] += not self.look().exists()
        self.seen["with a temporary file left"] += bool(list(self.folder.rglob("*.part")))
        self.train()
        assert digest(self.look()) == self.expected
        assert not list(self.folder.rglob("*.part"))


def main():
    sys.path.insert(0, str(TESTS))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    args = parser.parse_args()
    for kind in args.kinds:
        with tempfile.TemporaryDirectory() as folder:
            killer = Killer(kind, Path(folder), args.seed)
            for _ in range(args.times):
                killer.kill()
            print(f"{kind}: {dict(killer.seen)}, nothing half-written, all ends equal", flush=True)


if __name__ == "__main__":
    main()
