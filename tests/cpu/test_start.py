"""What a process prepares for its first call: background code, lazy modules, little else."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
from typing import Any

import pytest

from symgraph.core.lazy import lazy
from symgraph.cpu import abi
from symgraph.cpu.abi import ArraySpec, EntrySpec, Slot
from symgraph.cpu.native import jit
from symgraph.cpu.native.cache import ObjectCache

SEVEN = "define i32 @seven() {\n  ret i32 7\n}\n"


def result(coming: jit.Coming) -> int:
    """Call the function of `SEVEN`."""
    loaded = coming.result()
    found: int = ctypes.CFUNCTYPE(ctypes.c_int32)(loaded.address("seven"))()
    return found


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(jit._state, "cache", None)


def test_coming_code_is_made_in_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    makers: list[Any] = []
    generate = jit.generate

    def spy(*args: Any) -> Any:
        makers.append(threading.current_thread())
        return generate(*args)

    monkeypatch.setattr(jit, "generate", spy)
    assert result(jit.Coming(SEVEN, ("seven",), opt_level=0)) == 7
    assert len(makers) == 1 and makers[0] is not threading.current_thread()


def test_coming_code_without_its_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: Any) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert result(jit.Coming(SEVEN, ("seven",), opt_level=0)) == 7
    monkeypatch.setattr(threading.Thread, "start", lambda thread: None)  # as in a forked child
    assert result(jit.Coming(SEVEN, ("seven",), opt_level=0)) == 7


def test_coming_code_from_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    cache = ObjectCache(tmp_path)
    jit._put_optimised(cache, SEVEN, jit.target())
    monkeypatch.setitem(jit._state, "cache", cache)
    monkeypatch.setattr(jit, "generate", None)
    coming = jit.Coming(SEVEN, ("seven",), opt_level=0)
    assert result(coming) == 7 and coming.result().times.cached


def test_coming_code_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    cache = ObjectCache(tmp_path)
    monkeypatch.setitem(jit._state, "cache", cache)
    assert result(jit.Coming(SEVEN, ("seven",))) == 7
    assert cache.get(jit.cache_key(SEVEN, jit.target())) is not None


def test_coming_code_that_does_not_parse() -> None:
    coming = jit.Coming("define i32 @seven( {", ("seven",))
    with pytest.raises(RuntimeError, match="does not parse"):
        coming.result()


def test_lazy_modules() -> None:
    module = lazy("symgraph.core.no_such_module")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        module.anything  # noqa: B018
    assert lazy("math").pi > 3
    with pytest.raises(AttributeError, match="no_such_name"):
        lazy("math").no_such_name  # noqa: B018


FIRST = """
import sys
import symgraph as sg, numpy as np
early = [m for m in sys.modules if m.startswith(("llvmlite", "symgraph.cpu.", "symgraph.loops"))]
x, y = sg.vectors("x", "y")
f = sg.function([x, y], sg.tanh(x * y + 1).sum())
f(np.ones(10, "float32"), np.ones(10, "float32"))
heavy = ("hashlib", "_hashlib", "logging", "sysconfig", "scipy_openblas32")
print(early, [m for m in heavy if m in sys.modules and m not in before])
"""


def test_a_first_call_loads_nothing_it_does_not_need() -> None:
    script = "import sys, numpy, llvmlite.binding\nbefore = set(sys.modules)\n" + FIRST
    script = script.replace('"llvmlite", ', "")
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr[-500:]
    assert out.stdout.strip() == "[] []"


def test_who_needs_the_result_pool() -> None:
    small = ArraySpec("float32", (10,))
    large = ArraySpec("float32", (abi.POOL_BYTES // 4,))
    unknown = ArraySpec("float32", (Slot(0),))
    assert not EntrySpec((), outputs=(small,)).needs_pool
    assert EntrySpec((), outputs=(small, large)).needs_pool
    assert EntrySpec((), outputs=(unknown,), n_dims=1).needs_pool
    assert EntrySpec((), outputs=(small,), arena=64).needs_pool
    assert EntrySpec((), outputs=(small,), arena=Slot(0), n_dims=1).needs_pool
