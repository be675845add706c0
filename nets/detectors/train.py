"""Train a face detector: ``python -m nets.detectors.train face-cnn -o runs/face-cnn``.

It ends with weights and their card; under the name of the recipe in ``nets/data`` they are shipped.
The data are those of `nets.detectors.training.data`; interrupted, it goes on with ``--resume``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from nets.detectors.training.card import write_card
from nets.detectors.training.data import read_data
from nets.detectors.training.recipe import RECIPES, train
from nets.runtime.threads import threads
from vj.errors import ParameterError, VJError


def main(argv: Sequence[str] | None = None) -> int:
    """Train, and say where the weights and their card are."""
    parser = argparse.ArgumentParser(
        prog="python -m nets.detectors.train", description=(__doc__ or "").split("\n\n")[1]
    )
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("-o", "--output", required=True, help="folder for checkpoint and weights")
    parser.add_argument("--data", help="folder of the data (default: VJ_DATA)")
    parser.add_argument("--gathered", help="folder of the sets of nets.detectors.gather")
    parser.add_argument("--start", help="weights to begin with, where the recipe wants any")
    parser.add_argument("--finish", help="folder of a training whose rate is to fall in --epochs")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.add_argument("--until", type=int, help="stop after so many epochs of the recipe")
    parser.add_argument("--epochs", type=int, help="a shorter or longer recipe")
    parser.add_argument("--threads", type=int, default=1, help="of the training itself")
    parser.add_argument("--workers", type=int, default=1, help="processes that make frames")
    parser.add_argument("--torch", action="store_true", help="compute by PyTorch, on a GPU")
    parser.add_argument("--device", help="of PyTorch (default: cuda where there is one)")
    args = parser.parse_args(argv)
    recipe = RECIPES[args.name]
    if args.epochs and not args.finish:
        recipe = replace(recipe, epochs=args.epochs)
    try:
        if args.device and not args.torch:
            raise ParameterError("--device needs --torch")
        threads(args.threads)
        parts = read_data(args.data, recipe.sets, args.gathered)
        path = train(
            recipe, args.output, data=parts[0], epochs=args.until,
            resume=args.resume, workers=args.workers, bar=sys.stderr.isatty(),
            torch=(args.device or "auto") if args.torch else None, start=args.start,
            finish=(args.finish, args.epochs or recipe.cooling) if args.finish else None,
        )  # fmt: skip
        card = write_card(path, args.name, parts, args.data)
    except VJError as exc:
        sys.stderr.write(f"{parser.prog}: {exc}\n")
        return 2
    sys.stdout.write(f"{path}\n{card}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
