"""All ops and functions by name; apart, so that everything may look names up when it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Namespace:
    """All ops and functions by name, as attributes: what rules get as `o`.

    Rules look functions up when they run, so op files never import each other.
    """

    def __init__(self) -> None:
        self._functions: dict[str, Callable[..., Any]] = {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        try:
            return self._functions[name]
        except KeyError:
            raise AttributeError(f"no op or function is called {name!r}") from None

    def __contains__(self, name: str) -> bool:
        return name in self._functions

    def names(self) -> list[str]:
        return sorted(self._functions)


o = Namespace()
