"""Join adjacent loops that walk memory as one: `x[i*n + j]` over (i, j) is `x[t]` over t."""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.core.dtype import BOOL
from symgraph.core.record import replace
from symgraph.dims.bounds import divides
from symgraph.loops.expr import SUMS, Axis, Expr, Size, walk
from symgraph.loops.interned import Builder
from symgraph.loops.statements import Check, Loop, Nest, Statement, Store

SMALL_POINTS = 9  # reductions of so few points become straight code: a pooling window
SMALL_COST = 4000  # of all copies together; most of it are tests that the copies decide
MOST_STORES = 16
SMALL_DIVISOR = 4  # an index divided by so little is split: pooling by 2, 3 or 4


def unroll_small(s: Builder, nest: Nest) -> Nest:
    """Replace reductions over a few points by straight code, so that outer axes can be vectors."""
    if nest.scan:
        return nest
    stores = []
    for t in nest.stores:
        memo: dict[Expr, Expr] = {}
        for e in walk([t.value]):
            args = tuple(memo[a] for a in e.args)
            new = e if args == e.args else s.rebuild(e, args)
            if new.op == "reduce":
                new = _unrolled(s, new)
            memo[e] = new
        stores.append(Store(t.buffer, t.address, memo[t.value], t.guard, t.accumulate))
    return Nest(nest.axes, tuple(stores), nest.serial, nest.scan, nest.origin)


def _unrolled(s: Builder, e: Expr) -> Expr:
    kind, axes = e.data
    points = 1
    for a in axes:
        if not isinstance(a.extent, int) or not a.name.startswith("w"):
            return e  # the order of a sum must not depend on whether its length is known
        points *= a.extent
    value = e.args[0]
    if not 1 <= points <= SMALL_POINTS or value.cost * points > SMALL_COST:
        return e
    terms = [value]
    for a in axes:
        terms = [s.replace(v, {a: k}, {}) for v in terms for k in range(a.extent)]
    total = terms[0]
    for term in terms[1:]:
        total = _combined(s, kind, total, term)
    return total


_COMBINE = {"prod": "mul", "max": "max", "min": "min", "any": "or", "all": "and"}
_COMBINE |= dict.fromkeys(SUMS, "add")


def _combined(s: Builder, kind: str, x: Expr, y: Expr) -> Expr:
    op = _COMBINE.get(kind, kind)
    if x.dtype is BOOL:
        op = {"add": "or", "mul": "and", "max": "or", "min": "and"}.get(op, op)
    if not x.dtype.is_float and op in ("max", "min"):
        return s.select(s.binary("gt" if op == "max" else "lt", x, y), x, y)
    if kind in SUMS and y.op == "const" and y.data == 0:
        return x
    if kind in SUMS and x.op == "const" and x.data == 0:
        return y
    return s.binary(op, x, y)


