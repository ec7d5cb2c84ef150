"""Independent oracles: what each op means, element by element, in Python numbers.

Nothing here calls the NumPy function that the op itself uses. Integers are exact Python integers
wrapped to their width, float functions come from mpmath at 40 digits, structured ops are loops over
indices. Oracles are slow and only run on the small generated cases.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from symgraph.core.dtype import DType
from symgraph.core.node import Node

Scalar = Callable[..., Any]
EXACT_LIMIT = 200  # elements; larger cases are compared with NumPy only


def oracle(case: Any, node: Node) -> np.ndarray | None:
    """Return the value of a case, or None where no independent oracle exists for it."""
    name = case.op.name
    if name in STRUCTURED:
        value = STRUCTURED[name](dict(case.params), *case.arrays)
        return None if value is None else np.asarray(value).astype(node.dtype.numpy)
    if name not in SCALAR or node.op.name != name:
        return None
    dtypes = [i.dtype for i in node.inputs]
    arrays = [a.astype(d.numpy) for a, d in zip(case.arrays, dtypes, strict=True)]
    if name in MATH and (case.kind == "special" or dtypes[0] == "float16"):
        return None  # NumPy follows C99 Annex F there; the native code is compared with NumPy
    return _elementwise(SCALAR[name], arrays, node)


def _elementwise(f: Scalar, arrays: list[np.ndarray], node: Node) -> np.ndarray | None:
    whole = np.broadcast_arrays(*arrays)
    if whole[0].size > 20 * EXACT_LIMIT:
        return None
    out = np.empty(whole[0].shape, node.dtype.numpy)
    for at in np.ndindex(*out.shape):
        value = f(node.inputs[0].dtype, *(a[at].item() for a in whole))
        out[at] = _stored(value, node.dtype)
    return out


def _stored(value: Any, dtype: DType) -> Any:
    """Return a Python number as an element of `dtype`: integers wrap, floats round."""
    if dtype.is_integer and not isinstance(value, float):
        return wrap(int(value), dtype)
    if dtype.is_float and isinstance(value, Fraction):
        return rounded(value, dtype)
    with np.errstate(all="ignore"):
        return dtype.numpy.type(value)


def wrap(value: int, dtype: DType) -> int:
    """Return `value` modulo the width of an integer type."""
    value &= (1 << dtype.bits) - 1
    return value - (1 << dtype.bits) if dtype.kind == "i" and value >> (dtype.bits - 1) else value


def rounded(value: Fraction, dtype: DType) -> Any:
    """Return a fraction rounded once to a float type (half to even)."""
    digits, low = {"float16": (11, -24), "float32": (24, -149), "float64": (53, -1074)}[dtype]
    if value == 0:
        return dtype.numpy.type(0)
    exponent = abs(value.numerator).bit_length() - value.denominator.bit_length()
    while abs(value) >= Fraction(2) ** (exponent + 1):
        exponent += 1
    while abs(value) < Fraction(2) ** exponent:
        exponent -= 1
    unit = Fraction(2) ** max(exponent - digits + 1, low)
    sign = 1.0 if value > 0 else -1.0
    whole = abs(round(value / unit) * unit)  # Python rounds fractions half to even
    if whole > Fraction(float(np.finfo(dtype.numpy).max)):
        return dtype.numpy.type(sign * math.inf)
    return dtype.numpy.type(sign * float(whole))


# -- arithmetic -------------------------------------------------------------------------------------
def _exact(f: Callable[[Any, Any], Any], special: Callable[[float, float], float]) -> Scalar:
    """Finite floats as fractions with one rounding; others, and zeros, by IEEE double arithmetic."""

    def scalar(d: DType, x: Any, y: Any) -> Any:
        if d.is_bool:
            return bool(f(int(x), int(y)))
        if d.is_integer:
            return f(x, y)
        if math.isfinite(x) and math.isfinite(y):
            value = f(Fraction(x), Fraction(y))
            if value != 0:
                return value
        return special(x, y)

    return scalar


def _ieee_div(x: float, y: float) -> float:
    if y != 0:
        return x / y
    if x == 0 or math.isnan(x):
        return math.nan
    return math.copysign(math.inf, x) * math.copysign(1.0, y)


def _div(d: DType, x: float, y: float) -> Any:
    if math.isfinite(x) and math.isfinite(y) and y != 0 and x != 0:
        return Fraction(x) / Fraction(y)
    return _ieee_div(x, y)


def _floordiv(d: DType, x: Any, y: Any) -> Any:
    if d.is_integer:
        return 0 if y == 0 else x // y
    if not (math.isfinite(x) and math.isfinite(y)) or y == 0:
        return _floordiv_special(x, y)
    whole = Fraction(x) / Fraction(y)
    if whole == 0:
        return _ieee_div(x, y)
    floor = math.floor(whole)
    return Fraction(floor) if floor else 0.0


def _floordiv_special(x: float, y: float) -> float:
    """As NumPy: a division by zero is IEEE's, x // inf is 0 or -1, inf // y is NaN."""
    if y == 0:
        return _ieee_div(x, y)
    if math.isnan(x) or math.isnan(y) or math.isinf(x):
        return math.nan
    if x == 0:
        return _ieee_div(x, y)
    return 0.0 if (x > 0) == (y > 0) else -1.0


