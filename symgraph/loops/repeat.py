"""Lower a loop of the graph: its body becomes statements of its own, run once per step.

The elements of sequences are read at the step's row where they lie, rows of traces are stored where
they belong, and a carry has two places that exchange roles, or one where that is safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from symgraph.core.dtype import BOOL, INT64
from symgraph.core.node import Node
from symgraph.core.record import dataclass
from symgraph.loops.expr import Axis, Buffer, Expr, Size, View
from symgraph.loops.fuse import merge_statements
from symgraph.loops.inplace import updated_in_place
from symgraph.loops.statements import Loop, Nest, Statement
from symgraph.loops.storage import reads, writes

if TYPE_CHECKING:
    from symgraph.loops.build import Lowering

UNLIMITED = 1 << 62  # steps of a loop that ends by its condition only


@dataclass(frozen=True, slots=True)
class Step:
    """A loop of the graph by its parts; nodes of the body over its own variables."""

    kind: str  # "for", "count", "while"
    length: Size | None
    reverse: bool
    level: int  # loops inside of it, plus one: names its axis
    header: Node | None
    step: Node
    sequences: Sequence[tuple[Node, Node]]  # variable, array
    carries: Sequence[tuple[Node, Node, Node]]  # variable, initial value, next value
    constants: Sequence[tuple[Node, Node]]
    rows: Sequence[Node]
    go_on: Node | None


def lower_loop(low: Lowering, node: Node, step: Step, wanted: dict[int, Buffer]) -> None:
    """Append the statements of a loop; `wanted` are the buffers of its results that are used."""
    s = low.s
    axis = s.axis(f"t{step.level}", UNLIMITED if step.length is None else step.length)
    header = None if step.header is None else low.value(step.header, ())
    position = _position(low, step, axis, header)
    inner = low.inner(axis)
    _variables(low, inner, step, position)
    changing = [
        (k, x, start, new) for k, (x, start, new) in enumerate(step.carries) if new is not x
    ]
    places: list[tuple[Buffer, Buffer]] = []
    for _, x, start, _ in changing:
        now = low.temporary(x.dtype, x.type.shape, axis)
        low.store_value(start, now)
        inner.buffers[x] = now
        places.append((now, low.temporary(x.dtype, x.type.shape, axis)))
    outputs: list[tuple[Node, Any]] = [
        (new, place) for (_, _, _, new), (_, place) in zip(changing, places, strict=True)
    ]
    rows = _rows(low, step, wanted, position)
    outputs += _kept_apart(low, axis, rows) if axis.extent == 1 else rows
    go = None
    if step.go_on is not None:
        go = low.temporary(BOOL, (), axis)
        outputs.append((step.go_on, go))
    inner.outputs = outputs
    body = _shortened(inner.run().statements, inner, places)
    low.adopt(inner)
    n_carries = len(step.carries)
    steps = low.temporary(INT64, ()) if step.kind != "for" else None
    low.add(
        Loop(
            axis,
            tuple(body),
            tuple(places),
            header if step.kind == "count" else None,
            header if step.kind == "while" else None,
            None if go is None else s.load(go, 0),
            steps,
            origin=(node,),
        )
    )
    for (k, _, _, _), (now, _) in zip(changing, places, strict=True):
        if k in wanted:
            low.copy_buffer(now, wanted[k])
    for k, (x, start, new) in enumerate(step.carries):
        if new is x and k in wanted:
            low.store_value(start, wanted[k])
    last = n_carries + len(step.rows)
    if last in wanted:
        done = s.as_value(_length(step), INT64) if steps is None else s.load(steps, 0)
        low.add(Nest((), (low.store(wanted[last], 0, done),), origin=(node,)))


def lower_side(
    low: Lowering,
    node: Node,
    start: Expr,
    name: str,
    variables: Sequence[tuple[Node, Node]],
    outputs: Sequence[tuple[Node, Buffer]],
) -> None:
    """Append one side of a branch: a loop of at most one step that stores the results."""
    axis = low.s.axis(f"{name}{low.depth}", 1)
    inner = low.inner(axis)
    for variable, value in variables:
        inner.readers[variable] = lambda index, guard, value=value: low.value(value, index, guard)
    inner.outputs = _kept_apart(low, axis, outputs)
    body = merge_statements(inner.s, inner.run().statements)
    low.adopt(inner)
    low.add(Loop(axis, tuple(body), start=start, origin=(node,)))


def _kept_apart(
    low: Lowering, axis: Axis, outputs: Sequence[tuple[Node, Any]]
) -> list[tuple[Node, Any]]:
    """Give results a place of the step's own, from which they are copied to where they belong.

    The address of a result does not show that a loop of one step writes it: read from there, it
    would be taken for a value that is known before the loop.
    """
    found: list[tuple[Node, Any]] = []
    for node, buffer in outputs:
        found += [(node, low.temporary(node.dtype, node.type.shape, axis)), (node, buffer)]
    return found


def _position(low: Lowering, step: Step, axis: Axis, header: Expr | None) -> Expr:
    """Return the number of the step as an index: it counts down in a reverse loop."""
    s = low.s
    t = s.index(s.at(axis))
    if not step.reverse:
        return t
    if step.kind == "for":
        return s.isub(_length(step) - 1, t)
    assert header is not None
    limit = s.as_value(_length(step), INT64)
    count = s.select(s.binary("lt", header, limit), header, limit)
    return s.iadd(s.isub(s.as_index(count), 1), s.imul(t, -1))


def _variables(low: Lowering, inner: Lowering, step: Step, position: Expr) -> None:
    """Say how the body reads its arguments."""
    s = low.s
    inner.readers[step.step] = lambda index, guard: s.as_value(position, INT64)
    for variable, array in step.sequences:
        inner.readers[variable] = lambda index, guard, array=array: low.value(
            array, (position, *index), guard
        )
    fixed = [*step.constants, *((x, start) for x, start, new in step.carries if new is x)]
    for variable, value in fixed:
        inner.readers[variable] = lambda index, guard, value=value: low.value(value, index, guard)


def _rows(
    low: Lowering, step: Step, wanted: dict[int, Buffer], position: Expr
) -> list[tuple[Node, View]]:
    s = low.s
    found = []
    for k, row in enumerate(step.rows):
        buffer = wanted.get(len(step.carries) + k)
        if buffer is None:
            continue
        if step.kind != "for":
            low.fill_zeros(buffer)
        size: Size = 1
        for n in row.type.shape:
            size = size * n
        offset = s.imul(position, size)
        if isinstance(buffer, View):  # the trace is itself a row of the trace of an outer loop
            buffer, offset = buffer.buffer, s.iadd(buffer.offset, offset)
        found.append((row, View(buffer, offset, row.dtype, row.type.shape)))
    return found


def _shortened(
    statements: list[Statement], inner: Lowering, places: list[tuple[Buffer, Buffer]]
) -> list[Statement]:
    """Merge the statements of a step; let carries live in one place where that is safe."""
    statements = merge_statements(inner.s, statements)
    accesses = [(set(reads(t)), set(writes(t))) for t in statements]
    for k, (now, new) in enumerate(places):
        if updated_in_place(statements, accesses, new, now):
            places[k] = (now, now)
            inner.aliases[new] = now
    return statements


def _length(step: Step) -> Size:
    assert step.length is not None
    return step.length
