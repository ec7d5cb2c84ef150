"""Replace every complex node by a pair of real nodes, before all other rewrites.

Complex inputs and shared variables are read, and complex results written, as float arrays with a
last axis (real, imaginary): the same memory. Everything between is real, so fusion, vectors, loops
and the matrix library serve complex numbers without knowing of them. Only leaves, `as_pairs` of
leaves and `from_pairs` of results are left with complex types; `held.in_memory` takes these away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symgraph.core.body import Body, some_node
from symgraph.core.node import BOUND, CONSTANT, Node, constant, make
from symgraph.core.op import no_complex, o
from symgraph.core.source import made_from
from symgraph.core.types import TensorType
from symgraph.core.walk import inherit, toposort
from symgraph.ops.base import Elementwise
from symgraph.ops.complex import AS_PAIRS, FROM_PAIRS
from symgraph.ops.linalg_complex import ON_PAIRS, PAIRED
from symgraph.ops.together import interleaved
from symgraph.rewrites import complex_functions as functions
from symgraph.rewrites.complex_functions import BINARY, UNARY, Pair, filled
from symgraph.rewrites.held import held_type

Value = Any  # a Node, or the Pair of a complex one
Rule = Callable[[Node, Sequence[Value]], Value]


def realise(outputs: Sequence[Node]) -> list[Node]:
    """Return equal outputs without complex arithmetic; complex ones are `from_pairs` nodes."""
    if not some_node(outputs, is_complex):
        return list(outputs)
    values = _Realised().run(outputs)
    return [_as_output(n, v) for n, v in zip(outputs, values, strict=True)]


def is_complex(node: Node) -> bool:
    """Tell whether the values of a node are complex."""
    return node.type.dtype.is_complex


def joined(z: Pair, kind: TensorType) -> Node:
    """Return the parts on a last axis, as arrays of complex type `kind` lie in memory."""
    held = _cut_from(z)
    if held is not None and held.type == held_type(kind):
        return held
    return interleaved(*(o.broadcast_to(p, kind.shape) for p in filled(z)))


def _cut_from(z: Pair) -> Node | None:
    """Return the array of pairs whose columns the two parts are, if there is one."""
    cuts = []
    for k, part in enumerate(z):
        if part is None or part.op.name != "squeeze" or part.params.axes != (part.ndim,):
            return None
        cut = part.inputs[0]
        if cut.op.name != "slice" or cut is not o.slice_axis(cut.inputs[0], -1, k, 1):
            return None
        cuts.append(cut.inputs[0])
    return cuts[0] if cuts[0] is cuts[1] else None


def _as_output(node: Node, value: Value) -> Node:
    if not node.dtype.is_complex:
        result: Node = value
        return result
    return inherit(FROM_PAIRS(joined(value, node.type)), node)


def _parts(pairs: Node) -> Pair:
    return tuple(o.squeeze(o.slice_axis(pairs, -1, k, 1), -1) for k in (0, 1))  # type: ignore[return-value]


class _Realised:
    """What has become of each node: a node for a real one, a pair for a complex one."""

    def __init__(self) -> None:
        self.done: dict[Node, Value] = {}

    def run(self, outputs: Sequence[Node]) -> list[Value]:
        """Return the values of `outputs`."""
        for node in toposort(outputs, stop=self.done.__contains__):
            if node not in self.done:
                with made_from(node.source):
                    self.done[node] = self._value(node)
        return [self.done[n] for n in outputs]

    def _value(self, node: Node) -> Value:
        if node.op.is_leaf:
            return _leaf(node) if node.dtype.is_complex else node
        if node.op is AS_PAIRS and node.inputs[0].op.is_leaf:
            return node
        values = [self.done[i] for i in node.inputs]
        if node.op.compound:
            return inherit(self._compound(node, values), node)
        if node.op.name == "result":
            found = node.op.rebuild(node, tuple(values))
            return _parts(found) if node.dtype.is_complex else found
        mixed = node.dtype.is_complex or any(isinstance(v, tuple) for v in values)
        if not mixed:
            if all(v is i for v, i in zip(values, node.inputs, strict=True)):
                return node
            return inherit(node.op.rebuild(node, tuple(values)), node)
        result = self._ruled(node, values)
        if isinstance(result, Node):
            return _fitting(result, node)
        return tuple(None if p is None else _fitting(p, node) for p in result)

    def _ruled(self, node: Node, values: list[Value]) -> Value:
        name = node.op.name
        if name in UNARY:
            return UNARY[name](values[0])
        if name in BINARY:
            return BINARY[name](values[0], values[1])
        if name in RULES:
            return RULES[name](node, values)
        if node.op.expand is not None:
            return self.run([node.op.expand(o, node)])[0]
        if not node.op.takes_complex or isinstance(node.op, Elementwise):
            raise no_complex(name, node.inputs)
        return _on_parts(node, values)

    def _compound(self, node: Node, values: list[Value]) -> Node:
        """Return a loop or a branch on the pairs of its complex inputs."""
        inputs = [
            joined(v, i.type) if isinstance(v, tuple) else v
            for v, i in zip(values, node.inputs, strict=True)
        ]
        params = [_body(p) if isinstance(p, Body) else p for p in node.params]
        return make(node.op, tuple(inputs), type(node.params)(*params), uid=node.uid)


def _body(body: Body) -> Body:
    """Return a body whose complex arguments and outputs are arrays of pairs."""
    args = tuple(
        make(BOUND, (), a.params, type=held_type(a.type)) if a.dtype.is_complex else a
        for a in body.args
    )
    inside = _Realised()
    for old, new in zip(body.args, args, strict=True):
        inside.done[old] = _parts(new) if old.dtype.is_complex else new
    found = inside.run(body.outputs)
    outputs = [
        joined(v, n.type) if isinstance(v, tuple) else v
        for v, n in zip(found, body.outputs, strict=True)
    ]
    return Body(args, tuple(outputs), body.level)


def _leaf(node: Node) -> Pair:
    if node.op is not CONSTANT:
        return _parts(AS_PAIRS(node))
    re, im = _known(node.data.real), _known(node.data.imag)
    return (constant(node.data.real), None) if re is None and im is None else (re, im)


def _known(part: np.ndarray) -> Node | None:
    """Return a part of a constant, None where it is +0 everywhere."""
    return constant(part) if part.any() or np.signbit(part).any() else None


def _fitting(part: Node, node: Node) -> Node:
    return part if part.type.shape == node.type.shape else o.broadcast_to(part, node.type.shape)


# -- ops that move, choose and add up elements -----------------------------------------------------
def _on_parts(node: Node, values: list[Value]) -> Pair:
    """Apply an op that is linear in its complex inputs together to both parts."""
    whole = [v if isinstance(v, Node) or None not in v else filled(v) for v in values]
    if len([v for v in values if isinstance(v, tuple)]) == 1:
        whole = list(values)
    params = node.params
    if "dtype" in getattr(params, "_fields", ()):
        params = params._replace(dtype=params.dtype.part)

    def part(k: int) -> Node | None:
        inputs = [v[k] if isinstance(v, tuple) else v for v in whole]
        return None if any(i is None for i in inputs) else make(node.op, tuple(inputs), params)

    return part(0), part(1)


def _sum(node: Node, values: Sequence[Value]) -> Pair:
    """A sum may widen its operand: to a complex type, or to a wider one."""
    part = node.params.dtype.part
    z = values[0] if isinstance(values[0], tuple) else (values[0], None)
    kept = node.params._replace(dtype=part)
    return tuple(  # type: ignore[return-value]
        None if p is None else make(node.op, (o.cast(p, part),), kept) for p in z
    )


def _where(node: Node, values: Sequence[Value]) -> Pair:
    c, x, y = values
    zero = o.zeros((), node.dtype.part)
    pairs = [(a, b) for a, b in zip(x, y, strict=True)]
    return tuple(  # type: ignore[return-value]
        None if a is None and b is None
        else o.where(c, zero if a is None else a, zero if b is None else b)
        for a, b in pairs
    )  # fmt: skip


def _cast(node: Node, values: Sequence[Value]) -> Pair:
    part = node.dtype.part
    z = values[0] if isinstance(values[0], tuple) else (values[0], None)
    return tuple(None if p is None else o.cast(p, part) for p in z)  # type: ignore[return-value]


def _made(node: Node, values: Sequence[Value]) -> Pair:
    re, im = (None if v.op is CONSTANT and _known(v.data) is None else v for v in values)
    return (values[0], None) if re is None and im is None else (re, im)


def _bilinear(node: Node, values: Sequence[Value]) -> Pair:
    """Four real products: three would be less accurate, part by part."""
    (a, b), (c, d) = values

    def product(x: Node | None, y: Node | None) -> Node | None:
        return None if x is None or y is None else make(node.op, (x, y), node.params)

    re = [product(a, c), product(b, d)]
    im = [product(a, d), product(b, c)]
    return functions.sub((re[0], None), (re[1], None))[0], functions.add(
        (im[0], None), (im[1], None)
    )[0]


# -- products of many -----------------------------------------------------------------------------
def _running(node: Node, values: Sequence[Value]) -> Pair:
    """Return running products along an axis: a loop that carries one pair."""
    axis, part = node.params.axis, node.params.dtype.part
    z = values[0] if isinstance(values[0], tuple) else (values[0], None)
    rows = [o.moveaxis(o.cast(p, part), axis, 0) for p in filled(z)]
    start = [o.ones(rows[0].type.shape[1:], part), o.zeros(rows[0].type.shape[1:], part)]

    def step(re: Node, im: Node, before_re: Node, before_im: Node) -> list[Node]:
        return list(filled(functions.mul((before_re, before_im), (re, im))))

    found = o.scan(step, sequences=rows, outputs_info=start)
    return tuple(o.moveaxis(v, 0, axis) for v in found)  # type: ignore[return-value]


def _prod(node: Node, values: Sequence[Value]) -> Pair:
    """Return products over axes: halves are multiplied, or by a loop where lengths vary."""
    part = node.params.dtype.part
    z = values[0] if isinstance(values[0], tuple) else (values[0], None)
    pair: Pair = tuple(_rows_first(o.cast(p, part), node.params.axes) for p in filled(z))  # type: ignore[assignment]
    re, im = filled(pair)
    n, rest = re.type.shape[0], re.type.shape[1:]
    if not isinstance(n, int):
        start = [o.ones(rest, part), o.zeros(rest, part)]

        def step(re: Node, im: Node, before_re: Node, before_im: Node) -> list[Node]:
            return list(filled(functions.mul((before_re, before_im), (re, im))))

        return tuple(o.reduce(step, [re, im], start))
    if n == 0:
        return o.ones(rest, part), None
    while n > 1:
        half = n // 2
        first, second = ([o.slice_axis(p, 0, k * half, half) for p in (re, im)] for k in (0, 1))
        last = [o.slice_axis(p, 0, n - 1, 1) for p in (re, im)]
        re, im = filled(functions.mul(tuple(first), tuple(second)))  # type: ignore[arg-type]
        if n % 2:
            re, im = (o.concatenate([p, q], 0) for p, q in zip((re, im), last, strict=True))
        n = half + n % 2
    return o.squeeze(re, 0), o.squeeze(im, 0)


def _rows_first(x: Node, axes: tuple[int, ...]) -> Node:
    """Return x with `axes` joined to one first axis."""
    kept = [k for k in range(x.ndim) if k not in axes]
    length: Any = 1
    for a in axes:
        length = length * x.type.shape[a]
    return o.reshape(o.permute_dims(x, [*axes, *kept]), (length, *(x.type.shape[k] for k in kept)))


def _library(node: Node, values: Sequence[Value]) -> Value:
    """Return what LAPACK computes of complex operands: their parts go there side by side."""
    parts = [p for v in values for p in filled(v)]
    found = ON_PAIRS(*parts, op=node.op.name, values=tuple(node.params))
    return _parts(found) if node.dtype.is_complex else found


def _power(node: Node, values: Sequence[Value]) -> Pair:
    y = node.inputs[1]
    known = y.data.item() if y.op is CONSTANT and y.data.size == 1 else None
    return functions.power(values[0], values[1], known)


RULES: dict[str, Rule] = {
    "real": lambda node, v: filled(v[0])[0],
    "imag": lambda node, v: filled(v[0])[1],
    "magnitude": lambda node, v: functions.magnitude(v[0]),
    "angle": lambda node, v: functions.angle(v[0]),
    "eq": lambda node, v: functions.equal(v[0], v[1]),
    "ne": lambda node, v: functions.unequal(v[0], v[1]),
    "as_pairs": lambda node, v: joined(v[0], node.inputs[0].type),
    "from_pairs": lambda node, v: _parts(v[0]),
    "complex": _made,
    "cast": _cast,
    "where": _where,
    **dict.fromkeys(("matmul", "conv2d", "conv2d_input", "conv2d_filter"), _bilinear),
    "sum": _sum,
    "cumsum": _sum,
    "prod": _prod,
    "cumprod": _running,
    "power": _power,
    **dict.fromkeys(PAIRED, _library),
}
