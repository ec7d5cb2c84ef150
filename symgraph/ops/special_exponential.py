"""Exponential integrals Ei, E1 and E_n: algorithms on float64 values, and their ops.

Ei and E1 are polynomials: near the origin with the logarithm apart (and the zero of Ei divided
out, as Cody and Thacher 1969 do), beyond it in 1 / x behind exp(x) / x. E_n of larger x, and of
n >= 20, is Legendre's continued fraction, with as many terms as the order needs; of others the
recurrence from E1, which is stable upwards there.
"""

from __future__ import annotations

from math import inf as INF
from math import nan as NAN
from typing import Any

import numpy as np

from symgraph.core.errors import DTypeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node
from symgraph.core.op import function, o, register
from symgraph.ops import special_tables_integrals as table
from symgraph.ops.array_builder import beside_root, fitted, rules
from symgraph.ops.base import elementwise, to_float
from symgraph.ops.rows import as_float
from symgraph.ops.special_order import OfOrder

RECURRED = 20  # orders from here on are never computed from E1
UPWARDS = 2.0  # up to this x the lower ones are
TERMS = 58  # of the continued fraction at UPWARDS and beyond, for the lower orders


def _e1(s: Any, x: Any) -> Any:
    """Return E1(x) of x > 0."""
    one = s.const(1.0, x.dtype)
    near = s.fmin(one, x)
    small = fitted(s, near, table.E1) - s.log(near)
    far = s.fmin(s.const(800.0, x.dtype), s.fmax(one, x))
    v = 1.0 / far
    rest = s.select(far < 4.0, fitted(s, v, table.E1_MIDDLE), fitted(s, v, table.E1_LARGE))
    return s.select(x <= 1.0, small, s.exp(-far) * v * rest)


def e1(s: Any, x: Any) -> Any:
    """Return E1(x): inf at 0, NaN below."""
    value = s.select(s.eq(x, 0.0), s.const(INF, x.dtype), s.select(x < 0.0, NAN, _e1(s, x)))
    return s.select(s.isnan(x), x, value)


def ei(s: Any, x: Any) -> Any:
    """Return Ei(x): -inf at 0, -E1(-x) below."""
    near = s.fmin(s.const(4.0, x.dtype), s.fmax(s.const(0.0, x.dtype), x))
    small = beside_root(s, near, table.EI_ROOT, table.EI)
    far = s.fmin(s.const(800.0, x.dtype), s.fmax(s.const(4.0, x.dtype), x))
    v = 1.0 / far
    last = s.select(far < 40.0, fitted(s, v, table.EI_FAR), fitted(s, v, table.EI_LAST))
    half = s.exp(far * 0.5)  # the exponential overflows before the result does
    large = half * (s.select(far < 12.0, fitted(s, v, table.EI_MIDDLE), last) * v) * half
    value = s.select(x < 4.0, small, large)
    value = s.select(x < 0.0, -_e1(s, s.abs(x)), value)
    value = s.select(s.eq(x, 0.0), s.const(-INF, x.dtype), value)
    return s.select(s.isnan(x), x, value)


def _fraction(s: Any, n: int, x: Any, terms: int) -> Any:
    """Return exp(x) E_n(x) by 1 / (x + n - n / (x + n + 2 - 2 (n + 1) / (x + n + 4 - ...)))."""
    rest = s.const(0.0, x.dtype)
    for k in range(terms, 0, -1):
        rest = float(k * (n - 1 + k)) / (x + float(n + 2 * k) - rest)
    return 1.0 / (x + float(n) - rest)


def en(s: Any, n: int, x: Any) -> Any:
    """Return E_n(x), n >= 2: 1 / (n - 1) at 0, NaN below."""
    far = s.fmin(s.const(800.0, x.dtype), x)
    if n >= RECURRED:
        value = s.exp(-far) * _fraction(s, n, far, 10 + 700 // n)
    else:
        near = s.fmin(s.const(UPWARDS, x.dtype), s.fmax(s.const(1e-300, x.dtype), x))
        decay, small = s.exp(-near), _e1(s, near)
        for k in range(1, n):
            small = (decay - near * small) * (1.0 / k)
        far = s.fmax(s.const(UPWARDS, x.dtype), far)
        large = s.exp(-far) * _fraction(s, n, far, TERMS - max(0, n - 8))
        value = s.select(x < UPWARDS, small, large)
    value = s.select(s.eq(x, 0.0), 1.0 / (n - 1), s.select(x < 0.0, NAN, value))
    return s.select(s.isnan(x), x, value)


elementwise(
    "exp1", doc="Exponential integral E1(x) of x > 0; inf at 0, NaN below.", types=to_float,
    **rules(e1), partials=lambda o, n: (-o.exp(-n.inputs[0]) / n.inputs[0],),
    domain=((0.2, 6.0),), ulp={"float32": 1.0, "float64": 4.0},
)  # fmt: skip
elementwise(
    "expi", doc="Exponential integral Ei(x), the principal value; -inf at 0.", types=to_float,
    **rules(ei), partials=lambda o, n: (o.exp(n.inputs[0]) / n.inputs[0],),
    domain=((0.6, 6.0),), ulp={"float32": 1.0, "float64": 6.0},
)  # fmt: skip


@register
class Expn(OfOrder):
    name = "expn"
    doc = "Exponential integral E_n(x) of x >= 0, n >= 2 an integer known when the graph is made."
    ulp = {"float32": 1.0, "float64": 12.0}
    orders = (2, 3, 25, 2, 4)
    span = (0.3, 5.0)
    algorithm = staticmethod(en)

    @staticmethod
    def partials(o: Namespace, node: Node) -> tuple[Any, ...]:
        return (-o.expn(node.params.n - 1, node.inputs[0]),)


@function
def expn(n: int, x: Any) -> Node:
    """Return E_n(x), the integral of exp(-x t) / t**n over t from 1 to inf, for x >= 0.

    n is a whole number >= 0 known when the graph is made; the derivative by x is -E_(n-1)(x). NaN
    for negative x; 1 / (n - 1) at 0, inf for n < 2. Raises DTypeError for another `n`.

    >>> x = sg.scalar("x", dtype="float64")
    >>> round(float(sg.special.expn(3, x).eval({x: 0.0})), 12)
    0.5
    """
    if not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n < 0:
        raise DTypeError(f"expn needs a whole number n >= 0 known in advance, got {n!r}")
    node = as_float(x)
    if n == 0:
        bad = o.lt(node, 0.0)
        return o.where(bad, NAN, o.exp(-node) / o.abs(node))
    return Expn.instance(node, n=int(n)) if n > 1 else o.exp1(node)
