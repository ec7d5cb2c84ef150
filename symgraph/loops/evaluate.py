"""Evaluate scalar expressions on whole NumPy arrays, bit for bit as the hardware would.

The environment gives an array for every load and loop variable that occurs; all arrays broadcast.
`fma` is exact: one rounding, also for float32 (no double rounding) and near underflow and overflow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from symgraph.core.dtype import FLOAT16, FLOAT32, DType
from symgraph.loops.expr import Expr

Array = np.ndarray

_SIMPLE: dict[str, Callable[..., Array]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative,
    "abs": np.abs, "sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc,
    "rint": np.rint, "rounded": np.positive, "not": np.invert, "min": np.minimum, "max": np.maximum,
    "copysign": np.copysign, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "eq": np.equal, "ne": np.not_equal, "select": np.where,
    # The second operand wherever the comparison fails, so also for NaN.
    "fmin": lambda x, y: np.asarray(np.where(x < y, x, y)),
    "fmax": lambda x, y: np.asarray(np.where(x > y, x, y)),
}  # fmt: skip


def evaluate(expr: Expr, env: Mapping[Expr, Array]) -> Array:
    """Return the value of `expr`, an array of its dtype.

    `env` maps leaves (loads, loop variables, or any inner expression) to arrays of their dtypes.
    Integer arithmetic wraps; integer division truncates, and a zero divisor gives 0.
    Raises `KeyError` for a leaf without a value, `NotImplementedError` for reductions and for
    functions that have to be expanded first.
    """
    values = dict(env)
    with np.errstate(all="ignore"):
        for e in _order(expr, values):
            if e.op in ("load", "axis"):
                raise KeyError(f"no value was given for {e!r}")
            values[e] = _apply(e, [values[a] for a in e.args])
    return values[expr]


def _order(root: Expr, known: Mapping[Expr, Array]) -> list[Expr]:
    """Return what has to be computed, arguments first, without looking below known values."""
    order: list[Expr] = []
    seen = set(known)
    stack = [(root, False)]
    while stack:
        e, done = stack.pop()
        if done:
            order.append(e)
        elif e not in seen:
            seen.add(e)
            # A load is a leaf: its address is not a value.
            below = () if e.op == "load" else e.args
            stack.append((e, True))
            stack.extend((a, False) for a in below if a not in seen)
    return order


def _apply(e: Expr, args: list[Array]) -> Array:
    if e.op == "const":
        return np.asarray(e.data, e.dtype.numpy)
    if e.op == "affine":
        terms = (a * int(k) for a, k in zip(args, e.data[0], strict=True))
        return np.asarray(sum(terms, np.asarray(int(e.data[1]), np.int64)))
    if e.op == "bitcast":
        return np.ascontiguousarray(args[0]).view(e.dtype.numpy).reshape(args[0].shape)
    if e.op == "cast":
        return args[0].astype(e.dtype.numpy)
    if e.op == "lookup":
        return np.take(np.array(e.data, e.dtype.numpy), args[0] & (len(e.data) - 1))
    if e.op == "scalef":
        x, n = args
        return np.where(np.isnan(n), n, np.ldexp(x, np.floor(np.nan_to_num(n)).astype(np.int32)))
    if e.op in ("shl", "lshr", "ashr"):
        return _shift(e.op, e.dtype, *args)
    if e.op in ("div", "rem"):
        return _divide(e.op, e.dtype, *args)
    if e.op == "fma":
        return _FMA[e.dtype.bits](*args) if e.dtype.is_float else args[0] * args[1] + args[2]
    if e.op not in _SIMPLE:
        raise NotImplementedError(f"{e.op} is no primitive operation on values")
    return np.asarray(_SIMPLE[e.op](*args))


def _shift(op: str, dtype: DType, x: Array, count: Array) -> Array:
    if op == "shl":
        return np.asarray(np.left_shift(x, count))
    # NumPy shifts signed types arithmetically and unsigned ones logically.
    twin = np.dtype(f"{'u' if op == 'lshr' else ''}int{dtype.bits}")
    shifted: np.ndarray = np.right_shift(x.astype(twin), count.astype(twin)).astype(dtype.numpy)
    return shifted


def _divide(op: str, dtype: DType, x: Array, y: Array) -> Array:
    if dtype.is_float:
        return np.asarray(np.divide(x, y) if op == "div" else np.fmod(x, y))
    rest = np.fmod(x, y)
    return np.asarray(rest if op == "rem" else np.floor_divide(x - rest, y))


def _odd_sum(a: Array, b: Array) -> Array:
    """Return a + b rounded to odd: rounding once more to fewer bits then cannot go wrong."""
    total, error = _two_sum(a, b)
    bits = np.ascontiguousarray(total).view(np.int64)
    inexact = (error != 0) & np.isfinite(total) & ((bits & 1) == 0)
    # One step towards the exact value makes the last bit odd.
    away = (error > 0) == (total > 0)
    return np.where(inexact, np.where(away, bits + 1, bits - 1), bits).view(np.float64)


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


def _fma16(x: Array, y: Array, z: Array) -> Array:
    return _narrow_fma(x, y, z, FLOAT16)


def _fma32(x: Array, y: Array, z: Array) -> Array:
    return _narrow_fma(x, y, z, FLOAT32)


def _narrow_fma(x: Array, y: Array, z: Array, dtype: DType) -> Array:
    """The product is exact in float64; the sum is rounded to odd there, then once to `dtype`."""
    x, y, z = np.broadcast_arrays(x, y, z)
    product = x.astype(np.float64) * y.astype(np.float64)
    return np.asarray(_odd_sum(product, z.astype(np.float64)).astype(dtype.numpy))


def _two_product(x: Array, y: Array) -> tuple[Array, Array]:
    """Dekker's product: x * y = high + low exactly, for operands of moderate size."""
    x_high, x_low = _halves(x)
    y_high, y_low = _halves(y)
    high = x * y
    low = ((x_high * y_high - high) + x_high * y_low + x_low * y_high) + x_low * y_low
    return high, low


