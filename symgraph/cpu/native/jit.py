"""From LLVM text to callable machine code: target, code generation, object cache, loading."""

from __future__ import annotations

import atexit
import ctypes
import itertools
import os
import threading
import time
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from symgraph.core.config import config
from symgraph.core.record import dataclass
from symgraph.cpu.native.cache import ObjectCache
from symgraph.cpu.native.digest import digest

CODE_VERSION = 1  # part of every cache key: raise it when the meaning of generated text changes

# LLVM objects are not safe to share between Python threads, so all work on them takes this lock.
_lock = threading.Lock()
if hasattr(os, "register_at_fork"):  # a child must not begin in the middle of a compilation
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )
_names = itertools.count()
_state: dict[str, Any] = {}  # "llvm": the module, "jit": the process' linker, "default": Target,
# "cache": the default object cache, "folder": the settings' folder that it was made for


class LinkError(RuntimeError):
    """Generated code needs a symbol that this process does not have, or lacks an expected one."""


@dataclass(frozen=True, slots=True)
class Target:
    """A machine to generate code for; `vector_bytes` is the width of its vector registers."""

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    llvm: str

    @property
    def is_x86(self) -> bool:
        """Tell whether this is a 64-bit x86 machine."""
        return self.triple.startswith("x86_64")

    @property
    def has_fma(self) -> bool:
        """Tell whether fused multiply-add is one instruction."""
        return not self.is_x86 or "+fma" in self.features.split(",") or self.cpu in _WIDE_CPUS


_machines: dict[tuple[Target, int], Any] = {}
_WIDE_CPUS = {"x86-64-v3": 32, "x86-64-v4": 64}


@dataclass(frozen=True, slots=True)
class BuildTimes:
    """Milliseconds of one build per phase; `cached` tells that no code was generated."""

    parse: float = 0.0
    codegen: float = 0.0
    load: float = 0.0
    cached: bool = False


class Loaded:
    """Machine code in memory; freed when this object is collected."""

    __slots__ = ("__weakref__", "_addresses", "_tracker", "object_size", "times")

    def __init__(
        self, tracker: Any, addresses: dict[str, int], object_size: int, times: BuildTimes
    ) -> None:
        self._tracker = tracker
        self._addresses = addresses
        self.object_size = object_size
        self.times = times

    def address(self, name: str) -> int:
        """Return the address of the function or global `name`; KeyError if it was not asked for."""
        return self._addresses[name]

    def names(self) -> tuple[str, ...]:
        """Return the names whose addresses are known."""
        return tuple(self._addresses)


def llvm() -> ModuleType:
    """Return `llvmlite.binding`, imported and initialised for this machine at the first call."""
    module: ModuleType | None = _state.get("llvm")
    if module is None:
        from llvmlite import binding

        with _lock:
            binding.initialize_native_target()
            binding.initialize_native_asmprinter()
            module = _state["llvm"] = binding
    return module


def target(
    triple: str | None = None, cpu: str | None = None, features: str | None = None
) -> Target:
    """Return the description of a machine, by default of this one.

    Giving `features` (LLVM's form, "+avx2,+fma") or `triple` without `cpu` starts from the
    plainest machine of that kind, so that text for any machine can be assembled anywhere.
    """
    if triple is None and cpu is None and features is None:
        return _host()
    binding = llvm()
    triple = triple or binding.get_process_triple()
    x86 = triple.startswith("x86_64")
    cpu = cpu or ("x86-64" if x86 else "generic")
    features = features or ("" if x86 else "+neon")
    return Target(triple, cpu, features, _vector_bytes(triple, cpu, features), _llvm_version())


def _host() -> Target:
    if "default" not in _state:
        binding = llvm()
        triple = binding.get_process_triple()
        cpu = binding.get_host_cpu_name()
        features = binding.get_host_cpu_features().flatten()
        width = _vector_bytes(triple, cpu, features)
        _state["default"] = Target(triple, cpu, features, width, _llvm_version())
    found: Target = _state["default"]
    return found


def _vector_bytes(triple: str, cpu: str, features: str) -> int:
    if not triple.startswith("x86_64"):
        return 16
    on = set(features.split(","))
    if "+avx512f" in on and "+avx512vl" in on and "+avx512dq" in on:
        return 64
    return 32 if "+avx2" in on else _WIDE_CPUS.get(cpu, 16)


def _llvm_version() -> str:
    return ".".join(str(part) for part in llvm().llvm_version_info)


