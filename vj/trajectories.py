"""Tracks seen as a whole: gaps bridged, faces covered before their first hit, jitter taken out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vj.detections import Detections
from vj.errors import ParameterError
from vj.track import Box, Tracker, centred, corners, joined, moved

T = TypeVar("T")

_RUN_UP = 3  # frames after a first hit that tell the speed before it


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
        states = np.array([centred(frames[t].xyxy[row]) for t, row in track])
        for (t, row), state in zip(track, _fitted(times, states, width), strict=True):
            out[t][row] = corners(state)
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
            shift = (centred(last.xyxy[0]) - centred(row_there.xyxy[0]))[:2]
            speed = shift / max(1, last_step - step)
            box = row_there.xyxy[0] - step * np.concatenate([speed, speed])
        parts.append(moved(row_there, box))
    return joined(parts)


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
