"""Derivatives of one part of a graph after the other, from its end to its beginning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from symgraph.autodiff.grad import grad
from symgraph.core.node import Node


def subgraph_grad(
    wrt: Sequence[Node],
    end: Sequence[Node],
    start: Mapping[Node, Any] | None = None,
    cost: Node | None = None,
) -> tuple[list[Node], list[Node]]:
    """Return the derivatives by `wrt` and by `end`, as far as the graph behind `end` gives them.

    The walk goes from the scalar `cost`, and from the nodes of `start` with the derivatives that
    stand beside them, and ends at the nodes of `end`: what comes from before them is treated as a
    constant. The derivatives by `end` are the `start` of the part before. So gradients are taken
    layer by layer, and changed between layers (target propagation, synthetic gradients).

    Raises TypeError without cost and start, and what `sg.grad` raises.

    >>> x, w, v = (sg.scalar(name, dtype="float64") for name in "xwv")
    >>> hidden = sg.tanh(w * x)
    >>> (by_v,), (by_hidden,) = sg.subgraph_grad([v], [hidden], cost=(v * hidden) ** 2)
    >>> (by_w,), _ = sg.subgraph_grad([w], [x], start={hidden: by_hidden})
    >>> float(by_w.eval({x: 1.0, w: 0.0, v: 2.0}))
    0.0
    """
    wrt, end = list(wrt), list(end)
    found = grad(
        cost,
        [*wrt, *end],
        consider_constant=end,
        known_grads=start,
        disconnected_inputs="ignore",
    )
    return found[: len(wrt)], found[len(wrt) :]
