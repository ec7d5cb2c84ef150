"""Compute the polynomial coefficients of the special functions and write `special_tables.py`.

    python benchmarks/special_coefficients.py            print the error of each fit
    python benchmarks/special_coefficients.py --write    also rewrite symgraph/ops/special_tables.py

Each polynomial interpolates at Chebyshev points of [low, high] in 50-digit arithmetic, and is
written as powers of t = scale * (x - centre), which runs over [-1, 1] there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mpmath as mp

mp.mp.dps = 50
TARGET = Path(__file__).parents[1] / "symgraph" / "ops" / "special_tables.py"
HEADER = '''"""Polynomials of the special functions; written by benchmarks/special_coefficients.py.

Each entry is (centre, scale, coefficients) of a polynomial in t = scale * (x - centre), constant
term first, where |t| <= 1 on the interval of the fit.
"""

from __future__ import annotations

Fit = tuple[float, float, tuple[float, ...]]
'''


@dataclass(frozen=True, slots=True)
class Fit:
    """Approximate `function` on [low, high] by a polynomial of `degree`."""

    name: str
    function: Callable[[mp.mpf], mp.mpf]
    low: float
    high: float
    degree: int


def interpolate(fit: Fit) -> list[mp.mpf]:
    """Return power coefficients in t of the interpolant at Chebyshev points."""
    n = fit.degree + 1
    middle, half = mp.mpf(fit.high + fit.low) / 2, mp.mpf(fit.high - fit.low) / 2
    angles = [mp.pi * (k + mp.mpf(1) / 2) / n for k in range(n)]
    values = [fit.function(middle + half * mp.cos(a)) for a in angles]
    series = [
        2 * mp.fsum(v * mp.cos(j * a) for v, a in zip(values, angles, strict=True)) / n
        for j in range(n)
    ]
    series[0] /= 2
    # T_j in powers of t, by the recurrence T_{j+1} = 2 t T_j - T_{j-1}
    before, now = [mp.mpf(1)], [mp.mpf(0), mp.mpf(1)]
    total = [mp.mpf(0)] * (n + 1)
    total[0] += series[0]
    for c in series[1:]:
        for k, v in enumerate(now):
            total[k] += c * v
        after = [mp.mpf(0)] + [2 * v for v in now]
        for k, v in enumerate(before):
            after[k] -= v
        before, now = now, after
    return total[:n]


def worst(fit: Fit, coefficients: list[float]) -> mp.mpf:
    """Return the largest relative error of the rounded polynomial between the points."""
    middle, half = mp.mpf(fit.high + fit.low) / 2, mp.mpf(fit.high - fit.low) / 2
    error = mp.mpf(0)
    for k in range(101):
        t = mp.cos(mp.pi * k / mp.mpf("100.3"))
        exact = fit.function(middle + half * t)
        value = mp.polyval([mp.mpf(c) for c in reversed(coefficients)], t)
        error = max(error, abs(value / exact - 1) if exact else mp.mpf(0))
    return error


def log_gamma(x: mp.mpf) -> mp.mpf:
    return mp.loggamma(x)


def stirling_rest(x: mp.mpf) -> mp.mpf:
    """Return log Gamma(x) minus the closed part of Stirling's formula."""
    with mp.workdps(80):
        return log_gamma(x) - ((x - 0.5) * mp.log(x) - x + mp.log(2 * mp.pi) / 2)


def guarded(function: Callable[[mp.mpf], mp.mpf]) -> Callable[[mp.mpf], mp.mpf]:
    """Move an argument at a removable singularity a little aside."""
    tiny = mp.mpf(10) ** -20
    return lambda x: function(x if abs(x) > tiny else tiny)


def digamma_rest(u: mp.mpf) -> mp.mpf:
    x = 1 / mp.sqrt(u)
    with mp.workdps(90):
        return (mp.log(x) - 1 / (2 * x) - mp.digamma(x)) / u


