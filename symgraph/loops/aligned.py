"""Copy matrices that a loop reads in every step to where they begin on a cache line.

An array of the caller may begin anywhere: half of its vectors then lie on two cache lines and cost
two loads. A recurrence reads the same small matrix in every step, so that one copy pays. Where a
product reads it along its columns (the way back through a batch of states) the copy is transposed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from symgraph.dims.bounds import interval
from symgraph.loops.expr import Buffer, Expr, Size, walk
from symgraph.loops.statements import LibraryCall, Loop, Nest, Program, Statement, Store
from symgraph.loops.storage import writes

FEWEST_STEPS = 16  # from which a copy is cheap beside the steps
MOST_UNKNOWN = 1 << 24  # elements that a matrix of unknown sizes has at most
MOST_BYTES = 1 << 18  # of one matrix: larger ones do not stay near the core


def aligned_operands(program: Program) -> list[Statement]:
    """Return the statements of a program with copies before its loops."""
    done: list[Statement] = []
    for statement in program.statements:
        if isinstance(statement, Loop) and not statement.free and many(statement.axis.extent):
            turned = {b: _copy(program, b, b.shape[::-1]) for b in _across(statement)}
            straight = [b for b in _matrices(statement) if b not in turned]
            copies = {b: _copy(program, b, b.shape) for b in straight}
            factors = {b: _copy(program, b, b.shape[::-1]) for b in _factors(statement)}
            done += [_turning(program, b, new) for b, new in (turned | factors).items()]
            done += [_copying(program, b, new) for b, new in copies.items()]
            loop = _exchanged(program, statement, copies, turned)
            done.append(_with_factors(loop, factors) if factors else loop)
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


def _across(loop: Loop) -> list[Buffer]:
    """Return the matrices that products of matrices read along their columns, in all their loads.

    Their vectors would be picked together from as many rows, in every step.
    """
    kept = set(writes(loop))
    found: dict[Buffer, None] = {}
    others: dict[Buffer, None] = {}
    for t in _nests(loop):
        reads: dict[Expr, bool] = dict.fromkeys(_loads(t), False)
        for r in _values(t):
            if r.op == "reduce" and r.data[0] == "dot" and len(t.axes) > 1:
                reads |= {e: True for e in walk(r.args) if e.op == "load" and _is_across(t, r, e)}
        for e, across in reads.items():
            (found if across else others)[e.data] = None
    return [b for b in found if b not in others and b not in kept and _small(b)]


def _nests(loop: Loop) -> Iterator[Nest]:
    for t in loop.body:
        if isinstance(t, Loop):
            yield from _nests(t)
        elif isinstance(t, Nest):
            yield t


def _is_across(nest: Nest, r: Expr, load: Expr) -> bool:
    """Tell whether a load is an element of a matrix: its row is the column of the result."""
    s, shape, (inner, *more) = load.args[0].builder, load.data.shape, r.data[1]
    if more or len(load.args) > 1 or len(shape) != 2 or load.data.axis is not None:
        return False
    column = nest.axes[-1]
    whole = (column.extent, inner.extent) == shape and 1 not in shape
    return whole and load.args[0] is s.index(s.iadd(s.imul(s.at(column), shape[1]), s.at(inner)))


def _factors(loop: Loop) -> list[Buffer]:
    """Return the second factors of products of unknown sizes that are stored transposed.

    Those that turn out small are nests (loops/small_products.py), with vectors along its rows.
    """
    kept = set(writes(loop))
    found = dict.fromkeys(t.inputs[1] for t in _calls(loop) if _reads_transposed(t))
    return [b for b in found if b not in kept and b.axis is None]


def _calls(loop: Loop) -> Iterator[LibraryCall]:
    for t in loop.body:
        if isinstance(t, Loop):
            yield from _calls(t)
        elif isinstance(t, LibraryCall):
            yield t


def _reads_transposed(call: LibraryCall) -> bool:
    if call.name != "gemm" or len(call.params[0]) != 3:
        return False
    (m, n, k), _, right, _ = call.params
    size, shape = n * k, call.inputs[1].shape
    most = interval(size)[1]
    near = most is not None and most <= MOST_UNKNOWN and not isinstance(size, int)
    return near and shape == (n, k) and right == (0, (), 1, k)


def _with_factors(loop: Loop, factors: dict[Buffer, Buffer]) -> Loop:
    """Return the loop with products that read the copies of some second factors."""

    def one(t: Statement) -> Statement:
        if isinstance(t, Loop):
            return _with_factors(t, factors)
        if not (isinstance(t, LibraryCall) and t.inputs[1:] and t.inputs[1] in factors):
            return t
        if not _reads_transposed(t):
            return t
        sizes, left, _, start = t.params
        params = (sizes, left, (0, (), sizes[1], 1), start)
        inputs = (t.inputs[0], factors[t.inputs[1]])
        return LibraryCall(t.name, t.outputs, inputs, params, t.origin)

    return loop.with_body(tuple(map(one, loop.body)))


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


def _copy(program: Program, buffer: Buffer, shape: tuple[Size, ...]) -> Buffer:
    new = Buffer(f"{buffer.name}a", buffer.dtype, shape, "temporary")
    program.buffers.append(new)
    return new


def _copying(program: Program, old: Buffer, new: Buffer) -> Nest:
    s = program.builder
    axis = s.axis("i0", old.size)
    at = s.at(axis)
    return Nest((axis,), (Store(new, s.index(at), s.load(old, at)),))


def _turning(program: Program, old: Buffer, new: Buffer) -> Nest:
    """Return the nest of a transposed copy; one of unknown sizes in order, which is less code."""
    s = program.builder
    axes = rows, columns = tuple(s.axis(f"i{k}", n) for k, n in enumerate(new.shape))
    i, j = s.at(rows), s.at(columns)
    value = s.load(old, s.iadd(s.imul(j, rows.extent), i))
    unknown = not isinstance(old.size, int)
    return Nest(axes, (Store(new, s.iadd(s.imul(i, columns.extent), j), value),), serial=unknown)


def _exchanged(
    program: Program, loop: Loop, copies: dict[Buffer, Buffer], turned: dict[Buffer, Buffer]
) -> Loop:
    """Return the loop with its loads from some buffers made from their copies."""
    s = program.builder
    memo: dict[Expr, Expr] = {}

    def value(root: Expr) -> Expr:
        for e in walk([root]):
            if e not in memo:
                args = tuple(memo[a] for a in e.args)
                if e.op == "load" and e.data in copies:
                    memo[e] = s.load(copies[e.data], *args)
                elif e.op == "load" and e.data in turned:
                    new = turned[e.data]
                    (p, q), factors = args[0].args, args[0].data[0]
                    row, column = (p, q) if factors[1] == 1 else (q, p)
                    memo[e] = s.load(new, s.iadd(s.imul(column, new.shape[1]), row))
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

    return loop.with_body(body(loop.body)) if copies or turned else loop
