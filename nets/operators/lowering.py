"""From nodes to layers: what has a kernel becomes a layer in the arena, the rest stays NumPy.

The nodes are visited in the order in which they run. Most either start a layer or become part of
the one before them (bias, batch normalisation, residual, activation, pooling). Each family of
operators registers how with `lowers`; `Lowering` is what those functions work on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np

from nets.arrays import Array
from nets.conv.tensor_layout import geometry
from nets.graph.ir import Node
from nets.graph.spec import Spec, Special
from nets.kernels import layout
from nets.operators.base import FLOAT32, OPERATORS
from nets.operators.evaluate import MALFORMED
from nets.operators.layer import Form, Image, Layer, Places, Rows, Step
from vj.errors import NetError


class Numpy(Layer):
    """A node without a kernel: run by its operator on arrays."""

    kind = "numpy"

    def __init__(self, node: Node) -> None:
        super().__init__(node.name, [n for n in node.inputs if n], "")
        self.node = node

    @property
    def outputs(self) -> list[str]:
        return [name for name in self.node.outputs if name]

    @property
    def description(self) -> str:
        return f"numpy {self.node.op}"


class Import(Layer):
    """An array of the graph's own layout brought into the arena.

    Where it lies is not known before the run: `Program.feed` says so.
    """

    kind = "import"

    def __init__(self, source: str, form: Image) -> None:
        super().__init__(source, [], source)
        self.form = form

    def steps(self, place: Places) -> list[Step]:
        y = place(self.output).layout
        shape = geometry(y, y, y.height, y.width, y.channels)
        return [Step(layout.planes_in, shape, y.images * y.height)]


Lower = Callable[["Lowering", Node], bool]
LOWERINGS: dict[str, Lower] = {}


def lowers(*operators: str) -> Callable[[Lower], Lower]:
    """Register a function that turns nodes into layers.

    It returns False, and leaves everything as it was, where no kernel computes what the node asks.
    """

    def register(function: Lower) -> Lower:
        LOWERINGS.update(dict.fromkeys(operators, function))
        return function

    return register


def by_channel(value: Array | None, x: Image, rank: int) -> Array | None:
    """A constant as one number for each channel, if it is that or a single number."""
    if value is None or value.dtype != FLOAT32:
        return None
    if value.size == 1 and value.ndim <= rank:
        return np.full(x.channels, value.ravel()[0], np.float32)
    shape = (1,) * (rank - value.ndim) + value.shape
    if rank >= 2 and value.ndim <= rank and shape == (1, x.channels, *(1,) * (rank - 2)):
        return value.ravel()
    return None


class Lowering:
    """The layers so far, and where each array comes from.

    ``forms`` says which arrays lie in the arena and how; ``views`` which of them are slices of
    others (base, first channel); ``alias`` which are other names of the same numbers; ``origins``
    which of the arrays that NumPy makes may be views of others.
    """

    def __init__(self, special: Special) -> None:
        self.special, self.specs = special, special.specs
        self.layers: list[Layer] = []
        self.forms: dict[str, Form] = {}
        self.views: dict[str, tuple[str, int]] = {}
        self.alias: dict[str, str] = {}
        self.origins: dict[str, str] = {}
        self.padded: dict[str, tuple[str, tuple[int, int, int, int]]] = {}
        self.maker: dict[str, Layer] = {}
        self.readers: dict[str, list[Node]] = defaultdict(list)
        for node in special.nodes:
            for name in set(node.inputs):
                self.readers[name].append(node)
        self.final = {name for _, name in special.outputs}
        for node in special.nodes:
            if not self.lowered(node):
                self.layers.append(Numpy(node))
                if OPERATORS[node.op].view:
                    self.origins.update(dict.fromkeys(node.outputs, node.inputs[0]))

    def lowered(self, node: Node) -> bool:
        """Whether the node has become a layer or part of one."""
        if node.op not in LOWERINGS or not self.known(node):
            return False
        try:
            with np.errstate(all="ignore"):
                return LOWERINGS[node.op](self, node)
        except MALFORMED as exc:
            raise NetError(f"{self.special.source}: {node}: {exc}") from exc

    def known(self, node: Node) -> bool:
        """Whether all shapes about a node are known before it runs."""
        names = [name for name in (*node.inputs, *node.outputs) if name]
        return all(self.specs[name].shape is not None for name in names)

    # ----------------------------------------------------------------- questions about arrays

    def spec(self, name: str) -> Spec:
        """Shape and dtype of an array."""
        return self.specs[name]

    def constant(self, node: Node, index: int) -> Array | None:
        """The value of an input that is constant."""
        if index >= len(node.inputs) or not node.inputs[index]:
            return None
        return self.specs[node.inputs[index]].value

    def root(self, name: str) -> str:
        """The array that holds the numbers of ``name``."""
        while name in self.alias:
            name = self.alias[name]
        return name

    def base(self, name: str) -> tuple[str, int]:
        """The array that ``name`` is a part of, and where in it: channels, or floats of rows."""
        start = 0
        while True:
            name = self.root(name)
            if name not in self.views:
                return name, start
            name, first = self.views[name]
            start += first

    def image(self, name: str) -> Image | None:
        """The form of an array that lies in the arena as pixels, its shape (N, C, H, W)."""
        form = self.forms.get(name)
        if not isinstance(form, Image) or self.specs[name].value is not None:
            return None
        shape = self.specs[name].dims
        if shape == (*form,) or (shape == form[:2] and form[2:] == (1, 1)):
            return form
        return None

    def rows(self, name: str) -> Rows | None:
        """The form of an array that lies in the arena without gaps."""
        form = self.forms.get(name)
        return form if isinstance(form, Rows) else None

    def form(self, name: str) -> Form | None:
        """The form of an array that lies in the arena."""
        return self.image(name) or self.rows(name)

    def wanted(self, name: str) -> Image | None:
        """As `image`; an array that is still elsewhere is brought into the arena."""
        spec = self.specs[name]
        if name in self.forms or spec.value is not None or spec.dtype != FLOAT32:
            return self.image(name)
        if spec.rank not in (2, 4) or 0 in spec.dims:
            return None
        dims = spec.dims if spec.rank == 4 else (*spec.dims, 1, 1)
        form = Image(dims[0], dims[1], dims[2], dims[3])
        self.layers.append(Import(name, form))
        self.forms[name] = form
        self.maker[name] = self.layers[-1]
        return form

    def alone(self, name: str) -> Layer | None:
        """The layer that writes ``name``, if a single node reads it and nobody else."""
        if len(self.readers[name]) != 1 or name in self.final or name in self.views:
            return None
        return self.maker.get(name)

    # ----------------------------------------------------------------- making layers

    def add(self, layer: Layer, form: Form) -> bool:
        """Append a layer."""
        self.layers.append(layer)
        self.maker[layer.output] = layer
        self.forms[layer.output] = form
        return True

    def absorb(self, layer: Layer, output: str, *, late: bool = False) -> bool:
        """Let a layer write ``output`` instead of what it wrote; ``late`` moves it to the end."""
        form = self.forms.pop(layer.output)
        del self.maker[layer.output]
        layer.output = output
        self.maker[output], self.forms[output] = layer, form
        if late:
            self.layers.remove(layer)
            self.layers.append(layer)
        return True

    def rename(self, source: str, output: str, form: Form) -> bool:
        """Make ``output`` another name for the numbers of ``source``."""
        self.alias[output] = source
        self.forms[output] = form
        return True
