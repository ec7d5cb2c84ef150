"""Plans on disk: what a version needs to run, found by the graph that it was made from.

A plan names the object file and holds the description of the entry, the class of sizes and the
constants, so that a process which meets the same graph again neither rewrites nor lowers it, nor
makes text. Whatever has no key that tells all of its meaning is compiled as if there were no plans.
"""

from __future__ import annotations

import marshal
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from symgraph.compile.classes import Fact, SizeClass
from symgraph.compile.fingerprint import Fingerprint, NoKeyError
from symgraph.compile.policy import Choice
from symgraph.core.config import config
from symgraph.core.dtype import as_dtype
from symgraph.core.record import dataclass
from symgraph.core.stamp import Stamp
from symgraph.cpu.abi import ArraySpec, Condition, EntrySpec, Slot
from symgraph.cpu.native import jit
from symgraph.cpu.native.digest import digest
from symgraph.dims.dim import Atom, Dim, as_symbol, broadcast, maximum, minimum, symbol

if TYPE_CHECKING:
    from symgraph.compile.function import Compiled

FORMAT = 1  # of the plans: raise it when their meaning changes
MARSHAL = 2  # the last version whose bytes follow from the values alone
CONSTANT_BYTES = 16 << 20  # of constants that the graph does not have itself; more is not kept
_KNOWN = b"known"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a version needs beside the function's definition.

    code: key of the object file. output_sizes: shapes in the symbols of `sizes`. kernels: how many.
    constants: the arrays that native code reads, in order.
    """

    code: str
    spec: EntrySpec
    sizes: SizeClass
    output_sizes: list[tuple[Any, ...]]
    products: tuple[str, ...]
    needs_lapack: bool
    parallel: bool
    detached: bool
    kernels: int
    constants: list[np.ndarray]


class Keys:
    """The keys of a function's plans; `load` and `save` do nothing where there are none."""

    def __init__(self, compiled: Compiled, source: Stamp | None) -> None:
        """`source` is the state of symgraph's own code, None if it is not known: then no keys."""
        self._graph: Fingerprint | None = None
        self._key = ""
        if source is None or not _usable(compiled):
            return
        d = compiled.definition
        leaves = [*(p.node for p in d.params), *d.shared, *(p for p, _ in d.updates)]
        try:
            graph = Fingerprint(d.values, leaves)
        except NoKeyError:
            return
        rest = (len(d.outputs), len(d.params), len(d.shared), d.single, d.none)
        self._graph = graph
        self._key = _digest((source, _surroundings(compiled.numerics), tuple(graph.records), rest))
        graph.forget()

    def is_known(self) -> bool:
        """Tell whether some process made code for this graph, so that it is known to be sound."""
        cache = jit.cache()
        return bool(self._key and cache is not None and cache.get(f"g-{self._key}") == _KNOWN)

    def load(
        self, sizes: Mapping[Atom, int], choice: Choice, largest: Mapping[Atom, int]
    ) -> Plan | None:
        """Return the plan for these sizes and this choice, None if there is none."""
        cache = jit.cache()
        if self._graph is None or cache is None:
            return None
        raw = cache.get(self._version_key(sizes, choice, largest))
        if raw is None:
            return None
        try:
            return _Decoder(self._graph).plan(marshal.loads(raw))
        except (ValueError, TypeError, EOFError, IndexError, KeyError):
            return None

    def save(
        self, plan: Plan, sizes: Mapping[Atom, int], choice: Choice, largest: Mapping[Atom, int]
    ) -> None:
        """Keep a plan."""
        cache = jit.cache()
        if self._graph is None or cache is None or not _own_rules():
            return
        try:
            raw = marshal.dumps(_Encoder(self._graph, plan.sizes).plan(plan), MARSHAL)
        except (NoKeyError, ValueError):  # large constants, or numbers that are no plain data
            return
        cache.put(self._version_key(sizes, choice, largest), raw)
        cache.put(f"g-{self._key}", _KNOWN)

    def _version_key(
        self, sizes: Mapping[Atom, int], choice: Choice, largest: Mapping[Atom, int]
    ) -> str:
        assert self._graph is not None
        number = self._graph.atoms
        moving = tuple(sorted(number[a] for a in choice.moving))
        values = tuple((number[a], n) for a, n in sizes.items())
        most = tuple((number[a], n) for a, n in largest.items()) if moving else ()
        return "p-" + _digest((self._key, choice.kind, moving, values, most))


def _usable(compiled: Compiled) -> bool:
    """Tell whether the code of a function depends on its graph and the settings alone."""
    return (
        config.plans
        and compiled.mode == "native"
        and not compiled.profiled
        and not config.verify
        and config.warn_float64 == "ignore"
        and _own_rules()
    )


def _own_rules() -> bool:
    """Tell whether every rewrite rule is symgraph's; there is none before the module is loaded."""
    module = sys.modules.get("symgraph.core.pattern")
    rules = () if module is None else module.RULES.values()
    return all(r.function.__module__.startswith("symgraph.") for r in rules)


def _surroundings(numerics: str) -> tuple[Any, ...]:
    """Return what else code depends on: versions, settings, the machine."""
    t = jit.target()
    machine = (t.triple, t.cpu, t.features, t.vector_bytes, t.llvm)
    settings = (numerics, config.floatX, sys.version, np.__version__)
    return (FORMAT, jit.CODE_VERSION, machine, settings)


def _digest(value: Any) -> str:
    return digest(marshal.dumps(value, MARSHAL)).hex()


