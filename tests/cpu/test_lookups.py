"""Functions by pieces whose coefficients are looked up in registers, and the lookup itself."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from vec_runner import expand
from vecmath_oracle import exact_by_mpmath, exact_values, points, ulp_error

import symgraph as sg
from symgraph.core.dtype import FLOAT32, FLOAT64, INT32
from symgraph.cpu.kernels.kernel import KernelEmitter
from symgraph.cpu.native import jit
from symgraph.cpu.vecmath import BY_LOOKUP, EXPANSIONS, ULP, expanded
from symgraph.loops.evaluate import evaluate
from symgraph.loops.expr import Buffer, Expr, walk
from symgraph.loops.interned import Builder
from symgraph.loops.schedule import choose_schedule
from symgraph.loops.statements import Nest, Store

NAMES = sorted(BY_LOOKUP)
SPECIAL = [
    *(0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-40, 1e-20, 1e30, -1e30, 3.93, 9.1, 10.1),
    *(0.125, 3.9999998, 7.9999995, -8.0, 0.12499999, 0.126984119, 0.38095238, 0.63492060),
]  # fmt: skip


def by_lookup(name: str, x: np.ndarray) -> np.ndarray:
    expr, (load,) = expand(BY_LOOKUP[name], FLOAT32, 1)
    return evaluate(expr, {load: x})


def ordinary(name: str, x: np.ndarray) -> np.ndarray:
    expr, (load,) = expand(EXPANSIONS[name], FLOAT32, 1)
    return evaluate(expr, {load: x})


@pytest.mark.parametrize("name", NAMES)
def test_accuracy_on_many_points(name: str) -> None:
    x = points(name, FLOAT32, 200_000)
    if name in ("exp", "tanh"):
        exact = exact_values(name, x)
    else:
        x = x[:6000]
        exact = exact_by_mpmath(name, x)
    error = ulp_error(by_lookup(name, x), exact)
    assert error.max() <= ULP[name][FLOAT32], x[np.argmax(error)]


@pytest.mark.parametrize("name", NAMES)
def test_ends_of_pieces(name: str) -> None:
    """Both neighbours of every place where another piece begins, and everything beyond the last."""
    octaves = np.exp2(np.arange(-5, 5, dtype=np.float32))
    starts = [octaves * (1 + k / 4) for k in range(4)]
    starts += [octaves * (1 + k / 8) - 1 for k in range(8)]
    starts += [(np.arange(17, dtype=np.float32) - 0.5) / np.float32(3.9375)]
    place = np.concatenate(starts).astype(np.float32)
    x = np.concatenate([np.nextafter(place, np.float32(s)) for s in (-np.inf, np.inf)] + [place])
    x = np.concatenate([x, -x])
    assert ulp_error(by_lookup(name, x), exact_by_mpmath(name, x)).max() <= ULP[name][FLOAT32]


@pytest.mark.parametrize("name", NAMES)
def test_special_values_are_those_of_the_other_expansion(name: str) -> None:
    x = np.array(SPECIAL, np.float32)
    got, want = by_lookup(name, x), ordinary(name, x)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    np.testing.assert_array_equal(np.signbit(got), np.signbit(want) & ~np.isnan(want))
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-44)
    exact = ~np.isfinite(x) | (np.abs(x) > 11) | (x == 0)
    np.testing.assert_array_equal(got[exact], want[exact])


def test_only_wide_machines_and_float32_look_up() -> None:
    s = Builder()
    i = s.at(s.axis("i", 8))
    cases = ((FLOAT32, 64, True), (FLOAT32, 32, False), (FLOAT64, 64, False))
    for dtype, vector_bytes, looked_up in cases:
        e = s.unary("tanh", s.load(Buffer(dtype, dtype, (8,), "input"), i))
        assert any(x.op == "lookup" for x in walk([expanded(e, vector_bytes)])) is looked_up


def kernel(table: tuple[float, ...], size: int, vector_bytes: int) -> tuple[str, set[str]]:
    """Return the text of a kernel that looks numbers up, and what it declares."""
    s = Builder()
    axis = s.axis("i", size)
    place = s.load(Buffer("place", INT32, (size,), "input"), s.index(s.at(axis)))
    value = s.lookup(table, place, FLOAT32)
    out = Buffer("out", FLOAT32, (size,), "output")
    nest = Nest((axis,), (Store(out, s.index(s.at(axis)), value),))
    emitter = KernelEmitter(s, vector_bytes)
    return emitter.emit(nest, choose_schedule(nest, vector_bytes), "@k"), emitter.declared


def test_lookup_permutes_registers_or_reads_memory() -> None:
    wide = jit.target("x86_64-unknown-linux-gnu", "x86-64-v4")
    cases = ((64, 16, "vpermps"), (64, 32, "vperm[it]2ps"), (1, 32, "table"))
    for size, numbers, instruction in cases:
        text, declared = kernel(tuple(map(float, range(numbers))), size, 64)
        public = text.replace("define internal", "define")
        listing = jit.compile_assembly("\n".join([*sorted(declared), public]), wide)
        assert re.search(instruction, listing), (size, numbers)


@pytest.mark.skipif(jit.target().vector_bytes != 64, reason="needs AVX-512")
def test_powers_of_two_round_subnormal_products_once() -> None:
    """The smallest results of exp, which are made of one product."""
    x = np.linspace(-104.5, -85, 20_000, dtype=np.float32)
    v = sg.vector("v", "float32")
    error = ulp_error(sg.function([v], sg.exp(v))(x), exact_values("exp", x))
    assert error.max() <= ULP["exp"][FLOAT32]


@pytest.mark.skipif(jit.target().vector_bytes != 64, reason="needs AVX-512")
@pytest.mark.parametrize("name", NAMES)
def test_native_code_has_the_bits_of_the_interpreter(name: str) -> None:
    function: Callable[..., Expr] = getattr(sg, name)
    x = np.concatenate([points(name, FLOAT32, 3000), np.array(SPECIAL, np.float32)])
    v = sg.vector("v", "float32")
    exact, generic = (sg.function([v], function(v), shapes=k) for k in ("exact", "generic"))
    for size in (1, 2, 5, 8, 16, 17, 31, 40, 100, x.size):
        part = x[-size:]
        want = by_lookup(name, part)
        for f in (exact, generic):
            got = f(part)
            assert ((got.view(np.int32) == want.view(np.int32)) | np.isnan(want)).all(), size
