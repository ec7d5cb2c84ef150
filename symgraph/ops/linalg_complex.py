"""Complex systems of equations as real ones of twice the size.

(A + iB)(x + iy) = c + id is [[A, -B], [B, A]] [x; y] = [c; d]. The block matrix is symmetric and
positive definite where A + iB is Hermitian and positive definite.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgraph.core.node import Node, as_node
from symgraph.core.op import function, no_complex, o
from symgraph.ops.base import as_nodes
from symgraph.ops.linalg import check_matrices


def any_complex(values: Sequence[Any]) -> bool:
    """Tell whether any operand of a function is complex."""
    return any(as_node(v).dtype.is_complex for v in values)


def blocks(z: Node) -> Node:
    """Return the real matrix (..., 2n, 2n) that acts on stacked parts as `z` does."""
    re, im = o.real(z), o.imag(z)
    above, below = o.concatenate([re, -im], -1), o.concatenate([im, re], -1)
    return o.concatenate([above, below], -2)


def halves(x: Node, axis: int) -> Node:
    """Return the complex array whose parts are stacked along an axis."""
    n = x.type.shape[axis] // 2
    return o.complex(o.slice_axis(x, axis, 0, n), o.slice_axis(x, axis, n, n))


@function
def solve_complex(a: Any, b: Any, assume_a: str = "gen") -> Node:
    """Return x with A x = b for complex A or b: `solve` with twice the rows."""
    z, y = as_nodes((a, b))
    check_matrices("solve", o.real(z))
    if assume_a not in ("gen", "pos"):
        raise no_complex(f"solve with assume_a={assume_a!r}", (z, y))
    axis = -1 if y.ndim == 1 else -2
    right = o.concatenate([o.real(y), o.imag(y)], axis)
    return halves(o.solve(blocks(z), right, assume_a), axis)


@function
def inv_complex(x: Any) -> Node:
    """Return the inverse of complex matrices: the first columns of that of the real blocks."""
    z = as_node(x)
    check_matrices("inv", o.real(z))
    n = z.type.shape[-1]
    return halves(o.slice_axis(o.inv(blocks(z)), -1, 0, n), -2)
