"""Summary of a model, op by op: shapes, parameters, MACs and receptive fields."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from nets.autograd.recording import Call, Recording
from nets.autograd.tensor import Tensor
from nets.nn.layers.modes import ModuleLike
from nets.nn.layers.record import record

WINDOWS = ("conv2d", "max_pool2d", "avg_pool2d")
RECURRENT = {"rnn": 2, "gru": 2, "lstm": 3}  # index of their weights in the inputs
SILENT = ("reshape", "permute", "take", "stack")


@dataclass(frozen=True, slots=True)
class Row:
    """One op.

    Attributes
    ----------
    name : str
        Name of the layer whose parameters it uses, or empty.
    op : str
    shape : tuple of int
        Shape of its (first) output.
    parameters : int
        Trainable values, counted at their first use.
    macs : int
        Multiply-accumulate operations.
    field : (int, int)
        Receptive field of an output pixel, rows and columns; (0, 0) if there are no pixels.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    parameters: int
    macs: int
    field: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Summary:
    """The rows of a model and its totals; ``str`` formats the table."""

    model: str
    rows: tuple[Row, ...]
    parameters: int

    @property
    def macs(self) -> int:
        """MACs of all ops."""
        return sum(row.macs for row in self.rows)

    @property
    def field(self) -> tuple[int, int]:
        """Largest receptive field, rows and columns."""
        return max((row.field for row in self.rows), default=(0, 0))

    def __str__(self) -> str:
        head = ("layer", "op", "output", "parameters", "MACs", "sees")
        lines = [head, *(_cells(row) for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        text = [
            "  ".join(
                cell.ljust(n) if i < 3 else cell.rjust(n)
                for i, (cell, n) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        rows, cols = self.field
        total = f"{self.model}: {self.parameters:,} parameters, {self.macs:,} MACs"
        if rows:
            total += f", an output sees up to {rows} x {cols} pixels"
        return "\n".join([text[0], "-" * len(text[0]), *text[1:], total])


def summarise(model: ModuleLike, *inputs: Any) -> Summary:
    """Run a model once on inputs and summarise its ops, without pure data movement."""
    recording = record(model, *inputs)
    fields: dict[int, Receptive] = {
        id(x.data): Receptive((1, 1), (1.0, 1.0))
        for x in recording.inputs
        if isinstance(x, Tensor) and x.ndim == 4
    }
    learnt = {id(p.data): p.size for p in model.parameters()}
    rows = []
    for call in recording.calls:
        receptive = _receptive(call, fields)
        for output in call.outputs:
            if receptive is not None and output.ndim == 4:
                fields[id(output.data)] = receptive
        if call.op not in SILENT:
            rows.append(_row(recording, call, learnt, receptive))
    return Summary(type(model).__name__, tuple(rows), model.n_parameters)


@dataclass(frozen=True, slots=True)
class Receptive:
    """Receptive field of a pixel, and the distance to that of its neighbour, in input pixels."""

    field: tuple[int, int]
    jump: tuple[float, float]


def _receptive(call: Call, fields: dict[int, Receptive]) -> Receptive | None:
    """Return the receptive field of an op's output pixels, or None if there are none."""
    found = [fields[id(x.data)] for x in call.inputs if id(x.data) in fields]
    if not found:
        return None
    rows, cols = (max(s.field[axis] for s in found) for axis in (0, 1))
    before, x, y = found[0], call.inputs[0], call.outputs[0]
    if y.ndim != 4 or call.op not in (*WINDOWS, "conv_transpose2d"):
        jump = before.jump
        if y.ndim == x.ndim == 4 and y.shape[2:] != x.shape[2:]:  # resized, or adaptively pooled
            jump = _scaled(jump, x.shape, y.shape)
            if call.op == "adaptive_avg_pool2d":
                rows, cols = (_pooled_field(x, before, axis, y.shape[2 + axis]) for axis in (0, 1))
        return Receptive((rows, cols), jump)
    kernel = call.options.get("kernel") or call.inputs[1].shape[2:]
    stride, dilation = (call.options.get(key) or (1, 1) for key in ("stride", "dilation"))
    reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    if call.op == "conv_transpose2d":  # a pixel uses every stride-th tap
        reach = [n // s for n, s in zip(reach, stride, strict=True)]
        stride = tuple(1 / s for s in stride)
    field = [int(f + n * j) for f, n, j in zip((rows, cols), reach, before.jump, strict=True)]
    jumps = [s * j for s, j in zip(stride, before.jump, strict=True)]
    return Receptive((field[0], field[1]), (jumps[0], jumps[1]))


def _scaled(
    jump: tuple[float, float], before: tuple[int, ...], after: tuple[int, ...]
) -> tuple[float, float]:
    return jump[0] * before[2] / after[2], jump[1] * before[3] / after[3]


def _pooled_field(x: Tensor, before: Receptive, axis: int, parts: int) -> int:
    """Return the receptive field of a mean over one of ``parts`` windows."""
    window = -(-x.shape[2 + axis] // parts)
    return int(before.field[axis] + (window - 1) * before.jump[axis])


def _row(
    recording: Recording, call: Call, learnt: dict[int, int], receptive: Receptive | None
) -> Row:
    parameters = sum(learnt.pop(id(x.data), 0) for x in call.inputs)
    fused = call.options.get("activation")
    return Row(
        recording.layer(call),
        f"{call.op} + {fused}" if fused else call.op,
        call.outputs[0].shape,
        parameters,
        _macs(call),
        (0, 0) if receptive is None else receptive.field,
    )


def _macs(call: Call) -> int:
    """Return the multiply-accumulates of an op; elementwise work is not counted."""
    shapes = [x.shape for x in call.inputs]
    out = call.outputs[0].shape
    if call.op == "conv2d":
        return prod(out) * prod(shapes[1][1:])
    if call.op == "conv_transpose2d":
        return prod(shapes[0]) * prod(shapes[1][1:])
    if call.op == "linear":
        return prod(out) * shapes[1][1]
    if call.op == "matmul":
        return prod(out) * shapes[0][-1]
    if call.op in RECURRENT:
        first = RECURRENT[call.op]
        return prod(out[:2]) * sum(map(prod, shapes[first : first + 2]))
    return 0


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        row.op,
        " x ".join(map(str, row.shape)),
        f"{row.parameters:,}" if row.parameters else "",
        f"{row.macs:,}" if row.macs else "",
        "{} x {}".format(*row.field) if row.field[0] else "",
    )
