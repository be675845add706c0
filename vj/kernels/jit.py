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
import logging
import os
import threading
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numba
from numba import njit, types
from numba.core import event
from numba.core.compiler_lock import global_compiler_lock

from vj.codecache import Folders, Store, find_folders
from vj.kernels.simd.plain import interpreted

# Kernels never allocate, so they need no reference counts (which would cost calls in hot loops).
FLAGS: dict[str, Any] = {
    "nogil": True,
    "fastmath": False,
    "error_model": "numpy",
    "_nrt": False,
}


if hasattr(os, "register_at_fork"):
    # A process forked in the middle of a compilation would find the lock held for good: fork waits.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


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
        self._ready = False
        self._address: int | None = None
        if numba.config.DISABLE_JIT:
            self.dispatcher: Any = interpreted(function, signature)
            return
        self.dispatcher = njit(**{**FLAGS, **flags})(function)
        self.dispatcher._cache = Store(
            function, partial(cache_folders, Path(code.co_filename).parent)
        )

    def __call__(self, *args: Any) -> Any:
        if not self._ready:
            if _idle.on:
                return None
            self.compile()
        return self.dispatcher(*args)

    def compile(self) -> None:
        """Make the machine code ready: from the cache where possible, by the compiler otherwise."""
        with global_compiler_lock:
            if self._ready:
                return
            if not numba.config.DISABLE_JIT:
                with event.install_listener("numba:compile", _Compilation()):
                    self.dispatcher.compile(self.signature)
                self.dispatcher.disable_compile()
            self._ready = True

    @property
    def address(self) -> int:
        """Where the machine code lies; without it, the function, which `simd.plain.call` calls."""
        if numba.config.DISABLE_JIT:
            return id(self.dispatcher)
        if self._address is None:
            with global_compiler_lock:
                self.compile()
                compiled = next(iter(self.dispatcher.overloads.values()))
                name = compiled.fndesc.llvm_func_name
                self._address = int(compiled.library.get_pointer_to_function(name))
        return self._address


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
    """Call ``tell`` once, just before the first real compilation within the block.

    Outside of such blocks the first compilation of a process is logged, as a warning of the logger
    "vj", because it takes seconds.
    """
    once = _Once(tell)
    _told.append(once)
    try:
        yield
    finally:
        _told.remove(once)


class _Once:
    """A function that is called once."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell: Callable[[], None] | None = tell

    def __call__(self) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            tell()


def _log() -> None:
    logging.getLogger("vj").warning("compiling for this machine, which happens once ...")


_told = [_Once(_log)]  # whoever came last is told of a compilation


class _Compilation(event.Listener):
    """Tells of what is compiled; what comes from the cache is not."""

    def on_start(self, event: Any) -> None:
        _told[-1]()

    def on_end(self, event: Any) -> None:
        pass


@cache
def cache_folders(sources: Path) -> Folders:
    """Folders of the compiled kernels whose source lies in ``sources``.

    They are named by a hash of all files below ``sources`` and below this file's folder, because
    an edit to a file does not invalidate the cached kernels of another file that inline it.
    """
    digest = hashlib.sha256(b"checked" if numba.config.BOUNDSCHECK else b"")
    for folder in sorted({Path(__file__).parent, sources}):
        for source in sorted(folder.rglob("*.py")):
            digest.update(source.read_bytes())
    return find_folders(digest.hexdigest()[:16])