def _new_machine(target: Target, opt_level: int) -> Any:
    binding = llvm()
    if target.triple != binding.get_process_triple() and "all" not in _state:
        binding.initialize_all_targets()
        binding.initialize_all_asmprinters()
        _state["all"] = True
    # Small code model and position independence: each object is linked as one near block, so
    # constants are reached relative to the instruction pointer instead of by 10-byte moves.
    return binding.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu,
        features=target.features,
        opt=opt_level,
        reloc="pic",
        codemodel="small",
        jit=True,
    )


def _machine(target: Target, opt_level: int) -> Any:
    key = (target, opt_level)
    if key not in _machines:
        _machines[key] = _new_machine(target, opt_level)
    return _machines[key]


def compile_object(text: str, target: Target, opt_level: int = 2, verify: bool = False) -> bytes:
    """Return the object file of LLVM `text`; no pass over the intermediate form is run.

    verify: check the module first (RuntimeError with LLVM's message); invalid text that parses
    may otherwise crash the code generator. Text that does not parse raises RuntimeError.
    """
    return _compile(text, target, opt_level, verify)[0]


def _compile(text: str, target: Target, opt_level: int, verify: bool) -> tuple[bytes, float, float]:
    """Return the object file and the milliseconds of parsing and of code generation."""
    start = time.perf_counter()
    with _lock:
        module = _parse(text, target, opt_level)
        if verify:
            module.verify()
        parsed = time.perf_counter()
        code = _generate(module, target, opt_level)
        return code, 1e3 * (parsed - start), 1e3 * (time.perf_counter() - parsed)


def _parse(text: str, target: Target, opt_level: int) -> Any:
    """Return the module of `text`; the caller holds the lock."""
    binding = llvm()
    module = binding.parse_assembly(text, binding.create_context())
    module.triple = target.triple
    module.data_layout = str(_machine(target, opt_level).target_data)
    return module


def _generate(module: Any, target: Target, opt_level: int) -> bytes:
    """Return the object file of a module, which is used up; the caller holds the lock."""
    code: bytes = _machine(target, opt_level).emit_object(module)
    module.close()
    return code


def compile_assembly(text: str, target: Target, opt_level: int = 2) -> str:
    """Return the assembly listing of LLVM `text` for `target`."""
    with _lock:
        module = _parse(text, target, opt_level)
        listing: str = _machine(target, opt_level).emit_assembly(module)
        return listing


def _linker() -> Any:
    if "jit" not in _state:
        host = _host()
        jit = llvm().create_lljit_compiler(
            _machine(host, 2), use_jit_link=True, suppress_errors=True
        )
        # Never disposed: at interpreter exit it must outlive every `Loaded`, in whatever order
        # the modules are torn down.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(jit))
        _state["jit"] = jit
    return _state["jit"]


def load(code: bytes, names: Sequence[str], times: BuildTimes | None = None) -> Loaded:
    """Link an object file into this process and return its addresses for `names`.

    LinkError if it needs a symbol absent from the process or does not define one of `names`.
    """
    binding = llvm()
    start = time.perf_counter()
    _host()
    with _lock:
        jit = _linker()
        builder = binding.JITLibraryBuilder().add_object_img(code).add_current_process()
        for name in names:
            builder.export_symbol(name)
        try:
            tracker = builder.link(jit, f"symgraph.{next(_names)}")
        except RuntimeError as error:
            raise LinkError(_explain(code, names, str(error))) from None
    spent = 1e3 * (time.perf_counter() - start)
    times = times or BuildTimes()
    return Loaded(
        tracker,
        {name: tracker[name] for name in names},
        len(code),
        BuildTimes(times.parse, times.codegen, spent, times.cached),
    )


def _explain(code: bytes, names: Sequence[str], message: str) -> str:
    """Name the undefined symbols of an object that did not link."""
    binding = llvm()
    missing = []
    for name in undefined_symbols(code):
        if binding.address_of_symbol(name) is None:
            missing.append(name)
    if missing:
        return f"generated code needs symbols this process lacks: {', '.join(missing)}"
    return f"cannot link generated code for {', '.join(names)}: {message}"


def callable_at(address: int) -> Callable[[int, int, int], None]:
    """Return the kernel at an address, to be called with its arguments' address and a range."""
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(address)


