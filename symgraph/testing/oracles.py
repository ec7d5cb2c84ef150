"""Independent oracles: what each op means, element by element, in Python numbers.

Nothing here calls the NumPy function that the op itself uses. Integers are exact Python integers
wrapped to their width, float functions come from mpmath at 40 digits. Oracles are slow and only run
on the small generated cases. Ops that move or combine elements are in `oracles_structured`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from symgraph.core.dtype import BOOL, DType, as_dtype
from symgraph.core.node import Node
from symgraph.testing.oracles_linalg import LINALG
from symgraph.testing.oracles_special import SPECIAL
from symgraph.testing.oracles_structured import STRUCTURED, wrap

Scalar = Callable[..., Any]
# of each float type: digits of the significand, and the exponent of the smallest number
DIGITS = {
    "bfloat16": (8, -133), "float16": (11, -24), "float32": (24, -149), "float64": (53, -1074),
}  # fmt: skip
TOO_LARGE = {"bfloat16": 128, "float16": 16, "float32": 128, "float64": 1024}  # powers of two
EXACT_LIMIT = 200  # elements; larger cases are compared with NumPy only


def oracle(case: Any, node: Node) -> np.ndarray | None:
    """Return the value of a case, or None where no independent oracle exists for it."""
    name = case.op.name
    if any(a.dtype.kind == "c" for a in case.arrays) and name not in LINALG:
        return None  # tests/complex has oracles for them
    given = [a.astype(np.float32) if a.dtype == "bfloat16" else a for a in case.arrays]
    if name in STRUCTURED:
        value = STRUCTURED[name](dict(case.params), *given)
        if np.iscomplexobj(value) and not node.dtype.is_complex:
            value = np.real(value)
        return None if value is None else np.asarray(value).astype(node.dtype.numpy)
    if name not in SCALAR or node.op.name != name:
        return None
    dtypes = [i.dtype for i in node.inputs]
    arrays = [
        a if d == "bfloat16" else a.astype(d.numpy) for a, d in zip(given, dtypes, strict=True)
    ]
    if name in MATH and (case.kind == "special" or dtypes[0].is_half):
        return None  # NumPy follows C99 Annex F there; the native code is compared with NumPy
    return _elementwise(SCALAR[name], arrays, node)


def expected_dtype(name: str, dtypes: Sequence[DType], float_dtype: DType) -> DType | None:
    """Return the dtype of an elementwise result by the rules of the manual, None for other ops.

    Kinds rank bool < integer < float < complex and the highest kind keeps its own width; within a
    kind, and for floats with complex numbers, as in NumPy.
    """
    if name in BOOLEAN:
        return BOOL
    if name not in SCALAR or name in ("cast", "where", "float_exponent"):
        return None
    rank = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 2}
    top = max(rank[d.kind] for d in dtypes)
    highest = [d.numpy for d in dtypes if rank[d.kind] == top]
    common = as_dtype(np.result_type(*highest))
    return float_dtype if name in FLOATING and not common.is_inexact else common


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
    if dtype.is_float and isinstance(value, (Fraction, int)):
        return rounded(Fraction(value), dtype)
    with np.errstate(all="ignore"):
        return dtype.numpy.type(value)


def rounded(value: Fraction, dtype: DType) -> Any:
    """Return a fraction rounded once to a float type (half to even)."""
    digits, low = DIGITS[dtype]
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
    if whole >= Fraction(2) ** TOO_LARGE[dtype]:
        return dtype.numpy.type(sign * math.inf)
    return dtype.numpy.type(sign * float(whole))


# -- arithmetic ----------------------------------------------------------------------------------
def _exact(f: Callable[[Any, Any], Any], special: Callable[[float, float], float]) -> Scalar:
    """Finite floats as fractions with one rounding; others, and zeros, by IEEE doubles."""

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
    return x if math.isnan(x) else (x > 0) - (x < 0)


def _extremum(larger: bool) -> Scalar:
    def scalar(d: DType, x: Any, y: Any) -> Any:
        if math.isnan(x) or math.isnan(y):
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
    **{
        f: lambda m, x, f=f: getattr(m, f)(x) for f in ("sin", "cos", "tan", "sinh", "cosh", "tanh")
    },
    **{
        f"a{f}": lambda m, x, f=f: getattr(m, f"a{f}")(x)
        for f in ("sin", "cos", "tan", "sinh", "cosh", "tanh")
    },
    "atan2": lambda m, y, x: m.atan2(y, x),
    "erf": lambda m, x: m.erf(x),
    "erfc": lambda m, x: m.erfc(x),
    "cbrt": lambda m, x: m.sign(x) * m.cbrt(abs(x)),
    "sigmoid": lambda m, x: 1 / (1 + m.exp(-x)),
    "softplus": lambda m, x: m.log1p(m.exp(x)),
    "logaddexp": lambda m, x, y: m.log(m.exp(x) + m.exp(y)),
    "hypot": lambda m, x, y: m.sqrt(x * x + y * y),
    "sqrt": lambda m, x: m.sqrt(x),
    **SPECIAL,
}
MATH = set(_MP)

def _nextafter(d: DType, x: float, y: float) -> float:
    """Step through the bits; math.nextafter knows doubles only."""
    if d == "float64" or math.isnan(x) or math.isnan(y) or x == y:
        return math.nextafter(x, y)
    if x == 0:
        return math.copysign(2.0**-149, y)
    (bits,) = struct.unpack("<I", struct.pack("<f", x))
    (value,) = struct.unpack("<f", struct.pack("<I", bits + (1 if (y > x) == (x > 0) else -1)))
    return float(value)


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
    "square": lambda d, x: (
        bool(x) if d.is_bool else (Fraction(x) ** 2 if d.is_integer or math.isfinite(x) else x * x)
    ),
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
    "float_exponent": lambda d, x: math.frexp(x)[1] if math.isfinite(x) else 0,
    "nextafter": _nextafter,
    "relu": lambda d, x: x if math.isnan(x) or x > 0 else 0,
}


def _of(f: Callable[[float], float]) -> Callable[..., np.ndarray]:
    return lambda x: np.vectorize(f, otypes=[np.float64])(np.asarray(x, np.float64))


BOOLEAN = {"lt", "le", "gt", "ge", "eq", "ne", "isnan", "isinf", "isfinite"}
BOOLEAN |= {"logical_and", "logical_or", "logical_xor", "logical_not"}
FLOATING = MATH | {"div", "reciprocal", "copysign", "nextafter"}

# What each function of the loop IR is in NumPy, for running lowering rules.
NUMPY_FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    **{
        n: getattr(np, n) for n in ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "cbrt")
    },
    **{n: getattr(np, n) for n in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{f"a{n}": getattr(np, f"arc{n}") for n in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    "erf": _of(math.erf),
    "erfc": _of(math.erfc),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(x, 0),
    "pow": np.power,
    "atan2": np.arctan2,
}
