"""How files are damaged: anywhere, and where their format says that numbers and parts lie."""

import json
import re
from copy import deepcopy

NUMBERS = [
    *(
        "0",
        "-1",
        "-0.0",
        "1e-300",
        "1e300",
        "1e400",
        "-1e400",
        "NaN",
        "inf",
        "-Infinity",
        "²",
        "\u0661",
    ),
    *("1_0", "0x10", "1.5", "2147483647", "2147483648", "-2147483649", "4294967296", "16777217"),
    *(
        "9223372036854775808",
        "99999999999999999999",
        "9" * 5000,
        "",
        "null",
        "true",
        "nothing",
        "\0",
    ),
]
SIZES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
SIZES += [0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF, 10**9, 1 << 20]
NUMBER = re.compile(rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
TAG = re.compile(rb"<[^<>]*>")
ODD = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    1e308,
    float("nan"),
    float("inf"),
    2**31,
    2**63,
    2**64,
    10**400,
]
ODD += ["", "²", "a" * 300, "a" * 5000, "\0", "a\nb", "../x", "1", [], {}, [[]], [None], {"a": []}]
ODD += [[0] * 5, [1e9] * 4, ["1"] * 4, [[[1, 2], 3]], [True] * 4]


def flip(rng, data):
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5, 50])):
        if out:
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def truncate(rng, data):
    return data[: rng.randrange(len(data) + 1)]


def _span(rng, data):
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice([1, 2, 4, 16, 200, len(data)]))


def cut(rng, data):
    start, stop = _span(rng, data)
    return data[:start] + data[stop:]


def double(rng, data):
    start, stop = _span(rng, data)
    return data[:stop] + data[start:stop] * rng.choice([1, 2, 30]) + data[stop:]


def insert(rng, data):
    at = rng.randrange(len(data) + 1)
    new = rng.choice(
        [b"\0", b"\xff" * 8, b"\n", b"\r", b"\x85", b'"', b"<", b"\xef\xbb\xbf", rng.randbytes(9)]
    )
    return data[:at] + new + data[at:]


def size(rng, data):
    """An integer of 1 to 8 bytes that is extreme."""
    width = rng.choice([1, 2, 4, 8])
    value = (rng.choice(SIZES) & ((1 << 8 * width) - 1)).to_bytes(
        width, rng.choice(["little", "big"])
    )
    at = rng.randrange(max(1, min(len(data), rng.choice([16, 64, len(data) or 1]))))
    return data[:at] + value + data[at + width :]


def zero(rng, data):
    start, stop = _span(rng, data)
    return data[:start] + bytes(stop - start) + data[stop:]


def splice(rng, data, other):
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


BYTES = [flip, flip, truncate, cut, double, insert, size, size, zero]


def number(rng, data):
    """One number of a text is extreme, or none at all."""
    found = list(NUMBER.finditer(data))
    if not found:
        return insert(rng, data)
    match = rng.choice(found)
    return data[: match.start()] + rng.choice(NUMBERS).encode() + data[match.end() :]


def line(rng, data):
    """Lines in another order, missing, or twice."""
    lines = data.split(b"\n")
    k, m = rng.randrange(len(lines)), rng.randrange(len(lines))
    how = rng.randrange(4)
    if how == 0:
        lines[k], lines[m] = lines[m], lines[k]
    elif how == 1:
        del lines[k]
    elif how == 2:
        lines.insert(m, lines[k])
    else:
        words = lines[k].split(b" ")
        rng.shuffle(words)
        lines[k] = b" ".join(words[: rng.randrange(len(words) + 1)])
    return b"\n".join(lines)


TEXT = [number, number, number, line, line]


def tag(rng, data):
    """A tag missing, twice, of another name, or nested without end."""
    found = list(TAG.finditer(data))
    if not found:
        return insert(rng, data)
    match, other = rng.choice(found), rng.choice(found)
    before, text, after = data[: match.start()], match.group(), data[match.end() :]
    depth = rng.choice([2, 50, 2000, 30000])
    new = rng.choice(
        [
            *(b"", text * 2, other.group(), b"<_>", b"<a b='1'/>", b"&lol;", b"<![CDATA[1]]>"),
            *(b"<d>" * depth + b"</d>" * depth, b"<d>" * depth, b"<?xml version='1.0'?>"),
            b"<!DOCTYPE a [<!ENTITY lol 'lol'>]>",
        ]
    )
    return before + new + after


def element(rng, data):
    """An element as a whole missing, twice, or in the place of another."""
    spans = [m.span() for m in re.finditer(rb"<(\w+)[^<>]*>[^<>]*</\1>", data)]
    if not spans:
        return tag(rng, data)
    (a, b), (c, d) = rng.choice(spans), rng.choice(spans)
    return data[:a] + rng.choice([b"", data[a:b] * 2, data[c:d]]) + data[b:]


XML = [*TEXT, tag, tag, element, element]


def _places(value, found, parent=None, key=None):
    """Every value of a document with its container and key."""
    if parent is not None:
        found.append((parent, key))
    if isinstance(value, dict | list):
        for k in list(value) if isinstance(value, dict) else range(len(value)):
            _places(value[k], found, value, k)
    return found


def document(rng, value):
    """A JSON document with a value of another kind, missing, or nested without end."""
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        found = _places(value, [])
        if not found:
            return deepcopy(rng.choice(ODD))
        parent, key = rng.choice(found)
        how = rng.randrange(6)
        if how == 0 and isinstance(parent, dict):
            del parent[key]
        elif how == 1 and isinstance(parent, dict):
            parent[rng.choice(["", "a", key + "s", "²"])] = parent.pop(key)
        elif how == 2 and isinstance(parent, list):
            parent.insert(key, parent[rng.randrange(len(parent))])
        elif how == 3:
            other, where = rng.choice(found)
            parent[key] = json.loads(json.dumps(other[where])) if where in _keys(other) else None
        elif how == 4 and isinstance(parent[key], str):
            parent[key] = rng.choice(
                [parent[key] * 500, parent[key] + "\n", "²", int(rng.random() * 9)]
            )
        else:
            parent[key] = deepcopy(rng.choice(ODD))
    return value


def _keys(container):
    return container if isinstance(container, dict) else range(len(container))


def structure(rng, data):
    """A JSON document changed in its structure; line by line if it is a file of lines."""
    lines = data.split(b"\n") if data.count(b"\n{") else [data]
    k = rng.randrange(len(lines))
    try:
        value = json.loads(lines[k])
    except (ValueError, RecursionError):
        return insert(rng, data)
    if rng.random() < 0.03:
        depth = rng.choice([99, 102, 900, 3000, 100_000])
        lines[k] = rng.choice([b"[" * depth + b"]" * depth, b'{"a":' * depth, b"[" * depth])
    else:
        text = json.dumps(document(rng, value), ensure_ascii=rng.random() < 0.5)
        lines[k] = text.encode("utf-8", "surrogatepass")
    return b"\n".join(lines)


JSON = [structure, structure, structure, structure, number, line]
