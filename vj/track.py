"""Identities over the frames of a video: constant velocity, overlap, the best assignment."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vj.boxes import iou
from vj.detections import Detections
from vj.errors import ParameterError

T = TypeVar("T")
Box = NDArray[np.float64]  # (4,) centre x, centre y, width, height

# Gains of the filter behind the predicted box (alpha-beta filter): a detection counts for most of
# the position, and for little of the speed, which jitter would upset.
_ALPHA, _BETA = 0.7, 0.3
_DAMPING = 0.9  # of the speed, in each frame in which the face was looked for and not found
_RUN_UP = 3  # frames after a first hit that tell the speed before it


@dataclass
class _Track:
    """One face."""

    identity: int
    state: Box
    speed: Box
    last: Detections  # of the last hit, one row
    age: int = 0  # frames since the last hit
    missed: int = 0  # of them those that were searched

    def predict(self) -> None:
        """Go on to the next frame."""
        self.state[:2] += self.speed[:2]
        self.age += 1

    def correct(self, found: Detections) -> None:
        """Take in the detection, one row, that this frame has of the face."""
        seen = _centred(found.xyxy[0])
        self.speed[:2] += _BETA / max(1, self.age) * (seen - self.state)[:2]
        self.state += _ALPHA * (seen - self.state)
        self.last, self.age, self.missed = found, 0, 0

    def miss(self) -> None:
        """The face was searched in this frame and not found: it may have turned or stopped."""
        self.speed *= _DAMPING
        self.missed += 1

    def held(self) -> Detections:
        """The last hit, moved to where the face is believed to be; no window was merged for it."""
        return _moved(self.last, _corners(self.state))


class Tracker:
    """Give the detections of frame after frame the identities of the faces behind them.

    Each track moves with constant velocity. A frame's detections go to the tracks so that as many
    as possible go on, and then the sum of the overlaps (IoU) of predicted and detected boxes is
    largest; what is left over starts tracks of its own. The result depends on nothing but the detections.

    Parameters
    ----------
    min_iou : float
        Overlap below which a detection is no continuation of a track.
    max_gap : int
        Frames after its last hit for which a track can be taken up again.
    hold : int
        Frames after its last hit for which a track is still reported, at the predicted place.

    Attributes
    ----------
    hits : (n,) bool
        Which of the boxes reported last were detected in that frame; the others are held.

    Raises
    ------
    ParameterError
        ``min_iou`` is not above 0 and below 1, or a number of frames is negative.

    References
    ----------
    Bewley et al., Simple online and realtime tracking, ICIP 2016. doi:10.1109/ICIP.2016.7533003

    Examples
    --------
    >>> import numpy as np
    >>> from vj import Detections, Tracker
    >>> tracker = Tracker()
    >>> for x in (10, 13, 16):
    ...     box = np.array([[x, 5, x + 20, 25]], np.float32)
    ...     tracked = tracker.update(Detections(box, np.ones(1, np.float32)))
    >>> tracked.track_id.tolist()
    [1]
    """

    def __init__(self, *, min_iou: float = 0.15, max_gap: int = 15, hold: int = 0) -> None:
        if not 0 < min_iou < 1:
            raise ParameterError(f"`min_iou` must lie between 0 and 1, got {min_iou}")
        for name, value in (("max_gap", max_gap), ("hold", hold)):
            if value < 0:
                raise ParameterError(f"`{name}` must not be negative, got {value}")
        self.min_iou, self.hold = min_iou, hold
        self.max_gap = max(max_gap, hold)
        self.hits: NDArray[np.bool_] = np.zeros(0, bool)
        self._tracks: list[_Track] = []
        self._next = 1

    def update(self, detections: Detections | None) -> Detections:
        """Take in the next frame.

        Parameters
        ----------
        detections : Detections or None
            What was found in it; None for a frame that was not searched.

        Returns
        -------
        Detections
            The given ones, in their order, with a ``track_id``; then the tracks that are held
            (`hold`, and all that were there when the last searched frame was). A held box has the
            score of its last hit, and 0 neighbours where the detector counts them.
        """
        for track in self._tracks:
            track.predict()
        found = Detections.empty() if detections is None else detections
        owners = self._assign(found)
        held = [t for t in self._tracks if t.age and self._reported(t, detections is not None)]
        if detections is not None:
            for track in self._tracks:
                if track.age:
                    track.miss()
        self._tracks = [t for t in self._tracks if t.age <= self.max_gap]
        parts = [replace(found, track_id=np.array([t.identity for t in owners], np.int32))]
        parts += [replace(t.held(), track_id=np.array([t.identity], np.int32)) for t in held]
        self.hits = np.arange(len(found) + len(held)) < len(found)
        return _joined(parts)

    def _reported(self, track: _Track, searched: bool) -> bool:
        return track.age <= self.hold or (not searched and track.missed == 0)

    def _assign(self, found: Detections) -> list[_Track]:
        """The track of each detection, corrected by it or new."""
        owner: dict[int, _Track] = {}
        if self._tracks and len(found):
            from scipy.optimize import linear_sum_assignment

            there = np.array([_corners(t.state) for t in self._tracks], np.float32)
            overlap = iou(there, found.xyxy)
            gain = np.where(overlap < self.min_iou, 0.0, 10.0 + overlap)  # a pair beats any overlap
            rows, columns = linear_sum_assignment(gain, maximize=True)
            pairs = zip(rows.tolist(), columns.tolist(), strict=True)
            owner = {j: self._tracks[i] for i, j in pairs if gain[i, j] > 0}
        for j in range(len(found)):
            if j in owner:
                owner[j].correct(found[j])
            else:
                state = _centred(found.xyxy[j])
                owner[j] = _Track(self._next, state, np.zeros(4), found[j])
                self._tracks.append(owner[j])
                self._next += 1
        return [owner[j] for j in range(len(found))]


def track_ahead(
    tracker: Tracker, frames: Iterable[tuple[T, Detections | None]], ahead: int
) -> Iterator[tuple[T, Detections]]:
    """Track with the next frames in view: no gaps, and a face is there before its first hit.

    Where a track is found again, its boxes in between lie on the line between the hits; before its
    first hit it is reported for ``ahead`` frames, moving as it does afterwards.

    Parameters
    ----------
    tracker : Tracker
        Its ``hold`` says for how long a track is reported after its last hit.
    frames : iterable of (anything, Detections or None)
        What comes with the detections is handed through; None is for a frame not searched.
    ahead : int
        At most this many frames, and a few more, are held back; 0 for a live picture.

    Yields
    ------
    (anything, Detections)
        With a ``track_id``; in the order of the frames.
    """
    window: deque[tuple[T, Detections, NDArray[np.bool_]]] = deque()
    hits: dict[int, tuple[int, Detections]] = {}  # last hit of each track before the window's end
    depth = ahead + _RUN_UP if ahead else 0
    index = 0

    def oldest() -> tuple[T, Detections]:
        nonlocal index
        thing, found, hit = window.popleft()
        for row in np.flatnonzero(hit).tolist():
            hits[_identity(found, row)] = (index, found[row])
        if window:
            found = _completed(found, hit, [(d, h) for _, d, h in window], hits, index, ahead)
        forgotten = index - tracker.max_gap - depth
        for identity in [i for i, (when, _) in hits.items() if when < forgotten]:
            del hits[identity]
        index += 1
        return thing, found

    for thing, found in frames:
        tracked = tracker.update(found)
        window.append((thing, tracked, tracker.hits))
        if len(window) > depth:
            yield oldest()
    while window:
        yield oldest()


def smooth(frames: Sequence[Detections], width: float = 2.0) -> list[Detections]:
    """Boxes without jitter: each track by a line fitted around every frame.

    It looks as far ahead as back, so that nothing lags behind the picture.

    Parameters
    ----------
    frames : sequence of Detections
        All frames of a video, with ``track_id``; boxes without one stay as they are.
    width : float
        Standard deviation, in frames, of the weights of the neighbours.

    Returns
    -------
    list of Detections
        The same boxes in the same order, moved.

    Raises
    ------
    ParameterError
        ``width`` is not positive.
    """
    if not 0 < width < np.inf:
        raise ParameterError(f"`width` must be a positive number of frames, got {width}")
    places: dict[int, list[tuple[int, int]]] = {}
    for t, found in enumerate(frames):
        if found.track_id is not None:
            for row, identity in enumerate(found.track_id.tolist()):
                places.setdefault(identity, []).append((t, row))
    out = [found.xyxy.copy() for found in frames]
    for track in places.values():
        times = np.array([t for t, _ in track], float)
        states = np.array([_centred(frames[t].xyxy[row]) for t, row in track])
        for (t, row), state in zip(track, _fitted(times, states, width), strict=True):
            out[t][row] = _corners(state)
    return [replace(found, xyxy=xyxy) for found, xyxy in zip(frames, out, strict=True)]


# --------------------------------------------------------------------------- parts


def _completed(
    found: Detections,
    hit: NDArray[np.bool_],
    later: list[tuple[Detections, NDArray[np.bool_]]],
    hits: dict[int, tuple[int, Detections]],
    index: int,
    ahead: int,
) -> Detections:
    """A frame's detections with what is known of its tracks from later ones."""
    if found.track_id is None:
        return found
    next_hits: dict[int, list[tuple[int, Detections]]] = {}
    for step, (there, seen) in enumerate(later, 1):
        for row in np.flatnonzero(seen).tolist():
            next_hits.setdefault(_identity(there, row), []).append((step, there[row]))
    detected = set(found.track_id[hit].tolist())
    held = set(found.track_id[~hit].tolist())
    kept = [row for row, i in enumerate(found.track_id.tolist()) if i in detected]
    parts = [found[kept]]
    for row in np.flatnonzero(~hit).tolist():
        if _identity(found, row) not in next_hits:
            parts.append(found[row])
    for identity, seen_later in sorted(next_hits.items()):
        step, row_there = seen_later[0]
        if identity in detected or (identity not in held and step > ahead):
            continue
        if identity in hits:
            when, before = hits[identity]
            share = (index - when) / (index - when + step)
            box = before.xyxy[0] + share * (row_there.xyxy[0] - before.xyxy[0])
        else:
            last_step, last = seen_later[:_RUN_UP][-1]
            shift = (_centred(last.xyxy[0]) - _centred(row_there.xyxy[0]))[:2]
            speed = shift / max(1, last_step - step)
            box = row_there.xyxy[0] - step * np.concatenate([speed, speed])
        parts.append(_moved(row_there, box))
    return _joined(parts)


