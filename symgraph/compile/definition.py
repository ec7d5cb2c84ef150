"""What a function computes, checked when it is made: parameters, outputs, updates, state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from symgraph.compile.arguments import In, Out, Parameter, parameters
from symgraph.compile.shared import SharedVariable
from symgraph.compile.specialise import size_symbols, used_symbols
from symgraph.core.errors import DTypeError, MissingInputError, ShapeError, UnusedInputError
from symgraph.core.node import INPUT, SHARED, Node, as_node, describe
from symgraph.core.source import warn
from symgraph.core.updates import one_each
from symgraph.core.walk import substitute, toposort

Updates = Mapping[Any, Any] | Sequence[tuple[Any, Any]] | None


class Definition:
    """What the user asked for, checked: parameters, outputs and updates of the graph."""

    def __init__(
        self,
        inputs: Sequence[Node | In],
        outputs: Any,
        updates: Updates,
        givens: Updates,
        on_unused: str,
        downcast: bool | None,
        no_default_updates: bool | Sequence[Node],
        donate: Sequence[Node],
    ) -> None:
        self.params: list[Parameter] = parameters(inputs, downcast, donate)
        self.keys: list[str] | None = None
        self.single = self.none = False
        self.outputs = self._outputs(outputs)
        replaced = _given(givens)
        own = [(p.state, p.update) for p in self.params if p.update is not None]
        self.updates = self._updates([*_pairs(updates), *own])
        self._add_defaults(no_default_updates)
        values = [*self.outputs, *(v for _, v in self.updates)]
        if replaced:
            values = substitute(values, replaced)
            self.outputs = values[: len(self.outputs)]
            kept = values[len(self.outputs) :]
            self.updates = [(p, v) for (p, _), v in zip(self.updates, kept, strict=True)]
        self.shared = [n for n in toposort(values) if n.op is SHARED]
        self.shared += [p for p, _ in self.updates if p not in self.shared]
        self._check_inputs(values, on_unused)

    @property
    def values(self) -> list[Node]:
        return [*self.outputs, *(v for _, v in self.updates)]

    def _outputs(self, outputs: Any) -> list[Node]:
        if outputs is None:
            self.none = True
            return []
        if isinstance(outputs, dict):
            self.keys = list(outputs)
            items = list(outputs.values())
        elif isinstance(outputs, (list, tuple)):
            items = list(outputs)
        else:
            self.single = True
            items = [outputs]
        return [as_node(i.variable if isinstance(i, Out) else i) for i in items]

    def _updates(self, pairs: Sequence[tuple[Any, Any]]) -> list[tuple[Node, Node]]:
        result: list[tuple[Node, Node]] = []
        for target, value in pairs:
            if not isinstance(target, SharedVariable):
                raise TypeError(f"an update target must be a shared variable, got {target!r}")
            if any(p is target for p, _ in result):
                raise ValueError(f"shared variable `{describe(target)}` is updated twice")
            result.append((target, _update_value(target, value)))
        return result

    def _add_defaults(self, refuse: bool | Sequence[Node]) -> None:
        """Collect default updates (random streams) of every shared variable in the graph."""
        if refuse is True:
            return
        refused = set(refuse) if refuse else set()
        done = {p for p, _ in self.updates}
        given = done | refused
        pending = True
        while pending:
            pending = False
            values = [*self.outputs, *(v for _, v in self.updates)]
            order = toposort(values)
            for target, value, _ in one_each((n for n in order if n.op.compound), given):
                if target not in done:
                    done.add(target)
                    self.updates.append((target, _update_value(target, value)))
                    pending = True
            for n in order:
                if n.op is SHARED and n not in done and n not in refused:
                    done.add(n)
                    if n.data.default_update is not None:
                        self.updates.append((n, _update_value(n, n.data.default_update)))
                        pending = True
        updated = refused | {p for p, _ in self.updates}
        for target in _updated_in_branches(order):
            if target not in updated:
                raise ValueError(
                    f"a scan in a side of cond updates `{describe(target)}`, which would be lost\n"
                    "  mend:   give the new value as updates= of the function"
                )

    def _check_inputs(self, values: Sequence[Node], on_unused: str) -> None:
        if on_unused not in ("raise", "warn", "ignore"):
            raise ValueError(f"on_unused_input must be raise, warn or ignore, got {on_unused!r}")
        used = [n for n in toposort(values) if n.op is INPUT]
        declared = {p.node for p in self.params}
        by_size = size_inputs(values, declared)
        for n in used:
            if n not in declared:
                raise MissingInputError(
                    f"the graph needs `{describe(n)}` ({n.type}, made at {n.source}), which is not "
                    "an input; add it to inputs, or replace it with givens"
                )
        for p in self.params:
            if p.node in used or p.node in by_size:
                continue
            message = (
                f"input `{describe(p.node)}` (made at {p.node.source}) is not used by the outputs "
                "or updates; pass on_unused_input='ignore' to allow it"
            )
            if on_unused == "raise":
                raise UnusedInputError(message)
            if on_unused == "warn":
                warn(message)


def size_inputs(values: Sequence[Node], declared: set[Node]) -> set[Node]:
    """Return inputs of which only the shape (or the value, as a size) is used."""
    wanted = used_symbols(values)
    return {n for n in declared if any(atom in wanted for atom, _ in size_symbols(n))}


def _pairs(pairs: Updates) -> list[tuple[Any, Any]]:
    return list(pairs.items()) if isinstance(pairs, Mapping) else list(pairs or ())


def _given(givens: Updates) -> dict[Node, Node]:
    result: dict[Node, Node] = {}
    for old, new in _pairs(givens):
        value = as_node(new, (old.dtype,))
        if value.dtype is not old.dtype or value.ndim != old.ndim:
            raise DTypeError(
                f"givens: `{describe(old)}` is {old.type}, its replacement `{describe(value)}` is "
                f"{value.type}; cast or reshape it"
            )
        result[old] = value
    return result


def _updated_in_branches(order: Sequence[Node]) -> Iterator[Node]:
    """Yield the variables that loops in sides of branches would update."""
    for body in (b for n in order if n.op.name == "branch" for b in n.params):
        inside = toposort(body.outputs)
        yield from (target for n in inside if n.op.compound for target, *_ in n.op.updates(n))
        yield from _updated_in_branches(inside)


def _update_value(target: Node, value: Any) -> Node:
    """Return the new value of a shared variable in its dtype; raises where the types clash."""
    node = as_node(value, (target.dtype,))
    if node.dtype is not target.dtype:
        if not np.can_cast(node.dtype.numpy, target.dtype.numpy, "safe"):
            raise DTypeError(
                f"the update of `{describe(target)}` ({target.type}) is {node.dtype}, which does "
                f"not fit without loss; write (...).astype('{target.dtype}')\n"
                f"  update: {describe(node)}, made at {node.source}"
            )
        node = node.astype(target.dtype)
    if node.ndim != target.ndim or any(
        isinstance(a, int) and isinstance(b, int) and a != b
        for a, b in zip(node.type.shape, target.type.shape, strict=True)
    ):
        raise ShapeError(
            f"the update of `{describe(target)}` ({target.type}) has type {node.type}.\n"
            f"  update: {describe(node)}, made at {node.source}"
        )
    return node
