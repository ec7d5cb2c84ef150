"""Compute the pieces of `symgraph/cpu/vecmath/piecewise.py` and rewrite `pieces.py` beside it.

    python benchmarks/vecmath_pieces.py            print the error of each piece
    python benchmarks/vecmath_pieces.py --write    also rewrite pieces.py

Piece k is value[k] + t (c0[k] + ... + c4[k] t**4) with t = x - centre[k], and 0 for its centre and
value around 0. Centres are moved by a few float32 until the value there is one too, but for a
hundredth of an ulp: the rounding of the value would be the largest error otherwise.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import mpmath as mp
import numpy as np
from vecmath_coefficients import round_to

TARGET = Path(__file__).parents[1] / "symgraph" / "cpu" / "vecmath" / "pieces.py"
DEGREE, TAIL_DEGREE = 5, 4
ERF_ONE, TANH_ONE = 3.93, 9.1  # from here on they round to 1
ERF_SCALE = 3.9375  # pieces for an argument of 1: the sixteen reach a little further than ERF_ONE
ERF_NEAR = 3  # pieces of erf(x) - x, which leave the sum of both the only large error
TANH_FIRST = 0.125  # below, one odd piece
ERFC_ZERO = 10.1
PIECE_BITS, TAIL_BITS = 21, 20
REACH = 300  # float32 numbers to each side that are tried as a centre
Real = Callable[[mp.mpf], mp.mpf]


@dataclass(frozen=True, slots=True)
class Piece:
    centre: float
    coefficients: list[float]  # the value first
    error: float  # in 2**-24 of the function


def bits_of(x: float) -> int:
    return int(np.float32(x).view(np.int32))


def float_of(bits: int) -> mp.mpf:
    return mp.mpf(float(np.int32(bits).view(np.float32)))


def centre_near(function: Real, place: mp.mpf) -> tuple[mp.mpf, mp.mpf]:
    """Return a float32 near `place` where the function is closest to a float32, and this value."""
    first = bits_of(float(place))

    def distance(x: mp.mpf) -> mp.mpf:
        return abs(function(x) / round_to(function(x), "float32") - 1)

    best = min((float_of(first + k) for k in range(-REACH, REACH + 1)), key=distance)
    return best, round_to(function(best), "float32")


def fitted(function: Real, low: mp.mpf, high: mp.mpf, base: Real) -> Piece:
    """Fit `function` - `base` on [low, high], an odd piece from 0 on."""

    def goal(x: mp.mpf) -> mp.mpf:
        return function(x) - base(x)

    if low == 0:
        return fit_around(goal, function, (mp.mpf(0), mp.mpf(0)), (low, high), range(1, 6, 2))
    centre = centre_near(goal, (low + high) / 2)
    return fit_around(goal, function, centre, (low, high), range(1, DEGREE + 1))


def fit_around(
    goal: Real,
    scale: Real,
    centre: tuple[mp.mpf, mp.mpf],
    ends: tuple[mp.mpf, mp.mpf],
    powers: Sequence[int],
) -> Piece:
    """Fit `goal` by powers of x - centre, its value there given; errors are divided by `scale`.

    Coefficients are rounded one by one, and the later ones are fitted again.
    """
    middle, half = (ends[0] + ends[1]) / 2, (ends[1] - ends[0]) / 2
    count = 8 * (DEGREE + 2)
    nodes = [middle + half * mp.cos(mp.pi * (2 * k + 1) / (2 * count)) for k in range(count)]
    done: dict[int, mp.mpf] = {}

    def rest(x: mp.mpf) -> mp.mpf:
        terms = (c * (x - centre[0]) ** p for p, c in done.items())
        return goal(x) - centre[1] - sum(terms, mp.mpf(0))

    for power in powers:
        left = [p for p in powers if p >= power]
        a = mp.matrix([[(x - centre[0]) ** p / scale(x) for p in left] for x in nodes])
        b = mp.matrix([rest(x) / scale(x) for x in nodes])
        done[power] = round_to(mp.lu_solve(a.T * a, a.T * b)[0], "float32")
    error = max(abs(rest(x) / scale(x)) for x in nodes)
    coefficients = [float(centre[1]), *(float(done.get(p, 0)) for p in range(1, max(powers) + 1))]
    return Piece(float(centre[0]), coefficients, float(error * 2**24))


def itself(x: mp.mpf) -> mp.mpf:
    return x


def nothing(x: mp.mpf) -> mp.mpf:
    return mp.mpf(0)


def erf_pieces() -> list[Piece]:
    """Piece k is around k / ERF_SCALE."""
    ends = [(k + mp.mpf(1) / 2) / ERF_SCALE for k in range(16)]
    ends = [mp.mpf(0), *ends[:-1], mp.mpf(ERF_ONE)]
    return [
        fitted(mp.erf, low, high, itself if k < ERF_NEAR else nothing)
        for k, (low, high) in enumerate(pairwise(ends))
    ]


def tanh_pieces() -> list[Piece]:
    """A piece is found by the bits of x above `PIECE_BITS`, of them the last five."""
    first = bits_of(TANH_FIRST) >> PIECE_BITS
    pieces = [Piece(0.0, [0.0] * (DEGREE + 1), 0.0)] * 32
    pieces[(first - 1) % 32] = fitted(mp.tanh, mp.mpf(0), mp.mpf(TANH_FIRST), nothing)
    for k in range(first, (bits_of(TANH_ONE) >> PIECE_BITS) + 1):
        low, high = (float_of(b << PIECE_BITS) for b in (k, k + 1))
        pieces[k % 32] = fitted(mp.tanh, low, min(high, mp.mpf(TANH_ONE)), nothing)
    return pieces


def scaled_erfc(a: mp.mpf) -> mp.mpf:
    return mp.exp(a * a) * mp.erfc(a)


def tail_pieces() -> list[Piece]:
    """Pieces of exp(a**2) erfc(a), found by the bits of a + 1: eight for each power of two."""
    first, last = (bits_of(x + 1) >> TAIL_BITS for x in (0.0, ERFC_ZERO))
    pieces = [Piece(0.0, [0.0] * (TAIL_DEGREE + 1), 0.0)] * 32
    powers = range(1, TAIL_DEGREE + 1)
    for k in range(first, last + 1):
        low, high = (float_of(b << TAIL_BITS) - 1 for b in (k, k + 1))
        centre = centre_near(scaled_erfc, (low + high) / 2)
        pieces[k % 32] = fit_around(scaled_erfc, scaled_erfc, centre, (low, high), powers)
    return pieces


def powers() -> list[float]:
    """Return 2**(k / 16) / (1 + k / 16), by which a power of two with k behind it is set right."""
    exact = (mp.mpf(2) ** (mp.mpf(k) / 16) / (1 + mp.mpf(k) / 16) for k in range(16))
    return [float(round_to(p, "float32")) for p in exact]


def tables(name: str, pieces: list[Piece]) -> str:
    """Return the source of one tuple for the centres and each power."""
    columns: list[Sequence[float]] = [[p.centre for p in pieces]]
    columns += zip(*(p.coefficients for p in pieces), strict=True)
    lines = [f"{name}: tuple[tuple[float, ...], ...] = (\n"]
    for column in columns:
        lines += ["    (\n", *(f"        {x!r},\n" for x in column), "    ),\n"]
    return "".join([*lines, ")\n"])


def main() -> None:
    made = {"ERF": erf_pieces(), "TANH": tanh_pieces(), "ERFC_TAIL": tail_pieces()}
    for name, pieces in made.items():
        for k, p in enumerate(pieces):
            print(f"{name:5} {k:2}  centre {p.centre:.6f}  error {p.error:.3f} half ulp")
    if "--write" not in sys.argv:
        return
    near = bits_of((ERF_NEAR - 0.5) / ERF_SCALE)
    near -= float_of(near) * ERF_SCALE > ERF_NEAR - 0.5
    limits = [((bits_of(TANH_FIRST) >> PIECE_BITS) - 1) << PIECE_BITS, bits_of(TANH_ONE)]
    TARGET.write_text(
        '"""Pieces of float32 functions: centres, values, coefficients of t, t**2 ... of each;\n'
        'written by benchmarks/vecmath_pieces.py."""\n\nfrom __future__ import annotations\n\n'
        f"ERF_ONE, TANH_ONE = {ERF_ONE}, {TANH_ONE}  # from here on they round to 1\n"
        f"ERF_SCALE = {ERF_SCALE}  # pieces for an argument of 1\n"
        f"ERF_NEAR = {float(float_of(near))}  # the last argument of the pieces of erf(x) - x\n"
        f"TANH_BITS = {tuple(limits)}  # of the first and the last argument that has a piece\n"
        f"ERFC_ZERO = {ERFC_ZERO}  # from here on it rounds to 0\n"
        "# 2**(k / 16) / (1 + k / 16): sets a power of two right that has k behind it.\n"
        + "".join(["POWERS: tuple[float, ...] = (\n", *(f"    {p!r},\n" for p in powers()), ")\n"])
        + "".join(tables(name, pieces) for name, pieces in made.items())
    )


if __name__ == "__main__":
    main()
