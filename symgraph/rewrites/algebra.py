"""School algebra that may hide a NaN or lose accuracy: `numerics="fast"`, or where it is harmless."""

from __future__ import annotations

from typing import Any

from symgraph.core.node import Node
from symgraph.core.pattern import p, rule
from symgraph.rewrites.facts import finite, whole


@rule(phase="algebra", numeric="algebraic", harmless=lambda x: finite(x))
def sub_self(x: Node) -> Any:
    """x - x -> 0; NaN for infinite x."""
    return x - x, 0


@rule(phase="algebra", numeric="algebraic", harmless=lambda x: whole(x))
def mul_zero(x: Node) -> Any:
    """x * 0 -> 0; NaN for infinite x, -0.0 for negative x."""
    return x * 0, 0


@rule(phase="algebra", numeric="algebraic")
def div_self(x: Node) -> Any:
    """x / x -> 1; NaN for 0 and infinity."""
    return x / x, 1


@rule(phase="algebra", numeric="algebraic")
def product_over_factor(x: Node, y: Node) -> Any:
    """(x * y) / y -> x."""
    return (x * y) / y, x


@rule(phase="algebra", numeric="algebraic")
def quotient_times_divisor(x: Node, y: Node) -> Any:
    """(x / y) * y -> x."""
    return (x / y) * y, x


@rule(phase="algebra", numeric="algebraic", harmless=lambda x, y: whole(x) and x.dtype.kind != "b")
def sum_minus_term(x: Node, y: Node) -> Any:
    """(x + y) - y -> x."""
    return (x + y) - y, x


@rule(phase="algebra", numeric="algebraic", harmless=lambda x, y: whole(x))
def difference_plus_term(x: Node, y: Node) -> Any:
    """(x - y) + y -> x."""
    return (x - y) + y, x


@rule(phase="algebra", numeric="algebraic")
def exp_of_log(x: Node) -> Any:
    """exp(log(x)) -> x; NaN for negative x."""
    return p.exp(p.log(x)), x


@rule(phase="algebra", numeric="algebraic")
def log_of_sqrt(x: Node) -> Any:
    """log(sqrt(x)) -> log(x) / 2."""
    return p.log(p.sqrt(x)), p.log(x) * 0.5


@rule(phase="algebra", numeric="algebraic")
def log_of_square(x: Node) -> Any:
    """log(square(x)) -> 2 log(abs(x))."""
    return p.log(p.square(x)), p.log(p.abs(x)) * 2


@rule(phase="algebra", numeric="algebraic")
def log_of_exp_product(x: Node, y: Node) -> Any:
    """log(exp(x) * y) -> x + log(y): the logarithm of a product where it pays."""
    return p.log(p.exp(x) * y), x + p.log(y)


@rule(phase="algebra", numeric="algebraic")
def product_of_exps(x: Node, y: Node) -> Any:
    """exp(x) * exp(y) -> exp(x + y)."""
    return p.exp(x) * p.exp(y), p.exp(x + y)


@rule(phase="algebra", numeric="algebraic")
def common_factor(x: Node, y: Node, z: Node) -> Any:
    """x * z + y * z -> (x + y) * z."""
    return x * z + y * z, (x + y) * z
