import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vj import Tracker
from vj.detections import Detections
from vj.errors import ParameterError


def found(*xyxy, **more):
    n = len(xyxy)
    return Detections(
        np.array(xyxy, np.float32).reshape(-1, 4),
        np.ones(n, np.float32),
        neighbors=np.full(n, 4, np.int32),
        **more,
    )


def face(t, x0=10.0, speed=4.0, y=20.0, side=30.0):
    x = x0 + speed * t
    return [x, y, x + side, y + side]


def boxes(stream):
    """track id -> {frame: box}"""
    out = {}
    for t, tracked in enumerate(stream):
        for identity, box in zip(tracked.track_id, tracked.xyxy, strict=True):
            out.setdefault(int(identity), {})[t] = box
    return out


# --------------------------------------------------------------------------- the tracker


def test_faces_keep_their_identity_whatever_the_order_of_detections():
    tracker, rng = Tracker(), np.random.default_rng(0)
    for t in range(40):
        truth = [face(t), face(t, 300, -4, 100), face(t, 50, 0, 200)]
        order = rng.permutation(3)
        tracked = tracker.update(found(*[truth[i] for i in order]))
        np.testing.assert_array_equal(tracked.xyxy, np.array(truth, np.float32)[order])
        if t == 0:
            name = dict(zip(order.tolist(), tracked.track_id.tolist(), strict=True))
        assert tracked.track_id.tolist() == [name[i] for i in order.tolist()]
    assert sorted(name.values()) == [1, 2, 3]


def test_the_best_assignment_and_not_the_nearest_first():
    tracker = Tracker(min_iou=0.05)
    first = tracker.update(found([0, 0, 20, 20], [12, 0, 32, 20])).track_id.tolist()
    # The second one overlaps the new left box more than the first one does, and is needed right.
    moved = tracker.update(found([8, 0, 28, 20], [26, 0, 46, 20]))
    assert moved.track_id.tolist() == first


def test_two_faces_that_cross_keep_their_identities():
    tracker = Tracker()
    seen = [tracker.update(found(face(t, 0, 6, 10), face(t, 240, -6, 22))) for t in range(40)]
    assert all(tracked.track_id.tolist() == [1, 2] for tracked in seen)


def test_a_short_gap_keeps_the_identity_and_a_long_one_does_not():
    for gap, same in ((5, True), (6, False)):
        tracker = Tracker(max_gap=5)
        for t in range(10):
            tracker.update(found(face(t)))
        for _ in range(gap):
            assert len(tracker.update(found())) == 0
        again = tracker.update(found(face(10 + gap)))
        assert (again.track_id.tolist() == [1]) is same


def test_hold_reports_the_predicted_box_after_the_last_hit():
    tracker = Tracker(hold=3)
    for t in range(30):
        tracker.update(found(face(t)))
    held = [tracker.update(found()) for _ in range(4)]
    assert [len(h) for h in held] == [1, 1, 1, 0]
    assert held[0].track_id.tolist() == [1]
    assert held[0].neighbors.tolist() == [0]
    assert held[0].score.tolist() == [1]
    np.testing.assert_allclose(held[0].xyxy[0], face(30), atol=1.5)
    assert list(tracker.hits) == []


def test_frames_that_are_not_searched_show_every_track_in_motion():
    tracker = Tracker()
    for t in range(31):
        tracked = tracker.update(found(face(t)) if t % 3 == 0 else None)
        assert tracked.track_id.tolist() == [1]
        assert tracker.hits.tolist() == [t % 3 == 0]
        if t > 15:
            np.testing.assert_allclose(tracked.xyxy[0], face(t), atol=1.5)


def test_a_lost_face_is_not_shown_in_frames_that_are_not_searched():
    tracker = Tracker()
    tracker.update(found(face(0)))
    assert len(tracker.update(found())) == 0
    assert len(tracker.update(None)) == 0


def test_landmarks_move_with_a_held_box():
    tracker = Tracker(hold=1)
    points = np.array([[[20, 30], [30, 40]]], np.float32)
    tracker.update(found(face(0), landmarks=points))
    held = tracker.update(found())
    np.testing.assert_allclose(held.landmarks, points, atol=1e-4)


@given(
    st.lists(
        st.lists(st.tuples(*[st.integers(0, 60)] * 2, *[st.integers(1, 40)] * 2), max_size=4),
        max_size=8,
    ),
    st.integers(0, 3),
)
def test_any_detections_come_back_with_unlike_identities(frames, hold):
    one, two = Tracker(hold=hold), Tracker(hold=hold)
    for rows in frames:
        given_boxes = found(*[[x, y, x + w, y + h] for x, y, w, h in rows])
        tracked, again = one.update(given_boxes), two.update(given_boxes)
        assert tracked.track_id.tolist() == again.track_id.tolist()
        np.testing.assert_array_equal(tracked.xyxy, again.xyxy)
        np.testing.assert_array_equal(tracked[one.hits].xyxy, given_boxes.xyxy)
        assert len(set(tracked.track_id.tolist())) == len(tracked)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"min_iou": 0}, "`min_iou` must lie between 0 and 1, got 0"),
        ({"max_gap": -1}, "`max_gap` must not be negative"),
        ({"hold": -2}, "`hold` must not be negative, got -2"),
    ],
)
def test_refuses(options, says):
    with pytest.raises(ParameterError, match=says):
        Tracker(**options)
