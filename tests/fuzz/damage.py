"""Which changes suit which kind of file."""

from tests.fuzz.containers import chunk, header, message
from tests.fuzz.mutate import BYTES, JSON, TEXT, XML, flip, splice

KINDS = {
    "xml": [*XML, *XML, *BYTES],
    "json": [*JSON, *JSON, *BYTES],
    "text": [*TEXT, *TEXT, *TEXT, *BYTES],
    "safetensors": [header, header, header, *BYTES],
    "onnx": [message] * 16 + BYTES,
    "png": [chunk] * 10 + BYTES,
    "bytes": BYTES,
}


def damaged(rng, kind, data, others):
    """The data after one to four changes; now and then it goes on as another file."""
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        if others and rng.random() < 0.05:
            data = splice(rng, data, rng.choice(others))
        else:
            try:
                data = rng.choice(KINDS[kind])(rng, data)
            except (ValueError, RecursionError):  # too damaged already to have a structure
                data = flip(rng, data)
    return data[: 4 << 20]
