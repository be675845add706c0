"""Slide one packed cascade over bands of pyramid levels.

The first stage runs on 32 neighbouring windows. Blocks of eight with a survivor are put on a list
that several rows share, and later stages take four blocks at a time from it, wherever they lie.
Decisions, order and weights are bit-equal to OpenCV's with one thread.
"""

from numba import float32, float64, int32, int64, uint8, uint32, uint64
from numba.types import Tuple

from vj.kernels.jit import device, kernel, ro, rw
from vj.kernels.pyramid import (
    BATCH,
    COLS,
    FIRST_ROW,
    LEVEL,
    NF_PITCH,
    NORMS,
    PITCH,
    ROWS,
    SQUARES,
    STEP,
    fill_band,
)
from vj.kernels.simd import (
    ge,
    lane,
    load8,
    load32,
    load_like,
    mask_bits,
    select,
    splat8,
    splat32,
    sqrt,
    store,
    to_f32,
    to_f64,
    to_u32,
)
from vj.kernels.stages import decide, haar_left, lbp_left, stage_exact


@device
def _normalise(ii, i, layout, step, gate, area, out, o):
    """Store 1 / (area * deviation) of 8 windows; the bits of those above the contrast gate."""
    n = NORMS + 4 * (step - 1)
    s = load8(ii, i + layout[n]) - load8(ii, i + layout[n + 1])
    s = s - load8(ii, i + layout[n + 2]) + load8(ii, i + layout[n + 3])
    j = i + layout[SQUARES]
    q = load8(ii, j + layout[n]) - load8(ii, j + layout[n + 1])
    q = q - load8(ii, j + layout[n + 2]) + load8(ii, j + layout[n + 3])
    total = to_f64(s)
    spread = to_f64(to_u32(q)) * splat8(area) - total * total
    passed = ge(spread, splat8(gate))
    one = splat8(float64(1))
    store(out, o, to_f32(one / sqrt(select(passed, spread, one))))
    return uint64(mask_bits(passed))


@device
def _contrast(ii, base, layout, step, norm, out, o):
    """`_normalise` of 32 windows; norm is the gate and the area of the inner window, or zeros."""
    gate, area = norm
    bits = uint64(0xFFFFFFFF)
    if area > 0:
        bits = uint64(0)
        for k in range(0, 32, 8):
            bits |= _normalise(ii, base + k, layout, step, gate, area, out, o + k) << uint64(k)
    return bits


@device
def _odd_runs(failed, carry):
    """Bits just after each run of odd length among 32 bits, and the carry to the next 32.

    A window that fails the first stage makes OpenCV skip the next one, so within a run of failures
    every other window is visited, and the one after an odd run is not. The carry tells whether a
    run of odd length reaches the end. (Langdale & Lemire, VLDB Journal 28, 2019, section 3.1.1.)
    """
    even = uint64(0x55555555)
    word = uint64(0xFFFFFFFF)
    starts = failed & ~(failed << uint64(1)) & word
    even_starts = starts & (even ^ carry)
    odd_sum = failed + (starts & ~even_starts)
    even_ends = (failed + even_starts) & ~failed
    odd_ends = (odd_sum | carry) & ~failed
    after = (even_ends & ~even) | (odd_ends & even)
    return after & word, (odd_sum >> uint64(32)) & uint64(1)


@device
def _first_stage(goes_left, ii, offsets, model, layout, band, norm, scratch, place, n):
    """Contrast gate, first stage and skip rule for one row; append its surviving blocks."""
    nf_rows, stack, blocks, places, masks = scratch
    base, nf_base = place
    cols, step = band[COLS], band[STEP]
    carry = uint64(0)
    for x in range(0, cols, 32):
        gated = _contrast(ii, base + x, layout, step, norm, nf_rows, nf_base + x)
        if cols - x < 32:
            gated &= (uint64(1) << uint64(cols - x)) - uint64(1)
        if gated == 0:
            carry = uint64(0)
            continue
        nf = load32(nf_rows, nf_base + x)
        passed = decide(goes_left, nf, ii, base + x, offsets, model, 0, uint32(gated), stack)
        skipped, carry = _odd_runs(gated & ~uint64(passed), carry)
        passed &= ~uint32(skipped)
        for k in range(0, 32, 8):
            mask = (passed >> uint32(k)) & uint32(255)
            if mask:
                blocks[n] = base + x + k
                places[n] = nf_base + x + k
                masks[n] = mask
                n += 1
    return n


@device
def _keep(passed, scratch, first, count, kept):
    """Move the living ones of `count` blocks from `first` on to the front; their number so far."""
    _, _, blocks, places, masks = scratch
    for k in range(count):
        mask = (passed >> uint32(8 * k)) & uint32(255)
        if mask:
            blocks[kept] = blocks[first + k]
            places[kept] = places[first + k]
            masks[kept] = mask
            kept += 1
    return kept


