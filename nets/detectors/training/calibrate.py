"""How sure the scores of a detector are: P(face | score), for the card of its weights.

References: Platt, Probabilistic outputs for support vector machines, 1999; Lin, Lin & Weng, A note
on Platt's probabilistic outputs for support vector machines, Machine Learning 68, 2007.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nets.cards import logit
from nets.detectors.training.judge import Judged
from vj.errors import TrainingError

ENOUGH = 20  # hits, and false alarms, that a fit needs


def calibrate(judged: Judged) -> tuple[float, float]:
    """Slope and intercept that turn the logit of a score into that of the probability of a face.

    Platt's logistic regression, whose targets are drawn in a little as if there were one face and
    one false alarm more; the share of faces is that of the pictures.

    Raises
    ------
    TrainingError
        There are fewer than 20 hits or false alarms, or the latter have the higher scores.
    """
    hits = int(judged.hit.sum())
    alarms = len(judged.hit) - hits
    if min(hits, alarms) < ENOUGH:
        raise TrainingError(
            f"{hits} faces and {alarms} false alarms are too few to calibrate scores: {ENOUGH} of "
            "each are needed"
        )
    x = np.stack([logit(judged.score), np.ones(len(judged.hit))], 1)
    goal = np.where(judged.hit, (hits + 1) / (hits + 2), 1 / (alarms + 2))
    at = np.array([0.0, np.log((hits + 1) / (alarms + 1))])
    for _ in range(100):  # Newton's method, halving steps that go too far
        chance = 1 / (1 + np.exp(-(x @ at)))
        slope = x.T @ (chance - goal)
        curvature = (x * (chance * (1 - chance))[:, None]).T @ x + 1e-9 * np.eye(2)
        step, before = np.linalg.solve(curvature, slope), _surprise(x @ at, goal)
        while _surprise(x @ (at - step), goal) > before and np.abs(step).max() > 1e-9:
            step /= 2
        at = at - step
        if np.abs(step).max() < 1e-8:
            break
    if not at[0] > 0:
        raise TrainingError("false alarms score as high as faces: scores cannot be calibrated")
    return float(at[0]), float(at[1])


PRECISION, PER_PICTURE = 0.97, 0.05


def default_threshold(
    judged: Judged, elsewhere: NDArray[np.floating], pictures: int
) -> float | None:
    """The least score at which what is reported can be trusted, in thousandths.

    Parameters
    ----------
    judged : Judged
        Of pictures with faces: 97 percent of what is reported there are to be faces.
    elsewhere : (n,)
        Scores of detections in pictures without faces, of which a twentieth as many as there are
        ``pictures`` may be reported.

    Returns
    -------
    float or None
        None where no score below 1 will do.
    """
    precision = judged.hit.cumsum() / np.arange(1, len(judged.hit) + 1)
    good = np.flatnonzero(precision >= PRECISION)
    wrong = np.sort(elsewhere)[::-1][int(PER_PICTURE * pictures) :]
    least = judged.score[good[-1]] if len(good) else 1.0
    above = wrong[0] + 1e-6 if len(wrong) else 0.0
    threshold = float(np.ceil(max(least, above) * 1000) / 1000)
    return threshold if threshold < 1 else None


def _surprise(odds: NDArray[np.float64], goal: NDArray[np.float64]) -> float:
    """Cross-entropy, in nats."""
    return float(np.sum(np.logaddexp(0, odds) - goal * odds))
