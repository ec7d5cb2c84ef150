"""Matrices of few numbers, and solutions that SciPy names: made of other ops."""

from __future__ import annotations

from typing import Any

from symgraph.core.errors import ShapeError
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import function, o
from symgraph.ops.base import as_nodes
from symgraph.ops.linalg import as_matrices, check_matrices


def _vector(x: Any, name: str) -> Node:
    node = as_node(x)
    if node.ndim != 1:
        raise ShapeError(f"{name} needs vectors, `{describe(node)}` is {node.type}")
    return node


def _by_difference(column: Node, row: Node) -> Node:
    """Return the matrix with column[i - j] on and below the diagonal, row[j - i] above."""
    m, n = column.type.shape[0], row.type.shape[0]
    line = o.concatenate([o.flip(o.slice_axis(row, 0, 1, n - 1), 0), column])
    place = o.expand_dims(o.iota((m,), 0), 1) - o.iota((n,), 0) + (o.dim_value(n) - 1)
    return o.take(line, place, 0)


@function
def toeplitz(c: Any, r: Any = None) -> Node:
    """Return the matrix with constant diagonals of first column `c` and first row `r`.

    Without a row it is the conjugate of c: a Hermitian matrix. r[0] is not used.

    >>> c = sg.vector("c", dtype="float64")
    >>> sg.linalg.toeplitz(c).eval({c: np.array([1.0, 2.0, 3.0])})
    array([[1., 2., 3.],
           [2., 1., 2.],
           [3., 2., 1.]])
    """
    column = _vector(c, "toeplitz")
    if r is None:
        return _by_difference(column, o.conj(column))
    column, row = as_nodes((column, _vector(r, "toeplitz")))
    return _by_difference(column, row)


@function
def hankel(c: Any, r: Any = None) -> Node:
    """Return the matrix with constant antidiagonals of first column `c` and last row `r`.

    Without a row it is zeros behind the last of c. r[0] is not used.
    """
    column = _vector(c, "hankel")
    column, row = as_nodes((column, o.zeros_like(column) if r is None else _vector(r, "hankel")))
    m, n = column.type.shape[0], row.type.shape[0]
    line = o.concatenate([column, o.slice_axis(row, 0, 1, n - 1)])
    return o.take(line, o.expand_dims(o.iota((m,), 0), 1) + o.iota((n,), 0), 0)


@function
def circulant(c: Any) -> Node:
    """Return the square matrix whose columns are those of a vector turned round: c[(i - j) % n]."""
    column = _vector(c, "circulant")
    n = column.type.shape[0]
    place = o.expand_dims(o.iota((n,), 0), 1) - o.iota((n,), 0)
    return o.take(column, o.where(o.lt(place, 0), place + o.dim_value(n), place), 0)


@function
def polar_factors(x: Any, side: str = "right") -> tuple[Node, Node]:
    """Return (U, P) with A = U P, or A = P U for the side "left": U^H U = 1, P is Hermitian.

    By a singular value decomposition; derivatives need singular values that are not 0.
    """
    if side not in ("right", "left"):
        raise ValueError(f'side must be "right" or "left", got {side!r}')
    node = as_matrices(x)
    u, s, vh = o.svd(node)
    lengths = o.expand_dims(s, -2)
    v = o.conj(o.matrix_transpose(vh))
    half = o.matmul(v * lengths, vh) if side == "right" else u * lengths
    if side == "left":
        half = o.matmul(half, o.conj(o.matrix_transpose(u)))
    return o.matmul(u, vh), half


@function
def cho_factor(x: Any) -> Node:
    """Return the Cholesky factor that `cho_solve` takes: the lower L with A = L L^H."""
    found: Node = o.cholesky(x)
    return found


@function
def cho_solve(factor: Any, b: Any) -> Node:
    """Return x with A x = b, of which `factor` is the lower Cholesky factor: two substitutions.

    b: (n,), or (..., n, k) with leading axes that broadcast, as for `solve`.
    """
    low, right = as_nodes((factor, b))
    vector = right.ndim == 1
    right = o.expand_dims(right, 1) if vector else right
    half = o.solve_triangular(low, right, lower=True)
    upper = o.conj(o.matrix_transpose(low))
    found = o.solve_triangular(upper, half, lower=False)
    return o.squeeze(found, -1) if vector else found


@function
def solve_sylvester(a: Any, b: Any, q: Any) -> Node:
    """Return X with A X + X B = Q, as one system of m n equations: for small matrices.

    A is (m, m), B (n, n), Q (m, n). A system that is singular (an eigenvalue of A is the negative
    of one of B) raises LinAlgError.
    """
    x, y, right = (as_matrices(v) for v in as_nodes((a, b, q)))
    check_matrices("solve_sylvester", x, square=True)
    check_matrices("solve_sylvester", y, square=True)
    if any(v.ndim != 2 for v in (x, y, right)):
        raise ShapeError("solve_sylvester takes matrices, not stacks of them")
    m, n = right.type.shape
    one, other = (o.eye(k, dtype=right.dtype) for k in (m, n))
    system = o.kron(x, other) + o.kron(one, o.matrix_transpose(y))
    return o.reshape(o.solve(system, o.reshape(right, (m * n,))), (m, n))


@function
def expm_frechet(a: Any, e: Any) -> tuple[Node, Node]:
    """Return exp(A) and its derivative in the direction E, by blocks of exp([[A, E], [0, A]])."""
    x, y = (as_matrices(v) for v in as_nodes((a, e)))
    n = x.type.shape[-1]
    zero = o.zeros_like(x)
    whole = o.concatenate([o.concatenate([x, y], -1), o.concatenate([zero, x], -1)], -2)
    top = o.slice_axis(o.expm(whole), -2, 0, n)
    return o.slice_axis(top, -1, 0, n), o.slice_axis(top, -1, n, n)
