"""Loops that are running sums, products, extrema or linear recurrences: no loop is left of them.

The state of a loop goes through memory from step to step, which takes about five times as long as
an operation on it. Where all that a loop carries is narrow and one of

    x + b    x * a    a * x + b    a * (x + b)    max(x, b)    min(x, b)    logaddexp(x, b)

with `a` and `b` that need nothing carried but what has been found before, `a` and `b` are computed
for all steps at once, a running op (`cumsum`, `linear_recurrence` ...) keeps the state in a
register, and the rows are computed from its results. Sums, products and extrema are those of the
loop to the last bit. A linear recurrence rounds a * x + b once, and other forms that are linear in
the state are brought to it by algebra: under `strict` they stay loops.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from symgraph.core.node import CONSTANT, Node
from symgraph.core.op import o
from symgraph.core.record import dataclass
from symgraph.core.vectorise import Batched
from symgraph.core.walk import toposort
from symgraph.dims.dim import provably_le
from symgraph.rewrites.opened import Opened, Results, for_all_steps

MOST_BYTES = 64  # of a state; a wider one fills vectors, and a loop reads its rows in order
RUNNING = {
    "maximum": "cummax", "minimum": "cummin", "logical_or": "cummax", "logical_and": "cummin",
    "logaddexp": "logcumsumexp",
}  # fmt: skip
Pair = tuple[Any, Any]  # factor and summand; see `_affine`


@dataclass(frozen=True, slots=True)
class Form:
    """How a state follows from the one before: "hold" (not at all), or an op of `_trace`.

    `a` and `b` are nodes of the body. `inner` is the node x + b of "rotated", a * (x + b).
    `first`, if there is one, is the state after the step at position 0, whatever was before.
    """

    kind: str
    a: Node | None = None
    b: Node | None = None
    inner: Node | None = None
    first: Node | None = None


def without_loop(opened: Opened, strict: bool) -> bool:
    """Replace the results of a loop by those of running ops, if all its states allow it."""
    carries = opened.carries
    if not carries or not opened.rows:  # a last state alone needs no memory as a loop
        return False
    if any(n.op.compound or n.op.opaque for n in _varying(opened)):
        return False
    if not all(_narrow(x) for x, _, _ in carries.values()):
        return False
    forms = _forms(opened, strict)
    if forms is None:
        return False
    known: dict[Node, Batched] = {}
    for k, form in forms.items():
        before, after = _trace(opened, k, form, known)
        x, start, new = carries[k]
        known[x] = before, 0
        if form.kind != "hold":
            known[new] = after, 0
        opened.instead[k] = partial(_value, _last(opened, start, after))
    for k, row in opened.rows.items():
        opened.instead[k] = partial(_value, for_all_steps(opened, row, known))
    opened.carries, opened.rows = {}, {}
    return True


def _varying(opened: Opened) -> set[Node]:
    """Return the nodes of a step that are not the same in every step."""
    found = {opened.step, *opened.sequences, *(x for x, _, _ in opened.carries.values())}
    for n in toposort(opened.roots()):
        if not found.isdisjoint(n.inputs):
            found.add(n)
    return found


def _value(value: Node, result: Results) -> Node:
    return value


def _narrow(x: Node) -> bool:
    if x.dtype.is_complex or (x.dtype.is_float and x.dtype.bits < 32):
        return False
    shape = x.type.shape
    return all(isinstance(n, int) for n in shape) and (
        x.dtype.itemsize * math.prod(shape) <= MOST_BYTES
    )


# -- recognition ---------------------------------------------------------------------------------
def _forms(opened: Opened, strict: bool) -> dict[Any, Form] | None:
    """Return the form of every state, in an order in which each needs earlier ones only."""
    left = dict(opened.carries)
    found: dict[Any, Form] = {}
    while left:
        waiting = {x for x, _, _ in left.values()}
        for k, (x, _, new) in left.items():
            form = _form(opened, x, new, waiting - {x}, strict)
            if form is not None:
                found[k] = form
                del left[k]
                break
        else:
            return None
    return found


def _form(
    opened: Opened, x: Node, new: Node, others: set[Node], strict: bool
) -> Form | None:
    order = toposort([new])
    if not others.isdisjoint(order):
        return None
    if x not in order:
        return Form("hold", b=new)
    first = None
    if new.op.name == "where" and not opened.params.reverse and _at_first(opened, new.inputs[0]):
        _, first, new = new.inputs
        order = toposort([new])
        if x not in order or x in toposort([first]):
            return None
    moving = {x}
    for n in order:
        if not moving.isdisjoint(n.inputs):
            moving.add(n)
    if any(n.type.shape != x.type.shape or n.dtype is not x.dtype for n in moving):
        return None
    form = _exact(x, new, moving) or (None if strict else _fused(x, new, moving))
    if form is None or first is None:
        return form
    return None if form.kind == "rotated" else Form(form.kind, form.a, form.b, None, first)


def _at_first(opened: Opened, condition: Node) -> bool:
    """Tell whether a condition holds in the step at position 0 and in no other."""
    while condition.op.view:
        condition = condition.inputs[0]
    if condition.op.name != "eq":
        return False
    x, y = condition.inputs
    return x is opened.step and y.op is CONSTANT and y.data.size == 1 and not y.data.any()


def _exact(x: Node, new: Node, moving: set[Node]) -> Form | None:
    """Return a form that gives the same bits."""
    if new.op.name in RUNNING and x in new.inputs:
        b = _other(new, moving)
        exact = new.op.name != "logaddexp"
        return Form(RUNNING[new.op.name], b=b) if b is not None and exact else None
    if new.op.name == "mul":
        a = _other(new, moving)
        return Form("prod", a=a) if x in new.inputs and a is not None else None
    b = _added(new, x, moving)
    return None if b is None else Form("sum", b=b)


def _other(node: Node, moving: set[Node]) -> Node | None:
    """Return the operand of a binary op that does not depend on the state, if one does not."""
    free = [n for n in node.inputs if n not in moving]
    return free[0] if len(free) == 1 else None


def _added(node: Node, x: Node, moving: set[Node]) -> Node | None:
    """Return what is added to `x`, or None."""
    if x not in node.inputs:
        return None
    b = _other(node, moving)
    if b is None or node.op.name == "add":
        return b
    return o.neg(b) if node.op.name == "sub" and node.inputs[0] is x else None


def _fused(x: Node, new: Node, moving: set[Node]) -> Form | None:
    """Return a form that rounds once where the step rounds twice, or orders its sums anew."""
    if not x.dtype.is_float:
        return None
    if new.op.name == "logaddexp" and x in new.inputs:
        return Form("logcumsumexp", b=_other(new, moving))
    one, zero = o.ones((), x.dtype), o.zeros((), x.dtype)
    inner = _only_sum(x, new, moving)
    if inner is not None:
        found = _linear(inner[0], new, moving)
        if found is not None and found[0] is not None and found[1] is None:
            return Form("rotated", found[0], inner[1], inner[0])
    found = _linear(x, new, moving)
    if found is None:
        return None
    a, b = found
    return Form("linear", one if a is None else a, zero if b is None else b)


def _only_sum(x: Node, new: Node, moving: set[Node]) -> tuple[Node, Node] | None:
    """Return x + b, and b, if that is the only use of the state."""
    users = [n for n in toposort([new]) if n in moving and x in n.inputs]
    b = _added(users[0], x, moving) if len(users) == 1 else None
    return None if b is None else (users[0], b)


def _linear(x: Node, new: Node, moving: set[Node]) -> Pair | None:
    """Return (a, b) with new = a x + b."""
    terms: dict[Node, Pair | None] = {x: (None, None)}
    for n in toposort([new], stop=lambda n: n is x):
        if n in moving and n is not x:
            terms[n] = _affine(n, terms)
    return terms[new]


def _affine(n: Node, terms: dict[Node, Pair | None]) -> Pair | None:
    """Return (a, b) with n = a x + b, given those of its inputs; None where n is not linear.

    In a pair None stands for one and zero.
    """
    if any(i in terms and terms[i] is None for i in n.inputs):
        return None
    parts = [terms.get(i, (_ZERO, i)) for i in n.inputs]
    rule = _RULES.get(n.op.name)
    return None if rule is None else rule(n, parts)


_ZERO: Any = object()  # the factor of what does not depend on the state


def _sum(sign: int) -> Any:
    def rule(n: Node, parts: list[Pair]) -> Pair:
        (a, b), (c, d) = parts
        combine = o.add if sign > 0 else o.sub
        one = o.ones((), n.dtype)
        if c is _ZERO:
            factor = a
        elif a is _ZERO:
            factor = c if sign > 0 else o.neg(one if c is None else c)
        else:
            factor = combine(one if a is None else a, one if c is None else c)
        if d is None:
            return factor, b
        if b is None:
            return factor, d if sign > 0 else o.neg(d)
        return factor, combine(b, d)

    return rule


def _product(n: Node, parts: list[Pair]) -> Pair | None:
    (a, b), (c, d) = parts
    if a is not _ZERO and c is not _ZERO:
        return None
    if a is _ZERO:
        a, b, d = c, d, b
    factor = d if a is None else o.mul(a, d)
    return factor, None if b is None else o.mul(b, d)


def _quotient(n: Node, parts: list[Pair]) -> Pair | None:
    (a, b), (c, d) = parts
    if c is not _ZERO:
        return None
    one = o.ones((), n.dtype)
    return o.div(one if a is None else a, d), None if b is None else o.div(b, d)


def _negative(n: Node, parts: list[Pair]) -> Pair:
    ((a, b),) = parts
    one = o.ones((), n.dtype)
    return o.neg(one if a is None else a), None if b is None else o.neg(b)


def _choice(n: Node, parts: list[Pair]) -> Pair | None:
    (free, condition), *sides = parts
    if free is not _ZERO:
        return None
    one, zero = o.ones((), n.dtype), o.zeros((), n.dtype)
    factors = [zero if a is _ZERO else one if a is None else a for a, _ in sides]
    factor = o.where(condition, *factors)
    if all(b is None or _is_zero(b) for _, b in sides):
        return factor, None
    return factor, o.where(condition, *(zero if b is None else b for _, b in sides))


def _is_zero(x: Node) -> bool:
    return x.op is CONSTANT and not x.data.any()


_RULES: dict[str, Any] = {
    "add": _sum(1), "sub": _sum(-1), "mul": _product, "div": _quotient, "neg": _negative,
    "where": _choice,
}  # fmt: skip


# -- construction --------------------------------------------------------------------------------
def _trace(
    opened: Opened, k: Any, form: Form, known: dict[Node, Batched]
) -> tuple[Node, Node]:
    """Return a state before and after each step, in the order of positions."""
    x, start, _ = opened.carries[k]
    turn = _flipped if opened.params.reverse else _same
    a, b = (None if v is None else turn(_all(opened, x, v, known)) for v in (form.a, form.b))
    steps = opened.params.length
    if form.kind == "rotated":
        assert a is not None and b is not None and form.inner is not None
        sums = o.linear_recurrence(_shifted(a), _begun(b, o.add(start, b)), axis=0)
        known[form.inner] = turn(sums), 0
        after = o.mul(a, sums)
    else:
        first = None if form.first is None else _all(opened, x, form.first, known)
        after = _running(form.kind, a, b, start, first)
    before = _begun(_shifted(after), o.broadcast_to(start, (steps, *x.type.shape)))
    return turn(before), turn(after)


def _running(
    kind: str, a: Node | None, b: Node | None, start: Node, first: Node | None
) -> Node:
    """Return the states after all steps, first step first.

    `start` is the state before, or `first` the rows of which the first one is the state after the
    first step.
    """
    if kind == "prod":
        assert a is not None
        return o.cumprod(_begun(a, o.mul(start, a) if first is None else first), 0, dtype=a.dtype)
    assert b is not None
    if kind == "hold":
        return b
    if kind == "linear":
        assert a is not None
        return o.linear_recurrence(a, _begun(b, a * start + b if first is None else first), axis=0)
    if b.dtype.is_bool:
        start, b = o.cast(start, "int8"), o.cast(b, "int8")
        rows = None if first is None else o.cast(first, "int8")
        return o.cast(_running(kind, None, b, start, rows), "bool")
    if first is None:
        first = getattr(o, _COMBINE[kind])(start, b)
    if kind == "sum":
        return o.cumsum(_begun(b, first), 0, dtype=b.dtype)
    running: Node = getattr(o, kind)(_begun(b, first), 0)
    return running


_COMBINE = {
    "sum": "add", "cummax": "maximum", "cummin": "minimum", "logcumsumexp": "logaddexp",
}  # fmt: skip


def _all(opened: Opened, x: Node, value: Node, known: dict[Node, Batched]) -> Node:
    """Return a value of the body for all steps, of the shape of the state."""
    if value.type.shape != x.type.shape:
        value = o.broadcast_to(value, x.type.shape)
    return for_all_steps(opened, value, known)


def _begun(rows: Node, first: Node) -> Node:
    """Return rows with the first one taken from `first`."""
    return o.where(o.eq(o.iota(rows.type.shape, 0), 0), first, rows)


def _shifted(rows: Node) -> Node:
    """Return the row before each one, zeros before the first."""
    widths = [(int(k == 0), 0) for k in range(rows.ndim)]
    return o.slice_axis(o.pad(rows, widths), 0, 0, rows.type.shape[0])


def _last(opened: Opened, start: Node, after: Node) -> Node:
    """Return the state after the last step; without steps the initial one."""
    steps, turned = opened.params.length, opened.params.reverse
    if provably_le(1, steps):
        at = 0 if turned else steps - 1
        return o.squeeze(o.slice_axis(after, 0, at, 1), 0)
    whole = o.concatenate([o.expand_dims(start, 0), _flipped(after) if turned else after], 0)
    return o.squeeze(o.slice_axis(whole, 0, steps, 1), 0)


def _same(x: Node) -> Node:
    return x


def _flipped(x: Node) -> Node:
    return o.flip(x, 0)
