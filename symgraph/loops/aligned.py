"""Copy matrices that a loop reads in every step to where they begin on a cache line.

An array of the caller may begin anywhere: half of its vectors then lie on two cache lines and cost
two loads. A recurrence reads the same small matrix in every step, so that one copy pays.
"""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.loops.expr import Buffer, Expr, walk
from symgraph.loops.statements import Loop, Nest, Program, Statement, Store
from symgraph.loops.storage import writes

FEWEST_STEPS = 16  # from which a copy is cheap beside the steps
MOST_BYTES = 1 << 18  # of one matrix: larger ones do not stay near the core


def aligned_operands(program: Program) -> list[Statement]:
    """Return the statements of a program with copies before its loops."""
    done: list[Statement] = []
    for statement in program.statements:
        if isinstance(statement, Loop) and not statement.free and many(statement.axis.extent):
            copies = {b: _copy(program, b) for b in _matrices(statement)}
            done += [_copying(program, b, new) for b, new in copies.items()]
            done.append(_exchanged(program, statement, copies))
        else:
            done.append(statement)
    return done


def many(steps: object) -> bool:
    """Tell whether a loop has, or may have, so many steps that a copy pays."""
    return not isinstance(steps, int) or steps >= FEWEST_STEPS


def _matrices(loop: Loop) -> list[Buffer]:
    """Return the arguments that are read as the same matrix in every step, inside of sums."""
    kept = set(writes(loop))
    found: dict[Buffer, None] = {}
    steps = loop.axis.bit
    for t in loop.body:
        if isinstance(t, Loop):
            found |= dict.fromkeys(_matrices(t))
            steps |= t.axis.bit
    moving: set[Buffer] = set()
    for t in loop.body:
        for e in _loads(t):
            buffer = e.data
            if e.args[0].free & steps or buffer.kind not in ("input", "shared") or len(e.args) > 1:
                moving.add(buffer)
            elif _summed(t, e) and len(buffer.shape) > 1 and _small(buffer):
                found[buffer] = None
    return [b for b in found if b not in moving and b not in kept]


def _small(buffer: Buffer) -> bool:
    size = buffer.size
    return isinstance(size, int) and 0 < size * buffer.dtype.itemsize <= MOST_BYTES


def _values(statement: Statement) -> list[Expr]:
    if isinstance(statement, Nest):
        return walk([e for t in statement.stores for e in (t.value, t.address)])
    return []


def _loads(statement: Statement) -> list[Expr]:
    return [e for e in _values(statement) if e.op == "load"]


def _summed(statement: Statement, load: Expr) -> bool:
    sums = [e for e in _values(statement) if e.op == "reduce"]
    return any(load in walk([e.args[0]]) for e in sums)


def _copy(program: Program, buffer: Buffer) -> Buffer:
    new = Buffer(f"{buffer.name}a", buffer.dtype, buffer.shape, "temporary")
    program.buffers.append(new)
    return new


def _copying(program: Program, old: Buffer, new: Buffer) -> Nest:
    s = program.builder
    axis = s.axis("i0", old.size)
    at = s.at(axis)
    return Nest((axis,), (Store(new, s.index(at), s.load(old, at)),))


def _exchanged(program: Program, loop: Loop, copies: dict[Buffer, Buffer]) -> Loop:
    """Return the loop with its loads from some buffers made from their copies."""
    s = program.builder
    memo: dict[Expr, Expr] = {}

    def value(root: Expr) -> Expr:
        for e in walk([root]):
            if e not in memo:
                args = tuple(memo[a] for a in e.args)
                if e.op == "load" and e.data in copies:
                    memo[e] = s.load(copies[e.data], *args)
                else:
                    memo[e] = e if args == e.args else s.rebuild(e, args)
        return memo[root]

    def body(statements: Sequence[Statement]) -> tuple[Statement, ...]:
        return tuple(
            t.with_body(body(t.body))
            if isinstance(t, Loop)
            else Nest(
                t.axes,
                tuple(Store(x.buffer, x.address, value(x.value), x.guard, x.accumulate)
                      for x in t.stores),
                t.serial, t.scan, t.origin,
            )
            if isinstance(t, Nest)
            else t
            for t in statements
        )  # fmt: skip

    return loop.with_body(body(loop.body)) if copies else loop
