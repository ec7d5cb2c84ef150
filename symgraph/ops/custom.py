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
        p, outputs = node.params, results_of(node)
        if p.pull is not None:
            seeds = [o.conj(gradients.get(k, o.zeros_like(y))) for k, y in enumerate(outputs)]
            found = p.pull(list(node.inputs), outputs, seeds)
            return [_fitting(g, x) for g, x in zip(found, node.inputs, strict=True)]
        tangents = [new_input(x.dtype, x.type.shape, "tangent") for x in node.inputs]
        images = p.push(list(node.inputs), tangents)
        pairs = [(images[k], g) for k, g in gradients.items()]
        found = accumulate(pairs, tangents)
        return [g if x.dtype.is_inexact else None for g, x in zip(found, node.inputs, strict=True)]

    def push_forward(self, node: Node, tangents: Sequence[Node | None], push: Any) -> Any:
        """Return the tangent of each result by the user's rule."""
        if node.params.push is None:
            raise NotDifferentiableError(
                f"a function of sg.custom_vjp has no forward-mode rule\n  node:   "
                f"{describe(node)}, made at {node.source}\n"
                "  mend:   sg.custom_jvp serves both modes"
            )
        given = [
            o.zeros_like(x) if t is None else t
            for x, t in zip(node.inputs, tangents, strict=True)
        ]
        return node.params.push(list(node.inputs), given)

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
        body, more = close(variables, outputs)
        assert not more
        pull = None if p.pull is None else _batched_rule(p.pull, places, 2)
        push = None if p.push is None else _batched_rule(p.push, places, 1)
        new = make(CUSTOM, tuple(fronts), CustomParams(body, pull, push))
        return [(r, 0) for r in results_of(new)]


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


def _fitting(g: Any, x: Node) -> Node | None:
    """Check the derivative that a user's rule returned for an input."""
    if g is None or not x.dtype.is_inexact:
        return None
    node = as_node(g, (x.dtype,))
    if node.ndim != x.ndim or node.dtype is not x.dtype:
        raise ShapeError(
            f"the rule of sg.custom_vjp returned {node.type} as derivative by `{describe(x)}` of "
            f"type {x.type}\n  mend:   return one value of the input's type per argument, or None"
        )
    return o.conj(node)  # rules of users have the convention of sg.grad


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


def _traced(
    fn: Callable[..., Any], args: Sequence[Any], pull: Any, push: Any
) -> Any:
    nodes = [as_node(a) for a in args]
    variables = [new_input(x.dtype, x.type.shape, x.name) for x in nodes]
    value = fn(*variables)
    outputs = [as_node(v) for v in (value if isinstance(value, (list, tuple)) else [value])]
    body, captured = close(variables, outputs)
    outer = [n for n in toposort(captured) if n.op.is_leaf and n.op is not CONSTANT]
    if outer:
        raise ValueError(
            f"a function with a derivative of its own uses `{describe(outer[0])}`, which is not an "
            "argument, so the rule would miss it\n  mend:   pass it as an argument"
        )
    body, _ = close([*variables, *captured], outputs)  # what is captured: constants' expressions
    count = len(nodes)

    def pulled(inputs: list[Node], results: list[Node], gradients: list[Node]) -> list[Any]:
        return [*pull(inputs[:count], results, gradients), *[None] * (len(inputs) - count)]

    def pushed(inputs: list[Node], tangents: list[Node]) -> Any:
        return push(inputs[:count], tangents[:count])

    nodes += captured
    rules = (None if pull is None else pulled, None if push is None else pushed)
    found = results_of(make(CUSTOM, tuple(nodes), CustomParams(body, *rules)))
    return type(value)(found) if isinstance(value, (list, tuple)) else found[0]


@function
def custom_vjp(fn: Callable[..., Any], pull: Callable[..., Any]) -> Callable[..., Any]:
    """Return `fn` with a reverse-mode rule of one's own.

    pull(inputs, outputs, gradients) gets lists of variables and returns the derivative by each
    input (None: zero), which may be differentiated again. `fn` returns one variable or a list and
    uses no outer variables. Under `vmap` the rule is applied to each element.

    >>> x = sg.scalar("x", dtype="float64")
    >>> straight = sg.custom_vjp(lambda v: sg.round(v), lambda i, y, g: [g[0]])
    >>> float(sg.grad(straight(x) * 3.0, x).eval({x: 0.7}))
    3.0
    """
    return lambda *args: _traced(fn, args, pull, None)


@function
def custom_jvp(fn: Callable[..., Any], push: Callable[..., Any]) -> Callable[..., Any]:
    """Return `fn` with a forward-mode rule of one's own, which serves reverse mode too.

    push(inputs, tangents) returns the tangent of each output, linear in `tangents`.

    >>> x = sg.scalar("x", dtype="float64")
    >>> f = sg.custom_jvp(sg.exp, lambda i, t: [2.0 * sg.exp(i[0]) * t[0]])
    >>> float(sg.grad(f(x), x).eval({x: 0.0}))
    2.0
    """
    return lambda *args: _traced(fn, args, None, push)
