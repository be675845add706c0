"""Comparing and merging boxes: IoU, non-maximum suppression, OpenCV's rectangle grouping."""

from numba import float32, void

from vj.kernels.jit import device, kernel, ro, rw


@device
def _iou(a, i, b, j):
    width = min(a[i, 2], b[j, 2]) - max(a[i, 0], b[j, 0])
    height = min(a[i, 3], b[j, 3]) - max(a[i, 1], b[j, 1])
    if width <= 0 or height <= 0:
        return float32(0)
    inter = width * height
    area_a = (a[i, 2] - a[i, 0]) * (a[i, 3] - a[i, 1])
    area_b = (b[j, 2] - b[j, 0]) * (b[j, 3] - b[j, 1])
    return inter / (area_a + area_b - inter)


@kernel(void(ro(float32, 2), ro(float32, 2), rw(float32, 2)))
def iou_matrix(a, b, out):
    """Intersection over union of every pair. a (n, 4), b (m, 4) xyxy; out (n, m)."""
    for i in range(a.shape[0]):
        for j in range(b.shape[0]):
            out[i, j] = _iou(a, i, b, j)