def _identity(found: Detections, row: int) -> int:
    assert found.track_id is not None
    return int(found.track_id[row])


def _fitted(times: NDArray[np.float64], states: Box, width: float) -> Box:
    """Local straight lines through ``states`` (n, 4), each evaluated at its own time."""
    out = np.empty_like(states)
    reach = 3 * width
    for i, time in enumerate(times):
        low, high = np.searchsorted(times, (time - reach, time + reach + 0.5))
        dt = times[low:high] - time
        weight = np.exp(-0.5 * (dt / width) ** 2)
        s0, s1, s2 = (float((weight * dt**k).sum()) for k in range(3))
        y0, y1 = weight @ states[low:high], (weight * dt) @ states[low:high]
        spread = s0 * s2 - s1 * s1
        out[i] = (s2 * y0 - s1 * y1) / spread if spread > 1e-9 else states[i]
        out[i, 2:] = y0[2:] / s0  # sizes do not run away at the ends
    return out


def _centred(xyxy: NDArray[np.float32]) -> Box:
    x1, y1, x2, y2 = xyxy.astype(float)
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])


def _corners(state: Box) -> NDArray[np.float32]:
    x, y, w, h = state
    return np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2], np.float32)


def _moved(row: Detections, box: NDArray[np.floating]) -> Detections:
    """A detection at another place: landmarks move along; no window was merged for it."""
    points = row.landmarks
    if points is not None:
        old, new = _centred(row.xyxy[0]), _centred(box)
        scale = np.divide(new[2:], old[2:], out=np.ones(2), where=old[2:] > 0)
        points = ((points - old[:2]) * scale + new[:2]).astype(np.float32)
    counted = None if row.neighbors is None else np.zeros(1, np.int32)
    xyxy = np.asarray(box, np.float32)[None]
    return replace(row, xyxy=xyxy, landmarks=points, neighbors=counted)


def _joined(parts: Sequence[Detections]) -> Detections:
    """One after the other, with the fields that all of them have."""
    parts = [part for part in parts if len(part)] or [parts[0]]
    if len(parts) == 1:
        return parts[0]
    names = [f.name for f in fields(Detections)]
    columns = {name: [getattr(part, name) for part in parts] for name in names}
    return Detections(
        **{
            name: np.concatenate(column)
            for name, column in columns.items()
            if all(array is not None for array in column)
        }
    )
