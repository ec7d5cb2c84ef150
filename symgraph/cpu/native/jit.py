"""From LLVM text to callable machine code: object cache, linking, loading."""

from __future__ import annotations

import atexit
import ctypes
import itertools
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from symgraph.core.config import config
from symgraph.core.record import dataclass
from symgraph.cpu.native import bundle
from symgraph.cpu.native.cache import ObjectCache
from symgraph.cpu.native.codegen import (
    Made,
    Part,
    Target,
    compile_assembly,
    compile_object,
    cores,
    generate,
    generate_all,
    llvm,
    lock,
    new_machine,
    target,
)
from symgraph.cpu.native.codegen import target as default_target
from symgraph.cpu.native.digest import digest

__all__ = [
    "BuildTimes",
    "Coming",
    "LinkError",
    "Loaded",
    "Target",
    "build",
    "cache",
    "cache_key",
    "callable_at",
    "compile_assembly",
    "compile_object",
    "cores",
    "follow_settings",
    "llvm",
    "load",
    "load_cached",
    "target",
    "undefined_symbols",
    "use_cache",
]

CODE_VERSION = 1  # part of every cache key: raise it when the meaning of generated text changes

_names = itertools.count()
_state: dict[str, Any] = {}  # "jit": the process' linker, "cache": the default object cache,
# "folder": the settings' folder that it was made for


class LinkError(RuntimeError):
    """Generated code needs a symbol that this process does not have, or lacks an expected one."""


@dataclass(frozen=True, slots=True)
class BuildTimes:
    """Milliseconds of one build per phase, added up over threads; `cached`: no code was made."""

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


def _linker() -> Any:
    if "jit" not in _state:
        jit = llvm().create_lljit_compiler(
            new_machine(target(), 2), use_jit_link=True, suppress_errors=True
        )
        # Never disposed: at interpreter exit it must outlive every `Loaded`, in whatever order
        # the modules are torn down.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(jit))
        _state["jit"] = jit
    return _state["jit"]


def load(code: bytes, names: Sequence[str], times: BuildTimes | None = None) -> Loaded:
    """Link an object file, or several in a bundle, and return their addresses for `names`.

    LinkError if it needs a symbol absent from the process or does not define one of `names`.
    """
    binding = llvm()
    start = time.perf_counter()
    with lock:
        jit = _linker()
        builder = binding.JITLibraryBuilder()
        for part in bundle.unbundled(code):
            builder.add_object_img(part)
        builder.add_current_process()
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
    objects = bundle.unbundled(code)
    defined = {name for part in objects for name in symbols(part, defined=True)}
    for name in dict.fromkeys(name for part in objects for name in undefined_symbols(part)):
        if name not in defined and binding.address_of_symbol(name) is None:
            missing.append(name)
    if missing:
        return f"generated code needs symbols this process lacks: {', '.join(missing)}"
    return f"cannot link generated code for {', '.join(names)}: {message}"


def callable_at(address: int) -> Callable[[int, int, int], None]:
    """Return the kernel at an address, to be called with its arguments' address and a range."""
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(address)


def undefined_symbols(code: bytes) -> list[str]:
    """Return the external names of a 64-bit little-endian ELF object ([] for other formats)."""
    return symbols(code, defined=False)


def symbols(code: bytes, defined: bool) -> list[str]:
    """Return the names that an object defines for others, or that it needs."""
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
            known = code[symbol + 6 : symbol + 8] != b"\0\0"  # not SHN_UNDEF
            if known == defined and code[symbol + 4] >> 4:  # not STB_LOCAL
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


class Coming:
    """Machine code that is needed soon, being made in a thread of its own; `result` waits for it.

    opt_level: without optimisation (0) generating takes a tenth of the time and a call some 20 ns
    more; the optimised code is then put in the cache when this process ends.
    """

    def __init__(
        self, text: str, names: Sequence[str], opt_level: int = 2, verify: bool = False
    ) -> None:
        self._part, self._names, self._target = Part(text, opt_level), names, target()
        self._verify = verify
        self._cache: ObjectCache | None = _state.get("cache")
        self._key = cache_key(text, self._target)
        self._loaded: Loaded | None = None
        self._made: Made | None = None
        self._code = None if self._cache is None else self._cache.get(self._key)
        self._thread = threading.Thread(target=self._try, name="symgraph-start")
        if self._code is not None:
            return
        if self._cache is not None and opt_level == 0:
            atexit.register(_put_optimised, self._cache, text, self._target)
        try:  # noqa: SIM105 - contextlib costs start time
            self._thread.start()
        except RuntimeError:  # the interpreter is at its end: `result` generates the code itself
            pass

    def _try(self) -> None:
        try:  # noqa: SIM105
            self._run()
        except RuntimeError:  # `result` tries again, and says so
            pass

    def _run(self) -> None:
        if self._made is None:
            self._made = generate(self._part, self._target, self._verify)

    def result(self) -> Loaded:
        """Return the machine code, loaded."""
        if self._code is not None:
            return load(self._code, self._names, BuildTimes(cached=True))
        if self._thread.is_alive():
            self._thread.join()
        self._run()  # if the thread is gone without a result: this is a forked child, or it failed
        assert self._made is not None
        if self._cache is not None and self._part.opt_level:
            self._cache.put(self._key, self._made.code)
        times = BuildTimes(self._made.parse, self._made.codegen)
        return load(self._made.code, self._names, times)


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
    once: Sequence[str] = (),
) -> Loaded:
    """Return the loaded machine code of LLVM `text`, from `cache` when it is there.

    names: functions and globals whose addresses are wanted.
    cache: where object files are kept; None takes the one given to `use_cache`, if any.
    once: functions without loops, which are not optimised if they are long.
    """
    cache = cache or _state.get("cache")
    target = target or default_target()
    key = cache_key(text, target)
    known = None if cache is None else load_cached(key, names, cache)
    if known is not None:
        return known
    made = generate_all(bundle.split(text, once), target, verify)
    code = bundle.bundled([m.code for m in made])
    times = BuildTimes(sum(m.parse for m in made), sum(m.codegen for m in made))
    loaded = load(code, names, times)
    if cache is not None:
        cache.put(key, code)
    return loaded
