"""Exact reduction of huge angles by whole turns (Payne and Hanek), without tables in memory.

x / (2 pi) is a sum of exact products of x with pieces of 1 / (2 pi); whole turns are dropped from
each product at once, so that what is left is small and nothing is lost.
"""

from __future__ import annotations

from symgraph.core.dtype import FLOAT32, FLOAT64
from symgraph.cpu.vecmath import coefficients as c
from symgraph.cpu.vecmath.floats import FORMATS, fast_two_sum, to_bits, two_product, two_sum
from symgraph.loops.expr import Expr
from symgraph.loops.interned import Builder

# pi/2 in pieces of full precision: fma makes n times each of them exact enough.
HALF_PI = {
    FLOAT32: (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
    FLOAT64: (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
}
# 1 / (2 pi) in pieces of 29 bits: 24 + 29 bits fit in a float64.
TURN_PIECES = (
    0.15915494319051504,
    -9.861970550091581e-11,
    -8.151878527836852e-20,
    5.666494517031503e-29,
    -4.6390169669477666e-38,
    -1.7578597151923123e-47,
    2.628339965017041e-57,
)
BITS = 53  # of a piece for float64
WINDOW = 5  # pieces that matter for one number: 53 bits of x, 52 of alignment, 116 of result


def fraction(s: Builder, turns: Expr) -> Expr:
    """Drop whole turns; exact."""
    rest: Expr = turns - s.rint(turns)
    return rest


def reduce_far32(s: Builder, a: Expr) -> tuple[Expr, Expr, Expr]:
    """Return (n mod 4, r, low) with a = n pi/2 + r + low for any float32 a >= 0; NaN for inf."""
    wide = s.cast(a, FLOAT64)
    turns = fraction(s, wide * TURN_PIECES[0])
    for piece in TURN_PIECES[1:]:
        turns = turns + fraction(s, wide * piece)
    quarters = turns * 4.0
    n = s.rint(quarters)
    rest = (quarters - n) * HALF_PI[FLOAT64][0]
    r = s.cast(rest, FLOAT32)
    return s.cast(n, FLOAT32), r, s.cast(rest - s.cast(r, FLOAT64), FLOAT32)


def select_pieces(s: Builder, first: Expr) -> list[Expr]:
    """Return pieces number `first` (a whole float64, 0 to 18) and the next ones of 1 / (2 pi).

    A barrel shifter: each step moves the window by a power of two where that bit is set.
    """
    row = [s.const(piece, FLOAT64) for piece in c.TURN_BITS]
    for step in (16, 8, 4, 2, 1):
        moved = first >= float(step)
        kept = step - 1 + WINDOW
        row += [s.const(0.0, FLOAT64)] * (kept + step - len(row))
        row = [s.select(moved, row[i + step], row[i]) for i in range(kept)]
        first = s.select(moved, first - float(step), first)
    return row


def turns_of(s: Builder, a: Expr) -> tuple[Expr, Expr, Expr]:
    """Return a / (2 pi) less whole turns, as a sum of three parts, for float64 a >= 2**45."""
    form = FORMATS[FLOAT64]
    field = s.lshr(to_bits(s, a), s.const(form.fraction, form.integer))
    wide = s.bitcast(field | to_bits(s, s.const(2.0**52, FLOAT64)), FLOAT64)
    exponent = wide - (2.0**52 + form.bias + form.fraction)
    # Pieces before this one give whole turns only.
    first = s.fmax(s.floor((exponent + 0.5) * (1.0 / BITS)), s.const(0.0, FLOAT64))
    shifted = s.fma(first, -float(BITS), form.magic + form.bias)
    scaled = a * s.bitcast(to_bits(s, shifted) << form.fraction, FLOAT64)
    products = [
        two_product(s, scaled * 2.0 ** (-BITS * d), piece)
        for d, piece in enumerate(select_pieces(s, first))
    ]
    high = fraction(s, products[0][0])
    large = [fraction(s, products[0][1]), fraction(s, products[1][0])]
    large += [products[1][1], products[2][0]]
    middle, low = products[2][1], products[3][1] + products[4][0]
    for term in large:
        high, lost = two_sum(s, high, term)
        middle, rest = two_sum(s, middle, lost)
        low = low + rest
    middle, rest = two_sum(s, middle, products[3][0])
    return high, middle, low + rest


def reduce_far64(s: Builder, a: Expr) -> tuple[Expr, Expr, Expr]:
    """Return (n mod 4, r, low) with a = n pi/2 + r + low for float64 a >= 2**45; NaN for inf."""
    high, middle, low = turns_of(s, a)
    quarters = high * 4.0
    n = s.rint(quarters)
    rest, lost = two_sum(s, quarters - n, middle * 4.0)
    rest, lost = fast_two_sum(s, rest, s.fma(low, 4.0, lost))
    first, second, _ = HALF_PI[FLOAT64]
    r, error = two_product(s, rest, s.const(first, FLOAT64))
    error = error + s.fma(rest, second, lost * first)
    r, low = fast_two_sum(s, r, error)
    return n, r, low
