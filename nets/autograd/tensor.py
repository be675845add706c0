"""Tensors and ops: every tensor keeps a reference to the op that computed it.

An op is a function on arrays that returns its result together with its vjp (vector-Jacobian
product), the function from the gradient of the result to the gradients of the arguments. `op`
makes it work on tensors and records it; `Tensor.backward` calls `nets.autograd.tape.walk`, which
traverses the recorded ops in reverse and accumulates gradients.

Shapes are PyTorch's: images are (N, C, H, W). Their memory is channels-last (NHWC), the layout of
the kernels; `nets.autograd.ops.base.nhwc` converts between the two.

Reference: Baydin et al., Automatic differentiation in machine learning: a survey, JMLR 18, 2018.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from nets.arrays import Array
from nets.autograd.tape import Grads, Needs, Source, Vjp, walk
from vj.errors import NetError

__all__ = [
    "Axes", "Grads", "Needs", "Operand", "Recorder", "Tensor", "Vjp", "mode", "no_grad", "op",
    "recording",
]  # fmt: skip

Axes = int | tuple[int, ...] | None


class Recorder(Protocol):
    """Interface notified of every op (see `nets.autograd.recording`)."""

    def record(
        self,
        name: str,
        inputs: Sequence[Tensor],
        options: dict[str, Any],
        outputs: Sequence[Tensor],
    ) -> None:
        """Record one op."""


class _Mode(threading.local):
    grad = True
    recorder: Recorder | None = None


mode = _Mode()
SYNTAX: dict[str, Callable[..., Tensor]] = {}  # set by `nets.autograd.ops.arithmetic`


class Tensor:
    """An array that takes part in differentiation.

    Parameters
    ----------
    data : array_like
        The values, not copied if they already have ``dtype``.
    requires_grad : bool
        If True, `backward` accumulates the gradient in ``grad``.
    dtype : dtype
        float32; float64 for gradient checks.

    Attributes
    ----------
    data : ndarray
    grad : ndarray or None
        Same shape as ``data``; `backward` replaces it by the sum, never writes in place.
    """

    __slots__ = ("data", "grad", "index", "requires_grad", "source")
    __array_priority__ = 100  # array * tensor is a tensor

    def __init__(
        self, data: ArrayLike, requires_grad: bool = False, dtype: DTypeLike = np.float32
    ) -> None:
        self.data: Array = np.asarray(data, dtype)
        self.grad: Array | None = None
        self.requires_grad = requires_grad
        self.source: Source | None = None
        self.index = 0  # which output of the source

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, as in NumPy."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32, or float64 in gradient checks."""
        return self.data.dtype

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        made = f", made by {self.source.name}" if self.source else ""
        return f"Tensor({self.data}{made})"

    def numpy(self) -> Array:
        """Return the values as an array (shared, not copied)."""
        return self.data

    def item(self) -> float:
        """Return the value of a one-element tensor."""
        return float(self.data.item())

    def detach(self) -> Tensor:
        """Return a tensor that shares the values but has no gradient history."""
        return Tensor(self.data, dtype=self.dtype)

    def backward(self, grad: ArrayLike | None = None) -> None:
        """Add the gradient of this tensor to ``grad`` of every leaf it was computed from.

        Parameters
        ----------
        grad : array_like, optional
            Gradient with respect to this tensor, of its shape; 1 for a one-element tensor.

        Raises
        ------
        NetError
            Nothing here needs a gradient, ``grad`` is missing or of another shape, or the
            backward pass has already run.
        """
        if self.source is None:
            raise NetError("backward: this tensor was computed from nothing that needs a gradient")
        if grad is None:
            if self.size != 1:
                raise NetError(
                    f"backward: a tensor of shape {self.shape} needs a `grad` of that shape; "
                    "only a single number has one of its own"
                )
            grad = np.ones(self.shape, self.dtype)
        start = np.asarray(grad, self.dtype)
        if start.shape != self.shape:
            raise NetError(f"backward: `grad` must have shape {self.shape}, got {start.shape}")
        walk(self, start)

    # Operator syntax for the ops of `nets.autograd.ops.arithmetic`.

    def __add__(self, other: Operand) -> Tensor:
        return SYNTAX["add"](self, other)

    def __sub__(self, other: Operand) -> Tensor:
        return SYNTAX["subtract"](self, other)

    def __mul__(self, other: Operand) -> Tensor:
        return SYNTAX["multiply"](self, other)

    def __truediv__(self, other: Operand) -> Tensor:
        return SYNTAX["divide"](self, other)

    def __rsub__(self, other: Operand) -> Tensor:
        return SYNTAX["subtract"](other, self)

    def __rtruediv__(self, other: Operand) -> Tensor:
        return SYNTAX["divide"](other, self)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Tensor:
        return SYNTAX["multiply"](self, -1.0)

    def __pow__(self, exponent: float) -> Tensor:
        return SYNTAX["power"](self, exponent=float(exponent))

    def __matmul__(self, other: Operand) -> Tensor:
        return SYNTAX["matmul"](self, other)

    def __getitem__(self, key: Any) -> Tensor:
        return SYNTAX["take"](self, key=key)

    def sum(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        """Sum over axes."""
        return SYNTAX["sum"](self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Axes = None, keepdims: bool = False) -> Tensor:
        """Mean over axes."""
        return SYNTAX["mean"](self, axis=axis, keepdims=keepdims)

    def reshape(self, *shape: int) -> Tensor:
        """Reshape, in (N, C, H, W) order."""
        return SYNTAX["reshape"](self, shape=shape)

    def permute(self, *axes: int) -> Tensor:
        """Permute the axes."""
        return SYNTAX["permute"](self, axes=axes)


Operand = Tensor | ArrayLike


@overload
def op(function: Callable[..., tuple[Array, Vjp]]) -> Callable[..., Tensor]: ...
@overload
def op(
    function: Callable[..., tuple[tuple[Array, ...], Vjp]],
) -> Callable[..., tuple[Tensor, ...]]: ...


def op(function: Callable[..., tuple[Any, Vjp]]) -> Callable[..., Any]:
    """Make a differentiable op.

    ``function(*arrays, **options)`` returns ``(result, vjp)``; the result may be a tuple of arrays.
    ``vjp(grad, needs)`` takes the gradient of the result (for a tuple: one each, None if there is
    none) and returns one gradient for each array; where ``needs`` is False it may return None. The
    op accepts tensors, arrays or numbers for the arrays (None stays None) and returns tensors.
    """
    name = function.__name__

    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        dtype = next((a.dtype for a in args if isinstance(a, Tensor)), np.dtype(np.float32))
        inputs = tuple(
            a if isinstance(a, Tensor) else Tensor(0 if a is None else a, dtype=dtype) for a in args
        )
        arrays = [None if a is None else t.data for a, t in zip(args, inputs, strict=True)]
        result, vjp = function(*arrays, **options)
        several = isinstance(result, tuple)
        results = result if several else (result,)
        outputs = [Tensor(r, dtype=dtype) for r in results]
        if mode.grad and any(t.requires_grad for t in inputs):
            source = Source(name, inputs, vjp, tuple(r.shape for r in results))
            for index, output in enumerate(outputs):
                output.requires_grad, output.source, output.index = True, source, index
        if mode.recorder is not None:
            mode.recorder.record(name, inputs, options, outputs)
        return tuple(outputs) if several else outputs[0]

    return call


@contextlib.contextmanager
def no_grad() -> Iterator[None]:
    """Context manager that disables gradient recording."""
    before, mode.grad = mode.grad, False
    try:
        yield
    finally:
        mode.grad = before


@contextlib.contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Context manager that passes every op to the recorder."""
    before, mode.recorder = mode.recorder, recorder
    try:
        yield
    finally:
        mode.recorder = before
