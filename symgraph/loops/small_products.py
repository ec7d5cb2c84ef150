"""Matrix products of run-time sizes as nests: what a loop does itself if they turn out small.

A call packs its operands, which takes longer than a small product, in every step of a loop. Sizes
that are known decide this when a function is compiled (`by_loops` in compile/pipeline.py).
"""

from __future__ import annotations

from symgraph.dims.dim import Dim
from symgraph.loops.expr import Size
from symgraph.loops.interned import Builder
from symgraph.loops.statements import LibraryCall, Nest, Store


def product_nest(s: Builder, call: LibraryCall) -> tuple[Nest, Dim] | None:
    """Return a product as a nest, and its multiply-adds; None where sizes are known, or for stacks.

    Terms are added in the order in which a call adds them: the same bits.
    """
    if call.name != "gemm" or len(call.params[0]) != 3:
        return None
    (m, n, k), (a, _, a_row, a_column), (b, _, b_row, b_column), start = call.params
    work: Size = m * n * k
    if not isinstance(work, Dim) or not isinstance(n, Dim) or b_column != 1:
        return None
    rows, columns, terms = s.axis("i0", m), s.axis("i1", n), s.axis("k0", k)
    i, j, t = s.at(rows), s.at(columns), s.at(terms)
    left = s.iadd(s.iadd(a, s.imul(i, a_row)), s.imul(t, a_column))
    right = s.iadd(s.iadd(b, s.imul(t, b_row)), j)
    x, y = (s.load(v, at) for v, at in zip(call.inputs, (left, right), strict=True))
    value = s.reduce("dot", (terms,), s.binary("mul", x, y))
    address = s.iadd(s.iadd(start, s.imul(i, n)), j)
    nest = Nest((rows, columns), (Store(call.outputs[0], address, value),), origin=call.origin)
    return nest, work
