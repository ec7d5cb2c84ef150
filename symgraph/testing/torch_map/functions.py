"""Special functions: gamma and its kin, error functions, Bessel functions, polynomials."""

from __future__ import annotations

import math
from typing import Any

import symgraph as sg
from symgraph.testing.torch_map.entry import NONE_HERE, Convention, Entry, Row

sp: Any = sg.special


def mvlgamma(x: Any, p: int) -> Any:
    terms = [sp.gammaln(x - k / 2) for k in range(p)]
    return sum(terms) + p * (p - 1) / 4 * math.log(math.pi)


def entr(x: Any) -> Any:
    return sg.where(x < 0, -math.inf, -sp.xlogy(x, x))


TAIL = "torch's ndtr in float32 is 0 in the lower tail, here it is exact to rounding"


def _far(x: Any) -> bool:
    return bool(x.dtype != "float64" and x.size and (x < -5).all())


ZETA = "torch has no derivative of zeta by x"
INEXACT = "torch's own error is 2e-7 (by mpmath)"
BESSEL = {"j0": sp.j0, "j1": sp.j1, "y0": sp.y0, "y1": sp.y1}
POLYNOMIALS = (
    "chebyshev_polynomial_t", "chebyshev_polynomial_u", "chebyshev_polynomial_v",
    "chebyshev_polynomial_w", "hermite_polynomial_h", "hermite_polynomial_he",
    "laguerre_polynomial_l", "legendre_polynomial_p", "shifted_chebyshev_polynomial_t",
    "shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v",
    "shifted_chebyshev_polynomial_w",
)  # fmt: skip

SPECIAL: dict[str, Row] = {
    "lgamma": sp.gammaln,
    "digamma": sp.digamma,
    **{f"polygamma:polygamma_n_{n}": lambda x, n: sp.polygamma(n, x) for n in range(5)},
    "special.polygamma:special_polygamma_n_0": lambda x, n: sp.polygamma(n, x),
    **{f"mvlgamma:mvlgamma_p_{p}": mvlgamma for p in (1, 3, 5)},
    "igamma": sp.gammainc,
    "igammac": sp.gammaincc,
    "erf": sp.erf,
    "erfc": sp.erfc,
    "erfinv": sp.erfinv,
    "special.erfcx": sp.erfcx,
    "special.ndtr": Entry(sp.ndtr, conventions=(Convention(TAIL, 0, _far),)),
    "special.ndtri": sp.ndtri,
    "special.log_ndtr": sp.log_ndtr,
    "special.entr": entr,
    "xlogy": sp.xlogy,
    "special.xlog1py": sp.xlog1py,
    "i0": sp.i0,
    "special.i0e": sp.i0e,
    "special.i1": sp.i1,
    "special.i1e": sp.i1e,
    "special.modified_bessel_i0": sp.i0,
    "special.modified_bessel_i1": sp.i1,
    "special.modified_bessel_k0": sp.k0,
    "special.modified_bessel_k1": sp.k1,
    "special.scaled_modified_bessel_k0": sp.k0e,
    "special.scaled_modified_bessel_k1": sp.k1e,
    **{f"special.bessel_{name}": Entry(f, loose=1e5, why=INEXACT) for name, f in BESSEL.items()},
    "special.spherical_bessel_j0": lambda x: sg.sinc(x / math.pi),
    "special.zeta": Entry(sp.zeta, conventions=(Convention(ZETA, 1),)),
    "special.airy_ai": NONE_HERE,
    **{f"special.{name}": NONE_HERE for name in POLYNOMIALS},
}
