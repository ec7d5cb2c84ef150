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
MOST_COST = 60  # of a point: dear functions are for vectors


def written_out(s: Builder, nest: Nest) -> Nest:
    """Return a nest without loops that stores the same, or the nest where it is no small one.

    Sums stay as they are: their order follows from the axis that is the vector.
    """
    extents = [a.extent for a in nest.axes]
    sizes = [n for n in extents if isinstance(n, int)]
    if not sizes or len(sizes) < len(extents) or not 0 < math.prod(sizes) <= MOST_POINTS:
        return nest
    values = [t.value for t in nest.stores]
    plain = not (nest.serial or nest.scan or any(t.accumulate or t.guard for t in nest.stores))
    if not plain or any(v.cost > MOST_COST for v in values):
        return nest
    if any(e.op == "reduce" for e in walk(values)):
        return nest
    stores = []
    for point in product(*map(range, sizes)):
        at: Mapping[Axis, Index] = dict(zip(nest.axes, point, strict=True))
        memo: dict[Expr, Expr] = {}
        for t in nest.stores:
            address, value = (s.replace(e, at, memo) for e in (t.address, t.value))
            stores.append(Store(t.buffer, address, value))
    return Nest((), tuple(stores), origin=nest.origin)
