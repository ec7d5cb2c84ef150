"""Diagonal matrices: what a solver or a factorization does with one is done with its diagonal.

A zero that would have stopped the solver stops here too (`pivots`).
"""

from __future__ import annotations

from symgraph.core.dtype import BOOL
from symgraph.core.node import Node, new_input
from symgraph.core.op import o, ops
from symgraph.core.pattern import rewrite_rule
from symgraph.rewrites.linalg import swapped
from symgraph.rewrites.matrix_facts import diagonal_of


def _vector() -> Node:
    """Return positive numbers away from zero."""
    return o.abs(new_input("float32", (3,), "v")) + 2.0


def _matrix(v: Node) -> Node:
    """Return the matrices with v on their diagonals."""
    n = v.type.shape[-1]
    return o.where(o.eye(n, n, 0, BOOL), o.expand_dims(v, -2), o.zeros((), v.dtype))


def _x(*shape: int) -> Node:
    return new_input("float32", shape, "x")


def _checked(v: Node, what: str, positive: bool = False) -> Node:
    return ops["pivots"](v, what=what, positive=positive)


@rewrite_rule(
    phase="linalg", numeric="exact", roots=("permute_dims",), children=("where",),
    example=lambda: [o.matrix_transpose(_matrix(_vector()))],
)  # fmt: skip
def transpose_of_diagonal(node: Node) -> Node | None:
    """diag(v).T -> diag(v)."""
    x = swapped(node)
    return x if x is not None and diagonal_of(x) is not None else None


@rewrite_rule(
    phase="linalg", numeric="exact", roots=("slice",), children=("reshape",),
    example=lambda: [o.diagonal(_matrix(_vector()))],
)  # fmt: skip
def diagonal_of_diagonal(node: Node) -> Node | None:
    """The main diagonal of diag(v) -> v."""
    flat = node.inputs[0]
    if flat.op.name != "reshape" or flat.inputs[0].op.name != "where":
        return None
    x = flat.inputs[0]
    v = diagonal_of(x)
    if v is None or v.type != node.type:
        return None
    return v if o.diagonal(x) is node else None


@rewrite_rule(
    phase="linalg", numeric="factor", roots=("inv",), example=lambda: [o.inv(_matrix(_vector()))]
)
def inverse_of_diagonal(node: Node) -> Node | None:
    """inv(diag(v)) -> diag(1 / v)."""
    v = diagonal_of(node.inputs[0])
    return None if v is None else _matrix(o.reciprocal(_checked(v, "inv")))


def _solve_example() -> list[Node]:
    d, b = _matrix(_vector()), _x(3, 2)
    return [
        ops["solve"](d, b, trans=False),
        ops["solve_positive"](d, b),
        ops["solve_triangular"](d, b, lower=True, trans=True, unit=False, what="solve_triangular"),
    ]


@rewrite_rule(
    phase="linalg", numeric="factor", roots=("solve", "solve_positive", "solve_triangular"),
    example=_solve_example,
)  # fmt: skip
def solve_of_diagonal(node: Node) -> Node | None:
    """solve(diag(v), B) -> B / v, row by row."""
    a, b = node.inputs
    v = diagonal_of(a)
    if v is None or getattr(node.params, "unit", False) or b.dtype is not v.dtype:
        return None
    what = getattr(node.params, "what", "solve")
    rows = o.expand_dims(_checked(v, what, node.op.name == "solve_positive"), -1)
    x = b / rows
    return x if x.type == node.type else None


def _det_example() -> list[Node]:
    d = _matrix(_vector())
    return [o.det(d), ops["log_abs_det"](d), ops["det_sign"](d)]


@rewrite_rule(
    phase="linalg", numeric="factor", roots=("det", "log_abs_det", "det_sign"),
    example=_det_example,
)  # fmt: skip
def determinant_of_diagonal(node: Node) -> Node | None:
    """det(diag(v)) -> prod(v), and the logarithm and the sign of it."""
    v = diagonal_of(node.inputs[0])
    if v is None or v.dtype.is_complex:
        return None
    if node.op.name == "log_abs_det":
        return o.sum(o.log(o.abs(v)), -1)
    return o.prod(v if node.op.name == "det" else o.sign(v), -1)


@rewrite_rule(
    phase="linalg", numeric="factor", roots=("cholesky",),
    example=lambda: [ops["cholesky"](_matrix(_vector()))],
)  # fmt: skip
def cholesky_of_diagonal(node: Node) -> Node | None:
    """cholesky(diag(v)) -> diag(sqrt(v))."""
    v = diagonal_of(node.inputs[0])
    if v is None or v.dtype.is_complex:
        return None
    return _matrix(o.sqrt(_checked(v, "cholesky", True)))


@rewrite_rule(
    phase="linalg", numeric="factor", roots=("eigh_values",),
    example=lambda: [ops["eigh_values"](_matrix(_vector()), vectors=False)],
)  # fmt: skip
def eigenvalues_of_diagonal(node: Node) -> Node | None:
    """eigvalsh(diag(v)) -> sort(v)."""
    v = diagonal_of(node.inputs[0])
    if v is None or v.dtype.is_complex or node.params.vectors:
        return None
    return o.sort(v, -1)


def _product_example() -> list[Node]:
    d = _matrix(_vector())
    return [o.matmul(d, _x(3, 4)), o.matmul(_x(2, 5, 3), d), o.matmul(d, d + d)]


@rewrite_rule(
    phase="linalg", numeric="algebraic", roots=("matmul",), children=("where", "mul", "add"),
    example=_product_example,
)  # fmt: skip
def product_with_diagonal(node: Node) -> Node | None:
    """diag(v) @ X -> v[:, None] * X, X @ diag(v) -> X * v; the product would spread a NaN."""
    a, b = node.inputs
    left, right = diagonal_of(a), diagonal_of(b)
    if left is not None and right is not None:
        return _matrix(left * right)
    if left is not None and b.dtype is left.dtype:
        new = o.expand_dims(left, -1) * b
    elif right is not None and a.dtype is right.dtype:
        new = a * o.expand_dims(right, -2)
    else:
        return None
    return new if new.type == node.type else None
