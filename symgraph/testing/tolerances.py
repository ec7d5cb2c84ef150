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
RELATIVE: dict[str, float] = {"float16": 4e-3, "float32": 1e-5, "float64": 1e-12}
# Ulp of a single rounded operation: float16 is computed in float32 and rounded a second time.
EXACT: dict[str, float] = {"float16": 1, "float32": 0, "float64": 0}
# The NumPy functions of a half work in float32, so 1 ulp covers every function.
HALF_ULP = 1.0
GRADIENT = 1e-6  # derivative against central differences, float64
SECOND = 1e-4  # second derivative against differences of the first
DUALITY = 1e-10  # <J u, v> against <u, J^T v>, both analytic
# The sign of a zero is free where IEEE 754 or NumPy leaves it open.
FREE_ZERO_SIGN = {"maximum", "minimum", "relu", "max", "min", "sum", "hypot", "logaddexp"}


def ulp_limit(op: Op, dtype: DType) -> float | None:
    """Return the ulp that an elementwise result of `dtype` may be off, None for other ops."""
    if not hasattr(op, "arity"):
        return None
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
    zero_sign: bool = False,
) -> str | None:
    """Return what differs between two arrays, or None where they agree.

    Integers and bools must be equal. Floats agree within `ulp` units in the last place of
    `expected`, or else within `relative` (default: the table) times its largest finite entry. NaN
    equals NaN, infinities must be the same; with `zero_sign` so must the signs of zeros.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.shape != expected.shape:
        return f"shape {actual.shape}, expected {expected.shape}"
    if actual.dtype != expected.dtype:
        return f"dtype {actual.dtype}, expected {expected.dtype}"
    if expected.dtype.kind != "f":
        return _first(actual != expected, actual, expected)
    with np.errstate(all="ignore"):
        special = ~(np.isfinite(actual) & np.isfinite(expected))
        same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
        error = np.abs(actual.astype(np.longdouble) - expected.astype(np.longdouble))
        limit = _limit(expected, ulp, relative)
        bad = np.where(special, ~same, error > limit)
        if zero_sign:
            zero = (actual == 0) & (expected == 0)
            bad = bad | (zero & (np.signbit(actual) != np.signbit(expected)))
    return _first(bad, actual, expected)


def _limit(expected: np.ndarray, ulp: float | None, relative: float | None) -> Any:
    finite = np.where(np.isfinite(expected), expected, 0)
    if ulp is not None:
        return ulp * np.spacing(np.abs(finite)).astype(np.longdouble)
    factor = RELATIVE[str(expected.dtype)] if relative is None else relative
    scale = np.abs(finite).max(initial=0).astype(np.longdouble)
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
