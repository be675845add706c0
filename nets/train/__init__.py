"""Training: data, batches, the loop, checkpoints, fine-tuning, the card of the result."""

from nets.train.augment import Chain, Crop, Erase, Flip, Light
from nets.train.callbacks import Averaging, Bar, Callback, EarlyStop, JsonLog
from nets.train.card import Card, read_card, save_weights
from nets.train.datasets import Arrays, Dataset, Pictures, from_folder, from_zip
from nets.train.evaluation import accuracy, evaluate, predict
from nets.train.finetune import Adapted, Advice, adapt, advise, probe
from nets.train.loader import Batches, Loader
from nets.train.loop import Run, fit

__all__ = [
    "Adapted", "Advice", "Arrays", "Averaging", "Bar", "Batches", "Callback", "Card", "Chain",
    "Crop", "Dataset", "EarlyStop", "Erase", "Flip", "JsonLog", "Light", "Loader", "Pictures",
    "Run", "accuracy", "adapt", "advise", "evaluate", "fit", "from_folder", "from_zip",
    "predict", "probe", "read_card", "save_weights",
]  # fmt: skip
