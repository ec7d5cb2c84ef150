"""Solutions whose derivatives follow from the equation they solve, not from how they were found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from symgraph.autodiff.grad import grad
from symgraph.core.errors import DTypeError, ShapeError
from symgraph.core.node import CONSTANT, Node, as_node, describe, new_input
from symgraph.core.op import o
from symgraph.core.walk import substitute, toposort

Map = Callable[[Node], Node]


class Closed:
    """A function of one variable with what it uses beside it as parameters."""

    def __init__(self, f: Map, x: Node, what: str = "") -> None:
        self.variable = new_input(x.dtype, x.type.shape, "x")
        self.value = as_node(f(self.variable), (x.dtype,))
        if self.value.dtype is not x.dtype or self.value.ndim != x.ndim:
            raise ShapeError(
                f"{what}: the function returned {self.value.type} for {x.type}\n"
                "  mend:   return as many values as there are unknowns"
            )
        depends = {self.variable}
        used: dict[Node, None] = {}
        for n in toposort([self.value]):
            if depends.isdisjoint(n.inputs):
                continue
            depends.add(n)
            used.update((i, None) for i in n.inputs)
        leaves = [n for n in used if n not in depends and not _constant(n)]
        if self.value not in depends and not _constant(self.value):
            leaves.append(self.value)
        self.parameters = leaves

    def __call__(self, x: Node, parameters: Sequence[Node]) -> Node:
        pairs = zip(self.parameters, parameters, strict=True)
        return substitute([self.value], {self.variable: x, **dict(pairs)})[0]


def _closed(f: Map, x: Node, what: str) -> Closed:
    if not x.dtype.is_float:
        raise DTypeError(f"{what} is for real floats, `{describe(x)}` is {x.type}")
    return Closed(f, x, what)


def _constant(x: Node) -> bool:
    return all(n.op is CONSTANT or not n.op.is_leaf for n in toposort([x]))


def _pulled(
    closed: Closed, x: Node, parameters: Sequence[Node], weight: Node
) -> list[Node | None]:
    """Return minus the derivative of weight . f(x, parameters) by each parameter."""
    places = [new_input(p.dtype, p.type.shape, p.name) for p in parameters]
    moving = [p for p in places if p.dtype.is_float]
    at = o.sum(closed(x, places) * weight)
    found = iter(grad(at, moving, disconnected_inputs="ignore") if moving else ())
    back = dict(zip(places, parameters, strict=True))
    return [-substitute([next(found)], back)[0] if p.dtype.is_float else None for p in places]


def custom_linear_solve(
    matvec: Map,
    b: Any,
    solve: Callable[[Map, Node], Node],
    transpose_solve: Callable[[Map, Node], Node] | None = None,
    symmetric: bool = False,
) -> Node:
    """Return x with matvec(x) = b as solve(matvec, b) finds it, with the derivatives of a solution.

    matvec is linear in its argument and may use outer variables, which have derivatives too.
    transpose_solve(vecmat, c) solves with the transpose of the map, by default `solve` does (it
    must then serve any such map; `symmetric`: the map is its own transpose). `solve` itself is not
    differentiated, so it may be a loop without end. Real floats; as jax.lax.custom_linear_solve.

    >>> a, b = sg.matrix("a", dtype="float64"), sg.vector("b", dtype="float64")
    >>> x = sg.custom_linear_solve(lambda v: a @ v, b, lambda f, y: sg.solve(a, y),
    ...                            lambda f, y: sg.solve(a.T, y))
    >>> g = sg.grad(x.sum(), b)  # a^-T applied to ones
    >>> [float(v) for v in g.eval({a: np.diag([2.0, 4.0]), b: np.ones(2)})]
    [0.5, 0.25]
    """
    right = as_node(b)
    closed = _closed(matvec, right, "custom_linear_solve")
    backward = solve if symmetric or transpose_solve is None else transpose_solve
    return _linear(closed, right, closed.parameters, solve, backward, symmetric)


def _linear(
    closed: Closed,
    b: Node,
    parameters: Sequence[Node],
    solve: Callable[[Map, Node], Node],
    backward: Callable[[Map, Node], Node],
    symmetric: bool,
) -> Node:
    def pull(inputs: list[Node], outputs: list[Node], gradients: list[Node]) -> list[Any]:
        _, *values = inputs

        def transposed(v: Node) -> Node:
            if symmetric:
                return closed(v, values)
            variable = new_input(b.dtype, b.type.shape, "x")
            (found,) = grad(o.sum(closed(variable, values) * v), [variable])
            return substitute([found], {variable: o.zeros_like(outputs[0])})[0]

        other = _closed(transposed, gradients[0], "custom_linear_solve")
        weight = _linear(other, gradients[0], other.parameters, backward, solve, symmetric)
        return [weight, *_pulled(closed, outputs[0], values, weight)]

    return _solved(lambda v, params: solve(lambda x: closed(x, params), v), b, parameters, pull)


def _solved(
    solution: Callable[[Node, Sequence[Node]], Node], first: Node, parameters: Sequence[Node],
    pull: Any,
) -> Node:  # fmt: skip
    """Return the solution as a node of its own derivative; what `solve` uses becomes its inputs."""
    places = [new_input(p.dtype, p.type.shape, p.name) for p in (first, *parameters)]
    value = as_node(solution(places[0], places[1:]))
    known = set(places)
    outer = [
        n for n in toposort([value])
        if n.op.is_leaf and n.op is not CONSTANT and n not in known
    ]  # fmt: skip
    spare = [new_input(n.dtype, n.type.shape, n.name) for n in outer]
    found = substitute([value], dict(zip(outer, spare, strict=True)))[0]
    order = dict(enumerate([*places, *spare]))
    count = len(places)

    def body(*args: Node) -> Node:
        return substitute([found], {order[k]: a for k, a in enumerate(args)})[0]

    def whole(inputs: list[Node], outputs: list[Node], gradients: list[Node]) -> list[Any]:
        found = pull(inputs[:count], outputs, gradients)
        # what the user's functions use may by now stand for the variables of a loop's step
        now = {n: x for n, x in zip(outer, inputs[count:], strict=True) if n is not x}
        moved = [g if g is None else substitute([g], now)[0] for g in found]
        return [*moved, *[None] * len(outer)]

    solved: Node = o.custom_vjp(body, whole)(first, *parameters, *outer)
    return solved


def custom_root(
    f: Map,
    initial_guess: Any,
    solve: Callable[[Map, Node], Node],
    tangent_solve: Callable[[Map, Node], Node],
) -> Node:
    """Return x with f(x) = 0 as solve(f, initial_guess) finds it, with the derivatives of a root.

    By the implicit function theorem dx = -(df/dx)^-1 df: tangent_solve(g, y) solves g(x) = y for a
    linear map g, the derivative of f at x or its transpose (for scalars y / g(1)). f may use outer
    variables, by which x has derivatives of all orders; by the guess it is 0. `solve` itself is not
    differentiated. Real floats; as jax.lax.custom_root.

    >>> a = sg.scalar("a", dtype="float64")
    >>> newton = lambda f, x: sg.fori_loop(0, 20, lambda i, v: v - f(v) / sg.grad(f(v), v), x)
    >>> root = sg.custom_root(lambda x: x**2 - a, a, newton, lambda g, y: y / g(sg.ones_like(y)))
    >>> round(float(sg.grad(root, a).eval({a: 4.0})), 12)  # 1 / (2 sqrt(a))
    0.25
    """
    start = as_node(initial_guess)
    closed = _closed(f, start, "custom_root")

    def pull(inputs: list[Node], outputs: list[Node], gradients: list[Node]) -> list[Any]:
        guess, *values = inputs
        x = outputs[0]

        def transposed(v: Node) -> Node:
            variable = new_input(x.dtype, x.type.shape, "x")
            (found,) = grad(o.sum(closed(variable, values) * v), [variable])
            return substitute([found], {variable: x})[0]

        weight = custom_linear_solve(transposed, gradients[0], tangent_solve)
        return [o.zeros_like(guess), *_pulled(closed, x, values, weight)]

    return _solved(
        lambda v, params: solve(lambda x: closed(x, params), v), start, closed.parameters, pull
    )
