"""exp, erf, erfc and tanh of float32 by pieces, with numbers looked up in registers.

For machines that look up 16 or 32 numbers by one instruction (AVX-512): half the operations of a
formula for the whole line, no exponential and no division to wait for.

A piece has its value at the centre apart from the rest of its polynomial, and the centres are such
that this value is a float32 to a hundredth of an ulp: the error is little more than the last sum's.
"""

from __future__ import annotations

from symgraph.core.dtype import FLOAT32, INT32
from symgraph.cpu.vecmath import pieces
from symgraph.cpu.vecmath.exponential import EXP_RANGE, LN2, LOG2_E, clamp
from symgraph.cpu.vecmath.floats import FORMATS, to_bits, with_sign
from symgraph.loops.expr import Expr
from symgraph.loops.interned import Builder

SIXTEENTHS = 1.5 * 2.0**19  # adding it rounds to a multiple of 1/16, its number in the low bits
FOUR_PIECES, EIGHT_PIECES = 21, 20  # bits below those that tell the pieces of a power of two apart
SCALE_SHIFT = 19  # brings n to the exponent, with k behind it
SIXTEENTH_POWERS = tuple(2.0 ** (k / 16) for k in range(16))
APART = FORMATS[FLOAT32].apart  # powers of two between a result and its factors, which stay normal
POWERS = tuple(p * 2.0**-APART for p in pieces.POWERS)


def exp(s: Builder, x: Expr) -> Expr:
    """Return e**x of float32 = 2**n T[k] e**r, where the power of two is n + k/16.

    Three terms are enough for so short an r; the last product rounds subnormal results once.
    """
    x = clamp(s, x, *EXP_RANGE[x.dtype])
    shifted = s.fma(x, LOG2_E, SIXTEENTHS)
    n = shifted - SIXTEENTHS
    high, low = LN2[x.dtype]
    r = s.fma(n, -low, s.fma(n, -high, x))
    power = s.lookup(SIXTEENTH_POWERS, to_bits(s, shifted), x.dtype)
    rest = s.fma(r, s.fma(r, 1 / 6, s.const(0.5, x.dtype)), 1.0)
    return s.scalef(s.fma(power * r, rest, power), n)


def erf(s: Builder, x: Expr) -> Expr:
    """Return the error function of float32: pieces of equal length, near 0 of erf(a) - a."""
    a = s.fmin(s.const(pieces.ERF_ONE, x.dtype), s.abs(x))
    place = to_bits(s, s.fma(a, pieces.ERF_SCALE, FORMATS[x.dtype].magic))
    centre, value, *slope = (s.lookup(table, place, x.dtype) for table in pieces.ERF)
    t = a - centre
    base = s.select(a <= pieces.ERF_NEAR, a, 0.0)
    return with_sign(s, base + s.fma(t, _polynomial(s, t, slope), value), x)


def erfc(s: Builder, x: Expr) -> Expr:
    """Return 1 - erf(x) of float32: exp(-a**2) times pieces of exp(a**2) erfc(a), for a = |x|.

    `scale` is 2**n (1 + k/16) where the power of two is n + k/16: what is looked up sets it right.
    Only the last product, by it, leaves the range of normal numbers.
    """
    a = s.fmin(s.const(pieces.ERFC_ZERO, x.dtype), s.abs(x))
    square = a * a
    lost = s.fma(a, a, -square)
    magic = SIXTEENTHS + FORMATS[x.dtype].bias + APART
    shifted = s.fma(square, -LOG2_E, magic)
    n = shifted - magic
    high, low = LN2[x.dtype]
    r = s.fma(n, -high, -square) + s.fma(n, -low, -lost)
    power = s.lookup(POWERS, to_bits(s, shifted), x.dtype)
    exponential = s.fma(power * r, s.fma(r, s.fma(r, 1 / 6, s.const(0.5, x.dtype)), 1.0), power)
    place = s.lshr(to_bits(s, a + 1.0), s.const(EIGHT_PIECES, INT32))
    centre, value, *slope = (s.lookup(table, place, x.dtype) for table in pieces.ERFC_TAIL)
    t = a - centre
    scaled = s.fma(t, _polynomial(s, t, slope), value)
    scale = s.bitcast(to_bits(s, shifted) << SCALE_SHIFT, x.dtype)
    tail = exponential * scaled * scale
    return s.select(x < 0.0, 2.0 - tail, tail)


def tanh(s: Builder, x: Expr) -> Expr:
    """Return tanh of float32: four pieces for each power of two from 1/8 on, an odd one below.

    The piece is found by integers, which recurrences wait for a shorter time.
    """
    a = s.abs(x)
    low, high = (s.const(bits, INT32) for bits in pieces.TANH_BITS)
    place = s.lshr(s.max(low, s.min(high, to_bits(s, a))), s.const(FOUR_PIECES, INT32))
    centre, value, *slope = (s.lookup(table, place, x.dtype) for table in pieces.TANH)
    t = s.fmin(s.const(pieces.TANH_ONE, x.dtype), a) - centre
    return with_sign(s, s.fma(t, _polynomial(s, t, slope), value), x)


def _polynomial(s: Builder, t: Expr, c: list[Expr]) -> Expr:
    """Return c0 + c1 t + ..., of four or five terms: three operations one after the other."""
    z = t * t
    rest = s.fma(t, c[3], c[2])
    if len(c) == 5:
        rest = s.fma(z, c[4], rest)
    return s.fma(z, rest, s.fma(t, c[1], c[0]))
