"""Shape classes: which sizes are constants, which a version reads, and what must hold of them.

A version is right for every call whose sizes it accepts, so whatever the graph assumes of sizes
that are not constants becomes a condition that the native entry checks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from math import lcm
from typing import Any

from symgraph.compile.specialise import specialise
from symgraph.core.body import bodies
from symgraph.core.errors import ShapeError
from symgraph.core.node import Node
from symgraph.core.record import dataclass
from symgraph.core.walk import toposort
from symgraph.dims.dim import (
    AtLeast,
    Atom,
    Dim,
    as_symbol,
    evaluate,
    is_chosen,
    provably_le,
    recorded,
    symbol,
    symbols,
)

UNBOUNDED = (1 << 63) - 1
# Bounds that a class gives to the sizes it reads: a row of up to 4032 numbers fits into a row
# buffer (cpu/kernels/rows.py), shorter ones than 32768 are summed in one piece (loops/split.py).
LEVELS = (4032, 32767)


@dataclass(frozen=True, slots=True)
class Fact:
    """What must hold of a size: low <= size <= high, and `multiple` divides it."""

    size: Dim
    low: int
    high: int
    multiple: int = 1

    def __repr__(self) -> str:
        if self.low == self.high == 0:
            return _equality(self.size)
        parts = [f"% {self.multiple} == 0"] if self.multiple > 1 else []
        parts += [f"<= {self.high}"] if self.high != UNBOUNDED else []
        return f"{self.size!r} {' and '.join([f'>= {self.low}', *parts])}"

    def holds(self, sizes: Mapping[Atom, int]) -> bool:
        """Tell whether these values of the symbols satisfy the fact."""
        try:
            n = evaluate(self.size, sizes)
        except (ValueError, ZeroDivisionError):  # sizes inside clash
            return False
        return self.low <= n <= self.high and n % self.multiple == 0


@dataclass(frozen=True, slots=True)
class SizeClass:
    """`sizes`: what each symbol of the graph is, a number or a run-time size; `facts` about these.

    Sizes that must be equal are one run-time size; each is at least its `low` (1 or more).
    """

    sizes: dict[Atom, Any]
    facts: tuple[Fact, ...] = ()

    @property
    def symbols(self) -> list[Atom]:
        """The run-time sizes, in the order of the graph's symbols."""
        found = dict.fromkeys(n for n in self.sizes.values() if isinstance(n, Dim))
        return [n.terms[0][0][0] for n in found]

    @property
    def kind(self) -> str:
        """ "exact" without run-time sizes, "generic" where every size above 1 is one."""
        if not any(isinstance(n, Dim) for n in self.sizes.values()):
            return "exact"
        fixed = any(isinstance(n, int) and n > 1 for n in self.sizes.values())
        return "class" if fixed else "generic"

    def describe(self) -> list[str]:
        """Return the facts in words: constants, equalities, bounds."""
        groups: dict[Dim, list[str]] = {}
        lines = []
        for atom, n in self.sizes.items():
            if isinstance(n, Dim):
                groups.setdefault(n, []).append(atom.name)
            else:
                lines.append(f"{atom.name} == {n}")
        lines += [" == ".join(names) for names in groups.values() if len(names) > 1]
        return lines + [repr(fact) for fact in self.facts]


def size_class(
    values: Sequence[Node],
    sizes: Mapping[Atom, int],
    moving: Collection[Atom],
    stored: Mapping[int, Node] | None = None,
    largest: Mapping[Atom, int] | None = None,
) -> SizeClass:
    """Return a class of sizes that `sizes` belong to, in which the symbols `moving` may vary.

    A size of 0 stays a constant, and so does what the graph broadcasts because it is 1. Sizes that
    the graph needs equal become one size, or a fact where they are computed. A run-time size is
    bounded by the lowest of LEVELS above `largest`, the largest value it had in any call. `stored`
    are leaves whose shape the value of that position must keep. Where the graph asks for what
    facts cannot say, everything is constant: an exact version is always right.

    Raises ShapeError where `sizes` clash, with numbers in the message.
    """
    exact = SizeClass(dict(sizes))
    specialise(values, sizes.get)
    top = {a: max(n, (largest or {}).get(a, 0)) for a, n in sizes.items()}
    group = {a: a for a in sizes if a in moving and sizes[a] >= 1}
    while group:
        made = {root: _fresh(root, group, top) for root in dict.fromkeys(group.values())}
        classes = {a: made[group[a]] if a in group else n for a, n in sizes.items()}
        known = {d: sizes[root] for root, d in made.items()}
        try:
            pairs, sides = _needed(values, classes, stored or {})
            step = _judge(pairs, known)
            step.fixed.extend(_ones(sides, known))
        except (ShapeError, KeyError):
            return exact
        if not step.fixed and not step.joined:
            facts = [f for d in made.values() if (f := _own_fact(d)) is not None]
            facts += [_side_fact(n, known) for n in sides if not provably_le(2, n)]
            return SizeClass(classes, (*facts, *step.facts))
        roots = {d.terms[0][0][0]: root for root, d in made.items()}
        for a, b in step.joined:
            keep, drop = group[roots[a]], group[roots[b]]
            group = {atom: keep if root is drop else root for atom, root in group.items()}
        fixed = {group[roots[a]] for a in step.fixed}
        group = {atom: root for atom, root in group.items() if root not in fixed}
    return exact


