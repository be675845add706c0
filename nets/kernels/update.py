"""One step of an optimiser over an array of weights, in one pass; formulas are PyTorch's.

``w`` are the weights, ``g`` their gradients, what follows is the memory of the method, all of one
length; ``how`` holds its numbers. Elements first to last are done.
"""

import math

from numba import float32, int64, void

from vj.kernels.jit import kernel, ro, rw

SOME = rw(float32, 1)
ONE = void(SOME, ro(float32, 1), SOME, ro(float32, 1), int64, int64)
TWO = void(SOME, ro(float32, 1), SOME, SOME, ro(float32, 1), int64, int64)


@kernel(ONE)
def sgd(w, g, velocity, how, first, last):
    """Gradient descent with momentum; how: rate, decay, momentum, keep, shares of g and velocity.

    ``keep`` is what of the gradient enters the velocity; without momentum it is not touched.
    """
    rate, decay, momentum, keep, straight, along = how[0], how[1], how[2], how[3], how[4], how[5]
    if momentum == float32(0):
        for i in range(first, last):
            w[i] -= rate * (g[i] + decay * w[i])
        return
    for i in range(first, last):
        slope = g[i] + decay * w[i]
        moved = momentum * velocity[i] + keep * slope
        velocity[i] = moved
        w[i] -= rate * (straight * slope + along * moved)


@kernel(ONE)
def adagrad(w, g, energy, how, first, last):
    """Rates that shrink with the energy of all gradients so far; how: rate, decay, eps."""
    rate, decay, eps = how[0], how[1], how[2]
    for i in range(first, last):
        slope = g[i] + decay * w[i]
        total = energy[i] + slope * slope
        energy[i] = total
        w[i] -= rate * slope / (math.sqrt(total) + eps)


@kernel(void(SOME, ro(float32, 1), SOME, SOME, SOME, ro(float32, 1), int64, int64))
def rmsprop(w, g, energy, mean, velocity, how, first, last):
    """Rates by the recent energy; how: rate, decay, alpha, 1 - alpha, eps, momentum, centred.

    ``mean`` is read where centred is 1, ``velocity`` where there is momentum.
    """
    rate, decay, alpha, rest = how[0], how[1], how[2], how[3]
    eps, momentum, centred = how[4], how[5], how[6] == float32(1)
    for i in range(first, last):
        slope = g[i] + decay * w[i]
        total = alpha * energy[i] + rest * slope * slope
        energy[i] = total
        if centred:
            average = mean[i] + rest * (slope - mean[i])
            mean[i] = average
            total -= average * average
        slope /= math.sqrt(total) + eps
        if momentum != float32(0):
            slope += momentum * velocity[i]
            velocity[i] = slope
        w[i] -= rate * slope


@kernel(TWO)
def adam(w, g, mean, energy, how, first, last):
    """Adam and AdamW; how: rate, decay, 1 - beta1, beta2, 1 - beta2, eps, root, shrink.

    rate and root carry the corrections of the bias; ``decay`` enters the gradient (Adam),
    ``shrink`` multiplies the weights beforehand (AdamW).
    """
    rate, decay, fresh, keep, rest = how[0], how[1], how[2], how[3], how[4]
    eps, root, shrink = how[5], how[6], how[7]
    for i in range(first, last):
        before = w[i] * shrink
        slope = g[i] + decay * w[i]
        m = mean[i] + fresh * (slope - mean[i])
        v = keep * energy[i] + rest * slope * slope
        mean[i] = m
        energy[i] = v
        w[i] = before - rate * (m / (math.sqrt(v) / root + eps))


@kernel(void(SOME, ro(float32, 1), ro(float32, 1), int64, int64))
def blend(average, w, how, first, last):
    """Move an average towards the weights; how: the share of the way."""
    share = how[0]
    for i in range(first, last):
        average[i] += share * (w[i] - average[i])
