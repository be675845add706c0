"""Number by number: activations, arithmetic of two maps, softmax, maxout, plain copies.

All follow the call of `nets.kernels.conv`. A row is COLS runs of K numbers that lie side by side;
where the channels of neighbouring pixels touch, the caller makes one long run of a row. Nothing
behind a run is written, so the maps may be slices of channels and need not be padded.

The exponential is our own, eight numbers at a time, within 2 ulp: LLVM has none for vectors.
Reference: Moshier, Methods and programs for mathematical functions (Cephes), 1989.
"""

from numba import float32, int32

from nets.kernels.conv import (
    COLS,
    LAYER,
    R_IMAGE,
    R_PIXEL,
    R_ROW,
    ROWS,
    X_IMAGE,
    X_PIXEL,
    X_ROW,
    Y_IMAGE,
    Y_PIXEL,
    Y_ROW,
    K,
    R,
    X,
    Y,
)
from vj.kernels.jit import device, kernel
from vj.kernels.simd import (
    at,
    eq,
    fabs,
    floor,
    fma,
    from_bits,
    gt,
    load8,
    load32,
    lt,
    select,
    splat8,
    sqrt,
    store,
    to_i32,
    vmax,
    vmin,
)

# After the shared fields. CODE is the function; two parameters of it stand in `bias`.
CODE, SPREAD, FIELDS = 16, 17, 18
(
    COPY, SIGMOID, TANH, EXP, ELU, LEAKY, HARD_SIGMOID, HARD_SWISH, SWISH, SQRT, ABS,
) = range(11)  # fmt: skip
ADD, SUB, MUL, DIV, MAX, MIN = range(6)


@device
def vexp(x):
    """Exponential of eight numbers; NaN stays NaN."""
    limit = vmin(vmax(x, splat8(float32(-87.3365))), splat8(float32(88.7228)))
    n = floor(fma(limit, splat8(float32(1.4426950408889634)), splat8(float32(0.5))))
    n = vmin(n, splat8(float32(127)))
    r = fma(n, splat8(float32(-0.693359375)), limit)
    r = fma(n, splat8(float32(2.12194440e-4)), r)
    p = splat8(float32(1.9875691500e-4))
    p = fma(p, r, splat8(float32(1.3981999507e-3)))
    p = fma(p, r, splat8(float32(8.3334519073e-3)))
    p = fma(p, r, splat8(float32(4.1665795894e-2)))
    p = fma(p, r, splat8(float32(1.6666665459e-1)))
    p = fma(p, r, splat8(float32(5.0000001201e-1)))
    y = fma(p, r * r, r) + splat8(float32(1))
    y = y * from_bits((to_i32(n) + splat8(int32(127))) << splat8(int32(23)))
    y = select(lt(x, splat8(float32(-103.98))), splat8(float32(0)), y)
    y = select(gt(x, splat8(float32(88.7228))), splat8(float32(float("inf"))), y)
    return select(eq(x, x), y, x)


@device
def vexpm1(x):
    """Exponential minus one, accurate about zero."""
    p = splat8(float32(1.3981999507e-3))
    p = fma(p, x, splat8(float32(8.3334519073e-3)))
    p = fma(p, x, splat8(float32(4.1665795894e-2)))
    p = fma(p, x, splat8(float32(1.6666665459e-1)))
    p = fma(p, x, splat8(float32(5.0000001201e-1)))
    near = fma(p, x * x, x)
    return select(lt(fabs(x), splat8(float32(0.3))), near, vexp(x) - splat8(float32(1)))


@device
def vsigmoid(x):
    """Logistic function of eight numbers."""
    one = splat8(float32(1))
    return one / (one + vexp(splat8(float32(0)) - x))


@device
def vtanh(x):
    """Hyperbolic tangent of eight numbers."""
    z = x * x
    p = splat8(float32(-5.70498872745e-3))
    p = fma(p, z, splat8(float32(2.06390887954e-2)))
    p = fma(p, z, splat8(float32(-5.37397155531e-2)))
    p = fma(p, z, splat8(float32(1.33314422036e-1)))
    p = fma(p, z, splat8(float32(-3.33332819422e-1)))
    near = fma(p * z, x, x)
    two = splat8(float32(2))
    far = splat8(float32(1)) - two / (vexp(two * x) + splat8(float32(1)))
    return select(lt(fabs(x), splat8(float32(0.625))), near, far)


@device
def clamped(x, lo, hi):
    """To lo..hi; NaN stays NaN."""
    x = select(lt(x, splat8(lo)), splat8(lo), x)
    return select(gt(x, splat8(hi)), splat8(hi), x)


@device
def apply(code, x, a, b):
    """One of the functions above by number; a and b are its parameters."""
    if code == SIGMOID:
        return vsigmoid(x)
    if code == TANH:
        return vtanh(x)
    if code == EXP:
        return vexp(x)
    if code == ELU:
        return select(gt(x, splat8(float32(0))), x, splat8(a) * vexpm1(x))
    if code == LEAKY:
        return select(lt(x, splat8(float32(0))), splat8(a) * x, x)
    if code == SWISH:
        return x * vsigmoid(splat8(a) * x)
    if code == HARD_SIGMOID or code == HARD_SWISH:
        s = clamped(fma(splat8(a), x, splat8(b)), float32(0), float32(1))
        return x * s if code == HARD_SWISH else s
    if code == SQRT:
        return sqrt(x)
    if code == ABS:
        return fabs(x)
    return x