def _mod(d: DType, x: Any, y: Any) -> Any:
    if d.is_integer:
        return 0 if y == 0 else x % y
    if math.isnan(x) or math.isnan(y) or math.isinf(x) or y == 0:
        return math.nan
    if math.isinf(y):
        return x if x != 0 and (x > 0) == (y > 0) else (math.copysign(0.0, y) if x == 0 else y)
    value = Fraction(x) - math.floor(Fraction(x) / Fraction(y)) * Fraction(y)
    return value if value else math.copysign(0.0, y)


def _fmod(d: DType, x: Any, y: Any) -> Any:
    if d.is_integer:
        return 0 if y == 0 else int(math.copysign(1, x)) * (abs(x) % abs(y))
    if math.isnan(x) or math.isnan(y) or math.isinf(x) or y == 0:
        return math.nan
    return math.fmod(x, y)


def _power(d: DType, x: Any, y: Any) -> Any:
    if d.is_float:
        return _mp_power(x, y)
    return 0 if y < 0 else pow(x, y, 1 << d.bits)


def _mp_power(x: float, y: float) -> Any:
    import mpmath

    if not (math.isfinite(x) and math.isfinite(y)) or x <= 0:
        return _c_power(x, y)
    with mpmath.workdps(40):
        return _from_mp(mpmath.power(x, y))


def _c_power(x: float, y: float) -> float:
    """pow of C99 Annex F, from the libm that Python uses."""
    odd = y % 2 == 1
    try:
        return math.pow(x, y)
    except ValueError:  # a pole, or a fractional power of a negative number
        return math.copysign(math.inf, x if odd else 1.0) if x == 0 else math.nan
    except OverflowError:
        return -math.inf if x < 0 and odd else math.inf


def _sign(d: DType, x: Any) -> Any:
    return x if x != x else (x > 0) - (x < 0)


def _extremum(larger: bool) -> Scalar:
    def scalar(d: DType, x: Any, y: Any) -> Any:
        if x != x or y != y:
            return math.nan
        return x if (x >= y) == larger else y

    return scalar


def _whole(f: Callable[[Any], int]) -> Scalar:
    def scalar(d: DType, x: Any) -> Any:
        if not d.is_float:
            return x
        return math.copysign(float(f(x)), x) if math.isfinite(x) else x

    return scalar


def _shift(left: bool) -> Scalar:
    def scalar(d: DType, x: int, y: int) -> int:
        if 0 <= y < d.bits:
            return x << y if left else x >> y
        return -1 if not left and x < 0 else 0

    return scalar


def _cast(d: DType, x: Any) -> Any:
    return int(x) if d.is_bool else x


# -- functions ----------------------------------------------------------------------------------
def _from_mp(value: Any) -> Any:
    """Return a real mpmath number as an exact fraction (NaN where it is not real)."""
    import mpmath

    if isinstance(value, mpmath.mpc) or mpmath.isnan(value):
        return math.nan
    if mpmath.isinf(value):
        return math.inf if value > 0 else -math.inf
    sign, mantissa, exponent, bits = value._mpf_
    if abs(exponent + bits) > 3000:  # far outside of every float type
        return (-1.0) ** sign * (math.inf if exponent > 0 else 0.0)
    return (-1) ** sign * Fraction(int(mantissa)) * Fraction(2) ** exponent


