"""What cells learn: encoding against the decoder, assignment against plain loops."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nets.detectors.training.assign import (
    BACKGROUND,
    IGNORED,
    UP_TO,
    Assignment,
    assign_by_cost,
    assign_by_size,
    targets,
)
from nets.detectors.training.encode import (
    STRIDES,
    centres,
    decode_boxes,
    decode_points,
    encode_boxes,
    encode_points,
    grid,
)
from nets.detectors.yunet import YuNetDetector
from vj.errors import ParameterError

NONE = np.empty((0, 4), np.float32)


def some_boxes(rng, count, size):
    """Boxes of all sizes, corners at quarters so that comparisons of edges are exact."""
    side = np.exp(rng.uniform(np.log(6), np.log(size), (count, 1))) * rng.uniform(0.8, 1.25, (1, 2))
    low = rng.uniform(-0.3, 0.9, (count, 2)) * size
    boxes = np.clip(np.concatenate([low, low + side], 1), 0, size)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 6)
    return (np.rint(boxes * 4) / 4).astype(np.float32)


# --------------------------------------------------------------------------- encoding


def test_the_grid_lists_stride_after_stride_row_after_row():
    cells = grid(64, 96)
    assert len(cells) == 8 * 12 + 4 * 6 + 2 * 3
    assert cells[:13:12].tolist() == [[0, 0, 8], [0, 1, 8]]
    assert cells[96].tolist() == [0, 0, 16]
    assert cells[-1].tolist() == [2, 1, 32]
    assert centres(cells)[-1].tolist() == [80, 48]
    with pytest.raises(ParameterError, match="multiples of 32, got 64x100"):
        grid(64, 100)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_encoding_is_undone_by_decoding(seed):
    rng = np.random.default_rng(seed)
    cells = grid(96, 128)
    boxes = some_boxes(rng, len(cells), 128)
    points = rng.uniform(-20, 148, (len(cells), 5, 2)).astype(np.float32)
    assert np.allclose(decode_boxes(encode_boxes(boxes, cells), cells), boxes, atol=1e-3)
    assert np.allclose(decode_points(encode_points(points, cells), cells), points, atol=1e-3)


def test_the_detector_decodes_what_is_encoded():
    """YuNet's own decoder gives back the faces, from outputs in its layout."""
    rows, cols = 64, 96
    cells = grid(rows, cols)
    rng = np.random.default_rng(3)
    boxes = np.array([[10, 8, 30, 34], [40, 5, 90, 62], [3.5, 40, 12, 51]], np.float32)
    points = rng.uniform(0, 64, (3, 5, 2)).astype(np.float32)
    at = np.array([15, 130 - 8, 60])
    raw = {"cls": np.zeros((len(cells), 1)), "obj": np.ones((len(cells), 1)),
           "bbox": np.zeros((len(cells), 4)), "kps": np.zeros((len(cells), 10))}  # fmt: skip
    raw["cls"][at, 0] = [0.81, 0.64, 1.0]
    raw["bbox"][at] = encode_boxes(boxes, cells[at])
    raw["kps"][at] = encode_points(points, cells[at])
    outputs = {
        f"{kind}_{stride}": values[None, cells[:, 2] == stride].astype(np.float32)
        for kind, values in raw.items()
        for stride in STRIDES
    }
    port = SimpleNamespace(name="x")
    special = SimpleNamespace(specs={"x": SimpleNamespace(dims=(1, 3, rows, cols))})
    detector = SimpleNamespace(model=SimpleNamespace(inputs=[port]), score_threshold=0.5)
    found = YuNetDetector.decode(detector, SimpleNamespace(special=special), 0, outputs)
    order = np.argsort(at)
    assert np.allclose(found.xyxy, boxes[order], atol=1e-3)
    assert np.allclose(found.landmarks, points[order], atol=1e-3)
    assert np.allclose(found.score, np.array([0.9, 0.8, 1.0])[order], atol=1e-6)


def test_unknown_landmarks_stay_unknown():
    points = np.full((1, 5, 2), np.nan, np.float32)
    assert np.isnan(encode_points(points, grid(32, 32)[:1])).all()


# --------------------------------------------------------------------------- naive twins


