"""How close is close: the one table of tolerances, and the comparison that uses it.

Elementwise results are compared in units in the last place (ulp) of their dtype, everything that
adds up many numbers relative to the largest entry of the expected array.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph.core.dtype import DType
from symgraph.core.op import Op

# Largest error of a value, relative to the largest entry of the expected array.
RELATIVE: dict[str, float] = {
    "bfloat16": 1.6e-2, "float16": 4e-3, "float32": 1e-5, "float64": 1e-12, "complex64": 1e-5,
    "complex128": 1e-12,
}  # fmt: skip
# Ulp of a single rounded operation: a half is computed in float32 and rounded a second time.
EXACT: dict[str, float] = {"bfloat16": 1, "float16": 1, "float32": 0, "float64": 0}
# The NumPy functions of a half work in float32, so 1 ulp covers every function.
HALF_ULP = 1.0
# A part of a complex result is a combination of several functions; relative to the larger part.
COMPLEX_ULP = 64.0
GRADIENT = 1e-6  # derivative against central differences, float64
SECOND = 1e-4  # second derivative against differences of the first
DUALITY = 1e-10  # <J u, v> against <u, J^T v>, both analytic
# Largest difference from PyTorch of values, gradients and second derivatives, relative to the
# largest entry of the array and of the arrays that it was derived from.
AGAINST_TORCH: dict[str, tuple[float, float, float]] = {
    "float16": (4e-3, 1e-2, 2e-2),
    "float32": (1e-5, 1e-4, 1e-3),
    "float64": (1e-11, 1e-10, 1e-9),
    "complex64": (1e-5, 1e-4, 1e-3),
    "complex128": (1e-11, 1e-10, 1e-9),
}
# The sign of a zero is free where IEEE 754 or NumPy leaves it open.
FREE_ZERO_SIGN = {"maximum", "minimum", "relu", "max", "min", "sum", "hypot", "logaddexp"}


def ulp_limit(op: Op, dtype: DType) -> float | None:
    """Return the ulp that an elementwise result of `dtype` may be off, None for other ops."""
    if not hasattr(op, "arity"):
        return None
    if dtype.is_complex:
        return COMPLEX_ULP
    stated = getattr(op, "ulp", None)
    if stated:
        return float(stated.get(str(dtype), HALF_ULP))
    return EXACT.get(str(dtype), 0)


def mismatch(
    actual: Any,
    expected: Any,
    *,
    ulp: float | None = None,
    relative: float | None = None,
    least: float = 0.0,
    zero_sign: bool = False,
) -> str | None:
    """Return what differs between two arrays, or None where they agree.

    Integers and bools must be equal. Floats agree within `ulp` units in the last place of
    `expected`, or else within `relative` (default: the table) times its largest finite entry, or
    times `least` where that is larger. NaN equals NaN, infinities must be the same; with
    `zero_sign` so must the signs of zeros. Errors of the parts of complex numbers are relative to
    the larger part.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.shape != expected.shape:
        return f"shape {actual.shape}, expected {expected.shape}"
    if actual.dtype != expected.dtype:
        return f"dtype {actual.dtype}, expected {expected.dtype}"
    if expected.dtype.name == "bfloat16":
        actual, expected = actual.astype(np.float32), expected.astype(np.float32)
        ulp = None if ulp is None else ulp * 2.0**16
        relative = RELATIVE["bfloat16"] if relative is None else relative
    if expected.dtype.kind == "c":
        parts = [np.where(np.isfinite(p), np.abs(p), 0) for p in (expected.real, expected.imag)]
        size = np.maximum(*parts).astype(expected.real.dtype)
        limit = _limit(size, ulp, relative, least)
        bad = np.zeros(expected.shape, bool)
        for a, b in ((actual.real, expected.real), (actual.imag, expected.imag)):
            bad |= _far(a, b, limit, zero_sign)
        return _first(bad, actual, expected)
    if expected.dtype.kind != "f":
        return _first(actual != expected, actual, expected)
    limit = _limit(expected, ulp, relative, least)
    return _first(_far(actual, expected, limit, zero_sign), actual, expected)


def _far(actual: np.ndarray, expected: np.ndarray, limit: Any, zero_sign: bool) -> np.ndarray:
    """Tell which floats differ by more than `limit`."""
    with np.errstate(all="ignore"):
        special = ~(np.isfinite(actual) & np.isfinite(expected))
        same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
        error = np.abs(actual.astype(np.longdouble) - expected.astype(np.longdouble))
        bad = np.where(special, ~same, error > limit)
        if zero_sign:
            zero = (actual == 0) & (expected == 0)
            bad = bad | (zero & (np.signbit(actual) != np.signbit(expected)))
    return np.asarray(bad)


def _limit(
    expected: np.ndarray, ulp: float | None, relative: float | None, least: float
) -> Any:
    finite = np.where(np.isfinite(expected), expected, 0)
    if ulp is not None:
        size = np.abs(finite)
        large = size > 1  # the unit of the largest number cannot be seen from above
        unit = np.spacing(np.where(large, size / 2, size)).astype(np.longdouble)
        return ulp * np.where(large, 2 * unit, unit)
    factor = RELATIVE[str(expected.dtype)] if relative is None else relative
    scale = np.abs(finite).max(initial=least).astype(np.longdouble)
    return factor * np.maximum(scale, np.finfo(expected.dtype).tiny)


def _first(bad: np.ndarray, actual: np.ndarray, expected: np.ndarray) -> str | None:
    if not bad.any():
        return None
    at = tuple(int(k[0]) for k in np.nonzero(np.atleast_1d(bad)))
    at = at if bad.ndim else ()
    return (
        f"{int(bad.sum())} of {bad.size} entries differ, first at {at}: "
        f"got {actual[at]!r}, expected {expected[at]!r}"
    )
