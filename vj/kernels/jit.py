"""How kernels are compiled: one decorator, one set of flags, one cache folder.

A file in a ``kernels`` folder holds compiled functions on arrays and scalars.
``@kernel(signature)`` marks an entry point that Python may call; ``@device`` marks a function that
only kernels call.

The signature is fixed, so that a kernel is compiled once and for all, but compilation waits for the
first call: importing a module costs nothing. Input arrays are declared with `ro`, which accepts
read-only arrays too (Pillow and memory maps hand those out).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numba
from numba import njit, types
from numba.core import event

# Kernels never allocate, so they need no reference counts (which would cost calls in hot loops).
FLAGS: dict[str, Any] = {
    "nogil": True,
    "fastmath": False,
    "error_model": "numpy",
    "_nrt": False,
}


def ro(dtype: types.Type, ndim: int) -> types.Array:
    """Type of a C-contiguous input array that may be read-only."""
    return types.Array(dtype, ndim, "C", readonly=True)


def rw(dtype: types.Type, ndim: int) -> types.Array:
    """Type of a C-contiguous array that the kernel writes."""
    return types.Array(dtype, ndim, "C")


class _Idle(threading.local):
    on = False


_idle = _Idle()


@contextlib.contextmanager
def shapes_only() -> Iterator[None]:
    """Kernels that this thread would have to compile first do nothing within the block.

    For whoever wants the shapes of results and not the numbers: those are whatever was in memory.
    """
    before, _idle.on = _idle.on, True
    try:
        yield
    finally:
        _idle.on = before


class Kernel:
    """A function with one fixed signature, compiled or read from the cache when first called."""

    def __init__(self, function: Callable[..., Any], signature: Any, **flags: Any) -> None:
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__wrapped__ = function
        code = function.__code__
        names = code.co_varnames[: code.co_argcount]
        self.band = names.index("first") if "first" in names else -1  # place of (first, last)
        self.signature = signature
        self._lock = threading.Lock()
        self._ready = False
        with _cache_in_force(Path(function.__code__.co_filename).parent) as cached:
            self.dispatcher = njit(cache=cached, **{**FLAGS, **flags})(function)

    def __call__(self, *args: Any) -> Any:
        if not self._ready:
            if _idle.on:
                return None
            self.compile()
        return self.dispatcher(*args)

    def compile(self) -> None:
        """Make the machine code ready: from the cache where possible, by the compiler otherwise."""
        with self._lock:
            if self._ready:
                return
            if not numba.config.DISABLE_JIT:
                try:
                    self.dispatcher.compile(self.signature)
                except OSError:  # the cache cannot be read or written: work without it
                    self.dispatcher = njit(**FLAGS)(self.__wrapped__)
                    self.dispatcher.compile(self.signature)
                self.dispatcher.disable_compile()
            self._ready = True

    @cached_property
    def address(self) -> int:
        """Where the machine code lies."""
        self.compile()
        compiled = next(iter(self.dispatcher.overloads.values()))
        return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))


def kernel(signature: Any, **flags: Any) -> Callable[[Callable[..., Any]], Kernel]:
    """Declare an entry point: ``@kernel(void(ro(uint8, 2), rw(int32, 2)))``."""
    return lambda function: Kernel(function, signature, **flags)


def device(function: Callable[..., Any]) -> Any:
    """Declare a function that only kernels call; it is compiled into each of them.

    It gets no door to Python of its own, which saves a third of its compile time.
    """
    closed = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return njit(forceinline=True, **closed, **FLAGS)(function)


@contextlib.contextmanager
def on_compile(tell: Callable[[], None]) -> Iterator[None]:
    """Call ``tell`` once, just before the first real compilation within the block."""

    class Listener(event.Listener):
        told = False

        def on_start(self, event: Any) -> None:
            if not self.told:
                self.told = True
                tell()

        def on_end(self, event: Any) -> None:
            pass

    with event.install_listener("numba:compile", Listener()):
        yield


@cache
def cache_folder(sources: Path) -> Path | None:
    """Folder of the compiled kernels: ``VJ_CACHE_DIR``, the user's cache, or a temporary folder.

    Its last part is a hash of all files below the folder ``sources`` and below this one's, because
    an edit to a file does not invalidate the cached kernels of another file that inline it. None
    where nothing is writable.
    """
    digest = hashlib.sha256(numba.__version__.encode())
    for folder in sorted({Path(__file__).parent, sources}):
        for source in sorted(folder.rglob("*.py")):
            digest.update(source.read_bytes())
    stamp = digest.hexdigest()[:16]
    for base in _cache_candidates():
        folder = base / stamp
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return None


def _cache_candidates() -> Iterator[Path]:
    if "VJ_CACHE_DIR" in os.environ:
        yield Path(os.environ["VJ_CACHE_DIR"])
    if "XDG_CACHE_HOME" in os.environ:
        yield Path(os.environ["XDG_CACHE_HOME"]) / "vj-detect"
    with contextlib.suppress(RuntimeError):  # no home directory
        yield Path.home() / ".cache" / "vj-detect"
    user = os.getuid() if hasattr(os, "getuid") else "user"
    yield Path(tempfile.gettempdir()) / f"vj-detect-{user}"


@contextlib.contextmanager
def _cache_in_force(sources: Path) -> Iterator[bool]:
    """Point Numba's cache to our folder while a function is declared, then give it back.

    The setting is read at declaration only, so the caches of other packages stay where they are.
    """
    folder, before = cache_folder(sources), numba.config.CACHE_DIR
    if folder is None:
        yield False
        return
    numba.config.CACHE_DIR = str(folder)
    try:
        yield True
    finally:
        numba.config.CACHE_DIR = before
