"""Damage inside binary formats: headers, check sums and messages that still fit."""

import json
import struct
import zlib

from tests.fuzz.mutate import BYTES, JSON, SIZES, flip, structure


def header(rng, data):
    """A safetensors file with another header, whose length fits it."""
    length = int.from_bytes(data[:8], "little")
    text, body = data[8 : 8 + length], data[8 + length :]
    try:
        whole = json.loads(text)
    except ValueError:
        return flip(rng, data)
    notes = whole.get("__metadata__") if isinstance(whole, dict) else None
    if isinstance(notes, dict) and "facenet" in notes and rng.random() < 0.6:
        notes["facenet"] = structure(rng, str(notes["facenet"]).encode()).decode("utf-8", "replace")
        text = json.dumps(whole).encode()
    else:
        text = rng.choice(JSON)(rng, text)
    return len(text).to_bytes(8, "little") + text + body


def chunk(rng, data):
    """A PNG with a damaged chunk whose check sum fits."""
    at, chunks = 8, []
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return flip(rng, data)
    k = rng.randrange(len(chunks))
    kind, body = chunks[k]
    chunks[k] = (rng.choice([kind, kind, b"IDAT", b"tEXt", b"acTL"]), rng.choice(BYTES)(rng, body))
    if rng.random() < 0.2:
        chunks.insert(rng.randrange(len(chunks)), rng.choice(chunks))
    parts = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return data[:8] + b"".join(parts)


def message(rng, data):
    """An ONNX file with a field of its message changed."""
    import onnx

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
        for _ in range(rng.choice([1, 1, 2, 4])):
            _field(rng, model)
        return model.SerializeToString()
    except Exception:  # values that the format cannot hold
        return flip(rng, data)


def _field(rng, message):
    """Walk down to some field and change it."""
    fields = message.ListFields()
    if not fields:
        return
    field, value = rng.choice(fields)
    repeated = not isinstance(value, str | bytes | int | float) and hasattr(value, "__len__")
    if field.message_type is not None:
        if not repeated:
            _field(rng, value)
        elif rng.random() < 0.85:
            _field(rng, rng.choice(value))
        elif rng.random() < 0.5:
            del value[rng.randrange(len(value))]
        else:
            value.add().CopyFrom(rng.choice(value))
        return
    if repeated:
        k = rng.randrange(len(value))
        if rng.random() < 0.2:
            del value[k]
        elif rng.random() < 0.2:
            value.extend([value[k]] * rng.choice([1, 3, 40]))
        else:
            value[k] = _scalar(rng, value[k])
    else:
        setattr(message, field.name, _scalar(rng, value))


def _scalar(rng, value):
    if isinstance(value, str):
        return rng.choice(
            ["", "x", "y", value + "x", "a" * 300, "../a", "²", "Conv", "Reshape", "Resize", "-1"]
        )
    if isinstance(value, bytes) and 0 < len(value) <= 64 and not len(value) % 8:  # a shape, say
        at = rng.randrange(0, len(value), 8)
        number = rng.choice(SIZES).to_bytes(8, "little")
        return rng.choice([flip(rng, value), value[:at] + number + value[at + 8 :]])
    if isinstance(value, bytes):
        return rng.choice([b"", value[:-1], value * 2, flip(rng, value), b"SAME_UPPER", b"\xff"])
    if isinstance(value, float):
        return rng.choice([0.0, -1.0, 1e38, -1e38, float("nan"), float("inf"), 0.5, 1e-38])
    around = [value + 1, value - 1, -value, 2 * value]
    return rng.choice([*around, *(s if s < 2**63 else s - 2**64 for s in SIZES), 7, 2, 3, 16])
