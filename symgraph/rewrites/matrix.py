"""Systems, inverses, determinants and traces: cheaper forms that facts about matrices allow.

The examples are well conditioned: a solution and a product with an inverse differ by rounding times
the condition number, and the solution is the better one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from symgraph.core.lazy import lazy
from symgraph.core.node import Node, new_input
from symgraph.core.op import o, ops
from symgraph.core.pattern import rewrite_rule
from symgraph.rewrites.linalg import swapped
from symgraph.rewrites.matrix_facts import (
    columns_orthonormal,
    definite,
    gram,
    orthogonal,
    square,
    symmetric,
    triangular,
)

contract_order: Any = lazy("symgraph.ops.contract_order")  # only chains of products need them
linalg_functions: Any = lazy("symgraph.ops.linalg_functions")
Uses = Callable[[Node], int]


def _x(*shape: Any) -> Node:
    return new_input("float32", shape, "x")


def _regular(*shape: int) -> Node:
    """Return a matrix with a condition number near 1."""
    return _x(*shape) * 0.05 + 4.0 * o.eye(shape[-1], dtype="float32")


def _triangle() -> Node:
    return o.tril(_regular(3, 3))


def _positive() -> Node:
    x = _x(3, 3) * 0.3
    return o.matmul(x, o.matrix_transpose(x)) + 4.0 * o.eye(3, dtype="float32")


def _same_stack(a: Node, b: Node) -> bool:
    return a.type.shape[:-2] == b.type.shape[:-2]


# -- orthogonal factors --------------------------------------------------------------------------
def _orthonormal_example() -> list[Node]:
    q, u = o.qr(_regular(4, 4))[0], o.svd(_regular(3, 3))[0]
    thin = o.qr(_x(5, 2) + o.eye(5, 2, dtype="float32") * 9.0)[0]
    return [o.matmul(o.matrix_transpose(x), x) for x in (q, u, thin)] + [
        o.matmul(q, o.matrix_transpose(q))
    ]


@rewrite_rule(
    phase="linalg", numeric="algebraic", roots=("matmul",),
    children=("permute_dims", "qr_q", "svd_u", "svd_vh", "eigh_vectors"),
    example=_orthonormal_example,
)  # fmt: skip
def product_of_orthogonal_factors(node: Node) -> Node | None:
    """Q.T @ Q -> I for orthonormal columns, Q @ Q.T -> I for square Q.

    Algebraic, as the error of a matrix without the factorization, or a NaN, would be lost.
    """
    a, b = node.inputs
    if node.dtype.is_complex or not (swapped(a) is b or swapped(b) is a):
        return None
    if not columns_orthonormal(b):
        return None
    n = node.type.shape[-1]
    return o.broadcast_to(o.eye(n, dtype=node.dtype), node.type.shape)


# -- systems -------------------------------------------------------------------------------------
def _inverse_example() -> list[Node]:
    a = _regular(3, 3)
    return [o.matmul(o.inv(a), _x(3, 2)), o.matmul(_x(2, 3), o.inv(a))]


@rewrite_rule(
    phase="linalg", numeric="factor", roots=("matmul",), children=("inv",), uses=True,
    example=_inverse_example,
)  # fmt: skip
def product_with_inverse(node: Node, uses: Uses) -> Node | None:
    """inv(A) @ B -> solve(A, B), B @ inv(A) -> solve(A.T, B.T).T: less work, more accurate."""
    a, b = node.inputs
    if not _same_stack(a, b):
        return None
    if a.op.name == "inv" and uses(a) == 1:
        return ops["solve"](a.inputs[0], b, trans=False)
    if b.op.name == "inv" and uses(b) == 1:
        t = ops["solve"](b.inputs[0], o.matrix_transpose(a), trans=True)
        return o.matrix_transpose(t)
    return None


def _solve_example() -> list[Node]:
    t, b = _triangle(), _x(3, 2)
    return [
        ops["solve"](t, b, trans=False),
        ops["solve"](o.matrix_transpose(t), b, trans=True),
        ops["solve"](_positive(), b, trans=False),
    ]


@rewrite_rule(phase="linalg", numeric="factor", roots=("solve",), example=_solve_example)
def solve_by_structure(node: Node) -> Node | None:
    """solve(A, B) -> substitution for a triangular A, Cholesky for a positive definite one."""
    a, b = node.inputs
    side = triangular(a)
    if side:
        return o.solve_triangular(
            a, b, lower=side == "lower", trans=int(node.params.trans), what="solve"
        )
    return ops["solve_positive"](a, b) if definite(a) else None


def _inv_example() -> list[Node]:
    q = o.qr(_regular(3, 3))[0]
    return [o.inv(_triangle()), o.inv(_positive()), o.inv(q)]


@rewrite_rule(phase="linalg", numeric="factor", roots=("inv",), example=_inv_example)
def inverse_by_structure(node: Node) -> Node | None:
    """inv(A) by substitution or Cholesky; the transpose for an orthogonal A."""
    a = node.inputs[0]
    if orthogonal(a):
        return o.matrix_transpose(a)
    one = o.broadcast_to(o.eye(a.type.shape[-1], dtype=a.dtype), a.type.shape)
    side = triangular(a)
    if side:
        return o.solve_triangular(a, one, lower=side == "lower", what="inv")
    return ops["solve_positive"](a, one) if definite(a) else None


def _twice_example() -> list[Node]:
    return [o.inv(o.inv(_regular(3, 3)))]


@rewrite_rule(
    phase="linalg", numeric="algebraic", roots=("inv",), children=("inv",), example=_twice_example
)
def inverse_of_inverse(node: Node) -> Node | None:
    """inv(inv(A)) -> A; a singular A raised an error before."""
    inner = node.inputs[0]
    return inner.inputs[0] if inner.op.name == "inv" else None


# -- determinants and traces ---------------------------------------------------------------------
def _log_det_example() -> list[Node]:
    factor = ops["cholesky"](_positive())
    return [
        ops["log_abs_det"](_triangle()),
        ops["log_abs_det"](o.matmul(factor, o.matrix_transpose(factor))),
        ops["log_abs_det"](_positive()),
    ]


@rewrite_rule(phase="linalg", numeric="factor", roots=("log_abs_det",), example=_log_det_example)
def log_determinant_by_structure(node: Node) -> Node | None:
    """log |det A| -> sum of logs of a diagonal: of A, of L in L @ L.T, of the Cholesky factor."""
    a = node.inputs[0]
    if triangular(a):
        return o.sum(o.log(o.abs(o.diagonal(a))), -1)
    if gram(a) and triangular(a.inputs[0]):
        return 2.0 * o.sum(o.log(o.abs(o.diagonal(a.inputs[0]))), -1)
    if definite(a):
        return 2.0 * o.sum(o.log(o.diagonal(ops["cholesky"](a))), -1)
    return None


def _det_example() -> list[Node]:
    factor = ops["cholesky"](_positive())
    return [
        o.det(_triangle()),
        o.det(o.matmul(factor, o.matrix_transpose(factor))),
        o.det(_positive()),
    ]


@rewrite_rule(phase="linalg", numeric="factor", roots=("det",), example=_det_example)
def determinant_by_structure(node: Node) -> Node | None:
    """det A -> product of a diagonal: of A, squared of L in L @ L.T or of the Cholesky factor."""
    a = node.inputs[0]
    if triangular(a):
        return o.prod(o.diagonal(a), -1)
    if gram(a) and triangular(a.inputs[0]):
        return o.square(o.prod(o.diagonal(a.inputs[0]), -1))
    if definite(a):
        return o.square(o.prod(o.diagonal(ops["cholesky"](a)), -1))
    return None


def _trace_example() -> list[Node]:
    return [o.trace(o.matmul(_x(3, 4), _x(4, 3))), o.trace(o.matmul(_x(2, 3, 3), _x(2, 3, 3)))]


@rewrite_rule(
    phase="linalg", numeric="reorder", roots=("sum",), children=("slice",), uses=True,
    example=_trace_example,
)  # fmt: skip
def trace_of_product(node: Node, uses: Uses) -> Node | None:
    """trace(A @ B) -> sum(A * B.T): n^2 instead of n^3 multiplications."""
    x = node.inputs[0]
    if node.params.axes != (x.ndim - 1,) or node.dtype is not x.dtype:
        return None
    y = _whole_diagonal(x)
    if y is None or y.op.name != "matmul" or uses(y) > 1:
        return None
    a, b = y.inputs
    if not _same_stack(a, b):
        return None
    return o.sum(a * o.matrix_transpose(b), (node.ndim, node.ndim + 1), node.dtype)


def _whole_diagonal(x: Node) -> Node | None:
    """Return the square matrices of which `x` is the main diagonal, as `diagonal` makes it."""
    flat = x.inputs[0]
    if flat.op.name != "reshape" or flat.ndim != x.ndim:
        return None
    y = flat.inputs[0]
    if y.ndim != flat.ndim + 1 or not square(y) or y.type.shape[:-2] != flat.type.shape[:-1]:
        return None
    return y if o.diagonal(y) is x else None


# -- what is known already -----------------------------------------------------------------------
def _symmetric_example() -> list[Node]:
    x = _x(3, 3)
    a = o.matmul(x, o.matrix_transpose(x))
    return [(a + o.matrix_transpose(a)) * 0.5]


@rewrite_rule(
    phase="linalg", numeric="reorder", roots=("mul",), children=("add",), example=_symmetric_example
)
def symmetric_part_of_symmetric(node: Node) -> Node | None:
    """(A + A.T) / 2 -> A for a symmetric A."""
    for total, half in (node.inputs, node.inputs[::-1]):
        if total.op.name != "add" or half.op.name != "constant" or half.data.size != 1:
            continue
        a, b = total.inputs
        a = a if swapped(b) is a else b
        if half.data.item() == 0.5 and (swapped(total.inputs[0]) is a or swapped(b) is a):
            return a if a.type == node.type and symmetric(a) else None
    return None


def _cholesky_example() -> list[Node]:
    factor = ops["cholesky"](_positive())
    return [ops["cholesky"](o.matmul(factor, o.matrix_transpose(factor)))]


@rewrite_rule(
    phase="linalg", numeric="factor", roots=("cholesky",), children=("matmul",),
    example=_cholesky_example,
)  # fmt: skip
def cholesky_of_product(node: Node) -> Node | None:
    """cholesky(L @ L.T) -> L where L is a Cholesky factor."""
    a, b = node.inputs[0].inputs if node.inputs[0].op.name == "matmul" else (node, node)
    return a if a.op.name == "cholesky" and swapped(b) is a else None


# -- chains --------------------------------------------------------------------------------------
def _chain_example() -> list[Node]:
    return [
        o.matmul(o.matmul(_x(8, 9), _x(9, 10)), _x(10, 1)),
        o.matmul(_x(2, 9), o.matmul(o.matmul(_x(9, 8), _x(8, 9)), _x(9, 7))),
    ]


@rewrite_rule(
    phase="linalg", numeric="reorder", roots=("matmul",), children=("matmul",), uses=True,
    example=_chain_example,
)  # fmt: skip
def chain_of_products(node: Node, uses: Uses) -> Node | None:
    """(A @ B) @ C -> A @ (B @ C) and longer chains: the order with the fewest multiplications."""
    if node.ndim != 2:
        return None
    chain, cost = _chain(node, uses, top=True)
    sizes = [chain[0].type.shape[0], *(x.type.shape[1] for x in chain)]
    if len(chain) < 3 or any(not isinstance(n, int) for n in sizes):
        return None
    best, order = contract_order.chain_order(sizes)
    if best >= cost:
        return None
    product: Node = linalg_functions.multiplied(chain, order)
    return product


def _chain(node: Node, uses: Uses, top: bool = False) -> tuple[list[Node], int]:
    """Return the factors of nested products used here only, and the multiplications they cost."""
    if node.op.name != "matmul" or node.ndim != 2 or not (top or uses(node) == 1):
        return [node], 0
    a, b = node.inputs
    if a.ndim != 2 or b.ndim != 2:
        return [node], 0
    (left, p), (right, q) = _chain(a, uses), _chain(b, uses)
    (m, k), n = a.type.shape, b.type.shape[1]
    own = m * k * n if all(isinstance(s, int) for s in (m, k, n)) else 0
    return [*left, *right], p + q + own
