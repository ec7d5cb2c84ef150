"""Check that a loop program is well formed; run after each pass where `config.verify` is set."""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.core.dtype import BOOL
from symgraph.core.errors import VerifyError
from symgraph.loops.convolution import reach
from symgraph.loops.expr import ARITHMETIC, BITWISE, COMPARE, INDEX, Buffer, Expr, walk
from symgraph.loops.statements import Check, LibraryCall, Loop, Nest, Program, Statement
from symgraph.loops.storage import reads, writes

_SAME = ARITHMETIC | BITWISE | COMPARE | {"fma"}


def verify_program(program: Program, stage: str) -> None:
    """Raise VerifyError naming the stage, the statement and what is wrong with it.

    Checked: operands' dtypes, conditions that are bool, addresses that are indices, axes bound by
    the nest or by one reduction, temporaries written before they are read, addresses inside of
    their buffers where bounds are known.
    """
    written = {b for s in program.statements for b in writes(s) if b.kind != "temporary"}
    try:
        _statements(program.statements, set(written), 0)
    except VerifyError as error:
        raise VerifyError(f"after {stage}, {error}") from None


def _statements(statements: Sequence[Statement], done: set[Buffer], around: int) -> None:
    """Check statements inside of the loops whose bits are `around`; `done` was written before."""
    for k, statement in enumerate(statements):
        try:
            for buffer in reads(statement):
                if buffer.kind == "temporary" and buffer not in done:
                    raise VerifyError(f"reads {buffer} before anything was stored there")
            if isinstance(statement, Nest):
                _nest(statement, around)
            elif isinstance(statement, Check):
                bound = around | sum(a.bit for a in statement.axes)
                _condition(statement.condition, bound, f"the check {statement.code}")
            elif isinstance(statement, LibraryCall):
                _call(statement)
            else:
                _loop(statement, done, around)
        except VerifyError as error:
            raise VerifyError(f"statement {k}: {error}") from None
        done.update(writes(statement))


def _loop(loop: Loop, done: set[Buffer], around: int) -> None:
    if around & loop.axis.bit:
        raise VerifyError(f"loop {loop.axis} occurs twice")
    for now, new in loop.carried:
        if now.dtype is not new.dtype or now.shape != new.shape:
            raise VerifyError(f"the carry {now} changes its type to that of {new}")
        if now not in done:
            raise VerifyError(f"the carry {now} has no first value")
    _statements(loop.body, set(done), around | loop.axis.bit)


def _nest(nest: Nest, around: int) -> None:
    bound = around
    for axis in nest.axes:
        if bound & axis.bit:
            raise VerifyError(f"loop {axis} occurs twice")
        bound |= axis.bit
    for t in nest.stores:
        if t.value.dtype is not t.buffer.dtype and not nest.scan:
            raise VerifyError(f"stores {t.value.dtype} into {t.buffer} of {t.buffer.dtype}")
        steps = [e for e in walk([t.value]) if e.op == "previous"]
        if nest.scan == "linear" and (t.value.op != "fma" or steps != [t.value.args[1]]):
            raise VerifyError(f"the recurrence of {t.buffer} is no multiply-add: {t.value!r}")
        if steps and nest.scan != "linear":
            raise VerifyError(f"the value of {t.buffer} needs the one before it")
        if t.address.dtype is not INDEX:
            raise VerifyError(f"the address of a store to {t.buffer} is no index")
        free = _axes_of(t.value) | _axes_of(t.address)
        if free & ~bound:
            raise VerifyError(f"the value of {t.buffer} depends on loops that are not there")
        if t.guard is None:
            _inside(t.address, t.buffer.size, f"the store to {t.buffer}")
        else:
            _condition(t.guard, bound, f"the guard of a store to {t.buffer}")
        _tree(t.address, bound)
        _tree(t.value, bound)


def _condition(condition: Expr, bound: int, what: str) -> None:
    if condition.dtype is not BOOL:
        raise VerifyError(f"{what} is {condition.dtype}, not bool")
    if _axes_of(condition) & ~bound:
        raise VerifyError(f"{what} depends on loops that are not there")
    _tree(condition, bound)


def _axes_of(root: Expr) -> int:
    """Return the loop variables that a value uses and no reduction below it binds.

    `free` says more: that a buffer is rewritten by a loop.
    """
    found: dict[Expr, int] = {}
    for e in walk([root]):
        bits = e.data.bit if e.op == "axis" else 0
        for a in e.args:
            bits |= found[a]
        if e.op == "reduce":
            for axis in e.data[1]:
                bits &= ~axis.bit
        found[e] = bits
    return found[root]


def _tree(root: Expr, bound: int) -> None:
    for e in walk([root]):
        if e.op in _SAME and len({a.dtype for a in e.args}) > 1:
            raise VerifyError(f"operands of {e.op} differ in dtype: {e!r}")
        if e.op == "select" and (
            e.args[0].dtype is not BOOL or e.args[1].dtype is not e.args[2].dtype
        ):
            raise VerifyError(f"ill-typed select: {e!r}")
        if e.op == "load":
            if e.args[0].dtype is not INDEX:
                raise VerifyError(f"the address of {e!r} is no index")
            if len(e.args) == 1:
                _inside(e.args[0], e.data.size, repr(e))
        if e.op == "reduce":
            axes = 0
            for axis in e.data[1]:
                if axes & axis.bit or bound & axis.bit:
                    raise VerifyError(f"{axis} is bound twice in {e!r}")
                axes |= axis.bit


def _inside(address: Expr, size: object, what: str) -> None:
    low, high = address.builder.bounds(address)
    if isinstance(low, int) and low < 0:
        raise VerifyError(f"{what} may reach address {low}")
    if isinstance(high, int) and isinstance(size, int) and size and high >= size:
        raise VerifyError(f"{what} may reach address {high} of {size}")


def _call(call: LibraryCall) -> None:
    if call.name not in ("gemm", "contract"):
        return
    dtypes = {b.dtype for b in (*call.inputs, *call.outputs)}
    if len(dtypes) != 1:
        raise VerifyError(f"{call.name} on different dtypes: {dtypes}")
    if call.name == "contract":
        buffers = (*call.inputs, *call.outputs)
        for buffer, (low, high) in zip(buffers, reach(call), strict=False):
            if low < 0 or (isinstance(buffer.size, int) and high >= buffer.size):
                raise VerifyError(f"contract may reach {low} to {high} of {buffer}")
