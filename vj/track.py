"""Identities over the frames of a video: constant velocity, overlap, the best assignment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from vj.boxes import iou
from vj.detections import Detections
from vj.errors import ParameterError

Box = NDArray[np.float64]  # (4,) centre x, centre y, width, height

# Gains of the filter behind the predicted box (alpha-beta filter): a detection counts for most of
# the position, and for little of the speed, which jitter would upset.
_ALPHA, _BETA = 0.7, 0.3
_DAMPING = 0.9  # of the speed, in each frame in which the face was looked for and not found


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
        seen = centred(found.xyxy[0])
        self.speed[:2] += _BETA / max(1, self.age) * (seen - self.state)[:2]
        self.state += _ALPHA * (seen - self.state)
        self.last, self.age, self.missed = found, 0, 0

    def miss(self) -> None:
        """The face was searched in this frame and not found: it may have turned or stopped."""
        self.speed *= _DAMPING
        self.missed += 1

    def held(self) -> Detections:
        """The last hit, moved to where the face is believed to be; no window was merged for it."""
        return moved(self.last, corners(self.state))


class Tracker:
    """Give the detections of frame after frame the identities of the faces behind them.

    Each track moves with constant velocity. A frame's detections go to the tracks so that as many
    as possible go on, and then the sum of the overlaps (IoU) of predicted and detected boxes is
    largest; what is left over starts tracks of its own. The result depends on nothing but the
    detections.

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
        return joined(parts)

    def _reported(self, track: _Track, searched: bool) -> bool:
        return track.age <= self.hold or (not searched and track.missed == 0)

    def _assign(self, found: Detections) -> list[_Track]:
        """The track of each detection, corrected by it or new."""
        owner: dict[int, _Track] = {}
        if self._tracks and len(found):
            from scipy.optimize import linear_sum_assignment

            there = np.array([corners(t.state) for t in self._tracks], np.float32)
            overlap = iou(there, found.xyxy)
            gain = np.where(overlap < self.min_iou, 0.0, 10.0 + overlap)  # a pair beats any overlap
            rows, columns = linear_sum_assignment(gain, maximize=True)
            pairs = zip(rows.tolist(), columns.tolist(), strict=True)
            owner = {j: self._tracks[i] for i, j in pairs if gain[i, j] > 0}
        for j in range(len(found)):
            if j in owner:
                owner[j].correct(found[j])
            else:
                state = centred(found.xyxy[j])
                owner[j] = _Track(self._next, state, np.zeros(4), found[j])
                self._tracks.append(owner[j])
                self._next += 1
        return [owner[j] for j in range(len(found))]


# --------------------------------------------------------------------------- boxes of one row


def centred(xyxy: NDArray[np.float32]) -> Box:
    """A box (4,) as centre x, centre y, width, height."""
    x1, y1, x2, y2 = xyxy.astype(float)
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])


def corners(state: Box) -> NDArray[np.float32]:
    """The inverse of `centred`."""
    x, y, w, h = state
    return np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2], np.float32)


def moved(row: Detections, box: NDArray[np.floating]) -> Detections:
    """A detection at another place: landmarks move along; no window was merged for it."""
    points = row.landmarks
    if points is not None:
        old, new = centred(row.xyxy[0]), centred(box)
        scale = np.divide(new[2:], old[2:], out=np.ones(2), where=old[2:] > 0)
        points = ((points - old[:2]) * scale + new[:2]).astype(np.float32)
    counted = None if row.neighbors is None else np.zeros(1, np.int32)
    xyxy = np.asarray(box, np.float32)[None]
    return replace(row, xyxy=xyxy, landmarks=points, neighbors=counted)


def joined(parts: Sequence[Detections]) -> Detections:
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
