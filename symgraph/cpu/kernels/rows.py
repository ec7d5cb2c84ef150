"""Row buffers: a costly value that a row's reduction and a later loop share is computed once.

Softmax adds up exp(x - max) over a row and needs the same numbers again for the result. The loop of
the sum leaves them in a buffer on the stack, and the loop that stores the result reads them there.
What is kept is a choice of the emitter: the loop IR, and what it computes, stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from symgraph.core.record import dataclass
from symgraph.cpu.kernels.operations import Operations
from symgraph.cpu.kernels.scope import Scope
from symgraph.cpu.kernels.search import first_position
from symgraph.cpu.text import memory_type, vector_type
from symgraph.dims.bounds import interval
from symgraph.loops.expr import Axis, Expr, walk

KEEP_COST = 10  # operations per element from which a store and a load are cheaper
ROW_BYTES = 1 << 15  # of all row buffers of a kernel: they must stay in the first-level cache
PADDING = 64  # elements behind a row that the last vector of a loop may touch


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """Keeps `value`, a function of `axis`, from the loop of `producer` on."""

    producer: Expr
    value: Expr
    axis: Axis
    register: str

    @property
    def elements(self) -> int:
        longest = interval(self.axis.extent)[1]
        assert longest is not None
        return longest + PADDING


def find_rows(
    values: Sequence[Expr],
    reductions: Sequence[Expr],
    depths: Mapping[Expr, int],
    around: int,
) -> dict[Expr, tuple[Row, Axis]]:
    """Return what is read from (or, inside its producer, written to) which row, along which axis.

    A value is kept if it costs at least KEEP_COST per element of the row, and if it occurs in a
    reduction over one axis of known or bounded length and again, at the same or at another loop
    variable of that length, in what is stored or in a reduction that comes later. It may depend on
    the axes `around` only (a mask) beside its own: other loops may turn into lanes of a vector.
    """
    kept: dict[Expr, tuple[Row, Axis]] = {}
    top = own_values(values)
    inside = {r: own_values([r.args[0]]) for r in reductions}
    lengths: dict[object, dict[Axis, None]] = {}
    for e in (*top, *(e for own in inside.values() for e in own)):
        if e.op == "axis":
            lengths.setdefault(e.data.extent, {})[e.data] = None
    room, count = ROW_BYTES, 0
    for r in sorted(reductions, key=lambda e: depths[e]):
        (axis, *more) = r.data[1]
        longest = interval(axis.extent)[1]
        if more or longest is None or longest < 2:
            continue
        if first_position(r) is not None:
            continue  # its loop may end early
        later = [top, *(own for q, own in inside.items() if depths[q] > depths[r])]
        for e in _candidates(r, axis):
            uses = _uses(r, e, axis, lengths.get(axis.extent, {}), later)
            size = (longest + PADDING) * e.dtype.itemsize
            if e in kept or not uses or size > room:
                continue
            if e.free & ~(around | axis.bit):
                continue
            row = Row(r, e, axis, f"%row{count}")
            room, count = room - size, count + 1
            kept[e] = (row, axis)
            for use, along in uses.items():
                kept.setdefault(use, (row, along))
    return kept


def own_values(roots: Sequence[Expr]) -> dict[Expr, None]:
    """Return what is computed for `roots` outside of the reductions in them."""
    found: dict[Expr, None] = {}
    stack = list(roots)
    while stack:
        e = stack.pop()
        if e not in found:
            found[e] = None
            if e.op != "reduce":
                stack.extend(e.args)
    return found


def _candidates(r: Expr, axis: Axis) -> list[Expr]:
    """Return the costly values in the body of a reduction, whole values before their parts.

    A product that is summed is not among them: its factors are, since one fma multiplies and adds.
    """
    own = own_values([r.args[0]])
    return sorted(
        (
            e
            for e in own
            if not (e is r.args[0] and e.op == "mul")
            and e.free & axis.bit
            and e.dtype.is_float
            and _cost(e, axis) >= KEEP_COST
        ),
        key=lambda e: (-e.cost, e.serial),
    )


def _cost(e: Expr, axis: Axis) -> int:
    """Count the operations that depend on an axis, each once: others are done outside its loop."""
    return sum(
        x.cost - sum(a.cost for a in x.args)
        for x in walk([e])
        if x.free & axis.bit and x.op not in ("axis", "affine")
    )


def _uses(
    r: Expr, e: Expr, axis: Axis, axes: Mapping[Axis, None], later: Sequence[Mapping[Expr, None]]
) -> dict[Expr, Axis]:
    """Return the forms of `e` that later loops need, and the loop variable of each."""
    s = e.builder
    found: dict[Expr, Axis] = {}
    if any(e in own for own in later):
        found[e] = axis
    for other in axes:
        if other is axis or (r.free | e.free) & other.bit:
            continue
        same = s.replace(e, {axis: s.at(other)}, {})
        if any(same in own for own in later):
            found[same] = other
    return found


class Rows(Operations):
    """Emits row buffers, and what is written to and read from them."""

    rows: dict[Expr, tuple[Row, Axis]]

    def _row_buffers(self) -> None:
        """Reserve the rows on the stack."""
        for row in dict.fromkeys(row for row, _ in self.rows.values()):
            kind = f"[{row.elements} x {memory_type(row.value.dtype)}]"
            self.stack.append(f"  {row.register} = alloca {kind}, align 64")

    def _row_place(self, row: Row, axis: Axis, scope: Scope) -> tuple[str, str]:
        """Return the type of the elements at this point, and their address in the row."""
        element = memory_type(row.value.dtype)
        vector = scope.vector
        lanes = vector.lanes if vector is not None and vector.axis is axis else 1
        position = scope.positions[axis]
        at = self._new(scope, f"getelementptr {element}, ptr {row.register}, i64 {position}")
        return vector_type(element, lanes), at

    def _keep(self, row: Row, scope: Scope, value: str) -> None:
        kind, at = self._row_place(row, row.axis, scope)
        scope.lines.append(f"  store {kind} {value}, ptr {at}, align {row.value.dtype.itemsize}")

    def _kept(self, row: Row, axis: Axis, scope: Scope) -> str:
        kind, at = self._row_place(row, axis, scope)
        return self._new(scope, f"load {kind}, ptr {at}, align {row.value.dtype.itemsize}")
