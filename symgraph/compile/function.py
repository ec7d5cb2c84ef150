"""`sg.function`: check a graph, rewrite it, and make native versions of it as calls come."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from symgraph.compile.arguments import In, Out, Parameter, bind, parameters
from symgraph.compile.eager import evaluate
from symgraph.compile.shared import SharedVariable
from symgraph.compile.specialise import size_symbols, used_symbols
from symgraph.core.config import config
from symgraph.core.errors import (
    DTypeError,
    MissingInputError,
    ShapeError,
    SymgraphError,
    UnusedInputError,
    VerifyError,
)
from symgraph.core.lazy import lazy
from symgraph.core.node import INPUT, SHARED, Node, as_node, describe
from symgraph.core.walk import substitute, toposort

if TYPE_CHECKING:
    from symgraph.compile.version import Version

# The back end is loaded by the first function, so that building graphs stays quick to import.
pipeline: Any = lazy("symgraph.compile.pipeline")
version_module: Any = lazy("symgraph.compile.version")
debug_mode: Any = lazy("symgraph.compile.debug_mode")
call: Any = lazy("symgraph.cpu.call")

MAX_EXACT_VERSIONS = 4
Updates = Mapping[Any, Any] | Sequence[tuple[Any, Any]] | None


def function(
    inputs: Sequence[Node | In],
    outputs: Any = None,
    *,
    updates: Updates = None,
    givens: Updates = None,
    mode: str | None = None,
    name: str | None = None,
    on_unused_input: str = "raise",
    allow_input_downcast: bool | None = None,
    no_default_updates: bool | Sequence[Node] = False,
    shapes: str = "auto",
) -> Any:
    """Compile `outputs` (a variable, a list, or a dict) as a function of `inputs`.

    updates: new values of shared variables, all computed from the old values, then stored together.
    givens: replacements made in the graph before compiling. mode: "native", "eager" (node by node
    with NumPy) or "debug" (native, each rewrite and kernel checked against NumPy). shapes: "exact"
    makes one version per shape, "generic" only versions with run-time sizes, "auto" starts exact
    and turns generic after four.

    Returns a callable: arrays in, arrays out (a list for a list, a dict for a dict, None without
    outputs). Raises UnusedInputError, MissingInputError, DTypeError, ShapeError.

    >>> x = sg.vector("x", dtype="float32")
    >>> f = sg.function([x], (x**2).sum())
    >>> float(f(np.arange(3, dtype="float32")))
    5.0
    """
    definition = Definition(
        inputs, outputs, updates, givens, on_unused_input, allow_input_downcast, no_default_updates
    )
    chosen = mode or config.mode
    if chosen not in ("native", "eager", "debug"):
        raise ValueError(f"mode must be native, eager or debug, got {chosen!r}")
    if shapes not in ("auto", "exact", "generic"):
        raise ValueError(f"shapes must be auto, exact or generic, got {shapes!r}")
    compiled = Compiled(definition, chosen, name or "f", shapes)
    return compiled.callable()


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
    ) -> None:
        self.params: list[Parameter] = parameters(inputs, downcast)
        self.keys: list[str] | None = None
        self.single = self.none = False
        self.outputs = self._outputs(outputs)
        replaced = _given(givens)
        self.updates = self._updates(updates)
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

    def _updates(self, updates: Updates) -> list[tuple[Node, Node]]:
        pairs = list(updates.items()) if isinstance(updates, Mapping) else list(updates or ())
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
        pending = True
        while pending:
            pending = False
            values = [*self.outputs, *(v for _, v in self.updates)]
            for n in toposort(values):
                if n.op is SHARED and n not in done and n not in refused:
                    done.add(n)
                    if n.data.default_update is not None:
                        self.updates.append((n, _update_value(n, n.data.default_update)))
                        pending = True

    def _check_inputs(self, values: Sequence[Node], on_unused: str) -> None:
        used = [n for n in toposort(values) if n.op is INPUT]
        declared = {p.node for p in self.params}
        by_size = _size_inputs(values, declared)
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
                warnings.warn(message, stacklevel=4)


def _size_inputs(values: Sequence[Node], declared: set[Node]) -> set[Node]:
    """Return inputs of which only the shape (or the value, as a size) is used."""
    wanted = used_symbols(values)
    return {n for n in declared if any(atom in wanted for atom, _ in size_symbols(n))}


def _given(givens: Updates) -> dict[Node, Node]:
    pairs = list(givens.items()) if isinstance(givens, Mapping) else list(givens or ())
    result: dict[Node, Node] = {}
    for old, new in pairs:
        value = as_node(new, (old.dtype,))
        if value.dtype is not old.dtype or value.ndim != old.ndim:
            raise DTypeError(
                f"givens: `{describe(old)}` is {old.type}, its replacement `{describe(value)}` is "
                f"{value.type}; cast or reshape it"
            )
        result[old] = value
    return result


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
        node = node.astype(target.dtype)  # type: ignore[attr-defined]
    if node.ndim != target.ndim or any(
        isinstance(a, int) and isinstance(b, int) and a != b
        for a, b in zip(node.type.shape, target.type.shape, strict=True)
    ):
        raise ShapeError(
            f"the update of `{describe(target)}` ({target.type}) has type {node.type}.\n"
            f"  update: {describe(node)}, made at {node.source}"
        )
    return node


class Compiled:
    """A function: its definition and the versions compiled so far."""

    def __init__(self, definition: Definition, mode: str, name: str, shapes: str) -> None:
        self.definition, self.mode, self.name, self.shapes = definition, mode, name, shapes
        self.numerics = config.numerics
        start = time.perf_counter()
        self.values = (
            definition.values
            if mode == "eager"
            else pipeline.prepare(definition.values, self.numerics)
        )
        self.front_seconds = time.perf_counter() - start
        self.version_list: list[Version] = []
        self._lock = threading.RLock()
        self._depth = threading.local()
        self._root: Any = None

    # -- the object that users hold ----------------------------------------------------------------
    def callable(self) -> Any:
        """Return the function object: of a class of its own, with a native `__call__`."""
        d = self.definition
        if self.mode != "native" or d.keys is not None:
            entry: Any = self._python_entry
        else:
            entry = self._first_entry
        attributes = {
            "compiled": self,
            "raw": entry,
            "name": self.name,
            "versions": lambda f: self.versions(),
            "explain": lambda f, stage=None: self.explain(stage),
            "copy": lambda f, swap=None: self.copy(swap or {}),
            "free": lambda f: self.free(),
            "__repr__": lambda f: self.describe(),
            "__doc__": f"Compiled function {self.name}.",
        }
        self._user_entry = entry
        cls = call.make_callable_class(self.name, entry, attributes)
        instance = cls()
        self._instance_class = cls
        if self.mode == "native" and self.shapes != "generic" and self._is_static():
            self._compile_static()
        return instance

    def _is_static(self) -> bool:
        leaves = [p.node for p in self.definition.params] + list(self.definition.shared)
        return all(n.type.is_static for n in leaves) and not any(size_symbols(n) for n in leaves)

    def _compile_static(self) -> None:
        arrays = [np.empty(p.node.type.shape, p.node.dtype.numpy) for p in self.definition.params]
        self._version_for(arrays)

    def describe(self) -> str:
        """Return one line: name, arguments, results, versions."""
        d = self.definition
        args = ", ".join(f"{p.name or '?'}: {p.node.type}" for p in d.params)
        results = ", ".join(str(n.type) for n in d.outputs)
        count = len(self.version_list)
        return f"<symgraph function {self.name}({args}) -> {results}; {count} versions>"

    # -- calls -------------------------------------------------------------------------------------
    def _first_entry(self, *args: Any, **kwargs: Any) -> Any:
        """Serve calls until a version exists; afterwards the class calls native code directly."""
        return self.slow(*args, **kwargs)

    def _python_entry(self, *args: Any, **kwargs: Any) -> Any:
        result = self.slow(*args, **kwargs)
        if self.definition.keys is not None and result is not None:
            return dict(zip(self.definition.keys, result, strict=True))
        return result

    def slow(self, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        """Convert the arguments, make a version for their shapes if needed, and call it."""
        try:
            return self._converted(args, out, kwargs)
        except (SymgraphError, IndexError) as error:
            if config.traceback == "full":
                raise
            raise error.with_traceback(None)  # the frames of the compiler help nobody

    def _converted(self, args: tuple[Any, ...], out: Any, kwargs: dict[str, Any]) -> Any:
        params = self.definition.params
        values = bind(params, args, kwargs)
        arrays = [p.convert(v, k) for k, (p, v) in enumerate(zip(params, values, strict=True))]
        if self.mode == "eager":
            return self._eager(arrays, out)
        version = self._version_for(arrays)
        depth = getattr(self._depth, "value", 0)
        if depth > 3:
            raise VerifyError(f"function {self.name}: no version accepts its own arguments")
        self._depth.value = depth + 1
        try:
            if self.mode == "debug":
                return self._debug(version, arrays, out)
            if out is not None:
                return self._call_into(version, arrays, out)
            return version.entry.function(*arrays)
        finally:
            self._depth.value = depth

    def _call_into(self, version: Version, arrays: list[np.ndarray], out: Any) -> Any:
        """Write the results into given arrays (through fresh ones where layouts do not fit)."""
        outs = [out] if self.definition.single else list(out)
        if len(outs) != len(self.definition.outputs):
            raise TypeError(f"out= needs {len(self.definition.outputs)} arrays, got {len(outs)}")
        shapes = version.output_shapes(arrays)
        for k, (o_, n, shape) in enumerate(
            zip(outs, self.definition.outputs, shapes, strict=True)
        ):
            if not isinstance(o_, np.ndarray) or o_.dtype != n.dtype.numpy:
                raise DTypeError(
                    f"out[{k}] must be a {n.dtype} array, got {getattr(o_, 'dtype', o_)!r}"
                )
            if o_.shape != shape:
                raise ShapeError(f"out[{k}] has shape {o_.shape}, the result has {shape}")
            if not o_.flags.writeable:
                raise ValueError(f"out[{k}] is read-only")
        direct = all(o_.flags.c_contiguous and o_.flags.aligned for o_ in outs) and not any(
            np.may_share_memory(o_, a) for o_ in outs for a in arrays
        )
        if direct:
            version.entry.function_into(*arrays, *outs)
        else:
            fresh = version.entry.function(*arrays)
            for o_, value in zip(outs, [fresh] if self.definition.single else fresh, strict=True):
                o_[...] = value
        return out

    def _arrays(self, arrays: Sequence[np.ndarray]) -> dict[Node, np.ndarray]:
        d = self.definition
        values = {p.node: a for p, a in zip(d.params, arrays, strict=True)}
        return values | {n: n.data.cell.get() for n in d.shared}

    def _eager(self, arrays: Sequence[np.ndarray], out: Any = None) -> Any:
        d = self.definition
        results = evaluate(self.values, self._arrays(arrays))
        n = len(d.outputs)
        for (p, _), value in zip(d.updates, results[n:], strict=True):
            p.data.cell.set(np.array(value, p.dtype.numpy, order="C"))
        outputs = [np.array(v, order="C") for v in results[:n]]
        if d.none:
            return None
        return outputs[0] if d.single else outputs

    def _debug(self, version: Version, arrays: list[np.ndarray], out: Any) -> Any:
        d = self.definition
        before = {n: a.copy() for n, a in self._arrays(arrays).items()}
        result = version.entry.function(*arrays)
        got = [] if d.none else ([result] if d.single else list(result))
        got += [p.data.cell.get() for p, _ in d.updates]
        debug_mode.check_version(d.values, self.values, version, before, got, self.numerics)
        return result

    # -- versions ----------------------------------------------------------------------------------
    def _version_for(self, arrays: Sequence[np.ndarray]) -> Version:
        shared = [n.data.cell.get() for n in self.definition.shared]
        with self._lock:
            for version in self.version_list:
                if version.accepts(arrays, shared):
                    return version
            exact = sum(1 for v in self.version_list if not v.generic)
            generic = self.shapes == "generic" or (
                self.shapes == "auto" and exact >= MAX_EXACT_VERSIONS
            )
            version = version_module.build_version(self, arrays, shared, generic)
            self._install(version)
            return version

    def _install(self, version: Version) -> None:
        """Put a version into the chain that native calls walk: the first version leads."""
        if self.version_list:
            self.version_list[-1].entry.set_next(version.entry)
        elif self.mode == "native" and self.definition.keys is None:
            self._instance_class.__call__ = version.entry.function  # type: ignore[assignment]
            self._instance_class.raw = version.entry.function  # type: ignore[attr-defined]
        self.version_list.append(version)

    def versions(self) -> list[dict[str, Any]]:
        """Return what was compiled, why, and how long it took."""
        return [v.report() for v in self.version_list]

    def explain(self, stage: str | None = None) -> str:
        """Return a report, or the text of a stage: "graph", "loops", "llvm", "asm"."""
        if not self.version_list:
            return f"{self.describe()}\nNothing is compiled yet: call it once."
        return "\n\n".join(v.explain(stage) for v in self.version_list)

    def copy(self, swap: Mapping[Node, Node]) -> Any:
        """Return a function of the same graph with shared variables exchanged."""
        d = self.definition
        values = substitute(d.values, dict(swap))
        n = len(d.outputs)
        outputs: Any = values[:n]
        if d.single:
            outputs = outputs[0]
        elif d.keys is not None:
            outputs = dict(zip(d.keys, outputs, strict=True))
        updates = [
            (swap.get(p, p), v) for (p, _), v in zip(d.updates, values[n:], strict=True)
        ]
        inputs = [
            In(p.node, p.name, p.default, None, False, False, p.strict, p.downcast)
            for p in d.params
        ]
        return function(
            inputs,
            None if d.none else outputs,
            updates=updates,
            mode=self.mode,
            name=self.name,
            on_unused_input="ignore",
            no_default_updates=True,
            shapes=self.shapes,
        )

    def free(self) -> None:
        """Give the scratch memory of all versions back; the next call takes new one."""
        for version in self.version_list:
            version.entry.free_arena()


def evaluate_once(node: Node, values: Mapping[Node, Any] | None = None) -> np.ndarray:
    """Return the value of `node` for the given inputs: what `node.eval({x: value})` does."""
    given = dict(values or {})
    inputs = [n for n in toposort([node]) if n.op is INPUT]
    missing = [n for n in inputs if n not in given and n.test_value is None]
    if missing:
        raise MissingInputError(
            f"eval of `{describe(node)}` needs a value for `{describe(missing[0])}` "
            f"({missing[0].type}): pass eval({{{missing[0].name or 'x'}: value}})"
        )
    arrays = {}
    for k, param in enumerate(parameters(inputs, None)):
        arrays[param.node] = param.convert(given.get(param.node, param.node.test_value), k)
    for n in toposort([node]):
        if n.op is SHARED:
            arrays[n] = n.data.cell.get()
    return np.array(evaluate([node], arrays)[0])

