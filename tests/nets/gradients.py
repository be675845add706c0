"""Gradients beside central differences in float64."""

import numpy as np

from nets.autograd.tensor import Tensor


def outputs_of(result):
    """The tensors of a result."""
    if isinstance(result, Tensor):
        return [result]
    return (
        [] if isinstance(result, np.ndarray) else [t for part in result for t in outputs_of(part)]
    )


def weigh(results, seed=0):
    """One number that depends on all results: a tensor of tensors, a float of arrays."""
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal(r.shape).astype(r.dtype) for r in results]
    return sum((r * w).sum() for r, w in zip(results, weights, strict=True))


def slopes(value, array, places, step=1e-6):
    """Central differences of ``value()`` with regard to some numbers of an array, in place."""
    found = []
    for at in places:
        before, ends = array[at], []
        for end in (before + step, before - step):
            array[at] = end
            ends.append(value())
        array[at] = before
        found.append((ends[0] - ends[1]) / (2 * step))
    return np.array(found)


def some_places(array, most, seed=0):
    """Indices of up to ``most`` numbers of an array."""
    chosen = np.random.default_rng(seed).permutation(array.size)[:most]
    return [np.unravel_index(k, array.shape) for k in chosen]


def assert_gradient(found, wanted, tolerance, what=""):
    scale = max(1.0, np.abs(wanted).max(initial=0))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * scale, err_msg=what)


def check_op(function, arrays, twin=None, most=40):
    """Gradients of the function's float32 kernels, and of its float64 formulas if it has them."""
    arrays = [np.array(a, np.float64) for a in arrays]

    def value():
        if twin is not None:
            return float(weigh([twin(*arrays)]))
        return weigh(outputs_of(function(*(Tensor(a, dtype=np.float64) for a in arrays)))).item()

    for dtype in (np.float32,) if twin is not None else (np.float64, np.float32):
        inputs = [Tensor(a, requires_grad=True, dtype=dtype) for a in arrays]
        weigh(outputs_of(function(*inputs))).backward()
        for n, (tensor, array) in enumerate(zip(inputs, arrays, strict=True)):
            assert tensor.grad.shape == array.shape
            places = some_places(array, most)
            found = np.array([tensor.grad[at] for at in places])
            tolerance = 1e-6 if dtype == np.float64 else 2e-5
            assert_gradient(found, slopes(value, array, places), tolerance, f"argument {n}")


def check_layer(layer, call, x, dtype, most=20):
    """Gradients of ``call(layer, x)``: those of the parameters, and of x unless it is integers."""
    leaves = list(layer.parameters())
    for parameter in leaves:
        parameter.data = parameter.data.astype(dtype)
    if x.dtype.kind == "f":
        x = Tensor(x, requires_grad=True, dtype=dtype)
        leaves.append(x)

    def value():
        return weigh(outputs_of(call(layer, x)))

    value().backward()
    # What is computed in float32 needs larger steps, and is checked more roughly.
    step, tolerance = (1e-6, 1e-6) if dtype == np.float64 else (1e-2, 1e-2)
    for n, leaf in enumerate(leaves):
        places = some_places(leaf.data, most)
        found = np.array([leaf.grad[at] for at in places])
        wanted = slopes(lambda: value().item(), leaf.data, places, step)
        assert_gradient(found, wanted, tolerance, f"argument {n}")
