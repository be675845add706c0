"""OpenCV's cascade files: both XML formats in, the new one out."""

from __future__ import annotations

from pathlib import Path

from vj.cascade import formats, storage
from vj.cascade.model import Cascade
from vj.cascade.storage import Source
from vj.cascade.xml_writer import dumps as dumps
from vj.cascade.xml_writer import write as write
from vj.errors import CascadeError


def read(source: Source, name: str | None = None) -> Cascade:
    """Read a cascade from a path, the bytes of a file, or a file object; XML, gzipped or not.

    Parameters
    ----------
    source : path, bytes or file object
    name : str, optional
        Name of the cascade; that of the file otherwise.

    Raises
    ------
    SourceError
        The file is missing or cannot be read.
    CascadeError
        It is no cascade, or a broken or unsupported one; the message names the place.
    """
    label, data = storage.load(source)
    stem = Path(label.strip("<>")).name.removesuffix(".gz").removesuffix(".xml")
    try:
        root, comment = storage.parse(data)
        fields, form, notes = formats.cascade_fields(root)
        metadata = {"format": form, "comment": comment, "notes": notes}
        return Cascade(**fields, name=name or stem or "cascade", metadata=metadata)
    except CascadeError as exc:
        raise CascadeError(f"{label}: {exc}") from exc
