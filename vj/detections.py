"""What a detector returns: a struct of arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vj.errors import ParameterError


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Boxes found in one image, best first; every array has length n.

    Attributes
    ----------
    xyxy : (n, 4) float32
        ``x1, y1, x2, y2`` in pixels of the image as displayed, lower-right exclusive.
    score : (n,) float32
        Margin of the detector's decision, uncalibrated: comparable within one detector only.
    confidence : (n,) float32 or None
        Probability that the box holds a face, 0 to 1: calibrated where the card of the detector has
        a calibration; of other networks the score, uncalibrated; of other cascades None.
    level : (n,) int32 or None
        Last cascade stage that the window reached.
    neighbors : (n,) int32 or None
        Number of windows merged into the box.
    landmarks : (n, k, 2) float32 or None
        ``x, y`` of the k points of each face.
    track_id : (n,) int32 or None
        Identity over the frames of a video.
    """

    xyxy: NDArray[np.float32]
    score: NDArray[np.float32]
    confidence: NDArray[np.float32] | None = None
    level: NDArray[np.int32] | None = None
    neighbors: NDArray[np.int32] | None = None
    landmarks: NDArray[np.float32] | None = None
    track_id: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        wanted = {"xyxy": (4,), "landmarks": (-1, 2)}
        for name, array in self._arrays():
            shape = wanted.get(name, ())
            if array.ndim != 1 + len(shape) or (shape and array.shape[-1] != shape[-1]):
                axes = ", ".join(["n", *("k" if side < 0 else str(side) for side in shape)])
                raise ParameterError(f"`{name}` must have shape ({axes}), got {array.shape}")
            if len(array) != len(self.xyxy):
                raise ParameterError(
                    f"`{name}` has {len(array)} entries for {len(self.xyxy)} boxes"
                )

    def _arrays(self) -> Iterator[tuple[str, NDArray[Any]]]:
        for field in fields(self):
            array = getattr(self, field.name)
            if array is not None:
                yield field.name, array

    @classmethod
    def empty(cls) -> Detections:
        """No boxes."""
        return cls(np.empty((0, 4), np.float32), np.empty(0, np.float32))

    def __len__(self) -> int:
        return len(self.xyxy)

    def __getitem__(self, index: int | slice | NDArray[Any] | list[int]) -> Detections:
        """The detections that a slice, a mask, an index or a list of indices picks."""
        if isinstance(index, (int, np.integer)):
            index = [int(index)]
        return Detections(**{name: array[index] for name, array in self._arrays()})

    def sorted(self) -> Detections:
        """Best score first; equal scores from the top down, then from the left."""
        return self[np.lexsort((self.xyxy[:, 0], self.xyxy[:, 1], -self.score))]

    @property
    def xywh(self) -> NDArray[np.float32]:
        """(n, 4) float32 ``x, y, w, h``."""
        return np.concatenate([self.xyxy[:, :2], self.xyxy[:, 2:] - self.xyxy[:, :2]], axis=1)

    def to_rows(self) -> list[dict[str, Any]]:
        """One plain dict a box, ready for JSON: the fields that the detector fills."""
        rows: list[dict[str, Any]] = [{} for _ in range(len(self))]
        for name, array in self._arrays():
            for row, value in zip(rows, _plain(array), strict=True):
                row[name] = value
        return rows

    @classmethod
    def from_rows(cls, rows: list[dict[str, Any]]) -> Detections:
        """The inverse of `to_rows`."""
        if not rows:
            return cls.empty()
        arrays: dict[str, NDArray[Any]] = {}
        try:
            for name in (field.name for field in fields(cls) if field.name in rows[0]):
                dtype = np.int32 if name in ("level", "neighbors", "track_id") else np.float32
                arrays[name] = np.array([row[name] for row in rows], dtype)
            return cls(**arrays)
        except (LookupError, TypeError, ValueError, OverflowError) as exc:
            raise ParameterError(f"`rows` is no list of detections: {exc}") from exc

    def to_coco(self, image_id: int, category_id: int = 1) -> list[dict[str, Any]]:
        """COCO result rows: ``bbox`` is ``x, y, w, h``; ``score`` the confidence if known."""
        score = self.score if self.confidence is None else self.confidence
        return [
            {"image_id": image_id, "category_id": category_id, "bbox": box, "score": value}
            for box, value in zip(_plain(self.xywh), _plain(score), strict=True)
        ]

    def to_supervision(self) -> Any:
        """As ``supervision.Detections`` (needs that package)."""
        import supervision

        data = {name: array for name, array in self._arrays() if name in ("score", "level")}
        return supervision.Detections(
            xyxy=self.xyxy,
            confidence=self.score if self.confidence is None else self.confidence,
            class_id=np.zeros(len(self), int),
            tracker_id=self.track_id,
            data=data,
        )


def _plain(array: NDArray[Any]) -> list[Any]:
    """Python numbers; float32 by its shortest decimal, so that no noise digits are written."""
    if array.dtype == np.float32:
        return [_shorten(row) for row in array]
    return list(array.tolist())


def _shorten(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_shorten(v) for v in value]
    number = float(str(value))
    return int(number) if number.is_integer() and abs(number) < 2**24 else number