def split_divided(s: Builder, nest: Nest) -> Nest:
    """Split an axis that is divided by a small number: each remainder becomes a store of its own.

    The division then disappears: (2 b + u) // 2 is b.
    """
    if nest.scan or nest.serial:
        return nest
    for axis in reversed(nest.axes):
        divisor = _small_divisor(nest, axis)
        if divisor is None or not divides(divisor, axis.extent):
            continue
        if len(nest.stores) * divisor > MOST_STORES:
            break
        block = s.axis(f"{axis.name}d", axis.extent // divisor)
        stores = []
        for u in range(divisor):
            at = s.iadd(s.imul(s.at(block), divisor), u)
            memo: dict[Expr, Expr] = {}
            for t in nest.stores:
                address = s.replace(t.address, {axis: at}, memo)
                stores.append(Store(t.buffer, address, s.replace(t.value, {axis: at}, memo)))
        axes = tuple(block if a is axis else a for a in nest.axes)
        nest = Nest(axes, tuple(stores), nest.serial, nest.scan, nest.origin)
    return nest


def _small_divisor(nest: Nest, axis: Axis) -> int | None:
    found = {
        e.data
        for e in walk([t.value for t in nest.stores])
        if e.op in ("ifloordiv", "imod") and e.free & axis.bit
    }
    if len(found) != 1:
        return None
    (divisor,) = found
    return divisor if isinstance(divisor, int) and divisor <= SMALL_DIVISOR else None


def collapse(s: Builder, statement: Statement) -> Statement:
    """Return the statement with every pair of joinable loops joined, reductions included."""
    if isinstance(statement, Nest):
        if not statement.scan:
            statement = unroll_small(s, split_divided(s, statement))
        stores = tuple(
            Store(t.buffer, t.address, _reductions(s, t.value), t.guard, t.accumulate)
            for t in statement.stores
        )
        if statement.scan:
            return replace(statement, stores=stores)
        roots = [e for t in stores for e in (t.address, t.value)]
        axes, replaced = _joined(s, statement.axes, roots)
        memo: dict[Expr, Expr] = {}
        new = tuple(
            Store(
                t.buffer,
                s.replace(t.address, replaced, memo) if replaced else t.address,
                s.replace(t.value, replaced, memo) if replaced else t.value,
                t.guard,
                t.accumulate,
            )
            for t in stores
        )
        return Nest(axes, new, statement.serial, statement.scan, statement.origin)
    if isinstance(statement, Check):
        axes, replaced = _joined(s, statement.axes, [statement.condition])
        condition = s.replace(statement.condition, replaced, {})
        return Check(axes, condition, statement.code, statement.origin)
    if isinstance(statement, Loop):
        return statement.with_body(tuple(collapse(s, t) for t in statement.body))
    return statement


def _joined(
    s: Builder, axes: Sequence[Axis], roots: Sequence[Expr]
) -> tuple[tuple[Axis, ...], dict[Axis, Expr | int]]:
    """Return the joined axes and what each old axis becomes."""
    if len(axes) < 2:
        return tuple(axes), {}
    uses = _uses(axes, roots)
    result = list(axes)
    replaced: dict[Axis, Expr | int] = {}
    k = len(result) - 2
    while k >= 0:
        outer, inner = result[k], result[k + 1]
        if all(u.get(outer, 0) == u.get(inner, 0) * inner.extent for u in uses):
            joined = s.axis(f"{outer.name}{inner.name}", outer.extent * inner.extent)
            replaced[outer] = 0
            for old, new in list(replaced.items()):
                if isinstance(new, Expr) and new.args and new.args[0].data is inner:
                    replaced[old] = s.index(s.at(joined))
            replaced[inner] = s.index(s.at(joined))
            for use in uses:
                use[joined] = use.get(inner, 0)
            result[k : k + 2] = [joined]
        k -= 1
    return tuple(result), replaced


def _uses(axes: Sequence[Axis], roots: Sequence[Expr]) -> list[dict[Axis, Size]]:
    """Return the coefficients of the axes in every affine form below `roots`.

    Where a reduction binds one of the axes, that name means another variable below it.
    """
    mask = 0
    for a in axes:
        mask |= a.bit
    forms: list[dict[Axis, Size]] = []
    seen: set[tuple[Expr, int]] = set()
    stack = [(e, mask) for e in roots]
    while stack:
        e, active = stack.pop()
        if not e.free & active or (e, active) in seen:
            continue
        seen.add((e, active))
        if e.op == "affine":
            terms = zip(e.args, e.data[0], strict=True)
            forms.append(
                {a.data: c for a, c in terms if a.op == "axis" and a.data.bit & active}
            )
        if e.op == "reduce":
            for a in e.data[1]:
                active &= ~a.bit
        stack.extend((a, active) for a in e.args)
    return forms


def _reductions(s: Builder, root: Expr) -> Expr:
    """Join the axes of each reduction below `root`."""
    if not any(e.op == "reduce" and len(e.data[1]) > 1 for e in walk([root])):
        return root
    memo: dict[Expr, Expr] = {}
    for e in walk([root]):
        args = tuple(memo[a] for a in e.args)
        new = e if args == e.args else s.rebuild(e, args)
        if new.op == "reduce" and len(new.data[1]) > 1:
            kind, axes = new.data
            joined, replaced = _joined(s, axes, [new.args[0]])
            if replaced:
                new = s.reduce(kind, joined, s.replace(new.args[0], replaced, {}))
        memo[e] = new
    return memo[root]
