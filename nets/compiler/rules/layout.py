"""Operators that only move numbers: views, other names, and as few copies as possible."""

from __future__ import annotations

from math import prod

import numpy as np

from nets.compiler.layers.base import Image, Rows
from nets.compiler.layers.pointwise import Copy, Pad
from nets.compiler.lower import F32, Lowering, rule
from nets.conv.tensor_layout import LANES
from nets.graph.ir import Node
from nets.graph.operators.base import axis_of
from nets.graph.operators.layout import permutation
from nets.graph.operators.pieces import pad_widths, slices, split_sizes
from nets.graph.operators.windows import text


@rule("Pad")
def pad(lowering: Lowering, node: Node) -> bool:
    """Zeros around the pixels become padding of the convolutions that follow, if only these do."""
    spec = lowering.spec(node.inputs[0])
    if spec.rank != 4 or text(node, "mode", "constant") != "constant":
        return False
    value = lowering.constant(node, 2)
    given = [lowering.constant(node, i) for i in (1, 3)]
    lists = [None if a is None else a.tolist() for a in given]
    fill = float(node.get("value", 0.0)) if value is None else float(value.ravel()[0])
    widths = pad_widths(node, 4, lists[0], lists[1])
    if widths[0] != (0, 0) or min(min(w) for w in widths) < 0 or spec.dtype != F32:
        return False
    x = lowering.wanted(node.inputs[0])
    if x is None:
        return False
    if fill == 0 and widths[1] == (0, 0) and _only_convolutions(lowering, node.outputs[0]):
        (top, bottom), (left, right) = widths[2:]
        lowering.padded[node.outputs[0]] = (node.inputs[0], (top, left, bottom, right))
        return True
    corner = (widths[2][0], widths[3][0], widths[1][0])
    y = Image(*lowering.spec(node.outputs[0]).dims)
    return lowering.add(Pad(node.name, node.inputs[0], node.outputs[0], corner, fill), y)


def _only_convolutions(lowering: Lowering, name: str) -> bool:
    """Whether an array is read by convolutions of constant weights and by nobody else."""
    for reader in lowering.readers[name]:
        weights = lowering.constant(reader, 1)
        if reader.op != "Conv" or weights is None or reader.inputs[0] != name:
            return False
        if weights.dtype != F32 or 0 in (*weights.shape, *lowering.spec(reader.outputs[0]).dims):
            return False
        if len(reader.inputs) > 2 and reader.inputs[2] and lowering.constant(reader, 2) is None:
            return False
    return name not in lowering.final


@rule("Transpose")
def transpose(lowering: Lowering, node: Node) -> bool:
    """Channels last is how the pixels lie anyway: only the padding channels go."""
    if lowering.image(node.inputs[0]) is None or lowering.spec(node.inputs[0]).rank != 4:
        return False
    if permutation(node, 4) != [0, 2, 3, 1]:
        return False
    layer = Copy(node.name, node.inputs[0], node.outputs[0])
    return lowering.add(layer, Rows(lowering.spec(node.outputs[0]).dims))


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(lowering: Lowering, node: Node) -> bool:
    """Another name for the same numbers."""
    source, output = node.inputs[0], node.outputs[0]
    shape, form = lowering.spec(output).dims, lowering.forms.get(source)
    if isinstance(form, Rows) and len(shape) >= 2 and shape[0] == form.shape[0]:
        return lowering.rename(source, output, Rows(shape))
    if isinstance(form, Image) and shape and shape[0] == form.images:
        flat = shape == (form.images, prod(form[1:]))
        pieces = len(shape) == 5 and shape[3:] == form[2:]  # groups of channels
        if flat or pieces or (form[2:] == (1, 1) and shape == (*form,)):
            return lowering.rename(source, output, form)
    return False


@rule("Concat")
def concat(lowering: Lowering, node: Node) -> bool:
    """The parts are written where they belong; those that cannot be are copied."""
    output = node.outputs[0]
    shape = lowering.spec(output).dims
    axis = axis_of(node.get("axis", 1), len(shape))
    images = [lowering.image(name) for name in node.inputs]
    if axis == 1 and len(shape) == 4 and all(images):
        form = Image(shape[0], shape[1], shape[2], shape[3])
        return _join(lowering, node, form, [image.channels for image in images if image])
    rows = [lowering.rows(name) for name in node.inputs]
    if all(rows) and axis >= 1 and prod(shape[1:axis]) == 1:
        sizes = [prod(r.shape[1:]) for r in rows if r]
        return _join(lowering, node, Rows(shape), sizes)
    return False


def _join(lowering: Lowering, node: Node, form: Image | Rows, sizes: list[int]) -> bool:
    output, first = node.outputs[0], 0
    lowering.forms[output] = form
    for i, (name, size) in enumerate(zip(node.inputs, sizes, strict=True)):
        root, part = lowering.root(name), name
        aligned = isinstance(form, Rows) or (first % LANES == 0 and size % LANES == 0)
        free = root not in lowering.views and root in lowering.maker
        free = free and lowering.maker[root].kind != "import"
        free = free and not any(base == root for base, _ in lowering.views.values())
        if not (aligned and free and node.inputs.count(name) == 1):
            part = root = f"{output}/{i}"
            lowering.add(Copy(f"{node.name}/{i}", name, part), lowering.forms[name])
            lowering.specs[part] = lowering.specs[name]
        lowering.views[root] = (output, first)
        first += size
    return True


def _channels(lowering: Lowering, source: str, output: str, first: int, count: int) -> None:
    form = lowering.forms[source]
    assert isinstance(form, Image)
    lowering.forms[output] = form._replace(channels=count)
    lowering.views[output] = (lowering.root(source), first)


@rule("Split")
def split(lowering: Lowering, node: Node) -> bool:
    """Slices of the channels stay where they are."""
    x, spec = lowering.image(node.inputs[0]), lowering.spec(node.inputs[0])
    if x is None or spec.rank != 4 or axis_of(node.get("axis", 0), 4) != 1:
        return False
    given = lowering.constant(node, 1)
    sizes = split_sizes(node, x.channels, None if given is None else given.tolist())
    if 0 in sizes:
        return False
    first = 0
    for size, output in zip(sizes, node.outputs, strict=False):
        if output:
            _channels(lowering, node.inputs[0], output, first, size)
        first += size
    return True


@rule("Slice")
def cut(lowering: Lowering, node: Node) -> bool:
    """A range of channels stays where it is; pixels are copied."""
    x, spec = lowering.image(node.inputs[0]), lowering.spec(node.inputs[0])
    if x is None or spec.rank != 4:
        return False
    given = [lowering.constant(node, i) for i in range(1, 5)]
    lists = [None if a is None else np.asarray(a).tolist() for a in given]
    cuts = slices(node, spec.dims, lists[0], lists[1], lists[2], lists[3])
    spans = [s.indices(n) for s, n in zip(cuts, spec.dims, strict=True)]
    if any(step != 1 or stop <= start for start, stop, step in spans):
        return False
    (image, _, _), (channel, _, _), (row, _, _), (col, _, _) = spans
    out = Image(*(stop - start for start, stop, _ in spans))
    if image != 0 or out.images != x.images:
        return False
    if out[2:] == x[2:]:
        _channels(lowering, node.inputs[0], node.outputs[0], channel, out.channels)
        return True
    crop = (row, col, channel)
    return lowering.add(Copy(node.name, node.inputs[0], node.outputs[0], crop), out)
