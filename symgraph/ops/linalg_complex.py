"""Complex matrices in the library of linear algebra: one op stands for all of its routines.

The ops that call LAPACK (`PAIRED`) have complex nodes as inputs and results like all others.
Before the other rewrites each becomes `on_pairs` of the parts of its operands: a real node whose
last axis, if its result is complex, holds (real, imaginary). That is how LAPACK's complex routines
want their memory, so the lowering stores the parts side by side and calls.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.errors import LinAlgError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, make
from symgraph.core.op import Op, o, ops
from symgraph.core.types import TensorType
from symgraph.core.walk import inherit
from symgraph.ops.base import batch_all
from symgraph.ops.complex import COMPLEX
from symgraph.ops.linalg import MatrixOp, user_matrix

PAIRED = (
    "cholesky", "solve_triangular", "lu_factor", "symmetric_factor", "svd_factor", "qr_factor",
    "qr_basis", "eig_factor", "hessenberg_factor", "schur_factor",
)  # fmt: skip


class OnPairsParams(namedtuple("OnPairsParams", "op values")):  # noqa: PYI024
    """The op's name and its parameters as a plain tuple: sizes in it are replaced when known."""

    __slots__ = ()

    @property
    def own(self) -> Any:
        """Return the parameters of the op itself."""
        return ops[self.op].Params(*self.values) if self.values else ()


class OnPairs(Op):
    """The op named `op` of complex operands that are given as parts: re, im, re, im ...

    Made when complex numbers are replaced, so no derivative is ever taken.
    """

    name, doc = "on_pairs", "A routine of LAPACK for complex matrices, given as parts."
    params = OnPairsParams._fields
    Params = OnPairsParams
    copied = (0, 1, 2, 3)  # the lowering brings the parts together: they are read where made

    def checks(self, low: Any, node: Node) -> None:
        """Check the parts as the op checks its operands."""
        own = ops[node.params.op].checks
        if own is not None:
            own(low, node)

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        kind = ops[params.op].infer(_operands(inputs), params.own)
        if not kind.dtype.is_complex:
            return kind
        return TensorType(kind.dtype.part, (*kind.shape, 2))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        inner = self.inner(node)
        whole = [re + 1j * im for re, im in zip(arrays[::2], arrays[1::2], strict=True)]
        value = np.asarray(inner.op.numpy(inner, *whole))
        return np.stack([value.real, value.imag], -1) if np.iscomplexobj(value) else value

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        return self(*batch_all(o, inputs, axes), **node.params._asdict()), 0

    def statements(self, low: Any, node: Node, out: Any) -> None:
        ops[node.params.op].statements(low, node, out)

    @staticmethod
    def inner(node: Node) -> Node:
        """Return the node on complex numbers that a node stands for."""
        made = make(ops[node.params.op], _operands(node.inputs), node.params.own)
        return inherit(made, node)

    def failure(self, node: Node, item: int, info: int) -> LinAlgError:
        """Return the error of the op that it stands for."""
        inner = self.inner(node)
        assert isinstance(inner.op, MatrixOp)
        matrix = _user_operand(node.inputs[0], inner.inputs[0])
        return inner.op.failure(inner, item, info, matrix)


def _user_operand(part: Node, whole: Node) -> Node:
    """Return the complex array that a real part was taken from, if it is an argument."""
    before = None
    while part is not before:
        before, part = part, user_matrix(part)
        if part.op.name == OnPairs.name:
            part = part.inputs[0]
    if not part.op.is_leaf or part.type.shape[-1] != 2:
        return whole
    result = o.view_as_complex(part)
    result._name = part._name
    return result


def _operands(inputs: Sequence[Node]) -> tuple[Node, ...]:
    return tuple(_joined(re, im) for re, im in zip(inputs[::2], inputs[1::2], strict=True))


def _joined(re: Node, im: Node) -> Node:
    """Return the complex array of two parts: the one that they were taken from, if it is there."""
    sources = [_source(x, k) for k, x in enumerate((re, im))]
    if sources[0] is not None and sources[0] is sources[1]:
        return sources[0]
    return COMPLEX(re, im)


def _source(part: Node, k: int) -> Node | None:
    if part.op.name != "squeeze" or part.inputs[0].op.name != "slice":
        return None
    cut = part.inputs[0]
    pairs = cut.inputs[0]
    if pairs.type.shape[-1] != 2 or cut is not o.slice_axis(pairs, -1, k, 1):
        return None
    return o.view_as_complex(pairs)


ON_PAIRS = OnPairs.instance = OnPairs()
