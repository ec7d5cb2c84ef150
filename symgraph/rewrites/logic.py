"""Choices, comparisons, truth values, extrema and casts."""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph.core.dtype import BOOL, holds
from symgraph.core.node import Node, make, new_input
from symgraph.core.op import o
from symgraph.core.pattern import Var, const_value, p, rewrite_rule, rule, ulp
from symgraph.rewrites.facts import whole


@rule(phase="canonical", numeric="exact")
def where_same(c: Var, x: Var) -> Any:
    """where(c, x, x) -> x."""
    return p.where(c, x, x), x


@rule(phase="canonical", numeric="exact")
def where_true(x: Var, y: Var) -> Any:
    """where(True, x, y) -> x."""
    return p.where(True, x, y), x


@rule(phase="canonical", numeric="exact")
def where_false(x: Var, y: Var) -> Any:
    """where(False, x, y) -> y."""
    return p.where(False, x, y), y


@rule(phase="canonical", numeric="exact")
def where_not(c: Var, x: Var, y: Var) -> Any:
    """where(not c, x, y) -> where(c, y, x)."""
    return p.where(p.logical_not(c), x, y), p.where(c, y, x)


@rule(phase="canonical", numeric="exact")
def where_repeated_then(c: Var, x: Var, y: Var, z: Var) -> Any:
    """where(c, where(c, x, y), z) -> where(c, x, z)."""
    return p.where(c, p.where(c, x, y), z), p.where(c, x, z)


@rule(phase="canonical", numeric="exact")
def where_repeated_else(c: Var, x: Var, y: Var, z: Var) -> Any:
    """where(c, x, where(c, y, z)) -> where(c, x, z)."""
    return p.where(c, x, p.where(c, y, z)), p.where(c, x, z)


@rule(phase="canonical", numeric="exact", where=lambda c: c.dtype is BOOL)
def not_of_not(c: Var) -> Any:
    """not not c -> c for truth values."""
    return p.logical_not(p.logical_not(c)), c


@rule(phase="canonical", numeric="exact")
def complement_of_complement(x: Var) -> Any:
    """~~x -> x."""
    return p.bitwise_not(p.bitwise_not(x)), x


@rule(phase="canonical", numeric="exact")
def not_equal(x: Var, y: Var) -> Any:
    """not (x == y) -> x != y, for NaN too."""
    return p.logical_not(p.eq(x, y)), p.ne(x, y)


@rule(phase="canonical", numeric="exact")
def not_unequal(x: Var, y: Var) -> Any:
    """not (x != y) -> x == y, for NaN too."""
    return p.logical_not(p.ne(x, y)), p.eq(x, y)


@rule(phase="canonical", numeric="exact", where=whole)
def not_less(x: Var, y: Var) -> Any:
    """not (x < y) -> x >= y for integers (not for NaN)."""
    return p.logical_not(p.lt(x, y)), p.ge(x, y)


@rule(phase="canonical", numeric="exact", where=whole)
def not_greater(x: Var, y: Var) -> Any:
    """not (x > y) -> x <= y for integers."""
    return p.logical_not(p.gt(x, y)), p.le(x, y)


@rule(phase="canonical", numeric="exact", where=whole)
def not_less_equal(x: Var, y: Var) -> Any:
    """not (x <= y) -> x > y for integers."""
    return p.logical_not(p.le(x, y)), p.gt(x, y)


@rule(phase="canonical", numeric="exact", where=whole)
def not_greater_equal(x: Var, y: Var) -> Any:
    """not (x >= y) -> x < y for integers."""
    return p.logical_not(p.ge(x, y)), p.lt(x, y)


@rule(phase="canonical", numeric="exact")
def max_of_same(x: Var) -> Any:
    """maximum(x, x) -> x."""
    return p.maximum(x, x), x


@rule(phase="canonical", numeric="exact")
def min_of_same(x: Var) -> Any:
    """minimum(x, x) -> x."""
    return p.minimum(x, x), x


@rule(phase="canonical", numeric="exact", where=lambda c: c.dtype is BOOL)
def and_of_same(c: Var) -> Any:
    """c and c -> c."""
    return p.logical_and(c, c), c


