"""Two networks trained against each other learn to generate faces.

The generator turns noise into pictures, the discriminator tells them from real ones (DCGAN). One
backward pass serves both: generated pictures reach the discriminator twice, once detached from the
generator, and once while its own weights are frozen.

python -m bench lecture.gan --folder runs/gan
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.lecture import data
from bench.lecture.figures import hidden, panels, sheet, show
from bench.lecture.findings import Finding
from bench.lecture.generated_faces import detail_of, share_of_faces
from nets.arrays import Array
from nets.autograd.tensor import Tensor, no_grad
from nets.models.dcgan import Discriminator, Generator
from nets.nn import init
from nets.nn.layers import Module
from nets.nn.losses import binary_cross_entropy_with_logits
from nets.nn.optim import Adam, Average, reestimate_batch_norm
from nets.training import Arrays, Averaging, Callback, Flip, Loader, fit
from nets.training.callbacks import Row
from nets.training.run import Run

NOISE, WIDTH, EPOCHS, SHOWN = 64, 32, 22, (1, 4, 12)
CLAIM = (
    "A generator that never compares its output to real pictures learns to generate new faces from "
    "noise, because a discriminator that is trained at the same time tells it what is still wrong. "
    "They are sharper than those of a VAE. The two must be kept in balance."
)
METHOD = (
    f"DCGAN at 32x32 ({WIDTH} channels in its widest maps, {NOISE} noise inputs), Adam with the "
    "paper's learning rate and beta 0.5, real pictures labelled 0.9; evaluated with the average of "
    "the generator's weights over the last thousand steps. Our small Viola-Jones cascade decides "
    "whether there is a face; light and dark in the right places are enough for it, so look for "
    "yourself."
)


class Game(Module):
    """Generator and discriminator."""

    def __init__(self, width: int) -> None:
        self.chance = init.child()
        self.generator = Generator(NOISE, 1, size=32, width=width)
        self.discriminator = Discriminator(1, size=32, width=width)

    def forward(self, real: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of real pictures, and of generated ones for each of the two losses."""
        noise = self.chance.standard_normal((len(real), NOISE), np.float32)
        drawn, score = self.generator(Tensor(noise)), self.discriminator
        of_real, of_drawn = score(real), score(drawn.detach())
        score.requires_grad_(False)
        fooled = score(drawn)
        score.requires_grad_(True)
        return of_real, of_drawn, fooled


def losses(logits: tuple[Tensor, Tensor, Tensor], _: Array) -> Tensor:
    """Sum of both losses; real pictures are labelled 0.9 (Salimans et al., 2016)."""
    wanted = zip(logits, (0.9, 0.0, 1.0), strict=True)
    first, second, third = (
        binary_cross_entropy_with_logits(x, np.full(x.shape, y, np.float32)) for x, y in wanted
    )
    return first + second + third


class Sketches(Callback):
    """Output of the generator for the same noise after some epochs, and the time they took."""

    def __init__(self, game: Game, noise: Tensor) -> None:
        self.game, self.noise, self.began = game, noise, time.process_time()
        self.pictures: dict[str, Array] = {}

    def epoch(self, run: Run, row: Row) -> None:
        row["minutes"] = (time.process_time() - self.began) / 60
        self.began = time.process_time()
        if row["epoch"] in SHOWN:
            with no_grad():
                self.pictures[str(row["epoch"])] = self.game.generator(self.noise).data[:, 0]

    def state_dict(self) -> dict[str, Any]:
        return dict(self.pictures)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.pictures = dict(state)


