"""Train cascades: samples, boosting, hard negatives, the trainer."""

from vj.train.augment import Augment
from vj.train.report import TrainingReport
from vj.train.trainer import CascadeTrainer

__all__ = ["Augment", "CascadeTrainer", "TrainingReport"]
