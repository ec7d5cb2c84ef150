"""Gradients of one's own: subgraphs whose derivative is what the user says.

A custom node is a compound: a closed body, and the user's derivative rule beside it. Derivatives
ask the rule; the compiler replaces the node by its body first of all.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from symgraph.core.body import Body, close, retyped, with_bodies
from symgraph.core.dtype import BOOL
from symgraph.core.errors import NotDifferentiableError, ShapeError
from symgraph.core.node import CONSTANT, Node, as_node, describe, make, new_input
from symgraph.core.op import Op, function, o
from symgraph.core.source import Source
from symgraph.core.types import TensorType
from symgraph.core.vectorise import Batched, vectorise
from symgraph.core.walk import toposort
from symgraph.ops.loop import RESULT, Evaluate, evaluate_body, results_of

CustomParams = namedtuple("CustomParams", "body pull push")  # noqa: PYI024


class Custom(Op):
    """A body with a derivative rule: pull(inputs, outputs, gradients) or push(inputs, tangents)."""

    name = "custom"
    doc = "A subgraph with a derivative of the user's own."
    params = CustomParams._fields
    Params = CustomParams
    opaque = True
    compound = True
    instance: Custom

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return TensorType(BOOL, ())

    def result_types(self, node: Node) -> list[TensorType]:
        """Return the types of the results."""
        return [n.type for n in node.params.body.outputs]

    def resized(
        self, node: Node, inputs: tuple[Node, ...], values: Any, specialise: Callable[..., Any]
    ) -> Node:
        """Return the node for other sizes of its inputs."""
        body = node.params.body
        types = {a: x.type for a, x in zip(body.args, inputs, strict=True)}
        outputs, _ = specialise(body.outputs, values, types)
        renamed = retyped(body, types)
        new = Body(tuple(renamed[a] for a in body.args), tuple(outputs), body.level)
        return make(self, inputs, node.params._replace(body=new))

    def numpy(self, node: Node, *arrays: np.ndarray) -> Any:
        return self.compute(node, arrays, evaluate_body)

    def compute(self, node: Node, arrays: Sequence[np.ndarray], evaluate: Evaluate) -> Any:
        """Compute the results with `evaluate` in place of `evaluate_body`."""
        body = node.params.body
        return evaluate(body, toposort(body.outputs), arrays)

    def test_value(self, node: Node) -> Any:
        values: list[Any] = [
            i.data if i.op is CONSTANT else i.test_value for i in node.inputs
        ]
        return None if any(v is None for v in values) else self.numpy(node, *values)

    def pull_back(self, node: Node, gradients: Mapping[int, Node], accumulate: Any) -> Any:
        """Return the derivative by each input: the user's, or the transpose of the user's."""
        outputs = results_of(node)
        if node.params.pull is not None:
            return _pulled(node, [gradients.get(k, o.zeros_like(y)) for k, y in enumerate(outputs)])
        tangents = [new_input(x.dtype, x.type.shape, "tangent") for x in node.inputs]
        images = _pushed(node, tangents)
        pairs = [(image, g) for k, g in gradients.items() if (image := images[k]) is not None]
        found = accumulate(pairs, tangents)
        _require_linear(node, found, tangents, "sg.custom_jvp", "tangents, so it has no reverse")
        return [g if x.dtype.is_inexact else None for g, x in zip(found, node.inputs, strict=True)]

    def push_forward(
        self, node: Node, tangents: Sequence[Node | None], push: Any, accumulate: Any
    ) -> Any:
        """Return the tangent of each result: the user's, or the transpose of the user's."""
        if node.params.push is not None:
            return _pushed(
                node,
                [
                    o.zeros_like(x) if t is None else t
                    for x, t in zip(node.inputs, tangents, strict=True)
                ],
            )
        seeds = [new_input(y.dtype, y.type.shape, "gradient") for y in results_of(node)]
        pairs = [
            (g, t)
            for g, t in zip(_pulled(node, seeds), tangents, strict=True)
            if g is not None and t is not None
        ]
        found = accumulate(pairs, seeds)
        _require_linear(node, found, seeds, "sg.custom_vjp", "gradients, so it has no forward")
        return found

    def batch_all(
        self, o: Any, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> list[Batched]:
        """Return the results for a batch; the derivative is the user's for each element."""
        p = node.params
        size = next(x.type.shape[a] for x, a in zip(inputs, axes, strict=True) if a is not None)
        fronts = [
            _front(x, a, size) if x.dtype.is_inexact or a is not None else x
            for x, a in zip(inputs, axes, strict=True)
        ]
        places = [0 if f is not x or a is not None else None
                  for f, x, a in zip(fronts, inputs, axes, strict=True)]  # fmt: skip
        variables = [new_input(x.dtype, x.type.shape) for x in fronts]
        batches = {
            a: (v, place) for a, v, place in zip(p.body.args, variables, places, strict=True)
        }
        outputs = [_front(y, a, size) for y, a in vectorise(p.body.outputs, batches)]
        pull = None if p.pull is None else _batched_rule(p.pull, places, 2)
        push = None if p.push is None else _batched_rule(p.push, places, 1)
        return [(r, 0) for r in _closed(variables, outputs, fronts, pull, push)]


