"""Train cascades: samples, boosting, hard negatives, the trainer."""
