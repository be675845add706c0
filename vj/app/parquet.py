"""Detections as a Parquet file, one row a face; needs pyarrow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from vj.app.formats import Record
from vj.errors import ParameterError
from vj.io.files import replacing, writing

_ROWS = 10_000  # of a row group: what is held in memory


@contextlib.contextmanager
def parquet_sink(target: str) -> Iterator[Callable[[Record], None]]:
    """A function that writes records; the file gets its name when the block ends.

    Raises
    ------
    ParameterError
        pyarrow is not installed.
    SinkError
        The file cannot be written.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as exc:
        raise ParameterError("--parquet needs pyarrow: pip install pyarrow") from exc
    whole, real = pa.int32(), pa.float32()
    columns = {
        **{"source": pa.string(), "frame": whole, "time_s": pa.float64()},
        **{"width": whole, "height": whole, "detector": pa.string()},
        **dict.fromkeys(("x1", "y1", "x2", "y2", "score", "confidence"), real),
        **dict.fromkeys(("level", "neighbors", "track_id"), whole),
        "landmarks": pa.list_(real),
    }
    schema = pa.schema(list(columns.items()))
    waiting: list[dict[str, Any]] = []
    with replacing(target) as file, writing(target), pq.ParquetWriter(file, schema) as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(waiting, schema))
            waiting.clear()

        def write(record: Record) -> None:
            row = record.row()
            for box in row.pop("boxes"):
                corners = dict(zip(("x1", "y1", "x2", "y2"), box.pop("xyxy"), strict=True))
                points = [v for point in box.pop("landmarks", ()) for v in point]
                waiting.append({**row, **box, **corners, "landmarks": points or None})
            if len(waiting) >= _ROWS:
                with writing(target):
                    flush()

        yield write
        flush()
