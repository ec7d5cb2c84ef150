"""Modules that are loaded at first use: the compiler's back end is not needed to build a graph."""

from __future__ import annotations

import importlib
from typing import Any


class LazyModule:
    """Stands for a module, which is imported when an attribute is first read.

    The import system's own locks make this safe between threads; `importlib.util.LazyLoader` is
    not before Python 3.12: a second thread may see a half-loaded module.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)

    def __repr__(self) -> str:
        return f"<lazy module {self._name!r}>"


def lazy(name: str) -> Any:
    """Return a stand-in for the module `name`; ModuleNotFoundError at first use if none."""
    return LazyModule(name)
