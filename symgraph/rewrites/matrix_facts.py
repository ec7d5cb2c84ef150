"""What can be proved about matrices: triangular, symmetric, positive definite, orthogonal.

As in `facts`, a question looks a few levels down only.
"""

from __future__ import annotations

from symgraph.core.dtype import BOOL
from symgraph.core.node import CONSTANT, Node
from symgraph.core.op import o, ops
from symgraph.core.pattern import const_value
from symgraph.dims.dim import provably_le
from symgraph.rewrites.facts import DEPTH, non_negative
from symgraph.rewrites.linalg import swapped

_SYMMETRIC = {"sqrtm", "invsqrtm"}
_LOWER = {"cholesky", "lu_lower"}
_UPPER = {"qr_r", "lu_upper"}
_ELEMENTWISE = {"add", "sub", "neg", "abs", "square", "exp", "where", "maximum", "minimum"}


def square(x: Node) -> bool:
    """Tell whether the last two axes are known to be equal."""
    m, n = x.type.shape[-2:] if x.ndim >= 2 else (0, 1)
    return bool(m is n or m == n)


def triangular(x: Node, depth: int = DEPTH) -> str:
    """Return "lower" or "upper" where the other triangle is proved to be zero, else ""."""
    if x.ndim < 2 or not square(x):
        return ""
    name = x.op.name
    if name in _LOWER:
        return "lower"
    if name in _UPPER:
        return "upper"
    if depth == 0:
        return ""
    y = swapped(x)
    if y is not None:
        return {"lower": "upper", "upper": "lower", "": ""}[triangular(y, depth - 1)]
    if name == "where":
        return _masked(x)
    if name in ("inv", "neg"):
        return triangular(x.inputs[0], depth - 1)
    if name == "matmul":
        sides = {triangular(i, depth - 1) for i in x.inputs}
        return sides.pop() if len(sides) == 1 else ""
    if name in ("mul", "div") and x.inputs[1].ndim == 0:
        return triangular(x.inputs[0], depth - 1) if name == "mul" or _finite(x.inputs[1]) else ""
    return ""


def _finite(x: Node) -> bool:
    value = const_value(x)
    return value is not None and 0 < abs(value) < float("inf")


def _masked(x: Node) -> str:
    """Recognise where(row + k >= column, ..., 0) and its complement: tril and triu."""
    mask, a, b = x.inputs
    if mask.op.name not in ("ge", "le", "gt", "lt") or mask.dtype is not BOOL:
        return ""
    parts = [_counter(i) for i in mask.inputs]
    if None in parts or mask.ndim != 2:
        return ""
    (first, shift), (second, less) = parts  # type: ignore[misc]
    if {first, second} != {0, 1}:
        return ""
    # the condition as: row - column (relation) distance
    name, distance = mask.op.name, less - shift
    if first == 1:
        name, distance = {"ge": "le", "le": "ge", "gt": "lt", "lt": "gt"}[name], -distance
    if name == "gt":
        name, distance = "ge", distance + 1
    if name == "lt":
        name, distance = "le", distance - 1
    if name == "ge":  # true from the diagonal `distance` below on
        if const_value(b) == 0 and distance >= 0:
            return "lower"
        return "upper" if const_value(a) == 0 and distance <= 1 else ""
    if const_value(b) == 0 and distance <= 0:
        return "upper"
    return "lower" if const_value(a) == 0 and distance >= -1 else ""


def _counter(x: Node) -> tuple[int, int] | None:
    """Return (axis of the last two, number added) for an iota, seen through a shift."""
    shift = 0
    if x.op.name in ("add", "sub"):
        value = const_value(x.inputs[1])
        if not isinstance(value, int):
            return None
        shift, x = value if x.op.name == "add" else -value, x.inputs[0]
    if x.op.name != "iota" or len(x.params.shape) != 2:
        return None
    return x.params.axis, shift


def diagonal_of(x: Node, depth: int = DEPTH) -> Node | None:
    """Return v where a matrix is proved to be diag(v), zero elsewhere, else None.

    Known: where(row == column, ..., 0), as `diag` and `eye` make it, its transposes, negatives,
    multiples by finite numbers, and sums and products of such matrices.
    """
    if x.ndim < 2 or not square(x) or not x.dtype.is_float:
        return None
    if _identity(x):
        return o.ones(x.type.shape[-1:], x.dtype)
    if x.op.name == "where" and _on_diagonal(x.inputs[0]) and const_value(x.inputs[2]) == 0:
        return _along(x.inputs[1], x)
    if depth == 0:
        return None
    y = swapped(x)
    if y is not None or x.op.name == "neg":
        v = diagonal_of(x.inputs[0], depth - 1)
        return v if v is None or y is not None else o.neg(v)
    if x.op.name in ("add", "sub", "matmul"):
        left, right = (diagonal_of(i, depth - 1) for i in x.inputs)
        if left is None or right is None:
            return None
        return ops["mul" if x.op.name == "matmul" else x.op.name](left, right)
    if x.op.name in ("mul", "div"):
        for a, s in (x.inputs, x.inputs[::-1])[: 2 if x.op.name == "mul" else 1]:
            v = diagonal_of(a, depth - 1) if s.ndim == 0 and _finite(s) else None
            if v is not None:
                return x.op(v, s)
    return None


