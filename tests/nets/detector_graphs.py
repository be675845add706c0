"""Small graphs with the outputs of detector families, their weights random."""

import numpy as np
from onnx_graphs import node, proto, value

STRIDES = (8, 16, 32)


def detector_proto(rows, shape, anchors=1, seed=0):
    """Each output is a convolution of the image, as rows of one number per cell and column.

    ``rows`` maps names with a ``{}`` for the stride to numbers in a row; a batch that is fixed in
    ``shape`` is written into the targets of all reshapes, as exporters do.
    """
    rng = np.random.default_rng(seed)
    nodes, constants, outputs = [], {}, []
    for stride in STRIDES:
        for pattern, count in rows.items():
            name = pattern.format(stride)
            weights = rng.standard_normal((anchors * count, 3, stride, stride)) / stride / 200
            constants |= {
                f"{name}_w": weights.astype("f4"),
                f"{name}_b": rng.uniform(-0.3, 0.9, anchors * count).astype("f4"),
                f"{name}_s": np.array([shape[0] if isinstance(shape[0], int) else 0, -1, count]),
            }
            nodes += [
                node("Conv", ["input", f"{name}_w", f"{name}_b"], [f"{name}_c"],
                     strides=[stride, stride]),
                node("Transpose", [f"{name}_c"], [f"{name}_t"], perm=[0, 2, 3, 1]),
                node("Reshape", [f"{name}_t", f"{name}_s"], [name]),
            ]  # fmt: skip
            outputs.append(value(name, None))
    return proto(nodes, [value("input", list(shape))], outputs, constants)


def yunet_proto(shape=("n", 3, "h", "w")):
    """With the outputs of YuNet."""
    return detector_proto({"cls_{}": 1, "obj_{}": 1, "bbox_{}": 4, "kps_{}": 10}, shape)


def scrfd_proto(shape=("n", 3, "h", "w")):
    """With the outputs of SCRFD; about half of the distances to the sides are negative."""
    return detector_proto({"score_{}": 1, "bbox_{}": 4, "kps_{}": 10}, shape, anchors=2)
