import numpy as np
import pytest

from vj import Tracker
from vj.detections import Detections
from vj.errors import ParameterError
from vj.trajectories import smooth, track_ahead


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


def ahead(frames, n, hold=None):
    tracker = Tracker(hold=n if hold is None else hold)
    pairs = list(track_ahead(tracker, enumerate(frames), n))
    assert [i for i, _ in pairs] == list(range(len(frames)))
    return [tracked for _, tracked in pairs]


def test_a_face_is_covered_before_its_first_hit_and_after_its_last_one():
    frames = [found(face(t)) if 10 <= t < 20 else found() for t in range(40)]
    seen = boxes(ahead(frames, 4))[1]
    assert list(seen) == list(range(6, 24))
    for t, box in seen.items():
        np.testing.assert_allclose(box, face(t), atol=0.01 if t < 20 else 4)


def test_a_gap_is_bridged_on_the_line_between_the_hits():
    frames = [found(face(t)) if t not in (12, 13, 14) else found() for t in range(25)]
    seen = boxes(ahead(frames, 3))[1]
    assert list(seen) == list(range(25))
    for t, box in seen.items():
        np.testing.assert_allclose(box, face(t), atol=1e-3)


def test_every_third_frame_searched_gives_every_frame_of_a_pan():
    frames = [found(face(t)) if t % 3 == 0 else None for t in range(31)]
    for t, tracked in enumerate(ahead(frames, 2)):
        np.testing.assert_allclose(tracked.xyxy[0], face(t), atol=1e-3)


def test_nothing_is_held_back_for_a_live_picture():
    fed = []

    def camera():
        for t in range(5):
            fed.append(t)
            yield t, found(face(t))

    for i, _ in track_ahead(Tracker(), camera(), 0):
        assert fed[-1] == i


def test_few_frames_are_held_back():
    fed = []

    def film():
        for t in range(200):
            fed.append(t)
            yield t, found(face(t))

    assert max(fed[-1] - i for i, _ in track_ahead(Tracker(hold=5), film(), 5)) <= 9


# --------------------------------------------------------------------------- smoothing


def test_smoothing_takes_out_jitter_and_does_not_lag():
    rng = np.random.default_rng(1)
    truth = np.array([face(t) for t in range(60)])
    noisy = [found(box + rng.normal(0, 2, 4), track_id=np.ones(1, np.int32)) for box in truth]
    before = np.abs(np.array([f.xyxy[0] for f in noisy]) - truth).mean()
    after = np.abs(np.array([f.xyxy[0] for f in smooth(noisy)]) - truth).mean()
    assert after < 0.6 * before


def test_smoothing_leaves_straight_motion_and_single_boxes():
    frames = [found(face(t), track_id=np.ones(1, np.int32)) for t in range(9)]
    frames += [found([5, 5, 9, 9]), found([5, 5, 9, 9], track_id=np.array([7], np.int32)), found()]
    for old, new in zip(frames, smooth(frames), strict=True):
        np.testing.assert_allclose(new.xyxy, old.xyxy, atol=1e-3)


def test_smoothing_refuses_a_width_of_zero():
    with pytest.raises(ParameterError, match="`width` must be a positive number"):
        smooth([], 0)
