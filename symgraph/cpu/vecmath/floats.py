"""Bit layout of the float types and the small idioms every expansion is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence

from symgraph.core.dtype import FLOAT32, FLOAT64, INT32, INT64, DType
from symgraph.core.record import dataclass
from symgraph.loops.expr import Expr
from symgraph.loops.interned import Builder

LONG = 8  # coefficients of a polynomial from which on its parts are computed beside each other
INF = math.inf
NAN = math.nan


@dataclass(frozen=True, slots=True)
class Format:
    """An IEEE binary format: its integer twin, fraction bits and exponent bias."""

    dtype: DType
    integer: DType
    fraction: int
    bias: int

    @property
    def magic(self) -> float:
        """1.5 * 2**fraction: adding it rounds to an integer that sits in the low bits."""
        return 1.5 * 2.0**self.fraction

    @property
    def tiny(self) -> float:
        """The smallest normal number."""
        return 2.0 ** (1 - self.bias)

    @property
    def epsilon(self) -> float:
        """Half the distance from 1 to the next number."""
        return 2.0 ** (-self.fraction - 1)

    @property
    def apart(self) -> int:
        """Half of the exponents: a power of two that brings subnormal numbers far into range."""
        return (self.bias + 1) // 2

    @property
    def sign_mask(self) -> int:
        return -(1 << (self.dtype.bits - 1))


FORMATS = {
    FLOAT32: Format(FLOAT32, INT32, 23, 127),
    FLOAT64: Format(FLOAT64, INT64, 52, 1023),
}


def to_bits(s: Builder, x: Expr) -> Expr:
    """Return the bits of a float as a signed integer of the same width."""
    return s.bitcast(x, FORMATS[x.dtype].integer)


def polynomial(s: Builder, x: Expr, coefficients: Sequence[float]) -> Expr:
    """Return c0 + c1*x + c2*x**2 + ...: short ones by Horner's rule, the fewest operations.

    A processor has some hundred operations in flight. Where they are few points of long chains,
    they wait: from eight coefficients on, parts of four are evaluated beside each other (Estrin)
    behind the first two, which weigh most and are added last.
    """
    head = [s.const(k, x.dtype) for k in coefficients]
    if len(head) < LONG:
        return _horner(s, x, head)
    square = x * x
    rest = _horner(s, square * square, _parts(s, square, _parts(s, x, coefficients[2:])))
    return _horner(s, x, [*head[:2], rest])


def pairs(s: Builder, x: Expr, coefficients: Sequence[float]) -> Expr:
    """Return what `polynomial` does, pair by pair: half the time, one operation more.

    For functions of which recurrences wait: few points there hide nothing.
    """
    return _horner(s, x * x, _parts(s, x, coefficients))


def _parts(s: Builder, x: Expr, terms: Sequence[Expr | float]) -> list[Expr]:
    """Return c0 + c1*x, c2 + c3*x, ...; the last term may stand alone."""
    values = [t if isinstance(t, Expr) else s.const(t, x.dtype) for t in terms]
    both = [s.fma(x, b, a) for a, b in zip(values[::2], values[1::2], strict=False)]
    return both + values[2 * len(both) :]


def _horner(s: Builder, step: Expr, terms: Sequence[Expr]) -> Expr:
    """Return terms[0] + terms[1]*step + terms[2]*step**2 + ..."""
    value = terms[-1]
    for term in reversed(terms[:-1]):
        value = s.fma(value, step, term)
    return value


def two_sum(s: Builder, a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """Return (h, l) with h = fl(a + b) and h + l = a + b exactly, for any magnitudes."""
    h = a + b
    t = h - a
    return h, (a - (h - t)) + (b - t)


def fast_two_sum(s: Builder, a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """Return (h, l) with h + l = a + b exactly, where |a| >= |b| or a = 0."""
    h = a + b
    return h, b - (h - a)


def two_product(s: Builder, a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """Return (h, l) with h = fl(a * b) and h + l = a * b exactly (barring underflow)."""
    h = a * b
    return h, s.fma(a, b, -h)


def with_sign(s: Builder, magnitude: Expr, sign: Expr) -> Expr:
    """Return `magnitude` (sign bit clear) with the sign bit of `sign` put in."""
    form = FORMATS[sign.dtype]
    bit = to_bits(s, sign) & form.sign_mask
    return s.bitcast(to_bits(s, magnitude) | bit, form.dtype)
