"""Gather further training sets: ``python -m nets.detectors.gather CLONES -o FOLDER``.

CLONES holds clones of the repositories in `nets.detectors.gather.sets`, bare or not, named
owner/name, owner+name or name. Of each set that is wanted a folder is written, unless it is there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nets.detectors.gather.clones import Clone
from nets.detectors.gather.hashes import Known, hashes_of
from nets.detectors.gather.sets import SETS
from nets.detectors.gather.unlabelled import Teacher
from nets.detectors.gather.write import write_set
from nets.detectors.training.wild import wild_names
from vj.errors import VJError
from vj.io.files import data_folder

PRESENT = 0.4  # score of faces that nobody labelled
POSSIBLE = 0.3  # score of faces in pictures that should have none


def main(argv: Sequence[str] | None = None) -> int:
    """Gather the sets, and say what became of their pictures."""
    parser = argparse.ArgumentParser(
        prog="python -m nets.detectors.gather", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument("clones", type=Path, help="folder of the clones")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS), metavar="SET",
                        help=", ".join(SETS))  # fmt: skip
    parser.add_argument("--data", type=Path, help="folder of the data (default: VJ_DATA)")
    args = parser.parse_args(argv)
    data = args.data or data_folder()
    try:
        reserved = Known([
            *hashes_of(data / "boxes_dev"), *hashes_of(data / "boxes_train"),
            *hashes_of(data / "boxes_wider", wild_names(data)),
        ])  # fmt: skip
        for name in args.only:
            if (args.output / name).is_dir():
                sys.stdout.write(f"{name}: is there already\n")
                continue
            one = SETS[name]
            clones = [Clone.find(args.clones, *pair) for pair in one.repositories.items()]
            teacher = Teacher(data, PRESENT if one.faces else POSSIBLE)
            counts = write_set(args.output / name, one, one.items(clones, data), reserved, teacher)
            told = ", ".join(f"{count} {what}" for what, count in counts.items())
            sys.stdout.write(f"{name}: {told}\n")
            sys.stdout.flush()
    except VJError as exc:
        sys.stderr.write(f"{parser.prog}: {exc}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
