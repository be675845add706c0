"""Every decision of the cascade engine against OpenCV 4, bit by bit.

Rectangles, order, neighbour counts, reject levels and weights must be equal, bit by bit, to those
of ``cv2.CascadeClassifier`` under ``cv2.setNumThreads(1)`` (with more threads its order depends on
chance), with one and with two threads of ours.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

import vj
from bench.harness import records
from vj.compat import CascadeClassifier

SCALE_FACTORS = (1.05, 1.1, 1.3)
MIN_NEIGHBORS = (0, 1, 3, 5)
SIZES = (  # minSize, maxSize: (width, height)
    ((0, 0), (0, 0)),
    ((40, 40), (0, 0)),
    ((33, 20), (77, 200)),
    ((64, 64), (64, 64)),
    ((0, 0), (5, 5)),
    ((5000, 5000), (0, 0)),
)


def opencv():
    """cv2 with one thread, or None where it has no cascades."""
    import cv2

    if not hasattr(cv2, "CascadeClassifier"):
        return None
    cv2.setNumThreads(1)
    return cv2


def cascade_files() -> list[Path]:
    """The XML files in the wheels of opencv-python 4."""
    import cv2

    return sorted(Path(cv2.data.haarcascades).glob("*.xml"))


def shrunk(image, side):
    """Every k-th pixel, so that the longer side is at most `side`."""
    step = -(-max(image.shape[:2]) // side)
    return image[::step, ::step]


def images(window=(24, 24)):
    """Photographs and everything awkward; `window` is (rows, cols) of the cascade."""
    rng = np.random.default_rng(7)
    astronaut = vj.sample("astronaut")
    gray = vj.as_gray(astronaut)
    rows, cols = window
    frozen = gray[40:260, 100:340].copy()
    frozen.flags.writeable = False
    smooth = rng.integers(0, 256, (40, 40)).repeat(6, 0).repeat(6, 1).astype(np.uint8)
    return {
        "astronaut": gray[:400],
        "colour": np.ascontiguousarray(astronaut[:300, 80:380, ::-1]),
        "coffee": vj.as_gray(shrunk(vj.sample("coffee"), 320)),
        "chelsea": vj.as_gray(shrunk(vj.sample("chelsea"), 256)),
        "camera": vj.as_gray(shrunk(vj.sample("camera"), 300)),
        "text": vj.as_gray(vj.sample("page")),
        "noise": rng.integers(0, 256, (150, 200), dtype=np.uint8),
        "blocks": smooth,
        "flat": np.full((120, 160), 128, np.uint8),
        "black and white": np.where(rng.random((130, 170)) < 0.5, 0, 255).astype(np.uint8),
        "window": np.ascontiguousarray(gray[60 : 60 + rows, 190 : 190 + cols]),
        "window and a pixel": np.ascontiguousarray(gray[60 : 61 + rows, 190 : 191 + cols]),
        "smaller than the window": np.ascontiguousarray(gray[: rows - 1, : cols + 9]),
        "read-only": frozen,
        "every second pixel": gray[::2, ::2],
        "mirrored": gray[50:300, 350:120:-1],
        "16 px": np.ascontiguousarray(gray[:16, :300]),
        "4000 px": np.tile(gray[60:150], (1, 8))[:, :4000],
        "odd rows": gray[3:240, 90:311],
    }


def outputs(classifier, image, scale_factor, min_neighbors, sizes):
    """What the three methods return."""
    args = image, scale_factor, min_neighbors, 0, *sizes
    rects, counts = classifier.detectMultiScale2(*args)
    return (
        classifier.detectMultiScale(*args),
        rects,
        counts,
        *classifier.detectMultiScale3(*args, outputRejectLevels=True),
    )


def same(ours, theirs) -> bool:
    """Equal types, dtypes, shapes and values (NaN equals NaN)."""
    for a, b in zip(ours, theirs, strict=True):
        if type(a) is not type(b) or len(a) != len(b):
            return False
        if len(a) and not (a.dtype == b.dtype and np.array_equal(a, b, equal_nan=b.dtype == float)):
            return False
    return True


def cases(files):
    """Every combination: path, name of the image, image, parameters."""
    for path in files:
        window = vj.load_cascade(path).window
        for name, image in images(window).items():
            for factor, (k, sizes) in itertools.product(SCALE_FACTORS, enumerate(SIZES)):
                for neighbors in MIN_NEIGHBORS:
                    # every count of neighbours with the default limits, one with each of the others
                    if k == 0 or neighbors == MIN_NEIGHBORS[k % 4]:
                        yield path, name, image, (factor, neighbors, sizes)


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cascades", nargs="*", type=Path, help="XML files (default: OpenCV's own)")
    parser.add_argument("--every", type=int, default=1, help="only every N-th case")
    parser.add_argument("--write", action="store_true", help="record the counts in bench/results")
    args = parser.parse_args(argv)
    cv2 = opencv()
    if cv2 is None:
        print("this OpenCV has no CascadeClassifier: pip install 'opencv-python<5'")
        return 2
    start = time.perf_counter()
    todo = list(cases(args.cascades or cascade_files()))[:: args.every]
    differ, detections, loaded = [], 0, None
    for path, name, image, parameters in tqdm(todo, disable=None, unit="case"):
        if loaded != path:
            theirs = cv2.CascadeClassifier(str(path))
            ours = [CascadeClassifier(path, n_jobs=n) for n in (1, 2)]
            loaded = path
        expected = outputs(theirs, image, *parameters)
        detections += len(expected[0])
        for one in ours:
            if not same(outputs(one, image, *parameters), expected):
                differ.append((path.name, name, one.n_jobs, parameters))
    for line in differ[:20]:
        print("differs:", *line)
    seconds = time.perf_counter() - start
    print(
        f"{len(todo)} cases, each with 1 and 2 threads: {detections} rectangles of OpenCV "
        f"{cv2.__version__}, {len(differ)} differences, {seconds:.0f} s"
    )
    if args.write and args.every == 1 and not args.cascades:
        records.save(
            records.RESULTS / "parity.json", opencv=cv2.__version__, cases=len(todo),
            cascades=len(cascade_files()), rectangles=detections, differences=len(differ),
        )  # fmt: skip
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
