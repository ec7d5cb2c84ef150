"""Subgraphs whose intermediate values are computed again on the way back, not kept.

Griewank and Walther, Evaluating Derivatives (2008), chapter 12; Chen, Xu, Zhang and
Guestrin, Training Deep Nets with Sublinear Memory Cost (2016).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from symgraph.autodiff.grad import Lop, Rop
from symgraph.core.body import Body, close
from symgraph.core.node import Node, as_node, new_input
from symgraph.core.op import o
from symgraph.core.walk import substitute


def checkpoint(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return `fn` with a gradient that takes less memory and one more evaluation.

    Reverse mode keeps the arguments only, and computes what lies between them and the results again
    when the gradient arrives. Values and derivatives are those of `fn`, in all modes and orders.
    `fn` takes variables, may use outer ones (weights, say), which have derivatives too, and returns
    one variable or a list. A training step of n layers in groups of sqrt(n), each group a
    checkpoint, keeps some 2 sqrt(n) activations. For loops, `sg.scan` has `memory=`.

    >>> x, w = sg.vector("x", dtype="float64"), sg.matrix("w", dtype="float64")
    >>> group = sg.checkpoint(lambda h: sg.tanh(sg.tanh(h @ w) @ w))
    >>> g = sg.grad(group(group(x)).sum(), x)
    >>> g.eval({x: np.zeros(2), w: np.eye(2) * 2})
    array([16., 16.])
    """

    def checkpointed(*args: Any) -> Any:
        nodes = [as_node(a) for a in args]
        variables = [new_input(x.dtype, x.type.shape, x.name) for x in nodes]
        value = fn(*variables)
        several = isinstance(value, (list, tuple))
        body, outer = close(variables, [as_node(v) for v in (value if several else [value])])

        ruled = o.custom_vjp(
            lambda *places: body.apply(places),
            lambda inputs, _, gradients: _pulled(body, len(nodes), inputs, gradients),
            lambda inputs, tangents: _pushed(body, inputs, tangents),
        )
        found = ruled(*nodes, *outer)
        return type(value)(found) if several else found[0]

    return checkpointed


def _pulled(body: Body, count: int, inputs: list[Node], gradients: list[Node]) -> list[Node | None]:
    """Return the derivative by each input; the first `count` wait for the gradients.

    What is computed from them is another value than on the way forward, and comes later.
    """
    places, outputs = body.open()
    results = [y for y in outputs if y.dtype.is_inexact]
    weights = [new_input(y.dtype, y.type.shape, "gradient") for y in results]
    moving = [x for x in places if x.dtype.is_inexact]
    options = {"disconnected_inputs": "ignore", "return_disconnected": "none"}
    found = dict(zip(moving, Lop(results, moving, weights, **options), strict=True))
    arrived = [g for g, y in zip(gradients, outputs, strict=True) if y.dtype.is_inexact]
    late = [o.behind(x, *arrived) for x in inputs[:count]]
    values = [found.get(x) for x in places]
    return _at(values, [*places, *weights], [*late, *inputs[count:], *arrived])


def _pushed(body: Body, inputs: list[Node], tangents: list[Node]) -> list[Node | None]:
    places, outputs = body.open()
    moves = [new_input(x.dtype, x.type.shape, "tangent") for x in places]
    pairs = [(x, t) for x, t in zip(places, moves, strict=True) if x.dtype.is_inexact]
    found = Rop(outputs, [x for x, _ in pairs], [t for _, t in pairs])
    return _at(found, [*places, *moves], [*inputs, *tangents])


def _at(
    values: Sequence[Node | None], places: Sequence[Node], inputs: Sequence[Node]
) -> list[Node | None]:
    """Return `values` with `inputs` in the place of variables."""
    live = [v for v in values if v is not None]
    found = iter(substitute(live, dict(zip(places, inputs, strict=True))))
    return [None if v is None else next(found) for v in values]