class _Encoder:
    """Turns a plan into nested tuples; symbols of the class are numbered."""

    def __init__(self, graph: Fingerprint, sizes: SizeClass) -> None:
        self.graph, self.symbols = graph, {a: k for k, a in enumerate(sizes.symbols)}
        self._left = CONSTANT_BYTES

    def plan(self, p: Plan) -> tuple[Any, ...]:
        spec = p.spec
        arrays = tuple(
            tuple((str(a.dtype), tuple(map(_slot, a.shape)), _slot(a.value)) for a in part)
            for part in (spec.args, spec.shared, spec.outputs)
        )
        entry = (
            *arrays,
            spec.shared_writes,
            (spec.single, spec.none, spec.n_dims, spec.release_gil),
            (_slot(spec.arena), _slot(spec.work)),
            tuple((c.index, c.low, c.high, c.multiple) for c in spec.conditions),
        )
        facts = tuple((self.size(f.size), f.low, f.high, f.multiple) for f in p.sizes.facts)
        shapes = tuple(tuple(map(self.size, shape)) for shape in p.output_sizes)
        flags = (p.needs_lapack, p.parallel, p.detached)
        code = (p.code, tuple(map(str, p.products)), *flags, p.kernels)
        return entry, (self.sizes(p.sizes), facts, shapes), code, self.constants(p.constants)

    def sizes(self, classes: SizeClass) -> tuple[Any, ...]:
        """Return the run-time sizes (named like a size of the graph), and what each size is."""
        number = self.graph.atoms
        made = []
        for atom in self.symbols:
            members = [a for a, n in classes.sizes.items() if as_symbol(n) is atom]
            root = next((a for a in members if a.name == atom.name), members[0])
            made.append((number[root], atom.low, atom.high, atom.multiple))
        return tuple(made), tuple((number[a], self.size(n)) for a, n in classes.sizes.items())

    def size(self, n: Any) -> Any:
        if isinstance(n, int):
            return n
        return tuple((c, tuple(self.atom(a) for a in monomial)) for monomial, c in n.terms)

    def atom(self, a: Atom) -> Any:
        if a.kind == "symbol":
            return self.symbols[a]
        return (a.kind, *(self.size(x) for x in a.args))

    def constants(self, arrays: Sequence[np.ndarray]) -> tuple[Any, ...]:
        """Return each array as the number of a constant of the graph, or as its bytes."""
        known = {id(a): k for k, a in enumerate(self.graph.constants)}
        found: list[Any] = []
        for a in arrays:
            if id(a) in known:
                found.append(known[id(a)])
                continue
            self._left -= a.nbytes
            if self._left < 0:
                raise NoKeyError("large constants")
            found.append((str(as_dtype(a.dtype)), a.shape, a.tobytes()))
        return tuple(found)


class _Decoder:
    """Makes a plan of nested tuples again; raises ValueError and the like for foreign ones."""

    def __init__(self, graph: Fingerprint) -> None:
        self.graph, self.symbols = graph, list[Dim]()

    def plan(self, data: Any) -> Plan:
        entry, (classes, facts, shapes), code, constants = data
        args, shared, outputs, writes, flags, (arena, work), conditions = entry
        single, none, n_dims, release = flags
        spec = EntrySpec(
            tuple(map(_array, args)),
            tuple(map(_array, shared)),
            writes,
            tuple(map(_array, outputs)),
            single,
            none,
            n_dims,
            _unslot(arena),
            release,
            _unslot(work),
            tuple(Condition(*c) for c in conditions),
        )
        sizes = self.sizes(*classes)
        held = tuple(Fact(self.size(n), *rest) for n, *rest in facts)
        output_sizes = [tuple(map(self.size, shape)) for shape in shapes]
        key, products, needs_lapack, parallel, detached, kernels = code
        arrays = [self.constant(c) for c in constants]
        return Plan(
            key, spec, SizeClass(sizes, held), output_sizes, products, needs_lapack, parallel,
            detached, kernels, arrays,
        )  # fmt: skip

    def sizes(self, made: Any, sizes: Any) -> dict[Atom, Any]:
        atoms = list(self.graph.atoms)
        for number, low, high, multiple in made:
            self.symbols.append(symbol(atoms[number].name, low, high, multiple))
        return {atoms[number]: self.size(n) for number, n in sizes}

    def size(self, n: Any) -> Any:
        if isinstance(n, int):
            return n
        total: Any = 0
        for c, monomial in n:
            product: Any = c
            for a in monomial:
                product = product * self.atom(a)
            total = total + product
        return total

    def atom(self, a: Any) -> Any:
        if isinstance(a, int):
            return self.symbols[a]
        kind, *args = a
        return _CALLS[kind](*map(self.size, args))

    def constant(self, c: Any) -> np.ndarray:
        if isinstance(c, int):
            return self.graph.constants[c]
        dtype, shape, raw = c
        return np.frombuffer(bytearray(raw), as_dtype(dtype).numpy).reshape(shape)


_CALLS: dict[str, Any] = {
    "floordiv": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
    "min": minimum,
    "max": maximum,
    "broadcast": broadcast,
}


def _slot(n: Any) -> Any:
    return (n.index, n.defines, n.minimum) if isinstance(n, Slot) else n


def _unslot(n: Any) -> Any:
    return Slot(*n) if isinstance(n, tuple) else n


def _array(data: Any) -> ArraySpec:
    dtype, shape, value = data
    return ArraySpec(as_dtype(dtype), tuple(map(_unslot, shape)), _unslot(value))
