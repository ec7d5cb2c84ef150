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
from symgraph.dims.dim import Atom, Dim, as_symbol, has_dim, substitute, symbols

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
                    f"`{describe(other)}` has {values[atom]}, and both are {atom!r}"
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
        if node.op.is_leaf:
            new[node] = _leaf(node, values, leaf_types, sizes)
            continue
        inputs = tuple(new[i] for i in node.inputs)
        if node.op.compound:
            new[node] = inherit(_resized(node, inputs, values), node)
            continue
        params = _params(node.params, values, sizes)
        if inputs == node.inputs and params is node.params:
            new[node] = node
        else:
            new[node] = inherit(_rebuilt(node, inputs, params), node)
    return [new[n] for n in outputs], new


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


def _rebuilt(node: Node, inputs: tuple[Node, ...], params: Any) -> Node:
    try:
        return make(node.op, inputs, params, uid=node.uid)
    except ShapeError as error:
        error.add_note(f"  node:   {describe(node)}, made at {node.source}")
        raise


def _resized(node: Node, inputs: tuple[Node, ...], values: Values) -> Node:
    """Return a loop or a branch for other sizes; its bodies are specialised for them."""
    op: Any = node.op
    try:
        result: Node = op.resized(node, inputs, values, specialise)
    except ShapeError as error:
        error.add_note(f"  node:   {node.op.name}, made at {node.source}")
        raise
    return result


def _params(params: Any, values: Values, sizes: dict[Atom, int | Dim]) -> Any:
    if not has_dim(params):
        return params
    return type(params)(*(_param(p, values, sizes) for p in params))


def _param(p: Any, values: Values, sizes: dict[Atom, int | Dim]) -> Any:
    if isinstance(p, Dim):
        return substitute(p, values, sizes)
    if type(p) is tuple:
        return tuple(_param(q, values, sizes) for q in p)
    return p


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
