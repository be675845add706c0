"""Eight numbers, or as many as there are left."""

from vj.kernels.jit import device
from vj.kernels.simd import load8, load8_part, store, store_part


@device
def masked_load(x, i, count):
    """Eight numbers from place i on, zeros behind the first ``count``."""
    if count >= 8:
        return load8(x, i)
    return load8_part(x, i, count)


@device
def masked_store(y, i, v, count):
    """Write ``count`` lanes, eight at most."""
    if count >= 8:
        store(y, i, v)
    else:
        store_part(y, i, v, count)
