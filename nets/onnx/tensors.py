"""Arrays and attributes of ONNX protobuf messages; every size is checked before use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nets.arrays import Array
from vj.errors import NetError
from vj.limits import ONNX_RANK
from vj.records import shown

DTYPES: dict[int, np.dtype[Any]] = {
    number: np.dtype(name)
    for number, name in {
        1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
        9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64",
    }.items()
}  # fmt: skip
# Field of the message that holds values of a dtype if they are not raw bytes.
_FIELDS = {"float32": "float_data", "float64": "double_data", "int64": "int64_data"}
_FIELDS |= {"uint32": "uint64_data", "uint64": "uint64_data"}
_EXTERNAL = 1


def dtype_of(number: int) -> np.dtype[Any]:
    """Return the NumPy dtype of an ONNX element type."""
    if number not in DTYPES:
        names = ", ".join(str(d) for d in DTYPES.values())
        raise NetError(f"element type {number} is not supported; these are: {names}")
    return DTYPES[number]


def read_tensor(tensor: Any, folder: Path | None) -> Array:
    """Return the array of a TensorProto, in a new buffer.

    Raises
    ------
    NetError
        Its size does not match its data, its dtype is not supported, it holds NaN, or its data file
        is missing or outside ``folder``.
    """
    dtype = dtype_of(tensor.data_type)
    dims = tuple(tensor.dims)
    if min(dims, default=0) < 0 or len(dims) > ONNX_RANK:
        raise NetError(f"the shape {dims} is impossible")
    count = 1
    for n in dims:
        count *= n
    if tensor.HasField("segment"):
        raise NetError("segmented tensors are not supported")
    if tensor.data_location == _EXTERNAL:
        array = _external(tensor, count, dtype, folder)
    elif tensor.HasField("raw_data"):
        raw = tensor.raw_data
        if len(raw) != count * dtype.itemsize:
            raise NetError(f"shape {dims} needs {count * dtype.itemsize} bytes, got {len(raw)}")
        array = np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype)
    else:
        array = _typed(tensor, count, dtype)
    if dtype.kind == "f" and np.isnan(array).any():
        raise NetError(f"{int(np.isnan(array).sum())} of its {count} values are NaN")
    return array.reshape(dims)


def _typed(tensor: Any, count: int, dtype: np.dtype[Any]) -> Array:
    values = getattr(tensor, _FIELDS.get(dtype.name, "int32_data"))
    if len(values) != count:
        raise NetError(f"shape {tuple(tensor.dims)} needs {count} numbers, got {len(values)}")
    if dtype == np.float16:  # bit patterns
        return np.array(values, np.int64).astype(np.uint16).view(np.float16)
    wide = {"f": np.float64, "u": np.uint64}.get(dtype.kind, np.int64)
    if dtype.name in ("uint8", "uint16"):
        wide = np.int64
    with np.errstate(all="ignore"):
        return np.array(values, wide).astype(dtype)


def _external(tensor: Any, count: int, dtype: np.dtype[Any], folder: Path | None) -> Array:
    keys = {entry.key: entry.value for entry in tensor.external_data}
    location = keys.get("location", "")
    if folder is None:
        raise NetError("its data is in an external file, but the model was not read from a file")
    if not location or "\0" in location:
        raise NetError("its data is in an external file without a `location`")
    path, size = _inside(folder, location)
    try:
        offset, wanted = int(keys.get("offset", 0)), count * dtype.itemsize
        length = int(keys.get("length", wanted))
    except ValueError as exc:
        raise NetError(f"`offset` or `length` of its data is not a number: {exc}") from exc
    if length != wanted or offset < 0 or offset + length > size:
        raise NetError(
            f"needs {wanted} bytes, {shown(location)} has {length} at {offset} of {size}: "
            "the file is truncated or of another model"
        )
    try:
        return np.fromfile(path, dtype.newbyteorder("<"), count, offset=offset).astype(dtype)
    except OSError as exc:
        raise NetError(f"its data file {shown(location)} cannot be read: {exc}") from exc


def _inside(folder: Path, location: str) -> tuple[Path, int]:
    """Return a data file and its size; symbolic links must not leave the folder either."""
    where = f"its data file {shown(location)}"
    try:
        path = (folder / location).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise NetError(f"{where} lies outside the folder of the model")
        if not path.is_file():
            raise NetError(f"{where} is missing")
        return path, path.stat().st_size
    except (
        OSError,
        RuntimeError,
    ) as exc:  # a name that is too long; a symlink loop, in older Python versions
        raise NetError(f"{where} cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc


def read_attribute(attribute: Any, folder: Path | None) -> Any:
    """Return the value of an AttributeProto; a type number (``to`` of Cast) becomes a dtype."""
    kind = attribute.type
    if attribute.ref_attr_name:
        raise NetError(f"`{attribute.name}` refers to a function's attribute")
    if kind == 1:
        return float(attribute.f)
    if kind == 2:
        return dtype_of(attribute.i) if attribute.name == "to" else int(attribute.i)
    if kind == 3:
        return bytes(attribute.s)
    if kind == 4:
        try:
            return read_tensor(attribute.t, folder)
        except NetError as exc:
            raise NetError(f"`{attribute.name}`: {exc}") from exc
    if kind == 6:
        return [float(v) for v in attribute.floats]
    if kind == 7:
        return [int(v) for v in attribute.ints]
    if kind == 8:
        return [bytes(v) for v in attribute.strings]
    if kind in (5, 10):
        raise NetError(f"`{attribute.name}` is a graph: control flow is not supported")
    raise NetError(f"`{attribute.name}` has a type ({kind}) that is not supported")
