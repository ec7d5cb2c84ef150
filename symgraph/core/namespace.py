"""All ops and functions by name; apart, so that everything may look names up when it runs."""

from __future__ import annotations

from collections.abc import Callable
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
        divmod: Callable[..., tuple[Node, Node]]
        dsplit: Callable[..., list[Node]]
        eig: Callable[..., tuple[Node, Node]]
        eigh: Callable[..., tuple[Node, Node]]
        foldl: Callable[..., Any]
        foldr: Callable[..., Any]
        frexp: Callable[..., tuple[Node, Node]]
        gradient: Callable[..., Any]
        histogram: Callable[..., tuple[Node, Node]]
        lu: Callable[..., tuple[Node, Node, Node]]
        hsplit: Callable[..., list[Node]]
        loop_pull_back: Callable[..., list[Node | None]]
        loop_push_forward: Callable[..., list[Node | None]]
        map: Callable[..., Any]
        meshgrid: Callable[..., list[Node]]
        modf: Callable[..., tuple[Node, Node]]
        qr: Callable[..., Any]
        reduce: Callable[..., Any]
        results_of: Callable[..., list[Node]]
        scan: Callable[..., Any]
        shape: Callable[..., tuple[Any, ...]]
        size: Callable[..., Any]
        slogdet: Callable[..., tuple[Node, Node]]
        split: Callable[..., list[Node]]
        svd: Callable[..., Any]
        topk: Callable[..., tuple[Node, Node]]
        unique: Callable[..., Any]
        unravel_index: Callable[..., list[Node]]
        unlimited_pull_back: Callable[..., list[Node | None]]
        unstack: Callable[..., list[Node]]
        until: Callable[..., Any]
        vmap: Callable[..., Callable[..., Any]]
        vsplit: Callable[..., list[Node]]
        while_loop: Callable[..., Any]

    def __init__(self) -> None:
        self._functions: dict[str, Callable[..., Any]] = {}

    def __getattr__(self, name: str) -> Callable[..., Node]:
        try:
            return self._functions[name]
        except KeyError:
            raise AttributeError(f"no op or function is called {name!r}") from None

    def __contains__(self, name: str) -> bool:
        return name in self._functions

    def names(self) -> list[str]:
        return sorted(self._functions)


o = Namespace()
