"""Grids of coordinates in the notation of slices, as NumPy has them."""

from __future__ import annotations

from typing import Any

from symgraph.core.node import Node
from symgraph.core.op import o


class Grid:
    """`mgrid[a:b, c:d]` or `ogrid[...]`: bounds may be numbers or sizes not known yet.

    A step that is a complex number, 5j say, is a number of points, the last one included.
    """

    def __init__(self, dense: bool) -> None:
        self._dense = dense

    def __getitem__(self, axes: slice | tuple[slice, ...]) -> Any:
        single = isinstance(axes, slice)
        vectors = [_points(s) for s in ((axes,) if isinstance(axes, slice) else axes)]
        if single:
            return vectors[0]
        kind = "float64" if any(v.dtype.is_float for v in vectors) else "int64"
        vectors = [o.cast(v, kind) for v in vectors]
        if self._dense:
            return o.stack(o.meshgrid(*vectors, indexing="ij"), 0)
        places = range(len(vectors))
        return tuple(
            o.expand_dims(v, tuple(j for j in places if j != k)) for k, v in enumerate(vectors)
        )


def _points(axis: slice) -> Node:
    start = 0 if axis.start is None else axis.start
    if isinstance(axis.step, complex):
        found: Node = o.linspace(start, axis.stop, int(abs(axis.step)), dtype="float64")
        return found
    found = o.arange(start, axis.stop, 1 if axis.step is None else axis.step)
    return o.cast(found, "float64") if found.dtype.is_float else found


mgrid, ogrid = Grid(dense=True), Grid(dense=False)
