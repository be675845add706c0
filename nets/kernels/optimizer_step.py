"""One step of an optimiser over an array of weights, in one pass; formulas are PyTorch's.

``w`` are the weights, ``g`` their gradients, what follows is the memory of the method, all of one
length; ``how`` holds its numbers. Elements first to last are done.
"""

from numba import float32, int64, void

from nets.kernels.masked import masked_load, masked_store
from vj.kernels.jit import kernel, ro, rw
from vj.kernels.simd import fma, splat8, sqrt

SOME = rw(float32, 1)
ONE = void(SOME, ro(float32, 1), SOME, ro(float32, 1), int64, int64)
TWO = void(SOME, ro(float32, 1), SOME, SOME, ro(float32, 1), int64, int64)


@kernel(ONE)
def sgd(w, g, velocity, how, first, last):
    """Gradient descent with momentum; how: rate, decay, momentum, keep, shares of g and velocity.

    ``keep`` is what of the gradient enters the velocity; without momentum it is not touched.
    """
    rate, decay, moving = splat8(-how[0]), splat8(how[1]), how[2] != float32(0)
    momentum, keep = splat8(how[2]), splat8(how[3])
    straight, along = splat8(how[4]), splat8(how[5])
    for i in range(first, last, 8):
        count = last - i
        before = masked_load(w, i, count)
        slope = fma(decay, before, masked_load(g, i, count))
        if moving:
            moved = fma(momentum, masked_load(velocity, i, count), keep * slope)
            masked_store(velocity, i, moved, count)
            slope = fma(straight, slope, along * moved)
        masked_store(w, i, fma(rate, slope, before), count)


@kernel(ONE)
def adagrad(w, g, energy, how, first, last):
    """Rates that shrink with the energy of all gradients so far; how: rate, decay, eps."""
    rate, decay, eps = splat8(-how[0]), splat8(how[1]), splat8(how[2])
    for i in range(first, last, 8):
        count = last - i
        before = masked_load(w, i, count)
        slope = fma(decay, before, masked_load(g, i, count))
        total = fma(slope, slope, masked_load(energy, i, count))
        masked_store(energy, i, total, count)
        masked_store(w, i, fma(rate, slope / (sqrt(total) + eps), before), count)


@kernel(void(SOME, ro(float32, 1), SOME, SOME, SOME, ro(float32, 1), int64, int64))
def rmsprop(w, g, energy, mean, velocity, how, first, last):
    """Rates by the recent energy; how: rate, decay, alpha, 1 - alpha, eps, momentum, centred.

    ``mean`` is read where centred is 1, ``velocity`` where there is momentum.
    """
    rate, decay, alpha, rest = splat8(-how[0]), splat8(how[1]), splat8(how[2]), splat8(how[3])
    eps, momentum = splat8(how[4]), splat8(how[5])
    moving, centred = how[5] != float32(0), how[6] == float32(1)
    for i in range(first, last, 8):
        count = last - i
        before = masked_load(w, i, count)
        slope = fma(decay, before, masked_load(g, i, count))
        total = fma(rest * slope, slope, alpha * masked_load(energy, i, count))
        masked_store(energy, i, total, count)
        if centred:
            average = masked_load(mean, i, count)
            average = fma(rest, slope - average, average)
            masked_store(mean, i, average, count)
            total = total - average * average
        slope = slope / (sqrt(total) + eps)
        if moving:
            slope = fma(momentum, masked_load(velocity, i, count), slope)
            masked_store(velocity, i, slope, count)
        masked_store(w, i, fma(rate, slope, before), count)


@kernel(TWO)
def adam(w, g, mean, energy, how, first, last):
    """Adam and AdamW; how: rate, decay, 1 - beta1, beta2, 1 - beta2, eps, root, shrink.

    rate and root carry the corrections of the bias; ``decay`` enters the gradient (Adam),
    ``shrink`` multiplies the weights beforehand (AdamW).
    """
    rate, decay, fresh, keep = splat8(-how[0]), splat8(how[1]), splat8(how[2]), splat8(how[3])
    rest, eps, root, shrink = splat8(how[4]), splat8(how[5]), splat8(how[6]), splat8(how[7])
    for i in range(first, last, 8):
        count = last - i
        before = masked_load(w, i, count)
        slope = fma(decay, before, masked_load(g, i, count))
        m = masked_load(mean, i, count)
        m = fma(fresh, slope - m, m)
        v = fma(rest * slope, slope, keep * masked_load(energy, i, count))
        masked_store(mean, i, m, count)
        masked_store(energy, i, v, count)
        masked_store(w, i, fma(rate, m / (sqrt(v) / root + eps), before * shrink), count)


@kernel(void(SOME, ro(float32, 1), ro(float32, 1), int64, int64))
def blend(average, w, how, first, last):
    """Move an average towards the weights; how: the share of the way."""
    share = splat8(how[0])
    for i in range(first, last, 8):
        now = masked_load(average, i, last - i)
        masked_store(average, i, fma(share, masked_load(w, i, last - i) - now, now), last - i)
