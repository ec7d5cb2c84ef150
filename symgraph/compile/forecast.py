"""What a statement costs: operations, bytes moved, and the time that follows on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from symgraph.compile import op_costs
from symgraph.compile.op_costs import IN_ORDER, SCATTERED, SIMPLE, cost_of, simple
from symgraph.core.record import dataclass
from symgraph.cpu.machine import Machine
from symgraph.dims.dim import Atom, evaluate
from symgraph.loops.amount import statement_amount
from symgraph.loops.expr import SUMS, Axis, Buffer, Expr, Size, walk
from symgraph.loops.schedule import stride
from symgraph.loops.statements import Check, LibraryCall, Loop, Nest, Statement, Store

CALL = 5e-9  # seconds to enter a kernel
STEP = 5e-9  # seconds of a turn of a loop besides its statements
WAKE = 5e-6  # seconds until other threads have taken up a kernel
# of a library call, how many times longer an operation takes than in a product of matrices
LIBRARY = {"gemm": 1, "contract": 1, "argsort": 16, "argsort_first": 4}

Sizes = Mapping[Atom, int]
_FREE = op_costs.FREE | {"as_index"}


@dataclass(frozen=True, slots=True)
class Forecast:
    """Scalar operations, bytes read and written (each element once), predicted seconds."""

    operations: int | None
    read: int
    written: int
    seconds: float | None


def forecast(
    statement: Statement,
    sizes: Sizes,
    machine: Machine,
    around: Sequence[Axis] = (),
    threads: int = 1,
) -> Forecast:
    """Return what a statement costs for these run-time sizes, shared by `threads`.

    The time is that of the arithmetic, with each operation at its measured cost, or of the bytes,
    whichever is longer: no kernel is much faster, and one that is much slower has something to
    gain. Operations are None where their number depends on values. `around`: loops of which this is
    one step.
    """
    if isinstance(statement, Loop):
        return _loop(statement, sizes, machine, around)
    operations = _operations(statement, sizes)
    read, written = _bytes(statement, sizes, around)
    seconds = None
    if operations is not None:
        moving = (read + written) / machine.moving(read + written, threads)
        computing = _work(statement, sizes, operations) / machine.operations / threads
        start = CALL if threads == 1 else CALL + WAKE
        seconds = start + max(computing, moving)
    return Forecast(operations, read, written, seconds)


def _work(statement: Statement, sizes: Sizes, operations: int) -> int:
    """Return the arithmetic in float32 operations at the rate of a matrix product."""
    if isinstance(statement, LibraryCall):
        width = max((b.dtype.itemsize for b in _buffers(statement)), default=4)
        return operations * max(4, width) // 4 * LIBRARY.get(statement.name, 1)
    if not isinstance(statement, Nest):
        return operations * SIMPLE
    total = 0
    for t in statement.stores:
        count = _points(statement.axes, sizes)
        total += count * (_weight(t.value) + _weight(t.address) + _waiting(statement, t))
        for e in walk([t.value]):
            if e.op == "reduce":
                axes = [*e.data[1], *(a for a in statement.axes if e.free & a.bit)]
                own = _weight(e.args[0])
                # a product is added by one multiply-add
                fused = e.data[0] in SUMS and e.args[0].op == "mul"
                total += _points(axes, sizes) * (own + (0 if fused else simple(e.dtype)))
    return total


def _weight(root: Expr) -> int:
    """Return the cost of one point, of what is inside of reductions not counted."""
    total, stack, seen = 0, [root], set()
    while stack:
        e = stack.pop()
        if e in seen:
            continue
        seen.add(e)
        total += cost_of(e)
        if e.op != "reduce":
            stack.extend(e.args)
    return total


def _waiting(nest: Nest, t: Store) -> int:
    """Return the cost of a store that has to wait for the one before."""
    if nest.serial:
        return SCATTERED
    if nest.scan and (len(nest.axes) == 1 or stride(t.address, nest.axes[-1]) == 1):
        return IN_ORDER
    return 0


def _loop(loop: Loop, sizes: Sizes, machine: Machine, around: Sequence[Axis]) -> Forecast:
    """Add up the statements of a step; what a step touches stays in the near cache."""
    parts = [forecast(t, sizes, machine, [*around, loop.axis]) for t in loop.body]
    read, written = sum(p.read for p in parts), sum(p.written for p in parts)
    times = [p.seconds for p in parts if p.seconds is not None]
    counts = [p.operations for p in parts if p.operations is not None]
    if loop.go_on is not None or loop.count is not None or len(counts) < len(parts):
        return Forecast(None, read, written, None)
    steps = _number(loop.axis.extent, sizes)
    total = steps * (sum(times) - len(times) * CALL + STEP)
    return Forecast(steps * sum(counts), steps * read, steps * written, total)


def _operations(statement: Statement, sizes: Sizes) -> int | None:
    """Return the scalar operations, loads and index arithmetic not counted."""
    if not isinstance(statement, Nest):
        amount = statement_amount(statement)
        return None if amount is None else _number(amount, sizes)
    total = 0
    for t in statement.stores:
        total += _points(statement.axes, sizes) * _arithmetic(t.value)
        for e in walk([t.value]):
            if e.op == "reduce":
                axes = [*e.data[1], *(a for a in statement.axes if e.free & a.bit)]
                total += _points(axes, sizes) * (_arithmetic(e.args[0]) + 1)
    return total


def _points(axes: Sequence[Axis], sizes: Sizes) -> int:
    return prod(_number(a.extent, sizes) for a in axes)


def _arithmetic(root: Expr) -> int:
    """Return the operations of one point, those inside of reductions not counted."""
    total, stack, seen = 0, [root], set()
    while stack:
        e = stack.pop()
        if e in seen or e.op in _FREE:
            continue
        seen.add(e)
        total += max(1, e.cost - sum(a.cost for a in e.args))
        stack.extend(e.args)
    return total


def _number(n: Size, sizes: Sizes) -> int:
    return n if isinstance(n, int) else evaluate(n, sizes)


def _bytes(statement: Statement, sizes: Sizes, around: Sequence[Axis]) -> tuple[int, int]:
    if isinstance(statement, LibraryCall):
        return tuple(  # type: ignore[return-value]
            sum(_number(b.size, sizes) * b.dtype.itemsize for b in dict.fromkeys(buffers))
            for buffers in (statement.inputs, statement.outputs)
        )
    stores: Sequence[Store] = statement.stores if isinstance(statement, Nest) else ()
    roots = [e for t in stores for e in (t.value, t.address)]
    roots += [statement.condition] if isinstance(statement, Check) else []
    read: dict[Buffer, int] = {}
    for e in walk(roots):
        if e.op == "load":
            amount = _touched(e.args[0], e.data, sizes, around)
            read[e.data] = max(read.get(e.data, 0), amount)
    written = sum(_touched(t.address, t.buffer, sizes, around) for t in stores)
    return sum(read.values()), written


def _touched(address: Expr, buffer: Buffer, sizes: Sizes, around: Sequence[Axis]) -> int:
    """Return the bytes of a buffer at an address, over all points of the loops that it names."""
    axes: dict[Axis, None] = {}
    for e in walk([address]):
        if e.op == "axis" and e.data not in around:
            axes[e.data] = None
    count = 1
    for axis in axes:
        count *= max(1, _number(axis.extent, sizes))
    return min(count, max(1, _number(buffer.size, sizes))) * buffer.dtype.itemsize


def _buffers(statement: Any) -> list[Buffer]:
    if isinstance(statement, LibraryCall):
        return [*statement.inputs, *statement.outputs]
    return [t.buffer for t in getattr(statement, "stores", ())]
