"""Join adjacent loops that walk memory as one: `x[i*n + j]` over (i, j) is `x[t]` over t."""

from __future__ import annotations

from collections.abc import Sequence

from symgraph.loops.grammar import Axis, Builder, Check, Expr, Nest, Size, Statement, Store, walk


def collapse(s: Builder, statement: Statement) -> Statement:
    """Return the statement with every pair of joinable loops joined, reductions included."""
    if isinstance(statement, Nest) and not statement.scan:
        stores = tuple(
            Store(t.buffer, t.address, _reductions(s, t.value), t.guard, t.accumulate)
            for t in statement.stores
        )
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
        condition = s.replace(statement.condition, replaced, {})  # type: ignore[arg-type]
        return Check(axes, condition, statement.code, statement.origin)
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
    """Return the coefficients of the axes in every affine form below `roots`."""
    mask = 0
    for a in axes:
        mask |= a.bit
    forms = []
    for e in walk(roots):
        if not e.free & mask:
            continue
        if e.op == "affine":
            forms.append(
                {a.data: c for a, c in zip(e.args, e.data[0], strict=True) if a.op == "axis"}
            )
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
                new = s.reduce(kind, joined, s.replace(new.args[0], replaced, {}))  # type: ignore
        memo[e] = new
    return memo[root]
