"""The endless series of training frames: frame k is the same whoever makes it, and whenever."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from nets.detectors.training.augment import Cropping, Frame, crop_picture
from nets.detectors.training.compose import Composing, Part, compose, head, patch
from nets.detectors.training.data import Data, Picture
from nets.detectors.training.faces import F32
from nets.detectors.training.pixels import Rng, photograph
from nets.detectors.training.store import Store
from vj.errors import ParameterError

Item = TypeVar("Item")
Weights = tuple[tuple[str, float], ...]
KINDS = ("picture", "composite", "crowded", "background", "alarm")
BACKGROUND = Cropping(scale=(0.4, 1.0), magnify=3.5)
ALARM = Cropping((0.3, 1.2), about_faces=1.0, sized=0.6, faces=(0.05, 0.6))
NO_BOXES, NO_POINTS = np.empty((0, 4), np.float32), np.empty((0, 5, 2), np.float32)


@dataclass(frozen=True, slots=True)
class Mixture:
    """Shares of the kinds of frames, and how each is made.

    Attributes
    ----------
    kinds : pairs of str and float
        Relative numbers of: "picture", squares of annotated pictures; "composite", faces set into
        backgrounds; "crowded", faces set into annotated pictures; "background", no face at all;
        "alarm", backgrounds about a false alarm handed to `Scenes`, its surroundings included.
    pictures, crops : pairs of str and float
        How often a picture or a crop of a source is taken, relative to the others.
    crowds : float
        A picture of n faces is taken n to the power of this as often.
    colour : float
        Share of coloured backgrounds, most of the backgrounds being gray.
    hard : float
        Share of patches that come from the false alarms handed to `Scenes`.
    """

    kinds: Weights = (
        ("picture", 0.5), ("composite", 0.3), ("crowded", 0.12), ("background", 0.08),
    )  # fmt: skip
    pictures: Weights = (
        ("mask853", 1.0), ("all_age_faces", 0.5), ("flickr8k_1000", 1.5),
        ("coco2014_part", 1.5), ("shanghaitech_train", 3.0), ("lsp_extended", 0.6),
    )  # fmt: skip
    crops: Weights = (
        ("all_age_faces", 1.0), ("lfwexpr", 1.0), ("utk", 0.7),
    )  # fmt: skip
    crowds: float = 0.0
    colour: float = 0.5
    hard: float = 0.5
    cropping: Cropping = field(default_factory=Cropping)
    composing: Composing = field(default_factory=Composing)


class Sample(NamedTuple):
    """A training frame: (size, size, 3) uint8, and its annotation as of `Picture`."""

    image: NDArray[np.uint8]
    boxes: F32
    landmarks: F32
    ignore: F32
    kind: str


class Batch(NamedTuple):
    """Frames (N, size, size, 3) uint8 with one array of annotations for each."""

    images: NDArray[np.uint8]
    boxes: list[F32]
    landmarks: list[F32]
    ignore: list[F32]


class Scenes:
    """Frames of one part of the data.

    Parameters
    ----------
    data : Data
    size : int
        Side of the frames in pixels.
    seed : int
    mixture : Mixture, optional
    alarms : sequence of (int, box)
        False alarms to learn from: number of the background, x1, y1, x2, y2 (`mine`).
    memory : int
        Bytes of decoded images to keep.
    """

    def __init__(
        self,
        data: Data,
        size: int = 320,
        *,
        seed: int = 0,
        mixture: Mixture | None = None,
        alarms: Sequence[tuple[int, Sequence[float]]] = (),
        memory: int = 256 << 20,
    ) -> None:
        if size < 32 or size % 32:
            raise ParameterError(f"`size` must be a multiple of 32, got {size}")
        self.data, self.size, self.seed = data, size, seed
        self.mixture, self.store = mixture or Mixture(), Store(memory)
        self._pool: tuple[int, ProcessPoolExecutor] | None = None
        self.alarms = alarms
        shares = dict(self.mixture.kinds)
        self._shares = np.array([shares.get(kind, 0.0) for kind in KINDS])
        self._shares[[0, 2]] *= bool(data.pictures)
        self._shares[[1, 2]] *= bool(data.faces)
        self._shares[[1, 3, 4]] *= bool(data.backgrounds)
        if not self._shares.sum() > 0:
            raise ParameterError("`mixture` wants only kinds of frames that the data has not")
        self._shares /= self._shares.sum()
        # With `crowds`, pictures whose faces are all to be ignored show what else there is.
        pictures = [
            p for p in data.pictures if len(p.boxes) or (self.mixture.crowds and len(p.ignore))
        ]
        self._pictures = _Draw(
            pictures, [p.entry.source for p in pictures], self.mixture.pictures,
            [max(len(p.boxes), 1) ** self.mixture.crowds for p in pictures],
        )  # fmt: skip
        self._faces = _Draw(data.faces, [f.entry.source for f in data.faces], self.mixture.crops)
        gray = [entry.source in ("haarneg", "scene15") for entry in data.backgrounds]
        self._gray, self._coloured = np.flatnonzero(gray), np.flatnonzero(~np.array(gray, bool))

    @property
    def alarms(self) -> Sequence[tuple[int, Sequence[float]]]:
        """False alarms to learn from; may be replaced between batches."""
        return self._alarms

    @alarms.setter
    def alarms(self, found: Sequence[tuple[int, Sequence[float]]]) -> None:
        self._alarms = tuple(found)
        self.close()  # the processes have the old ones

    # ------------------------------------------------------------------ one frame

    def sample(self, index: int) -> Sample:
        """Frame ``index``, a function of it and of the parameters only."""
        rng = np.random.default_rng([self.seed, index])
        kind = KINDS[int(np.searchsorted(self._shares.cumsum(), rng.random(), side="right"))]
        if kind in ("picture", "crowded"):
            frame = self._of_picture(rng)
        elif kind == "alarm" and self.alarms:
            frame = self._about_alarm(rng)
        else:
            frame = self._of_background(rng)
        if kind in ("composite", "crowded"):
            how = self.mixture.composing
            frame = compose(frame, lambda: self._face(rng), lambda: self._other(rng), rng, how)
        image = photograph(Image.fromarray(frame.image), rng)
        return Sample(image, frame.boxes, frame.landmarks, frame.ignore, kind)

    def _of_picture(self, rng: Rng) -> Frame:
        picture = self._pictures.draw(rng)
        pixels = self.store.pixels(picture.entry)
        return crop_picture(picture, pixels, self.size, rng, self.mixture.cropping)

    def _about_alarm(self, rng: Rng) -> Frame:
        number, box = self.alarms[int(rng.integers(len(self.alarms)))]
        entry = self.data.backgrounds[number]
        pixels, at = self.store.pixels(entry), np.array([box], np.float32)
        unknown = np.full((1, 5, 2), np.nan, np.float32)
        taken = Picture(entry, pixels.shape[:2], at, unknown, NO_BOXES)
        frame = crop_picture(taken, pixels, self.size, rng, ALARM)
        return Frame(frame.image, NO_BOXES, NO_POINTS, NO_BOXES)

    def _of_background(self, rng: Rng) -> Frame:
        pixels = self._background(rng)
        bare = Picture(self.data.backgrounds[0], pixels.shape[:2], NO_BOXES, NO_POINTS, NO_BOXES)
        return crop_picture(bare, pixels, self.size, rng, BACKGROUND)

    def _background(self, rng: Rng) -> NDArray[np.uint8]:
        pools = [pool for pool in (self._coloured, self._gray) if len(pool)]
        pool = pools[0 if rng.random() < self.mixture.colour else -1]
        return self.store.pixels(self.data.backgrounds[int(rng.choice(pool))])

    def _face(self, rng: Rng) -> Part:
        face = self._faces.draw(rng)
        return Part(self.store.image(face.entry), face.landmarks, face.valid)

    def _other(self, rng: Rng) -> Part:
        if self.alarms and rng.random() < self.mixture.hard:
            number, box = self.alarms[int(rng.integers(len(self.alarms)))]
            return patch(self.store.pixels(self.data.backgrounds[number]), rng, box)
        if rng.random() < 0.15 or not self.data.backgrounds:
            return head(rng)
        return patch(self._background(rng), rng)

    # ------------------------------------------------------------------ many

    def batch(self, first: int, count: int) -> Batch:
        """Frames ``first`` to ``first + count - 1``."""
        return stack([self.sample(first + k) for k in range(count)])

    def batches(
        self, count: int, *, first: int = 0, batch_size: int = 32, workers: int = 0
    ) -> Iterator[Batch]:
        """``count`` batches, beginning with the frame ``first * batch_size``.

        The result does not depend on ``workers``, the number of processes that make batches while
        earlier ones are in use; 0 makes them here when they are asked for. The processes wait for
        further calls; `close` ends them.
        """
        if workers <= 0:
            for number in range(first, first + count):
                yield self.batch(number * batch_size, batch_size)
            return
        pool = self._workers(workers)
        ahead: deque[Future[Batch]] = deque()
        try:
            for number in range(first, first + count):
                ahead.append(pool.submit(_make, number * batch_size, batch_size))
                if len(ahead) > 2 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()

    def close(self) -> None:
        """End the processes that `batches` has started."""
        if self._pool is not None:
            self._pool[1].shutdown(cancel_futures=True)
        self._pool = None

    def _workers(self, count: int) -> ProcessPoolExecutor:
        if self._pool is None or self._pool[0] != count:
            self.close()
            # New processes, not copies of this one, which may have threads that hold locks.
            fresh = get_context("spawn")
            made = ProcessPoolExecutor(count, fresh, initializer=_adopt, initargs=(self,))
            self._pool = count, made
        return self._pool[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pool": None}


class _Draw(Generic[Item]):
    """Items drawn with a weight by their source; sources that are not named weigh 1."""

    def __init__(
        self,
        items: Sequence[Item],
        sources: Sequence[str],
        weights: Iterable[tuple[str, float]],
        own: ArrayLike = 1.0,
    ) -> None:
        by_name = dict(weights)
        weight = np.array([by_name.get(source, 1.0) for source in sources], float) * own
        self.items, self.upto = items, weight.cumsum()

    def draw(self, rng: Rng) -> Item:
        at = np.searchsorted(self.upto, rng.random() * self.upto[-1], side="right")
        return self.items[int(at)]


def stack(samples: Sequence[Sample]) -> Batch:
    """Samples of one size as a batch."""
    images, boxes, landmarks, ignore, _ = zip(*samples, strict=True)
    return Batch(np.stack(images), list(boxes), list(landmarks), list(ignore))


_own: list[Scenes] = []  # of a worker process


def _adopt(scenes: Scenes) -> None:
    _own[:] = [scenes]


def _make(first: int, count: int) -> Batch:
    return _own[0].batch(first, count)
