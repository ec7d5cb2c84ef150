"""Recurrences of run-time sizes: states in registers, small products; bits of exact versions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.cpu.native import jit
from symgraph.cpu.native.pool import get_threads
from tests.loops.test_step_registers import STEP_FUNCTIONS

WIDTHS = (2, 3, 5, 8, 9, 15, 16, 17, 24, 32, 33, 63, 64, 65)
FEW_WIDTHS = (2, 5, 8, 13, 32, 33)
Build = Callable[..., Any]
Shapes = Sequence[tuple[int, ...]]


def cumulated(rows: Any, state: Any) -> Any:
    return sg.scan(lambda x, s: sg.maximum(0.5 * s * s + x, 0.1 * s), rows, state)


def product(rows: Any, state: Any, w: Any) -> Any:
    return sg.scan(lambda x, s: sg.tanh(x + s @ w), rows, state)


def gates(rows: Any, state: Any, w: Any) -> Any:
    """Two products a step, one of the other's result."""

    def step(x: Any, s: Any) -> Any:
        z = sg.sigmoid(x + s @ w)
        return z * s + (1 - z) * sg.tanh((s * z) @ w)

    return sg.scan(step, rows, state)


def across(rows: Any, state: Any, w: Any) -> Any:
    """A factor is read along its columns: it is copied transposed."""
    return sg.scan(lambda x, s: sg.tanh(x + s @ w.T), rows, state)


def both_ways(rows: Any, state: Any, w: Any) -> Any:
    """The same factor along its rows and its columns."""
    return sg.scan(lambda x, s: sg.tanh(x + (s @ w) @ w.T), rows, state)


def slopes(rows: Any, state: Any, w: Any) -> list[Any]:
    """The way back reads the weights along their columns."""
    return list(sg.grad((product(rows, state, w) ** 2).sum(), [rows, state, w]))


def moving(rows: Any, state: Any, w: Any) -> Any:
    """A factor that changes from step to step is no copy."""

    def step(x: Any, s: Any, v: Any) -> list[Any]:
        return [sg.tanh(x + s @ v.T), v * 0.5]

    return sg.scan(step, rows, [state, w])[0]


def pair(build: Build, ndims: Sequence[int], dtype: str) -> tuple[sg.Function, sg.Function]:
    """Return an exact and a generic version."""
    inputs = [sg.tensor(f"x{k}", [None] * n, dtype) for k, n in enumerate(ndims)]
    exact, generic = (sg.function(inputs, build(*inputs), shapes=k) for k in ("exact", "generic"))
    return exact, generic


def check(functions: tuple[sg.Function, sg.Function], shapes: Shapes, dtype: str) -> None:
    rng = np.random.default_rng(len(shapes))
    arrays = [0.4 * rng.normal(size=s).astype(dtype) for s in shapes]
    for x in arrays:
        x.flat[-1:] = -0.0
    want, got = (np.concatenate([np.ravel(r) for r in _listed(f(*arrays))]) for f in functions)
    np.testing.assert_array_equal(got.view("u1"), want.view("u1"), str(shapes))


def _listed(results: Any) -> list[Any]:
    return list(results) if isinstance(results, (list, tuple)) else [results]


@pytest.fixture(autouse=True)
def loops_stay_loops() -> Iterator[None]:
    """A narrow linear one would become a running op, which rounds once a step."""
    with sg.config.override(numerics="strict"):
        yield


