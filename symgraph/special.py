"""Special functions under one name: `sg.special.gammaln(x)` is `sg.gammaln(x)`."""

from __future__ import annotations

from symgraph import ops  # noqa: F401 - fills the namespace
from symgraph.core.op import o

# fmt: off
_NAMES = (
    "beta", "beta_weight", "betainc", "betaln", "digamma", "erf", "erfc", "erfcinv", "erfcx",
    "erfinv", "gamma", "gammainc", "gammaincc", "gammaln", "i0", "i0e", "i1", "i1e", "j0", "j1",
    "k0", "k0e", "k1", "k1e", "log_ndtr", "log_sigmoid", "logit", "logsumexp", "ndtr", "ndtri",
    "poisson_weight", "polygamma", "sigmoid", "sinc", "softplus", "trigamma", "xlog1py", "xlogy",
    "y0", "y1",
)
# fmt: on
globals().update({name: getattr(o, name) for name in _NAMES})
__all__ = sorted(_NAMES)  # noqa: PLE0605 - names that the registry knows