def _halves(x: Array) -> tuple[Array, Array]:
    scaled = 134217729.0 * x  # 2**27 + 1
    high = scaled - (scaled - x)
    return high, x - high


def _fma64(x: Array, y: Array, z: Array) -> Array:
    """Scale the operands to fractions, add the exact product in three parts, scale back once."""
    x, y, z = np.broadcast_arrays(x, y, z)
    fx, ex = np.frexp(x)
    fy, ey = np.frexp(y)
    fz, ez = np.frexp(z)
    high, low = _two_product(fx, fy)
    # Work at the exponent of the larger of product and addend; a distant one only rounds.
    power = ex + ey
    zero = (x == 0) | (y == 0)
    distance = np.where(z == 0, -4000, np.where(zero, 4000, ez - power))
    near = np.abs(distance) <= 200
    shift = np.where(near, distance, 0)
    total, error = _two_sum(high, np.ldexp(fz, shift))
    error, rest = _two_sum(error, low)
    total, error = _two_sum(total, error)
    # total + error + rest is exact; fold rest into error by rounding to odd.
    tail = _odd_sum(error, rest)
    result = _scaled_sum(total, tail, power)
    # The product is negligible but for its sign, or the addend is.
    sticky_z = _scaled_sum(fz, np.sign(high) * 2.0**-200, ez)
    result = np.where(distance > 200, sticky_z, result)
    sticky_p = _scaled_sum(high, _odd_sum(low, np.sign(z) * 2.0**-200), power)
    sticky_p = np.where(z == 0, _scaled_sum(high, low, power), sticky_p)
    result = np.where(distance < -200, sticky_p, result)
    finite = np.isfinite(x) & np.isfinite(y)
    result = np.where(~finite | zero, x * y + z, result)
    # The product of finite numbers may overflow, which an infinite addend does not see.
    return np.where(finite & ~np.isfinite(z), z, result)


def _scaled_sum(total: Array, tail: Array, power: Array) -> Array:
    """Return (total + tail) * 2**power rounded once; |tail| is at most half an ulp of total."""
    normal = np.ldexp(total + tail, power)
    # A subnormal result is a multiple of 2**-1074: round to an integer in that unit.
    _, exponent = np.frexp(total)
    subnormal = exponent + power < -1021
    unit = np.where(subnormal, power + 1074, 0)
    units = np.ldexp(total, unit)
    whole = np.rint(units)
    rest = _odd_sum(units - whole, np.ldexp(tail, unit))
    odd = np.fmod(whole, 2.0) != 0
    up = (rest > 0.5) | ((rest == 0.5) & odd)
    down = (rest < -0.5) | ((rest == -0.5) & odd)
    small = np.ldexp(np.where(up, whole + 1.0, np.where(down, whole - 1.0, whole)), -1074)
    return np.asarray(np.where(subnormal, np.copysign(small, total), normal))


_FMA = {16: _fma16, 32: _fma32, 64: _fma64}
