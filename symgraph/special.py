"""Special functions under one name: `sg.special.gammaln(x)` is `sg.gammaln(x)`."""

from __future__ import annotations

from symgraph import ops  # noqa: F401 - fills the namespace
from symgraph.core.op import o

# fmt: off
_NAMES = (
    "bessel_jn", "beta", "beta_weight", "betainc", "betaln", "boxcox", "boxcox1p", "comb",
    "dawsn", "digamma", "entr", "erf", "erfc", "erfcinv", "erfcx", "erfinv", "exp1", "expi",
    "expit", "expn", "factorial", "fresnel", "gamma", "gammainc", "gammaincc", "gammaln",
    "gammasgn", "hyp1f1", "hyp2f1", "i0", "i0e", "i1", "i1e", "j0", "j1", "jn", "k0", "k0e",
    "k1", "k1e", "kl_div", "log_ndtr", "log_sigmoid", "logit", "logsumexp", "multigammaln",
    "ndtr", "ndtri", "owens_t", "poch", "poisson_weight", "polygamma", "rel_entr", "sici",
    "sigmoid", "sinc", "softplus", "spence", "trigamma", "voigt_profile", "wofz", "xlog1py",
    "xlogy", "y0", "y1", "zeta",
)
# fmt: on
globals().update({name: getattr(o, name) for name in _NAMES})
__all__ = sorted(_NAMES)  # noqa: PLE0605 - names that the registry knows
