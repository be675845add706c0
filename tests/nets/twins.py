"""An op beside its twin in PyTorch, and beside central differences in float64."""

import numpy as np
import pytest

from nets.autograd.tensor import Tensor

torch = pytest.importorskip("torch")


def close(ours, theirs, tolerance, what=""):
    theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else np.asarray(theirs)
    assert ours.shape == theirs.shape, what
    scale = max(1.0, np.nanmax(np.abs(theirs), initial=0, where=np.isfinite(theirs)))
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * scale, err_msg=what)


def channels_last(x):
    """Images as every op makes them: NHWC in memory."""
    if x.ndim != 4:
        return x
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def as_outputs(result):
    if isinstance(result, Tensor | torch.Tensor):
        return [result]
    return [o for part in result for o in as_outputs(part)]


def compare(ours, theirs, *arrays, tolerance=1e-5, seed=0, layout=True):
    """Results and all gradients; ``layout``: those of images must be channels-last."""
    mine = [None if a is None else Tensor(channels_last(a), requires_grad=True) for a in arrays]
    other = [None if a is None else torch.tensor(a, requires_grad=True) for a in arrays]
    results, wanted = as_outputs(ours(*mine)), as_outputs(theirs(*other))
    assert len(results) == len(wanted)
    total, wanted_total = None, None
    rng = np.random.default_rng(seed)
    for k, (r, w) in enumerate(zip(results, wanted, strict=True)):
        close(r.numpy(), w, tolerance, f"output {k}")
        g = channels_last(rng.standard_normal(r.shape).astype(np.float32))
        part, wanted_part = (r * g).sum(), (w * torch.tensor(g)).sum()
        total = part if total is None else total + part
        wanted_total = wanted_part if wanted_total is None else wanted_total + wanted_part
    total.backward()
    wanted_total.backward()
    for k, (m, o) in enumerate(zip(mine, other, strict=True)):
        if m is not None:
            close(m.grad, o.grad, tolerance, f"gradient {k}")
            if m.ndim == 4 and layout:
                assert m.grad.transpose(0, 2, 3, 1).flags.c_contiguous, "not channels-last"
    return results


def check_gradient(function, *arrays, tolerance=1e-6, step=1e-5, twin=None, seed=0):
    """Vjps against central differences of the function in float64.

    ``function`` maps tensors to a tensor or several. ``twin`` is the same in plain NumPy where the
    op itself is float32 only.
    """
    rng = np.random.default_rng(seed)
    exact = twin is None
    inputs = [Tensor(a, requires_grad=True, dtype=np.float64 if exact else np.float32)
              for a in arrays]  # fmt: skip
    results = as_outputs(function(*inputs))
    weights = [rng.standard_normal(r.shape) for r in results]
    total = None
    for r, w in zip(results, weights, strict=True):
        part = (r * w.astype(r.dtype)).sum()
        total = part if total is None else total + part
    total.backward()

    def value(points):
        if exact:
            found = [o.numpy() for o in as_outputs(function(*(
                Tensor(p, dtype=np.float64) for p in points)))]  # fmt: skip
        else:
            found = twin(*points)
            found = found if isinstance(found, tuple) else (found,)
        return sum(float((f * w).sum()) for f, w in zip(found, weights, strict=True))

    for n, array in enumerate(arrays):
        slopes = np.empty(array.shape)
        for at in np.ndindex(*array.shape):
            ends = []
            for sign in (1, -1):
                points = [np.array(a, np.float64) for a in arrays]
                points[n][at] += sign * step
                ends.append(value(points))
            slopes[at] = (ends[0] - ends[1]) / (2 * step)
        scale = max(1.0, np.abs(slopes).max(initial=0))
        np.testing.assert_allclose(
            inputs[n].grad, slopes, rtol=tolerance, atol=tolerance * scale, err_msg=f"argument {n}"
        )
