"""The oracle: every kernel once more in plain, obvious Python."""

import math

import numpy as np

# --------------------------------------------------------------------------- color


def weigh_channels(color, weights):
    """vj.kernels.color.weigh_channels, one pixel at a time."""
    rows, cols = color.shape[:2]
    out = np.empty((rows, cols), np.uint8)
    for y in range(rows):
        for x in range(cols):
            total = sum(int(v) * w for v, w in zip(color[y, x, :3], weights, strict=True))
            out[y, x] = (total + 2**14) >> 15
    return out


# --------------------------------------------------------------------------- integral images


def integral_image(gray):
    """Sum of gray[:y, :x] at every corner (x, y)."""
    rows, cols = gray.shape
    return [
        [int(gray[:y, :x].sum(dtype=np.int64)) for x in range(cols + 1)] for y in range(rows + 1)
    ]


def squared_integral_image(gray):
    return integral_image(gray.astype(np.int64) ** 2)


def tilted_integral_image(gray):
    """Sum over the quarter plane that opens upwards from every corner (X, Y)."""
    rows, cols = gray.shape
    y, x = np.mgrid[:rows, :cols]
    return [
        [int(gray[(y < Y) & (abs(x - X + 1) <= Y - y - 1)].sum()) for X in range(cols + 1)]
        for Y in range(rows + 1)
    ]


