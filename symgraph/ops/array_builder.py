"""The scalar operations of the loop IR on float64 arrays.

An algorithm written once as `f(s, x)` is then both the lowering of an op (with the builder of the
loop IR) and its NumPy reference (with `ARRAYS`); the tests hold both against mpmath.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symgraph.core.dtype import FLOAT64

Algorithm = Callable[..., Any]  # (s, *values) -> value, all float64


class ArrayBuilder:
    """Float operations of `loops.interned.Builder` that special functions use, on NumPy arrays."""

    abs, sqrt, floor, rint = np.abs, np.sqrt, np.floor, np.rint
    exp, expm1, log, log1p = np.exp, np.expm1, np.log, np.log1p
    sin, cos, pow, copysign = np.sin, np.cos, np.power, np.copysign
    min, max = np.minimum, np.maximum
    select = staticmethod(np.where)
    eq, ne, isnan = np.equal, np.not_equal, np.isnan

    def const(self, value: float, dtype: Any) -> Any:
        return np.float64(value)

    def fmin(self, x: Any, y: Any) -> Any:
        return np.where(x < y, x, y)

    def fmax(self, x: Any, y: Any) -> Any:
        return np.where(x > y, x, y)

    def fma(self, x: Any, y: Any, z: Any) -> Any:
        """x * y + z with the product kept in extended precision where the machine has any."""
        return np.asarray(np.longdouble(x) * y + z).astype(np.float64)


ARRAYS = ArrayBuilder()


def in_double(f: Algorithm) -> tuple[Algorithm, Algorithm]:
    """Return the lowering and the NumPy reference of an algorithm on float64 values.

    Narrower operands are widened and the result is rounded once, so float32 is good to 0.51 ulp
    wherever the float64 error is moderate.
    """

    def scalar(s: Any, *x: Any) -> Any:
        return s.cast(f(s, *(s.cast(v, FLOAT64) for v in x)), x[0].dtype)

    def reference(*arrays: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(f(ARRAYS, *(np.asarray(a, np.float64) for a in arrays)))

    return scalar, reference


def rules(f: Algorithm) -> dict[str, Any]:
    """Return the fields of an elementwise op that follow from an algorithm on float64 values."""
    scalar, reference = in_double(f)
    return {"scalar": scalar, "numpy": reference}


def even_odd(s: Any, t: Any, coefficients: tuple[float, ...]) -> Any:
    """Return c0 + c1 t + c2 t**2 + ... in two chains: half the latency of Horner's rule."""
    if len(coefficients) < 6:
        return _horner(s, t, coefficients)
    square = t * t
    odd = _horner(s, square, coefficients[1::2])
    return s.fma(odd, t, _horner(s, square, coefficients[::2]))


def _horner(s: Any, t: Any, coefficients: tuple[float, ...]) -> Any:
    value = s.const(coefficients[-1], t.dtype)
    for c in reversed(coefficients[:-1]):
        value = s.fma(value, t, c)
    return value


def fitted(s: Any, x: Any, fit: tuple[float, float, tuple[float, ...]]) -> Any:
    """Return a polynomial of `special_tables` at x."""
    centre, scale, coefficients = fit
    shifted = x - centre if centre else x
    return even_odd(s, shifted * scale, coefficients)


def beside_root(s: Any, x: Any, root: tuple[float, float], fit: Any) -> Any:
    """Return log(x / root) + (x - root) p(x): a function with a logarithm and a zero at `root`."""
    high, low = root
    apart = (x - high) - low
    close = s.abs(apart) < 0.15
    log = s.select(close, s.log1p(s.select(close, apart / high, 0.0)), s.log(x / high))
    return s.fma(apart, fitted(s, x, fit), log)
