"""What is done last: derivative markers fall away, divisions and powers become products."""

from __future__ import annotations

import math
from typing import Any

from symgraph.core.node import Node, new_input
from symgraph.core.op import o
from symgraph.core.pattern import Const, Var, const_value, p, rewrite_rule, rule, ulp

LARGEST_POWER = 16
_HALVES = (-0.5, 1.5, -1.5, 2.5, -2.5)


def _marker_example() -> list[Node]:
    x = new_input("float32", (3, 4), "x")
    return [o.stop_gradient(x), o.grad_clip(x, -1.0, 1.0), o.undefined_grad(x)]


@rewrite_rule(
    phase="late", numeric="exact", roots=("stop_gradient", "grad_clip", "undefined_grad"),
    differentiable=False, example=_marker_example,
)  # fmt: skip
def drop_derivative_marker(node: Node) -> Node | None:
    """stop_gradient(x), grad_clip(x) ... -> x: derivatives have been taken by now."""
    return node.inputs[0]


def _power_of_two(c: Node) -> bool:
    value = const_value(c)
    if value is None or not c.dtype.is_float or not math.isfinite(value) or value == 0:
        return False
    fraction, exponent = math.frexp(value)
    return abs(fraction) == 0.5 and abs(exponent) < 100 and c.dtype.bits >= 32


@rule(phase="late", numeric="exact", where=lambda x, c: _power_of_two(c))
def div_by_power_of_two(x: Var, c: Const) -> Any:
    """x / c -> x * (1 / c) where 1 / c has no rounding."""
    return x / c, x * p.reciprocal(c)


def _root_example() -> list[Node]:
    x = new_input("float64", (3, 4), "x")
    return [o.power(x, e) for e in (-0.5, 1.5, -1.5, 2.5, -2.5)]


@rewrite_rule(
    phase="late", numeric=ulp(4), roots=("power",), children=("constant", "broadcast_to"),
    example=_root_example,
)  # fmt: skip
def power_by_root(node: Node) -> Node | None:
    """x ** (n / 2) -> sqrt(x) times x or its square, n odd up to 5; exact at -inf and -0.0."""
    x, exponent = node.inputs
    value = const_value(exponent)
    if value not in _HALVES or not node.dtype.is_float:
        return None
    if value == -0.5:  # the root first: the reciprocal could overflow
        power = o.reciprocal(o.abs(o.sqrt(x)))
        return o.broadcast_to(o.where(o.eq(x, -math.inf), 0.0, power), node.type.shape)
    base = o.reciprocal(x) if value < 0 else x
    power = o.abs(o.sqrt(base) * (base if abs(value) < 2 else o.square(base)))
    pole = o.eq(x, 0.0 if value < 0 else -math.inf)
    return o.broadcast_to(o.where(pole, math.inf, power), node.type.shape)


def _power_example() -> list[Node]:
    x = new_input("float64", (3, 4), "x")
    return [o.power(x, 3.0), o.power(x, 7.0), o.power(x, -2.0), o.power(x, 4)]


@rewrite_rule(
    phase="late", numeric=ulp(16), roots=("power",), children=("constant", "broadcast_to"),
    example=_power_example,
)  # fmt: skip
def power_by_squaring(node: Node) -> Node | None:
    """x ** n -> squarings and products for an integer 2 < |n| <= 16 (and -2), reciprocal first."""
    x, exponent = node.inputs
    value = const_value(exponent)
    if value is None or value != int(value) or not 2 <= abs(value) <= LARGEST_POWER:
        return None
    n = int(value)
    if n < 0 and not node.dtype.is_float:
        return None
    base = o.reciprocal(x) if n < 0 else x  # first: the power itself could overflow
    result: Node | None = None
    for bit in bin(abs(n))[2:]:
        result = base if result is None else o.square(result)
        if bit == "1" and result is not base:
            result = o.mul(result, base)
    assert result is not None
    return o.broadcast_to(result, node.type.shape)
