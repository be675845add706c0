"""Max pooling loses small objects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.lecture import data
from bench.lecture.figures import hidden, panels, sheet, show
from bench.lecture.findings import Finding
from nets.autograd.ops.pooling import upsample_bilinear
from nets.autograd.tensor import Tensor
from nets.nn import init
from nets.nn.layers import BatchNorm2d, Conv2d, MaxPool2d, Module, ReLU, Sequential
from nets.nn.losses import binary_cross_entropy_with_logits
from nets.nn.optim import Adam, Cosine
from nets.training import Arrays, Loader, fit, predict

CLAIM = (
    "Every max pooling halves the map and keeps only the largest value: after four of them an "
    "object of less than 16 pixels cannot be recovered. Dilated convolutions have the same "
    "receptive field without losing pixels."
)
SIDE, FACES = 48, (4, 6, 8, 12, 16, 24, 30)  # heights of a face
COUNT, EPOCHS, STAGES, WIDTH = 1200, 5, 4, 16
METHOD = (
    f"A face of {FACES[0]} to {FACES[-1]} pixels, an ellipse with a soft edge, composed into a "
    f"gray background of {SIDE}x{SIDE} beside such an ellipse from another background; which "
    f"pixels are face? Three networks of {STAGES + 1} 3x3 convolutions of {WIDTH} channels, "
    f"{COUNT} pictures, {EPOCHS} epochs: one with max pooling after each of the first {STAGES}, "
    "upsampled 16 times at the end; one with the same receptive field by dilation rates 1, 2, 4, "
    "8, 16 at full resolution; one with the poolings and twice the channels in each stage, up to "
    "256. Measured: intersection over union of the pixels classified as face, by size, on people "
    "and backgrounds that were not seen in training."
)


class Segmenter(Module):
    """Pictures (N, 1, H, W) to logits of each pixel being face."""

    def __init__(self, pooling: bool, growing: bool) -> None:
        layers: list[Module] = []
        before = 1
        for stage in range(STAGES + 1):
            rate = 1 if pooling else 2**stage
            width = WIDTH * 2**stage if growing else WIDTH
            layers += [Conv2d(before, width, 3, 1, rate, rate, bias=False)]
            layers += [BatchNorm2d(width), ReLU()]
            if pooling and stage < STAGES:
                layers.append(MaxPool2d(2))
            before = width
        self.body, self.score = Sequential(*layers), Conv2d(before, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return upsample_bilinear(self.score(self.body(x)), size=(x.shape[2], x.shape[3]))


NETS = {
    "4 poolings": (True, False),
    "dilated": (False, False),
    "4 poolings, 256 channels": (True, True),
}


def compose(side: str, count: int, quick: bool) -> tuple[Arrays, NDArray[np.int64]]:
    """Pictures with their masks, and the size of the face in each."""
    rng = np.random.default_rng([1, data.SIDES.index(side)])
    if quick:
        faces, grounds = data.invented(20, 48), data.invented(20, 96, seed=1)
    else:
        people = [r for r in data.face_rows(sets=["aaf"]) if r["side"] == side][:1500]
        faces = data.face_crops(people, 32, margin=16)
        places = [r for r in data.background_rows() if r["side"] == side]
        each = max(1, -(-count // len(places)))
        grounds = data.background_windows(places, each)
    sizes = rng.choice(FACES, count)
    pictures, masks = [], []
    for size in sizes:
        ground, other = (Image.fromarray(grounds[i]) for i in rng.integers(len(grounds), size=2))
        face = Image.fromarray(faces[rng.integers(len(faces))])
        picture = np.asarray(ground.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
        mask = np.zeros((SIDE, SIDE), np.float32)
        for piece, label in ((other, 0), (face, 1)):
            k = round(1.5 * size)  # the crop has a margin of a quarter around the face
            y, x = rng.integers(0, SIDE - k + 1, 2)
            at = np.s_[y : y + k, x : x + k]
            alpha = _ellipse(k)
            pixels = np.asarray(piece.resize((k, k), Image.Resampling.BOX), np.float32)
            picture = picture.copy()
            picture[at] += alpha * (pixels - picture[at])
            mask[at] = np.where(alpha > 0.5, label, mask[at])
        pictures.append(np.round(picture).astype(np.uint8))
        masks.append(mask)
    return Arrays(np.stack(pictures), np.stack(masks)[:, None]), sizes


def _ellipse(k: int) -> NDArray[np.float32]:
    """1 within the face of a crop of k pixels, soft at its edge."""
    y, x = (np.mgrid[:k, :k] + 0.5) * (96 / k)
    away = np.hypot((x - 48) / 26, (y - 51) / 33)
    return np.clip((1 - away) / 0.15 + 0.5, 0, 1).astype(np.float32)


def segmented(model: Module, learn: Arrays, test: Arrays, epochs: int) -> NDArray[np.bool_]:
    """The pixels of the test pictures that a trained model classifies as face."""
    loader = Loader(learn, 20, shuffle=True, mean=0.5, std=0.25)
    optimiser = Adam(model.named_parameters(), 3e-3)
    schedule = Cosine(optimiser, epochs * len(loader))
    fit(model, binary_cross_entropy_with_logits, loader, optimiser, epochs, schedule=schedule)
    return predict(model, Loader(test.parts[0], 50, mean=0.5, std=0.25)) > 0


def experiment(quick: bool = False) -> Finding:
    (learn, _), (test, sizes) = (
        compose(side, 40 if quick else n, quick) for side, n in (("train", COUNT), ("test", 600))
    )
    overlap, shown = {}, {}
    for name, (pooling, growing) in NETS.items():
        init.seed(0)
        model = Segmenter(pooling, growing)
        found = segmented(model, learn, test, 1 if quick else EPOCHS)
        truth = test.parts[1] > 0.5
        both = (found & truth).sum((1, 2, 3)), (found | truth).sum((1, 2, 3))
        overlap[name] = [
            float(both[0][sizes == s].sum() / max(1, both[1][sizes == s].sum())) for s in FACES
        ]
        shown[name] = found
    pooled, dilated, wide = (np.array(values) for values in overlap.values())
    small = np.array(FACES) < 16
    loses = pooled[small].mean() < 0.6 * dilated[small].mean()
    gap = (pooled[small].mean() / max(1e-9, dilated[small].mean()),
           pooled[~small].mean() / max(1e-9, dilated[~small].mean()))  # fmt: skip
    impossible = max(pooled[small].max(), wide[small].max()) < 0.1
    holds = "yes" if loses and impossible else "in part" if loses and gap[0] < gap[1] else "no"
    rows = [
        f"{size} pixels: {a:.2f} / {b:.2f} / {c:.2f}"
        for size, a, b, c in zip(FACES, pooled, dilated, wide, strict=True)
    ]
    measured = (
        f"IoU by size of the face ({' / '.join(NETS)}): {'; '.join(rows)}. The network with "
        f"poolings reaches {gap[0]:.0%} of the dilated one's IoU below 16 pixels, and "
        f"{gap[1]:.0%} from 16 on."
    )
    if not impossible:
        measured += (
            " They are not lost for good: the channels of a cell can encode where in it an object "
            f"lies, and with more of them the IoU below 16 pixels is {wide[small].mean():.2f} "
            f"instead of {pooled[small].mean():.2f}."
        )
    figure, ((left, right),) = panels(1, 2, 4, 3)
    for name, values in overlap.items():
        left.plot(FACES, values, "o-", label=name)
    left.axvline(16, color="gray", linestyle=":")
    left.set(xlabel="size of the face, pixels", ylabel="intersection over union", ylim=(0, 1))
    left.legend(fontsize=7)
    chosen = [int(np.argmax(sizes == s)) for s in FACES[1:6]]
    tiles = [hidden(test.parts[0][chosen]), *(255 * a[chosen, 0].astype(np.uint8) for a in
             (test.parts[1] > 0.5, *shown.values()))]  # fmt: skip
    show(right, sheet(np.concatenate(tiles), 5), "picture, truth, " + ", ".join(NETS))
    right.title.set_fontsize(7)
    return Finding(CLAIM, METHOD, measured, holds, {"size": FACES, "overlap": overlap}, figure)
