"""What is known of a size without its value: an interval, and a number that divides it.

Both are computed from the facts of the symbols by the rules of interval and modulus arithmetic. A
size is an int or has `terms`, (monomial, coefficient) pairs whose monomials are atoms with the
fields `low`, `high` (None: not known) and `multiple`.
"""

from __future__ import annotations

from math import gcd, prod
from typing import Any

Interval = tuple[int | None, int | None]  # both ends included; None: no bound known


def interval(a: Any) -> Interval:
    """Return bounds of a size."""
    low: int | None = 0
    high: int | None = 0
    for monomial, c in _terms(a):
        term: Interval = (c, c)
        for atom in monomial:
            term = _times(term, (atom.low, atom.high))
        low = None if low is None or term[0] is None else low + term[0]
        high = None if high is None or term[1] is None else high + term[1]
    return low, high


def multiple(a: Any) -> int:
    """Return the largest number known to divide a size; 0 for the size 0, which all divide."""
    found = 0
    for monomial, c in _terms(a):
        found = gcd(found, c * prod(atom.multiple for atom in monomial))
    return found


def divides(k: int, a: Any) -> bool:
    """Tell whether `a` is a multiple of `k` for all values of the symbols (False: not known)."""
    return multiple(a) % k == 0


def call_facts(kind: str, a: Any, b: Any) -> tuple[int | None, int | None, int]:
    """Return (low, high, multiple) of a call such as `a // b`."""
    x, y = interval(a), interval(b)
    if kind == "min":
        return _least(x[0], y[0]), _known_least(x[1], y[1]), gcd(multiple(a), multiple(b))
    if kind == "max":
        return _known_most(x[0], y[0]), _most(x[1], y[1]), gcd(multiple(a), multiple(b))
    if kind == "broadcast":  # equal, or one of them is 1
        return _least(x[0], y[0]), _most(x[1], y[1]), 1
    if kind == "mod":
        return _mod(x, y)
    quotient = _floordiv(x, y)
    exact = isinstance(b, int) and b > 0 and multiple(a) % b == 0
    return *quotient, multiple(a) // b if exact else 1


def _floordiv(x: Interval, y: Interval) -> Interval:
    """Divisors are positive sizes wherever a quotient is used."""
    if y[0] is None or y[0] < 1:
        return (0 if x[0] is not None and x[0] >= 0 else None), None
    by_low, by_high = y[0], y[1]
    low, high = x
    if low is not None:
        by = by_high if low >= 0 else by_low
        low = 0 if by is None else low // by
    if high is not None:
        by = by_low if high >= 0 else by_high
        high = (-1 if by is None else high // by)
    return low, high


def _mod(x: Interval, y: Interval) -> tuple[int | None, int | None, int]:
    positive = y[0] is not None and y[0] >= 1
    if not positive:
        return (0 if x[0] is not None and x[0] >= 0 else None), None, 1
    limit = None if y[1] is None else y[1] - 1
    if x[0] is not None and x[0] >= 0:
        return 0, _known_least(limit, x[1]), 1
    return 0, limit, 1


def _times(x: Interval, y: Interval) -> Interval:
    """Return the interval of a product."""
    if x[0] is not None and y[0] is not None and x[0] >= 0 and y[0] >= 0:
        return x[0] * y[0], None if x[1] is None or y[1] is None else x[1] * y[1]
    if x[0] == x[1] and x[0] is not None:  # by a negative number, the ends change places
        ends = [None if end is None else x[0] * end for end in (y if x[0] >= 0 else y[::-1])]
        return ends[0], ends[1]
    if x[1] is not None and x[1] <= 0 and y[0] is not None and y[0] >= 0:
        low = None if x[0] is None or y[1] is None else x[0] * y[1]
        return low, x[1] * y[0]
    known = [p * q for p in x for q in y if p is not None and q is not None]
    return (min(known), max(known)) if len(known) == 4 else (None, None)


def _least(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else min(a, b)


def _most(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else max(a, b)


def _known_least(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else min(a, b)


def _known_most(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else max(a, b)


def _terms(a: Any) -> Any:
    return (((), int(a)),) if isinstance(a, int) else a.terms
