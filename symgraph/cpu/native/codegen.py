"""From LLVM text to object files, in any thread and in several at once."""

from __future__ import annotations

import ctypes
import math
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from symgraph.core.record import dataclass

# Where linking and loading LLVM takes turns. Generating code does not: see `_bare`.
lock = threading.Lock()
state: dict[str, Any] = {}  # "llvm": the module, "default": Target, "all": targets are initialised


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


_WIDE_CPUS = {"x86-64-v3": 32, "x86-64-v4": 64}


@dataclass(frozen=True, slots=True)
class Part:
    """LLVM text of a module of its own; without optimisation it takes a tenth of the time."""

    text: str
    opt_level: int = 2


@dataclass(frozen=True, slots=True)
class Made:
    """An object file, and the milliseconds that parsing and generating it took."""

    code: bytes
    parse: float
    codegen: float


class _UnderWay:
    """Counts code generations, so that no child process begins in the middle of one."""

    def __init__(self) -> None:
        self._count, self._changed = 0, threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def before_fork(self) -> None:
        """Wait until there is none, and let none begin."""
        self._changed.acquire()
        self._changed.wait_for(lambda: self._count == 0)
        lock.acquire()

    def after_fork(self) -> None:
        """Let them begin again, in the parent and in the child."""
        lock.release()
        self._changed.release()


_under_way = _UnderWay()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_under_way.before_fork,
        after_in_parent=_under_way.after_fork,
        after_in_child=_under_way.after_fork,
    )


def llvm() -> ModuleType:
    """Return `llvmlite.binding`, imported and initialised for this machine at the first call."""
    module: ModuleType | None = state.get("llvm")
    if module is None:
        from llvmlite import binding

        with lock:
            binding.initialize_native_target()
            binding.initialize_native_asmprinter()
            module = state["llvm"] = binding
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
    if "default" not in state:
        binding = llvm()
        triple = binding.get_process_triple()
        cpu = binding.get_host_cpu_name()
        features = binding.get_host_cpu_features().flatten()
        width = _vector_bytes(triple, cpu, features)
        state["default"] = Target(triple, cpu, features, width, _llvm_version())
    found: Target = state["default"]
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


def cores() -> int:
    """Return how many cores this process may use: its affinity, capped by its group's quota."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            count = min(count, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        pass
    return max(1, count)


def new_machine(target: Target, opt_level: int) -> Any:
    """Return LLVM's generator of code for a target; only one thread at a time may use it."""
    binding = llvm()
    if target.triple != binding.get_process_triple() and "all" not in state:
        with lock:
            binding.initialize_all_targets()
            binding.initialize_all_asmprinters()
            state["all"] = True
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


_idle: dict[tuple[Target, int], list[Any]] = {}  # machines that no thread is using


class _Machine:
    """A machine for the thread that asks for one."""

    def __init__(self, target: Target, opt_level: int) -> None:
        self._key = target, opt_level

    def __enter__(self) -> Any:
        try:
            self._machine = _idle[self._key].pop()
        except (KeyError, IndexError):
            self._machine = new_machine(*self._key)
        return self._machine

    def __exit__(self, *_: object) -> None:
        _idle.setdefault(self._key, []).append(self._machine)


def compile_object(text: str, target: Target, opt_level: int = 2, verify: bool = False) -> bytes:
    """Return the object file of LLVM `text`; no pass over the intermediate form is run.

    verify: check the module first (RuntimeError with LLVM's message); invalid text that parses
    may otherwise crash the code generator. Text that does not parse raises RuntimeError.
    """
    return generate(Part(text, opt_level), target, verify).code


def generate(part: Part, target: Target, verify: bool = False) -> Made:
    """Return the object file of a part: see `compile_object`."""
    start = time.perf_counter()
    with _under_way, _Machine(target, part.opt_level) as machine:
        with _Parsed(part.text, target, machine) as module:
            if verify:
                module.verify()
            parsed = time.perf_counter()
            code = _emit(module, machine)
        return Made(code, 1e3 * (parsed - start), 1e3 * (time.perf_counter() - parsed))


def generate_all(parts: Sequence[Part], target: Target, verify: bool = False) -> list[Made]:
    """Return the object files of parts, made on as many threads as there are cores for them."""
    made: dict[int, Made] = {}
    failed: list[BaseException] = []
    left = sorted(range(len(parts)), key=lambda k: len(parts[k].text))  # the longest begins

    def work() -> None:
        while left and not failed:
            try:
                k = left.pop()
            except IndexError:  # another thread was quicker
                return
            try:
                made[k] = generate(parts[k], target, verify)
            except BaseException as error:
                failed.append(error)

    count = min(cores(), len(parts)) - 1 if len(parts) > 1 else 0
    threads = [threading.Thread(target=work, name="symgraph-code") for _ in range(count)]
    for thread in threads:
        try:
            thread.start()
        except RuntimeError:  # the interpreter is at its end: this thread does it all
            break
    work()
    for thread in threads:
        if thread.ident is not None:
            thread.join()
    if failed:
        raise failed[0]
    return [made[k] for k in range(len(parts))]


def compile_assembly(text: str, target: Target, opt_level: int = 2) -> str:
    """Return the assembly listing of LLVM `text` for `target`."""
    with _under_way, _Machine(target, opt_level) as machine:
        with _Parsed(text, target, machine) as module:
            listing: str = machine.emit_assembly(module)
        return listing


def _bare(name: str) -> Any:
    """Return a function of LLVM without llvmlite's lock, which lets one thread in at a time.

    LLVM itself asks only that a context and a machine are used by one thread at a time.
    """
    function = getattr(llvm().ffi.lib, name)
    return getattr(function, "_cfn", function)


class _Parsed:
    """The module of a text, in a context of its own; freed at the end of the block.

    Not later: where a collector frees it, no fork waits for that (see `_UnderWay`).
    """

    def __init__(self, text: str, target: Target, machine: Any) -> None:
        self._text, self._target, self._machine = text, target, machine

    def __enter__(self) -> Any:
        binding = llvm()
        self._context = binding.create_context()
        with binding.ffi.OutputString() as message:
            pointer = _bare("LLVMPY_ParseAssembly")(self._context, self._text.encode(), message)
            self._module = binding.ModuleRef(pointer, self._context)
            if message:
                self.__exit__()
                raise RuntimeError(f"LLVM text that does not parse:\n{message}")
        self._module.triple = self._target.triple
        self._module.data_layout = str(self._machine.target_data)
        return self._module

    def __exit__(self, *_: object) -> None:
        self._module.close()
        self._context.close()


def _emit(module: Any, machine: Any) -> bytes:
    """Return the object file of a module, which is used up."""
    ffi = llvm().ffi
    with ffi.OutputString() as message:
        buffer = _bare("LLVMPY_TargetMachineEmitToMemory")(machine, module, 1, message)
        if not buffer:
            raise RuntimeError(str(message))
    start = ffi.lib.LLVMPY_GetBufferStart(buffer)
    size = ffi.lib.LLVMPY_GetBufferSize(buffer)
    try:
        return ctypes.string_at(start, size)
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)
