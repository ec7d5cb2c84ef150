"""What `python -m symgraph` reports: the state of the machine, the settings, the cache."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from symgraph.compile.function import function
from symgraph.core import config as settings_module
from symgraph.core.config import config
from symgraph.cpu.native import blas, jit, pool
from symgraph.cpu.native.cache import ObjectCache
from symgraph.tensor import tensor

PACKAGES = ("symgraph", "numpy", "llvmlite", "networkx", "scipy-openblas32")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; a bad one says in `detail` what is wrong."""

    name: str
    good: bool
    detail: str


def examine() -> list[Finding]:
    """Run every check; a failure becomes a bad finding and the others still run."""
    return [_check(name, check) for name, check in CHECKS]


def _check(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except Exception as error:  # whatever is broken is what the user wants to read
        return Finding(name, False, f"{type(error).__name__}: {error}")


def _versions() -> str:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            if name != "symgraph":  # run from a checkout: no metadata, nothing wrong
                raise
    return ", ".join([f"Python {platform.python_version()}", *found])


def _machine() -> str:
    t = jit.target()
    return (
        f"{platform.system()} {platform.machine()}, {t.cpu}, vectors of {8 * t.vector_bytes} bits"
    )


def _threads() -> str:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{pool.get_threads()} in use, {usable} cores usable by this process"


def _blas() -> str:
    a = np.arange(6000, dtype="float32").reshape(60, 100) % 7  # sums of whole numbers: exact
    x = tensor("x", (60, 100), "float32")
    result = function([x], x @ x.T)(a)
    if not np.array_equal(result, a @ a.T):
        raise ArithmeticError(f"a product gave {result.tolist()}")
    blas.library()
    return "OpenBLAS loaded (for linear algebra), products right"


def _cache() -> str:
    if not config.cache:
        return "switched off (config.cache)"
    folder = os.path.join(config.cache_dir, "compiled")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass
    stats = ObjectCache(folder).stats()
    return f"{folder} can be written; {stats.files} objects, {stats.bytes / 1e6:.1f} MB"


def _function() -> str:
    x = tensor("x", (None,), "float32")
    f = function([x], x + 1)
    a = np.arange(10, dtype="float32")
    start = time.perf_counter()
    result = f(a)
    first = time.perf_counter() - start
    if not np.array_equal(result, a + 1):
        raise ArithmeticError(f"x + 1 gave {result.tolist()}")
    calls = 20_000
    start = time.perf_counter()
    for _ in range(calls):
        f(a)
    each = (time.perf_counter() - start) / calls
    if not hasattr(f, "raw"):
        raise RuntimeError("the native entry was not installed; calls go through Python")
    return f"x + 1 made in {1e3 * first:.1f} ms; native entry, {1e6 * each:.2f} us a call"


CHECKS: tuple[tuple[str, Callable[[], str]], ...] = (
    ("versions", _versions),
    ("machine", _machine),
    ("threads", _threads),
    ("cache folder", _cache),
    ("function", _function),
    ("BLAS", _blas),
)


def as_text(found: list[Finding]) -> str:
    """Return the findings as lines with a mark each."""
    lines = [f"{'ok ' if f.good else 'BAD'}  {f.name:<13} {f.detail}" for f in found]
    bad = sum(not f.good for f in found)
    return "\n".join([*lines, "all is well" if not bad else f"{bad} of {len(found)} checks failed"])


def as_json(found: list[Finding]) -> str:
    """Return the findings as JSON."""
    return json.dumps([asdict(f) for f in found], indent=2)


def settings(as_json: bool) -> str:
    """Return name, value, source and meaning of each setting."""
    rows = settings_module.describe()
    if as_json:
        keys = ("name", "value", "source", "doc")
        return json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=2)
    table = [("setting", "value", "source", "meaning"), *[tuple(map(str, row)) for row in rows]]
    widths = [max(len(row[k]) for row in table) for k in range(3)]
    return "\n".join(
        "  ".join([*(v.ljust(w) for v, w in zip(row, widths, strict=False)), row[3]])
        for row in table
    )


def _object_cache() -> ObjectCache:
    return ObjectCache(os.path.join(config.cache_dir, "compiled"))


def clear_cache() -> None:
    """Remove every compiled object; data sets stay."""
    _object_cache().clear()


def cache_report(as_json: bool) -> str:
    """Return folder, number and size of the compiled objects."""
    cache = _object_cache()
    stats = cache.stats()
    values: dict[str, Any] = {
        "folder": str(cache.folder),
        "files": stats.files,
        "bytes": stats.bytes,
        "limit": cache.limit,
        "enabled": config.cache,
    }
    if as_json:
        return json.dumps(values, indent=2)
    return "\n".join(
        f"{k:<8} {v:,}" if type(v) is int else f"{k:<8} {v}" for k, v in values.items()
    )
