"""Old import paths of moved modules: they still work, and say where the module is now."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _Redirect(Loader):
    def __init__(self, new: str) -> None:
        self.new = new

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        warnings.warn(
            f"{spec.name} has moved: import {self.new} instead", DeprecationWarning, stacklevel=2
        )
        return ModuleType(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        # The import system returns what stands in sys.modules once the module has been executed.
        sys.modules[module.__name__] = import_module(self.new)


class MovedModules(MetaPathFinder):
    """Finder that redirects each old name, and every name below it, to its new place.

    Parameters
    ----------
    moves : mapping of str to str
        Old dotted module name to new one.
    """

    def __init__(self, moves: Mapping[str, str]) -> None:
        self.moves = moves

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a redirecting spec for a moved module and None for every other one."""
        head = name
        while head:
            if head in self.moves:
                return ModuleSpec(name, _Redirect(self.moves[head] + name[len(head) :]))
            head = head.rpartition(".")[0]
        return None


def redirect(moves: Mapping[str, str]) -> None:
    """Install a finder for ``moves``.

    It comes first: the regular one would load a submodule of a moved package a second time, under
    its old name.
    """
    sys.meta_path.insert(0, MovedModules(moves))
