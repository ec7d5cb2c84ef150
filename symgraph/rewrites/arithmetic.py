"""Neutral elements, signs, powers, constants that meet: one form for simple arithmetic.

Additions of zero keep the sign of zero: x + (-0.0) is x for every x, x + 0.0 is not (-0.0 + 0.0 is
0.0), so the second needs a proof that x is never -0.0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph.core.node import Node
from symgraph.core.pattern import Const, Var, const_array, p, rule, ulp
from symgraph.rewrites.constants import FOLDED_BYTES
from symgraph.rewrites.facts import never_minus_zero, non_negative, whole


# -- neutral elements -----------------------------------------------------------------------------
@rule(phase="canonical", numeric="exact")
def add_minus_zero(x: Var) -> Any:
    """x + (-0.0) -> x."""
    return x + -0.0, x


@rule(phase="canonical", numeric="exact", where=whole)
def add_integer_zero(x: Var) -> Any:
    """x + 0 -> x for integers."""
    return x + 0, x


@rule(phase="canonical", numeric="algebraic", harmless=never_minus_zero)
def add_zero(x: Var) -> Any:
    """x + 0.0 -> x; harmless where x is never -0.0."""
    return x + 0, x


@rule(phase="canonical", numeric="exact")
def sub_zero(x: Var) -> Any:
    """x - 0.0 -> x."""
    return x - 0, x


@rule(phase="canonical", numeric="exact")
def sub_from_minus_zero(x: Var) -> Any:
    """-0.0 - x -> -x."""
    return -0.0 - x, -x


@rule(phase="canonical", numeric="exact", where=lambda x: whole(x) and x.dtype.kind != "b")
def sub_from_integer_zero(x: Var) -> Any:
    """0 - x -> -x for integers."""
    return 0 - x, -x


@rule(phase="canonical", numeric="exact")
def mul_one(x: Var) -> Any:
    """x * 1 -> x."""
    return x * 1, x


@rule(phase="canonical", numeric="exact", where=lambda x: x.dtype.kind != "b")
def mul_minus_one(x: Var) -> Any:
    """x * -1 -> -x."""
    return x * -1, -x


@rule(phase="canonical", numeric="exact")
def div_one(x: Var) -> Any:
    """x / 1 -> x."""
    return x / 1, x


@rule(phase="canonical", numeric="exact")
def div_minus_one(x: Var) -> Any:
    """x / -1 -> -x."""
    return x / -1, -x


@rule(phase="canonical", numeric="exact")
def one_over(x: Var) -> Any:
    """1 / x -> reciprocal(x)."""
    return 1 / x, p.reciprocal(x)


# -- signs ----------------------------------------------------------------------------------------
@rule(phase="canonical", numeric="exact")
def neg_of_neg(x: Var) -> Any:
    """-(-x) -> x."""
    return p.neg(p.neg(x)), x


@rule(phase="canonical", numeric="exact")
def add_neg(x: Var, y: Var) -> Any:
    """x + (-y) -> x - y."""
    return x + (-y), x - y


@rule(phase="canonical", numeric="exact")
def sub_neg(x: Var, y: Var) -> Any:
    """x - (-y) -> x + y."""
    return x - (-y), x + y


@rule(phase="canonical", numeric="exact")
def mul_of_negs(x: Var, y: Var) -> Any:
    """(-x) * (-y) -> x * y."""
    return (-x) * (-y), x * y


@rule(
    phase="canonical", numeric="exact",
    where=lambda x, c: c.dtype.kind in "fi",
)  # fmt: skip
def neg_times_constant(x: Var, c: Const) -> Any:
    """(-x) * c -> x * (-c)."""
    return (-x) * c, x * -c


@rule(
    phase="canonical", numeric="exact",
    where=lambda x, c: c.dtype.kind in "fi",
)  # fmt: skip
def neg_of_scaled(x: Var, c: Const) -> Any:
    """-(x * c) -> x * (-c)."""
    return -(x * c), x * -c


@rule(phase="canonical", numeric="exact", where=lambda node, x: node.type == x.type)
def mul_neg(x: Var, y: Var) -> Any:
    """(-x) * y -> -(x * y), so that a sum above can take the sign."""
    return (-x) * y, -(x * y)


@rule(phase="canonical", numeric="exact", where=lambda node, x: node.type == x.type)
def div_neg(x: Var, y: Var) -> Any:
    """(-x) / y -> -(x / y)."""
    return (-x) / y, -(x / y)


@rule(phase="canonical", numeric="exact")
def div_of_negs(x: Var, y: Var) -> Any:
    """(-x) / (-y) -> x / y."""
    return (-x) / (-y), x / y


@rule(phase="canonical", numeric="exact")
def abs_of_neg(x: Var) -> Any:
    """abs(-x) -> abs(x)."""
    return p.abs(-x), p.abs(x)


@rule(phase="canonical", numeric="exact", where=lambda x: x.dtype.is_float)
def abs_of_abs(x: Var) -> Any:
    """abs(abs(x)) -> abs(x)."""
    return p.abs(p.abs(x)), p.abs(x)


@rule(phase="canonical", numeric="exact", where=lambda x: x.dtype.is_float and non_negative(x))
def abs_of_non_negative(x: Var) -> Any:
    """abs(x) -> x where x is proved not to be negative, e.g. abs(exp(x))."""
    return p.abs(x), x


@rule(phase="canonical", numeric="exact")
def square_of_neg(x: Var) -> Any:
    """square(-x) -> square(x)."""
    return p.square(-x), p.square(x)


@rule(phase="canonical", numeric="exact")
def square_of_abs(x: Var) -> Any:
    """square(abs(x)) -> square(x)."""
    return p.square(p.abs(x)), p.square(x)


# -- powers ---------------------------------------------------------------------------------------
@rule(phase="canonical", numeric="exact", where=lambda x: x.dtype.kind != "b")
def mul_self(x: Var) -> Any:
    """x * x -> square(x)."""
    return x * x, p.square(x)


@rule(phase="canonical", numeric="exact")
def power_one(x: Var) -> Any:
    """x ** 1 -> x."""
    return x**1, x


@rule(phase="canonical", numeric="exact")
def power_zero(x: Var) -> Any:
    """x ** 0 -> 1, as IEEE 754 has it, for NaN too."""
    return x**0, 1


@rule(phase="canonical", numeric=ulp(4))
def power_two(x: Var) -> Any:
    """x ** 2 -> square(x)."""
    return x**2, p.square(x)


@rule(phase="canonical", numeric=ulp(4), where=lambda x: x.dtype.is_float)
def power_minus_one(x: Var) -> Any:
    """x ** -1 -> reciprocal(x)."""
    return x**-1, p.reciprocal(x)


@rule(phase="canonical", numeric=ulp(4), where=lambda x: x.dtype.is_float)
def power_half(x: Var) -> Any:
    """x ** 0.5 -> sqrt(x), which is what NumPy computes, at -0.0 and -inf too."""
    return x**0.5, p.sqrt(x)


@rule(phase="canonical", numeric="algebraic", harmless=non_negative)
def power_minus_half(x: Var) -> Any:
    """x ** -0.5 -> reciprocal(sqrt(x)); the two differ at -0.0 and -inf only."""
    return x**-0.5, p.reciprocal(p.sqrt(x))


# -- constants that meet --------------------------------------------------------------------------
def _gathered(a: Node, b: Node, f: Any) -> bool:
    """Tell whether f(a, b) of two constants is an ordinary number: nothing overflows first."""
    x, y = const_array(a), const_array(b)
    if x is None or y is None:
        return False
    if x.dtype.kind in "iu":
        return f is not np.divide
    if x.dtype.kind != "f" or x.dtype.itemsize < 4:
        return False
    with np.errstate(all="ignore"):
        return all(_ordinary(v) for v in (x, y, f(x, y)))


def _ordinary(v: np.ndarray) -> bool:
    """Tell whether every magnitude lies in 1e-12 ... 1e12."""
    size = np.abs(v)
    return bool(((size >= 1e-12) & (size <= 1e12)).all())


@rule(
    phase="canonical", numeric="reorder", where=lambda x, a, b: _gathered(a, b, np.multiply)
)
def scale_of_scaled(x: Var, a: Const, b: Const) -> Any:
    """(x * a) * b -> x * (a * b)."""
    return (x * a) * b, x * (a * b)


@rule(phase="canonical", numeric="reorder", where=lambda x, a, b: _gathered(a, b, np.add))
def shift_of_shifted(x: Var, a: Const, b: Const) -> Any:
    """(x + a) + b -> x + (a + b)."""
    return (x + a) + b, x + (a + b)


@rule(phase="canonical", numeric="reorder", where=lambda x, a, b: _gathered(a, b, np.divide))
def quotient_of_scaled(x: Var, a: Const, b: Const) -> Any:
    """(x * a) / b -> x * (a / b)."""
    return (x * a) / b, x * (a / b)


@rule(phase="canonical", numeric="reorder", where=lambda x, a, b: _gathered(a, b, np.divide))
def scale_of_quotient(x: Var, a: Const, b: Const) -> Any:
    """(x / a) * b -> x * (b / a)."""
    return (x / a) * b, x * (b / a)


def _negated_at_once(x: Node, c: Node) -> bool:
    """Tell whether -c is folded: a large constant would stay a negation, and be turned back."""
    array = const_array(c)
    if array is None:
        return False
    return array.dtype.kind == "f" and array.nbytes <= FOLDED_BYTES


@rule(phase="canonical", numeric="exact", where=_negated_at_once)
def sub_constant(x: Var, c: Const) -> Any:
    """x - c -> x + (-c): one form, so that constants meet."""
    return x - c, x + -c
