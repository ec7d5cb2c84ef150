"""Numerically stable forms of elementwise expressions.

Each right side is finite where the left side overflows, and never further from the real value.
"""

from __future__ import annotations

from typing import Any

from symgraph.core.pattern import Var, p, rule


# -- logarithms -----------------------------------------------------------------------------------
@rule(phase="stable", numeric="stable")
def log_of_one_plus(x: Var) -> Any:
    """log(1 + x) -> log1p(x): exact for small x."""
    return p.log(x + 1), p.log1p(x)


@rule(phase="stable", numeric="stable")
def log_of_one_minus(x: Var) -> Any:
    """log(1 - x) -> log1p(-x)."""
    return p.log(1 - x), p.log1p(-x)


@rule(phase="stable", numeric="stable")
def log1p_of_exp(x: Var) -> Any:
    """log1p(exp(x)) -> softplus(x): no overflow for x > 88 (float32)."""
    return p.log1p(p.exp(x)), p.softplus(x)


@rule(phase="stable", numeric="stable")
def log_of_exp(x: Var) -> Any:
    """log(exp(x)) -> x."""
    return p.log(p.exp(x)), x


@rule(phase="stable", numeric="stable")
def log_of_sigmoid(x: Var) -> Any:
    """log(sigmoid(x)) -> -softplus(-x): finite where sigmoid(x) is 0."""
    return p.log(p.sigmoid(x)), -p.softplus(-x)


@rule(phase="stable", numeric="stable")
def log1p_of_minus_sigmoid(x: Var) -> Any:
    """log1p(-sigmoid(x)) -> -softplus(x)."""
    return p.log1p(-p.sigmoid(x)), -p.softplus(x)


@rule(phase="stable", numeric="stable")
def log_of_exp_sum(x: Var, y: Var) -> Any:
    """log(exp(x) + exp(y)) -> logaddexp(x, y)."""
    return p.log(p.exp(x) + p.exp(y)), p.logaddexp(x, y)


# -- exponentials ---------------------------------------------------------------------------------
@rule(phase="stable", numeric="stable")
def exp_minus_one(x: Var) -> Any:
    """exp(x) - 1 -> expm1(x): exact for small x."""
    return p.exp(x) - 1, p.expm1(x)


@rule(phase="stable", numeric="stable")
def exp_plus_minus_one(x: Var) -> Any:
    """exp(x) + (-1) -> expm1(x), the canonical form of exp(x) - 1."""
    return p.exp(x) + -1, p.expm1(x)


@rule(phase="stable", numeric="stable")
def one_minus_exp(x: Var) -> Any:
    """1 - exp(x) -> -expm1(x)."""
    return 1 - p.exp(x), -p.expm1(x)


# -- sigmoid --------------------------------------------------------------------------------------
@rule(phase="stable", numeric="stable")
def reciprocal_of_one_plus_exp_neg(x: Var) -> Any:
    """1 / (1 + exp(-x)) -> sigmoid(x)."""
    return p.reciprocal(p.exp(-x) + 1), p.sigmoid(x)


@rule(phase="stable", numeric="stable")
def reciprocal_of_one_plus_exp(x: Var) -> Any:
    """1 / (1 + exp(x)) -> sigmoid(-x)."""
    return p.reciprocal(p.exp(x) + 1), p.sigmoid(-x)


@rule(phase="stable", numeric="stable")
def exp_over_one_plus_exp(x: Var) -> Any:
    """exp(x) / (1 + exp(x)) -> sigmoid(x): no inf / inf."""
    return p.exp(x) / (p.exp(x) + 1), p.sigmoid(x)


@rule(phase="stable", numeric="stable")
def exp_times_sigmoid_neg(x: Var) -> Any:
    """exp(x) * sigmoid(-x) -> sigmoid(x)."""
    return p.exp(x) * p.sigmoid(-x), p.sigmoid(x)


@rule(phase="stable", numeric="stable")
def one_minus_sigmoid(x: Var) -> Any:
    """1 - sigmoid(x) -> sigmoid(-x): no cancellation."""
    return 1 - p.sigmoid(x), p.sigmoid(-x)


# -- roots and the error function -----------------------------------------------------------------
@rule(phase="stable", numeric="stable")
def sqrt_of_square(x: Var) -> Any:
    """sqrt(x * x) -> abs(x): no overflow of the square."""
    return p.sqrt(p.square(x)), p.abs(x)


@rule(phase="stable", numeric="stable")
def one_minus_erf(x: Var) -> Any:
    """1 - erf(x) -> erfc(x): no cancellation."""
    return 1 - p.erf(x), p.erfc(x)


@rule(phase="stable", numeric="stable")
def one_minus_erfc(x: Var) -> Any:
    """1 - erfc(x) -> erf(x)."""
    return 1 - p.erfc(x), p.erf(x)


@rule(phase="stable", numeric="stable")
def one_plus_erf_of_neg(x: Var) -> Any:
    """1 + erf(x) -> erfc(-x): the Gaussian distribution function without cancellation."""
    return p.erf(x) + 1, p.erfc(-x)


@rule(phase="stable", numeric="stable")
def log_of_erfc(x: Var) -> Any:
    """log(erfc(x)) -> log(erfcx(x)) - x * x for x > 1: finite where erfc(x) is 0."""
    tail = p.log(p.erfcx(x)) - p.square(x)
    return p.log(p.erfc(x)), p.where(p.gt(x, 1), tail, p.log1p(-p.erf(x)))