@device
def _later_stages(goes_left, ii, offsets, model, scratch, n):
    """Thin out the list of blocks, stage by stage; the number that is left."""
    nf_rows, stack, b, p, masks = scratch
    like = splat32(float32(0))
    for stage in range(1, len(model[3]) - 1):
        kept = 0
        k = 0
        while n - k >= 4:
            nf = load_like(like, nf_rows, (p[k], p[k + 1], p[k + 2], p[k + 3]), int64(0))
            alive = masks[k] | masks[k + 1] << uint32(8)
            alive |= masks[k + 2] << uint32(16) | masks[k + 3] << uint32(24)
            base = (b[k], b[k + 1], b[k + 2], b[k + 3])
            passed = decide(goes_left, nf, ii, base, offsets, model, stage, alive, stack)
            kept = _keep(passed, scratch, k, 4, kept)
            k += 4
        while k < n:
            nf8 = load8(nf_rows, p[k])
            mask = uint8(masks[k])
            passed8 = decide(goes_left, nf8, ii, b[k], offsets, model, stage, mask, stack)
            kept = _keep(uint32(passed8), scratch, k, 1, kept)
            k += 1
        n = kept
        if n == 0:
            break
    return n


@device
def _report(goes_left, ii, offsets, model, band, pitch, scratch, n, out, found):
    """Append the accepted windows of the listed blocks, with their exact sums of the last stage."""
    nf_rows, stack, blocks, places, masks = scratch
    windows, weights = out
    row = pitch * band[STEP]
    for k in range(n):
        nf = load8(nf_rows, places[k])
        last = len(model[3]) - 2
        sums = stage_exact(goes_left, nf, ii, blocks[k], offsets, model, last, stack)
        y = blocks[k] // row
        for i in range(8):
            if masks[k] >> uint32(i) & uint32(1):
                windows[found, 0] = band[LEVEL]
                windows[found, 1] = (blocks[k] - y * row + i) * band[STEP]
                windows[found, 2] = y * band[STEP] + band[FIRST_ROW]
                weights[found] = lane(sums, i)
                found += 1
    return found


@device
def _scan_bands(goes_left, gray, bands, layout, model, offsets, norm, fill, scratch, out):
    index, weight, pairs, pixels, ii = fill
    step1, step2 = offsets
    found = 0
    for i in range(len(bands)):
        band = bands[i]
        if found + band[ROWS] * band[COLS] > len(out[1]):
            return found, i
        fill_band(gray, band, layout, (index, weight, pairs), pixels, ii)
        chosen = step2 if band[STEP] == 2 else step1
        y = 0
        while y < band[ROWS]:
            rows = min(band[BATCH], band[ROWS] - y)
            n = 0
            for k in range(rows):
                place = (y + k) * band[STEP] * layout[PITCH], k * layout[NF_PITCH]
                n = _first_stage(
                    goes_left, ii, chosen, model, layout, band, norm, scratch, place, n
                )
            n = _later_stages(goes_left, ii, chosen, model, scratch, n)
            found = _report(
                goes_left, ii, chosen, model, band, layout[PITCH], scratch, n, out, found
            )
            y += rows
    return found, len(bands)


_SIGNATURE = Tuple((int64, int64))(
    ro(uint8, 2),
    ro(int64, 2),
    ro(int64, 1),
    Tuple((ro(float32, 1), ro(int32, 1), ro(int32, 1), ro(int32, 1), ro(float64, 2))),
    Tuple((ro(int32, 1), ro(int32, 1))),
    Tuple((float64, float64)),
    Tuple((rw(int32, 1), rw(int32, 1), rw(uint32, 1), rw(int32, 1), rw(int32, 1))),
    Tuple((rw(float32, 1), rw(float32, 1), rw(int64, 1), rw(int64, 1), rw(uint32, 1))),
    Tuple((rw(int32, 2), rw(float64, 1))),
)


@kernel(_SIGNATURE)
def scan_haar(gray, bands, layout, model, offsets, norm, fill, scratch, out):
    """Find the windows that pass every stage of a Haar cascade, in the order of bands, y, x.

    gray : (H, W) uint8.
    bands, layout : int64, see ``vj.kernels.pyramid``.
    model : params (float32), subsets, flags, first node of each stage (int32), limits (float64).
    offsets : corners of every node relative to the window, for windows that step by one and by two.
    norm : smallest spread that passes the contrast gate, area of the inner window.
    fill : work space of ``fill_band``: index, weight, pairs, pixels, integral images.
    scratch : 1 / deviation of a batch of rows, stack (float32); list of living blocks: where they
        start in the integral image and in the first (int64), their windows as bits (uint32).
    out : windows (n, 3) int32: level, column and row in the level; sums of the last stage (n,).

    Returns the number of windows found, and of bands done: fewer than all where `out` has no room.
    """
    return _scan_bands(haar_left, gray, bands, layout, model, offsets, norm, fill, scratch, out)


@kernel(_SIGNATURE)
def scan_lbp(gray, bands, layout, model, offsets, norm, fill, scratch, out):
    """Find the windows that pass every stage of an LBP cascade; as `scan_haar`, `norm` zeros."""
    return _scan_bands(lbp_left, gray, bands, layout, model, offsets, norm, fill, scratch, out)
