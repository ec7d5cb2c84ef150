"""Compute the polynomial coefficients of the special functions and write their tables.

    python benchmarks/special_coefficients.py            print the error of each fit
    python benchmarks/special_coefficients.py --write    also rewrite both tables in symgraph/ops

Each polynomial interpolates at Chebyshev points of [low, high] in 50-digit arithmetic, and is
written as powers of t = scale * (x - centre), which runs over [-1, 1] there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpmath as mp

mp.mp.dps = 50
OPS = Path(__file__).parents[1] / "symgraph" / "ops"
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


def asymptotic(term: Callable[[int], int], u: mp.mpf, count: int = 24) -> mp.mpf:
    """Return the sum of term(k) u**k: what a divergent series gives for small u."""
    return mp.fsum(term(k) * u**k for k in range(count))


EI_ROOT = mp.findroot(mp.ei, 0.3725074107813666)


def ei_rest(x: mp.mpf) -> mp.mpf:
    """Return (Ei(x) - log(x / root)) / (x - root)."""
    x = mp.mpf(10) ** -25 if x == 0 else x
    with mp.workdps(90):
        return (mp.ei(x) - mp.log(x / EI_ROOT)) / (x - EI_ROOT)


def exponential_large(f: Callable[[mp.mpf], mp.mpf], sign: int) -> Callable[[mp.mpf], mp.mpf]:
    """Return v -> x exp(-+x) times Ei or E1 at x = 1 / v."""

    def value(v: mp.mpf) -> mp.mpf:
        if v < mp.mpf(1) / 110:
            return asymptotic(lambda k: sign**k * mp.factorial(k), v, 60)
        return f(1 / v) * mp.exp(-sign / v) / v

    return value


def e1_rest(x: mp.mpf) -> mp.mpf:
    with mp.workdps(80):
        return mp.e1(x) + mp.log(x)


def dawson(x: mp.mpf) -> mp.mpf:
    with mp.workdps(60):
        return mp.sqrt(mp.pi) / 2 * mp.exp(-x * x) * mp.erfi(x)


def dawson_large(u: mp.mpf) -> mp.mpf:
    """Return 2 x dawson(x) at u = 1 / x**2."""
    if u < mp.mpf(1) / 900:
        return asymptotic(lambda k: mp.fac2(2 * k - 1), u / 2, 30)
    return 2 / mp.sqrt(u) * dawson(1 / mp.sqrt(u))


CI_ROOTS = [mp.findroot(mp.ci, x) for x in (0.6165054856207162, 3.3841804225511863)]


def ci_rest(x: mp.mpf) -> mp.mpf:
    """Return (Ci(x) - log(x / root)) / (x - root)."""
    x = mp.mpf(10) ** -25 if x == 0 else x
    with mp.workdps(90):
        return (mp.ci(x) - mp.log(x / CI_ROOTS[0])) / (x - CI_ROOTS[0])


def _turned(f: Callable[[mp.mpf], tuple[mp.mpf, mp.mpf, mp.mpf]], second: bool, x: mp.mpf) -> Any:
    """Return the part of (cosine integral, sine integral) along the angle or across it."""
    c, s, angle = f(x)
    cos, sin = mp.cos(angle), mp.sin(angle)
    return c * cos + s * sin if second else c * sin - s * cos


def trigonometric(second: bool) -> Callable[[mp.mpf], mp.mpf]:
    """Return u -> x f(x) or x**2 g(x) at x = u**-1/2: Ci = f sin - g cos."""

    def value(u: mp.mpf) -> mp.mpf:
        if u < mp.mpf(1) / 3000:
            return asymptotic(lambda k: (-1) ** k * mp.factorial(2 * k + second), u)
        x = 1 / mp.sqrt(u)
        with mp.workdps(60):
            part = _turned(lambda x: (mp.ci(x), mp.si(x) - mp.pi / 2, x), second, x)
            return -part * x * x if second else part * x

    return value


def fresnel_large(second: bool) -> Callable[[mp.mpf], mp.mpf]:
    """Return u -> pi x f(x) or pi**2 x**3 g(x) at x = u**-1/4: C = 1/2 + f sin - g cos."""

    def value(u: mp.mpf) -> mp.mpf:
        if u < mp.mpf(1) / 8000:
            return asymptotic(
                lambda k: (-1) ** k * mp.fac2(4 * k - 1 + 2 * second), u / mp.pi**2
            )
        x, half = u ** (-mp.mpf(1) / 4), mp.mpf(1) / 2
        with mp.workdps(60):
            part = _turned(
                lambda x: (mp.fresnelc(x) - half, mp.fresnels(x) - half, mp.pi * x * x / 2),
                second, x,
            )  # fmt: skip
            return -part * mp.pi**2 * x**3 if second else part * mp.pi * x

    return value


INTEGRALS = [
    Fit("EI", ei_rest, 0, 4, 22),
    Fit("EI_MIDDLE", exponential_large(mp.ei, 1), 1 / 12, 1 / 4, 28),
    Fit("EI_FAR", exponential_large(mp.ei, 1), 1 / 40, 1 / 12, 24),
    Fit("EI_LAST", exponential_large(mp.ei, 1), 0, 1 / 40, 16),
    Fit("E1", guarded(e1_rest), 0, 1, 14),
    Fit("E1_MIDDLE", exponential_large(mp.e1, -1), 1 / 4, 1, 23),
    Fit("E1_LARGE", exponential_large(mp.e1, -1), 0, 1 / 4, 24),
    Fit("DAWSON", guarded(lambda z: dawson(mp.sqrt(z)) / mp.sqrt(z)), 0, 4, 22),
    Fit("DAWSON_MIDDLE", lambda x: 2 * x * dawson(x), 2, 5, 28),
    Fit("DAWSON_LARGE", dawson_large, 0, 1 / 25, 18),
    Fit("SI", guarded(lambda z: mp.si(mp.sqrt(z)) / mp.sqrt(z)), 0, 16, 13),
    Fit("CI", ci_rest, 0, 2.5, 18),
    Fit("CI_MIDDLE", lambda x: mp.ci(x) / (x - CI_ROOTS[1]), 2.5, 4, 20),
    Fit("SICI_F_MIDDLE", trigonometric(False), 1 / 64, 1 / 16, 22),
    Fit("SICI_G_MIDDLE", trigonometric(True), 1 / 64, 1 / 16, 22),
    Fit("SICI_F_LARGE", trigonometric(False), 0, 1 / 64, 23),
    Fit("SICI_G_LARGE", trigonometric(True), 0, 1 / 64, 26),
    Fit("FRESNEL_S", guarded(lambda z: mp.fresnels(z**0.25) / z**0.75), 0, 2.4**4, 18),
    Fit("FRESNEL_C", guarded(lambda z: mp.fresnelc(z**0.25) / z**0.25), 0, 2.4**4, 18),
    Fit("FRESNEL_F", fresnel_large(False), 0, 2.4**-4, 21),
    Fit("FRESNEL_G", fresnel_large(True), 0, 2.4**-4, 24),
]  # fmt: skip


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


def table(fits: list[Fit]) -> list[str]:
    """Return the lines of a module of tables; prints the error of each fit."""
    lines = [HEADER]
    for fit in fits:
        values = [float(c) for c in interpolate(fit)]
        print(f"{fit.name:16} degree {fit.degree:2} error {mp.nstr(worst(fit, values), 3)}")
        centre, scale = (fit.low + fit.high) / 2, 2 / (fit.high - fit.low)
        lines += [f"{fit.name}: Fit = (", f"    {centre!r}, {scale!r},", "    ("]
        lines += [f"        {v!r}," for v in values]
        lines += ["    ),", ")  # fmt: skip"]
    return lines


def sources() -> dict[str, str]:
    """Return the text of each module of tables."""
    main, integrals = table(FITS), table(INTEGRALS)
    main.append(f"DIGAMMA_ROOT = {split(ROOT)!r}")
    for name, zeros in (("J0", J0_ZEROS), ("J1", J1_ZEROS)):
        main += [f"{name}_ZEROS_SQUARED = (", *(f"    {split(z**2)!r}," for z in zeros), ")"]
    integrals.append(f"EI_ROOT = {split(EI_ROOT)!r}")
    integrals += ["CI_ROOTS = (", *(f"    {split(z)!r}," for z in CI_ROOTS), ")"]
    found = {"special_tables.py": main, "special_tables_integrals.py": integrals}
    return {name: "\n".join(lines) + "\n" for name, lines in found.items()}


if __name__ == "__main__":
    for name, text in sources().items():
        if "--write" in sys.argv:
            (OPS / name).write_text(text)
