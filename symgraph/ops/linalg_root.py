"""Square roots of matrices that are not symmetric, by the scaled product iteration.

M <- (2 I + s^2 M + (s^2 M)^-1) / 4 and X <- s X (I + (s^2 M)^-1) / 2 lead from M = X = A to I and
the principal square root (Denman and Beavers 1976 in the form of Higham 2008, section 6.3); the
scale s = |det M|^(-1 / 2n) brings far matrices near first. The derivative solves S X + X S = C.
"""

from __future__ import annotations

import numpy as np

from symgraph.core.node import Node
from symgraph.core.op import function, o
from symgraph.ops.linalg import adjoint, identity_like
from symgraph.ops.linalg_cofactor import inverse_and_det

STEPS = 40  # of the iteration, which takes some ten


def _size(x: Node) -> Node:
    return o.sqrt(o.sum(o.square(o.abs(x)), (-2, -1)))


def _distance(m: Node) -> Node:
    """Return |M - I| of each matrix, infinite where it is NaN."""
    size = _size(m - identity_like(m))
    return o.where(o.isnan(size), np.inf, size)


def _root(a: Node) -> Node:
    n = a.type.shape[-1]
    one = identity_like(a)
    eps = float(np.finfo(a.dtype.part.numpy).eps)
    limit = o.cast(o.dim_value(n), a.dtype.part) * (4 * eps)
    count = o.cast(o.dim_value(n), a.dtype.part)

    def far(k: Node, m: Node, x: Node) -> Node:
        distance = _distance(m)
        going = o.logical_and(o.gt(distance, limit), o.isfinite(distance))
        return o.logical_and(o.lt(k, STEPS), o.any(going))

    def step(k: Node, m: Node, x: Node) -> list[Node]:
        distance = o.expand_dims(_distance(m), (-2, -1))
        _, logarithm = o.slogdet(m)
        scale = o.exp(o.expand_dims(logarithm, (-2, -1)) * (-0.5 / count))
        scale = o.where(o.gt(distance, 1e-2), scale, 1.0)
        square = o.square(scale)
        inverse, _, pivots = inverse_and_det(o, m * square)  # o.inv would raise an error
        singular = o.any(o.eq(pivots, 0.0), -1)
        inverse = o.where(o.expand_dims(singular, (-2, -1)), np.nan, inverse)
        done = o.le(distance, limit)
        new = (2.0 * one + m * square + inverse) * 0.25
        root = o.matmul(x, one + inverse) * (scale * 0.5)
        return [k + 1, o.where(done, m, new), o.where(done, x, root)]

    start = [o.zeros((), "int64"), a, a]
    _, m, x = o.while_loop(far, step, start)
    # beside a negative eigenvalue M may come to I by rounding, and X is no root
    rest = _size(o.matmul(x, x) - a)
    near = o.logical_and(o.lt(_distance(m), 1e-2), o.le(rest, eps**0.5 * _size(a)))
    return o.where(o.expand_dims(near, (-2, -1)), x, np.nan)


def _sylvester(s: Node, c: Node) -> Node:
    """Return X with S X + X S = C, as one system of n^2 equations."""
    *lead, n, _ = c.type.shape
    one = identity_like(s)
    left = o.expand_dims(s, (-3, -1)) * o.expand_dims(one, (0, 2))  # [i, j, k, l]: S[i, k] I[j, l]
    right = o.expand_dims(o.matrix_transpose(s), (-4, -2)) * o.expand_dims(one, (1, 3))
    system = o.reshape(left + right, (*lead, n * n, n * n))
    found: Node = o.solve(system, o.reshape(c, (*lead, n * n, 1)))
    return o.reshape(found, (*lead, n, n))


def _pull(inputs: list[Node], outputs: list[Node], gradients: list[Node]) -> list[Node]:
    return [_sylvester(adjoint(outputs[0]), gradients[0])]


@function
def root_by_products(x: Node) -> Node:
    """Return the principal square root of square matrices."""
    found: Node = o.custom_vjp(_root, _pull)(x)
    return found
