"""`sg.function`: check a graph, rewrite it, and make native versions of it as calls come."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from symgraph.compile.arguments import In, bind, parameters
from symgraph.compile.definition import Definition, Updates, size_inputs
from symgraph.compile.eager import evaluate
from symgraph.compile.shared import SharedVariable
from symgraph.compile.specialise import size_symbols
from symgraph.core.config import config
from symgraph.core.errors import (
    DeviceError,
    DTypeError,
    MissingInputError,
    ShapeError,
    SymgraphError,
    VerifyError,
)
from symgraph.core.lazy import lazy
from symgraph.core.node import INPUT, SHARED, Node, describe
from symgraph.core.walk import substitute, toposort

if TYPE_CHECKING:
    from symgraph.compile.version import Version

# The back end is loaded by the first function, so that building graphs stays quick to import.
pipeline: Any = lazy("symgraph.compile.pipeline")
version_module: Any = lazy("symgraph.compile.version")
debug_mode: Any = lazy("symgraph.compile.debug_mode")
profile_module: Any = lazy("symgraph.compile.profile")
nan_mode: Any = lazy("symgraph.compile.nan_mode")
call: Any = lazy("symgraph.cpu.call")
limit: Any = lazy("symgraph.compile.threads")

MAX_EXACT_VERSIONS = 4


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
    donate: Sequence[Node] = (),
    threads: int | None = None,
    device: str | None = None,
    profile: bool = False,
) -> Any:
    """Compile `outputs` (a variable, a list, or a dict) as a function of `inputs`.

    inputs: variables, or `sg.In(variable, value=..., update=...)` for defaults and own state.
    updates: new values of shared variables, all computed from the old values, then stored together.
    givens: replacements made in the graph before compiling. mode: "native", "eager" (node by node
    with NumPy), "debug" (native, each rewrite and kernel checked against NumPy) or "nan" (like
    eager; the first NaN or infinity raises a NanError that names the node and its line). shapes:
    "exact" makes one version per shape, "generic" only versions with run-time sizes, "auto" starts
    exact and turns generic after four.

    donate: inputs whose arrays the caller gives up, so that results may take their memory. Today
    nothing is overwritten; an array that is read-only is refused when its version is looked up.
    threads: the most threads that loops of this function run on; never more than
    `sg.set_threads`, and results are bitwise the same for any number. device: "cpu". profile: time
    every kernel, for `f.profile.table()` and `f.profile.to_chrome_trace(path)`.

    Returns a callable: arrays in, arrays out (a list for a list, a dict for a dict, None without
    outputs). `f["name"]` is the stored value of an input that has one. Raises UnusedInputError,
    MissingInputError, DTypeError, ShapeError, DeviceError.

    >>> x = sg.vector("x", dtype="float32")
    >>> f = sg.function([x], (x**2).sum(), threads=1, donate=[x], device="cpu")
    >>> float(f(np.arange(3, dtype="float32")))
    5.0
    """
    _check_device(device)
    if threads is not None and (isinstance(threads, bool) or threads < 1):
        raise ValueError(f"threads must be 1 or more, got {threads!r}")
    definition = Definition(
        inputs,
        outputs,
        updates,
        givens,
        on_unused_input,
        allow_input_downcast,
        no_default_updates,
        donate,
    )
    chosen = mode or config.mode
    if chosen not in ("native", "eager", "debug", "nan"):
        raise ValueError(f"mode must be native, eager, debug or nan, got {chosen!r}")
    if shapes not in ("auto", "exact", "generic"):
        raise ValueError(f"shapes must be auto, exact or generic, got {shapes!r}")
    return Compiled(definition, chosen, name or "f", shapes, threads, profile).callable()


def _check_device(device: str | None) -> None:
    """Raise DeviceError for a device that is not there, ValueError for no device at all."""
    if device in (None, "cpu"):
        return
    if not isinstance(device, str) or device.split(":")[0] not in ("cuda", "cuda-sim"):
        raise ValueError(f"device must be 'cpu' or 'cuda', got {device!r}")
    raise DeviceError(
        f"device {device!r} is not there: this release makes code for the CPU only; code for GPUs "
        'belongs to the extra "symgraph[cuda]".\n  use device="cpu", or leave it out'
    )


class NoProfile:
    """What `f.profile` is without `profile=True`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        raise ValueError(
            f"function {self._name} was made without a profile\n"
            "  mend:   sg.function(..., profile=True)"
        )

    def __repr__(self) -> str:
        return "<no profile: pass profile=True>"