def pixels_of(box, tilted):
    """The pixels (x, y) of a box x, y, w, h."""
    x, y, w, h = (int(v) for v in box)
    if not tilted:
        return [(px, py) for py in range(y, y + h) for px in range(x, x + w)]
    # Upright in the turned coordinates a = px + py and b = py - px: both are even, or both odd.
    turned = [
        (a, b)
        for a in range(x + y - 1, x + y - 1 + 2 * w)
        for b in range(y - x + 1, y - x + 1 + 2 * h)
        if (a + b) % 2 == 0
    ]
    return [((a - b) // 2, (a + b) // 2) for a, b in turned]


def rect_sum(gray, box, tilted=False):
    return sum(int(gray[y, x]) for x, y in pixels_of(box, tilted))


# --------------------------------------------------------------------------- Haar features and LBP


def enumerate_haar(rows, cols, mode):
    """(first box, other boxes, their weight, tilted) of every feature, loop by loop."""
    core, every = mode != "BASIC", mode == "ALL"
    for x in range(cols):
        for y in range(rows):
            for dx in range(1, cols + 1):
                for dy in range(1, rows + 1):
                    for wanted, m, n, weight, dark in [
                        (True, 2, 1, 2, [(1, 0, 1, 1)]),
                        (True, 1, 2, 2, [(0, 1, 1, 1)]),
                        (True, 3, 1, 3, [(1, 0, 1, 1)]),
                        (True, 1, 3, 3, [(0, 1, 1, 1)]),
                        (core, 4, 1, 2, [(1, 0, 2, 1)]),
                        (core, 1, 4, 2, [(0, 1, 1, 2)]),
                        (True, 2, 2, 2, [(0, 0, 1, 1), (1, 1, 1, 1)]),
                        (core, 3, 3, 9, [(1, 1, 1, 1)]),
                    ]:
                        if wanted and x + m * dx <= cols and y + n * dy <= rows:
                            inner = [
                                (x + cx * dx, y + cy * dy, cw * dx, ch * dy)
                                for cx, cy, cw, ch in dark
                            ]
                            yield (x, y, m * dx, n * dy), inner, weight, False
                    for m, n, weight, inner in [
                        (2, 1, 2, (x, y, dx, dy)),
                        (1, 2, 2, (x, y, dx, dy)),
                        (3, 1, 3, (x + dx, y + dx, dx, dy)),
                        (1, 3, 3, (x - dy, y + dy, dx, dy)),
                        (4, 1, 2, (x + dx, y + dx, 2 * dx, dy)),
                        (1, 4, 2, (x - dy, y + dy, dx, 2 * dy)),
                    ]:
                        fits = (
                            x + m * dx <= cols and y + m * dx + n * dy <= rows and x - n * dy >= 0
                        )
                        if every and fits:
                            yield (x, y, m * dx, n * dy), [inner], weight, True


def haar_response(gray, rects, weights, tilted):
    """Weighted sum of the boxes, every product and sum rounded to float32."""
    total = np.float32(0)
    for box, weight in zip(rects, weights, strict=True):
        total = np.float32(total + np.float32(weight * np.float32(rect_sum(gray, box, tilted))))
    return total


def haar_contrast(gray, rects, weights, tilted):
    """Mean of the dark pixels minus mean of the light ones."""
    sign = {pixel: -1 for pixel in pixels_of(rects[0], tilted)}
    for box, weight in zip(rects[1:], weights[1:], strict=True):
        sign |= {pixel: 1 for pixel in pixels_of(box, tilted) if weight != 0}
    dark = [int(gray[y, x]) for (x, y), s in sign.items() if s > 0]
    light = [int(gray[y, x]) for (x, y), s in sign.items() if s < 0]
    return sum(dark) / len(dark) - sum(light) / len(light)


def window_norm(window):
    """1 / (area * standard deviation) of a window without its outermost pixels; 0 if flat."""
    inner = window[1:-1, 1:-1].astype(np.int64)
    spread = inner.size * int((inner**2).sum()) - int(inner.sum()) ** 2
    return np.float32(1 / np.sqrt(spread)) if spread > 0 else np.float32(0)


def lbp_code(gray, block):
    x, y, w, h = (int(v) for v in block)
    cell = {
        (i, j): int(gray[y + j * h : y + j * h + h, x + i * w : x + i * w + w].sum(dtype=np.int64))
        for i in range(3)
        for j in range(3)
    }
    around = [(0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    return sum((cell[place] >= cell[1, 1]) << (7 - bit) for bit, place in enumerate(around))


# --------------------------------------------------------------------------- resize


def resize_tap(d, source, target):
    """(pixel, pixel, weight of the second in 1/256) for pixel ``d`` of the target."""
    p = (1.0 / (target / source)) * (d + 0.5) - 0.5
    i = math.floor(p)
    if i < 0 or source == 1:
        return 0, 0, 0
    if i >= source - 1:
        return source - 1, source - 1, 0
    return i, i + 1, round((p - i) * 256)


def resize_bilinear(gray, rows, cols):
    out = np.empty((rows, cols), np.uint8)
    for y in range(rows):
        top, bottom, b = resize_tap(y, gray.shape[0], rows)
        for x in range(cols):
            left, right, a = resize_tap(x, gray.shape[1], cols)
            upper = (256 - a) * int(gray[top, left]) + a * int(gray[top, right])
            lower = (256 - a) * int(gray[bottom, left]) + a * int(gray[bottom, right])
            out[y, x] = ((256 - b) * upper + b * lower + 2**15) >> 16
    return out


# --------------------------------------------------------------------------- training


def gain(left_w, left_g, right_w, right_g, absolute):
    """Gain of a split from the weights and gradients on its two sides."""
    if absolute:
        return abs(left_g) + abs(right_g)
    if left_w == 0 or right_w == 0:
        return -1.0
    return left_g**2 / left_w + right_g**2 / right_w


def best_cut(bins, weight, gradient, absolute):
    """(gain, cut) over all cuts of one feature: samples of bin <= cut go left."""
    best = (-1.0, 0)
    for cut in range(256):
        left = [k for k in range(len(bins)) if bins[k] <= cut]
        right = [k for k in range(len(bins)) if bins[k] > cut]
        sums = [sum(int(a[k]) for k in side) for side in (left, right) for a in (weight, gradient)]
        value = gain(*sums, absolute)
        if value > best[0]:
            best = (value, cut)
    return best


def best_subset_gain(codes, weight, gradient):
    """Best gain over every subset of the codes that occur (there must be few)."""
    seen = sorted(set(codes))
    best = -1.0
    for mask in range(2 ** len(seen)):
        chosen = {code for k, code in enumerate(seen) if mask >> k & 1}
        sums = [0, 0, 0, 0]
        for k, code in enumerate(codes):
            side = 0 if code in chosen else 2
            sums[side] += int(weight[k])
            sums[side + 1] += int(gradient[k])
        best = max(best, gain(*sums, False))
    return best


# --------------------------------------------------------------------------- cascade


def tree_leaf(cascade, tree, pixels, norm):
    """Index of the leaf that a window reaches in a tree."""
    first, node = int(cascade.tree_first[tree]), 0
    while True:
        n = first + node
        f = cascade.node_feature[n]
        if cascade.feature_type == "LBP":
            code = lbp_code(pixels, cascade.rects[f, 0])
            left = int(cascade.node_subset[n, code // 32]) >> (code % 32) & 1
        else:
            parts = cascade.rects[f], cascade.weights[f], bool(cascade.tilted[f])
            left = np.float32(haar_response(pixels, *parts) * norm) < cascade.node_threshold[n]
        node = int(cascade.node_left[n] if left else cascade.node_right[n])
        if node <= 0:
            return first + tree - node


def stage_sums(cascade, pixels):
    """Sum of every stage for a window of pixels; None if it has too little contrast."""
    norm = np.float32(1)
    if cascade.feature_type == "HAAR":
        norm = window_norm(pixels)
        area = (pixels.shape[0] - 2) * (pixels.shape[1] - 2)
        if norm == 0 or not area * float(norm) < 0.1:
            return None
    sums = []
    for stage in range(cascade.n_stages):
        total = 0.0
        for tree in range(cascade.stage_first[stage], cascade.stage_first[stage + 1]):
            total += float(cascade.leaf[tree_leaf(cascade, tree, pixels, norm)])
        sums.append(total)
    return sums


def stages_passed(cascade, pixels):
    sums = stage_sums(cascade, pixels)
    if sums is None:
        return -1
    failed = [total < limit for total, limit in zip(sums, cascade.stage_limit, strict=True)]
    return (*failed, True).index(True)


# --------------------------------------------------------------------------- grouping


def similar(a, b, eps):
    d = eps * (min(a[2], b[2]) + min(a[3], b[3])) * 0.5
    corners = [(r[0], r[1], r[0] + r[2], r[1] + r[3]) for r in (a, b)]
    return all(abs(p - q) <= d for p, q in zip(*corners, strict=True))


def group_classes(rects, eps):
    """Class of each rectangle, numbered by first members: pairs joined until nothing changes."""
    label = list(range(len(rects)))
    for i, a in enumerate(rects):
        for j, b in enumerate(rects):
            if i != j and label[i] != label[j] and similar(a, b, eps):
                old, new = max(label[i], label[j]), min(label[i], label[j])
                label = [new if k == old else k for k in label]
    order = list(dict.fromkeys(label))
    return [order.index(k) for k in label]


def group_rectangles(rects, threshold, eps, levels, weights):
    """Rectangles, counts, levels and weights as OpenCV's groupRectangles leaves them."""
    rects = [[int(v) for v in r] for r in rects]
    if threshold <= 0:
        return rects, [1] * len(rects), list(levels), list(weights)
    label = group_classes(rects, eps)
    merged = []
    for k in range(len(set(label))):
        members = [i for i, own in enumerate(label) if own == k]
        share = np.float32(1) / np.float32(len(members))
        total = np.array([rects[i] for i in members]).sum(axis=0)
        box = [int(np.rint(np.float32(v) * share)) for v in total]
        level, weight = 0, np.finfo(np.float64).tiny
        for i in members:
            if levels[i] > level:
                level, weight = levels[i], weights[i]
            elif levels[i] == level and weights[i] > weight:
                weight = weights[i]
        if len(members) > threshold:
            merged.append((box, len(members), level, weight))

    def inside(few, many):
        (x1, y1, w1, h1), (x2, y2, w2, h2) = few[0], many[0]
        dx, dy = np.rint(w2 * eps), np.rint(h2 * eps)
        within = x1 >= x2 - dx and y1 >= y2 - dy
        within = within and x1 + w1 <= x2 + w2 + dx and y1 + h1 <= y2 + h2 + dy
        return within and (many[1] > max(3, few[1]) or few[1] < 3)

    kept = [a for a in merged if not any(inside(a, b) for b in merged if b is not a)]
    return [list(column) for column in zip(*kept, strict=True)] or [[], [], [], []]


def nms(boxes, score, limit):
    """Indices kept: the best one left, then again without all that overlap it."""
    left, keep = sorted(range(len(boxes)), key=lambda i: (-score[i], i)), []
    while left:
        best, *left = left
        keep.append(best)
        left = [i for i in left if not iou(boxes[best], boxes[i]) > limit]
    return keep


def iou(a, b):
    """In float32, as the kernel computes it."""
    a, b = np.float32(a), np.float32(b)
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return float(w * h / (areas - w * h))


# --------------------------------------------------------------------------- correlation


def beyond(i, side, boundary):
    """The pixel that stands at place ``i`` of a line of ``side`` pixels, None for the constant."""
    line = list(range(side))
    if 0 <= i < side:
        return i
    if boundary == "constant":
        return None
    if boundary == "nearest":
        return 0 if i < 0 else side - 1
    # The others repeat a pattern for ever.
    pattern = {"reflect": line + line[::-1], "mirror": line + line[1:-1][::-1], "wrap": line}
    return pattern[boundary][i % len(pattern[boundary])]


def correlate(image, kernel, boundary, cval, rows, cols, top, left):
    """``rows`` by ``cols`` sums; the kernel starts ``top`` and ``left`` outside of the image."""
    out = np.zeros((rows, cols))
    for y in range(rows):
        for x in range(cols):
            for i in range(kernel.shape[0]):
                for j in range(kernel.shape[1]):
                    r = beyond(y + i - top, image.shape[0], boundary)
                    c = beyond(x + j - left, image.shape[1], boundary)
                    pixel = cval if r is None or c is None else float(image[r, c])
                    out[y, x] += kernel[i, j] * pixel
    return out


def match_template(image, template, method):
    """The formulas of cv2.matchTemplate in float64, window by window."""
    rows, cols = template.shape
    out = np.zeros((image.shape[0] - rows + 1, image.shape[1] - cols + 1))
    t = template.astype(np.float64)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            w = image[y : y + rows, x : x + cols].astype(np.float64)
            a, b = (w - w.mean(), t - t.mean()) if method.startswith("ccoeff") else (w, t)
            value = ((a - b) ** 2).sum() if method.startswith("sqdiff") else (a * b).sum()
            if method.endswith("normed"):
                norm = math.sqrt((a**2).sum() * (b**2).sum())
                if norm > 1e-6:
                    value = min(value / norm, 1)
                else:
                    value = 1 if method.startswith("sqdiff") and value > 0 else 0
            out[y, x] = value
    return out


# --------------------------------------------------------------------------- convolution


def conv2d(x, weights, bias, stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1), groups=1):
    """Correlation of (N, C, H, W) with (K, C / groups, kh, kw); padding t, l, b, r."""
    top, left, bottom, right = padding
    x = np.pad(np.float64(x), ((0, 0), (0, 0), (top, bottom), (left, right)))
    count, _, high, wide = x.shape
    outputs, per_group, kh, kw = weights.shape
    rows = (high - (kh - 1) * dilation[0] - 1) // stride[0] + 1
    cols = (wide - (kw - 1) * dilation[1] - 1) // stride[1] + 1
    out = np.zeros((count, outputs, rows, cols))
    for n, k, i, j in np.ndindex(out.shape):
        first = k // (outputs // groups) * per_group
        out[n, k, i, j] = bias[k]
        for c, u, v in np.ndindex(per_group, kh, kw):
            y, z = i * stride[0] + u * dilation[0], j * stride[1] + v * dilation[1]
            out[n, k, i, j] += x[n, first + c, y, z] * weights[k, c, u, v]
    return out


def conv_transpose2d(
    x, weights, bias, stride=(1, 1), padding=(0, 0), output_padding=(0, 0), dilation=(1, 1),
    groups=1,
):  # fmt: skip
    """Every pixel paints the (C, K / groups, kh, kw) kernel onto the output, scaled."""
    count, channels, high, wide = x.shape
    _, per_group, kh, kw = weights.shape
    rows = (high - 1) * stride[0] + (kh - 1) * dilation[0] + 1 + output_padding[0]
    cols = (wide - 1) * stride[1] + (kw - 1) * dilation[1] + 1 + output_padding[1]
    out = np.zeros((count, per_group * groups, rows, cols))
    for n, c, i, j in np.ndindex(x.shape):
        first = c // (channels // groups) * per_group
        for k, u, v in np.ndindex(per_group, kh, kw):
            at = i * stride[0] + u * dilation[0], j * stride[1] + v * dilation[1]
            out[n, first + k, at[0], at[1]] += float(x[n, c, i, j]) * weights[c, k, u, v]
    out = out[:, :, padding[0] : rows - padding[0], padding[1] : cols - padding[1]]
    return out + np.float64(bias)[:, None, None]


# --------------------------------------------------------------------------- training frames


def warp_into(image, back, left, top, right, bottom, out):
    """Blend an image (h, w, 4) with its opacity over a copy of `out`, bilinear, in floats."""
    out = np.float64(out)
    h, w, _ = image.shape
    for y in range(top, bottom):
        for x in range(left, right):
            u = back[0] * (x + 0.5) + back[1] * (y + 0.5) + back[2]
            v = back[3] * (x + 0.5) + back[4] * (y + 0.5) + back[5]
            if not (0 <= u < w and 0 <= v < h):
                continue
            i, j = math.floor(v - 0.5), math.floor(u - 0.5)
            wy, wx = math.floor((v - 0.5 - i) * 256) / 256, math.floor((u - 0.5 - j) * 256) / 256
            pixel = np.zeros(4)
            for di, si in ((0, 1 - wy), (1, wy)):
                for dj, sj in ((0, 1 - wx), (1, wx)):
                    row, col = min(max(i + di, 0), h - 1), min(max(j + dj, 0), w - 1)
                    pixel += si * sj * image[row, col]
            share = round(pixel[3]) / 255
            out[y, x] += (pixel[:3] - out[y, x]) * share
    return out


def look_up(pixels, table):
    """Every pixel's channels through their rows of a table."""
    return np.stack([table[c][pixels[..., c]] for c in range(3)], axis=-1)
