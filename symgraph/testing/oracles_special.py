"""Oracles of the special functions, by mpmath at the precision of the caller: f(mpmath, x...)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def inverse_erfc(m: Any, y: Any) -> Any:
    """Return z with erfc(z) = y by Halley's method, from tails of 1e-320 to 2."""
    if not 0 <= y <= 2:
        return m.nan
    if y in (0, 2):
        return m.inf if y == 0 else -m.inf
    if y > 1:
        return -inverse_erfc(m, 2 - y)
    w = -m.log(y * (2 - y))
    z = m.sqrt(w) * 0.85 if w < 4 else m.sqrt(w - m.log(m.sqrt(m.pi * w)))
    for _ in range(100):
        step = (y - m.erfc(z)) * m.sqrt(m.pi) / 2 * m.exp(z * z)
        step /= 1 + z * step
        z -= step
        if abs(step) <= m.eps * 8 * abs(z):
            break
    return z


def _erfinv(m: Any, x: Any) -> Any:
    if abs(x) > 1:
        return m.nan
    if abs(x) < m.mpf(10) ** -8:  # 1 - x would lose the digits
        return m.sqrt(m.pi) / 2 * (x + m.pi / 12 * x**3)
    return inverse_erfc(m, 1 - x)


def _erfcx(m: Any, x: Any) -> Any:
    if x < 1e4:
        return m.exp(x * x) * m.erfc(x)
    return (1 - 1 / (2 * x * x)) / (x * m.sqrt(m.pi))


def _log_ndtr(m: Any, x: Any) -> Any:
    half = x / m.sqrt(2)
    return m.log(m.erfc(-half) / 2) if x < 0 else m.log1p(-m.erfc(half) / 2)


def _pole(m: Any, f: Callable[[Any], Any], x: Any, value: Any) -> Any:
    return value if x <= 0 and x == m.floor(x) else f(x)


def _gammainc(m: Any, a: Any, x: Any) -> Any:
    if a == 0:
        return m.nan if x == 0 else m.mpf(1)
    return m.gammainc(a, 0, x, regularized=True)


def _betainc(m: Any, a: Any, b: Any, x: Any) -> Any:
    if a == 0 or b == 0:
        return m.nan if a == b else m.mpf(int(x > 0 if a == 0 else x == 1))
    return m.betainc(a, b, 0, x, regularized=True)


def _dawson(m: Any, x: Any) -> Any:
    if abs(x) > 1e3:
        return (1 + 1 / (2 * x * x)) / (2 * x)
    return m.sqrt(m.pi) / 2 * m.exp(-x * x) * m.erfi(x)


def _faddeeva(m: Any, x: Any, y: Any) -> Any:
    z = m.mpc(x, y)
    return m.exp(-z * z) * m.erfc(-m.j * z)


def _owens_t(m: Any, h: Any, a: Any) -> Any:
    if m.isinf(h) or not a:
        return m.mpf(0)
    if m.isinf(a):
        return m.sign(a) * m.erfc(abs(h) / m.sqrt(2)) / 4
    end = min(abs(a), 40 / max(abs(h), m.mpf(10) ** -30))
    f = lambda x: m.exp(-h * h * x * x / 2) / (1 + x * x)  # noqa: E731
    parts = [k / max(abs(h), 1) for k in (0.5, 1, 2, 4, 8, 16)]
    places = [0, *(m.mpf(p) for p in parts if p < end), end]
    return m.sign(a) * m.exp(-h * h / 2) * m.quad(f, places) / (2 * m.pi)


def _poch(m: Any, z: Any, n: Any) -> Any:
    return m.rf(z, n)


SPECIAL: dict[str, Callable[..., Any]] = {
    "gammaln": lambda m, x: _pole(m, lambda v: m.re(m.loggamma(v)), x, m.inf),
    "gamma": lambda m, x: _pole(m, m.gamma, x, m.nan if x else m.inf),
    "digamma": lambda m, x: _pole(m, m.digamma, x, m.nan if x else -m.inf),
    "betaln": lambda m, a, b: m.loggamma(a) + m.loggamma(b) - m.loggamma(a + b) if a * b else m.inf,
    "beta": lambda m, a, b: m.beta(a, b) if a * b else m.inf,
    "erfinv": _erfinv,
    "erfcinv": inverse_erfc,
    "erfcx": _erfcx,
    "ndtr": lambda m, x: m.erfc(-x / m.sqrt(2)) / 2,
    "log_ndtr": _log_ndtr,
    "ndtri": lambda m, p: -m.sqrt(2) * inverse_erfc(m, 2 * p),
    "xlogy": lambda m, x, y: x * m.log(y) if x else x,
    "xlog1py": lambda m, x, y: x * m.log1p(y) if x else x,
    "logit": lambda m, p: m.log(p / (1 - p)) if p != 1 else m.inf,
    "sinc": lambda m, x: m.sincpi(x),
    **{
        f"{f}{n}": lambda m, x, f=f, n=n: getattr(m, f"bessel{f}")(n, x)
        for f in "ijky"
        for n in (0, 1)
    },
    **{f"i{n}e": lambda m, x, n=n: m.besseli(n, x) * m.exp(-abs(x)) for n in (0, 1)},
    **{f"k{n}e": lambda m, x, n=n: m.besselk(n, x) * m.exp(x) for n in (0, 1)},
    "poisson_weight": lambda m, a, x: x**a * m.exp(-x) / m.gamma(a + 1),
    "beta_weight": lambda m, a, b, x: x**a * (1 - x) ** b / m.beta(a, b) if a * b else m.mpf(0),
    "gammainc": _gammainc,
    "gammaincc": lambda m, a, x: 1 - _gammainc(m, a, x),
    "betainc": _betainc,
    "exp1": lambda m, x: m.e1(x) if x > 0 else m.nan if x else m.inf,
    "expi": lambda m, x: m.ei(x) if x else -m.inf,
    "sinint": lambda m, x: m.si(x),
    "cosint": lambda m, x: m.ci(abs(x)) if x else -m.inf,
    "fresnel_sin": lambda m, x: m.fresnels(x),
    "fresnel_cos": lambda m, x: m.fresnelc(x),
    "dawsn": _dawson,
    "faddeeva_real": lambda m, x, y: m.re(_faddeeva(m, x, y)),
    "faddeeva_imag": lambda m, x, y: m.im(_faddeeva(m, x, y)),
    "owens_t": _owens_t,
    "poch": _poch,
    "hyp1f1": lambda m, a, b, x: m.hyp1f1(a, b, x),
    "hyp2f1": lambda m, a, b, c, x: m.hyp2f1(a, b, c, x),
}


def polygamma(params: dict[str, Any], x: Any) -> Any:
    """Return the n-th derivative of digamma of each element."""
    return _each(lambda m, v: m.polygamma(params["n"], v), x)


def expn(params: dict[str, Any], x: Any) -> Any:
    """Return the exponential integral E_n of each element."""
    return _each(lambda m, v: m.expint(params["n"], v), x)


def jn(params: dict[str, Any], x: Any) -> Any:
    """Return the Bessel function of order n of each element."""
    return _each(lambda m, v: m.besselj(params["n"], v), x)


def _each(f: Callable[[Any, Any], Any], x: Any) -> Any:
    import mpmath

    with mpmath.workdps(40):
        values = [float(f(mpmath, float(v))) for v in np.ravel(x)]
    return np.asarray(values, np.float64).reshape(np.shape(x))
