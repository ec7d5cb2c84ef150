"""Symbolic sizes: polynomials with integer coefficients over symbols and opaque integer calls.

A size is a Python `int` or a `Dim`; arithmetic on the two mixes freely and folds to `int` whenever
no symbol is left. Dims are interned, so equal normal forms are the same object. Symbols have facts
(bounds, a divisor); `bounds` derives those of other sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from symgraph.dims.bounds import call_facts, divides, interval

Size = "int | Dim"
_serial = count()


class Atom:
    """What a polynomial is built from: a free symbol, or a call such as `a // b` on sizes.

    `low <= value`, `value <= high` (None: no bound is known), and `multiple` divides the value.
    `below` are the symbols in the arguments of a call. `test_value` is what a symbol is for the
    variables with test values.
    """

    __slots__ = (
        "__weakref__", "args", "below", "high", "kind", "low", "multiple", "name", "serial",
        "test_value",
    )  # fmt: skip

    def __init__(
        self,
        kind: str,
        name: str,
        args: tuple[int | Dim, ...],
        low: int | None,
        high: int | None = None,
        multiple: int = 1,
    ) -> None:
        self.kind, self.name, self.args = kind, name, args
        self.low, self.high, self.multiple = low, high, multiple
        self.below: frozenset[Atom] = frozenset().union(*map(symbols, args))
        self.serial = next(_serial)
        self.test_value: int | None = None

    @property
    def facts(self) -> str:
        """What is known of the value, in words."""
        parts = [f"a multiple of {self.multiple}"] if self.multiple > 1 else []
        parts += [f"at least {self.low}"] if self.low else []
        parts += [f"at most {self.high}"] if self.high is not None else []
        return " and ".join(parts) or ("a size, at least 0" if self.kind == "symbol" else "")

    def admits(self, value: int) -> bool:
        """Tell whether a value agrees with the facts."""
        inside = self.low is None or self.low <= value
        return inside and (self.high is None or value <= self.high) and value % self.multiple == 0

    def __repr__(self) -> str:
        if self.kind == "symbol":
            return self.name
        return f"{self.kind}({', '.join(map(repr, self.args))})"


Monomial = tuple[Atom, ...]
_dims: WeakValueDictionary[tuple[tuple[Monomial, int], ...], Dim] = WeakValueDictionary()
_calls: WeakValueDictionary[tuple[str, tuple[object, ...]], Atom] = WeakValueDictionary()


class Dim:
    """A size that is not a constant: a symbol, and what arithmetic makes of symbols.

    `Dim(name)` is a new symbol, to be used in the shapes of variables; variables that share it
    share the size. Its facts are checked at every call, and code is made for them: low <= size <=
    high, and `multiple_of` divides it. Raises ValueError where no size agrees with them.

    >>> batch = sg.Dim("batch", multiple_of=8, high=4096)
    >>> print(sg.tensor("x", (batch, 3)).type)
    matrix float32 (batch, 3)
    """

    __slots__ = ("__weakref__", "terms")
    terms: tuple[tuple[Monomial, int], ...]

    def __new__(
        cls, name: str, *, multiple_of: int = 1, low: int = 0, high: int | None = None
    ) -> Dim:
        """Return a new symbol."""
        if not isinstance(name, str):
            raise TypeError(f"a Dim has a name, got {name!r}")
        if multiple_of < 1:
            raise ValueError(f"multiple_of must be 1 or more, got {multiple_of}")
        least = -(-max(low, 0) // multiple_of) * multiple_of
        most = None if high is None else high // multiple_of * multiple_of
        if most is not None and most < least:
            raise ValueError(
                f"no size is at least {low}, at most {high} and a multiple of {multiple_of}"
            )
        return symbol(name, least, most, multiple_of)

    def __repr__(self) -> str:
        parts = []
        for monomial, coefficient in self.terms:
            factors = [repr(a) for a in monomial]
            if coefficient != 1 or not factors:
                factors.insert(0, str(coefficient))
            parts.append("*".join(factors))
        return " + ".join(parts)

    def __add__(self, other: int | Dim) -> int | Dim:
        total = dict(self.terms)
        for monomial, c in _terms(other):
            total[monomial] = total.get(monomial, 0) + c
        return _intern(total)

    __radd__ = __add__

    def __neg__(self) -> int | Dim:
        return self * -1

    def __sub__(self, other: int | Dim) -> int | Dim:
        return self + (-other)

    def __rsub__(self, other: int | Dim) -> int | Dim:
        return (-self) + other

    def __mul__(self, other: int | Dim) -> int | Dim:
        product: dict[Monomial, int] = {}
        for m1, c1 in self.terms:
            for m2, c2 in _terms(other):
                m = tuple(sorted(m1 + m2, key=_order))
                product[m] = product.get(m, 0) + c1 * c2
        return _intern(product)

    __rmul__ = __mul__

    def __floordiv__(self, other: int | Dim) -> int | Dim:
        exact = exact_div(self, other)
        if exact is not None:
            return exact
        if isinstance(other, int) and other > 1:  # (2 n - 1) // 2 is n - 1
            whole = _intern({m: c // other for m, c in self.terms if m and c % other == 0})
            if whole != 0:
                return whole + (self - whole * other) // other
        return _call("floordiv", self, other)

    def __rfloordiv__(self, other: int) -> int | Dim:
        return 0 if other == 0 else _call("floordiv", other, self)

    def __mod__(self, other: int | Dim) -> int | Dim:
        if isinstance(other, int) and other > 0 and divides(other, self):
            return 0
        return 0 if exact_div(self, other) is not None else _call("mod", self, other)

    def __rmod__(self, other: int) -> int | Dim:
        return _call("mod", other, self)

    def __bool__(self) -> bool:
        raise TypeError(f"the size {self!r} is symbolic: its truth is not known")


def symbol(name: str, low: int = 0, high: int | None = None, multiple: int = 1) -> Dim:
    """Return a fresh size with the given name and facts (see `Atom`)."""
    atom = Atom("symbol", name, (), low, high, multiple)
    return _intern({(atom,): 1})  # type: ignore[return-value]


def as_symbol(a: int | Dim) -> Atom | None:
    """Return the symbol that a size is, None for a number or what was computed from symbols."""
    if isinstance(a, int) or len(a.terms) != 1:
        return None
    ((monomial, c),) = a.terms
    return monomial[0] if c == 1 and len(monomial) == 1 and monomial[0].kind == "symbol" else None


def minimum(a: int | Dim, b: int | Dim) -> int | Dim:
    """Return the smaller of two sizes."""
    if a is b or provably_le(a, b):
        return a
    return b if provably_le(b, a) else _call("min", a, b)


def maximum(a: int | Dim, b: int | Dim) -> int | Dim:
    """Return the larger of two sizes."""
    if a is b or provably_le(a, b):
        return b
    return a if provably_le(b, a) else _call("max", a, b)


class AtLeast(NamedTuple):
    """In the place of a second size: the first one must be at least this."""

    low: int


Demand = tuple[int | Dim, int | Dim | AtLeast]
_recorders: list[list[Demand]] = []


@contextmanager
def recorded() -> Iterator[list[Demand]]:
    """Collect what ops need of sizes but could not see: pairs of equal ones, and lower bounds."""
    pairs: list[Demand] = []
    _recorders.append(pairs)
    try:
        yield pairs
    finally:
        _recorders.remove(pairs)


def must_equal(a: int | Dim, b: int | Dim) -> None:
    """Note that two sizes have to be equal; known ones are compared by the op itself."""
    if a is not b and not (isinstance(a, int) and isinstance(b, int)):
        for pairs in _recorders:
            pairs.append((a, b))


def must_reach(a: int | Dim, low: int) -> None:
    """Note that a size has to be at least `low`; known ones are compared by the op itself."""
    if not isinstance(a, int) and not provably_le(low, a):
        for pairs in _recorders:
            pairs.append((a, AtLeast(low)))


def is_chosen(n: Any) -> bool:
    """Tell whether a size was computed by choosing: min, max, a broadcast."""
    atoms = () if isinstance(n, int) else (atom for m, _ in n.terms for atom in m)
    return any(
        atom.kind in ("min", "max", "broadcast") or any(map(is_chosen, atom.args))
        for atom in atoms
    )


def broadcast(a: int | Dim, b: int | Dim) -> int | Dim:
    """Return the size of two axes broadcast together, as NumPy does: equal, or one of them is 1.

    Two constants that clash raise `ValueError`; where symbols are involved the check is left to the
    time when they are known. A size that is in `a` already adds nothing, so the sizes of a long
    chain of operations do not nest deeper and deeper.
    """
    if a is b or b in (a, 1):
        return a
    if a == 1:
        return b
    mine, other = _broadcast_parts(a), _broadcast_parts(b)
    numbers = {n for n in mine + other if isinstance(n, int)}
    if len(numbers) > 1:
        raise ValueError(f"sizes {a} and {b} do not broadcast")
    must_equal(a, b)
    if all(n in other for n in mine):
        return b
    for n in other:
        a = a if n in mine else _call("broadcast", a, n)
    return a


def _broadcast_parts(a: int | Dim) -> tuple[int | Dim, ...]:
    """Return the sizes that were broadcast together to make this one."""
    found: list[int | Dim] = []
    left = [a]
    while left:
        part = left.pop()
        terms = () if isinstance(part, int) else part.terms
        monomial, c = terms[0] if len(terms) == 1 else ((), 0)
        if c == 1 and len(monomial) == 1 and monomial[0].kind == "broadcast":
            left += reversed(monomial[0].args)
        else:
            found.append(part)
    return tuple(found)


def exact_div(a: int | Dim, b: int | Dim) -> int | Dim | None:
    """Return `a / b` where `b` is a single term that divides every term of `a`, else None."""
    divisor = _terms(b)
    if a is b:
        return 1
    if len(divisor) != 1 or divisor[0][1] == 0:
        return None
    (monomial, c), quotient = divisor[0], {}
    for m, k in _terms(a):
        rest = list(m)
        for atom in monomial:
            if atom not in rest:
                return None
            rest.remove(atom)
        if k % c:
            return None
        quotient[tuple(rest)] = k // c
    return _intern(quotient)


def lower_bound(a: int | Dim) -> int | None:
    """Return a number that `a` is never below, or None when nothing is known."""
    return interval(a)[0]


def provably_le(a: int | Dim, b: int | Dim) -> bool:
    """Tell whether `a <= b` for all values of the symbols (False also means: not known)."""
    if isinstance(a, int) and isinstance(b, int):
        return a <= b
    low = lower_bound(b - a)
    return low is not None and low >= 0


def substitute(
    a: int | Dim,
    values: Callable[[Atom], int | Dim | None],
    known: dict[Atom, int | Dim] | None = None,
) -> int | Dim:
    """Replace symbols: `values(atom)` is the new size of a symbol, or None to leave it.

    `known` has what atoms became before, and takes what is found: sizes share their parts, so many
    of them are replaced with one dictionary. Raises `ValueError` when a `broadcast` of the result
    clashes.
    """
    if isinstance(a, int):
        return a
    known = {} if known is None else known
    total: int | Dim = 0
    for monomial, c in a.terms:
        product: int | Dim = c
        for atom in monomial:
            if atom not in known:
                known[atom] = _substitute_atom(atom, values, known)
            product = product * known[atom]
        total = total + product
    return total


def test_size(a: Any) -> Any:
    """Return sizes (in nested tuples) as they are for the test values, as far as they are known."""
    return substitute_all(a, lambda atom: atom.test_value)


def substitute_all(
    params: Any,
    values: Callable[[Atom], int | Dim | None],
    known: dict[Atom, int | Dim] | None = None,
) -> Any:
    """Replace symbols in all sizes of (nested, also named) tuples; see `substitute`."""
    if isinstance(params, Dim):
        return substitute(params, values, known)
    if not isinstance(params, tuple) or not has_dim(params):
        return params
    new = [substitute_all(p, values, known) for p in params]
    return tuple(new) if type(params) is tuple else type(params)(*new)


def has_dim(params: Any) -> bool:
    """Tell whether some size in nested tuples is symbolic."""
    return isinstance(params, Dim) or (isinstance(params, tuple) and any(map(has_dim, params)))


def symbols(a: int | Dim) -> set[Atom]:
    """Return the symbols that `a` depends on."""
    if isinstance(a, int):
        return set()
    found: set[Atom] = set()
    for monomial, _ in a.terms:
        for atom in monomial:
            found |= {atom} if atom.kind == "symbol" else atom.below
    return found


def evaluate(a: int | Dim, values: Mapping[Atom, int]) -> int:
    """Return the number that `a` is when every symbol has a value."""
    result = substitute(a, values.get)
    if not isinstance(result, int):
        raise KeyError(f"the size {a!r} depends on symbols without a value")
    return result


def _order(atom: Atom) -> int:
    return atom.serial


def _terms(a: int | Dim) -> tuple[tuple[Monomial, int], ...]:
    return a.terms if isinstance(a, Dim) else (((), int(a)),)


def _intern(terms: dict[Monomial, int]) -> int | Dim:
    key = tuple(
        sorted(
            ((m, c) for m, c in terms.items() if c),
            key=lambda t: (-len(t[0]), tuple(map(_order, t[0]))),
        )
    )
    if not key:
        return 0
    if len(key) == 1 and not key[0][0]:
        return key[0][1]
    found = _dims.get(key)
    if found is None:
        found = object.__new__(Dim)
        found.terms = key
        _dims[key] = found
    return found


_FOLD: dict[str, Callable[[int, int], int]] = {
    "floordiv": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
    "min": min,
    "max": max,
}


def _call(kind: str, a: int | Dim, b: int | Dim) -> int | Dim:
    if isinstance(a, int) and isinstance(b, int):
        return _FOLD[kind](a, b)
    key = (kind, (a, b))
    atom = _calls.get(key)
    if atom is None:
        low, high, multiple = call_facts(kind, a, b)
        if low is not None and low == high:
            return low
        atom = Atom(kind, kind, (a, b), low, high, multiple)
        _calls[key] = atom
    return _intern({(atom,): 1})


def _substitute_atom(
    atom: Atom, values: Callable[[Atom], int | Dim | None], known: dict[Atom, int | Dim]
) -> int | Dim:
    if atom.kind == "symbol":
        new = values(atom)
        return _intern({(atom,): 1}) if new is None else new
    a, b = (substitute(x, values, known) for x in atom.args)
    if atom.kind == "floordiv":
        return a // b
    if atom.kind == "mod":
        return a % b
    return {"min": minimum, "max": maximum, "broadcast": broadcast}[atom.kind](a, b)
