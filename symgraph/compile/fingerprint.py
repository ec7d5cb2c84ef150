"""A graph as plain data, equal for graphs that the compiler cannot tell apart.

Nodes, sizes and the numbers that make leaves themselves are numbered in the order in which a walk
meets them; names and source lines are left out, since no code depends on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.body import Body
from symgraph.core.dtype import DType
from symgraph.core.node import BOUND, CONSTANT, INPUT, SHARED, Node
from symgraph.core.op import Op, ops
from symgraph.core.types import TensorType
from symgraph.core.walk import toposort
from symgraph.cpu.native.digest import digest
from symgraph.dims.dim import Atom, Dim

_LEAVES = (INPUT, SHARED, CONSTANT, BOUND)
_PLAIN = (int, str, bytes, bool, float, complex, type(None))


class NoKeyError(Exception):
    """The graph holds something whose meaning data cannot tell, such as a Python function."""


class Fingerprint:
    """Numbers the parts of a graph; `records` is the graph as nested tuples of plain values."""

    def __init__(self, outputs: Sequence[Node], leaves: Sequence[Node]) -> None:
        """Walk `outputs` and then `leaves`. Raises NoKeyError."""
        self.records: list[Any] = []
        self.nodes: dict[Node, int] = {}
        self.atoms: dict[Atom, int] = {}
        self.constants: list[np.ndarray] = []
        self._sizes: dict[Dim, int] = {}
        self._uids: dict[int, int] = {0: 0}
        self._ops: dict[Any, int] = {}
        roots = (*outputs, *leaves)
        self._walk(roots)
        self.records.append(("roots", len(outputs), tuple(self.nodes[n] for n in roots)))
        # Sums of sizes are ordered by the age of their symbols.
        by_age = sorted(self.atoms, key=lambda a: a.serial)
        self.records.append(("age", tuple(self.atoms[a] for a in by_age)))

    def forget(self) -> None:
        """Free all but `atoms` and `constants`."""
        for part in (self.records, self.nodes, self._sizes, self._uids, self._ops):
            part.clear()

    def _walk(self, roots: Sequence[Node]) -> None:
        for node in toposort(roots, stop=self.nodes.__contains__):
            if node not in self.nodes:
                record = self._node(node)
                self.nodes[node] = len(self.nodes)
                self.records.append(record)

    def _node(self, node: Node) -> tuple[Any, ...]:
        uid = self._uids.setdefault(node.uid, len(self._uids))
        return (
            self._op(node.op),
            tuple(self.nodes[i] for i in node.inputs),
            self._value(node.params),
            uid,
            self._value(node.type),
            self._data(node),
        )

    def _op(self, op: Any) -> int:
        known = self._ops.get(op)
        if known is None:
            if op not in _LEAVES and not _is_own(op):
                raise NoKeyError(op.name)
            known = self._ops[op] = len(self._ops)
            self.records.append(("op", type(op).__module__, type(op).__qualname__, op.name))
        return known

    def _data(self, node: Node) -> Any:
        data = node.data
        if node.op is CONSTANT:
            self.constants.append(data)
            raw = data.tobytes()
            return raw if len(raw) <= 64 else digest(raw)
        if node.op is SHARED or data is None:
            return None
        if isinstance(data, Dim):
            return self._value(data)
        raise NoKeyError(node.op.name)

    def _value(self, p: Any) -> Any:
        kind = type(p)
        if kind in _PLAIN:
            return p
        if isinstance(p, DType):
            return ("dtype", str(p))
        if kind is TensorType:
            return (str(p.dtype), tuple(self._value(n) for n in p.shape))
        if isinstance(p, tuple):
            return (f"tuple {kind.__name__}", *map(self._value, p))
        if isinstance(p, np.generic):
            return ("number", str(p.dtype), p.tobytes())
        if kind is Dim:
            return ("size", self._size(p))
        if kind is slice:
            return ("slice", *map(self._value, (p.start, p.stop, p.step)))
        if kind is Body:
            self._walk((*p.args, *p.outputs))
            numbers = [tuple(self.nodes[n] for n in part) for part in (p.args, p.outputs)]
            return ("body", *numbers, p.level)
        if isinstance(p, Node):
            self._walk((p,))
            return ("node", self.nodes[p])
        raise NoKeyError(repr(kind))

    def _size(self, n: Dim) -> int:
        known = self._sizes.get(n)
        if known is None:
            terms = tuple((c, tuple(self._atom(a) for a in monomial)) for monomial, c in n.terms)
            known = self._sizes[n] = len(self._sizes)
            self.records.append(("size", terms))
        return known

    def _atom(self, atom: Atom) -> int:
        known = self.atoms.get(atom)
        if known is None:
            args = tuple(self._value(a) for a in atom.args)
            known = self.atoms[atom] = len(self.atoms)
            self.records.append(("atom", atom.kind, args, atom.low, atom.high, atom.multiple))
        return known


def _is_own(op: Any) -> bool:
    """Tell whether an op is symgraph's, so that the stamp of the source stands for its rules."""
    if not isinstance(op, Op) or not type(op).__module__.startswith("symgraph."):
        return False
    return ops.get(op.name) is op or getattr(type(op), "instance", None) is op
