"""How much memory there is, and how large a picture fits."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

BYTES_PER_PIXEL = 16  # of a colour picture that is decoded, searched, painted and written
_CGROUPS = (  # limit, use and what of it can be had back, of a container; version 2 and 1
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "inactive_file"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "total_inactive_file",
    ),
)


def pixels_that_fit() -> int | None:
    """Pixels of the largest picture that memory allows; None where the system does not say."""
    free = free_memory()
    return None if free is None else free // BYTES_PER_PIXEL


def free_memory() -> int | None:
    """Bytes that may still be taken, here or in the container; None where nobody says."""
    found = [_free_of_machine(), *(_free_of_container(*names) for names in _CGROUPS)]
    return min((size for size in found if size is not None), default=None)


def _free_of_machine() -> int | None:
    if sys.platform == "win32":
        return _free_of_windows()
    with suppress(OSError, KeyError, ValueError):
        return _table("/proc/meminfo")["MemAvailable:"] * 1024
    with suppress(OSError, ValueError, AttributeError):  # macOS tells how much there is in all
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return None


def _free_of_container(limit: str, used: str, cache: str) -> int | None:
    with suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        whole = int(Path(limit).read_text())
        if whole >= 1 << 60:  # how version 1 says that there is none
            return None
        kept = _table(Path(limit).with_name("memory.stat")).get(cache, 0)
        return max(0, whole - int(Path(used).read_text()) + kept)
    return None


def _table(path: str | Path) -> dict[str, int]:
    """Names and numbers of a file of the system."""
    rows = (line.split() for line in Path(path).read_text().splitlines())
    return {row[0]: int(row[1]) for row in rows}


def _free_of_windows() -> int | None:
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = [("size", ctypes.c_uint32), ("load", ctypes.c_uint32)] + [
            (name, ctypes.c_uint64)
            for name in ("total", "free", "pages", "pages_free", "virtual", "virtual_free", "more")
        ]

    status = Status(size=ctypes.sizeof(Status))
    known = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined]
    return int(status.free) if known else None
