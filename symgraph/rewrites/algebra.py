"""Algebra that may hide a NaN or lose accuracy: for `numerics="fast"`, or where it is harmless."""

from __future__ import annotations

from typing import Any

from symgraph.core.pattern import Var, p, rule
from symgraph.rewrites.facts import finite, whole


@rule(phase="algebra", numeric="algebraic", harmless=finite)
def sub_self(x: Var) -> Any:
    """x - x -> 0; NaN for infinite x."""
    return x - x, 0


@rule(phase="algebra", numeric="algebraic", harmless=whole)
def mul_zero(x: Var) -> Any:
    """x * 0 -> 0; NaN for infinite x, -0.0 for negative x."""
    return x * 0, 0


@rule(phase="algebra", numeric="algebraic")
def div_self(x: Var) -> Any:
    """x / x -> 1; NaN for 0 and infinity."""
    return x / x, 1


@rule(phase="algebra", numeric="algebraic")
def product_over_factor(x: Var, y: Var) -> Any:
    """(x * y) / y -> x."""
    return (x * y) / y, x


@rule(phase="algebra", numeric="algebraic")
def quotient_times_divisor(x: Var, y: Var) -> Any:
    """(x / y) * y -> x."""
    return (x / y) * y, x


@rule(phase="algebra", numeric="algebraic", harmless=lambda x, y: whole(x) and x.dtype.kind != "b")
def sum_minus_term(x: Var, y: Var) -> Any:
    """(x + y) - y -> x."""
    return (x + y) - y, x


@rule(phase="algebra", numeric="algebraic", harmless=lambda x, y: whole(x))
def difference_plus_term(x: Var, y: Var) -> Any:
    """(x - y) + y -> x."""
    return (x - y) + y, x


@rule(phase="algebra", numeric="algebraic")
def exp_of_log(x: Var) -> Any:
    """exp(log(x)) -> x; NaN for negative x."""
    return p.exp(p.log(x)), x


@rule(phase="algebra", numeric="algebraic")
def log_of_sqrt(x: Var) -> Any:
    """log(sqrt(x)) -> log(x) / 2."""
    return p.log(p.sqrt(x)), p.log(x) * 0.5


@rule(phase="algebra", numeric="algebraic")
def log_of_square(x: Var) -> Any:
    """log(square(x)) -> 2 log(abs(x))."""
    return p.log(p.square(x)), p.log(p.abs(x)) * 2


@rule(phase="algebra", numeric="algebraic")
def log_of_exp_product(x: Var, y: Var) -> Any:
    """log(exp(x) * y) -> x + log(y): the logarithm of a product where it pays."""
    return p.log(p.exp(x) * y), x + p.log(y)


@rule(phase="algebra", numeric="algebraic")
def product_of_exps(x: Var, y: Var) -> Any:
    """exp(x) * exp(y) -> exp(x + y)."""
    return p.exp(x) * p.exp(y), p.exp(x + y)


@rule(phase="algebra", numeric="algebraic")
def common_factor(x: Var, y: Var, z: Var) -> Any:
    """x * z + y * z -> (x + y) * z."""
    return x * z + y * z, (x + y) * z