@pytest.fixture(params=["", "x86-64-v3", "x86-64"])
def cpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Compile for this machine, and for others with narrower vectors."""
    if request.param:
        other = jit.target(cpu=request.param)
        monkeypatch.setattr(jit, "target", lambda: other)
    return str(request.param)


@pytest.fixture
def threads() -> Iterator[None]:
    before = get_threads()
    yield
    sg.set_threads(before)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("step", STEP_FUNCTIONS, ids=lambda f: f.__name__)
def test_states(step: Any, dtype: str, cpu: str) -> None:
    def build(x: Any, s: Any, u: Any) -> list[Any]:
        rows = sg.scan(step, x, [s, u])
        return [*rows, *(r[-1] for r in rows)]

    functions = pair(build, (2, 1, 1), dtype)
    for n in FEW_WIDTHS if cpu else WIDTHS:
        check(functions, [(6, n), (n,), (n,)], dtype)


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_few_steps(steps: int) -> None:
    functions = pair(cumulated, (2, 1), "float32")
    for n in (0, 1, 5, 16, 40, 70):
        check(functions, [(steps, n), (n,)], "float32")


def test_stacks_of_states() -> None:
    """The size of the whole state counts."""
    functions = pair(cumulated, (3, 2), "float32")
    for b, n in ((2, 3), (5, 3), (4, 4), (3, 7), (5, 13), (1, 64), (7, 1), (2, 33)):
        check(functions, [(9, b, n), (b, n)], "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "build", [product, gates, across, both_ways, slopes, moving], ids=lambda f: f.__name__
)
def test_products(build: Build, dtype: str, cpu: str) -> None:
    """Small ones are nests, others calls: the bits are the same."""
    functions = pair(build, (3, 2, 2), dtype)
    for b, n in ((2, 2), (3, 5), (5, 8), (4, 16), (7, 17), (9, 33), (40, 40)):
        check(functions, [(5, b, n), (b, n), (n, n)], dtype)


@pytest.mark.parametrize("build", [across, both_ways, slopes, moving], ids=lambda f: f.__name__)
@pytest.mark.parametrize("steps", [1, 20])
def test_transposed_factors(build: Build, steps: int) -> None:
    """Copies are made where loops may have many steps; NumPy says what they compute."""
    rng = np.random.default_rng(steps)
    inputs = [sg.tensor(f"x{k}", [None] * n, "float64") for k, n in enumerate((3, 2, 2))]
    for b, n in ((2, 3), (9, 16)):
        arrays = [0.3 * rng.normal(size=s) for s in ((steps, b, n), (b, n), (n, n))]
        found = _listed(sg.function(inputs, build(*inputs), shapes="exact")(*arrays))
        eager = _listed(sg.function(inputs, build(*inputs), mode="eager")(*arrays))
        for got, want in zip(found, eager, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("count", [2, 4])
def test_threads(count: int, threads: None) -> None:
    """States that threads share, and a product of many of them."""
    for build, shapes in (
        (cumulated, [(3, 900_001), (900_001,)]),
        (product, [(3, 3000, 40), (3000, 40), (40, 40)]),
    ):
        functions = pair(build, [len(s) for s in shapes], "float32")
        arrays = [np.ones(s, "float32") * 0.1 for s in shapes]
        sg.set_threads(1)
        want = functions[1](*arrays)
        sg.set_threads(count)
        assert functions[1](*arrays).tobytes() == want.tobytes()
        check(functions, shapes, "float32")


def texts(build: Build, shapes: Shapes) -> str:
    _, generic = pair(build, [len(s) for s in shapes], "float32")
    generic(*[np.ones(s, "float32") for s in shapes])
    return str(generic.explain(stage="llvm"))


def test_which_loops_have_forms() -> None:
    assert "_long(ptr" in texts(cumulated, [(3, 5), (5,)])
    assert "_long(ptr" not in texts(product, [(3, 2, 5), (2, 5), (5, 5)])  # read one by one


def test_signals_are_not_looked_at_in_every_step() -> None:
    """How many steps take long enough is computed from the sizes."""
    text = texts(product, [(3, 2, 5), (2, 5), (5, 5)])
    assert "@llvm.ctlz.i64" in text
    text = texts(cumulated, [(3, 5), (5,)])
    assert "@check_interrupt" in text
    assert not [t for t in text.split("\n") if " = and i64 " in t and t.endswith(", 0")]


def test_small_products_are_nests() -> None:
    near = texts(product, [(3, 2, 5), (2, 5), (5, 5)])
    assert "near" in near and "far" in near
    assert "near" in texts(across, [(3, 2, 5), (2, 5), (5, 5)])
    assert "near" not in texts(moving, [(3, 2, 5), (2, 5), (5, 5)])  # along its columns in a step


def test_which_factors_are_copied_transposed() -> None:
    inputs = [sg.tensor(f"x{k}", s) for k, s in enumerate(((20, 4, 8), (4, 8), (8, 8)))]
    for build, copied in ((across, True), (slopes, True), (both_ways, False), (moving, False)):
        text = sg.function(inputs, build(*inputs)).explain(stage="loops")
        assert bool(re.search(r" = x22\[.*\bi1\b", text)) is copied, build.__name__
