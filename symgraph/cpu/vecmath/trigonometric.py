"""sin, cos, tan: x = n pi/2 + r by Cody-Waite, then polynomials on |r| <= pi/4.

Above `NEAR`, `angle_reduction` takes over, and the result of Cody-Waite is not used.
"""

from __future__ import annotations

from symgraph.core.dtype import FLOAT32, FLOAT64, DType
from symgraph.cpu.vecmath import coefficients as c
from symgraph.cpu.vecmath.angle_reduction import HALF_PI, reduce_far32, reduce_far64
from symgraph.cpu.vecmath.floats import (
    FORMATS,
    fast_two_sum,
    polynomial,
    to_bits,
    two_product,
)
from symgraph.loops.expr import Expr
from symgraph.loops.interned import Builder

TWO_OVER_PI = 0.6366197723675814
# Up to here the three pieces leave |r| correct to less than half an ulp.
NEAR: dict[DType, float] = {FLOAT32: 1e5, FLOAT64: 2.0**45}


def reduce_near(s: Builder, a: Expr) -> tuple[Expr, Expr]:
    """Return (n, r) for 0 <= a <= NEAR: a = n pi/2 + r."""
    magic = FORMATS[a.dtype].magic
    n = s.fma(a, TWO_OVER_PI, magic) - magic
    r = a
    for piece in HALF_PI[a.dtype]:
        r = s.fma(n, -piece, r)
    return n, r


def reduce_near_pair(s: Builder, a: Expr) -> tuple[Expr, Expr, Expr]:
    """Return (n, r, low) for 0 <= a <= NEAR: a = n pi/2 + r + low."""
    magic = FORMATS[a.dtype].magic
    n = s.fma(a, TWO_OVER_PI, magic) - magic
    first, second, third = HALF_PI[a.dtype]
    exact = s.fma(n, -first, a)
    product, product_low = two_product(s, n, s.const(-second, a.dtype))
    partial, lost = fast_two_sum(s, exact, product)
    r, low = fast_two_sum(s, partial, s.fma(n, -third, lost + product_low))
    return n, r, low


def reduce_quadrant(s: Builder, a: Expr, paired: bool) -> tuple[Expr, Expr, Expr]:
    """Return (q, r, low): the low bits of the integer q are the quadrant of a >= 0.

    `low` is the rounding error of r where `paired` asks for it, else without meaning.
    """
    n, r, low = reduce_near_pair(s, a) if paired else (*reduce_near(s, a), a)
    near = a <= NEAR[a.dtype]
    far = reduce_far32(s, a) if a.dtype is FLOAT32 else reduce_far64(s, a)
    n, r, low = (s.select(near, x, y) for x, y in zip((n, r, low), far, strict=True))
    return to_bits(s, n + FORMATS[a.dtype].magic), r, low


def is_odd(s: Builder, q: Expr) -> Expr:
    return s.ne(q & 1, s.const(0, q.dtype))


def sine_or_cosine(s: Builder, q: Expr, r: Expr) -> Expr:
    """Return sin(r + q pi/2)."""
    form = FORMATS[r.dtype]
    z = r * r
    sine = s.fma(r * z, polynomial(s, z, c.SIN[r.dtype]), r)
    cosine = s.fma(z * z, polynomial(s, z, c.COS[r.dtype]), s.fma(z, -0.5, 1.0))
    value = s.select(is_odd(s, q), cosine, sine)
    sign = (q & 2) << (form.dtype.bits - 2)
    return s.bitcast(to_bits(s, value) ^ sign, r.dtype)


def sin(s: Builder, x: Expr) -> Expr:
    """Return the sine of x radians."""
    q, r, _ = reduce_quadrant(s, s.abs(x), paired=False)
    value = sine_or_cosine(s, q, r)
    form = FORMATS[x.dtype]
    # The sign of x is put on at the end: the polynomial would turn -0 into 0.
    return s.bitcast(to_bits(s, value) ^ (to_bits(s, x) & form.sign_mask), x.dtype)


def cos(s: Builder, x: Expr) -> Expr:
    """Return the cosine of x radians."""
    q, r, _ = reduce_quadrant(s, s.abs(x), paired=False)
    return sine_or_cosine(s, q + 1, r)


def tan(s: Builder, x: Expr) -> Expr:
    """Return the tangent of x radians: t or -1/t of the reduced argument."""
    q, r, low = reduce_quadrant(s, s.abs(x), paired=True)
    z = r * r
    # 1 + 1.5 z is near enough to the derivative, 1 + tan**2.
    t = r + s.fma(r * z, polynomial(s, z, c.TAN[x.dtype]), low * s.fma(z, 1.5, 1.0))
    odd = is_odd(s, q)
    value = s.select(odd, -1.0, t) / s.select(odd, t, 1.0)
    form = FORMATS[x.dtype]
    return s.bitcast(to_bits(s, value) ^ (to_bits(s, x) & form.sign_mask), x.dtype)
