"""Layers, their arguments and the shape of what goes in."""

MAPS, VECTORS, ROWS = (2, 6, 9, 8), (4, 6), (5, 2, 6)  # images, vectors, sequences (T, N, I)
BOTH = {"num_layers": 2, "bidirectional": True}
CASES = [
    ("Conv2d", (6, 4, 3), {"stride": 2, "padding": (1, 2), "groups": 2}, MAPS),
    ("Conv2d", (6, 4, (3, 5)), {"padding": "same", "dilation": 2, "bias": False}, MAPS),
    ("Conv2d", (6, 6, 3), {"padding": "valid", "groups": 6}, MAPS),
    ("ConvTranspose2d", (6, 4, 4), {"stride": 2, "padding": 1, "output_padding": 1}, MAPS),
    ("ConvTranspose2d", (6, 4, 3), {"groups": 2, "dilation": 2, "bias": False}, MAPS),
    ("Linear", (6, 3), {}, ROWS),
    ("Linear", (6, 3), {"bias": False}, VECTORS),
    ("BatchNorm2d", (6,), {}, MAPS),
    ("BatchNorm2d", (6,), {"momentum": None}, MAPS),
    ("BatchNorm2d", (6,), {"affine": False, "track_running_stats": False}, MAPS),
    ("BatchNorm1d", (6,), {"eps": 0.1}, VECTORS),
    ("BatchNorm1d", (2,), {}, ROWS),
    ("GroupNorm", (3, 6), {}, MAPS),
    ("GroupNorm", (2, 6), {"affine": False}, VECTORS),
    ("LayerNorm", ((9, 8),), {}, MAPS),
    ("LayerNorm", (8,), {"elementwise_affine": False}, MAPS),
    ("LocalResponseNorm", (5,), {"alpha": 0.1, "k": 2.0}, MAPS),
    ("LocalResponseNorm", (4,), {"alpha": 0.1}, MAPS),
    ("ReLU", (), {}, MAPS),
    ("ReLU6", (), {}, MAPS),
    ("LeakyReLU", (0.2,), {}, MAPS),
    ("PReLU", (6,), {}, MAPS),
    ("PReLU", (), {"init": 0.1}, VECTORS),
    ("Hardswish", (), {}, MAPS),
    ("Sigmoid", (), {}, MAPS),
    ("Tanh", (), {}, MAPS),
    ("Softplus", (), {}, MAPS),
    ("Softmax", (1,), {}, MAPS),
    ("LogSoftmax", (-1,), {}, MAPS),
    ("MaxPool2d", (3, 2, 1), {"return_indices": True}, MAPS),
    ("MaxPool2d", (2,), {"ceil_mode": True}, MAPS),
    ("MaxPool2d", ((2, 3),), {"stride": 1, "dilation": 2}, MAPS),
    ("AvgPool2d", (3, 2, 1), {}, MAPS),
    ("AvgPool2d", (3,), {"ceil_mode": True, "padding": 1, "count_include_pad": False}, MAPS),
    ("AdaptiveAvgPool2d", ((4, None),), {}, MAPS),
    ("AdaptiveAvgPool2d", (1,), {}, MAPS),
    ("Upsample", (), {"scale_factor": 2}, MAPS),
    ("Upsample", (), {"scale_factor": (2.0, 1.5), "mode": "bilinear"}, MAPS),
    ("Upsample", ((20, 11),), {"mode": "bilinear", "align_corners": True}, MAPS),
    ("Flatten", (), {}, MAPS),
    ("Identity", (), {}, MAPS),
    ("RNN", (6, 4), {}, ROWS),
    ("RNN", (6, 4), {"nonlinearity": "relu", **BOTH}, ROWS),
    ("LSTM", (6, 4), {"batch_first": True}, ROWS),
    ("LSTM", (6, 4), BOTH, ROWS),
    ("GRU", (6, 4), {"bias": False}, (5, 6)),
    ("GRU", (6, 4), {**BOTH, "batch_first": True}, ROWS),
]


def name_of(case):
    options = ",".join(f"{k}={v}" for k, v in case[2].items())
    return f"{case[0]}{case[1]}{options}".replace(" ", "")
