"""Read the element that a comparison picks out of a row, instead of adding up the zeros around it.

sum over k of (v[k] if k == a else 0) is v[a]: a cross-entropy so reads one logit of each row.
"""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.core.dtype import INT64
from symgraph.core.record import replace
from symgraph.dims.dim import provably_le
from symgraph.loops.expr import Axis, Expr, walk
from symgraph.loops.interned import Builder
from symgraph.loops.statements import Nest, Statement


def pick_elements(s: Builder, statements: Sequence[Statement]) -> list[Statement]:
    """Return the statements with every sum over one picked element replaced by the element."""
    return [_picked(s, t) if isinstance(t, Nest) else t for t in statements]


def _picked(s: Builder, nest: Nest) -> Nest:
    values = [t.value for t in nest.stores]
    order = walk(values)
    if not any(e.op == "reduce" and _comparison(e) for e in order):
        return nest
    memo: dict[Expr, Expr] = {}
    for e in order:
        args = tuple(memo[a] for a in e.args)
        new = e if args == e.args else s.rebuild(e, args)
        memo[e] = _element(s, new) if e.op == "reduce" else new
    stores = tuple(replace(t, value=memo[t.value]) for t in nest.stores)
    return replace(nest, stores=stores)


def _comparison(total: Expr) -> tuple[Axis, Expr, Expr] | None:
    """Return (k, a, v) where an expression is the sum over k of select(k == a, v, 0)."""
    kind, axes = total.data
    if kind != "sum" or len(axes) != 1 or total.args[0].op != "select":
        return None
    condition, value, rest = total.args[0].args
    (k,) = axes
    # an empty row has no element to read
    if condition.op != "eq" or rest.op != "const" or rest.data != 0 or not provably_le(1, k.extent):
        return None
    for one, other in (condition.args, condition.args[::-1]):
        counts = one.op == "cast" and one.dtype.kind == "i" and one.dtype.bits >= 32
        place = one.args[0] if counts else one
        counted = place.op == "affine" and place.data == ((1,), 0) and place.args[0].data is k
        if counted and not other.free & k.bit:
            return k, other, value
    return None


def _element(s: Builder, total: Expr) -> Expr:
    found = _comparison(total)
    if found is None:
        return total
    k, at, value = found
    wide = s.cast(at, INT64)
    inside = (wide >= 0) & (wide < s.as_value(k.extent, INT64))
    place = s.as_index(s.select(inside, wide, 0))  # a place that the row has, in any case
    picked = s.select(inside, s.replace(value, {k: place}, {}), 0)
    return picked + 0 if picked.dtype.is_float else picked  # as in a sum, -0.0 becomes 0.0
