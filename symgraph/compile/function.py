"""`sg.function`: check a graph, rewrite it, and make native versions of it as calls come."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from symgraph.compile.arguments import In, bind, parameters
from symgraph.compile.definition import Definition, Updates, size_inputs
from symgraph.compile.eager import evaluate
from symgraph.compile.policy import MOST_LIVE, History, choose
from symgraph.compile.shared import SharedVariable
from symgraph.compile.specialise import bind_sizes, size_symbols, specialise
from symgraph.core import collector
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
from symgraph.core.stamp import source_stamp
from symgraph.core.walk import substitute, toposort

if TYPE_CHECKING:
    from symgraph.compile.version import Version

# The back end is loaded by the first function, so that building graphs stays quick to import.
pipeline: Any = lazy("symgraph.compile.pipeline")
version_module: Any = lazy("symgraph.compile.version")
plans: Any = lazy("symgraph.compile.plans")
builder: Any = lazy("symgraph.compile.build")
runtime: Any = lazy("symgraph.cpu.runtime")
debug_mode: Any = lazy("symgraph.compile.debug_mode")
profile_module: Any = lazy("symgraph.compile.profile")
nan_mode: Any = lazy("symgraph.compile.nan_mode")
call: Any = lazy("symgraph.cpu.entry.call")
limit: Any = lazy("symgraph.compile.threads")
html: Any = lazy("html")  # for notebooks
# Calls in debug mode compare variables before and after: no other one may change them meanwhile.
_one_at_a_time = threading.Lock()


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
    "exact" makes a version per shape, without a limit; "generic" only versions with run-time
    sizes; "auto" makes two exact ones, then versions in which the sizes that changed are run-time
    sizes, and keeps at most four (see `f.versions()`).

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
    with collector.paused():
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
        self._values: list[Node] | None = None
        if mode in ("eager", "nan"):
            self._values = definition.values
        else:
            runtime.start()  # the native entry is made in the background meanwhile
            self.keys = plans.Keys(self, source_stamp())
            if not self.keys.is_known():
                self._values = self.values  # what is wrong with a graph is said now
        self.version_list: list[Version] = []
        self.made: list[tuple[str, frozenset[Any]]] = []  # every version so far: kind, varying
        self.history = History()
        self.replayed: dict[str, int] = {}  # why calls ran node by node, and how many
        self._lock = threading.RLock()
        self._depth = threading.local()
        self._root: Any = None

    @property
    def values(self) -> list[Node]:
        """Outputs and new values of shared variables, rewritten as far as sizes are not needed."""
        if self._values is None:
            self._values = pipeline.prepare(self.definition.values, self.numerics)
        return self._values

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
            "copy": lambda f, swap=None, delete_updates=False: self.copy(
                dict(swap or {}), delete_updates
            ),
            "free": lambda f: self.free(),
            "__getitem__": lambda f, key: self.stored(key).get_value(),
            "__setitem__": lambda f, key, value: self.stored(key).set_value(value),
            "__repr__": lambda f: self.describe(),
            "_repr_html_": lambda f: f"<code>{html.escape(self.describe())}</code>",
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

    def slow_into(self, *args: Any) -> Any:
        """Do the same for a call whose last arguments are the arrays for the results."""
        count = len(args) - len(self.definition.outputs)
        outs = args[count:]
        return self.slow(*args[:count], out=outs[0] if self.definition.single else list(outs))

    def _converted(self, args: tuple[Any, ...], out: Any, kwargs: dict[str, Any]) -> Any:
        params = self.definition.params
        values = bind(params, args, kwargs)
        arrays = [p.convert(v, k) for k, (p, v) in enumerate(zip(params, values, strict=True))]
        if out is not None:
            out = self._as_list(out)
        if self.mode in ("eager", "nan"):
            return self._replay(arrays, out)
        version = self._version_for(arrays)
        if version is None:
            return self._replay(arrays, out)
        depth = getattr(self._depth, "value", 0)
        if depth > 3:
            raise VerifyError(f"function {self.name}: no version accepts its own arguments")
        self._depth.value = depth + 1
        try:
            if out is not None:
                held = [n.data.cell.get() for n in self.definition.shared]
                self._check_outputs(out, version.output_shapes(arrays, held))
            if self.mode == "debug":
                return self._filled(out, self._debug(version, arrays))
            if out is None:
                return version.entry.function(*arrays)
            if not version.entry.portable and _separate([*arrays, *held], out):
                version.entry.function_into(*arrays, *out)
                return self._of_list(out)
            return self._filled(out, version.entry.function(*arrays))
        finally:
            self._depth.value = depth

    def _as_list(self, out: Any) -> list[Any]:
        """Return the arrays that were given for results, in the order of the outputs."""
        d = self.definition
        if d.single:
            return [out]
        if d.keys is None:
            return list(out)
        if not isinstance(out, Mapping) or set(out) != set(d.keys):
            raise TypeError(f"out= needs a dict of arrays with the keys {d.keys}, got {out!r:.80}")
        return [out[key] for key in d.keys]

    def _of_list(self, results: list[Any]) -> Any:
        """Return results as the caller gets them; `_python_entry` makes the dict."""
        d = self.definition
        if d.none:
            return None
        return results[0] if d.single else results

    def _filled(self, out: list[Any] | None, results: Any) -> Any:
        """Store results in the arrays that were given for them, if any."""
        if out is None:
            return results
        values = [results] if self.definition.single else results
        for target, value in zip(out, values, strict=True):
            target[...] = value
        return self._of_list(out)

    def _check_outputs(self, outs: list[Any], shapes: Sequence[tuple[int, ...]]) -> None:
        """Raise an error unless results of these shapes can be written to the arrays."""
        if len(outs) != len(self.definition.outputs):
            raise TypeError(f"out= needs {len(self.definition.outputs)} arrays, got {len(outs)}")
        for k, (o_, n, shape) in enumerate(zip(outs, self.definition.outputs, shapes, strict=True)):
            if not isinstance(o_, np.ndarray) or o_.dtype != n.dtype.numpy:
                raise DTypeError(
                    f"out[{k}] must be a {n.dtype} array, got {getattr(o_, 'dtype', o_)!r}"
                )
            if o_.shape != shape:
                raise ShapeError(f"out[{k}] has shape {o_.shape}, the result has {shape}")
            if not o_.flags.writeable:
                raise ValueError(f"out[{k}] is read-only")
            for j in range(k):
                if np.may_share_memory(o_, outs[j]):
                    raise ValueError(f"out[{j}] and out[{k}] share memory")

    def _arrays(self, arrays: Sequence[np.ndarray]) -> dict[Node, np.ndarray]:
        d = self.definition
        values = {p.node: a for p, a in zip(d.params, arrays, strict=True)}
        return values | {n: n.data.cell.get() for n in d.shared}

    def _replay(self, arrays: Sequence[np.ndarray], out: list[Any] | None) -> Any:
        """Run the graph node by node, for a mode or for sizes that no version is made for."""
        d = self.definition
        run = nan_mode.evaluate if self.mode == "nan" else evaluate
        written = {p for p, _ in d.updates}
        values = {p.node: a for p, a in zip(d.params, arrays, strict=True)}
        with ExitStack() as stack:
            for n in sorted(d.shared, key=lambda n: n.data.cell.address):  # one order for all
                cell = n.data.cell
                values[n] = stack.enter_context(cell.writing() if n in written else cell.reading())
            results = run(self.values, values)
            new = results[len(d.outputs) :]
            for (p, _), value in zip(d.updates, new, strict=True):
                if values[p].shape != value.shape:
                    raise builder.resizing(p, value.shape)
            outputs = [np.array(v, order="C") for v in results[: len(d.outputs)]]
            if out is not None:
                self._check_outputs(out, [v.shape for v in outputs])
            new = [np.array(v) for v in new]  # a new value may be a view of another's old one
            for (p, _), value in zip(d.updates, new, strict=True):
                values[p][...] = value
        return self._filled(out, self._of_list(outputs))

    def _debug(self, version: Version, arrays: list[np.ndarray]) -> Any:
        d = self.definition
        with _one_at_a_time:
            before = {n: a.copy() for n, a in self._arrays(arrays).items()}
            result = version.entry.function(*arrays)
            got = [] if d.none else ([result] if d.single else list(result))
            got += [p.data.cell.get().copy() for p, _ in d.updates]
        debug_mode.check_version(d.values, self.values, version, before, got, self.numerics)
        return result

    # -- versions ----------------------------------------------------------------------------------
    def _version_for(self, arrays: Sequence[np.ndarray]) -> Version | None:
        """Return a version that takes these arguments, made if needed; None for none at all."""
        d = self.definition
        shared = [n.data.cell.get() for n in d.shared]
        with self._lock:
            for known in self.version_list:
                if known.accepts(arrays, shared):
                    return known
            leaves = [p.node for p in d.params] + list(d.shared)
            sizes = bind_sizes(leaves, dict(zip(leaves, (*arrays, *shared), strict=True)))
            history = self.history.with_call(sizes)
            choice = choose(self.shapes, history, sizes, self.made)
            if choice.kind == "replay":
                specialise([*self.values, *leaves], sizes.get)  # sizes that clash raise here
                self.replayed[choice.why] = self.replayed.get(choice.why, 0) + 1
                return None
            version: Version = version_module.build_version(
                self, arrays, shared, choice, history.largest
            )
            self.history = history
            self._install(version)
            return version

    def _install(self, version: Version) -> None:
        """Put a version into the chain that native calls walk: the first version leads."""
        if self.threads is not None and version.parallel:
            limit.limit_threads(version.entry, self.threads)
        self.made.append((version.kind, version.choice.moving))
        versions = [*self.version_list, version]
        if self.shapes == "auto" and len(versions) > MOST_LIVE:
            exact = (v for v in self.version_list if v.kind == "exact")
            versions.remove(next(exact, versions[0]))
        for known, following in zip(versions, versions[1:], strict=False):
            known.entry.set_next(following.entry)
        if self.mode == "native" and self.definition.keys is None:
            cls: Any = self._instance_class
            cls.__call__ = cls.raw = versions[0].entry.function
        self.version_list = versions

    def versions(self) -> list[dict[str, Any]]:
        """Return what is compiled, why, for which sizes, how long it took, and how often it ran.

        kind: "exact", "class" (some sizes are read from the arguments), "generic" (all are), or
        "replay" for calls that ran node by node.
        """
        found = [v.report() for v in self.version_list]
        for why, calls in self.replayed.items():
            found.append({"kind": "replay", "why": why, "calls": calls})
        return found

    def explain(self, stage: str | None = None) -> str:
        """Return a report, or the text of a stage: "graph", "loops", "llvm", "asm"."""
        if not self.version_list:
            return f"{self.describe()}\nNothing is compiled yet: call it once."
        return "\n\n".join(v.explain(stage) for v in self.version_list)

    def copy(self, swap: Mapping[Node, Node], delete_updates: bool = False) -> Any:
        """Return a function of the same graph with shared variables exchanged.

        Values that inputs keep (`In(value=..., update=...)`) are copied as they are now.
        delete_updates: the new function changes no variable.
        """
        d = self.definition
        known = {*d.shared, *(p.state for p in d.params if p.state is not None)}
        for old, new in swap.items():
            _check_swap(old, new, known)
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
            if delete_updates:
                update = None
            value = None if p.state is None else swap.get(p.state, p.state.get_value())
            inputs.append(
                In(p.node, p.name, value, update, strict=p.strict, allow_downcast=p.downcast)
            )
        updates = [] if delete_updates else [(swap.get(p, p), v) for p, v in changed.items()]
        with config.override(numerics=self.numerics):
            return function(
                inputs,
                None if d.none else outputs,
                updates=updates,
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


def _separate(arrays: Sequence[np.ndarray], out: Sequence[np.ndarray]) -> bool:
    """Tell whether native code can write to `out` directly."""
    return all(o_.flags.c_contiguous and o_.flags.aligned for o_ in out) and not any(
        np.may_share_memory(o_, a) for o_ in out for a in arrays
    )


def _check_swap(old: Node, new: Any, known: set[Node]) -> None:
    """Raise unless a copy of a function can have `new` in place of its variable `old`."""
    if old not in known:
        names = ", ".join(f"`{describe(n)}`" for n in known) or "none"
        raise ValueError(f"copy: the function has no shared variable `{describe(old)}`: {names}")
    if not isinstance(new, SharedVariable):
        raise TypeError(f"copy: `{describe(old)}` needs a shared variable, not {new!r:.80}")
    if new.dtype is not old.dtype:
        raise DTypeError(f"copy: `{describe(old)}` is {old.type}, `{describe(new)}` {new.type}")
    sizes = zip(old.type.shape, new.type.shape, strict=False)
    if new.ndim != old.ndim or any(isinstance(a, int) and a != b for a, b in sizes):
        raise ShapeError(f"copy: `{describe(old)}` is {old.type}, `{describe(new)}` {new.type}")


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
