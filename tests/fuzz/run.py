"""Damaged files by number, and what came of each."""

import random
import shutil
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.fuzz import corpus, damage, targets


@dataclass(frozen=True)
class Finding:
    """An input on which a reader does what it does not promise."""

    reader: str
    index: int
    place: str  # where in the project, and what
    text: str


@dataclass
class Tally:
    """What came of the inputs of each reader."""

    read: Counter = field(default_factory=Counter)
    refused: Counter = field(default_factory=Counter)
    findings: list = field(default_factory=list)
    seconds: dict = field(default_factory=dict)  # of the slowest input

    def add(self, reader, outcome, seconds=0.0):
        self.seconds[reader] = max(seconds, self.seconds.get(reader, 0.0))
        if isinstance(outcome, Finding):
            self.findings.append(outcome)
        else:
            (self.read if outcome == "read" else self.refused)[reader] += 1

    def lines(self):
        head = ("inputs", "read", "refused", "findings", "places", "slowest")
        yield f"{'reader':12} " + " ".join(f"{name:>8}" for name in head)
        for reader in (*targets.TARGETS, "all"):
            own = [f for f in self.findings if reader in (f.reader, "all")]
            read, refused = (
                sum(n for name, n in counts.items() if reader in (name, "all"))
                for counts in (self.read, self.refused)
            )
            total, places = read + refused + len(own), len({(f.reader, f.place) for f in own})
            if total:
                slowest = max(s for name, s in self.seconds.items() if reader in (name, "all"))
                counts = " ".join(f"{n:8}" for n in (total, read, refused, len(own), places))
                yield f"{reader:12} {counts} {slowest:6.1f} s"


@cache
def seeds_of(reader):
    return corpus.seeds(reader)


def case(reader, seed, index):
    """The input of this number: a sound file for the first ones, then damaged ones."""
    seeds = seeds_of(reader)
    if index < len(seeds):
        return seeds[index], seeds[index].data
    rng = random.Random(f"{seed} {reader} {index}")
    chosen = rng.choice(seeds)
    others = [other.data for other in seeds if other.kind == chosen.kind]
    return chosen, damage.damaged(rng, chosen.kind, chosen.data, others)


def write(folder, chosen, data):
    """Put the input and what belongs to it into an empty folder; the path of the input."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in {**chosen.beside, chosen.name: data}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / chosen.name


def outcome(target, reader, index, path):
    """Whether the input was "read", "refused" with a documented line, or is a `Finding`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", UserWarning)  # as the documentation says, and Pillow's
            warnings.simplefilter("ignore", ResourceWarning)
            target(path)
    except targets.DOCUMENTED as exc:
        message = str(exc)
        if "\n" in message or "\r" in message or not message or len(message) > 1500:
            return _finding(reader, index, exc, "a message of more than one line")
        return "refused"
    except Exception as exc:
        return _finding(reader, index, exc, type(exc).__name__)
    return "read"


def _finding(reader, index, exc, what):
    root = str(Path(__file__).parents[2])
    frames = traceback.extract_tb(exc.__traceback__)
    own = [f for f in frames if f.filename.startswith(root) and "/tests/" not in f.filename]
    own = [f for f in own if "/.venv/" not in f.filename] or frames[-1:]
    place = f"{Path(own[-1].filename).relative_to(root) if own else '?'}:{own[-1].lineno} {what}"
    return Finding(reader, index, place, "".join(traceback.format_exception(exc))[-6000:])


def sound(reader, folder):
    """Read every sound file; what is refused is a fault of the corpus."""
    for index, chosen in enumerate(seeds_of(reader)):
        path = write(folder, chosen, chosen.data)
        got = outcome(targets.TARGETS[reader], reader, index, path)
        if isinstance(got, Finding):
            raise AssertionError(f"{reader}: the sound file {chosen.name}: {got.text}")


def fuzz(reader, count, seed, folder):
    """Tally of the first ``count`` damaged inputs of a reader, in this process."""
    tally = Tally()
    first = len(seeds_of(reader))
    for index in range(first, first + count):
        path = write(folder, *case(reader, seed, index))
        tally.add(reader, outcome(targets.TARGETS[reader], reader, index, path))
    return tally
