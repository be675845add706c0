"""A window of OpenCV, where there is a display and an OpenCV that can open one."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from vj.errors import ParameterError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Show = Callable[[NDArray[np.uint8]], bool]

_PROBE = "import cv2; cv2.namedWindow('vj-detect'); cv2.waitKey(1); cv2.destroyAllWindows()"
_END = (ord("q"), 27)  # and escape


@contextlib.contextmanager
def window(title: str) -> Iterator[Show]:
    """A function that shows an image; False once the window is closed, or Q or Escape pressed.

    Raises
    ------
    ParameterError
        No window can be opened here.
    """
    # In a process of its own, because Qt ends the process where there is no display.
    probe = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, check=False)
    if probe.returncode:
        raise ParameterError(
            "--show: no window can be opened here (no display, or no opencv-python): "
            "use --page, which shows the same in a browser"
        )
    import cv2

    cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)

    def show(image: NDArray[np.uint8]) -> bool:
        cv2.imshow(title, image if image.ndim == 2 else image[..., ::-1])
        pressed = cv2.waitKey(1) & 0xFF
        return pressed not in _END and cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) > 0

    try:
        yield show
    finally:
        cv2.destroyAllWindows()