CUSTOM = Custom.instance = Custom()


def _front(x: Node, axis: int | None, size: Any) -> Node:
    if axis is None:
        return o.broadcast_to(x, (size, *x.type.shape))
    return o.moveaxis(x, axis, 0) if axis else x


def _batched_rule(
    rule: Callable[..., Any], places: Sequence[int | None], lists: int
) -> Callable[..., Any]:
    """Return a rule for whole batches; `lists` of its arguments beside the inputs are batched."""

    def batched(inputs: Sequence[Node], *others: Sequence[Node]) -> list[Node | None]:
        batches: dict[Node, Batched] = {}

        def element(x: Node, place: int | None) -> Node:
            if place is None:
                return x
            variable = new_input(x.dtype, x.type.shape[1:], x.name)
            batches[variable] = (x, 0)
            return variable

        single = [element(x, place) for x, place in zip(inputs, places, strict=True)]
        rest = [[element(x, 0) for x in other] for other in others]
        assert len(rest) == lists
        found = rule(single, *rest)
        live = [g for g in found if g is not None]
        size = next(x.type.shape[0] for x, place in zip(inputs, places, strict=True) if place == 0)
        whole = iter(_front(y, a, size) for y, a in vectorise(live, batches))
        return [None if g is None else next(whole) for g in found]

    return batched


def _pulled(node: Node, gradients: Sequence[Node]) -> list[Node | None]:
    """Return the derivative by each input that the user's rule gives."""
    found = node.params.pull(list(node.inputs), results_of(node), [o.conj(g) for g in gradients])
    return [
        None if g is None or not x.dtype.is_inexact
        # rules of users have the convention of sg.grad
        else o.conj(_fitting(g, x, "the rule of sg.custom_vjp", "derivative by", node))
        for g, x in zip(found, node.inputs, strict=True)
    ]  # fmt: skip


def _pushed(node: Node, tangents: Sequence[Node]) -> list[Node | None]:
    """Return the tangent of each result that the user's rule gives."""
    found = node.params.push(list(node.inputs), list(tangents))
    return [
        None if t is None else _fitting(t, y, "the rule of sg.custom_jvp", "tangent of", node)
        for t, y in zip(found, results_of(node), strict=True)
    ]


def _fitting(value: Any, x: Node, rule: str, what: str, node: Node) -> Node:
    """Check what a user's rule returned for `x`: a value of its type.

    Sizes that are known later are compared by the broadcast that is left in the graph.
    """
    found = as_node(value, (x.dtype,))
    sizes = zip(found.type.shape, x.type.shape, strict=False)
    differ = any(isinstance(n, int) and isinstance(m, int) and n != m for n, m in sizes)
    if found.ndim != x.ndim or found.dtype is not x.dtype or differ:
        raise ShapeError(
            f"{rule} returned {found.type} as {what} `{describe(x)}` of type {x.type}\n  node:   "
            f"{describe(node)}, made at {node.source}\n"
            "  mend:   return a value of that type, or None for zero"
        )
    return o.broadcast_to(found, x.type.shape)


def _require_linear(
    node: Node, found: Sequence[Node | None], given: Sequence[Node], rule: str, missing: str
) -> None:
    """Raise where the transpose of a rule depends on what the rule should be linear in."""
    live = [n for n in found if n is not None]
    if not set(given).isdisjoint(toposort(live)):
        raise NotDifferentiableError(
            f"the rule of {rule} is not linear in the {missing} mode\n  node:   "
            f"{describe(node)}, made at {node.source}"
        )


def _answers(found: Any, wanted: int, rule: Callable[..., Any], who: str, what: str) -> list[Any]:
    """Return what a user's rule gave as a list; raises where it is none of the right length."""
    if isinstance(found, (list, tuple)) and len(found) == wanted:
        return list(found)
    code = getattr(rule, "__code__", None)
    place = repr(rule) if code is None else Source(code.co_filename, code.co_firstlineno)
    several = isinstance(found, (list, tuple))
    number = f"{len(found)} values" if several else "no list"
    raise ValueError(
        f"the rule of {who} returned {number}, expected a list of {wanted}\n  rule:   {place}\n"
        f"  mend:   return one value (or None for zero) for each {what}"
    )


