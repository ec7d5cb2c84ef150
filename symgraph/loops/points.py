"""Write out nests over a handful of elements, point by point.

The state of a small system is two or three numbers. In a loop they are kept in registers from nest
to nest of a step, which elements of vectors in memory cannot be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product

from symgraph.loops.expr import Axis, Expr, Index, walk
from symgraph.loops.interned import Builder
from symgraph.loops.statements import Nest, Store

MOST_POINTS = 4
MOST_TERMS = 4  # of a sum that is written out
MOST_COST = 60  # of a point: dear functions are for vectors
SUM_COST = 120  # of a point with sums: a vector would wait until its elements are in memory
COMBINE = {"sum": "add", "free": "add", "prod": "mul", "max": "max", "min": "min"}


def written_out(s: Builder, nest: Nest) -> Nest:
    """Return a nest without loops that stores the same, or the nest where it is no small one."""
    extents = [a.extent for a in nest.axes]
    sizes = [n for n in extents if isinstance(n, int)]
    if len(sizes) < len(extents) or not 0 < math.prod(sizes) <= MOST_POINTS:
        return nest
    values = [t.value for t in nest.stores]
    sums = [e for e in walk(values) if e.op == "reduce"]
    if not sizes and not sums:
        return nest
    plain = not (nest.serial or nest.scan or any(t.accumulate or t.guard for t in nest.stores))
    terms = max((_terms(e) for e in sums), default=1)
    dear = any(v.cost > (SUM_COST if sums else MOST_COST) for v in values)
    if not plain or dear or terms > MOST_TERMS:
        return nest
    stores = []
    for point in product(*map(range, sizes)):
        at: Mapping[Axis, Index] = dict(zip(nest.axes, point, strict=True))
        memo: dict[Expr, Expr] = {}
        for t in nest.stores:
            address, value = (s.replace(e, at, memo) for e in (t.address, t.value))
            stores.append(Store(t.buffer, address, _without_sums(s, value, {})))
    return Nest((), tuple(stores), origin=nest.origin)


def _terms(e: Expr) -> int:
    """Return the terms of a sum that can be written out, more than MOST_TERMS for others."""
    kind, axes = e.data
    extent = axes[0].extent
    inner = any(x.op == "reduce" for x in walk(e.args))
    if kind not in COMBINE or len(axes) > 1 or not isinstance(extent, int) or inner or extent < 1:
        return MOST_TERMS + 1
    return extent


def _without_sums(s: Builder, e: Expr, memo: dict[Expr, Expr]) -> Expr:
    """Return a value whose sums are written out, in the order in which lanes are combined."""
    if e in memo:
        return memo[e]
    if e.op == "reduce":
        kind, (axis,) = e.data
        terms = [s.replace(e.args[0], {axis: k}, {}) for k in range(axis.extent)]
        half = 1 << (len(terms) - 1).bit_length() >> 1
        while half:
            for k in range(half, len(terms)):
                terms[k - half] = s.binary(COMBINE[kind], terms[k - half], terms[k])
            terms, half = terms[:half], half // 2
        found = terms[0]
    else:
        args = tuple(_without_sums(s, a, memo) for a in e.args)
        found = e if args == e.args else s.rebuild(e, args)
    memo[e] = found
    return found
