"""Lower nodes to layers: operators with a kernel become arena layers, the rest run in NumPy.

The nodes are visited in execution order. Most either start a layer or are fused into the preceding
one (bias, batch normalisation, residual, activation, pooling). Each family of operators registers
its functions with `lowers`; they work on a `Lowering`.
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
    """A node without a kernel, run by its NumPy operator."""

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
    """An array in graph layout, copied into the arena.

    Its address is known only at run time, from `Program.feed`.
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
    """Register a function that lowers nodes to layers.

    It returns False, without side effects, if no kernel computes the node.
    """

    def register(function: Lower) -> Lower:
        LOWERINGS.update(dict.fromkeys(operators, function))
        return function

    return register


def by_channel(value: Array | None, x: Image, rank: int) -> Array | None:
    """Return a constant as one value per channel, if it is per-channel or scalar."""
    if value is None or value.dtype != FLOAT32:
        return None
    if value.size == 1 and value.ndim <= rank:
        return np.full(x.channels, value.ravel()[0], np.float32)
    shape = (1,) * (rank - value.ndim) + value.shape
    if rank >= 2 and value.ndim <= rank and shape == (1, x.channels, *(1,) * (rank - 2)):
        return value.ravel()
    return None


class Lowering:
    """State of the lowering: the layers so far, and the origin of each array.

    ``forms`` holds the arena arrays and their forms; ``views`` those that are slices of others
    (base, first channel); ``alias`` other names of the same data; ``origins`` the NumPy arrays that
    may be views of others.
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
        """Return True if the node was lowered to a layer or fused into one."""
        if node.op not in LOWERINGS or not self.known(node):
            return False
        try:
            with np.errstate(all="ignore"):
                return LOWERINGS[node.op](self, node)
        except MALFORMED as exc:
            raise NetError(f"{self.special.source}: {node}: {exc}") from exc

    def known(self, node: Node) -> bool:
        """Return True if all shapes of a node are known statically."""
        names = [name for name in (*node.inputs, *node.outputs) if name]
        return all(self.specs[name].shape is not None for name in names)

    # ----------------------------------------------------------------- properties of arrays

    def spec(self, name: str) -> Spec:
        """Return shape and dtype of an array."""
        return self.specs[name]

    def constant(self, node: Node, index: int) -> Array | None:
        """Return the value of a constant input, or None."""
        if index >= len(node.inputs) or not node.inputs[index]:
            return None
        return self.specs[node.inputs[index]].value

    def root(self, name: str) -> str:
        """Return the array that holds the data of ``name``."""
        while name in self.alias:
            name = self.alias[name]
        return name

    def base(self, name: str) -> tuple[str, int]:
        """Return the array that ``name`` is a slice of, and its offset (channels or floats)."""
        start = 0
        while True:
            name = self.root(name)
            if name not in self.views:
                return name, start
            name, first = self.views[name]
            start += first

    def image(self, name: str) -> Image | None:
        """Return the form of an (N, C, H, W) array stored in the arena as pixels."""
        form = self.forms.get(name)
        if not isinstance(form, Image) or self.specs[name].value is not None:
            return None
        shape = self.specs[name].dims
        if shape == (*form,) or (shape == form[:2] and form[2:] == (1, 1)):
            return form
        return None

    def rows(self, name: str) -> Rows | None:
        """Return the form of an array stored contiguously in the arena."""
        form = self.forms.get(name)
        return form if isinstance(form, Rows) else None

    def form(self, name: str) -> Form | None:
        """Return the form of an array stored in the arena."""
        return self.image(name) or self.rows(name)

    def wanted(self, name: str) -> Image | None:
        """Return the same as `image`, importing the array into the arena if needed."""
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
        """Return the layer that writes ``name``, if exactly one node reads it."""
        if len(self.readers[name]) != 1 or name in self.final or name in self.views:
            return None
        return self.maker.get(name)

    # ----------------------------------------------------------------- building layers

    def add(self, layer: Layer, form: Form) -> bool:
        """Append a layer."""
        self.layers.append(layer)
        self.maker[layer.output] = layer
        self.forms[layer.output] = form
        return True

    def absorb(self, layer: Layer, output: str, *, late: bool = False) -> bool:
        """Change the output of a layer to ``output``; ``late`` moves the layer to the end."""
        form = self.forms.pop(layer.output)
        del self.maker[layer.output]
        layer.output = output
        self.maker[output], self.forms[output] = layer, form
        if late:
            self.layers.remove(layer)
            self.layers.append(layer)
        return True

    def rename(self, source: str, output: str, form: Form) -> bool:
        """Make ``output`` an alias of ``source``."""
        self.alias[output] = source
        self.forms[output] = form
        return True
