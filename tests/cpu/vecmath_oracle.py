"""Reference values, sample points and the distance in units in the last place."""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp
import numpy as np

# 64 fraction bits on x86: enough beside float64, and it has the exponents of any result.
LONG = np.longdouble


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


NUMPY: dict[str, Callable[..., np.ndarray]] = {
    **{n: getattr(np, n) for n in ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p")},
    **{n: getattr(np, n) for n in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "cbrt")},
    **{f"a{n}": getattr(np, f"arc{n}") for n in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    "pow": np.power,
    "atan2": np.arctan2,
    "sigmoid": _sigmoid,
    "softplus": _softplus,
}
MPMATH: dict[str, Callable[..., mp.mpf]] = {
    **{n: getattr(mp, n) for n in ("exp", "expm1", "log", "log1p", "log10")},
    **{n: getattr(mp, n) for n in ("sin", "cos", "tan", "asin", "acos", "atan", "atan2")},
    **{n: getattr(mp, n) for n in ("sinh", "cosh", "tanh", "asinh", "acosh", "atanh")},
    "exp2": lambda x: mp.mpf(2) ** x,
    "log2": lambda x: mp.log(x) / mp.log(2),
    "erf": mp.erf,
    "erfc": mp.erfc,
    "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)),
    "pow": mp.power,
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "softplus": lambda x: mp.log1p(mp.exp(x)),
}
# Where the function is finite and interesting, for float64 (float32 points are cut to its range).
RANGES: dict[str, tuple[float, float]] = {
    "exp": (-745.2, 709.8), "exp2": (-1074.9, 1023.99), "expm1": (-60, 709.7),
    "sigmoid": (-745, 60), "softplus": (-745, 60), "tanh": (-25, 25),
    "sinh": (-710, 710), "cosh": (-710, 710), "asin": (-1, 1), "acos": (-1, 1),
    "atanh": (-1, 1), "erf": (-6.5, 6.5), "erfc": (-7, 27.2), "sin": (-100, 100),
    "cos": (-100, 100), "tan": (-100, 100),
}  # fmt: skip
RANGES32 = {
    "exp": (-103.9, 88.7), "exp2": (-149.9, 127.99), "expm1": (-30, 88.7),
    "sigmoid": (-103, 30), "softplus": (-103, 30), "sinh": (-89.4, 89.4),
    "cosh": (-89.4, 89.4), "erfc": (-5, 10.05), "erf": (-4.5, 4.5), "tanh": (-10, 10),
}  # fmt: skip
POSITIVE = {"log", "log2", "log10", "acosh"}
WHOLE_LINE = {"atan", "asinh", "cbrt"}


def points(name: str, dtype: str, count: int, seed: int = 0) -> np.ndarray:
    """Draw sample points: a third uniform on the range, the rest over all exponents, both signs."""
    rng = np.random.default_rng(seed)
    low, high = (RANGES32 if dtype == "float32" else {}).get(name) or RANGES.get(name, (-10, 10))
    third = count // 3
    info = np.finfo(dtype)
    first, last = info.minexp - info.nmant, info.maxexp - 0.01
    if name not in POSITIVE | WHOLE_LINE and name != "log1p":
        last = float(np.log2(max(abs(low), abs(high))))
    wide = np.exp2(rng.uniform(first, last, third))
    middle = np.exp2(rng.uniform(max(first, -30), min(last, 12), count - 2 * third))
    x = np.concatenate([wide, middle])
    x *= rng.choice([-1.0, 1.0], x.size)
    x = np.concatenate([x, rng.uniform(low, high, third)])
    if name in POSITIVE:
        x = np.abs(x)
    if name == "acosh":
        x = x[x >= 1]
    if name == "log1p":
        x = x[x > -1]
    if name in RANGES:
        x = x[(x >= low) & (x <= high)]
    return x.astype(dtype)


def ulp_error(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Return |got - exact| in ulp of the exact result in the dtype of `got`; equal specials: 0."""
    info = np.finfo(got.dtype)
    exact = exact.astype(LONG)
    with np.errstate(all="ignore"):
        _, exponent = np.frexp(exact)
        exponent = np.maximum(exponent - 1, info.minexp) - info.nmant
        error = np.abs(got.astype(LONG) - exact) / np.ldexp(LONG(1), exponent)
    limit = LONG(info.max) * (1 + LONG(info.eps) / 4)
    both = (np.isnan(got) & np.isnan(exact)) | (got == exact)
    both |= np.isinf(got) & (np.abs(exact) >= limit) & (np.sign(got) == np.sign(exact))
    return np.where(both, 0, np.where(np.isnan(error), np.inf, error))


def exact_values(name: str, *inputs: np.ndarray) -> np.ndarray:
    """Return the results of NumPy in extended precision."""
    with np.errstate(all="ignore"):
        return NUMPY[name](*(x.astype(LONG) for x in inputs))


def exact_by_mpmath(name: str, *inputs: np.ndarray, precision: int = 160) -> np.ndarray:
    """Return the results of mpmath rounded to extended precision (as high + low)."""
    out = np.empty(inputs[0].size, LONG)
    with mp.workprec(precision):
        for i, arguments in enumerate(zip(*inputs, strict=True)):
            value = MPMATH[name](*(mp.mpf(float(a)) for a in arguments))
            mantissa, exponent = mp.frexp(value)
            high = float(mantissa)
            out[i] = np.ldexp(LONG(high) + LONG(float(mantissa - high)), int(exponent))
    return out