def inverse_erfc(y: mp.mpf) -> mp.mpf:
    """Return z with erfc(z) = y, for tails down to 1e-330."""
    w = -mp.log(y * (2 - y))
    z = mp.sqrt(max(w - mp.log(mp.sqrt(mp.pi * max(w, 1))), mp.mpf("0.01")))
    for _ in range(60):
        step = (mp.erfc(z) - y) / (-2 / mp.sqrt(mp.pi) * mp.exp(-z * z))
        step /= 1 + z * step  # Halley
        z -= step
        if abs(step) < mp.mpf(10) ** -42 * abs(z):
            break
    return z


def by_w(w: mp.mpf) -> tuple[mp.mpf, mp.mpf]:
    """Return (x, erfinv(x)) with w = -log(1 - x**2)."""
    y = -mp.expm1(-w)  # x squared
    x = mp.sqrt(y)
    return x, inverse_erfc(mp.exp(-w) / (1 + x))


ROOT = mp.findroot(mp.digamma, 1.4616321449683623)
J0_ZEROS = [mp.besseljzero(0, k) for k in (1, 2)]
J1_ZEROS = [mp.besseljzero(1, k) for k in (1, 2)]


def _ratio(function: Callable[[mp.mpf], mp.mpf], zeros: list[mp.mpf], odd: bool) -> Callable:
    """Return z -> f(sqrt z) without its zeros (and without the factor x of an odd function)."""

    def quotient(z: mp.mpf) -> mp.mpf:
        x = mp.sqrt(z)
        value = function(x) / (x if odd else 1)
        for zero in zeros:
            value /= z - zero**2
        return value

    return guarded(quotient)


def hankel(order: int, second: bool) -> Callable[[mp.mpf], mp.mpf]:
    """Return u -> P or Q x / 8 of Hankel's formula, with u = (8 / x)**2."""

    def part(u: mp.mpf) -> mp.mpf:
        x = 8 / mp.sqrt(u)
        with mp.workdps(70):
            angle = x - (2 * order + 1) * mp.pi / 4
            j, y, scale = mp.besselj(order, x), mp.bessely(order, x), mp.sqrt(mp.pi * x / 2)
            if second:
                return (y * mp.cos(angle) - j * mp.sin(angle)) * scale * x / 8
            return (j * mp.cos(angle) + y * mp.sin(angle)) * scale

    return lambda u: part(max(u, mp.mpf(10) ** -12))


def y0_rest(z: mp.mpf) -> mp.mpf:
    x = mp.sqrt(z)
    return mp.bessely(0, x) - 2 / mp.pi * mp.log(x) * mp.besselj(0, x)


def y1_rest(z: mp.mpf) -> mp.mpf:
    x = mp.sqrt(z)
    return (mp.bessely(1, x) - 2 / mp.pi * (mp.log(x) * mp.besselj(1, x) - 1 / x)) / x


def k0_rest(z: mp.mpf) -> mp.mpf:
    x = mp.sqrt(z)
    return mp.besselk(0, x) + mp.log(x / 2) * mp.besseli(0, x)


def k1_rest(z: mp.mpf) -> mp.mpf:
    x = mp.sqrt(z)
    return x * (mp.besselk(1, x) - mp.log(x / 2) * mp.besseli(1, x))


def scaled_large(kind: str, order: int) -> Callable[[mp.mpf], mp.mpf]:
    """Return v -> sqrt(x) * exp(-+x) * I or K at x = 1 / v."""
    f, sign = (mp.besseli, -1) if kind == "i" else (mp.besselk, 1)

    def value(v: mp.mpf) -> mp.mpf:
        x = 1 / max(v, mp.mpf(10) ** -6)
        return f(order, x) * mp.exp(sign * x) * mp.sqrt(x)

    return value


def erfcx_quotient(t: mp.mpf) -> mp.mpf:
    """Return erfcx(a) (1 + 2 a) at t = (a - 3) / (a + 3)."""
    a = 3 * (1 + t) / (1 - t)
    return mp.exp(a * a) * mp.erfc(a) * (1 + 2 * a)