def _mp(name: str) -> Scalar:
    def scalar(d: DType, *x: float) -> Any:
        import mpmath

        with mpmath.workdps(40):
            return _from_mp(_MP[name](mpmath, *(mpmath.mpf(v) for v in x)))

    return scalar


_MP: dict[str, Callable[..., Any]] = {
    "exp": lambda m, x: m.exp(x),
    "exp2": lambda m, x: m.mpf(2) ** x,
    "expm1": lambda m, x: m.expm1(x),
    "log": lambda m, x: m.log(x),
    "log2": lambda m, x: m.log(x, 2),
    "log10": lambda m, x: m.log10(x),
    "log1p": lambda m, x: m.log1p(x),
    **{f: lambda m, x, f=f: getattr(m, f)(x) for f in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{f"a{f}": lambda m, x, f=f: getattr(m, f"a{f}")(x)
       for f in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    "atan2": lambda m, y, x: m.atan2(y, x),
    "erf": lambda m, x: m.erf(x),
    "erfc": lambda m, x: m.erfc(x),
    "cbrt": lambda m, x: m.sign(x) * m.cbrt(abs(x)),
    "sigmoid": lambda m, x: 1 / (1 + m.exp(-x)),
    "softplus": lambda m, x: m.log1p(m.exp(x)),
    "logaddexp": lambda m, x, y: m.log(m.exp(x) + m.exp(y)),
    "hypot": lambda m, x, y: m.sqrt(x * x + y * y),
    "sqrt": lambda m, x: m.sqrt(x),
}  # fmt: skip
MATH = set(_MP)

SCALAR: dict[str, Scalar] = {
    **{name: _mp(name) for name in _MP},
    "add": _exact(lambda x, y: x + y, lambda x, y: x + y),
    "sub": _exact(lambda x, y: x - y, lambda x, y: x - y),
    "mul": _exact(lambda x, y: x * y, lambda x, y: x * y),
    "div": _div,
    "floordiv": _floordiv,
    "mod": _mod,
    "fmod": _fmod,
    "power": _power,
    "neg": lambda d, x: -x,
    "square": lambda d, x: bool(x) if d.is_bool else (
        Fraction(x) ** 2 if d.is_integer or math.isfinite(x) else x * x),
    "reciprocal": lambda d, x: _div(d, 1.0, x),
    "abs": lambda d, x: abs(x),
    "sign": _sign,
    "copysign": lambda d, x, y: math.copysign(x, y),
    "maximum": _extremum(True),
    "minimum": _extremum(False),
    "floor": _whole(math.floor),
    "ceil": _whole(math.ceil),
    "trunc": _whole(math.trunc),
    "rint": _whole(round),
    "lt": lambda d, x, y: x < y,
    "le": lambda d, x, y: x <= y,
    "gt": lambda d, x, y: x > y,
    "ge": lambda d, x, y: x >= y,
    "eq": lambda d, x, y: x == y,
    "ne": lambda d, x, y: x != y,
    "logical_and": lambda d, x, y: bool(x) and bool(y),
    "logical_or": lambda d, x, y: bool(x) or bool(y),
    "logical_xor": lambda d, x, y: bool(x) is not bool(y),
    "logical_not": lambda d, x: not x,
    "bitwise_and": lambda d, x, y: x & y,
    "bitwise_or": lambda d, x, y: x | y,
    "bitwise_xor": lambda d, x, y: x ^ y,
    "bitwise_not": lambda d, x: not x if d.is_bool else ~x,
    "left_shift": _shift(True),
    "right_shift": _shift(False),
    "isnan": lambda d, x: d.is_float and math.isnan(x),
    "isinf": lambda d, x: d.is_float and math.isinf(x),
    "isfinite": lambda d, x: not d.is_float or math.isfinite(x),
    "cast": _cast,
    "where": lambda d, c, x, y: x if c else y,
    "relu": lambda d, x: x if x != x or x > 0 else 0,
}  # fmt: skip


def _of(f: Callable[[float], float]) -> Callable[..., np.ndarray]:
    return lambda x: np.vectorize(f, otypes=[np.float64])(np.asarray(x, np.float64))


# What each function of the loop IR is in NumPy, for running lowering rules.
NUMPY_FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    **{n: getattr(np, n) for n in ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "cbrt")},
    **{n: getattr(np, n) for n in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{f"a{n}": getattr(np, f"arc{n}") for n in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    "erf": _of(math.erf),
    "erfc": _of(math.erfc),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(x, 0),
    "pow": np.power,
    "atan2": np.arctan2,
}


# -- structured ops, as loops over indices ------------------------------------------------------------
def _groups(x: np.ndarray, axes: tuple[int, ...]) -> Any:
    """Yield (index of the result, elements that are combined there in row-major order)."""
    kept = [k for k in range(x.ndim) if k not in axes]
    for at in np.ndindex(*(x.shape[k] for k in kept)):
        where = dict(zip(kept, at, strict=True))
        ranges = [[where[k]] if k in where else range(x.shape[k]) for k in range(x.ndim)]
        yield at, [x[i].item() for i in product(*ranges)]


def _reduced(f: Callable[[list[Any], DType], Any]) -> Any:
    def value(p: dict[str, Any], x: np.ndarray) -> np.ndarray | None:
        axes = p["axes"]
        dtype = p.get("dtype")
        shape = tuple(n for k, n in enumerate(x.shape) if k not in axes)
        out = np.empty(shape, object)
        for at, elements in _groups(x, axes):
            out[at] = f(elements, dtype)
        if dtype is not None and dtype.is_integer:
            out = np.array([wrap(int(v), dtype) for v in out.ravel()], object).reshape(shape)
        return out

    return value


def _total(elements: list[Any], dtype: Any) -> Any:
    return math.fsum(elements) if isinstance(elements[0], float) else sum(elements)


def _logsumexp(elements: list[float], dtype: Any) -> float:
    top = max(elements)
    return top + math.log(math.fsum(math.exp(e - top) for e in elements))


def _row(log: bool) -> Any:
    def value(p: dict[str, Any], x: np.ndarray) -> np.ndarray:
        total = _reduced(_logsumexp)(p, x).astype(np.float64)
        shape = tuple(1 if k in p["axes"] else n for k, n in enumerate(x.shape))
        z = x.astype(np.float64) - total.reshape(shape)
        return z if log else np.exp(z)

    return value


def _arg(better: Callable[[Any, Any], bool]) -> Any:
    def value(p: dict[str, Any], x: np.ndarray) -> np.ndarray:
        shape = tuple(n for k, n in enumerate(x.shape) if k != p["axis"])
        out = np.empty(shape, np.int64)
        for at, elements in _groups(x, (p["axis"],)):
            best = 0
            for k, e in enumerate(elements):
                best = k if better(e, elements[best]) else best
            out[at] = best
        return out

    return value


def _running(f: Callable[[Any, Any], Any]) -> Any:
    def value(p: dict[str, Any], x: np.ndarray) -> np.ndarray:
        out = x.astype(object)
        if p["dtype"].is_bool:
            return np.asarray(_bool_running(f, p, x))
        for at in np.ndindex(*x.shape):
            if at[p["axis"]]:
                before = tuple(i - (k == p["axis"]) for k, i in enumerate(at))
                out[at] = f(out[before], out[at])
        if p["dtype"].is_integer:
            flat = [wrap(int(v), p["dtype"]) for v in out.ravel()]
            out = np.array(flat, object).reshape(x.shape)
        return out

    return value


def _bool_running(f: Any, p: dict[str, Any], x: np.ndarray) -> np.ndarray:
    out = np.empty(x.shape, bool)
    for at in np.ndindex(*x.shape):
        line = [x[(*at[: p["axis"]], j, *at[p["axis"] + 1 :])] for j in range(at[p["axis"]] + 1)]
        value = int(line[0])
        for e in line[1:]:
            value = f(value, int(e))
        out[at] = bool(value)
    return out


def _from_index(shape: Any, dtype: Any, f: Callable[[tuple[int, ...]], Any]) -> np.ndarray:
    out = np.empty(shape, dtype)
    for at in np.ndindex(*out.shape):
        out[at] = f(at)
    return out


def _flat(at: tuple[int, ...], shape: tuple[int, ...]) -> int:
    place = 0
    for i, n in zip(at, shape, strict=True):
        place = place * n + i
    return place


def _reshape(p: dict[str, Any], x: np.ndarray) -> np.ndarray:
    items = [x[at] for at in np.ndindex(*x.shape)]
    return _from_index(p["shape"], x.dtype, lambda at: items[_flat(at, p["shape"])])


def _permute(p: dict[str, Any], x: np.ndarray) -> np.ndarray:
    axes = p["axes"]
    shape = tuple(x.shape[a] for a in axes)
    return _from_index(shape, x.dtype, lambda at: x[tuple(at[axes.index(k)] for k in range(x.ndim))])


def _broadcast(p: dict[str, Any], x: np.ndarray) -> np.ndarray:
    lead = len(p["shape"]) - x.ndim
    return _from_index(
        p["shape"],
        x.dtype,
        lambda at: x[tuple(0 if n == 1 else i for i, n in zip(at[lead:], x.shape, strict=True))],
    )


def _sum_to(p: dict[str, Any], g: np.ndarray) -> np.ndarray:
    out = np.zeros(p["shape"], object)
    lead = g.ndim - out.ndim
    for at in np.ndindex(*g.shape):
        to = tuple(0 if n == 1 else i for i, n in zip(at[lead:], p["shape"], strict=True))
        out[to] += g[at].item()
    return out


def _concatenate(p: dict[str, Any], *xs: np.ndarray) -> np.ndarray:
    axis, items, shape = p["axis"], [], list(xs[0].shape)
    shape[axis] = 0
    for x in xs:
        for k in range(x.shape[axis]):
            items.append((x, k))
            shape[axis] += 1
    return _from_index(
        shape,
        xs[0].dtype,
        lambda at: items[at[axis]][0][(*at[:axis], items[at[axis]][1], *at[axis + 1 :])],
    )


def _places(p: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """Yield (index in the slice, index in the whole)."""
    for at in np.ndindex(*shape):
        yield at, tuple(s + i * d for i, s, d in zip(at, p["starts"], p["steps"], strict=True))


def _slice(p: dict[str, Any], x: np.ndarray) -> np.ndarray:
    out = np.empty(p["lengths"], x.dtype)
    for at, source in _places(p, p["lengths"]):
        out[at] = x[source]
    return out


def _place(p: dict[str, Any], x: np.ndarray) -> np.ndarray:
    return _set_slice(p, np.zeros(p["shape"], x.dtype), x)


def _set_slice(p: dict[str, Any], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    out = x.copy()
    for at, target in _places(p, y.shape):
        out[target] = y[at]
    return out


def _pointed(x: np.ndarray, indices: Any) -> Any:
    """Yield (index of the block, the element of x that it points to) in row-major order."""
    whole = np.broadcast_arrays(*indices)
    for at in np.ndindex(*whole[0].shape):
        target = tuple(int(i[at]) % n for i, n in zip(whole, x.shape, strict=False))
        for rest in np.ndindex(*x.shape[len(indices) :]):
            yield (*at, *rest), (*target, *rest)


def _gather(p: dict[str, Any], x: np.ndarray, *indices: np.ndarray) -> np.ndarray:
    block = np.broadcast_shapes(*(i.shape for i in indices))
    out = np.empty(block + x.shape[len(indices) :], x.dtype)
    for at, source in _pointed(x, indices):
        out[at] = x[source]
    return out


def _scatter(p: dict[str, Any], x: np.ndarray, y: np.ndarray, *indices: np.ndarray) -> np.ndarray:
    out = x.copy()
    with np.errstate(all="ignore"):
        for at, target in _pointed(x, indices):
            out[target] = y[at] if p["mode"] == "set" else out[target] + y[at]
    return out


def _matmul(p: dict[str, Any], a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    if a[..., :1, :].size * b.shape[-1] * a.shape[-2] > 10 * EXACT_LIMIT:
        return None
    a, b = np.broadcast_to(a, lead + a.shape[-2:]), np.broadcast_to(b, lead + b.shape[-2:])
    out = np.zeros((*lead, a.shape[-2], b.shape[-1]), object)
    for at in np.ndindex(*out.shape):
        *s, i, j = at
        terms = [a[(*s, i, k)].item() * b[(*s, k, j)].item() for k in range(a.shape[-1])]
        out[at] = sum(terms)
        if a.dtype.kind in "iu":
            out[at] = wrap(out[at], DType(a.dtype.name))
    return out


def _identity(p: dict[str, Any], x: np.ndarray) -> np.ndarray:
    return x


def _iota(p: dict[str, Any]) -> np.ndarray:
    return _from_index(p["shape"], object, lambda at: at[p["axis"]])


def _random_bits(p: dict[str, Any], draw: np.ndarray) -> np.ndarray:
    """Philox4x32-10 with Python integers, straight from the paper's definition."""
    mask, n = 0xFFFFFFFF, int(draw)

    def word(at: tuple[int, ...]) -> int:
        element = _flat(at, p["shape"])
        c = list(struct.unpack("<4I", struct.pack("<2Q", element // 4, n)))
        key = list(p["key"])
        for _ in range(10):
            a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [(b >> 32) ^ c[1] ^ key[0], b & mask, (a >> 32) ^ c[3] ^ key[1], a & mask]
            key = [(key[0] + 0x9E3779B9) & mask, (key[1] + 0xBB67AE85) & mask]
        return c[element % 4]

    return _from_index(p["shape"], np.uint32, word)


# -- convolution and pooling ----------------------------------------------------------------------
def _taps(p: dict[str, Any], size: Any, kernel: Any, out: Any, dilation: Any) -> Any:
    """Yield (window, element of the kernel, pixel) for all pixels inside of the image."""
    for at in np.ndindex(*out):
        for k in np.ndindex(*kernel):
            pixel = tuple(
                i * s + q * d - pad[0]
                for i, q, s, d, pad in zip(at, k, p["stride"], dilation, p["padding"], strict=True)
            )
            if all(0 <= a < n for a, n in zip(pixel, size, strict=True)):
                yield at, k, pixel


def _related(p: dict[str, Any], x: Any, w: Any, y: Any) -> Any:
    """Yield the triples of indices (x, w, y) that a convolution relates, from the three shapes."""
    for at, k, pixel in _taps(p, x[2:], w[2:], y[2:], p["dilation"]):
        for n, out, c in product(range(x[0]), range(w[0]), range(w[1])):
            channel = out // (w[0] // p["groups"]) * w[1] + c
            yield (n, channel, *pixel), (out, c, *k), (n, out, *at)


def _conv(p: dict[str, Any], x: np.ndarray, w: np.ndarray) -> np.ndarray:
    sizes = [
        len(range(-pad[0], n + pad[1] - d * (k - 1), s))
        for n, k, s, pad, d in zip(
            x.shape[2:], w.shape[2:], p["stride"], p["padding"], p["dilation"], strict=True
        )
    ]
    y = np.zeros((x.shape[0], w.shape[0], *sizes), object)
    for i, j, k in _related(p, x.shape, w.shape, y.shape):
        y[k] += x[i].item() * w[j].item()
    return _wrapped(y, x)


def _conv_input(p: dict[str, Any], g: np.ndarray, w: np.ndarray) -> np.ndarray:
    x = np.zeros((g.shape[0], w.shape[1] * p["groups"], *p["size"]), object)
    for i, j, k in _related(p, x.shape, w.shape, g.shape):
        x[i] += g[k].item() * w[j].item()
    return _wrapped(x, g)


def _conv_filter(p: dict[str, Any], x: np.ndarray, g: np.ndarray) -> np.ndarray:
    w = np.zeros((g.shape[1], x.shape[1] // p["groups"], *p["size"]), object)
    for i, j, k in _related(p, x.shape, w.shape, g.shape):
        w[j] += x[i].item() * g[k].item()
    return _wrapped(w, x)


def _wrapped(out: np.ndarray, like: np.ndarray) -> np.ndarray:
    if like.dtype.kind == "f":
        return out
    dtype = DType(like.dtype.name)
    return np.array([wrap(v, dtype) for v in out.ravel()], object).reshape(out.shape)


def _pool(f: Callable[[list[Any], list[int]], Any]) -> Any:
    def value(p: dict[str, Any], x: np.ndarray) -> np.ndarray:
        sizes = [
            len(range(-pad[0], n + pad[1] - k + 1, s))
            for n, k, s, pad in zip(x.shape[-2:], p["window"], p["stride"], p["padding"], strict=True)
        ]
        groups: dict[Any, list[Any]] = {}
        for at, _, pixel in _taps(p, x.shape[-2:], p["window"], sizes, (1, 1)):
            groups.setdefault(at, []).append(pixel)
        out = np.zeros((*x.shape[:-2], *sizes), object)
        for lead in np.ndindex(*x.shape[:-2]):
            for at, pixels in groups.items():
                places = [a * x.shape[-1] + b for a, b in pixels]
                out[(*lead, *at)] = f([x[(*lead, *q)].item() for q in pixels], places)
        return out

    return value


def _first_maximum(values: list[Any], places: list[int]) -> int:
    best = max(values)
    return min(q for v, q in zip(values, places, strict=True) if v == best)


def _pool_grad(by_place: bool) -> Any:
    def value(p: dict[str, Any], *arrays: np.ndarray) -> np.ndarray:
        g, (h, w) = arrays[-1], p["size"]
        out = np.zeros((*g.shape[:-2], h, w), object)
        taps = list(_taps(p, (h, w), p["window"], g.shape[-2:], (1, 1)))
        for lead in np.ndindex(*g.shape[:-2]):
            for at, _, pixel in taps:
                if by_place and arrays[0][(*lead, *at)] != pixel[0] * w + pixel[1]:
                    continue
                out[(*lead, *pixel)] += g[(*lead, *at)].item()
        return _wrapped(out, g) if g.dtype.kind != "b" else out

    return value


STRUCTURED: dict[str, Callable[..., Any]] = {
    "sum": _reduced(_total),
    "prod": _reduced(lambda e, d: math.prod(e)),
    "max": _reduced(lambda e, d: max(e)),
    "min": _reduced(lambda e, d: min(e)),
    "any": _reduced(lambda e, d: any(e)),
    "all": _reduced(lambda e, d: all(e)),
    "argmax": _arg(lambda a, b: a > b),
    "argmin": _arg(lambda a, b: a < b),
    "cumsum": _running(lambda a, b: a + b),
    "cumprod": _running(lambda a, b: a * b),
    "logsumexp": _reduced(_logsumexp),
    "softmax": _row(log=False),
    "log_softmax": _row(log=True),
    "reshape": _reshape,
    "permute_dims": _permute,
    "expand_dims": lambda p, x: _reshape(
        {"shape": tuple(np.expand_dims(x, p["axes"]).shape)}, x),
    "squeeze": lambda p, x: _reshape(
        {"shape": tuple(n for k, n in enumerate(x.shape) if k not in p["axes"])}, x),
    "broadcast_to": _broadcast,
    "sum_to": _sum_to,
    "concatenate": _concatenate,
    "slice": _slice,
    "place": _place,
    "set_slice": _set_slice,
    "gather": _gather,
    "scatter": _scatter,
    "matmul": _matmul,
    "stop_gradient": _identity,
    "grad_clip": _identity,
    "iota": _iota,
    "dim_value": lambda p: p["dim"],
    "random_bits": _random_bits,
    "conv2d": _conv,
    "conv2d_input": _conv_input,
    "conv2d_filter": _conv_filter,
    "max_pool2d": _pool(lambda v, q: max(v)),
    "max_pool2d_index": _pool(_first_maximum),
    "max_pool2d_grad": _pool_grad(True),
    "sum_pool2d": _pool(lambda v, q: sum(v)),
    "sum_pool2d_grad": _pool_grad(False),
}  # fmt: skip