def _along(a: Node, x: Node) -> Node:
    """Return the diagonal of `a` broadcast to the matrices `x`."""
    lead, n = x.type.shape[:-2], x.type.shape[-1]
    one = [isinstance(m, int) and m == 1 for m in ((1, 1, *a.type.shape))[-2:]]
    if a.ndim < 2:
        v = a
    elif one[0]:
        v = o.squeeze(a, -2)
    elif one[1]:
        v = o.squeeze(a, -1)
    else:
        v = o.diagonal(a)
    return o.broadcast_to(v, (*lead, n))


def symmetric(x: Node, depth: int = DEPTH) -> bool:
    """Tell whether a matrix equals its transpose, up to the rounding of a product."""
    if x.ndim < 2 or not square(x):
        return False
    name = x.op.name
    if name in _SYMMETRIC or _identity(x) or diagonal_of(x, 1) is not None:
        return True
    if x.op is CONSTANT:
        return bool((x.data == x.data.swapaxes(-1, -2)).all())
    if depth == 0:
        return False
    if gram(x) or _both_ways(x) or (name == "solve_positive" and _identity(x.inputs[1])):
        return True
    if swapped(x) is not None or name in ("inv", "expm", "pinv"):
        return symmetric(x.inputs[0], depth - 1)
    if name in ("mul", "div", "power", *_ELEMENTWISE):
        return all(_same_across(i, depth - 1) for i in x.inputs)
    return False


def _same_across(x: Node, depth: int) -> bool:
    """Tell whether an operand of an elementwise op is a number per matrix or symmetric."""
    if x.ndim == 0 or const_value(x) is not None:
        return True
    if x.ndim >= 2 and all(isinstance(n, int) and n == 1 for n in x.type.shape[-2:]):
        return True
    return _on_diagonal(x) or symmetric(x, depth)


def _both_ways(x: Node) -> bool:
    """Recognise A + A.T."""
    if x.op.name != "add":
        return False
    a, b = x.inputs
    return swapped(a) is b or swapped(b) is a


def gram(x: Node) -> bool:
    """Recognise A @ A.T and A.T @ A: symmetric and positive semidefinite."""
    if x.op.name != "matmul":
        return False
    a, b = x.inputs
    return swapped(a) is b or swapped(b) is a


def semidefinite(x: Node, depth: int = DEPTH) -> bool:
    """Tell whether no eigenvalue of a symmetric matrix is negative, up to rounding."""
    if x.ndim < 2 or not square(x):
        return False
    if gram(x):
        return True
    return depth > 0 and (_closed(x, depth, semidefinite) or definite(x, depth - 1))


def definite(x: Node, depth: int = DEPTH) -> bool:
    """Tell whether a symmetric matrix is proved to be positive definite."""
    if x.ndim < 2 or not square(x):
        return False
    if _identity(x) or _scaled_identity(x):
        return True
    if gram(x):
        return any(i.op.name == "cholesky" for i in x.inputs)
    if depth == 0:
        return False
    if x.op.name == "solve_positive":  # an inverse by Cholesky
        return _identity(x.inputs[1]) and definite(x.inputs[0], depth - 1)
    if x.op.name == "add":
        for a, b in (x.inputs, x.inputs[::-1]):
            if definite(a, depth - 1) and semidefinite(b, depth - 1):
                return True
    return _closed(x, depth, definite)


def _closed(x: Node, depth: int, holds: object) -> bool:
    """Sums, transposes, inverses and positive multiples keep (semi)definiteness."""
    assert callable(holds)
    if swapped(x) is not None or x.op.name == "inv":
        return bool(holds(x.inputs[0], depth - 1))
    if x.op.name == "add":
        return all(holds(i, depth - 1) for i in x.inputs)
    if x.op.name in ("mul", "div"):
        pairs = (x.inputs, x.inputs[::-1]) if x.op.name == "mul" else (x.inputs,)
        return any(_positive_number(s) and holds(a, depth - 1) for a, s in pairs)
    return False


def _positive_number(s: Node) -> bool:
    value = const_value(s)
    if value is not None:
        return bool(0 < value < float("inf"))
    return s.ndim == 0 and s.op.name in ("exp", "softplus") and non_negative(s)


def _scaled_identity(x: Node) -> bool:
    """Recognise where(row == column, c, 0) with c > 0."""
    if x.op.name != "where" or x.ndim < 2:
        return False
    mask, a, b = x.inputs
    return _on_diagonal(mask) and const_value(b) == 0 and _positive_number(a)


def _on_diagonal(mask: Node) -> bool:
    """Recognise row == column."""
    if mask.op.name != "eq" or mask.ndim != 2 or not square(mask):
        return False
    parts = [_counter(i) for i in mask.inputs]
    if parts[0] is None or parts[1] is None:
        return False
    return {parts[0][0], parts[1][0]} == {0, 1} and parts[0][1] == parts[1][1]


def _identity(x: Node) -> bool:
    """Recognise the numbers of row == column."""
    return x.op.name == "cast" and _on_diagonal(x.inputs[0])


def columns_orthonormal(x: Node) -> bool:
    """Tell whether X.T @ X is the identity, up to rounding: orthogonal factors, also thin ones."""
    m, n = x.type.shape[-2:] if x.ndim >= 2 else (0, 1)
    if x.op.name in ("qr_q", "svd_u"):
        return provably_le(n, m)
    y = swapped(x)
    if y is not None and y.op.name == "svd_vh":
        return provably_le(n, m)
    return orthogonal(x)


def orthogonal(x: Node) -> bool:
    """Tell whether the transpose is the inverse, up to rounding."""
    y = swapped(x)
    x = x if y is None else y
    return x.op.name in ("qr_q", "eigh_vectors", "svd_u", "svd_vh") and square(x)
