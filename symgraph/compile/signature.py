"""What the entry of a version checks and makes: arrays, run-time sizes, conditions on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from symgraph.compile.classes import SizeClass
from symgraph.compile.specialise import size_symbols
from symgraph.core.node import Node
from symgraph.cpu.abi import ArraySpec, Condition, EntrySpec, Slot
from symgraph.cpu.programs.module import Module
from symgraph.dims.dim import Atom, Dim, as_symbol
from symgraph.loops.amount import Amount

if TYPE_CHECKING:
    from symgraph.compile.definition import Definition


def wanted_sizes(outputs: Sequence[Node], sizes: SizeClass, work: Amount) -> list[Any]:
    """Return the sizes that the entry needs beside those of the arguments."""
    found = [n for node in outputs for n in node.type.shape]
    found += [fact.size for fact in sizes.facts]
    return [*found, *([work] if isinstance(work, Dim) else [])]


def entry_spec(
    definition: Definition,
    sizes: SizeClass,
    new: Mapping[Node, Node],
    outputs: Sequence[Node],
    module: Module,
    work: Amount,
) -> EntrySpec:
    """Return the description of a version's entry.

    new: the leaves with the sizes of the version put in. outputs: of the version. work: its
    operations as a size, None where they depend on values.
    """
    slots: dict[Any, int] = {s: k for k, s in enumerate(module.symbols)}
    for k, n in enumerate(module.derived):
        slots[n] = len(module.symbols) + k
    defined: set[Atom] = set()
    leaves = [p.node for p in definition.params], list(definition.shared)
    args, shared = (
        tuple(_array(new.get(n, n), n, sizes.sizes, slots, defined) for n in part)
        for part in leaves
    )
    written = {p for p, _ in definition.updates}
    return EntrySpec(
        args=args,
        shared=shared,
        shared_writes=tuple(n in written for n in definition.shared),
        outputs=tuple(
            ArraySpec(n.dtype, tuple(_slot(size, slots) for size in n.type.shape)) for n in outputs
        ),
        single=definition.single,
        none=definition.none,
        n_dims=len(slots) if module.symbols else 0,
        arena=_slot(module.arena, slots),
        release_gil=module.release_gil,
        work=Slot(_index(work, slots)) if isinstance(work, Dim) else None,
        conditions=tuple(
            Condition(_index(f.size, slots), f.low, f.high, f.multiple) for f in sizes.facts
        ),
    )


def _array(
    node: Node, old: Node, sizes: Mapping[Atom, Any], slots: dict[Any, int], defined: set[Atom]
) -> ArraySpec:
    def size(n: Any) -> Any:
        atom = as_symbol(n)
        if atom is None:
            return n
        first = atom not in defined
        defined.add(atom)
        return Slot(slots[atom], first, (atom.low or 0) if first else 0)

    value = None
    for atom, axis in size_symbols(old):
        if axis is None and atom in sizes:
            value = size(sizes[atom])
    return ArraySpec(node.dtype, tuple(size(n) for n in node.type.shape), value)


def _slot(n: Any, slots: Mapping[Any, int]) -> Any:
    return n if isinstance(n, int) else Slot(_index(n, slots))


def _index(n: Dim, slots: Mapping[Any, int]) -> int:
    atom = as_symbol(n)
    return slots[atom] if atom in slots else slots[n]
