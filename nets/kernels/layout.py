"""Into and out of the arena: images, NCHW arrays, halos; and the program that runs a plan."""

from numba import float32, int64, void

from nets.kernels.conv import (
    COLS,
    LAYER,
    ROWS,
    X_IMAGE,
    X_PIXEL,
    X_ROW,
    Y_IMAGE,
    Y_PIXEL,
    Y_ROW,
    K,
    X,
    Y,
)
from vj.kernels.jit import kernel, ro, rw
from vj.kernels.simd import (
    array_f32,
    array_i64,
    array_u8,
    at,
    atomic_add,
    atomic_load,
    call,
    call_plain,
    fma,
    interleave,
    load8,
    load16,
    splat8,
    splat16,
    store,
    to_f32,
)

PATIENCE = 2000  # looks at a counter before a thread gives way
APART = 8  # counters in `progress`: each thread's has a cache line of its own
IMAGES = 15  # of `planes_out`: how many images
# Of `image_in`, in place of the fields of X and R that it has no use for.
HIGH, WIDE, SWAP = 0, 1, 2
SHARED = 16  # fields that all shapes begin with

# Fields of a task: the address of its kernel; address and length of weights, bias and shape; the
# activation as an index into `limits`; the band of rows; the thread that runs it; then, for every
# thread, how many of its tasks must be done before.
(
    KERNEL, WEIGHTS, N_WEIGHTS, BIAS, N_BIAS, SHAPE, N_SHAPE, LIMITS, FIRST, LAST, OWNER, NEEDS,
) = range(12)  # fmt: skip


@kernel(
    void(rw(float32, 1), ro(int64, 2), ro(float32, 2), rw(int64, 1), int64, int64, rw(float32, 1))
)
def run_tasks(arena, tasks, limits, progress, yield_thread, thread, scratch):
    """Run the layers of a network without coming back to Python in between.

    tasks (n, NEEDS + threads), in an order in which one thread can run them all; limits (m, 2) lo
    and hi; progress zeros, one counter a thread; scratch is private to the thread. Each thread runs
    its own tasks in turn and waits for what they need of the others; thread -1 runs them all. A
    thread that has waited for a while calls the C function at `yield_thread` (0: none), which lets
    another one run.
    """
    for t in range(tasks.shape[0]):
        owner = tasks[t, OWNER]
        if owner != thread and thread >= 0:
            continue
        for other in range(tasks.shape[1] - NEEDS):
            waited = 0
            while atomic_load(progress, APART * other) < tasks[t, NEEDS + other]:
                waited += 1
                if waited > PATIENCE and yield_thread != 0:
                    call_plain(yield_thread, 0)
        weights = array_f32(tasks[t, WEIGHTS], tasks[t, N_WEIGHTS])
        bias = array_f32(tasks[t, BIAS], tasks[t, N_BIAS])
        shape = array_i64(tasks[t, SHAPE], tasks[t, N_SHAPE])
        lo, hi = limits[tasks[t, LIMITS], 0], limits[tasks[t, LIMITS], 1]
        call(
            tasks[t, KERNEL],
            (arena, weights, bias, shape, lo, hi, tasks[t, FIRST], tasks[t, LAST], scratch),
        )
        atomic_add(progress, APART * owner, 1)


@kernel(LAYER)
def clear_halo(arena, weights, bias, shape, lo, hi, first, last, scratch):
    """Zero the frame of K floats around each image: rows are images.

    X is where the frame begins; ROWS and X_ROW count the frame's rows; the image inside begins at Y
    (offset from X), its rows are COLS floats long and Y_PIXEL many, Y_ROW is the first of them.
    """
    for image in range(first, last):
        start = shape[X] + image * shape[X_IMAGE]
        for i in range(shape[ROWS]):
            row = start + i * shape[X_ROW]
            inside = shape[Y_ROW] <= i < shape[Y_ROW] + shape[Y_PIXEL]
            k = 0
            while k < shape[X_ROW]:
                if inside and k == shape[Y]:
                    k += shape[COLS]
                elif k + 8 <= (shape[Y] if inside and k < shape[Y] else shape[X_ROW]):
                    store(arena, row + k, splat8(float32(0)))
                    k += 8
                else:
                    arena[row + k] = 0
                    k += 1


