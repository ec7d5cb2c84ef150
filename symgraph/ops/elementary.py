"""NumPy's elementwise functions that are made of others, and those that look at the bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph.core.dtype import (
    BOOL,
    COMPLEX128,
    FLOAT32,
    FLOAT64,
    INT32,
    INT64,
    UINT8,
    UINT64,
    DType,
)
from symgraph.core.errors import DTypeError
from symgraph.core.node import Node, as_node
from symgraph.core.op import alias, function, o
from symgraph.ops.arithmetic import FLAT
from symgraph.ops.base import as_nodes, cast_to, elementwise, to_float
from symgraph.ops.rows import as_float

# significand bits, exponent bias, exponent mask
_LAYOUT = {"float16": (10, 15, 31), "float32": (23, 127, 255), "float64": (52, 1023, 2047)}
LN2 = 0.6931471805599453


# -- bits of floats ------------------------------------------------------------------------------
def _exponent_type(d: DType, op: str) -> tuple[DType, DType]:
    return to_float(d, op)[0], INT32


def _exponent(s: Any, x: Any) -> Any:
    """Return e with |x| in [2^(e-1), 2^e), 0 for 0 and what is not finite."""
    if x.dtype == "float16":
        x = s.cast(x, FLOAT32)
    digits, bias, mask = _LAYOUT[x.dtype]
    whole = INT64 if x.dtype is FLOAT64 else INT32
    tiny = s.abs(x) < float(np.finfo(x.dtype.numpy).tiny)
    scaled = s.select(tiny, x * 2.0**digits, x)  # subnormal numbers have no exponent field
    field = (s.bitcast(scaled, whole) >> digits) & mask
    value = field - (bias - 1) - s.select(tiny, s.const(digits, whole), s.const(0, whole))
    none = s.eq(x, 0.0) | s.eq(field, mask)
    return s.cast(s.select(none, s.const(0, whole), value), INT32)


elementwise(
    "float_exponent", doc="The exponent e of frexp: |x| is in [2^(e-1), 2^e); 0 for 0, inf, NaN.",
    types=_exponent_type, numpy=lambda x: np.where(np.isfinite(x), np.frexp(x)[1], 0),
    scalar=_exponent, not_differentiable=FLAT,
)  # fmt: skip


def _next(s: Any, x: Any, y: Any) -> Any:
    """The neighbour of x in the direction of y: one more or less of the bits as an integer."""
    whole = INT64 if x.dtype is FLOAT64 else INT32
    bits = s.bitcast(x, whole)
    away = s.select(s.eq(x, 0.0), y > 0.0, (x > 0.0) ^ (y < x)) & ~(s.eq(x, 0.0) & (y < 0.0))
    step = s.select(away, s.const(1, whole), s.const(-1, whole))
    least = s.bitcast(s.const(1, whole), x.dtype)
    from_zero = s.copysign(least, y)
    moved = s.select(s.eq(x, 0.0), from_zero, s.bitcast(bits + step, x.dtype))
    return s.select(s.isnan(x) | s.isnan(y), x + y, s.select(s.eq(x, y), y, moved))


def _not_half(d: DType, op: str) -> tuple[DType, DType]:
    f, _ = to_float(d, op)
    if f.bits == 16:
        raise DTypeError(f"{op} is not defined for float16, which is computed in float32")
    return f, f


elementwise(
    "nextafter", doc="The next float after x in the direction of y.", types=_not_half,
    numpy=np.nextafter, domain=((-3.0, 3.0), (-3.0, 3.0)), scalar=_next,
    partials=lambda o, n: (1, None),
)  # fmt: skip


@function
def frexp(x: Any) -> tuple[Node, Node]:
    """Return m and e (int32) with x = m 2^e and 0.5 <= |m| < 1; 0, inf and NaN have e = 0."""
    node = as_float(x)
    e = o.float_exponent(node)
    return ldexp(node, -e), e


@function
def ldexp(x: Any, exponent: Any) -> Node:
    """Return x * 2**exponent for integer exponents, without overflow on the way."""
    node, e = as_float(x), as_node(exponent)
    limit = 48 if node.dtype == "float16" else 496 if node.dtype.bits < 64 else 4080
    e = o.cast(o.clip(o.cast(e, INT64), -limit, limit), INT32)  # beyond, it is 0 or inf
    half = o.floordiv(e, 4)  # each factor is a normal number where the result is not 0 or inf
    value = node
    for part in (half, half, half, e - 3 * half):
        value = value * o.exp2(cast_to(part, node.dtype))
    return value


@function
def modf(x: Any) -> tuple[Node, Node]:
    """Return the fraction and the whole part of `x`, both with its sign."""
    node = as_float(x)
    whole = o.trunc(node)
    fraction = o.where(o.isinf(node), 0.0, node - whole)
    return o.copysign(fraction, node), whole


@function
def signbit(x: Any) -> Node:
    """Tell whether the sign bit is set: negative numbers, -0.0 and negative NaN."""
    node = as_node(x)
    if node.dtype.is_float:
        return o.copysign(1.0, node) < 0
    return node < 0 if node.dtype.kind == "i" else o.zeros_like(node, BOOL)


@function
def spacing(x: Any) -> Node:
    """Return the distance to the next number away from 0."""
    node = as_float(x)
    far = o.copysign(np.asarray(np.inf, node.dtype.numpy), node)
    return o.nextafter(node, far) - node


# -- made of others ------------------------------------------------------------------------------
@function
def logaddexp2(x: Any, y: Any) -> Node:
    """Return log2(2**x + 2**y) without overflow."""
    a, b = as_nodes((as_float(x), as_float(y)))
    return o.logaddexp(a * LN2, b * LN2) / LN2


@function
def heaviside(x: Any, half: Any) -> Node:
    """Return 0 for x < 0, 1 for x > 0, `half` for x = 0; NaN stays NaN."""
    node = as_float(x)
    at = cast_to(as_node(half, (node.dtype,)), node.dtype)
    value = o.where(node > 0, o.ones((), node.dtype), o.where(node < 0, 0.0, at))
    return o.where(o.isnan(node), o.stop_gradient(node), value)


@function
def fmax(x: Any, y: Any) -> Node:
    """Return the larger of x and y; a number where only the other one is NaN."""
    a, b = as_nodes((x, y))
    return o.where(o.isnan(a), b, o.where(o.isnan(b), a, o.maximum(a, b)))


@function
def fmin(x: Any, y: Any) -> Node:
    """Return the smaller of x and y; a number where only the other one is NaN."""
    a, b = as_nodes((x, y))
    return o.where(o.isnan(a), b, o.where(o.isnan(b), a, o.minimum(a, b)))


@function
def float_power(x: Any, y: Any) -> Node:
    """Return x ** y computed in float64, in complex128 where one is complex."""
    a, b = (as_node(v, (FLOAT64,)) for v in (x, y))  # numbers keep all their digits
    kind = COMPLEX128 if a.dtype.is_complex or b.dtype.is_complex else FLOAT64
    return o.power(o.cast(a, kind), o.cast(b, kind))


@function
def positive(x: Any) -> Node:
    """Return `x`."""
    return as_node(x)


@function
def fabs(x: Any) -> Node:
    """Return the absolute value as a float."""
    return o.abs(as_float(x))


@function
def degrees(x: Any) -> Node:
    """Return an angle in radians in degrees."""
    return as_float(x) * (180 / np.pi)


@function
def radians(x: Any) -> Node:
    """Return an angle in degrees in radians."""
    return as_float(x) * (np.pi / 180)


alias(degrees, "rad2deg")
alias(radians, "deg2rad")


@function
def isposinf(x: Any) -> Node:
    """True where x is inf."""
    node = as_node(x)
    return o.isinf(node) & (node > 0)


@function
def isneginf(x: Any) -> Node:
    """True where x is -inf."""
    node = as_node(x)
    return o.isinf(node) & (node < 0)


@function
def isclose(x: Any, y: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Node:
    """Tell where |x - y| <= atol + rtol |y|; infinities are close to equal ones only."""
    a, b = as_nodes((x, y))
    if not a.dtype.is_complex:
        a, b = as_float(a), as_float(b)
    near = o.abs(a - b) <= atol + rtol * o.abs(b)
    close = o.where(o.isfinite(a) & o.isfinite(b), near, o.eq(a, b))
    return close | (o.isnan(a) & o.isnan(b)) if equal_nan else close


@function
def allclose(x: Any, y: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Node:
    """Tell whether all elements are close; see `isclose`."""
    return o.all(isclose(x, y, rtol, atol, equal_nan))


@function
def array_equal(x: Any, y: Any, equal_nan: bool = False) -> Node:
    """Tell whether two arrays have the same shape and elements."""
    a, b = as_nodes((x, y))
    if a.ndim != b.ndim:
        return as_node(np.bool_(False))
    known = zip(a.type.shape, b.type.shape, strict=True)
    if any(isinstance(m, int) and isinstance(n, int) and m != n for m, n in known):
        return as_node(np.bool_(False))
    same = o.eq(a, b)
    return o.all(same | (o.isnan(a) & o.isnan(b)) if equal_nan else same)


# -- whole numbers --------------------------------------------------------------------------------
@function
def gcd(x: Any, y: Any) -> Node:
    """Return the greatest common divisor of integers, by Euclid; gcd(0, 0) is 0."""
    a, b = o.broadcast_arrays(*as_nodes((x, y)))
    if not a.dtype.is_integer:
        raise DTypeError(f"gcd needs integers, got {a.type} and {b.type}")
    result, _ = o.while_loop(
        lambda p, q: o.any(o.ne(q, 0)),
        lambda p, q: [o.where(o.eq(q, 0), p, q), o.where(o.eq(q, 0), q, o.mod(p, q))],
        [a, b],
    )
    return o.abs(result)


@function
def lcm(x: Any, y: Any) -> Node:
    """Return the least common multiple of integers; 0 where one of them is 0."""
    a, b = as_nodes((x, y))
    return o.abs(o.floordiv(a, gcd(a, b))) * o.abs(b)


@function
def bit_count(x: Any) -> Node:
    """Return how many bits of |x| are set (uint8), as NumPy does."""
    node = as_node(x)
    if not (node.dtype.is_integer or node.dtype is BOOL):
        raise DTypeError(f"bit_count needs integers, got {node.type}")
    n = o.cast(o.abs(node) if node.dtype.kind == "i" else node, UINT64)
    if node.dtype.kind == "i" and node.dtype is not INT64:  # |-128| is -128 in int8
        n = o.bitwise_and(n, np.uint64((1 << node.dtype.bits) - 1))
    for shift, mask in ((1, 0x5555555555555555), (2, 0x3333333333333333), (4, 0x0F0F0F0F0F0F0F0F)):
        m = np.uint64(mask)
        if shift == 4:
            n = o.bitwise_and(n + o.right_shift(n, np.uint64(4)), m)
        else:
            n = o.bitwise_and(n, m) + o.bitwise_and(o.right_shift(n, np.uint64(shift)), m)
    return o.cast(o.right_shift(n * np.uint64(0x0101010101010101), np.uint64(56)), UINT8)


alias(bit_count, "bitwise_count")