def undefined_symbols(code: bytes) -> list[str]:
    """Return the external names of a 64-bit little-endian ELF object ([] for other formats)."""
    if code[:6] != b"\x7fELF\x02\x01":
        return []
    section_table = int.from_bytes(code[40:48], "little")
    size, count = (int.from_bytes(code[at : at + 2], "little") for at in (58, 60))
    found: list[str] = []
    for index in range(count):
        at = section_table + index * size
        if int.from_bytes(code[at + 4 : at + 8], "little") != 2:  # SHT_SYMTAB
            continue
        start, length = (int.from_bytes(code[at + k : at + k + 8], "little") for k in (24, 32))
        link = int.from_bytes(code[at + 40 : at + 44], "little")
        strings_at = section_table + link * size + 24
        strings = int.from_bytes(code[strings_at : strings_at + 8], "little")
        for symbol in range(start + 24, start + length, 24):
            if code[symbol + 6 : symbol + 8] == b"\0\0":  # SHN_UNDEF
                name = strings + int.from_bytes(code[symbol : symbol + 4], "little")
                found.append(code[name : code.index(b"\0", name)].decode())
    return found


def cache_key(text: str, target: Target, opt_level: int = 2) -> str:
    """Return the hash that identifies the object file of `text` for `target`."""
    parts = (
        str(CODE_VERSION),
        target.llvm,
        target.triple,
        target.cpu,
        target.features,
        str(opt_level),
        text,
    )
    return digest("\0".join(parts).encode()).hex()


def use_cache(cache: ObjectCache | None) -> None:
    """Set the cache of every `build` that names none; None (the start value) compiles always."""
    _state["cache"] = cache


def cache() -> ObjectCache | None:
    """Return the cache given to `use_cache`, if any."""
    return _state.get("cache")


def follow_settings() -> None:
    """Use the cache folder of the settings; cheap when they have not changed."""
    folder = config.cache_dir if config.cache else ""
    if _state.get("folder") != folder:
        _state["folder"] = folder
        use_cache(ObjectCache(os.path.join(folder, "compiled")) if folder else None)


class Quick:
    """A program that every process needs, being made; `result` waits for it.

    From the cache if it is there; else generated without optimisation (a tenth of the time, calls
    cost some 20 ns more) in a thread of its own, since most of a first compilation is work of the
    interpreter; the optimised code is put in the cache when this process ends.
    """

    def __init__(self, text: str, names: Sequence[str]) -> None:
        self._names, self._target = names, _host()
        self._module: Any = None
        cache: ObjectCache | None = _state.get("cache")
        self._code = None if cache is None else cache.get(cache_key(text, self._target))
        self._times = BuildTimes(cached=self._code is not None)
        self._thread = threading.Thread(target=self._run, name="symgraph-start")
        if self._code is not None:
            return
        if cache is not None:
            atexit.register(_put_optimised, cache, text, self._target)
        with _lock:
            self._module = _parse(text, self._target, 0)
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter is at its end: `result` generates the code itself
            self._run()

    def _run(self) -> None:
        with _lock:
            if self._code is None:
                self._code = _generate(self._module, self._target, 0)

    def result(self) -> Loaded:
        """Return the machine code, loaded."""
        if self._code is None and self._thread.is_alive():
            self._thread.join()
        self._run()  # if the thread is gone without a result: this is a forked child
        assert self._code is not None
        return load(self._code, self._names, self._times)


def build_quick(text: str, names: Sequence[str]) -> Loaded:
    """Return machine code for a program that every process needs, soon: see `Quick`."""
    return Quick(text, names).result()


def _put_optimised(cache: ObjectCache, text: str, target: Target) -> None:
    key = cache_key(text, target)
    if cache.get(key) is None:
        cache.put(key, compile_object(text, target))


def load_cached(key: str, names: Sequence[str], cache: ObjectCache) -> Loaded | None:
    """Return the loaded machine code that is kept under `key`, None if there is none that links."""
    code = cache.get(key)
    if code is None:
        return None
    try:
        return load(code, names, BuildTimes(cached=True))
    except LinkError:
        return None  # made beside other libraries, or a foreign file: build it again


def build(
    text: str,
    names: Sequence[str],
    target: Target | None = None,
    verify: bool = False,
    cache: ObjectCache | None = None,
    opt_level: int = 2,
) -> Loaded:
    """Return the loaded machine code of LLVM `text`, from `cache` when it is there.

    names: functions and globals whose addresses are wanted.
    cache: where object files are kept; None takes the one given to `use_cache`, if any.
    """
    cache = cache or _state.get("cache")
    target = target or _host()
    key = cache_key(text, target, opt_level)
    known = None if cache is None else load_cached(key, names, cache)
    if known is not None:
        return known
    code, parse, codegen = _compile(text, target, opt_level, verify)
    loaded = load(code, names, BuildTimes(parse, codegen))
    if cache is not None:
        cache.put(key, code)
    return loaded
