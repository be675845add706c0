"""Claims of the lecture notes, run."""

# The experiments in the order of the page, and about how many minutes each takes.
MINUTES = {
    "correlation": 0.1, "vanishing": 0.5, "degradation": 3, "lag": 1.5, "optimisers": 1, "norms": 1,
    "outliers": 1, "small_objects": 1, "gridding": 1, "fcn": 3, "autoencoder": 3, "vae": 4,
    "gan": 13, "finetune": 2, "face_or_not": 5,
}  # fmt: skip