def inlined(outputs: Sequence[Node]) -> list[Node]:
    """Replace custom nodes by their bodies, in the bodies of loops and branches too."""
    new: dict[Node, Node] = {}
    for node in toposort(outputs):
        if node.op is RESULT and node.inputs[0].op is CUSTOM:
            owner = node.inputs[0]
            inputs = [new[i] for i in owner.inputs]
            new[node] = inlined([owner.params.body.apply(inputs)[node.params.index]])[0]
            continue
        inputs = [new[i] for i in node.inputs]
        changed = node if tuple(inputs) == node.inputs else node.op.rebuild(node, tuple(inputs))
        new[node] = with_bodies(changed, inlined) if changed.op is not CUSTOM else changed
    return [new[n] for n in outputs]


def _closed(
    variables: Sequence[Node], outputs: Sequence[Node], nodes: Sequence[Node], pull: Any, push: Any
) -> list[Node]:
    """Return the results of a custom node on `nodes`, computed as `outputs` from `variables`.

    Expressions of constants become further inputs, which the rules do not see.
    """
    body, captured = close(variables, outputs)
    count, more = len(nodes), [None] * len(captured)

    def pulled(inputs: list[Node], results: list[Node], gradients: list[Node]) -> list[Any]:
        return [*pull(inputs[:count], results, gradients), *more]

    def pushed(inputs: list[Node], tangents: list[Node]) -> Any:
        return push(inputs[:count], tangents[:count])

    rules = (None if pull is None else pulled, None if push is None else pushed)
    return results_of(make(CUSTOM, (*nodes, *captured), CustomParams(body, *rules)))


def _traced(fn: Callable[..., Any], args: Sequence[Any], pull: Any, push: Any) -> Any:
    nodes = [as_node(a) for a in args]
    variables = [new_input(x.dtype, x.type.shape, x.name) for x in nodes]
    value = fn(*variables)
    several = isinstance(value, (list, tuple))
    outputs = [as_node(v) for v in (value if several else [value])]
    outer = [
        n for n in toposort(outputs)
        if n.op.is_leaf and n.op is not CONSTANT and n not in variables
    ]  # fmt: skip
    if outer:
        raise ValueError(
            f"a function with a derivative of its own uses `{describe(outer[0])}`, which is not an "
            "argument, so the rule would miss it\n  mend:   pass it as an argument"
        )

    def pulled(*given: list[Node]) -> list[Any]:
        return _answers(pull(*given), len(nodes), pull, "sg.custom_vjp", "argument")

    def pushed(*given: list[Node]) -> list[Any]:
        return _answers(push(*given), len(outputs), push, "sg.custom_jvp", "output")

    rules = (None if pull is None else pulled, None if push is None else pushed)
    found = _closed(variables, outputs, nodes, *rules)
    return type(value)(found) if several else found[0]


@function
def custom_vjp(
    fn: Callable[..., Any], pull: Callable[..., Any], push: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """Return `fn` with a reverse-mode rule of one's own.

    pull(inputs, outputs, gradients) gets lists of variables and returns the derivative by each
    input (None: zero), which may be differentiated again. Forward mode (`Rop`, `hvp`, `hessian`) is
    `push`, a rule as of `custom_jvp`; without it the transpose of `pull`, where that is linear in
    `gradients`. `fn` returns one variable or a list and uses no outer variables. Under `vmap` the
    rules are applied to each element.

    Raises ValueError and ShapeError where the rule does not return a value of the type of each
    input, NotDifferentiableError for forward mode through a rule that is not linear.

    >>> x = sg.scalar("x", dtype="float64")
    >>> straight = sg.custom_vjp(lambda v: sg.round(v), lambda i, y, g: [g[0]])
    >>> float(sg.grad(straight(x) * 3.0, x).eval({x: 0.7}))
    3.0
    """
    return lambda *args: _traced(fn, args, pull, push)


@function
def custom_jvp(fn: Callable[..., Any], push: Callable[..., Any]) -> Callable[..., Any]:
    """Return `fn` with a forward-mode rule of one's own, which serves reverse mode too.

    push(inputs, tangents) returns the tangent of each output (None: zero), linear in `tangents`.
    Raises as `custom_vjp` does.

    >>> x = sg.scalar("x", dtype="float64")
    >>> f = sg.custom_jvp(sg.exp, lambda i, t: [2.0 * sg.exp(i[0]) * t[0]])
    >>> float(sg.grad(f(x), x).eval({x: 0.0}))
    2.0
    """
    return lambda *args: _traced(fn, args, None, push)
