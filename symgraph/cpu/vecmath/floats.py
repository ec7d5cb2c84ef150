"""Bit layout of the float types and the small idioms every expansion is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence

from symgraph.core.dtype import FLOAT32, FLOAT64, INT32, INT64, DType
from symgraph.core.record import dataclass
from symgraph.loops.expr import Expr
from symgraph.loops.interned import Builder

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
    def sign_mask(self) -> int:
        return -(1 << (self.dtype.bits - 1))


FORMATS = {
    FLOAT32: Format(FLOAT32, INT32, 23, 127),
    FLOAT64: Format(FLOAT64, INT64, 52, 1023),
}


def to_bits(s: Builder, x: Expr) -> Expr:
    """Return the bits of a float as a signed integer of the same width."""
    return s.bitcast(x, FORMATS[x.dtype].integer)


def horner(s: Builder, x: Expr, coefficients: Sequence[float]) -> Expr:
    """Return c0 + c1*x + c2*x**2 + ...; the fewest operations, as many points hide the latency."""
    value = s.const(coefficients[-1], x.dtype)
    for c in reversed(coefficients[:-1]):
        value = s.fma(value, x, c)
    return value


def pairs(s: Builder, x: Expr, coefficients: Sequence[float]) -> Expr:
    """Return what `horner` does, in half the time and one operation more (Estrin's first step).

    For functions of which recurrences wait: few points there hide nothing.
    """
    z = x * x
    terms = [
        s.fma(x, c[1], s.const(c[0], x.dtype)) if len(c) == 2 else s.const(c[0], x.dtype)
        for c in (coefficients[k : k + 2] for k in range(0, len(coefficients), 2))
    ]
    value = terms[-1]
    for term in reversed(terms[:-1]):
        value = s.fma(value, z, term)
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
