"""What the code of a nest follows from, so that nests that are alike are emitted once.

The layers of a deep network and the steps of an unrolled recurrence make the same kernels again and
again, over other buffers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgraph.core.record import dataclass
from symgraph.loops.expr import Axis, Buffer, Expr, walk
from symgraph.loops.statements import Nest


@dataclass(frozen=True, slots=True)
class Likeness:
    """`key`: equal for nests that are alike; `buffers`, `axes`: what fills the places in it."""

    key: tuple[Any, ...]
    buffers: tuple[Buffer, ...]
    axes: tuple[Axis, ...]


def likeness(nest: Nest, around: Sequence[Axis] = ()) -> Likeness:
    """Return the key of a nest inside of the loops `around`.

    Expressions are written down by their places, buffers by type, shape and the place of their
    first use, axes by extent and place. Constants are one object each in a builder.
    """
    axes: dict[Axis, int] = {}
    buffers: dict[Buffer, int] = {}
    numbers: dict[Expr, int] = {}
    parts: list[Any] = []

    def axis_place(axis: Axis) -> int:
        found = axes.get(axis)
        if found is None:
            found = axes[axis] = len(axes)
            parts.append((found, axis.extent))
        return found

    def buffer_place(buffer: Buffer) -> int:
        found = buffers.get(buffer)
        if found is None:
            step = None if buffer.axis is None else axis_place(buffer.axis)
            found = buffers[buffer] = len(buffers)
            parts.append((buffer.dtype, buffer.shape, step))
        return found

    for axis in (*around, *nest.axes):
        axis_place(axis)
    head = (len(around), tuple(axes[a] for a in nest.axes), nest.serial, nest.scan)
    roots = [e for t in nest.stores for e in (t.address, t.value, t.guard) if e is not None]
    for e in walk(roots):
        data: Any = e.data
        match e.op:
            case "const":
                data = e
            case "axis":
                data = axis_place(data)
            case "load":
                data = buffer_place(data)
            case "reduce":
                data = (data[0], tuple(axis_place(a) for a in data[1]))
        numbers[e] = len(numbers)
        parts.append((e.op, e.dtype, data, tuple(numbers[a] for a in e.args)))
    for t in nest.stores:
        guard = None if t.guard is None else numbers[t.guard]
        place = buffer_place(t.buffer)
        parts.append((place, numbers[t.address], numbers[t.value], guard, t.accumulate))
    return Likeness((head, tuple(parts)), tuple(buffers), tuple(axes))
