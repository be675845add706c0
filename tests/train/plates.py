"""Licence plates of a made-up country, three times as wide as high, and streets to lose them in."""

import json

import numpy as np

from vj.io.images import write_image

SHAPE = (240, 320)


def plate(rng, width):
    """A bright plate with a dark rim and seven dark signs, lit from one side; (H, W) float."""
    rows, cols = round(width / 3), width
    y, x = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : cols * 1j]
    paper, ink = rng.uniform(150, 230), rng.uniform(20, 80)
    out = np.full((rows, cols), paper)
    rim = 0.05
    out[(y < 2 * rim) | (y > 1 - 2 * rim) | (x < rim) | (x > 1 - rim)] = ink
    for k in range(7):
        left = 0.09 + k * 0.12
        here = (x > left) & (x < left + 0.08) & (y > 0.24) & (y < 0.76)
        across, down = np.clip(((x - left) / 0.08, (y - 0.24) / 0.52), 0, 0.999)
        sign = rng.random((4, 2)) < 0.65
        out[here & sign[(down * 4).astype(int), (across * 2).astype(int)]] = ink
    light = 1 + rng.normal(0, 0.15) * (x - 0.5) + rng.normal(0, 0.1) * (y - 0.5)
    return out * light + rng.normal(0, 5, out.shape)


def street(rng):
    """Houses, fences, shadows and noise."""
    rows, cols = SHAPE
    out = np.full(SHAPE, rng.uniform(60, 180))
    out += np.linspace(-30, 30, rows)[:, None] * rng.choice([-1, 1])
    for _ in range(70):
        high, wide = (int(n) for n in rng.integers(6, 70, 2))
        y, x = int(rng.integers(-10, rows)), int(rng.integers(-10, cols))
        part = out[max(y, 0) : y + high, max(x, 0) : x + wide]
        kind = rng.integers(4)
        if kind == 0:
            part[:] = rng.uniform(20, 230)
        elif kind == 1:
            part[:, :: max(wide // 5, 2)] = rng.uniform(20, 230)
        elif kind == 2:
            part[:: max(high // 4, 2)] = rng.uniform(20, 230)
        else:
            part += rng.normal(0, 40)
    return out + rng.normal(0, 6, SHAPE)


def place(rng, scene, count):
    """Lay plates over a street; their boxes as x, y, w, h."""
    boxes = []
    for _ in range(count):
        one = plate(rng, int(rng.integers(60, 130)))
        rows, cols = one.shape
        for _ in range(50):
            x, y = int(rng.integers(0, SHAPE[1] - cols)), int(rng.integers(0, SHAPE[0] - rows))
            if all(abs(y - b[1]) > 60 or abs(x - b[0]) > 140 for b in boxes):
                scene[y : y + rows, x : x + cols] = one
                boxes.append([x, y, cols, rows])
                break
    return boxes


def pixels(scene):
    return np.clip(np.rint(scene), 0, 255).astype(np.uint8)


def write_set(folder, rng, pictures, plates=1, misplaced=()):
    """Annotated streets; the boxes of pictures numbered in ``misplaced`` show something else."""
    folder.mkdir(parents=True)
    entries = []
    for k in range(pictures):
        scene = street(rng)
        boxes = place(rng, scene, plates)
        if k in misplaced:
            boxes = [[(x + 150) % (SHAPE[1] - w), (y + 120) % (SHAPE[0] - h), w, h]
                     for x, y, w, h in boxes]  # fmt: skip
        write_image(folder / f"street {k:03d}.png", pixels(scene))
        entries.append({"file": f"street {k:03d}.png", "boxes": boxes})
    (folder / "annotations.json").write_text(json.dumps(entries))
    return folder


def write_backgrounds(folder, rng, pictures, spoilt=()):
    """Streets without plates, but for those numbered in ``spoilt``."""
    folder.mkdir(parents=True)
    for k in range(pictures):
        scene = street(rng)
        if k in spoilt:
            place(rng, scene, 2)
        write_image(folder / f"bg {k:03d}.png", pixels(scene))
    return folder