def play(faces: Arrays, epochs: int, width: int, folder: Path | None) -> tuple[Game, Run, Sketches]:
    """The trained game; its generator has the average of its weights over the last epochs."""
    init.seed(0)
    game = Game(width)
    loader = Loader(
        faces, 64, shuffle=True, augment=Flip(), mean=0.5, std=0.5, drop_last=len(faces) > 64
    )
    optimiser = Adam(game.named_parameters(), 2e-4, betas=(0.5, 0.999))
    rng = np.random.default_rng(1)
    average = Average(game.generator.named_parameters(), decay=0.999)
    sketches = Sketches(game, Tensor(rng.standard_normal((64, NOISE))))
    record = fit(
        game, losses, loader, optimiser, epochs,
        callbacks=[Averaging(average), sketches], folder=folder, resume=folder is not None,
    )  # fmt: skip
    for name, parameter in game.generator.named_parameters():
        parameter.data = average.values[name]
    batches = (Tensor(rng.standard_normal((256, NOISE))) for _ in range(4))
    reestimate_batch_norm(game.generator, batches)
    game.eval()
    return game, record, sketches


def experiment(quick: bool = False, folder: Path | None = None) -> Finding:
    faces, others = load(quick)
    epochs, width = (1, 4) if quick else (EPOCHS, WIDTH)
    game, record, sketches = play(faces, epochs, width, folder)
    rng = np.random.default_rng(2)
    with no_grad():
        parts = [game.generator(Tensor(rng.standard_normal((64, NOISE)))).data for _ in range(4)]
    drawn = (np.concatenate(parts)[:, 0] + 1) / 2
    real = others.parts[0][: len(drawn)] / np.float32(255)
    share = {"drawn": share_of_faces(drawn), "real": share_of_faces(real)}
    share |= {f"epoch {e}": share_of_faces((p + 1) / 2) for e, p in sketches.pictures.items()}
    known = faces.parts[0] / np.float32(255)
    copies, apart = nearest(drawn, known), nearest(real, known)
    detail = {"drawn": detail_of(drawn), "real": detail_of(real)}
    minutes = sum(row["minutes"] for row in record.rows)
    good = share["drawn"] > 0.8 and copies > 0.7 * apart
    holds = "yes" if good else "in part" if share["drawn"] > 0.4 else "no"
    sketched = ", ".join(f"{share[f'epoch {e}']:.0%} after {e}" for e in sketches.pictures)
    measured = (
        f"After {epochs} epochs ({record.step:,} steps, {minutes:.1f} minutes of CPU time) the "
        f"cascade finds a face in {share['drawn']:.0%} of {len(drawn)} generated pictures "
        f"({share['real']:.0%} of real ones; earlier: {sketched}). They are not copies: the "
        f"nearest training face is at a distance of {copies:.3f} (root mean square, median), that "
        f"of people not seen in training at {apart:.3f}. They have "
        f"{detail['drawn'] / detail['real']:.0%} of the detail (mean change from pixel to pixel) "
        "of real faces."
    )
    figure, axes = panels(1, 3, 2.7, 3.0)
    first = next(iter(sketches.pictures.values()))
    for place, tiles, title in zip(
        axes[0],
        ((first + 1) / 2, drawn, hidden(real)),
        ("first sketches", "drawn", "real"),
        strict=True,
    ):
        show(place, sheet(tiles[:48], 6), title)
    numbers = {
        "share": share,
        "nearest": {"drawn": copies, "unseen people": apart},
        "detail": detail,
        "loss": [row["loss"] for row in record.rows],
    }
    return Finding(CLAIM, METHOD, measured, holds, numbers, figure, round(minutes, 2))


def load(quick: bool) -> tuple[Arrays, Arrays]:
    """Training and test faces."""
    if quick:
        return Arrays(data.invented(64, 32)), Arrays(data.invented(64, 32, seed=1))
    sides = data.faces(32)
    return sides.train, sides.test


def nearest(pictures: Array, others: Array) -> float:
    """Median distance of pictures to the nearest one of others, the root of the mean square."""
    a, b = (p.reshape(len(p), -1) for p in (pictures, others))
    squares = (a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)
    return float(np.median(np.sqrt(np.maximum(squares.min(1), 0) / a.shape[1])))
