"""Imports, `lazy` ones too, go up the table of folders, stand at the top, load nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PUBLIC = {"symgraph", "symgraph_nn", "symgraph_rl"}

# What each folder (or file) of symgraph may import, itself apart.
BELOW: dict[str, set[str]] = {
    "core": {"dims"},  # sizes in types
    "dims": {"core"},
    "ops": {"core", "dims"},
    "autodiff": {"core", "dims", "ops"},
    "rewrites": {"core", "dims", "ops"},
    "loops": {"core", "dims"},
    "cpu": {"core", "dims", "loops"},
    "compile": {"core", "dims", "ops", "autodiff", "rewrites", "loops", "cpu"},
    "tensor": {"core", "dims", "compile"},
    "protocol": {"core", "tensor", "fft"},
    "grids": {"core"},
    "random": {"core", "compile"},
    "linalg": {"core", "ops", "autodiff"},
    "special": {"core", "ops"},
    "fft": {"core", "ops"},
    "debug": {"core", "dims", "ops", "autodiff", "rewrites", "loops", "cpu", "compile", "tensor"},
}
# The same inside of symgraph/cpu, from machine code up to calls.
INSIDE_CPU: dict[str, set[str]] = {
    "abi": set(),
    "text": set(),
    "function_text": set(),
    "native": {"abi"},
    "vecmath": set(),
    "gemm": {"function_text", "native"},
    "kernels": {"native", "text", "vecmath"},
    "programs": {"abi", "gemm", "kernels", "text"},
    "entry": {"abi", "native"},
    "machine": {"gemm", "native", "programs"},
    "runtime": {"entry", "native"},
}
ANYTHING = {"testing", "__init__", "__main__"}
# Single edges against the table: (file, module).
EXCEPTIONS = {
    ("compile/debug_mode.py", "symgraph.testing.tolerances"),  # the one table of tolerances
}
# Heavy or optional packages, imported by one loader function where they are needed.
HEAVY = {
    "llvmlite", "scipy_openblas32", "scipy", "networkx", "matplotlib", "safetensors", "mpmath",
    "sklearn", "tqdm", "torch", "pycuda", "onnx",
}  # fmt: skip


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def postponed(tree: ast.AST) -> Iterator[str]:
    """Yield the names of modules that `lazy("name")` stands for: imports too, only later ones."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("lazy", "_lazy"):
            yield ast.literal_eval(node.args[0])


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the names of modules that the import statements of a tree name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module in PUBLIC or node.module == "symgraph.cpu":
                yield from (f"{node.module}.{a.name}" for a in node.names)
            else:
                yield node.module


def layer(path: Path) -> str:
    parts = path.relative_to(ROOT / "symgraph").with_suffix("").parts
    return parts[0]


def violations(path: Path, source: str) -> list[str]:
    """Return the imports of a file of symgraph that lead to a folder it must not know."""
    own = layer(path)
    if own in ANYTHING:
        return []
    place = path.relative_to(ROOT / "symgraph").as_posix()
    found = []
    tree = ast.parse(source)
    for name in (*imported(tree), *postponed(tree)):
        parts = name.split(".")
        if parts[0] in ("symgraph_nn", "symgraph_rl"):
            found.append(name)
        if parts[0] != "symgraph" or len(parts) < 2 or parts[1] == own:
            continue
        if parts[1] not in BELOW[own] and (place, name) not in EXCEPTIONS:
            found.append(name)
    return found


def inside_cpu(path: Path, source: str) -> list[str]:
    """Return the imports of a file of symgraph/cpu that lead to a part of it it must not know."""
    own = path.relative_to(ROOT / "symgraph" / "cpu").with_suffix("").parts[0]
    tree = ast.parse(source)
    found = []
    for name in (*imported(tree), *postponed(tree)):
        parts = name.split(".")
        if parts[:2] != ["symgraph", "cpu"] or parts[2] == own:
            continue
        if parts[2] not in INSIDE_CPU[own]:
            found.append(name)
    return found


def inner_imports(source: str) -> list[str]:
    """Return the modules imported inside functions."""
    tree = ast.parse(source)
    functions = [
        n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    return sorted({name for f in functions for name in imported(f)})


@pytest.mark.parametrize("path", files("symgraph"), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_go_up(path: Path) -> None:
    assert not violations(path, path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "path", files("symgraph/cpu")[1:], ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_imports_go_up_in_cpu(path: Path) -> None:
    assert not inside_cpu(path, path.read_text(encoding="utf-8"))


def test_wrong_direction_is_found() -> None:
    core = ROOT / "symgraph" / "core" / "node.py"
    assert violations(core, "from symgraph.loops.build import lower") == ["symgraph.loops.build"]
    assert violations(core, "import symgraph_nn") == ["symgraph_nn"]
    assert not violations(core, "from symgraph.dims.dim import symbol")
    assert violations(core, 'eager = lazy("symgraph.compile.eager")') == ["symgraph.compile.eager"]
    assert not violations(core, 'html = lazy("html")')
    jit = ROOT / "symgraph" / "cpu" / "native" / "jit.py"
    assert inside_cpu(jit, "from symgraph.cpu import machine") == ["symgraph.cpu.machine"]
    assert not inside_cpu(jit, "from symgraph.cpu import abi")


@pytest.mark.parametrize("package", sorted(PUBLIC))
def test_no_import_inside_functions(package: str) -> None:
    found = []
    for path in files(package):
        name = path.relative_to(ROOT).as_posix()
        for module in inner_imports(path.read_text(encoding="utf-8")):
            if module.split(".")[0] not in HEAVY:
                found.append(f"{name}: {module}")
    assert not found


def test_inner_import_is_found() -> None:
    assert inner_imports("import os\ndef f():\n    import json\n    from a.b import c") == [
        "a.b",
        "json",
    ]


@pytest.mark.parametrize("package", ["symgraph_nn", "symgraph_rl"])
def test_outer_packages_use_public_names(package: str) -> None:
    """Only `symgraph` itself and its picture drawer, which has no public name of its own."""
    allowed = {"symgraph", "symgraph.debug.draw"}
    trees = [ast.parse(p.read_text(encoding="utf-8")) for p in files(package)]
    used = {m for tree in trees for m in (*imported(tree), *postponed(tree))}
    assert {m for m in used if m.split(".")[0] == "symgraph"} <= allowed


def test_import_loads_nothing_heavy() -> None:
    heavy = ("llvmlite", "scipy", "scipy_openblas32", "networkx", "matplotlib", "sklearn", "torch")
    code = f"import sys, symgraph, symgraph_nn; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
