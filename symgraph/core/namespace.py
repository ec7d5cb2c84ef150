"""All ops and functions by name; apart, so that everything may look names up when it runs.

Most are not loaded at first: a catalogue says which module makes a name, and the module is imported
when the name is looked up.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from symgraph.core.node import Node


class Namespace:
    """All ops and functions by name, as attributes: what rules get as `o`.

    Rules look functions up when they run, so op files never import each other. A function returns
    one node unless it is declared here.
    """

    if TYPE_CHECKING:
        array_split: Callable[..., list[Node]]
        as_size: Callable[..., Any]
        associative_scan: Callable[..., Any]
        batched_loop: Callable[..., list[tuple[Node, int | None]]]
        broadcast_arrays: Callable[..., list[Node]]
        broadcast_shapes_of: Callable[..., tuple[Any, ...]]
        cond: Callable[..., Any]
        cummax: Callable[..., Any]
        cummin: Callable[..., Any]
        custom_jvp: Callable[..., Callable[..., Any]]
        custom_vjp: Callable[..., Callable[..., Any]]
        diag_indices: Callable[..., list[Node]]
        divmod: Callable[..., tuple[Node, Node]]
        dsplit: Callable[..., list[Node]]
        eig: Callable[..., tuple[Node, Node]]
        eigh: Callable[..., tuple[Node, Node]]
        expm_frechet: Callable[..., tuple[Node, Node]]
        foldl: Callable[..., Any]
        foldr: Callable[..., Any]
        fori_loop: Callable[..., Any]
        frexp: Callable[..., tuple[Node, Node]]
        gradient: Callable[..., Any]
        histogram: Callable[..., tuple[Node, Node]]
        histogram2d: Callable[..., tuple[Node, Node, Node]]
        histogramdd: Callable[..., tuple[Node, list[Node]]]
        ix_: Callable[..., tuple[Node, ...]]
        lu: Callable[..., tuple[Node, Node, Node]]
        lu_factor: Callable[..., tuple[Node, Node]]
        hsplit: Callable[..., list[Node]]
        loop_pull_back: Callable[..., list[Node | None]]
        loop_push_forward: Callable[..., list[Node | None]]
        map: Callable[..., Any]
        meshgrid: Callable[..., list[Node]]
        modf: Callable[..., tuple[Node, Node]]
        nonzero: Callable[..., tuple[Node, ...]]
        fresnel: Callable[..., tuple[Node, Node]]
        polar_factors: Callable[..., tuple[Node, Node]]
        sici: Callable[..., tuple[Node, Node]]
        hessenberg: Callable[..., Any]
        qr: Callable[..., Any]
        schur: Callable[..., Any]
        reduce: Callable[..., Any]
        results_of: Callable[..., list[Node]]
        scan: Callable[..., Any]
        shape: Callable[..., tuple[Any, ...]]
        size: Callable[..., Any]
        slogdet: Callable[..., tuple[Node, Node]]
        split: Callable[..., list[Node]]
        svd: Callable[..., Any]
        topk: Callable[..., tuple[Node, Node]]
        tril_indices: Callable[..., list[Node]]
        tril_indices_from: Callable[..., list[Node]]
        triu_indices: Callable[..., list[Node]]
        triu_indices_from: Callable[..., list[Node]]
        unique: Callable[..., Any]
        vectorize: Callable[..., Callable[..., Any]]
        unravel_index: Callable[..., list[Node]]
        unlimited_pull_back: Callable[..., list[Node | None]]
        unstack: Callable[..., list[Node]]
        until: Callable[..., Any]
        vmap: Callable[..., Callable[..., Any]]
        vsplit: Callable[..., list[Node]]
        while_loop: Callable[..., Any]

    def __init__(self) -> None:
        self._catalogue = Catalogue()

    def __getattr__(self, name: str) -> Callable[..., Node]:
        """Load the family of a function; what was entered is an ordinary attribute."""
        if self._catalogue.load(name):
            found: Callable[..., Node] = vars(self)[name]
            return found
        raise AttributeError(f"no op or function is called {name!r}")

    def __contains__(self, name: str) -> bool:
        return name in self._catalogue.modules or (name in vars(self) and name[0] != "_")

    def names(self) -> list[str]:
        """Return all names, loaded or not."""
        loaded = {name for name in vars(self) if name[0] != "_"}
        return sorted(loaded | self._catalogue.modules.keys())

    def enter(self, name: str, function: Callable[..., Any]) -> None:
        """Let a function be found under a name; TypeError if another one is."""
        if vars(self).setdefault(name, function) is not function:
            raise TypeError(f"two functions are called {name!r}")

    def announce(self, families: Mapping[str, str]) -> None:
        """Say which names the import of a module will enter: names separated by spaces."""
        self._catalogue.announce(families)


class Catalogue:
    """The module in which each name is made, for names whose module may not be loaded yet."""

    def __init__(self) -> None:
        self.modules: dict[str, str] = {}

    def announce(self, families: Mapping[str, str]) -> None:
        """Enter the names of each module, separated by spaces."""
        for module, names in families.items():
            self.modules.update(dict.fromkeys(names.split(), module))

    def load(self, name: str) -> bool:
        """Import the module that makes a name; False if none does."""
        module = self.modules.get(name)
        if module is None:
            return False
        importlib.import_module(module)
        return True


o = Namespace()