@rule(phase="canonical", numeric="exact", where=lambda c: c.dtype is BOOL)
def or_of_same(c: Var) -> Any:
    """c or c -> c."""
    return p.logical_or(c, c), c


@rule(phase="canonical", numeric=ulp(0), where=lambda x: x.dtype.is_float)
def max_with_zero(x: Var) -> Any:
    """maximum(x, 0) -> relu(x), the same but for the sign of a zero."""
    return p.maximum(x, 0), p.relu(x)


@rule(phase="canonical", numeric="exact")
def relu_of_relu(x: Var) -> Any:
    """relu(relu(x)) -> relu(x)."""
    return p.relu(p.relu(x)), p.relu(x)


@rule(phase="algebra", numeric="algebraic", harmless=whole)
def where_positive(x: Var) -> Any:
    """where(x > 0, x, 0) -> relu(x); they differ at NaN."""
    return p.where(p.gt(x, 0), x, 0), p.relu(x)


@rule(phase="algebra", numeric="algebraic", harmless=whole)
def where_larger(x: Var, y: Var) -> Any:
    """where(x > y, x, y) -> maximum(x, y); they differ at NaN in x."""
    return p.where(p.gt(x, y), x, y), p.maximum(x, y)


@rule(phase="algebra", numeric="algebraic", harmless=whole)
def where_smaller(x: Var, y: Var) -> Any:
    """where(x < y, x, y) -> minimum(x, y); they differ at NaN in x."""
    return p.where(p.lt(x, y), x, y), p.minimum(x, y)


def _where_example() -> list[Node]:
    c, x = new_input("bool", (3,), "c"), new_input("float32", (3,), "x")
    return [o.where(o.eq(o.cast(c, "int8"), 1), x, -x)]


@rewrite_rule(
    phase="canonical", numeric="exact", roots=("eq", "ne"), children=("cast",),
    example=_where_example,
)  # fmt: skip
def compare_cast_bool(node: Node) -> Node | None:
    """cast(c, number) == 1 -> c, and == 0 -> not c, for a truth value c (and != the other way)."""
    for x, y in (node.inputs, node.inputs[::-1]):
        if x.op.name == "cast" and x.inputs[0].dtype is BOOL and x.type.shape == node.type.shape:
            value = const_value(y)
            if value in (0, 1) and value is not None:
                truth = (value == 1) == (node.op.name == "eq")
                return x.inputs[0] if truth else o.logical_not(x.inputs[0])
    return None


def _cast_example() -> list[Node]:
    x = new_input("float32", (3,), "x")
    n = new_input("int8", (3,), "n")
    return [
        o.cast(o.cast(x, "float64"), "float32"),
        o.cast(o.cast(n, "int32"), "float64"),
        make(o.cast(x, "float64").op, (x,), o.cast(n, "float32").params),
    ]


@rewrite_rule(
    phase="canonical", numeric="exact", roots=("cast",), example=_cast_example
)
def cast_of_cast(node: Node) -> Node | None:
    """cast(x, its own dtype) -> x; cast(cast(x, a), b) -> cast(x, b) where a holds all of x."""
    x = node.inputs[0]
    if x.dtype is node.dtype:
        return x
    if x.op.name == "cast" and holds(x.dtype, x.inputs[0].dtype):
        return o.cast(x.inputs[0], node.dtype)
    return None


def _true_example() -> list[Node]:
    c = new_input("bool", (3,), "c")
    return [o.logical_and(c, np.bool_(True)), o.logical_or(c, np.bool_(False))]


@rewrite_rule(
    phase="canonical", numeric="exact", roots=("logical_and", "logical_or"),
    children=("constant", "broadcast_to"), example=_true_example,
)  # fmt: skip
def logic_with_constant(node: Node) -> Node | None:
    """c and True -> c, c or False -> c, c and False -> False, c or True -> True."""
    for x, y in (node.inputs, node.inputs[::-1]):
        value = const_value(y)
        if value is None or x.dtype is not BOOL:
            continue
        neutral = node.op.name == "logical_and"
        kept = x if bool(value) is neutral else o.cast(y, BOOL)
        return o.broadcast_to(kept, node.type.shape)
    return None
