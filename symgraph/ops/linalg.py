"""Bases of the linear algebra ops: stacks of matrices, their checks, batches and errors.

Two kinds of ops. A *factor* is what LAPACK computes, packed in one array, and has no derivative. A
*result* (the solution, the eigenvalues, Q ...) has a derivative of its own and expands to slices of
a factor just before lowering. Equal nodes are one node, so all results of one matrix, and their
derivatives, share its factorization.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from symgraph.core.dtype import COMPLEX64, COMPLEX128, FLOAT16, FLOAT32, FLOAT64, DType
from symgraph.core.errors import DTypeError, LinAlgError, ShapeError
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import Op, o
from symgraph.core.types import TensorType
from symgraph.dims.dim import broadcast, must_equal
from symgraph.ops.base import as_nodes, batch_all, cast_to, floatx

Size = Any
DTYPES = (FLOAT32, FLOAT64, COMPLEX64, COMPLEX128)


class MatrixOp(Op):
    """Base of ops on a stack of matrices, input 0: leading axes are a batch.

    `square` asks for square matrices. Complex matrices have Hermitian where real ones have
    symmetric ones; rules that say `adjoint` hold for both.
    """

    dtypes = "float"
    takes_complex = True
    square = True
    copied: tuple[int, ...] = ()  # inputs that the lowering copies: read where they are made
    fault = "has no result"  # what the error says of a matrix for which LAPACK fails
    mend = "check the input"
    permutes = False  # the generated tests keep the matrices of the samples as they are

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        lead, n, m = check_matrices(self.name, inputs[0], self.square)
        shape = (*lead, *self.result_shape(n, m, params))
        return TensorType(self.result_dtype(inputs[0].dtype, params), shape)

    def result_shape(self, m: Size, n: Size, params: Any) -> tuple[Size, ...]:
        """Return the last axes of the result for matrices of m rows and n columns."""
        return (m, n)

    def result_dtype(self, dtype: DType, params: Any) -> DType:
        """Return the dtype of the result for matrices of `dtype`."""
        return dtype

    def batch(self, o: Any, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]) -> Any:
        return self.rebuild(node, tuple(batch_all(o, inputs, axes))), 0

    def failure(
        self, node: Node, item: int, info: int, matrix: Node | None = None
    ) -> LinAlgError:
        """Return the error for matrix `item` of the batch, with LAPACK's `info`.

        matrix: what the user called with, where it is not to be found from the inputs.
        """
        what = getattr(node.params, "what", "") or self.title
        which = "the matrix" if node.inputs[0].ndim == 2 else f"matrix {item} of the batch"
        x = user_matrix(node.inputs[0]) if matrix is None else matrix
        return LinAlgError(
            f"{what}: {which} {self.fault.format(info=info, zero=info - 1)}\n"
            f"  input:  `{describe(x)}` {x.type}\n"
            f"  node:   made at {node.source}\n"
            f"  mend:   {self.mend}"
        )

    @property
    def title(self) -> str:
        """What the user calls the op."""
        return self.name


class Factor(MatrixOp):
    """Base of packed results of LAPACK."""

    copied = (0,)
    not_differentiable = "it is a packed factorization; the results made of it have derivatives"

    def statements(self, low: Any, node: Node, out: Any) -> None:
        low.lapack(node, out)


def check_finite(low: Any, node: Node) -> None:
    """Add a check that stops with the error of the node where a number is not finite."""
    s = low.s
    for x in node.inputs:  # parts of complex numbers are two
        low.check_values(node, x, lambda v: s.unary("not", s.unary("abs", v) < math.inf))


def user_matrix(x: Node) -> Node:
    """Return the matrix of which `x` is a packed factorization or a part of one."""
    while (x.op.view or isinstance(x.op, Factor)) and not x.op.is_leaf and x._name is None:
        x = x.inputs[0]
    if x.op.name == "mul" and x.inputs[0].op.name == "add":  # the symmetric part
        a, b = x.inputs[0].inputs
        return a if b is adjoint(a) else x
    return x


def check_matrices(op: str, x: Node, square: bool = True) -> tuple[tuple[Size, ...], Size, Size]:
    """Return (leading axes, rows, columns); raises DTypeError / ShapeError."""
    if x.dtype not in DTYPES:
        raise DTypeError(
            f"{op} needs float32 or float64, or complex numbers, got `{describe(x)}` {x.type}, "
            f"made at {x.source}\n"
            "  mend:   x.astype('float32')"
        )
    if x.ndim < 2:
        raise ShapeError(
            f"{op} needs a matrix or a stack of them, got `{describe(x)}` {x.type}, made at "
            f"{x.source}"
        )
    *lead, m, n = x.type.shape
    if square and isinstance(m, int) and isinstance(n, int) and m != n:
        raise ShapeError(
            f"{op} needs square matrices, got `{describe(x)}` {x.type}, made at {x.source}"
        )
    if square:
        must_equal(m, n)
        m = n = m if isinstance(m, int) else n
    return tuple(lead), m, n


def as_matrices(x: Any) -> Node:
    """Return `x` as a float node; integers become floatX, float16 is refused later by name."""
    node = as_node(x)
    if node.dtype is FLOAT16 or node.dtype.is_inexact:
        return node
    return cast_to(node, floatx())


def as_pair(a: Any, b: Any) -> tuple[Node, Node]:
    """Return two operands as float nodes of one dtype."""
    x, y = as_nodes((a, b))
    return as_matrices(x), as_matrices(y)


def as_operands(a: Any, b: Any) -> tuple[Node, Node]:
    """Return matrix and right side of a system: of one dtype, but for a real matrix of complex."""
    x, y = as_pair(a, b)
    given = as_node(a)
    return (x if given.dtype.is_complex else cast_to(given, x.dtype.part)), y


def same_batch(op: str, a: Node, b: Node) -> tuple[Node, Node]:
    """Return two stacks of matrices with equal leading axes; raises ShapeError."""
    first, second = a.type.shape[:-2], b.type.shape[:-2]
    if first == second:
        return a, b
    ndim = max(len(first), len(second))
    p = (1,) * (ndim - len(first)) + first
    q = (1,) * (ndim - len(second)) + second
    try:
        lead = tuple(broadcast(m, n) for m, n in zip(p, q, strict=True))
    except ValueError:
        raise ShapeError(
            f"{op}: the stacks `{describe(a)}` {a.type} and `{describe(b)}` {b.type} do not "
            "broadcast"
        ) from None
    return (
        o.broadcast_to(a, (*lead, *a.type.shape[-2:])),
        o.broadcast_to(b, (*lead, *b.type.shape[-2:])),
    )


def adjoint(x: Node) -> Node:
    """Return the conjugate transpose, for real matrices the transpose."""
    return o.conj(o.matrix_transpose(x))


def symmetric_part(x: Node) -> Node:
    """Return (A + A^H) / 2: derivatives by what is read of a symmetric matrix are symmetric."""
    return (x + adjoint(x)) * 0.5


def from_lower(x: Node) -> Node:
    """Return the symmetric (Hermitian) matrix that has the lower triangle of `x`."""
    return o.tril(x) + adjoint(o.tril(x, -1))


def to_lower(g: Node) -> Node:
    """Return the adjoint of `from_lower`: what a lower triangle means for the whole matrix."""
    return o.tril(g) + o.tril(adjoint(g), -1)


def identity_like(x: Node) -> Node:
    """Return identities of the size of square matrices, one for the whole stack."""
    return o.eye(x.type.shape[-1], dtype=x.dtype)


def main_diagonal(x: Node) -> Node:
    """Return the diagonals of square matrices, also where two symbols stand for the one size."""
    *lead, m, n = x.type.shape
    return o.slice_axis(o.reshape(x, (*lead, m * n)), len(lead), 0, n, n + 1)


def largest(x: Node) -> Node:
    """Return the largest of the last axis of what is not negative, 0 where there is none."""
    n = x.type.shape[-1]
    if isinstance(n, int) and n > 0:
        return o.max(x, -1)
    return o.max(o.concatenate([x, o.zeros((*x.type.shape[:-1], 1), x.dtype)], -1), -1)


def rows(x: Node, first: Size, last: Size) -> Node:
    """Return rows first .. last - 1 of stacks of matrices."""
    return o.slice_axis(x, x.ndim - 2, first, last - first)


def each(f: Any, *arrays: np.ndarray) -> np.ndarray:
    """Apply a NumPy function of matrices to every matrix of stacks with equal leading axes.

    `f` gets the number of the matrix first.
    """
    lead = arrays[0].shape[:-2]
    flat = [a.reshape(-1 if a.size else _count(lead), *a.shape[-2:]) for a in arrays]
    found = [np.asarray(f(k, *parts)) for k, parts in enumerate(zip(*flat, strict=True))]
    if not found:
        probe = np.asarray(f(0, *(np.eye(*a.shape[-2:], dtype=a.dtype) for a in arrays)))
        return np.zeros((*lead, *probe.shape), probe.dtype)
    return np.stack(found).reshape(*lead, *found[0].shape)


def orientation(vectors: np.ndarray) -> np.ndarray:
    """Return the factor of length 1 of each row that makes its weighted sum real and positive.

    The weights are those of the native kernels; LAPACK leaves the factor open.
    """
    wide = vectors.astype(np.result_type(vectors, np.float64))
    total = (wide / (np.arange(vectors.shape[-1]) + 1.7)).sum(-1)
    if wide.dtype.kind == "c":
        some = total != 0
        total = np.where(some, total, 1)
        return np.asarray(total.conj() / np.abs(total)).astype(vectors.dtype)
    return np.where(total < 0, -1, 1).astype(vectors.dtype)


def weighted(x: Node) -> Node:
    """Return sum(v[i] / (i + 1.7)) of each column v, as rows (..., 1, k)."""
    place = o.cast(o.iota((x.type.shape[-2], 1), 0), x.dtype.part)
    return o.sum(x / (place + 1.7), -2, keepdims=True)


def kept_oriented(x: Node, moved: Node) -> tuple[Node, Node | None]:
    """Return the derivative of columns whose weighted sums stay real, and the turn i t it took.

    `moved` is their derivative but for multiples i t of the columns themselves; there is no such
    freedom for real ones (None).
    """
    if not x.dtype.is_complex:
        return moved, None
    sums = o.real(weighted(x))
    some = o.ne(sums, 0.0)
    safe = o.where(some, sums, o.ones((), sums.dtype))
    turn = o.where(some, -o.imag(weighted(moved)) / safe, o.zeros((), sums.dtype))
    whole = o.complex(o.zeros((), turn.dtype), turn)
    return moved + x * whole, whole


def _count(lead: Sequence[int]) -> int:
    n = 1
    for size in lead:
        n *= size
    return n


# -- samples -----------------------------------------------------------------------------------
def random_matrices(rng: Any, dtype: Any, shapes: Sequence[Any]) -> Iterator[np.ndarray]:
    """Yield matrices of the given shapes with singular values apart from 0 and from each other."""
    if dtype.is_half:
        return
    for shape in shapes:
        x = rng.normal(size=shape)
        if dtype.is_complex:
            x = x + 1j * rng.normal(size=shape)
        if x.size:
            u, s, vh = np.linalg.svd(x, full_matrices=False)
            s = 1 + np.arange(s.shape[-1]) + 0.3 * rng.random(s.shape)
            x = (u * s[..., None, :]) @ vh
        yield x.astype(dtype.numpy)


def positive_matrices(rng: Any, dtype: Any, shapes: Sequence[Any]) -> Iterator[np.ndarray]:
    """Yield Hermitian matrices with eigenvalues of at least 1, apart from each other."""
    for x in random_matrices(rng, dtype, shapes):
        a = x @ np.swapaxes(x, -1, -2).conj()
        yield ((a + np.swapaxes(a, -1, -2).conj()) / 2).astype(dtype.numpy)


SQUARE = ((3, 3), (1, 1), (5, 5), (2, 3, 3), (2, 1, 2, 2), (0, 0), (0, 3, 3))
GENERAL = ((4, 3), (3, 5), (1, 1), (2, 3, 3), (2, 4, 2), (3, 0), (0, 2))
