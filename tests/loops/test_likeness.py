"""Nests that are alike are emitted once; nests that are not never share code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.dtype import FLOAT32, FLOAT64
from symgraph.cpu.kernels.kernel import KernelEmitter
from symgraph.cpu.programs import program
from symgraph.loops.expr import Axis, Buffer, Size
from symgraph.loops.interned import Builder
from symgraph.loops.likeness import likeness
from symgraph.loops.schedule import choose_schedule
from symgraph.loops.statements import Nest, Store
from symgraph.testing.samples import SAMPLES, emitted


class Case:
    """Makes nests of one store in a builder of their own; each call takes new buffers."""

    def __init__(self) -> None:
        self.s = Builder()
        self.count = 0

    def buffer(self, *shape: Size, dtype: Any = FLOAT32) -> Buffer:
        self.count += 1
        return Buffer(f"b{self.count}", dtype, shape, "temporary")

    def nest(self, n: int = 40, factor: float = 2.0, kind: str = "", **options: Any) -> Nest:
        """The result i -> factor * x[i] * y[step * i], or reductions of it over blocks of 8."""
        s, step = self.s, options.pop("step", 1)
        dtype = options.pop("dtype", FLOAT32)
        x = self.buffer(1000, dtype=dtype)
        y = x if options.pop("one", False) else self.buffer(1000, dtype=dtype)
        i = s.axis(f"i{self.count % 3}", n)  # of several names
        at = s.index(s.at(i))
        inner = s.axis("k", 8)
        place = s.iadd(s.imul(at, 8), s.at(inner)) if kind else at
        value = s.load(x, place) * s.load(y, s.imul(place, step)) * factor
        if kind:
            value = s.reduce(kind, (inner,), value)
        out = self.buffer(50, dtype=dtype)
        guard = s.binary("lt", s.load(x, at), 1.0) if options.pop("guarded", False) else None
        return Nest((i,), (Store(out, at, value, guard),), **options)


def text(case: Case, nest: Nest) -> str:
    schedule = choose_schedule(nest, 32)
    return KernelEmitter(case.s, 32).emit(nest, schedule, "@KERNEL")


VARIANTS: list[dict[str, Any]] = [
    *({}, {"n": 48}, {"factor": -2.0}, {"factor": 0.0}, {"factor": -0.0}, {"dtype": FLOAT64}),
    *({"one": True}, {"step": 2}, {"step": 0}, {"kind": "sum"}, {"kind": "max"}, {"kind": "dot"}),
    *({"guarded": True}, {"serial": True}, {"scan": "sum"}, {"scan": "max"}),
]


def test_nests_over_other_buffers_and_axes_are_alike() -> None:
    for options in VARIANTS:
        case = Case()
        one, other = case.nest(**options), case.nest(**options)
        a, b = likeness(one), likeness(other)
        assert a.key == b.key and a.buffers != b.buffers
        assert text(case, one) == text(case, other)


def test_nests_that_differ_in_anything_are_not_alike() -> None:
    case = Case()
    keys = [likeness(case.nest(**options)).key for options in VARIANTS]
    assert len(set(keys)) == len(keys)
    nest = case.nest()
    around = case.s.axis("t", 5)
    assert likeness(nest).key != likeness(nest, (around,)).key


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_alike_nests_of_a_program_have_one_text(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is taken from an earlier nest is what would have been emitted."""
    seen: list[tuple[Any, str]] = []
    usual = program.likeness

    def recorded(nest: Nest, around: tuple[Axis, ...] = ()) -> Any:
        like = usual(nest, around)
        builder = nest.stores[0].address.builder
        schedule = choose_schedule(nest, 32)
        seen.append((like.key, KernelEmitter(builder, 32, around).emit(nest, schedule, "@K")))
        return like

    monkeypatch.setattr(program, "likeness", recorded)
    emitted(SAMPLES[name](), 32)
    texts: dict[Any, str] = {}
    for key, emission in seen:
        assert texts.setdefault(key, emission) == emission


def test_layers_of_a_network_share_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    usual = KernelEmitter.emit
    monkeypatch.setattr(KernelEmitter, "emit", lambda self, *a: made.append(a) or usual(self, *a))
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((8, 8)).astype("float32") / 3 for _ in range(12)]
    x = sg.matrix("x")
    h = x
    for k, w in enumerate(weights):
        h = sg.tanh(h @ w) * (1.0 if k != 5 else -2.0)
    f = sg.function([x], h)
    start = rng.standard_normal((3, 8)).astype("float32")
    got = f(start)
    want = start.astype("float64")
    for k, w in enumerate(weights):
        want = np.tanh(want @ w) * (1.0 if k != 5 else -2.0)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    assert len(made) <= 6 < f.versions()[0]["kernels"]