def iou_of(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


def is_inside(point, box):
    return box[0] < point[0] < box[2] and box[1] < point[1] < box[3]


def middle(box):
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def is_near(point, box, reach):
    x, y = middle(box)
    return abs(point[0] - x) < reach and abs(point[1] - y) < reach


def leave_out(face, cells, at, ignore):
    for p in range(len(cells)):
        hit = any(is_inside(at[p], r) or is_near(at[p], r, cells[p][2] / 2) for r in ignore)
        if face[p] == BACKGROUND and hit:
            face[p] = IGNORED
    return face


def naive_by_size(cells, boxes, ignore, radius=1.5):
    at, face = centres(cells), [BACKGROUND] * len(cells)
    area = [(b[2] - b[0]) * (b[3] - b[1]) for b in boxes]
    for g in sorted(range(len(boxes)), key=lambda g: -area[g]):
        stride = next(s for s, limit in UP_TO.items() if math.sqrt(area[g]) <= limit)
        own = [p for p in range(len(cells)) if cells[p][2] == stride]
        x, y = middle(boxes[g])
        away = {p: max(abs(at[p][0] - x), abs(at[p][1] - y)) / stride for p in own}
        face[min(own, key=lambda p: away[p])] = g
        for p in own:
            if away[p] < radius and is_inside(at[p], boxes[g]):
                face[p] = g
    return leave_out(face, cells, at, ignore)


def naive_by_cost(cells, boxes, ignore, predicted, score, radius=2.5, most=10):
    at, face = centres(cells), [BACKGROUND] * len(cells)
    cost, wants = [{} for _ in boxes], [[] for _ in boxes]
    for g, box in enumerate(boxes):
        overlaps = []
        for p in range(len(cells)):
            inside, near = is_inside(at[p], box), is_near(at[p], box, radius * cells[p][2])
            if inside or near:
                overlap = iou_of(box, predicted[p])
                chance = min(max(score[p], 1e-6), 1)
                cost[g][p] = -math.log(chance) - 3 * math.log(overlap + 1e-8)
                cost[g][p] += 0 if inside and near else 1e5
                overlaps.append(overlap)
        k = max(int(sum(sorted(overlaps)[-most:])), 1)
        wants[g] = sorted(cost[g], key=lambda p: cost[g][p])[:k]
    for p in range(len(cells)):
        rivals = [g for g in range(len(boxes)) if p in wants[g]]
        if rivals:
            face[p] = min(rivals, key=lambda g: cost[g][p])
    for g in range(len(boxes)):
        if g not in face:
            for p in sorted(cost[g], key=lambda p: cost[g][p]):
                if face[p] == BACKGROUND or face.count(face[p]) > 1:
                    face[p] = g
                    break
    return leave_out(face, cells, at, ignore)


def scene(seed, size=96):
    """Cells, faces, regions to ignore, and predictions that are partly good."""
    rng = np.random.default_rng(seed)
    cells = grid(size, size)
    boxes, ignore = (
        some_boxes(rng, rng.integers(0, 9), size),
        some_boxes(rng, rng.integers(3), size),
    )
    predicted = some_boxes(rng, len(cells), size)
    if len(boxes):
        pick = rng.integers(len(boxes), size=len(cells))
        good = rng.random(len(cells)) < 0.5
        wobble = rng.normal(0, 3, (len(cells), 4))
        predicted[good] = (boxes[pick] + wobble)[good].astype(np.float32)
        predicted[:, 2:] = np.maximum(predicted[:, 2:], predicted[:, :2] + 1)
    return cells, boxes, ignore, predicted, rng.random(len(cells)).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_assignment_by_size_is_its_plain_twin(seed):
    cells, boxes, ignore, *_ = scene(seed)
    found = assign_by_size(cells, boxes, ignore)
    assert found.face.tolist() == naive_by_size(cells, boxes, ignore)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_assignment_by_cost_is_its_plain_twin(seed):
    cells, boxes, ignore, predicted, score = scene(seed)
    found = assign_by_cost(cells, boxes, ignore, predicted, score)
    expected = naive_by_cost(cells, boxes, ignore, predicted, score)
    assert found.face.tolist() == expected
    for p, g in enumerate(expected):
        overlap = iou_of(boxes[g], predicted[p]) if g >= 0 else 0
        assert found.overlap[p] == pytest.approx(overlap, abs=1e-5)


# --------------------------------------------------------------------------- properties


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_every_face_that_can_gets_a_cell_and_ignored_regions_no_negative(seed):
    cells, boxes, ignore, predicted, score = scene(seed, 128)
    at = centres(cells)
    by_size = assign_by_size(cells, boxes, ignore).face
    by_cost = assign_by_cost(cells, boxes, ignore, predicted, score).face
    held = np.bincount(by_cost[by_cost >= 0], minlength=len(boxes))
    for g, box in enumerate(boxes):
        if held[g] == 0:  # only where every cell it could have is the last one of another face
            near = np.array([is_inside(p, box) or is_near(p, box, 2.5 * s)
                             for p, s in zip(at, cells[:, 2], strict=True)])  # fmt: skip
            assert (by_cost[near] >= 0).all()
            assert (held[by_cost[near]] == 1).all()
    for face in (by_size, by_cost):
        for region in ignore:
            inside = ((at > region[:2]) & (at < region[2:])).all(1)
            assert (face[inside] != BACKGROUND).all()
        assert face.max(initial=-1) < len(boxes)


def test_faces_apart_all_get_their_cells():
    low = np.array([[x, y] for x in (10, 70, 130) for y in (10, 70, 130)], np.float32)
    boxes = np.concatenate([low, low + 24], 1)
    cells = grid(192, 192)
    rng = np.random.default_rng(0)
    predicted = some_boxes(rng, len(cells), 192)
    score = rng.random(len(cells)).astype(np.float32)
    for face in (assign_by_size(cells, boxes, NONE).face,
                 assign_by_cost(cells, boxes, NONE, predicted, score).face):  # fmt: skip
        assert set(range(9)) <= set(face.tolist())


def test_good_predictions_win_more_cells():
    cells = grid(128, 128)
    boxes = np.array([[32, 32, 96, 96]], np.float32)
    score = np.full(len(cells), 0.5, np.float32)
    poor = np.tile(np.array([[40, 40, 60, 60]], np.float32), (len(cells), 1))
    good = np.tile(boxes, (len(cells), 1))
    few = (assign_by_cost(cells, boxes, NONE, poor, score).face == 0).sum()
    many = (assign_by_cost(cells, boxes, NONE, good, score).face == 0).sum()
    assert (few, many) == (1, 10)


def test_without_faces_all_is_background_or_ignored():
    cells = grid(64, 64)
    score = np.zeros(len(cells), np.float32)
    predicted = np.zeros((len(cells), 4), np.float32)
    face = assign_by_cost(cells, NONE, NONE, predicted, score).face
    assert (face == BACKGROUND).all()
    region = np.array([[30, 30, 33, 33]], np.float32)  # no centre of a cell is in it
    face = assign_by_size(cells, NONE, region).face
    held = cells[face == IGNORED]
    assert held[:, 2].tolist() == [8, 16, 32]
    assert (held[:, :2] == [[3, 3], [1, 1], [0, 0]]).all()


def test_targets_of_a_batch():
    cells = grid(32, 32)
    first = np.full(len(cells), BACKGROUND, np.int32)
    second = first.copy()
    first[3], second[0], second[5], second[7] = IGNORED, 0, 1, 0
    overlap = np.linspace(0, 1, len(cells), dtype=np.float32)
    boxes = [NONE, np.array([[1, 2, 11, 14], [4, 4, 20, 24]], np.float32)]
    points = [np.empty((0, 5, 2), np.float32), np.full((2, 5, 2), np.nan, np.float32)]
    points[1][1] = 8
    made = targets(cells, [Assignment(first, overlap), Assignment(second, overlap)], boxes, points)
    assert made.image.tolist() == [1, 1, 1]
    assert made.cell.tolist() == [0, 5, 7]
    assert made.boxes.tolist() == [boxes[1][0].tolist(), boxes[1][1].tolist(), boxes[1][0].tolist()]
    assert np.allclose(decode_boxes(made.raw_boxes, cells[made.cell]), made.boxes, atol=1e-4)
    assert np.isnan(made.raw_points).all(1).tolist() == [True, False, True]
    assert made.overlap.tolist() == overlap[[0, 5, 7]].tolist()
    assert (~made.counted).sum() == 1
    assert not made.counted[0, 3]


def test_targets_where_no_image_has_a_face():
    cells = grid(32, 32)
    nothing = Assignment(
        np.full(len(cells), BACKGROUND, np.int32), np.zeros(len(cells), np.float32)
    )
    made = targets(cells, [nothing], [NONE], [np.empty((0, 5, 2), np.float32)])
    assert made.boxes.shape == (0, 4)
    assert made.raw_points.shape == (0, 10)
    assert made.counted.all()
