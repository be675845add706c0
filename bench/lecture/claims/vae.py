"""A variational autoencoder can be sampled from, an autoencoder cannot.

python -m bench lecture.vae --folder runs/vae
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bench.lecture import data
from bench.lecture.figures import hidden, panels, sheet, show
from bench.lecture.findings import Finding
from bench.lecture.generated_faces import detail_of, share_of_faces
from nets.arrays import Array
from nets.autograd.ops.activation import sigmoid
from nets.autograd.tensor import Tensor, no_grad
from nets.models.vae import VAE
from nets.nn import init
from nets.nn.losses import binary_cross_entropy_with_logits, gaussian_kl
from nets.nn.optim import Adam, Cosine
from nets.training import Arrays, Callback, Flip, Loader, fit
from nets.training.callbacks import Row
from nets.training.run import Run

LATENT, WIDTH, EPOCHS, DRAWN = 32, 32, 6, 256
CLAIM = (
    "An autoencoder learns codes for the pictures it has seen and nothing about what lies between "
    "them: a random code does not decode to a face. A variational autoencoder is trained to spread "
    "its codes like a normal distribution without gaps, so that a code drawn from it decodes to a "
    "face; its pictures are blurrier."
)
METHOD = (
    f"The same layers twice ({LATENT} latent dimensions, 32x32 gray), {EPOCHS} epochs each: as a "
    "VAE (binary cross-entropy summed over the pixels, plus the KL divergence), and as an "
    f"autoencoder (no noise, no divergence). Both decode {DRAWN} codes from N(0, 1), and the "
    "autoencoder also codes from the normal distribution (with covariance) of its own codes. Our "
    "small Viola-Jones cascade decides whether there is a face (light and dark in the right places "
    "are enough for it). Error: root mean square over test faces of people that were not seen in "
    "training."
)


class Plain(VAE):
    """The same layers as an autoencoder: its code is the mean itself."""

    def draw(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        return mean


def variational(output: tuple[Tensor, Tensor, Tensor], faces: Array) -> Tensor:
    """Bound of the likelihood, the sign turned, per picture."""
    _, mean, log_variance = output
    return rebuilt(output, faces) + gaussian_kl(mean, log_variance)


def rebuilt(output: tuple[Tensor, Tensor, Tensor], faces: Array) -> Tensor:
    """Cross-entropy of the pixels alone, per picture."""
    total = binary_cross_entropy_with_logits(output[0], faces, reduction="sum")
    return total / len(faces)


class Clock(Callback):
    """Minutes of CPU time of each epoch."""

    began = 0.0

    def start(self, run: Run) -> None:
        self.began = time.process_time()

    def epoch(self, run: Run, row: Row) -> None:
        row["minutes"] = (time.process_time() - self.began) / 60
        self.began = time.process_time()


def train(kind: type[VAE], faces: Arrays, epochs: int, folder: Path | None) -> tuple[VAE, Run]:
    """Train one of the two."""
    init.seed(0)
    model = kind(1, 32, latent=LATENT, width=WIDTH)
    loader = Loader(faces, 64, shuffle=True, augment=Flip())
    named = model.named_parameters()
    if kind is Plain:  # has no use for a variance
        named = ((n, p) for n, p in named if not n.startswith("log_variance"))
    optimiser = Adam(named, 1e-3)
    record = fit(
        model, variational if kind is VAE else rebuilt, loader, optimiser, epochs,
        schedule=Cosine(optimiser, epochs * len(loader), floor=0.05), callbacks=[Clock()],
        folder=None if folder is None else folder / kind.__name__, resume=folder is not None,
    )  # fmt: skip
    return model.eval(), record


def decoded(model: VAE, codes: Array) -> Array:
    """Pictures (n, 32, 32) of codes."""
    with no_grad():
        return sigmoid(model.decode(Tensor(codes))).data[:, 0]


def encoded(model: VAE, faces: Array) -> Array:
    """Codes of pictures (n, 32, 32) from 0 to 1."""
    parts = np.split(faces[:, None], range(256, len(faces), 256))
    with no_grad():
        return np.concatenate([model.encode(Tensor(part))[0].data for part in parts])


def experiment(quick: bool = False, folder: Path | None = None) -> Finding:
    faces, test = load(quick)
    epochs, drawn = (1, 48) if quick else (EPOCHS, DRAWN)
    known, unseen = (part / np.float32(255) for part in (faces.parts[0][:4000], test.parts[0]))
    models, minutes, error = {}, {}, {}
    for name, kind in (("VAE", VAE), ("autoencoder", Plain)):
        models[name], record = train(kind, faces, epochs, folder)
        minutes[name] = sum(row["minutes"] for row in record.rows)
        again = decoded(models[name], encoded(models[name], unseen))
        error[name] = float(np.sqrt(np.mean((again - unseen) ** 2)))
    noise = np.random.default_rng(2).standard_normal((drawn, LATENT)).astype(np.float32)
    codes = encoded(models["autoencoder"], known)
    own = noise @ np.linalg.cholesky(np.cov(codes.T) + 1e-6 * np.eye(LATENT)).T + codes.mean(0)
    pictures = {
        "VAE, N(0, 1)": decoded(models["VAE"], noise),
        "autoencoder, N(0, 1)": decoded(models["autoencoder"], noise),
        "autoencoder, normal like its codes": decoded(models["autoencoder"], own),
    }
    share = {name: share_of_faces(p) for name, p in pictures.items()}
    share["VAE, rebuilt"] = share_of_faces(
        decoded(models["VAE"], encoded(models["VAE"], unseen[:drawn]))
    )
    vae, ae, fitted, _ = share.values()
    detail = detail_of(pictures["VAE, N(0, 1)"]) / detail_of(unseen)
    holds = "yes" if ae < 0.5 < vae and fitted < vae - 0.1 else "in part" if ae < vae else "no"
    spread = codes.std(0)
    measured = (
        f"The cascade finds a face in {vae:.0%} of the VAE's samples, in {ae:.0%} of what the "
        "autoencoder decodes from the same codes (its own codes have standard deviations of "
        f"{spread.min():.1f} to {spread.max():.1f}), and in {fitted:.0%} when codes are drawn from "
        f"the distribution of its own. Error on unseen people: VAE {error['VAE']:.4f}, "
        f"autoencoder {error['autoencoder']:.4f}. The samples of the VAE have {detail:.0%} of the "
        "detail (mean change from pixel to pixel) of real faces. Training took "
        f"{minutes['VAE']:.1f} and {minutes['autoencoder']:.1f} minutes of CPU time."
    )
    if fitted >= vae - 0.1:
        measured += (
            " So gaps are not the whole story: knowing the distribution of the codes is enough, "
            "but only the VAE comes with it."
        )
    numbers = {
        "share": share,
        "error": error,
        "detail": detail,
        "minutes": minutes,
        "code_deviation": spread,
    }
    figure = draw(models, unseen[:12], {name: p[:24] for name, p in pictures.items()})
    return Finding(CLAIM, METHOD, measured, holds, numbers, figure, round(sum(minutes.values()), 2))


def load(quick: bool) -> tuple[Arrays, Arrays]:
    """Training and test faces."""
    if quick:
        return Arrays(data.invented(64, 32)), Arrays(data.invented(16, 32, seed=1))
    sides = data.faces(32)
    return sides.train, sides.test


def draw(models: dict[str, VAE], faces: Array, pictures: dict[str, Array]) -> Figure:
    """Reconstructions, on the left; samples, on the right."""
    figure, axes = panels(1, 4, 2.9, 2.0)
    rows = [faces, *(decoded(model, encoded(model, faces)) for model in models.values())]
    shown: list[NDArray[np.float32]] = [a[:12].reshape(2, -1, 32, 32) for a in rows]
    table = np.stack([half for i in (0, 1) for half in (r[i] for r in shown)])
    show(
        axes[0, 0],
        sheet(hidden(table.reshape(-1, 32, 32)), table.shape[1]),
        "unseen, VAE, autoencoder",
    )
    for place, (name, tiles) in zip(axes[0, 1:], pictures.items(), strict=True):
        show(place, sheet(tiles[: len(tiles) // 6 * 6], 6), name)
    return figure
