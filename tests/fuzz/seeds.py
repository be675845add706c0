"""What a sound file is."""

import io
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory


@dataclass(frozen=True)
class Seed:
    """A sound file: where it lies in its folder, what it is, what lies beside it."""

    name: str
    kind: str
    data: bytes
    beside: dict[str, bytes] = field(default_factory=dict)


def picture_bytes(image, format_, **options):
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).save(out, format_, **options)
    return out.getvalue()


def written(name, write):
    """What a function writes that takes a path."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        return path.read_bytes()