@kernel(LAYER)
def map_unary(arena, weights, bias, shape, lo, hi, first, last, scratch):
    """Compute y = clamp(f(x)); CODE names f, `bias` holds its two parameters. scratch: 8 floats."""
    rows, cols, run, code = shape[ROWS], shape[COLS], shape[K], shape[CODE]
    a, b = bias[0], bias[1]
    plain = code == COPY and lo == -float("inf") and hi == float("inf")
    for line in range(first, last):
        image, i = line // rows, line % rows
        x = shape[X] + image * shape[X_IMAGE] + i * shape[X_ROW]
        y = shape[Y] + image * shape[Y_IMAGE] + i * shape[Y_ROW]
        for _ in range(cols):
            k = 0
            while plain and k + 32 <= run:
                store(arena, y + k, load32(arena, x + k))
                k += 32
            while k + 8 <= run:
                store(arena, y + k, clamped(apply(code, load8(arena, x + k), a, b), lo, hi))
                k += 8
            if plain:
                while k < run:
                    arena[y + k] = at(arena, x + k)
                    k += 1
            elif k < run:
                for n in range(run - k):
                    scratch[n] = arena[x + k + n]
                store(scratch, 0, clamped(apply(code, load8(scratch, 0), a, b), lo, hi))
                for n in range(run - k):
                    arena[y + k + n] = scratch[n]
            x += shape[X_PIXEL]
            y += shape[Y_PIXEL]


@kernel(LAYER)
def map_fill(arena, weights, bias, shape, lo, hi, first, last, scratch):
    """Compute y = bias[0], K numbers of each of ROWS x COLS pixels."""
    rows, cols, channels = shape[ROWS], shape[COLS], shape[K]
    for line in range(first, last):
        y = shape[Y] + line // rows * shape[Y_IMAGE] + line % rows * shape[Y_ROW]
        for j in range(cols):
            for k in range(channels):
                arena[y + j * shape[Y_PIXEL] + k] = bias[0]


@device
def combine(code, a, b):
    """One of the six arithmetic functions of two vectors."""
    if code == ADD:
        return a + b
    if code == SUB:
        return a - b
    if code == MUL:
        return a * b
    if code == DIV:
        return a / b
    return vmax(a, b) if code == MAX else vmin(a, b)


@kernel(LAYER)
def map_binary(arena, weights, bias, shape, lo, hi, first, last, scratch):
    """Compute y = clamp(f(x, r)); strides of 0 broadcast r; SPREAD 1: one r for a whole run.

    scratch: 16 floats.
    """
    rows, cols, run, code = shape[ROWS], shape[COLS], shape[K], shape[CODE]
    spread = shape[SPREAD] == 1
    for line in range(first, last):
        image, i = line // rows, line % rows
        x = shape[X] + image * shape[X_IMAGE] + i * shape[X_ROW]
        y = shape[Y] + image * shape[Y_IMAGE] + i * shape[Y_ROW]
        r = shape[R] + image * shape[R_IMAGE] + i * shape[R_ROW]
        for _ in range(cols):
            one = splat8(arena[r])
            k = 0
            while k + 8 <= run:
                other = one if spread else load8(arena, r + k)
                store(arena, y + k, clamped(combine(code, load8(arena, x + k), other), lo, hi))
                k += 8
            if k < run:
                for n in range(run - k):
                    scratch[n] = arena[x + k + n]
                    scratch[8 + n] = arena[r] if spread else arena[r + k + n]
                both = combine(code, load8(scratch, 0), load8(scratch, 8))
                store(scratch, 0, clamped(both, lo, hi))
                for n in range(run - k):
                    arena[y + k + n] = scratch[n]
            x += shape[X_PIXEL]
            y += shape[Y_PIXEL]
            r += shape[R_PIXEL]


@kernel(LAYER)
def map_affine(arena, weights, bias, shape, lo, hi, first, last, scratch):
    """Compute y = clamp(x * weights[channel] + bias[channel]): batch normalisation by itself."""
    rows, cols, channels = shape[ROWS], shape[COLS], shape[K]
    for line in range(first, last):
        image, i = line // rows, line % rows
        x = shape[X] + image * shape[X_IMAGE] + i * shape[X_ROW]
        y = shape[Y] + image * shape[Y_IMAGE] + i * shape[Y_ROW]
        for _ in range(cols):
            k = 0
            while k + 8 <= channels:
                v = fma(load8(arena, x + k), load8(weights, k), load8(bias, k))
                store(arena, y + k, clamped(v, lo, hi))
                k += 8
            while k < channels:
                s = arena[x + k] * weights[k] + bias[k]
                arena[y + k] = lo if s < lo else hi if s > hi else s
                k += 1
            x += shape[X_PIXEL]
            y += shape[Y_PIXEL]


@kernel(LAYER)
def maxout(arena, weights, bias, shape, lo, hi, first, last, scratch):
    """Compute y[k] = largest of CODE neighbouring channels x[k CODE] ... (K outputs).

    Reference: Goodfellow et al., Maxout networks, ICML 2013.
    """
    rows, cols, channels, pieces = shape[ROWS], shape[COLS], shape[K], shape[CODE]
    for line in range(first, last):
        image, i = line // rows, line % rows
        x = shape[X] + image * shape[X_IMAGE] + i * shape[X_ROW]
        y = shape[Y] + image * shape[Y_IMAGE] + i * shape[Y_ROW]
        for _ in range(cols):
            for k in range(channels):
                best = arena[x + k * pieces]
                for p in range(1, pieces):
                    best = max(best, arena[x + k * pieces + p])
                arena[y + k] = best
            x += shape[X_PIXEL]
            y += shape[Y_PIXEL]
