"""What reads the files: the public reader of each kind, and first use of what it returns."""

import contextlib

import numpy as np

from vj.errors import VJError


def cascade(path):
    from vj.cascade.opencv_xml import read
    from vj.detect.detector import CascadeDetector

    found = read(path)
    found.describe()
    image = np.random.default_rng(1).integers(0, 256, (30, 40), dtype=np.uint8)
    CascadeDetector(found, scale_factor=1.5, min_neighbors=0).detect(image)


def onnx(path):
    import nets

    nets.load_onnx(path)


def weights(path):
    from nets.detectors.facenet import read_net

    read_net(path)


def cards(path):
    from nets.cards import read_card
    from nets.training.card import read_card as read_training_card

    if path.name == "weights.json":
        read_training_card(path.with_suffix(".safetensors"))
    else:
        card = read_card(path, path.with_suffix(".onnx"))
        card.confidence(np.array([0.25, 0.5], np.float32))
        str(card)


def saved(path):
    from fractions import Fraction

    from vj.app.saved import read_saved
    from vj.io.source import Frame

    found = read_saved(str(path))
    for name in (name for name in found.found if len(name) < 100):
        found.of(name, Frame(np.zeros((1, 1), np.uint8), 3, Fraction(3, 25)))


def annotations(path):
    from vj.datasets.annotations import read_annotations
    from vj.datasets.readers import FORMATS
    from vj.train.sources import has_surroundings, read_backgrounds

    folder = path.parent if path.name != "a.txt" else path.parent.parent
    what = {"bg.txt": path, "pictures.zip": folder, "a.txt": folder}.get(path.name, path)
    if path.name == "bg.txt":
        pictures = read_backgrounds(what)
    else:
        pictures = read_annotations(what)
    for picture in pictures[:3]:
        has_surroundings(picture)
        picture.read()
    with contextlib.suppress(VJError):  # the same file taken for another format
        names = list(FORMATS)
        read_annotations(what, format=names[path.stat().st_size % len(names)])


def vec(path):
    from vj.train.vec import read_vec

    read_vec(path)


def pictures(path):
    from vj.datasets.lists import picture_size
    from vj.io.images import read_image

    picture_size(path)
    read_image(path)


def video(path):
    from vj.io.source import find_inputs

    (item,) = find_inputs([str(path)], None)
    item.length()
    for n, _ in enumerate(item.frames()):
        if n == 20:
            break


def checkpoint(path):
    from nets.training.checkpoint import load_checkpoint
    from vj.train.checkpoint import Checkpoint

    if path.suffix == ".npz":
        Checkpoint(path.parent, {"seed": 1}).load()
    else:
        load_checkpoint(path)


TARGETS = {
    target.__name__: target
    for target in (
        *(cascade, onnx, weights, cards, saved, annotations, vec, pictures, video, checkpoint),
    )
}
DOCUMENTED = VJError
