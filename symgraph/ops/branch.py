"""Lazy choice: of two subgraphs only the one that a scalar condition selects is computed.

A branch node is a compound with two closed bodies over the same arguments; `result` nodes name what
they return. It is lowered to two loops that run once or not at all.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from symgraph.core.body import Body, close, retyped
from symgraph.core.dtype import BOOL
from symgraph.core.errors import DTypeError, ShapeError
from symgraph.core.node import CONSTANT, Node, as_node, describe, make
from symgraph.core.op import Op, function, o
from symgraph.core.types import TensorType
from symgraph.core.vectorise import Batched, vectorise
from symgraph.core.walk import substitute, toposort
from symgraph.dims.dim import must_equal
from symgraph.ops.loop import RESULT, Evaluate, evaluate_body, results_of

BranchParams = namedtuple("BranchParams", "then otherwise")  # noqa: PYI024


class Branch(Op):
    """Inputs: the condition (a bool scalar), then the arguments of both bodies."""

    name = "branch"
    doc = "One of two subgraphs, chosen by a scalar; the other one is not computed."
    params = BranchParams._fields
    Params = BranchParams
    opaque = True
    compound = True
    instance: Branch

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        for a, b in zip(params.then.outputs, params.otherwise.outputs, strict=True):
            _same_type(a, b)
        return TensorType(BOOL, ())

    def result_types(self, node: Node) -> list[TensorType]:
        """Return the types of the results."""
        return [n.type for n in node.params.then.outputs]

    def resized(
        self, node: Node, inputs: tuple[Node, ...], values: Any, specialise: Callable[..., Any]
    ) -> Node:
        """Return the branch for other sizes of its inputs."""

        def body(old: Body) -> Body:
            types = {a: x.type for a, x in zip(old.args, inputs[1:], strict=True)}
            outputs, _ = specialise(old.outputs, values, types)
            renamed = retyped(old, types)
            return Body(tuple(renamed[a] for a in old.args), tuple(outputs), old.level)

        return make(self, inputs, BranchParams(body(node.params.then), body(node.params.otherwise)))

    def numpy(self, node: Node, *arrays: np.ndarray) -> Any:
        return self.compute(node, arrays, evaluate_body)

    def compute(self, node: Node, arrays: Sequence[np.ndarray], evaluate: Evaluate) -> Any:
        """Compute the results with `evaluate` in place of `evaluate_body`."""
        body = node.params.then if bool(arrays[0]) else node.params.otherwise
        return evaluate(body, toposort(body.outputs), arrays[1:])

    def test_value(self, node: Node) -> Any:
        values: list[Any] = [
            i.data if i.op is CONSTANT else i.test_value for i in node.inputs
        ]
        return None if any(v is None for v in values) else self.numpy(node, *values)

    def repeat(self, low: Any, node: Node, wanted: dict[int, Any]) -> None:
        """Lower both sides; `wanted` are the buffers of the results that are used."""
        low.branch(
            node,
            wanted,
            condition=node.inputs[0],
            sides=[
                (list(zip(b.args, node.inputs[1:], strict=True)), b.outputs) for b in node.params
            ],
        )

    def pull_back(self, node: Node, gradients: Mapping[int, Node], accumulate: Any) -> Any:
        """Return the derivative by each input: again a branch."""
        keys = list(gradients)

        def side(body: Body) -> list[Node | None]:
            variables, outputs = body.open()
            parts = accumulate([(outputs[k], gradients[k]) for k in keys], variables)
            fill = dict(zip(variables, node.inputs[1:], strict=True))
            live = [p for p in parts if p is not None]
            found = iter(substitute(live, fill))
            return [None if p is None else next(found) for p in parts]

        return [None, *_both(node, side, list(gradients.values()))]

    def push_forward(
        self, node: Node, tangents: Sequence[Node | None], push: Any, accumulate: Any
    ) -> Any:
        """Return the tangent of each result."""
        given = [t for t in tangents[1:] if t is not None]

        def side(body: Body) -> list[Node | None]:
            variables, outputs = body.open()
            moves = {
                v: t for v, t in zip(variables, tangents[1:], strict=True) if t is not None
            }
            parts = push(outputs, moves)
            fill = dict(zip(variables, node.inputs[1:], strict=True))
            found = iter(substitute([p for p in parts if p is not None], fill))
            return [None if p is None else next(found) for p in parts]

        return _both(node, side, given)

    def batch_all(
        self, o: Any, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> list[Batched]:
        """Return each result for a batch; a batch of conditions computes both sides."""
        given = list(zip(inputs[1:], axes[1:], strict=True))
        sides = [
            vectorise(b.outputs, dict(zip(b.args, given, strict=True))) for b in node.params
        ]
        size = next(x.type.shape[a] for x, a in zip(inputs, axes, strict=True) if a is not None)
        whole = [[_front(x, a, size) for x, a in side] for side in sides]
        if axes[0] is None:
            chosen = make_branch(inputs[0], whole[0], whole[1], inputs[1:])
            return [(r, 0) for r in chosen]
        return [(_chosen(inputs[0], x, y), 0) for x, y in zip(*whole, strict=True)]


BRANCH = Branch.instance = Branch()


def _front(x: Node, axis: int | None, size: Any) -> Node:
    if axis is None:
        return o.broadcast_to(x, (size, *x.type.shape))
    return o.moveaxis(x, axis, 0) if axis else x


def _chosen(condition: Node, x: Node, y: Node) -> Node:
    more = tuple(range(1, x.ndim))
    return o.where(o.expand_dims(condition, more) if more else condition, x, y)


def _both(
    node: Node, side: Callable[[Body], list[Node | None]], more: Sequence[Node]
) -> list[Node | None]:
    """Return what both sides give as the results of a branch; None where neither gives any."""
    then, otherwise = side(node.params.then), side(node.params.otherwise)
    live = [
        k
        for k, (a, b) in enumerate(zip(then, otherwise, strict=True))
        if a is not None or b is not None
    ]
    pairs = [(then[k], otherwise[k]) for k in live]
    first = [o.zeros_like(b) if a is None else a for a, b in pairs]
    second = [o.zeros_like(a) if b is None else b for a, b in pairs]
    found: list[Node | None] = [None] * len(then)
    chosen = make_branch(node.inputs[0], first, second, [*node.inputs[1:], *more])
    for k, result in zip(live, chosen, strict=True):
        found[k] = result
    return found


def make_branch(
    condition: Node, then: Sequence[Node], otherwise: Sequence[Node], outside: Iterable[Node] = ()
) -> list[Node]:
    """Return the results of a branch. Both sides are computed inside of it from the inputs of the
    graph, and from the nodes `outside`, which are computed in any case."""
    around = set(outside)

    def given(n: Node) -> bool:
        """Tell whether a value is there; of a loop around, results that nobody read are too."""
        return not n.op.compound and (n in around or (n.op is RESULT and n.inputs[0] in around))

    order = toposort([*then, *otherwise], stop=given)
    args = [
        n
        for n in order
        if given(n) or (n.op.is_leaf and not (n.op is CONSTANT and n.data.size == 1))
    ]
    more = [n for side in (then, otherwise) for n in close(args, side)[1]]
    args += list(dict.fromkeys(more))  # expressions of constants
    (first, _), (second, _) = close(args, then), close(args, otherwise)
    level = max(first.level, second.level)
    sides = [_at_level(b, level) for b in (first, second)]
    return results_of(make(BRANCH, (condition, *args), BranchParams(*sides)))


def _at_level(body: Body, level: int) -> Body:
    """Return the body with its arguments numbered for a level: both sides name them alike."""
    args = tuple(make(a.op, (), (level, a.params[1]), type=a.type) for a in body.args)
    if args == body.args:
        return body
    renamed = dict(zip(body.args, args, strict=True))
    return Body(args, tuple(substitute(body.outputs, renamed)), level)


def _same_type(a: Node, b: Node) -> None:
    if a.dtype is not b.dtype:
        raise DTypeError(
            f"the sides of a branch differ: `{describe(a)}` is {a.type}, `{describe(b)}` is "
            f"{b.type}\n  mend:   cast one of them: .astype('{a.dtype}')"
        )
    pairs = list(zip(a.type.shape, b.type.shape, strict=False))
    if a.ndim != b.ndim or any(
        isinstance(p, int) and isinstance(q, int) and p != q for p, q in pairs
    ):
        raise ShapeError(
            f"the sides of a branch differ in shape: `{describe(a)}` is {a.type}, "
            f"`{describe(b)}` is {b.type}"
        )
    for p, q in pairs:
        must_equal(p, q)


@function
def cond(condition: Any, then: Any, otherwise: Any, *operands: Any) -> Any:
    """Return `then` where the scalar condition holds, else `otherwise`; only one is computed.

    Both are variables (or lists of them), or functions of `operands` that return such. What only
    one side needs is computed only where that side is chosen; derivatives flow to the chosen side
    only, so a NaN of the other cannot leak. Under `vmap` over conditions both sides are computed.
    `sg.where` chooses element by element instead.

    Raises ShapeError if the condition is no scalar or the sides differ in shape, DTypeError if they
    differ in dtype.

    >>> x = sg.scalar("x", dtype="float64")
    >>> y = sg.cond(x > 0, lambda: sg.log(x), lambda: -x)
    >>> float(y.eval({x: -2.0}))
    2.0
    """
    c = as_node(condition)
    if c.ndim != 0:
        raise ShapeError(
            f"the condition of sg.cond must be a scalar; `{describe(c)}` is {c.type}\n"
            "  mend:   sg.where chooses element by element"
        )
    sides = [s(*operands) if callable(s) else s for s in (then, otherwise)]
    many = [isinstance(s, (list, tuple)) for s in sides]
    lists = [list(s) if m else [s] for s, m in zip(sides, many, strict=True)]
    if many[0] != many[1] or len(lists[0]) != len(lists[1]):
        raise ValueError("both sides of sg.cond must return the same number of values")
    pairs = [_adapted(a, b) for a, b in zip(*lists, strict=True)]
    chosen = make_branch(o.cast(c, "bool"), [a for a, _ in pairs], [b for _, b in pairs])
    return chosen if many[0] else chosen[0]


def _adapted(a: Any, b: Any) -> tuple[Node, Node]:
    """Return both as nodes; a Python number takes the other's dtype."""
    x = as_node(a, (b.dtype,)) if isinstance(b, Node) else as_node(a)
    return x, as_node(b, (x.dtype,))
