"""Code for machines that are not this one: AVX-512, NEON, and x86 with SSE only."""

from __future__ import annotations

import re

import numpy as np
import pytest

from symgraph.compile import eager
from symgraph.core.node import INPUT, Node
from symgraph.cpu import runtime
from symgraph.cpu.entry.call import ArraySpec, Entry, EntrySpec, Slot, emit_entry, entry_names
from symgraph.cpu.native import jit
from symgraph.cpu.native.jit import Target
from symgraph.cpu.programs.module import Module
from symgraph.dims.dim import Dim
from symgraph.testing.samples import SAMPLES, Sample, emitted
from symgraph.testing.tolerances import mismatch

LINUX = "unknown-linux-gnu"
NAMES = [
    "softmax", "layer_norm", "matmul_tile", "matmul_f64", "transpose", "random", "argmax",
    "sigmoid_f16", "sum_f16", "where_bool", "generic_softmax", "generic_columns", "sin",
    "one_hot", "int8", "gather", "conv2d", "training_step",
]  # fmt: skip
NEEDS_HALF = {"sigmoid_f16", "sum_f16"}  # library functions that a process may lack
RUN_NAMES = [n for n in NAMES if n not in NEEDS_HALF | {"random", "training_step"}]
X86 = re.compile(r"%([xyz])mm\d+")
NEON = re.compile(r"\bv\d+\.(?:16b|8b|8h|4h|4s|2s|2d)|\bq\d+\b")


def avx512() -> Target:
    return jit.target(f"x86_64-{LINUX}", "x86-64-v4")


def neon() -> Target:
    return jit.target(f"aarch64-{LINUX}")


def plain_x86() -> Target:
    return jit.target(f"x86_64-{LINUX}", "x86-64-v2")


def compiled(name: str, target: Target) -> tuple[bytes, str]:
    """Return the object file and the assembly listing of a sample."""
    spec = EntrySpec(args=())
    text = emitted(SAMPLES[name](), target.vector_bytes).text + emit_entry(spec)
    return jit.compile_object(text, target, verify=True), jit.compile_assembly(text, target)


def widths(listing: str) -> set[str]:
    return set(X86.findall(listing))


def test_targets_have_the_vectors_of_their_machine() -> None:
    assert [t.vector_bytes for t in (avx512(), neon(), plain_x86())] == [64, 16, 16]
    assert avx512().has_fma and neon().has_fma and not plain_x86().has_fma


@pytest.mark.parametrize("name", NAMES)
def test_avx512_uses_its_registers(name: str) -> None:
    code, listing = compiled(name, avx512())
    assert code[:4] == b"\x7fELF" and code[18] == 62  # e_machine: x86-64
    assert len(code) > 1000
    # elements of one byte that are stored as such fill no wide register
    assert "z" in widths(listing) or name == "int8", widths(listing)


@pytest.mark.parametrize("name", NAMES)
def test_neon_uses_its_registers(name: str) -> None:
    code, listing = compiled(name, neon())
    assert code[:4] == b"\x7fELF" and code[18] == 183  # e_machine: AArch64
    assert len(code) > 1000
    assert NEON.search(listing)


@pytest.mark.parametrize("name", NAMES)
def test_plain_x86_has_only_sse(name: str) -> None:
    code, listing = compiled(name, plain_x86())
    assert len(code) > 1000
    assert widths(listing) == {"x"}
    assert "vfmadd" not in listing


def test_fused_products_are_one_instruction_where_there_is_one() -> None:
    for target, pattern, present in (
        (avx512(), "vfmadd", True),
        (neon(), "fmla", True),
        (plain_x86(), "fmaf", True),  # a call of the C library
        (plain_x86(), "vfmadd", False),
    ):
        assert (pattern in compiled("matmul_tile", target)[1]) is present


def arrays(sample: Sample, sizes: dict[Dim, int]) -> dict[Node, np.ndarray]:
    """Return values for the leaves: normal floats, small integers that are valid indices."""
    rng = np.random.default_rng(0)
    found = {}
    for leaf in sample.leaves:
        shape = tuple(n if isinstance(n, int) else sizes[n] for n in leaf.type.shape)
        if leaf.dtype.is_float:
            found[leaf] = rng.normal(size=shape).astype(leaf.dtype.numpy)
        else:
            found[leaf] = rng.integers(0, 5, shape).astype(leaf.dtype.numpy)
    return found


def entry_spec(sample: Sample, module: Module) -> EntrySpec:
    """Return the checks of a function of the sample; a size is read where it first occurs."""
    slots: dict[object, int] = {}
    for k, size in enumerate((*sample.sizes, *module.derived)):
        slots.setdefault(size, k)
    met: set[object] = set()

    def argument(n: object) -> object:
        if isinstance(n, int):
            return n
        first = n not in met
        met.add(n)
        return Slot(slots[n], first, 2 if first else 0)

    args = tuple(
        ArraySpec(n.dtype, tuple(argument(k) for k in n.type.shape))
        for n in sample.leaves
        if n.op is INPUT
    )
    outputs = tuple(
        ArraySpec(n.dtype, tuple(k if isinstance(k, int) else Slot(slots[k]) for k in n.type.shape))
        for n in sample.outputs
    )
    arena = module.arena if isinstance(module.arena, int) else Slot(slots[module.arena])
    count = len(sample.sizes) + len(module.derived) if sample.sizes else 0
    return EntrySpec(
        args, outputs=outputs, n_dims=count, arena=arena, release_gil=module.release_gil
    )


def native(sample: Sample, target: Target) -> Entry:
    """Return the sample, compiled for `target` and loaded into this process."""
    runtime.start()
    module = emitted(sample, target.vector_bytes)
    assert not module.constants and not module.products and not sample.updates
    spec = entry_spec(sample, module)
    loaded = jit.build(module.text + emit_entry(spec), entry_names(spec), target, verify=True)

    def fail(*reason: object) -> None:
        raise AssertionError(f"left the native code: {reason}")

    return Entry(loaded, spec, [], fail, fail, user=[0, 0], threads=module.parallel)


@pytest.mark.skipif(not jit.target().is_x86, reason="this machine cannot run x86 code")
@pytest.mark.parametrize("name", RUN_NAMES)
def test_plain_x86_code_runs_here(name: str) -> None:
    sample = SAMPLES[name]()
    values = arrays(sample, {n: 5 + 8 * k for k, n in enumerate(sample.sizes)})
    entry = native(sample, plain_x86())
    found = entry.function(*(a for n, a in values.items() if n.op is INPUT))
    expected = eager.evaluate(list(sample.outputs), values)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        assert mismatch(a, b, relative=1e-5 if b.dtype == np.float32 else None) is None


@pytest.mark.skipif(not jit.target().is_x86, reason="this machine cannot run x86 code")
def test_vector_width_does_not_change_what_has_no_sum() -> None:
    """Elementwise results are the same bits with 16 and 32 bytes, fused product or library call."""
    sample = SAMPLES["sin"]()
    (x,) = arrays(sample, {}).values()
    narrow = native(sample, plain_x86()).function(x)
    wide = native(sample, jit.target()).function(x)
    assert narrow[0].tobytes() == wide[0].tobytes()
