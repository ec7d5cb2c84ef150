"""Split an array from the zeros around it: the inside has no tests, the border no work.

An image with zeros around it is `where(0 <= i - 1 < n and ..., x[i - 1, ...], 0)`: tests and masks
for every element, and vectors that begin in the border.
"""

from __future__ import annotations

from collections.abc import Collection

from symgraph.core.dtype import BOOL
from symgraph.loops.amount import points
from symgraph.loops.expr import Axis, Expr, walk
from symgraph.loops.interned import Builder
from symgraph.loops.statements import Nest, Statement, Store

LEAST_POINTS = 4096  # of a nest: for fewer, more kernels cost more than the tests
LONGEST = 1 << 14  # of an axis whose every place is looked at


def split_borders(s: Builder, statement: Statement) -> list[Statement]:
    """Return statements that store the same: the inside of each padded axis, and its borders."""
    if not isinstance(statement, Nest) or statement.serial or statement.scan:
        return [statement]
    size = points(statement.axes)
    if (
        not isinstance(size, int)
        or size < LEAST_POINTS
        or not all(map(_is_padded, statement.stores))
    ):
        return [statement]
    inside, borders = statement, []
    for axis in reversed(statement.axes):
        tests = _tests(inside, axis)
        first, last = _range(tests, axis)
        if tests and first < last:
            borders += _border(s, inside, axis, first, last)
            inside = _inside(s, inside, axis, first, last, tests)
    return [inside, *borders]


def _is_padded(t: Store) -> bool:
    value = t.value
    plain = t.guard is None and not t.accumulate
    return plain and value.op == "select" and value.args[2].op == "const"


def _conditions(e: Expr) -> list[Expr]:
    """Return the conditions that must all hold."""
    return [c for a in e.args for c in _conditions(a)] if e.op == "and" else [e]


def _tests(nest: Nest, axis: Axis) -> list[Expr]:
    """Return the tests of the place along an axis that all stores share; none if it is bound."""
    if any(e.op == "reduce" and axis in e.data[1] for e in walk([t.value for t in nest.stores])):
        return []
    if not isinstance(axis.extent, int) or not 1 < axis.extent <= LONGEST:
        return []
    if not all(_is_padded(t) for t in nest.stores):
        return []
    found = [_conditions(t.value.args[0]) for t in nest.stores]
    shared = [c for c in found[0] if all(c in other for other in found)]
    return [c for c in dict.fromkeys(shared) if _is_test(c, axis)]


def _is_test(c: Expr, axis: Axis) -> bool:
    """Tell whether a condition compares an affine form in one loop variable with a number."""
    if c.op not in ("ge", "lt"):
        return False
    place, bound = c.args
    one = len(place.args) == 1 and place.args[0].op == "axis" and place.args[0].data is axis
    numbers = (*place.data[0], place.data[1]) if place.op == bound.op == "affine" else ("",)
    known = all(isinstance(n, int) for n in numbers)
    return one and known and not bound.args and isinstance(bound.data[1], int)


def _range(tests: list[Expr], axis: Axis) -> tuple[int, int]:
    """Return where all tests hold: [first, last); empty where that is no range of places."""
    extent = axis.extent
    assert isinstance(extent, int) or not tests
    places = [k for k in range(extent if isinstance(extent, int) else 0) if _hold(tests, k)]
    whole = bool(places) and places[-1] - places[0] + 1 == len(places)
    return (places[0], places[-1] + 1) if whole else (0, 0)


def _hold(tests: list[Expr], k: int) -> bool:
    for c in tests:
        (factor,), first = c.args[0].data
        value, bound = factor * k + first, c.args[1].data[1]
        if not (value >= bound if c.op == "ge" else value < bound):
            return False
    return True


def _border(s: Builder, nest: Nest, axis: Axis, first: int, last: int) -> list[Statement]:
    """Return nests that store what lies before and behind the inside of an axis."""
    extent = axis.extent
    assert isinstance(extent, int)
    parts = [(0, first), (last, extent - last)]
    if first == extent - last:  # one nest for both sides
        sides = [([start for start, _ in parts], first)]
    else:
        sides = [([start], n) for start, n in parts if n]
    found: list[Statement] = []
    for starts, n in sides:
        along = s.axis(f"{axis.name}e", n)
        stores = tuple(
            Store(
                t.buffer, s.replace(t.address, {axis: s.iadd(s.at(along), k)}, {}), t.value.args[2]
            )
            for t in nest.stores
            for k in starts
        )
        axes = tuple(along if a is axis else a for a in nest.axes)
        found.append(Nest(axes, stores, origin=nest.origin))
    return found


def _inside(
    s: Builder, nest: Nest, axis: Axis, first: int, last: int, tests: Collection[Expr]
) -> Nest:
    """Return the nest over the part of an axis where the tests hold."""
    along = s.axis(f"{axis.name}n", last - first)
    there = {axis: s.iadd(s.at(along), first)}
    memo: dict[Expr, Expr] = {}
    stores = []
    for t in nest.stores:
        value = _without(s, t.value, set(tests))
        stores.append(
            Store(t.buffer, s.replace(t.address, there, memo), s.replace(value, there, memo))
        )
    axes = tuple(along if a is axis else a for a in nest.axes)
    return Nest(axes, tuple(stores), origin=nest.origin)


def _without(s: Builder, root: Expr, tests: Collection[Expr]) -> Expr:
    """Return a value where some tests are known to hold."""
    new: dict[Expr, Expr | None] = {}  # None: it holds
    for e in walk([root]):
        args = [new[a] for a in e.args]
        if e in tests:
            new[e] = None
        elif e.op == "and" and None in args:
            new[e] = args[0] if args[1] is None else args[1]
        elif e.op == "select" and args[0] is None:
            new[e] = args[1]
        elif e.op == "load" and len(args) == 2 and args[1] is None:
            new[e] = s.load(e.data, args[0] or e.args[0])
        else:
            whole = tuple(s.const(True, BOOL) if a is None else a for a in args)
            new[e] = e if whole == e.args else s.rebuild(e, whole)
    result = new[root]
    assert result is not None
    return result
