"""Replace symbolic sizes by numbers (or by other sizes) throughout a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from symgraph.core.body import bodies
from symgraph.core.errors import ShapeError
from symgraph.core.node import BOUND, INPUT, SHARED, Node, describe, make
from symgraph.core.types import TensorType
from symgraph.core.walk import inherit, toposort
from symgraph.dims.dim import Atom, Dim, as_symbol, substitute, substitute_all, symbols

Values = Callable[[Atom], Any]


def size_symbols(leaf: Node) -> list[tuple[Atom, int | None]]:
    """Return the symbols that a leaf defines: (symbol, axis), axis None for a scalar's value."""
    found: list[tuple[Atom, int | None]] = []
    for axis, n in enumerate(leaf.type.shape):
        atom = as_symbol(n)
        if atom is not None:
            found.append((atom, axis))
    if leaf.op is INPUT and isinstance(leaf.data, Dim):
        found.append((leaf.data.terms[0][0][0], None))
    return found


def bind_sizes(leaves: Iterable[Node], arrays: Mapping[Node, np.ndarray]) -> dict[Atom, int]:
    """Return the value of every size symbol.

    Raises ShapeError where one symbol gets two values, or one that its facts exclude.
    """
    values: dict[Atom, int] = {}
    origin: dict[Atom, tuple[Node, int | None]] = {}
    for leaf in leaves:
        for atom, axis in size_symbols(leaf):
            array = arrays[leaf]
            value = int(array) if axis is None else array.shape[axis]
            if values.setdefault(atom, value) != value:
                other, k = origin[atom]
                raise ShapeError(
                    f"axis {axis} of `{describe(leaf)}` has length {value}, but axis {k} of "
                    f"`{describe(other)}` has {values[atom]}, and both are `{atom!r}`\n"
                    f"  input:  {leaf.type}, made at {leaf.source}\n"
                    f"  input:  {other.type}, made at {other.source}"
                )
            if not atom.admits(value):
                where = f"axis {axis} of `{describe(leaf)}` has length"
                raise ShapeError(
                    f"{where if axis is not None else f'`{describe(leaf)}` is'} {value}, but "
                    f"`{atom!r}` is {atom.facts}\n  input:  {leaf.type}, made at {leaf.source}"
                )
            origin.setdefault(atom, (leaf, axis))
    return values


def specialise(
    outputs: Sequence[Node], values: Values, leaf_types: Mapping[Node, TensorType] | None = None
) -> tuple[list[Node], dict[Node, Node]]:
    """Rebuild `outputs` with sizes replaced by `values(symbol)` (None keeps a symbol).

    Returns the new outputs and the map from old to new nodes. Types are inferred anew, so every
    broadcast is resolved by the same rules as at build time; clashes raise ShapeError.
    """
    new: dict[Node, Node] = {}
    sizes: dict[Atom, int | Dim] = {}
    for node in toposort(outputs):
        try:
            new[node] = _sized(node, new, values, leaf_types, sizes)
        except ValueError as error:  # of a size by itself, or a ShapeError of an op
            clash = error if isinstance(error, ShapeError) else ShapeError(str(error))
            clash.add_note(f"  node:   {describe(node)}, made at {node.source}")
            raise clash from None
    return [new[n] for n in outputs], new


def _sized(
    node: Node,
    new: Mapping[Node, Node],
    values: Values,
    leaf_types: Mapping[Node, TensorType] | None,
    sizes: dict[Atom, int | Dim],
) -> Node:
    """Return the node for other sizes; bodies of loops and branches are specialised for them."""
    if node.op.is_leaf:
        return _leaf(node, values, leaf_types, sizes)
    inputs = tuple(new[i] for i in node.inputs)
    if node.op.compound:
        op: Any = node.op
        return inherit(op.resized(node, inputs, values, specialise), node)
    params = substitute_all(node.params, values, sizes)
    if inputs == node.inputs and params is node.params:
        return node
    return inherit(make(node.op, inputs, params, uid=node.uid), node)


def _leaf(
    node: Node,
    values: Values,
    leaf_types: Mapping[Node, TensorType] | None,
    sizes: dict[Atom, int | Dim],
) -> Node:
    if node.op not in (INPUT, SHARED, BOUND):
        return node
    if leaf_types is not None and node in leaf_types:
        new_type = leaf_types[node]
    else:
        shape = tuple(substitute(n, values, sizes) for n in node.type.shape)
        new_type = node.type.with_shape(shape)
    if new_type == node.type:
        return node
    leaf = make(node.op, (), node.params, type=new_type, uid=node.uid, data=node.data)
    leaf._name, leaf.source = node._name, node.source
    return leaf


def used_symbols(outputs: Sequence[Node]) -> set[Atom]:
    """Return the size symbols that occur in the parameters and types of a graph."""
    found: set[Atom] = set()

    def visit(p: Any) -> None:
        if isinstance(p, Dim):
            found.update(symbols(p))
        elif isinstance(p, tuple):
            for q in p:
                visit(q)

    for node in toposort(outputs):
        visit(node.params)
        for body in bodies(node):
            found |= used_symbols(body.outputs)
        visit(node.type.shape)
    return found