def erfcx_large(u: mp.mpf) -> mp.mpf:
    """Return a erfcx(a) at u = 1 / a**2."""
    square = 1 / max(u, mp.mpf(10) ** -12)
    return mp.sqrt(square / mp.pi) * mp.hyperu(0.5, 0.5, square)


FITS = [
    Fit("LOG_GAMMA", guarded(lambda t: log_gamma(2 + t) / t), -0.5, 0.5, 20),
    Fit("GAMMA", lambda t: mp.gamma(2 + t), -0.5, 0.5, 20),
    Fit("STIRLING", guarded(lambda u: stirling_rest(1 / mp.sqrt(u)) / mp.sqrt(u)), 0, 1 / 64, 9),
    Fit("STIRLING_EXP", guarded(lambda v: mp.exp(stirling_rest(1 / v))), 0, 1 / 8, 12),
    Fit("DIGAMMA", lambda x: mp.digamma(x) / (x - ROOT), 1, 2, 23),
    Fit("DIGAMMA_LARGE", guarded(digamma_rest), 0, 1 / 64, 9),
    Fit("ERFINV", guarded(lambda w: by_w(w)[1] / by_w(w)[0]), 0, 6.25, 25),
    Fit("ERFINV_MIDDLE", lambda v: by_w(v * v)[1], 2.5, 4, 22),
    Fit("ERFINV_FAR", lambda v: by_w(v * v)[1], 4, 9, 24),
    Fit("ERFINV_LAST", lambda v: v * by_w(1 / (v * v))[1], 1 / 27.5, 1 / 9, 18),
    Fit("ERFCX", erfcx_quotient, -5 / 7, 0.6, 24),
    Fit("ERFCX_LARGE", erfcx_large, 0, 1 / 144, 8),
    Fit("I0_LARGE", scaled_large("i", 0), 0, 1 / 8, 24),
    Fit("I1_LARGE", scaled_large("i", 1), 0, 1 / 8, 24),
    Fit("K0", guarded(k0_rest), 0, 4, 12),
    Fit("K1", guarded(k1_rest), 0, 4, 12),
    Fit("K0_LARGE", scaled_large("k", 0), 0, 1 / 2, 26),
    Fit("K1_LARGE", scaled_large("k", 1), 0, 1 / 2, 26),
    Fit("J0", _ratio(lambda x: mp.besselj(0, x), J0_ZEROS, False), 0, 64, 20),
    Fit("J1", _ratio(lambda x: mp.besselj(1, x), J1_ZEROS, True), 0, 64, 20),
    Fit("Y0", guarded(y0_rest), 0, 64, 22),
    Fit("Y1", guarded(y1_rest), 0, 64, 22),
    Fit("P0", hankel(0, False), 0, 1, 16),
    Fit("Q0", hankel(0, True), 0, 1, 16),
    Fit("P1", hankel(1, False), 0, 1, 16),
    Fit("Q1", hankel(1, True), 0, 1, 16),
]  # fmt: skip


def split(x: mp.mpf) -> tuple[float, float]:
    """Return x as the sum of two floats."""
    return float(x), float(x - mp.mpf(float(x)))


def source() -> str:
    """Return the text of the module of tables; prints the error of each fit."""
    lines = [HEADER]
    for fit in FITS:
        values = [float(c) for c in interpolate(fit)]
        print(f"{fit.name:16} degree {fit.degree:2} error {mp.nstr(worst(fit, values), 3)}")
        centre, scale = (fit.low + fit.high) / 2, 2 / (fit.high - fit.low)
        lines += [f"{fit.name}: Fit = (", f"    {centre!r}, {scale!r},", "    ("]
        lines += [f"        {v!r}," for v in values]
        lines += ["    ),", ")  # fmt: skip"]
    lines.append(f"DIGAMMA_ROOT = {split(ROOT)!r}")
    for name, zeros in (("J0", J0_ZEROS), ("J1", J1_ZEROS)):
        lines += [f"{name}_ZEROS_SQUARED = (", *(f"    {split(z**2)!r}," for z in zeros), ")"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    text = source()
    if "--write" in sys.argv:
        TARGET.write_text(text)
