"""sin, cos, tan: x = n pi/2 + r by Cody-Waite, then polynomials on |r| <= pi/4.

float32 arguments above `NEAR` are reduced exactly in float64 lanes: x times 1/(2 pi), cut in
pieces of 29 bits so that each product is exact; whole turns are dropped from each product.
"""

from __future__ import annotations

from symgraph.core.dtype import FLOAT32, FLOAT64, DType
from symgraph.cpu.vecmath import coefficients as c
from symgraph.cpu.vecmath.floats import FORMATS, horner, to_bits
from symgraph.loops.grammar import Builder, Expr

TWO_OVER_PI = 0.6366197723675814
# pi/2 in pieces of full precision: fma makes n times each of them exact enough.
HALF_PI = {
    FLOAT32: (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
    FLOAT64: (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
}
# Up to here the three pieces leave |r| correct to less than half an ulp.
NEAR: dict[DType, float] = {FLOAT32: 1e5, FLOAT64: 2.0**45}
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


def reduce_near(s: Builder, a: Expr) -> tuple[Expr, Expr]:
    """Return (n, r) for 0 <= a <= NEAR: a = n pi/2 + r."""
    magic = FORMATS[a.dtype].magic
    n = s.fma(a, TWO_OVER_PI, magic) - magic
    r = a
    for piece in HALF_PI[a.dtype]:
        r = s.fma(n, -piece, r)
    return n, r


def reduce_far(s: Builder, a: Expr) -> tuple[Expr, Expr]:
    """Return (n mod 4, r) for any float32 a >= 0, NaN for infinity."""
    wide = s.cast(a, FLOAT64)
    turns = None
    for piece in TURN_PIECES:
        product = wide * piece
        part = product - s.rint(product)
        turns = part if turns is None else turns + part
    quarters = turns * 4.0
    n = s.rint(quarters)
    r = (quarters - n) * HALF_PI[FLOAT64][0]
    return s.cast(n, FLOAT32), s.cast(r, FLOAT32)


def reduce_quadrant(s: Builder, a: Expr) -> tuple[Expr, Expr]:
    """Return (q, r): the low bits of the integer q are the quadrant of a >= 0."""
    n, r = reduce_near(s, a)
    if a.dtype is FLOAT32:
        far_n, far_r = reduce_far(s, a)
        near = a <= NEAR[FLOAT32]
        n, r = s.select(near, n, far_n), s.select(near, r, far_r)
    return to_bits(s, n + FORMATS[a.dtype].magic), r


def is_odd(s: Builder, q: Expr) -> Expr:
    return s.ne(q & 1, s.const(0, q.dtype))


def sine_or_cosine(s: Builder, q: Expr, r: Expr) -> Expr:
    """Return sin(r + q pi/2)."""
    form = FORMATS[r.dtype]
    z = r * r
    sine = s.fma(r * z, horner(s, z, c.SIN[r.dtype]), r)
    cosine = s.fma(z * z, horner(s, z, c.COS[r.dtype]), s.fma(z, -0.5, 1.0))
    value = s.select(is_odd(s, q), cosine, sine)
    sign = (q & 2) << (form.dtype.bits - 2)
    return s.bitcast(to_bits(s, value) ^ sign, r.dtype)


def sin(s: Builder, x: Expr) -> Expr:
    """Return the sine of x radians."""
    q, r = reduce_quadrant(s, s.abs(x))
    value = sine_or_cosine(s, q, r)
    form = FORMATS[x.dtype]
    # The sign of x is put on at the end: the polynomial would turn -0 into 0.
    return s.bitcast(to_bits(s, value) ^ (to_bits(s, x) & form.sign_mask), x.dtype)


def cos(s: Builder, x: Expr) -> Expr:
    """Return the cosine of x radians."""
    q, r = reduce_quadrant(s, s.abs(x))
    return sine_or_cosine(s, q + 1, r)


def tan(s: Builder, x: Expr) -> Expr:
    """Return the tangent of x radians: t or -1/t of the reduced argument."""
    q, r = reduce_quadrant(s, s.abs(x))
    z = r * r
    t = s.fma(r * z, horner(s, z, c.TAN[x.dtype]), r)
    odd = is_odd(s, q)
    value = s.select(odd, -1.0, t) / s.select(odd, t, 1.0)
    form = FORMATS[x.dtype]
    return s.bitcast(to_bits(s, value) ^ (to_bits(s, x) & form.sign_mask), x.dtype)
