"""exp, exp2, expm1 and sigmoid.

The exponent is split into two equal halves, 2**n = 2**h * 2**h with n = 2 h: one shift makes the
factor, and results that are subnormal or just below overflow come out right without a branch.
The price is the reduced argument |r| <= log 2 instead of log(2)/2, one or two more terms.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from symgraph.core.dtype import FLOAT32, FLOAT64
from symgraph.cpu.vecmath import coefficients as c
from symgraph.cpu.vecmath.floats import FORMATS, pairs, polynomial, to_bits
from symgraph.loops.expr import Expr
from symgraph.loops.interned import Builder

LOG2_E = 1.4426950408889634
# log 2 = high + low; the high part is short, so that its product with any n in range is exact.
LN2 = {
    FLOAT32: (0.693145751953125, 1.4286068203094172e-06),
    FLOAT64: (0.6931471805592082, 7.371002565167799e-13),
}
# Below, exp rounds to 0; above, it is infinite.
EXP_RANGE = {FLOAT32: (-104.0, 89.0), FLOAT64: (-746.0, 710.0)}
EXP2_RANGE = {FLOAT32: (-151.0, 129.0), FLOAT64: (-1076.0, 1025.0)}
EXPM1_RANGE = {FLOAT32: (-18.0, 89.0), FLOAT64: (-38.0, 710.0)}


def clamp(s: Builder, x: Expr, low: float, high: float) -> Expr:
    """Return x within [low, high], NaN as it is: fmin and fmax pass on their second operand."""
    inside: Expr = s.fmax(s.const(low, x.dtype), s.fmin(s.const(high, x.dtype), x))
    return inside


def power_of_two(s: Builder, shifted: Expr) -> Expr:
    """Return 2**h of `shifted` = h + (magic + bias): its low bits are the biased exponent."""
    form = FORMATS[shifted.dtype]
    return s.bitcast(to_bits(s, shifted) << form.fraction, form.dtype)


def reduce_exponent(s: Builder, x: Expr, magic: float) -> tuple[Expr, Expr]:
    """Return (n + magic, r) with x = n log 2 + r, n whole and |r| <= log(2)/2."""
    high, low = LN2[x.dtype]
    shifted = s.fma(x, LOG2_E, magic)
    n = shifted - magic
    return shifted, s.fma(n, -low, s.fma(n, -high, x))


def exp_clamped(s: Builder, x: Expr, evaluate: Callable[..., Expr] = polynomial) -> Expr:
    """Return e**x for x within `EXP_RANGE` or NaN; `evaluate`: `polynomial` or `pairs`."""
    form = FORMATS[x.dtype]
    magic = form.magic + form.bias
    high, low = LN2[x.dtype]
    shifted = s.fma(x, LOG2_E / 2, magic)
    h = shifted - magic
    r = s.fma(h, -2 * low, s.fma(h, -2 * high, x))
    scale = power_of_two(s, shifted)
    return s.fma(r, evaluate(s, r, c.EXP[x.dtype]), 1.0) * scale * scale


def exp_parts(s: Builder, x: Expr, scale_by: int) -> tuple[Expr, Expr]:
    """Return (1 + w, 2**(n + scale_by)) where e**x = 2**n (1 + w) and |w| < 1/2.

    One factor, for x of which one sign only is large: `scale_by` keeps it a normal number, and what
    the parts are multiplied with takes it back, so that only the last product is rounded into
    subnormal numbers or to infinity.
    """
    form = FORMATS[x.dtype]
    shifted, r = reduce_exponent(s, x, form.magic + (form.bias + scale_by))
    return s.fma(r, polynomial(s, r, c.EXP_HALF[x.dtype]), 1.0), power_of_two(s, shifted)


def exp_of_minus_abs(s: Builder, x: Expr) -> Expr:
    """Return e**-|x|, at most 1, for functions that are then divided or added to."""
    apart = FORMATS[x.dtype].apart
    least = s.const(EXP_RANGE[x.dtype][0], x.dtype)
    value, scale = exp_parts(s, s.fmax(least, -s.abs(x)), apart)
    return value * 2.0**-apart * scale


def exp(s: Builder, x: Expr) -> Expr:
    """Return e**x."""
    return exp_clamped(s, clamp(s, x, *EXP_RANGE[x.dtype]))


def exp2(s: Builder, x: Expr) -> Expr:
    """Return 2**x; exact for integers."""
    form = FORMATS[x.dtype]
    x = clamp(s, x, *EXP2_RANGE[x.dtype])
    magic = form.magic + form.bias
    shifted = s.fma(x, 0.5, magic)
    r = s.fma(shifted - magic, -2.0, x)
    scale = power_of_two(s, shifted)
    return s.fma(r, polynomial(s, r, c.EXP2[x.dtype]), 1.0) * scale * scale


def expm1(s: Builder, x: Expr) -> Expr:
    """Return e**x - 1 without cancellation: 2**n * expm1(r) + (2**n - 1)."""
    form = FORMATS[x.dtype]
    bounded = clamp(s, x, *EXPM1_RANGE[x.dtype])
    # The factor is 2**(n - 1), as 2**n overflows before the result does.
    magic = form.magic + (form.bias - 1)
    shifted, r = reduce_exponent(s, bounded, magic)
    q = s.fma(r * r, polynomial(s, r, c.EXPM1[x.dtype]), r)
    half = power_of_two(s, shifted)
    value = s.fma(half, q, half - 0.5) * 2.0
    # Halving would lose the last bit of subnormals, and the sum would lose the sign of -0.
    return s.select(s.abs(x) < form.epsilon, x, value)


def sigmoid(s: Builder, x: Expr) -> Expr:
    """Return 1 / (1 + e**-x) = c / (c + c e**-x).

    c is a power of two, by which all results down to the smallest subnormal number come out of one
    division, and e**-x = 2**n (1 + w) needs one factor: with no c it is beyond the largest number.
    1 + w is never rounded by itself, and of the parts of the sum the larger one is added last.
    """
    form = FORMATS[x.dtype]
    down = form.apart
    low, high = -math.log(2.0) * (form.bias - 1 - down), -EXP_RANGE[x.dtype][0]
    y = x.args[0] if x.op == "neg" else -x
    shifted, r = reduce_exponent(s, clamp(s, y, low, high), form.magic + (form.bias - down))
    scale, c0 = power_of_two(s, shifted), s.const(2.0**-down, x.dtype)
    whole = scale + s.fma(scale * r, pairs(s, r, c.EXP_HALF[x.dtype]), c0)
    return c0 / whole