class Compiled:
    """A function: its definition and the versions compiled so far."""

    def __init__(
        self,
        definition: Definition,
        mode: str,
        name: str,
        shapes: str,
        threads: int | None = None,
        profile: bool = False,
    ) -> None:
        self.profiled = profile
        self.definition, self.mode, self.name, self.shapes = definition, mode, name, shapes
        self.threads = threads
        self.numerics = config.numerics
        start = time.perf_counter()
        self.values = (
            definition.values
            if mode in ("eager", "nan")
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
            "profile": profile_module.Profile(self) if self.profiled else NoProfile(self.name),
            "raw": entry,
            "name": self.name,
            "versions": lambda f: self.versions(),
            "explain": lambda f, stage=None: self.explain(stage),
            "copy": lambda f, swap=None: self.copy(swap or {}),
            "free": lambda f: self.free(),
            "__getitem__": lambda f, key: self.stored(key).get_value(),
            "__setitem__": lambda f, key, value: self.stored(key).set_value(value),
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

    def stored(self, key: str | Node) -> SharedVariable:
        """Return the variable that holds the value of an input; raises KeyError."""
        for p in self.definition.params:
            if p.state is not None and (p.node is key or p.name == key):
                return p.state
        known = [p.name for p in self.definition.params if p.state is not None]
        raise KeyError(f"no input {key!r} with a stored value; there are {known}")

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
            # the frames of the compiler help nobody
            raise error.with_traceback(None)  # noqa: B904

    def _converted(self, args: tuple[Any, ...], out: Any, kwargs: dict[str, Any]) -> Any:
        params = self.definition.params
        values = bind(params, args, kwargs)
        arrays = [p.convert(v, k) for k, (p, v) in enumerate(zip(params, values, strict=True))]
        if self.mode in ("eager", "nan"):
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
        for k, (o_, n, shape) in enumerate(zip(outs, self.definition.outputs, shapes, strict=True)):
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
        run = nan_mode.evaluate if self.mode == "nan" else evaluate
        results = run(self.values, self._arrays(arrays))
        n = len(d.outputs)
        for (p, _), value in zip(d.updates, results[n:], strict=True):
            if p.data.cell.get().shape != value.shape:
                raise _resizing(p, value.shape)
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
            for known in self.version_list:
                if known.accepts(arrays, shared):
                    return known
            exact = sum(1 for v in self.version_list if not v.generic)
            generic = self.shapes == "generic" or (
                self.shapes == "auto" and exact >= MAX_EXACT_VERSIONS
            )
            version: Version = version_module.build_version(self, arrays, shared, generic)
            if generic and self._resized(version) is not None:
                version = version_module.build_version(self, arrays, shared, False)
            self._refuse_resizing(version)
            self._install(version)
            return version

    def _resized(self, version: Version) -> tuple[Node, Node] | None:
        """Return a shared variable and an update of another shape, where there are any."""
        d = self.definition
        for (p, _), new in zip(d.updates, version.graph[len(d.outputs) :], strict=True):
            if version.leaf_map.get(p, p).type.shape != new.type.shape:
                return version.leaf_map.get(p, p), new
        return None

    def _refuse_resizing(self, version: Version) -> None:
        """Raise ShapeError for an update that does not fit into the array that it goes into."""
        found = self._resized(version)
        if found is not None:
            raise _resizing(found[0], found[1].type.shape)

    def _install(self, version: Version) -> None:
        """Put a version into the chain that native calls walk: the first version leads."""
        if self.threads is not None and version.module.parallel:
            limit.limit_threads(version.entry, self.threads)
        if self.version_list:
            self.version_list[-1].entry.set_next(version.entry)
        elif self.mode == "native" and self.definition.keys is None:
            cls: Any = self._instance_class
            cls.__call__ = cls.raw = version.entry.function
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
        """Return a function of the same graph with shared variables exchanged.

        Values that inputs keep (`In(value=..., update=...)`) are copied as they are now.
        """
        d = self.definition
        values = substitute(d.values, dict(swap))
        n = len(d.outputs)
        outputs: Any = values[:n]
        if d.single:
            outputs = outputs[0]
        elif d.keys is not None:
            outputs = dict(zip(d.keys, outputs, strict=True))
        changed = {p: v for (p, _), v in zip(d.updates, values[n:], strict=True)}
        inputs = []
        for p in d.params:
            update = changed.pop(p.state) if p.state is not None and p.update is not None else None
            value = None if p.state is None else swap.get(p.state, p.state.get_value())
            inputs.append(
                In(p.node, p.name, value, update, strict=p.strict, allow_downcast=p.downcast)
            )
        return function(
            inputs,
            None if d.none else outputs,
            updates=[(swap.get(p, p), v) for p, v in changed.items()],
            mode=self.mode,
            name=self.name,
            on_unused_input="ignore",
            no_default_updates=True,
            shapes=self.shapes,
            donate=[p.node for p in d.params if p.donated],
            threads=self.threads,
            profile=self.profiled,
        )

    def free(self) -> None:
        """Give the scratch memory of all versions back; the next call takes new one."""
        for version in self.version_list:
            version.entry.free_arena()


def _resizing(target: Node, shape: Sequence[Any]) -> ShapeError:
    sizes = ", ".join(map(str, shape))
    return ShapeError(
        f"the update of `{describe(target)}` ({target.type}) has shape ({sizes}); an update is "
        "stored in place and keeps the shape.\n  mend:   return the new value as an output and "
        "call set_value"
    )


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
    inputs += [n for n in size_inputs([node], set(given)) if n not in inputs]
    arrays = {}
    for k, param in enumerate(parameters(inputs, None, ())):
        arrays[param.node] = param.convert(given.get(param.node, param.node.test_value), k)
    for n in toposort([node]):
        if n.op is SHARED:
            arrays[n] = n.data.cell.get()
    return np.array(evaluate([node], arrays)[0])