@dataclass(frozen=True, slots=True)
class _Step:
    fixed: list[Atom]
    joined: list[tuple[Atom, Atom]]
    facts: list[Fact]


def _fresh(root: Atom, group: Mapping[Atom, Atom], top: Mapping[Atom, int]) -> Dim:
    """Return a run-time size with the facts of all symbols that it stands for."""
    members = [a for a, r in group.items() if r is root]
    low = max(1, *(a.low or 0 for a in members))
    highs = [a.high for a in members if a.high is not None]
    most = max(top[a] for a in members)
    highs += [level for level in LEVELS if most <= level][:1]
    multiple = lcm(*(a.multiple for a in members))
    low = -(-low // multiple) * multiple
    return symbol(root.name, low, min(highs) if highs else None, multiple)


def _own_fact(size: Dim) -> Fact | None:
    """Return what the entry must check of a run-time size besides its lower bound."""
    atom = size.terms[0][0][0]
    if atom.high is None and atom.multiple == 1:
        return None
    return Fact(size, atom.low or 0, UNBOUNDED if atom.high is None else atom.high, atom.multiple)


def _needed(
    values: Sequence[Node], classes: Mapping[Atom, Any], stored: Mapping[int, Node]
) -> tuple[Iterable[tuple[Any, Any]], list[Dim]]:
    """Return the pairs of sizes that must be equal and are not the same, and sides of products.

    A pair may also be a size and the least that it must be.
    """
    with recorded() as found:
        special, new = specialise(values, classes.get)
    for k, leaf in stored.items():
        found += zip(new.get(leaf, leaf).type.shape, special[k].type.shape, strict=True)
    pairs = dict.fromkeys((a, b) for a, b in found if a is not b and a != b)
    return pairs, list(dict.fromkeys(_sides(special)))


def _sides(outputs: Sequence[Node]) -> Iterator[Dim]:
    """Yield the run-time rows and columns of matrix products.

    A product with a single row or column adds up in another order (ops/contract.py), so whether
    there is one is a fact of the class.
    """
    for node in toposort(outputs):
        if node.op.name == "matmul":
            yield from (n for n in node.type.shape[-2:] if isinstance(n, Dim))
        for body in bodies(node):
            yield from _sides(body.outputs)


def _side_fact(side: Dim, known: Mapping[Dim, int]) -> Fact:
    """Return that a side of a product is not 1: no elements, as now, or several."""
    empty = evaluate(side, _numbers(known)) == 0
    return Fact(side, 0, 0) if empty else Fact(side, 2, UNBOUNDED)


def _numbers(known: Mapping[Dim, int]) -> dict[Atom, int]:
    return {d.terms[0][0][0]: n for d, n in known.items()}


def _ones(sides: Iterable[Dim], known: Mapping[Dim, int]) -> Iterator[Atom]:
    """Yield the symbols of sides that are 1 now."""
    numbers = _numbers(known)
    for n in sides:
        if evaluate(n, numbers) == 1:
            yield from symbols(n)


def _judge(pairs: Iterable[tuple[Any, Any]], known: Mapping[Dim, int]) -> _Step:
    """Decide what becomes of each pair; of computed sizes only when nothing else is to do.

    Raises KeyError for sizes that no argument has, ShapeError where a constant clashes.
    """
    numbers = _numbers(known)
    step = _Step([], [], [])
    computed: list[tuple[Any, Any]] = []
    bounds: list[Fact] = []
    for a, b in pairs:
        if isinstance(b, AtLeast):
            if evaluate(a, numbers) < b.low:
                raise ShapeError(f"size {a} is below {b.low}")
            bounds.append(Fact(a, b.low, UNBOUNDED))
            continue
        first, second = as_symbol(a), as_symbol(b)
        if evaluate(a, numbers) != evaluate(b, numbers):  # one of them is 1, and broadcast
            ones = [n for n in (a, b) if evaluate(n, numbers) == 1]
            atoms = [atom for n in ones or (a, b) for atom in symbols(n)]
            if not atoms:
                raise ShapeError(f"sizes {a} and {b} clash")
            step.fixed.extend(atoms)
        elif first is not None and second is not None:
            step.joined.append((first, second))
        elif isinstance(a, int) and second is not None:
            step.fixed.append(second)
        elif isinstance(b, int) and first is not None:
            step.fixed.append(first)
        else:
            computed.append((a, b))
    if step.fixed or step.joined:
        return step
    for a, b in computed:
        atoms = list({atom for n in (a, b) for atom in symbols(n)})
        if len(atoms) > 1 and (is_chosen(a) or is_chosen(b)):
            step.fixed.extend(atoms)  # such as widths of parts: facts would be endless
        else:
            step.facts.append(Fact(a - b, 0, 0))
    step.facts.extend(bounds)
    return step


def _equality(difference: Dim) -> str:
    """Return "a == b" for a difference that is 0."""
    left = [(m, c) for m, c in difference.terms if c > 0]
    right = [(m, -c) for m, c in difference.terms if c < 0]
    return f"{_sum(left)} == {_sum(right)}"


def _sum(terms: Sequence[tuple[tuple[Atom, ...], int]]) -> str:
    parts = ["*".join([*([str(c)] if c != 1 or not m else []), *map(repr, m)]) for m, c in terms]
    return " + ".join(parts) or "0"
