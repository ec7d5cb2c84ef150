"""Matrix products: transposes, scales, identities and degenerate sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from symgraph.core.dtype import BOOL
from symgraph.core.node import Node, new_input
from symgraph.core.op import o, ops
from symgraph.core.pattern import rewrite_rule
from symgraph.dims.dim import provably_le
from symgraph.ops.shape import product

Uses = Callable[[Node], int]


def _x(*shape: Any) -> Node:
    return new_input("float32", shape, "x")


def swapped(x: Node) -> Node | None:
    """Return y where x is y with its last two axes exchanged, else None."""
    if x.op.name != "permute_dims":
        return None
    axes, n = x.params.axes, x.ndim
    return x.inputs[0] if axes == (*range(n - 2), n - 1, n - 2) else None


def _transposed_example() -> list[Node]:
    return [o.matmul(_x(3, 4).T, _x(5, 3).T)]


@rewrite_rule(
    phase="linalg", numeric="reorder", roots=("matmul",), children=("permute_dims",),
    example=_transposed_example,
)  # fmt: skip
def product_of_transposes(node: Node) -> Node | None:
    """A.T @ B.T -> (B @ A).T: operands are read as they are stored."""
    a, b = (swapped(x) for x in node.inputs)
    if a is None or b is None:
        return None
    return o.matrix_transpose(node.op(b, a))


def _scaled_example() -> list[Node]:
    a, b, s = _x(30, 40), _x(40, 2), _x()
    return [o.matmul(a * s, b), o.matmul(-a, b), o.matmul(b.T, a.T * 0.5)]


@rewrite_rule(
    phase="linalg", numeric="reorder", roots=("matmul",), children=("mul", "neg", "div"),
    uses=True, example=_scaled_example,
)  # fmt: skip
def product_of_scaled(node: Node, uses: Uses) -> Node | None:
    """(s * A) @ B -> s * (A @ B) where A, used here only, is larger than the result."""
    size = product(node.type.shape)
    for k, x in enumerate(node.inputs):
        if x.op.name not in ("mul", "neg", "div") or uses(x) > 1 or not x.dtype.is_float:
            continue
        larger = product(x.type.shape)
        if larger is size or not provably_le(size, larger) or larger == size:
            continue
        found = _scale(x)
        if found is None:
            continue
        matrix, apply = found
        operands = [matrix, node.inputs[1]] if k == 0 else [node.inputs[0], matrix]
        return apply(node.op(*operands))
    return None


def _scale(x: Node) -> tuple[Node, Callable[[Node], Node]] | None:
    """Return (A, f) where x is f(A) and f multiplies by one scalar, else None."""
    name = x.op.name
    if name == "neg":
        return x.inputs[0], o.neg
    pairs = (x.inputs, x.inputs[::-1]) if name == "mul" else (x.inputs,)
    for a, s in pairs:
        if s.ndim == 0 and a.type.shape == x.type.shape:
            return a, lambda y, s=s: getattr(o, name)(y, s)
    return None


def is_identity(x: Node) -> bool:
    """Tell whether a matrix is made as an identity: cast(iota rows == iota columns)."""
    if x.op.name == "cast" and x.inputs[0].dtype is BOOL:
        x = x.inputs[0]
    if x.op.name != "eq" or x.ndim != 2 or x.type.shape[0] != x.type.shape[1]:
        return False
    a, b = x.inputs
    if a.op.name != "iota" or b.op is not a.op or a.type.shape != b.type.shape:
        return False
    return {a.params.axis, b.params.axis} == {0, 1} and a.type.shape == x.type.shape


def _identity_example() -> list[Node]:
    eye = o.cast(o.eq(o.iota((3, 3), 0), o.iota((3, 3), 1)), "float32")
    return [o.matmul(eye, _x(3, 4)), o.matmul(_x(2, 5, 3), eye)]


@rewrite_rule(
    phase="linalg", numeric="algebraic", roots=("matmul",), children=("cast", "eq"),
    example=_identity_example,
)  # fmt: skip
def product_with_identity(node: Node) -> Node | None:
    """I @ B -> B and A @ I -> A; the product would spread a NaN or an infinity."""
    a, b = node.inputs
    if is_identity(a) and b.type == node.type:
        return b
    return a if is_identity(b) and a.type == node.type else None


def _outer_example() -> list[Node]:
    return [o.matmul(_x(3, 1), _x(1, 4)), o.matmul(_x(2, 3, 1), _x(1, 4))]


@rewrite_rule(phase="linalg", numeric="reorder", roots=("matmul",), example=_outer_example)
def outer_product(node: Node) -> Node | None:
    """A @ B with one column in A -> A * B, which fuses with its users (a batch of one)."""
    a, b = node.inputs
    n, m = a.type.shape[-1], b.type.shape[-2]
    if not (isinstance(n, int) and isinstance(m, int) and n == m == 1):
        return None
    return o.mul(a, b)


def _stack_example() -> list[Node]:
    return [o.matmul(_x(1, 3, 4), _x(1, 4, 5)), o.matmul(_x(1, 1, 3, 4), _x(4, 5))]


@rewrite_rule(phase="linalg", numeric="reorder", roots=("matmul",), example=_stack_example)
def product_of_single_stack(node: Node) -> Node | None:
    """A stack of one product -> the product of two matrices."""
    lead = node.ndim - 2
    if not lead or any(not isinstance(n, int) or n != 1 for n in node.type.shape[:lead]):
        return None
    a, b = (o.squeeze(x, tuple(range(x.ndim - 2))) if x.ndim > 2 else x for x in node.inputs)
    return o.expand_dims(node.op(a, b), tuple(range(lead)))


def _rows_example() -> list[Node]:
    return [o.matmul(_x(2, 3, 4), _x(4, 5)), o.matmul(_x(2, 6, 3, 4), _x(4, 5))]


def _stored(x: Node) -> bool:
    """Tell whether joining leading axes of `x` is a view of what is stored."""
    return not x.op.view or x.op.name in ("reshape", "expand_dims", "squeeze")


@rewrite_rule(phase="linalg", numeric="reorder", roots=("matmul",), example=_rows_example)
def product_of_stacked_rows(node: Node) -> Node | None:
    """A stack of matrices times one matrix -> one tall product: rows of the stack are joined."""
    a, b = node.inputs
    if a.ndim < 3 or b.ndim != 2 or not _stored(a):
        return None
    rows, k = product(a.type.shape[:-1]), a.type.shape[-1]
    tall = ops["reshape"](a, shape=(rows, k))
    return o.reshape(node.op(tall, b), node.type.shape)


def _weights_example() -> list[Node]:
    x, g = _x(2, 3, 4), _x(2, 3, 5)
    return [o.sum(o.matmul(o.matrix_transpose(x), g), 0)]


@rewrite_rule(
    phase="linalg", numeric="reorder", roots=("sum",), children=("matmul",), uses=True,
    example=_weights_example,
)  # fmt: skip
def sum_of_products(node: Node, uses: Uses) -> Node | None:
    """sum over the stack of X.T @ G -> one product over all rows: gradients of shared weights."""
    return None if uses(node.inputs[0]) > 1 else _one_product(node, node.inputs[0])


def _one_product(node: Node, y: Node) -> Node | None:
    """Return the sum `node` of a stack of products `y` as one product, None where it is none."""
    lead = y.ndim - 2
    if y.op.name != "matmul" or lead < 1 or node.params.axes != tuple(range(lead)):
        return None
    x, g = swapped(y.inputs[0]), y.inputs[1]
    if x is None or x.type.shape[:-1] != g.type.shape[:-1] or g.ndim != y.ndim:
        return None
    if node.dtype is not y.dtype or not _stored(x) or not _stored(g):
        return None
    rows = product(x.type.shape[:-1])
    left = ops["reshape"](x, shape=(rows, x.type.shape[-1]))
    right = ops["reshape"](g, shape=(rows, g.type.shape[-1]))
    return y.op(o.matrix_transpose(left), right)


def _several_example() -> list[Node]:
    x, g = _x(2, 3, 4), _x(2, 3, 5)
    y, h = o.tanh(x), o.tanh(g)
    first = o.matmul(o.matrix_transpose(x), h)
    return [o.sum(first + o.matmul(o.matrix_transpose(y), g), 0)]


@rewrite_rule(
    phase="linalg", numeric="reorder", roots=("sum",), children=("add",), uses=True,
    example=_several_example,
)  # fmt: skip
def sum_of_added_products(node: Node, uses: Uses) -> Node | None:
    """sum over the stack of X.T @ G + Y.T @ H -> two products: second derivatives by weights."""
    terms, total = [node.inputs[0]], None
    while terms:
        y = terms.pop()
        if uses(y) > 1:
            return None
        if y.op.name == "add" and all(i.type.shape == y.type.shape for i in y.inputs):
            terms += y.inputs[::-1]
            continue
        new = _one_product(node, y)
        if new is None:
            return None
        total = new if total is None else total + new
    return total
