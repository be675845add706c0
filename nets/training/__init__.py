"""Training: datasets, loaders, the training loop, checkpoints, fine-tuning, weight cards."""

from nets.training.augment import Chain, Crop, Erase, Flip, Light
from nets.training.callbacks import Averaging, Bar, Callback, EarlyStop, JsonLog
from nets.training.card import Card, read_card, save_weights
from nets.training.datasets import Arrays, Dataset, Pictures, from_folder, from_zip
from nets.training.evaluation import accuracy, evaluate, predict
from nets.training.finetune import Adapted, Advice, adapt, advise, probe
from nets.training.loader import Batches, Loader
from nets.training.loop import fit
from nets.training.run import Run

__all__ = [
    "Adapted", "Advice", "Arrays", "Averaging", "Bar", "Batches", "Callback", "Card", "Chain",
    "Crop", "Dataset", "EarlyStop", "Erase", "Flip", "JsonLog", "Light", "Loader", "Pictures",
    "Run", "accuracy", "adapt", "advise", "evaluate", "fit", "from_folder", "from_zip",
    "predict", "probe", "read_card", "save_weights",
]  # fmt: skip
