"""Arrays of types without machine arithmetic, as they lie in memory.

Complex arrays are float arrays with a last axis (real, imaginary), bfloat16 arrays are the 16-bit
integers of their bits. The loops and everything below only see those.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgraph.core.dtype import BFLOAT16, UINT16
from symgraph.core.lazy import lazy
from symgraph.core.node import Node, make
from symgraph.core.types import TensorType
from symgraph.core.walk import substitute, toposort

bits: Any = lazy("symgraph.ops.bfloat16")
pairs: Any = lazy("symgraph.ops.complex")


def held_type(kind: TensorType) -> TensorType:
    """Return the type of the array that holds one of type `kind`."""
    if kind.dtype.is_complex:
        return TensorType(kind.dtype.part, (*kind.shape, 2))
    return kind.with_dtype(UINT16) if kind.dtype is BFLOAT16 else kind


def in_memory(outputs: Sequence[Node]) -> tuple[list[Node], dict[Node, Node]]:
    """Return outputs as the arrays that hold them, and what stands for each leaf of such a type.

    The stand-ins are leaves of the held type: the same memory.
    """
    work = [n.inputs[0] if n.op.name in ("from_pairs", "from_bits") else n for n in outputs]
    leaves = [n for n in toposort(work) if n.op.is_leaf and held_type(n.type) is not n.type]
    views = {n: _stand_in(n) for n in leaves}
    for n, v in views.items():
        v._name = n._name
    views_of = {
        (pairs.AS_PAIRS if n.dtype.is_complex else bits.AS_BITS)(n): v for n, v in views.items()
    }
    return substitute(work, views_of), views


def _stand_in(n: Node) -> Node:
    """Return the leaf of the held type; the key holds the leaf: a constant has no number."""
    kind = held_type(n.type)
    return make(n.op, (), ("held", n.params), type=kind, uid=n.uid, data=n.data, key_data=n)
