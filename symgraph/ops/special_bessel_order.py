"""Bessel functions of the first kind of whole order: an algorithm on float64 values, and the op.

Upwards from J_0 and J_1 by the recurrence while the order is below |x|, where it is stable; else
the quotients J_k / J_(k-1) by their continued fraction from an order so high that it has converged.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph.core.errors import DTypeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node
from symgraph.core.op import function, o, register
from symgraph.ops.rows import as_float
from symgraph.ops.special_bessel import j
from symgraph.ops.special_order import OfOrder

HIGHEST = 60
MORE = (20.0, 11.0)  # quotients beyond order n: 20 + 11 n**(1/3)


def bessel_j(s: Any, n: int, x: Any) -> Any:
    """Return J_n(x), n >= 2."""
    a = s.abs(x)
    low = a <= float(n)
    j0, j1 = j(s, 0, a), j(s, 1, a)
    double = 2.0 / s.fmax(s.const(float(n), a.dtype), a)
    before, upper = j0, j1
    for k in range(1, n):
        before, upper = upper, s.fma(double * float(k), upper, -before)
    near = s.fmin(s.const(float(n), a.dtype), a)
    start = n + int(MORE[0] + MORE[1] * n ** (1 / 3))
    quotient, product = s.const(0.0, a.dtype), s.const(1.0, a.dtype)
    for k in range(start, 0, -1):
        quotient = near / s.fma(-near, quotient, 2.0 * k)
        if 2 <= k <= n:
            product = product * quotient
    # from the larger of J_0 and J_1: the other one may be near its zero
    first = s.select(s.abs(j0) >= s.abs(j1), j0 * quotient, j1)
    value = s.select(low, product * first, upper)
    value = s.copysign(s.const(1.0, a.dtype), x) * value if n % 2 else value
    return s.select(s.isnan(x), x, value)


@register
class BesselJ(OfOrder):
    name = "jn"
    doc = "Bessel function of the first kind of order n >= 2, known when the graph is made."
    ulp = {"float32": 1.0, "float64": 96.0}
    orders = (2, 3, 6, 2, 4)
    span = (1.5, 3.2)
    algorithm = staticmethod(bessel_j)

    @staticmethod
    def partials(o: Namespace, node: Node) -> tuple[Any, ...]:
        n, x = node.params.n, node.inputs[0]
        return ((_of_order(n - 1, x) - _of_order(n + 1, x)) * 0.5,)


def _order(name: str, n: Any) -> int:
    whole = isinstance(n, (int, np.integer)) and not isinstance(n, bool)
    if not whole or abs(n) > HIGHEST:
        raise DTypeError(
            f"{name} needs a whole order known in advance, {HIGHEST} at most, got {n!r}"
        )
    return int(n)


def _of_order(n: int, x: Node) -> Node:
    return BesselJ.instance(x, n=n) if n > 1 else o.j1(x) if n else o.j0(x)


@function
def jn(n: int, x: Any) -> Node:
    """Return the Bessel function J_n(x) of whole order n, known when the graph is made.

    Raises DTypeError for another `n`, and for one beyond 60: the code grows with it. The
    derivative is (J_(n-1) - J_(n+1)) / 2.

    >>> x = sg.scalar("x", dtype="float64")
    >>> round(float(sg.special.jn(2, x).eval({x: 1.0})), 12)
    0.114903484932
    """
    order = _order("jn", n)
    node = as_float(x)
    size = abs(order)
    value = _of_order(size, node)
    return -value if order < 0 and size % 2 else value


@function
def bessel_jn(z: Any, v: int) -> Node:
    """Return J_0(z), ..., J_v(z) along a new first axis, as jax.scipy.special does.

    >>> x = sg.scalar("x", dtype="float64")
    >>> sg.special.bessel_jn(x, v=3).eval({x: 0.0})
    array([1., 0., 0., 0.])
    """
    order: int = _order("bessel_jn", v)
    if order < 0:
        raise DTypeError(f"bessel_jn needs an order v >= 0, got {v!r}")
    return o.stack([o.jn(n, z) for n in range(order + 1)], 0)
