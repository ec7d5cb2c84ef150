"""Replace every bfloat16 node by a float32 node that is rounded to bfloat16 after each operation.

So bfloat16 is what arrays are stored as, and arithmetic is float32's: sums and products of matrices
are added up in float32 and rounded once. Arguments and results are the bits, as 16-bit integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.body import Body, some_node
from symgraph.core.dtype import BFLOAT16, FLOAT32
from symgraph.core.node import BOUND, CONSTANT, Node, constant, make
from symgraph.core.source import made_from
from symgraph.core.types import TensorType
from symgraph.core.walk import inherit, toposort
from symgraph.ops.bfloat16 import AS_BITS, DECODED, ENCODED, FROM_BITS, ROUNDED

# Ops whose results are among their operands, or need no more digits than these.
EXACT = frozenset(
    {
        *("where", "neg", "abs", "maximum", "minimum", "max", "min", "sign", "relu", "copysign"),
        *("floor", "ceil", "trunc", "rint", "concatenate", "gather", "place", "set_slice"),
        *("result", "max_pool2d", "grad_clip", "stop_gradient", "cummax", "cummin"),
    }
)


def widened(outputs: Sequence[Node]) -> list[Node]:
    """Return equal outputs without bfloat16 arithmetic; bfloat16 ones are `from_bits` nodes."""
    if not some_node(outputs, is_bfloat16):
        return list(outputs)
    done: dict[Node, Node] = {}
    found = _run(outputs, done)
    return [
        inherit(FROM_BITS(_encoded(v)), n) if n.dtype is BFLOAT16 else v
        for n, v in zip(outputs, found, strict=True)
    ]


def is_bfloat16(node: Node) -> bool:
    """Tell whether the values of a node are of the type bfloat16."""
    return node.type.dtype is BFLOAT16


def _run(outputs: Sequence[Node], done: dict[Node, Node]) -> list[Node]:
    for node in toposort(outputs, stop=done.__contains__):
        if node not in done:
            with made_from(node.source):
                done[node] = _value(node, tuple(done[i] for i in node.inputs))
    return [done[n] for n in outputs]


def _value(node: Node, inputs: tuple[Node, ...]) -> Node:
    if node.op is FROM_BITS:
        return _decoded(inputs[0])
    if node.op is AS_BITS:
        return _encoded(inputs[0])
    if node.op.is_leaf:
        if node.dtype is not BFLOAT16:
            return node
        if node.op is CONSTANT:
            return constant(node.data.astype(np.float32))
        return DECODED(AS_BITS(node))
    params = _params(node.params)
    if inputs == node.inputs and params is node.params:
        return node
    if node.op.name == "cast" and inputs[0].dtype is params.dtype:
        value = inputs[0]
    else:
        value = inherit(make(node.op, inputs, params, uid=node.uid), node)
    if node.dtype is not BFLOAT16 or _is_exact(node):
        return value
    return ROUNDED(value)


def _is_exact(node: Node) -> bool:
    if node.op.name == "cast":
        return node.inputs[0].dtype.bits == 8 or node.inputs[0].dtype is BFLOAT16
    return node.op.view or node.op.name in EXACT


def _decoded(bits: Node) -> Node:
    """Return the numbers of bits; those that were just encoded are at hand."""
    return bits.inputs[0] if bits.op is ENCODED else DECODED(bits)


def _encoded(value: Node) -> Node:
    return value.inputs[0] if value.op is DECODED else ENCODED(value)


def _params(params: Any) -> Any:
    if not isinstance(params, tuple) or not params:
        return params
    new = [_param(p) for p in params]
    if all(a is b for a, b in zip(new, params, strict=True)):
        return params
    return type(params)(*new) if hasattr(params, "_fields") else tuple(new)


def _param(p: Any) -> Any:
    if isinstance(p, Body):
        return _body(p)
    return FLOAT32 if p is BFLOAT16 else p


def _body(body: Body) -> Body:
    if not some_node((*body.args, *body.outputs), is_bfloat16):
        return body
    done: dict[Node, Node] = {}
    for a in body.args:
        wide = TensorType(FLOAT32, a.type.shape) if a.dtype is BFLOAT16 else a.type
        done[a] = make(BOUND, (), a.params, type=wide)
    outputs = _run(body.outputs, done)
    return Body(tuple(done[a] for a in body.args), tuple(outputs), body.level)
