"""The objective of our face detectors in PyTorch, given what each cell is to learn."""

import numpy as np
import torch
from torch.nn import functional as fn


def objective(raw, want, cells, plain):
    """Loss of raw answers (N, P, 16) for the targets ``want`` of `assign.targets`."""
    own, at = raw[want.image, want.cell], torch.tensor(cells[want.cell])
    face = torch.zeros(raw.shape[:2])
    face[want.image, want.cell] = 1
    counted = torch.tensor(want.counted, dtype=torch.float32)
    total = fn.binary_cross_entropy_with_logits(raw[..., 1], face, counted, reduction="sum")
    goal = torch.ones(len(own)) if plain else torch.tensor(want.overlap)
    total = total + fn.binary_cross_entropy_with_logits(own[:, 0], goal, reduction="sum")
    centre, half = own[:, 2:4] + at[:, :2], own[:, 4:6].clamp(-5, 5).exp() / 2
    a, b = torch.cat([centre - half, centre + half], 1), torch.tensor(want.boxes) / at[:, 2:]
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    inter = (high - low).clamp(min=0).prod(1)
    sides, true = a[:, 2:] - a[:, :2], b[:, 2:] - b[:, :2]
    union = sides.prod(1) + true.prod(1) - inter
    outer = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    apart = ((a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) ** 2).sum(1) / 4
    eiou = 1 - inter / union + apart / (outer**2).sum(1) + ((sides - true) ** 2 / outer**2).sum(1)
    known = torch.tensor(np.isfinite(want.raw_points))
    goal = torch.tensor(np.nan_to_num(want.raw_points))
    marks = fn.smooth_l1_loss(own[:, 6:] * known, goal, beta=1 / 9, reduction="sum")
    return (total + 5 * eiou.sum() + 0.01 * marks) / max(len(own), 1)
