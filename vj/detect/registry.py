"""Detectors by name: cascades, and whatever other packages plug in.

A package offers detectors through an entry point of the group ``vj.detectors`` that names an object
(a module will do) with two functions::

    names() -> Mapping[str, str]                     what can be opened, each in one line
    open(spec: str, **options) -> Detector | None    None where `spec` is not one of its own

``hybrid`` is a cascade that proposes and a network that decides: the one that comes with the
package, or ``hybrid:MODEL``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from inspect import signature
from typing import IO, Any, Protocol, cast

from vj.cascade.model import Cascade
from vj.cascade.zoo import DEFAULT as CASCADE
from vj.cascade.zoo import list_cascades
from vj.detect.detector import CascadeDetector
from vj.detect.hybrid import HybridDetector
from vj.detect.protocol import Detector as Detector
from vj.detections import Detections
from vj.errors import CascadeError, NetError, OptionError, ParameterError
from vj.io.images import read_image

GROUP = "vj.detectors"
# Of the detectors that come with the package and take at most twice the time of the fastest, the
# most accurate (bench/README.md).
DEFAULT = "face-fast"
OF_CASCADES = ("scale_factor", "min_neighbors")  # who gives these wants a cascade
HYBRID, PROPOSER, JUDGE = "hybrid", "frontalface-fast", "face-cnn"
_OF_HYBRID = (  # options of itself, of what proposes, of what decides
    ("side", "grow", "most", "iou_threshold"),
    ("scale_factor", "min_size", "max_size", "n_jobs"),
    ("min_confidence", "min_score", "n_jobs"),
)


class Plugin(Protocol):
    """What an entry point of the group ``vj.detectors`` loads to."""

    def names(self) -> Mapping[str, str]:
        """Names that `open` knows, each with one line about it."""

    def open(self, spec: str, **options: Any) -> Detector | None:
        """A detector, or None where ``spec`` is not one of this plug-in's."""


def default_name(options: Iterable[str] = ()) -> str:
    """The detector of those who name none; a cascade where the options are those of cascades."""
    return CASCADE if set(OF_CASCADES) & set(options) else DEFAULT


def open_detector(
    spec: str | os.PathLike[str] | bytes | IO[Any] | Cascade | Detector | None = None,
    **options: Any,
) -> Detector:
    """Make a detector of a name, a file, a cascade; a detector is returned as it is.

    Parameters
    ----------
    spec : str, path, bytes, file object, Cascade or Detector, optional
        A name of `list_detectors` or the path of a model, by default `default_name`; names of
        cascades come first, then every plug-in is asked, then the file is read as a cascade.
    **options
        Parameters of the detector, such as ``scale_factor``.

    Raises
    ------
    CascadeError, NetError
        No such name, or no valid model.
    SourceError
        The file is missing or cannot be read.
    ParameterError
        An option is unknown, or has a value that makes no sense.
    """
    if spec is None:
        spec = default_name(options)
    if hasattr(spec, "detect"):
        if options:
            raise ParameterError(f"a detector is made already: {', '.join(options)} come too late")
        return cast(Detector, spec)
    if isinstance(spec, str) and spec.partition(":")[0] == HYBRID:
        return _hybrid(spec.partition(":")[2], options)
    if isinstance(spec, str | os.PathLike) and spec not in list_cascades():
        for plugin in _plugins():
            detector = plugin.open(os.fspath(spec), **options)
            if detector is not None:
                return detector
    known = list(signature(CascadeDetector).parameters)[1:]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise OptionError(
            f"cascade detectors have no option `{unknown[0]}`; they have {', '.join(known)}",
            unknown[0],
            known,
        )
    made: Detector = CascadeDetector(spec, **options)
    return made


def detect(image: Any, detector: Any = None, **options: Any) -> Detections:
    """Find faces in an image.

    Parameters
    ----------
    image : array, path, bytes, binary file object or PIL.Image.Image
        A uint8 array (gray or RGB) or a picture file; its EXIF orientation is honoured.
    detector : str, path, Cascade or detector, optional
        A name of ``vj-detect --list-detectors``, a model file, or an object with a ``detect``. By
        default the network "face-fast", or the cascade "frontalface" where options are given that
        only cascades have (``scale_factor``, ``min_neighbors``).
    **options
        Parameters of the detector, such as ``min_size`` or ``n_jobs``.

    Returns
    -------
    Detections
        Best score first, in pixels of the image as displayed.

    Raises
    ------
    SourceError, ImageError
        The file is missing, or is no picture.
    CascadeError, NetError, ParameterError
        The detector cannot be made.

    Examples
    --------
    >>> import vj
    >>> faces = vj.detect(vj.sample("astronaut"))
    >>> faces.xyxy.round().astype(int).tolist()
    [[181, 67, 266, 170]]
    """
    if isinstance(image, (str, os.PathLike, bytes)) or hasattr(image, "read"):
        image = read_image(image)
    return open_detector(detector, **options).detect(image)


def list_detectors() -> dict[str, str]:
    """Everything that `open_detector` knows by name, each with one line about it."""
    found = {name: str(card).partition(": ")[2] for name, card in list_cascades().items()}
    for plugin in _plugins():
        for name, line in plugin.names().items():
            found.setdefault(name, line)
    if JUDGE in found:
        found[HYBRID] = f"{PROPOSER} proposes, {JUDGE} decides; hybrid:MODEL: that model decides"
    return found


def _hybrid(judge: str, options: dict[str, Any]) -> Detector:
    """A hybrid; every option goes to those parts of it that have it."""
    if not judge and JUDGE not in list_detectors():
        raise NetError(
            f"`{HYBRID}` needs the network {JUDGE!r}, which does not come with this package: name "
            f"one that you have, {HYBRID}:FILE"
        )
    known = dict.fromkeys(name for names in _OF_HYBRID for name in names)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise OptionError(
            f"`{HYBRID}` has no option `{unknown[0]}`; it has {', '.join(known)}",
            unknown[0],
            list(known),
        )
    own, first, second = (
        {name: options[name] for name in names if name in options} for names in _OF_HYBRID
    )
    proposer = open_detector(PROPOSER, min_score=0.0, **first)
    return HybridDetector(proposer, open_detector(judge or JUDGE, **second), **own)


def _plugins() -> Iterator[Plugin]:
    from importlib.metadata import entry_points  # slow to import, and most runs do without

    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            yield entry.load()
        except Exception as exc:  # a plug-in may raise anything while it is imported
            raise CascadeError(f"plug-in {entry.name!r} does not load: {exc}") from exc
