"""Compute the polynomial coefficients of `symgraph/cpu/vecmath` and rewrite `coefficients.py`.

    python benchmarks/vecmath_coefficients.py            print the table of errors
    python benchmarks/vecmath_coefficients.py --write    also rewrite coefficients.py

Each polynomial is the weighted least-squares fit on Chebyshev nodes, in 60-digit arithmetic; this
is within a small factor of the minimax one. Coefficients are rounded to the target type one by
one from the constant term up, and the others are fitted again, so that rounding costs nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mpmath as mp
import numpy as np

mp.mp.dps = 60
Real = Callable[[mp.mpf], mp.mpf]
TARGET = Path(__file__).parents[1] / "symgraph" / "cpu" / "vecmath" / "coefficients.py"


@dataclass(frozen=True, slots=True)
class Fit:
    """Approximate `function` on [low, high]; `weight` turns the error into one of the result."""

    name: str
    function: Real
    weight: Real
    low: float
    high: float
    degrees: dict[str, int]


def round_to(value: mp.mpf, dtype: str) -> mp.mpf:
    """Round once to the target type (through float64 only where that cannot round twice)."""
    if dtype == "float64":
        return mp.mpf(float(value))
    with mp.workprec(24):
        return +value


def solve(fit: Fit, degree: int, dtype: str) -> tuple[list[mp.mpf], mp.mpf]:
    """Return the rounded coefficients, constant term first, and the largest weighted error."""
    count = 6 * (degree + 2)
    middle = (mp.mpf(fit.high) + fit.low) / 2
    half = (mp.mpf(fit.high) - fit.low) / 2
    nodes = [middle + half * mp.cos(mp.pi * (2 * k + 1) / (2 * count)) for k in range(count)]
    weights = [fit.weight(x) for x in nodes]
    values = [fit.function(x) for x in nodes]
    rows = [[w * x**j for j in range(degree + 1)] for x, w in zip(nodes, weights, strict=True)]
    goal = [w * v for w, v in zip(weights, values, strict=True)]
    done: list[mp.mpf] = []
    while len(done) <= degree:
        k = len(done)
        rest = [
            g - sum((c * r for c, r in zip(done, row, strict=False)), mp.mpf(0))
            for g, row in zip(goal, rows, strict=True)
        ]
        a = mp.matrix([row[k:] for row in rows])
        solution = mp.lu_solve(a.T * a, a.T * mp.matrix(rest))
        done.append(round_to(solution[0], dtype))
    error = max(
        abs(sum((c * r for c, r in zip(done, row, strict=True)), mp.mpf(0)) - g)
        for g, row in zip(goal, rows, strict=True)
    )
    return done, error


def safe(f: Real, at_zero: float | mp.mpf) -> Real:
    """Give a removable singularity its value."""
    return lambda x: mp.mpf(at_zero) if x == 0 else f(x)


def root(f: Callable[[mp.mpf, mp.mpf], mp.mpf]) -> Real:
    """Turn f(x, z) with z = x**2 into a function of z alone."""
    return lambda z: f(mp.sqrt(z), z)


def scaled_erfc(t: mp.mpf) -> mp.mpf:
    a = 3 * (1 + t) / (1 - t)
    return (1 + 2 * a) * mp.exp(a * a) * mp.erfc(a)


def scaled_erfc_narrow(t: mp.mpf) -> mp.mpf:
    a = 2 * (1 + t) / (1 - t)
    return (1 + a / 2) * mp.exp(a * a) * mp.erfc(a)


LN2 = mp.log(2)
S2 = mp.sqrt(2)
QUARTER = mp.mpf("0.80") ** 2
# fmt: off
FITS = [
    # exp(r) = 1 + r * u(r); two halves of the exponent leave |r| <= log 2.
    Fit("EXP", lambda r: mp.expm1(r) / r, lambda r: r / mp.exp(r), -0.694, 0.694,
        {"float32": 6, "float64": 12}),
    Fit("EXP_HALF", lambda r: mp.expm1(r) / r, lambda r: r / mp.exp(r), -0.347, 0.347,
        {"float32": 5, "float64": 10}),
    Fit("EXP2", lambda r: mp.expm1(r * LN2) / r, lambda r: r / mp.exp(r * LN2), -1.0001, 1.0001,
        {"float32": 6, "float64": 12}),
    # expm1(r) = r + r**2 * p(r)
    Fit("EXPM1", lambda r: (mp.expm1(r) - r) / r**2, lambda r: r**2 / mp.expm1(r), -0.347, 0.347,
        {"float32": 4, "float64": 10}),
    # log1p(f) = f - f**2/2 + f**3 * p(f)
    Fit("LOG", lambda f: (mp.log1p(f) - f + f * f / 2) / f**3, lambda f: f**3 / mp.log1p(f),
        S2 / 2 - 1, S2 - 1, {"float32": 7}),
    # log((1 + s) / (1 - s)) = 2 s + s * z * q(z), z = s**2
    Fit("LOG_RATIO", root(lambda s, z: (2 * mp.atanh(s) / s - 2) / z), lambda z: z,
        0, mp.mpf("0.02945"), {"float64": 6}),
    # tanh(x) = x + x * z * p(z), z = x**2
    Fit("TANH", root(lambda x, z: (mp.tanh(x) / x - 1) / z),
        root(lambda x, z: z * x / mp.tanh(x)), 0, mp.mpf("0.3026"),
        {"float32": 4, "float64": 9}),
    # sin(r) = r + r * z * p(z), cos(r) = 1 - z/2 + z**2 * p(z), z = r**2
    Fit("SIN", root(lambda r, z: (mp.sin(r) / r - 1) / z), root(lambda r, z: z * r / mp.sin(r)),
        0, QUARTER, {"float32": 2, "float64": 5}),
    Fit("COS", root(lambda r, z: (mp.cos(r) - 1 + z / 2) / z**2),
        root(lambda r, z: z**2 / mp.cos(r)), 0, QUARTER, {"float32": 2, "float64": 5}),
    Fit("TAN", root(lambda r, z: (mp.tan(r) / r - 1) / z), root(lambda r, z: z * r / mp.tan(r)),
        0, QUARTER, {"float32": 6, "float64": 14}),
    # asin(x) = x + x * z * p(z), atan and the inverse hyperbolic functions likewise
    Fit("ASIN", root(lambda x, z: (mp.asin(x) / x - 1) / z),
        root(lambda x, z: z * x / mp.asin(x)), 0, mp.mpf("0.2501"),
        {"float32": 5, "float64": 12}),
    Fit("ATAN", root(lambda x, z: (mp.atan(x) / x - 1) / z),
        root(lambda x, z: z * x / mp.atan(x)), 0, 1, {"float32": 8, "float64": 20}),
    Fit("SINH", root(lambda x, z: (mp.sinh(x) / x - 1) / z),
        root(lambda x, z: z * x / mp.sinh(x)), 0, 1, {"float32": 3, "float64": 7}),
    Fit("ASINH", root(lambda x, z: (mp.asinh(x) / x - 1) / z),
        root(lambda x, z: z * x / mp.asinh(x)), 0, mp.mpf("0.2501"),
        {"float32": 4, "float64": 11}),
    Fit("ATANH", root(lambda x, z: (mp.atanh(x) / x - 1) / z),
        root(lambda x, z: z * x / mp.atanh(x)), 0, mp.mpf("0.2501"),
        {"float32": 5, "float64": 13}),
    # A start for the cube root of [sqrt(1/2), sqrt(2)].
    Fit("CBRT", mp.cbrt, lambda x: 1 / mp.cbrt(x), S2 / 2, S2, {"float32": 4, "float64": 7}),
    # erf(x) = x + x * p(z)
    Fit("ERF", root(lambda x, z: mp.erf(x) / x - 1), root(lambda x, z: x / mp.erf(x)),
        0, 1, {"float32": 6, "float64": 12}),
    # erf(a) = 1 - exp(-p(a)) for 1 <= a
    Fit("ERF_TAIL", lambda a: -mp.log(mp.erfc(a)), lambda a: mp.erfc(a) / mp.erf(a),
        1, 4, {"float32": 6}),
    Fit("ERF_TAIL64", lambda a: -mp.log(mp.erfc(a)), lambda a: mp.erfc(a) / mp.erf(a),
        1, 6, {"float64": 17}),
    # (1 + 2 a) exp(a**2) erfc(a) in t = (a - 3) / (a + 3)
    Fit("ERFCX", scaled_erfc, lambda t: 1 / scaled_erfc(t), mp.mpf(-2.5) / 3.5,
        mp.mpf("24.3") / mp.mpf("30.3"), {"float64": 20}),
    # (1 + a / 2) exp(a**2) erfc(a) in t = (a - 2) / (a + 2)
    Fit("ERFCX_NARROW", scaled_erfc_narrow, lambda t: 1 / scaled_erfc_narrow(t), -1,
        mp.mpf("8.1") / mp.mpf("12.1"), {"float32": 9}),
    # 2**r = 1 + r * u(r), for pow, and with the accuracy of float32 in float64 lanes
    Fit("EXP2_HALF", lambda r: mp.expm1(r * LN2) / r, lambda r: r / mp.exp(r * LN2),
        -0.5001, 0.5001, {"float64": 10}),
    Fit("EXP2_NARROW", lambda r: mp.expm1(r * LN2) / r, lambda r: r / mp.exp(r * LN2),
        -0.5001, 0.5001, {"float64": 5}),
    # log2((1 + s) / (1 - s)) = s * p(z)
    Fit("LOG2_NARROW", root(lambda s, z: 2 * mp.atanh(s) / s / LN2), lambda z: mp.mpf(1),
        0, mp.mpf("0.02945"), {"float64": 4}),
    # log((1 + s) / (1 - s)) = 2 s + s z (2/3 + z p(z))
    Fit("LOG_RATIO_TAIL", root(lambda s, z: (2 * mp.atanh(s) / s - 2 - 2 * z / 3) / z**2),
        lambda z: mp.mpf(1), 0, mp.mpf("0.02945"), {"float64": 6}),
]
# fmt: on
HEADER = '''\
"""Polynomial coefficients, constant term first; written by benchmarks/vecmath_coefficients.py."""

from __future__ import annotations

from symgraph.core.dtype import FLOAT32, FLOAT64, DType

Table = dict[DType, tuple[float, ...]]

'''


def turn_pieces(bits: int, count: int) -> list[float]:
    """Cut 1 / (2 pi) after every `bits` bits; each piece is scaled to [0, 1)."""
    with mp.workprec(bits * count + 100):
        rest = 1 / (2 * mp.pi)
        pieces = []
        for _ in range(count):
            rest = mp.ldexp(rest, bits)
            whole = mp.floor(rest)
            pieces.append(float(mp.ldexp(whole, -bits)))
            rest -= whole
        return pieces


def literal(value: mp.mpf) -> str:
    return repr(float(value))


def main() -> None:
    write = "--write" in sys.argv
    names = [a for a in sys.argv[1:] if not a.startswith("-")]
    text = [HEADER]
    for fit in FITS:
        if names and fit.name not in names:
            continue
        text.append(f"{fit.name}: Table = {{\n")
        for dtype, degree in fit.degrees.items():
            coefficients, error = solve(fit, degree, dtype)
            unit = float(np.finfo(dtype).eps) / 2
            print(
                f"{fit.name:12} {dtype} degree {degree:2}  error {float(error) / unit:.3f} half ulp"
            )
            text.append(f"    {dtype.upper()}: (\n")
            text.extend(f"        {literal(c)},\n" for c in coefficients)
            text.append("    ),\n")
        text.append("}\n")
    text.append("# 1 / (2 pi) in pieces of 53 bits, the k-th one times 2**(53 k).\n")
    text.append("TURN_BITS: tuple[float, ...] = (\n")
    text.extend(f"    {piece!r},\n" for piece in turn_pieces(53, 23))
    text.append(")\n")
    if write:
        TARGET.write_text("".join(text))


if __name__ == "__main__":
    main()
