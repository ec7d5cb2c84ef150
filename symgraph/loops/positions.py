"""Lower what goes to positions that data give: stores there, and the checks of their range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from symgraph.core.dtype import INT64
from symgraph.core.node import CONSTANT, Node
from symgraph.loops.expr import Buffer, Expr, Size
from symgraph.loops.statements import Check, Nest

if TYPE_CHECKING:
    from symgraph.loops.build import Lowering


def lower_scatter(
    low: Lowering, node: Node, out: Buffer, indices: Sequence[Node], combine: str
) -> None:
    """Write input 1 of `node` at rows of `out` given by the index inputs, in order.

    `combine` is the reduction ("sum", "max" ...) with what is there, "" to replace it.
    """
    s, (x, y) = low.s, node.inputs[:2]
    axes = low.nest_axes(y)
    index = tuple(s.at(a) for a in axes)
    block = y.ndim - (x.ndim - len(indices))
    where = _positions(low, x, indices, index[:block])
    address = low.flat((*where, *index[block:]), x.type.shape)
    store = low.store(out, address, low.value(y, index), combine)
    low.program.statements.append(Nest(axes, (store,), serial=True, origin=(node,)))


def _positions(low: Lowering, x: Node, indices: Sequence[Node], block: Sequence[Any]) -> list[Expr]:
    s, result = low.s, []
    for k, node in enumerate(indices):
        value = s.cast(_index_value(low, node, block), INT64)
        n = s.as_value(x.type.shape[k], INT64)
        result.append(s.as_index(s.select(value < 0, value + n, value)))
    return result


def _index_value(low: Lowering, node: Node, block: Sequence[Any]) -> Expr:
    tail = list(block)[len(block) - node.ndim :]
    at = [
        0 if isinstance(n, int) and n == 1 else i
        for i, n in zip(tail, node.type.shape, strict=True)
    ]
    return low.value(node, at)


def check_indices(low: Lowering, node: Node, x: Node, indices: Sequence[Node]) -> None:
    """Stop with an error where an index is out of range; constants were checked before."""
    for k, i in enumerate(indices):
        n = x.type.shape[k]
        if not ((i.op is CONSTANT and isinstance(n, int)) or _in_range(i, n)):
            check_range(low, node, i, n)


def check_range(low: Lowering, node: Node, x: Node, n: Size) -> None:
    """Stop with an error where an element of `x` is outside [-n, n)."""
    s = low.s
    axes = low.nest_axes(x)
    value = s.cast(low.value(x, tuple(s.at(a) for a in axes)), INT64)
    size = s.as_value(n, INT64)
    bad = (value < -size) | (value >= size)
    if bad in low.checked:
        return
    low.checked.add(bad)
    code = low.error_code(node)
    low.program.statements.append(Check(axes, bad, code, origin=(node,)))


def _in_range(i: Node, n: Size) -> bool:
    """Recognise positions that cannot leave the axis: an iota over it, its argsort."""
    while i.op.name in ("expand_dims", "broadcast_to", "cast", "reshape", "permute_dims", "slice"):
        i = i.inputs[0]
    if i.op.name == "argsort":
        return bool(i.type.shape[-1] == n)
    if i.op.name == "iota":
        return i.params.shape[i.params.axis] is n or i.params.shape[i.params.axis] == n
    return False
