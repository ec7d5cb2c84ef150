"""Polynomials as vectors of coefficients, the highest power first, with NumPy's names."""

from __future__ import annotations

from typing import Any

from symgraph.core.errors import ShapeError
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import function, o
from symgraph.dims.dim import maximum
from symgraph.ops.base import as_nodes, cast_to
from symgraph.ops.rows import as_float


def _coefficients(p: Any, name: str) -> Node:
    node = o.atleast_1d(p)
    if node.ndim != 1:
        raise ShapeError(f"{name}: coefficients are a vector, `{describe(node)}` is {node.type}")
    return node


@function
def polyval(p: Any, x: Any) -> Node:
    """Return the polynomial with coefficients `p` (highest power first) at `x`, by Horner."""
    coefficients, at = as_nodes((p, x))
    n = coefficients.type.shape[0]
    if not isinstance(n, int):
        raise ShapeError(f"the degree of `{describe(coefficients)}` {coefficients.type} is unknown")
    value: Node = o.zeros_like(at)
    for k in range(n):
        value = value * at + coefficients[k]
    return value


def _aligned(a: Any, b: Any, name: str) -> list[Node]:
    """Return two polynomials of the same length: zeros stand before the shorter one."""
    given = [_coefficients(p, name) for p in as_nodes((a, b))]
    sizes = [p.type.shape[0] for p in given]
    n = maximum(*sizes)
    return [
        p if k is n or k == n else o.concatenate([o.zeros((n - k,), p.dtype), p])
        for p, k in zip(given, sizes, strict=True)
    ]


@function
def polyadd(a: Any, b: Any) -> Node:
    """Return the sum of two polynomials."""
    p, q = _aligned(a, b, "polyadd")
    return p + q


@function
def polysub(a: Any, b: Any) -> Node:
    """Return the difference of two polynomials."""
    p, q = _aligned(a, b, "polysub")
    return p - q


@function
def polymul(a: Any, b: Any) -> Node:
    """Return the product of two polynomials; leading zeros stay, whatever the values are."""
    return o.convolve(_coefficients(a, "polymul"), _coefficients(b, "polymul"))


def _powers(count: Any, dtype: Any) -> Node:
    """Return count, ..., 2, 1."""
    return cast_to(as_node(o.dim_value(count)) - o.arange(count), dtype)


@function
def polyder(p: Any, m: int = 1) -> Node:
    """Return the m-th derivative of a polynomial."""
    node = _coefficients(p, "polyder")
    for _ in range(m):
        n = node.type.shape[0]
        if isinstance(n, int) and n < 2:
            return o.zeros((0,), node.dtype)
        node = o.slice_axis(node, 0, 0, n - 1) * _powers(n - 1, node.dtype)
    return node


@function
def polyint(p: Any, m: int = 1, k: Any = 0) -> Node:
    """Return the m-th integral of a polynomial; `k` is the constant, one for each integral or all.

    Of integers it is of floatX.
    """
    node = as_float(_coefficients(p, "polyint"))
    constants = o.broadcast_to(cast_to(as_node(k, (node.dtype,)), node.dtype), (m,))
    for step in range(m):
        terms = node / _powers(node.type.shape[0], node.dtype)
        node = o.concatenate([terms, constants[step : step + 1]])
    return node


@function
def polyfit(x: Any, y: Any, deg: int, w: Any = None) -> Node:
    """Return the polynomial of degree `deg` nearest to the points (x, y), weighted by `w`.

    y: (n,) or (n, k) for k polynomials as columns. Least squares of sum w^2 (p(x) - y)^2 on powers
    of x scaled to length 1, by `lstsq`; derivatives flow through x, y and w.
    """
    at, values = (as_float(v) for v in as_nodes((x, y)))
    if at.ndim != 1 or values.ndim not in (1, 2) or deg < 0:
        raise ShapeError(
            f"polyfit needs x (n,), y (n,) or (n, k) and deg >= 0, got {at.type}, {values.type}, "
            f"{deg}"
        )
    left = o.vander(at, deg + 1)
    if w is not None:
        weights = cast_to(as_node(w, (left.dtype,)), left.dtype)
        left = left * o.expand_dims(weights, 1)
        values = values * (weights if values.ndim == 1 else o.expand_dims(weights, 1))
    scale = o.sqrt(o.sum(o.square(left), 0))
    found: Node = o.lstsq(left / scale, values)
    return found / (scale if values.ndim == 1 else o.expand_dims(scale, 1))
