"""Base of special functions that are sums over quadrature points, written once in a namespace.

`formula(m, x...)` is computed with m = o when a graph is lowered, and with NumPy's functions as the
reference; the points are an axis more, which the fused loop sums over.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph.core.dtype import FLOAT64
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node, make
from symgraph.core.op import no_complex, ops
from symgraph.ops.base import Elementwise, as_nodes, cast_to, to_float


class _Arrays:
    """The functions of `o` that the formulas use, on NumPy arrays."""

    exp, expm1, log1p, log, sqrt = np.exp, np.expm1, np.log1p, np.log, np.sqrt
    abs, rint, copysign = np.abs, np.rint, np.copysign
    maximum, minimum = np.maximum, np.minimum
    where: Any = staticmethod(np.where)
    sum: Any = staticmethod(np.sum)
    expand_dims: Any = staticmethod(np.expand_dims)

    @staticmethod
    def stop_gradient(x: Any) -> Any:
        return x

    def __getattr__(self, name: str) -> Any:
        """Return the NumPy reference of another op."""
        op = ops[name]
        assert isinstance(op, Elementwise)
        return op.reference


ARRAYS = _Arrays()


class Composed(Elementwise):
    """An elementwise op that is expanded to a sum over quadrature points before lowering."""

    types = staticmethod(to_float)
    lower: Any = None
    dtypes = "bool int float"

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        return ()

    def formula(self, m: Any, *x: Any) -> Any:
        """Return the value from float64 operands, with the functions of `m`."""
        raise NotImplementedError

    def expand(self, o: Namespace, node: Node) -> Node:
        return cast_to(self.formula(o, *(cast_to(x, FLOAT64) for x in node.inputs)), node.dtype)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            wide = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in arrays))
            return np.asarray(self.formula(ARRAYS, *wide)).astype(node.dtype.numpy)

    def slopes(self, o: Namespace, *x: Node) -> tuple[Node, ...]:
        """Return the derivative by each operand, float64."""
        raise NotImplementedError

    def partials(self, o: Namespace, node: Node) -> tuple[Node, ...]:
        wide = [cast_to(x, FLOAT64) for x in node.inputs]
        return tuple(cast_to(d, node.dtype) for d in self.slopes(o, *wide))


def apply(op: Any, *values: Any) -> Node:
    """Return the node of a composed op on values of one float dtype."""
    nodes = as_nodes([as_node(v) if isinstance(v, np.ndarray) else v for v in values])
    if nodes[0].dtype.is_complex:
        raise no_complex(op.name, nodes)
    compute, _ = op.types(nodes[0].dtype, op.name)
    return make(op, tuple(cast_to(n, compute) for n in nodes))