@kernel(LAYER)
def image_in(arena, weights, bias, shape, lo, hi, first, last, scratch):
    """RGB bytes into a map at Y: value * bias[0] + bias[1], BGR where SWAP is 1.

    The images, of HIGH x WIDE pixels each, lie at the addresses from SHARED on. What the map of
    ROWS x COLS pixels has beyond them becomes bias[1], as if they went on in black.
    """
    rows, cols, pixel = shape[ROWS], shape[COLS], shape[Y_PIXEL]
    scale, shift = bias[0], bias[1]
    for line in range(first, last):
        number, i = line // rows, line % rows
        y = shape[Y] + number * shape[Y_IMAGE] + i * shape[Y_ROW]
        wide = shape[WIDE] if i < shape[HIGH] else 0
        image = array_u8(shape[SHARED + number], shape[HIGH] * shape[WIDE] * 3)
        x, k = 3 * i * wide, 0
        if pixel == 3 and shape[SWAP] == 0:
            while k + 16 <= 3 * wide:
                v = to_f32(load16(image, x + k))
                store(arena, y + k, fma(v, splat16(scale), splat16(shift)))
                k += 16
            k //= 3
        for j in range(k, wide):
            for c in range(3):
                value = float32(image[x + 3 * j + (2 - c if shape[SWAP] == 1 else c)])
                arena[y + j * pixel + c] = value * scale + shift
        for j in range(wide, cols):
            for c in range(3):
                arena[y + j * pixel + c] = shift
        for j in range(cols):
            for c in range(3, pixel):
                arena[y + j * pixel + c] = 0


@kernel(LAYER)
def planes_in(arena, weights, bias, shape, lo, hi, first, last, scratch):
    """NCHW planes, in `weights`, into a map at Y of ROWS x COLS pixels and K channels.

    Padding channels become zero.
    """
    rows, cols, channels, pixel = shape[ROWS], shape[COLS], shape[K], shape[Y_PIXEL]
    plane = rows * cols
    for line in range(first, last):
        image, i = line // rows, line % rows
        x = (image * channels * rows + i) * cols
        y = shape[Y] + image * shape[Y_IMAGE] + i * shape[Y_ROW]
        j = 0
        if channels == 3 and pixel == 3:
            while j + 8 <= cols:
                a, b, c = interleave(
                    (
                        load8(weights, x + j),
                        load8(weights, x + plane + j),
                        load8(weights, x + 2 * plane + j),
                    )
                )
                store(arena, y + 3 * j, a)
                store(arena, y + 3 * j + 8, b)
                store(arena, y + 3 * j + 16, c)
                j += 8
        for start in range(j, cols, 16):
            for c in range(channels):
                source, target = x + c * plane, y + c
                for n in range(start, min(start + 16, cols)):
                    arena[target + n * pixel] = at(weights, source + n)
            for n in range(start, min(start + 16, cols)):
                for c in range(channels, pixel):
                    arena[y + n * pixel + c] = 0


@kernel(void(ro(float32, 1), ro(int64, 1), rw(float32, 1)))
def planes_out(arena, shape, planes):
    """A map at X as NCHW planes, 16 pixels at a time; IMAGES of them."""
    rows, cols, channels, pixel = shape[ROWS], shape[COLS], shape[K], shape[X_PIXEL]
    for image in range(shape[IMAGES]):
        for i in range(rows):
            y = (image * channels * rows + i) * cols
            x = shape[X] + image * shape[X_IMAGE] + i * shape[X_ROW]
            for first in range(0, cols, 16):
                for c in range(channels):
                    source, target = x + c, y + c * rows * cols
                    for n in range(first, min(first + 16, cols)):
                        planes[target + n] = at(arena, source + n * pixel)
