"""Functions of general matrices, by eigenvalues, with the derivative of Daleckii and Krein (1951).

dF = V (D * (V^-1 dA V)) V^-1, where D[i, j] is the divided difference of f at two eigenvalues: its
derivative where they are equal, so equal eigenvalues do no harm as long as there are eigenvectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symgraph.autodiff.grad import Rop
from symgraph.autodiff.implicit import Closed
from symgraph.core.node import Node, as_node, new_input
from symgraph.core.op import o
from symgraph.core.walk import substitute
from symgraph.ops.linalg import as_matrices, check_matrices, identity_like, main_diagonal

CLOSE = 0.03  # relative gaps below which a divided difference is a mean of derivatives
GAUSS = ((0.5 - 0.15**0.5, 5 / 18), (0.5, 8 / 18), (0.5 + 0.15**0.5, 5 / 18))  # places, weights


def funm(x: Any, func: Callable[[Node], Any]) -> Node:
    """Return f(A) of square matrices (..., n, n) by their eigenvalues, a complex array.

    func gets complex variables and is applied to each element by itself; it may use outer
    variables, by which f(A) has derivatives too. V f(w) V^-1 with `sg.linalg.eig` has an error of
    the condition number of the eigenvectors V; where these do not make the matrix again to half of
    its digits (a defective matrix, or nearly so) the result is NaN.

    First derivatives hold at equal eigenvalues too. Those behind are right for eigenvalues that
    differ: they divide by gaps.

    >>> x = sg.matrix("x", dtype="float64")
    >>> y = sg.real(sg.linalg.funm(x, lambda w: w**3))
    >>> np.round(y.eval({x: np.array([[1.0, 2.0], [3.0, 2.0]])}), 9)
    array([[25., 26.],
           [39., 38.]])
    """
    node = as_matrices(x)
    lead, n, _ = check_matrices("funm", node)
    kind = node.dtype.as_complex
    closed = Closed(lambda z: _elements(func, z), new_input(kind, (*lead, n, n), "z"))

    def value(a: Node, *parameters: Node) -> Node:
        w, v, inverse = _spectrum(a)
        f = o.expand_dims(main_diagonal(closed(_across(w), parameters)), -2)
        again = o.matmul(v * o.expand_dims(w, -2), inverse)
        size, limit = o.abs(a), float(np.finfo(kind.part.numpy).eps) ** 0.5
        good = o.sum(o.abs(again - a), (-2, -1), keepdims=True) <= limit * o.sum(
            size, (-2, -1), keepdims=True
        )
        return o.where(good, o.matmul(v * f, inverse), o.full((), np.nan, kind))

    def push(inputs: list[Node], tangents: list[Node]) -> list[Node]:
        (a, *parameters), (da, *moves) = inputs, tangents
        w, v, inverse = _spectrum(a)
        inner = o.matmul(o.matmul(inverse, o.cast(da, kind)), v)
        inner = inner * _divided(closed, w, parameters)
        moved = _by_parameters(closed, _across(w), parameters, moves)
        if moved is not None:
            inner = inner + identity_like(v) * o.expand_dims(main_diagonal(moved), -1)
        return [o.matmul(o.matmul(v, inner), inverse)]

    found: Node = o.custom_jvp(value, push)(node, *closed.parameters)
    return found


def _elements(func: Callable[[Node], Any], z: Node) -> Node:
    found = as_node(func(z), (z.dtype,))
    return o.broadcast_to(o.cast(found, z.dtype), z.type.shape)


def _spectrum(a: Node) -> tuple[Node, Node, Node]:
    w, v = o.eig(a)
    return w, v, o.inv(v)


def _across(w: Node) -> Node:
    """Return the matrix with w[i] in row i."""
    return o.broadcast_to(o.expand_dims(w, -1), (*w.type.shape, w.type.shape[-1]))


def _divided(closed: Closed, w: Node, parameters: Sequence[Node]) -> Node:
    """Return (f(a) - f(b)) / (a - b) for all pairs; of close ones the mean of f' between them.

    Not where a branch cut runs between them: there the mean is another number.
    """
    a, across = _across(w), o.matrix_transpose
    b, fa = across(a), closed(a, parameters)
    rise, gap = fa - across(fa), a - b
    near = o.abs(gap) <= CLOSE * (o.abs(a) + o.abs(b))
    mean = o.zeros_like(a)
    for place, weight in GAUSS:
        mean = mean + weight * _slope(closed, b + o.where(near, gap * place, 0.0), parameters)
    noise = 1e3 * float(np.finfo(a.dtype.part.numpy).eps) * (o.abs(fa) + o.abs(across(fa)))
    near = o.logical_and(near, o.abs(rise - gap * mean) <= 1e-3 * o.abs(rise) + noise)
    near = o.logical_or(near, o.eq(gap, 0.0))
    return o.where(near, mean, rise / o.where(near, 1.0, gap))


def _slope(closed: Closed, z: Node, parameters: Sequence[Node]) -> Node:
    """Return f' at each element."""
    variable = new_input(z.dtype, z.type.shape, "z")
    found = Rop(closed(variable, parameters), variable, o.ones_like(variable))
    return o.broadcast_to(substitute([found], {variable: z})[0], z.type.shape)


def _by_parameters(
    closed: Closed, z: Node, parameters: Sequence[Node], moves: Sequence[Node]
) -> Node | None:
    """Return the change of f at each element as its parameters move, None without any."""
    places = [new_input(p.dtype, p.type.shape, p.name) for p in parameters]
    moving = [k for k, p in enumerate(places) if p.dtype.is_inexact]
    if not moving:
        return None
    found = Rop(closed(z, places), [places[k] for k in moving], [moves[k] for k in moving])
    return substitute([found], dict(zip(places, parameters, strict=True)))[0]
