"""`mode="debug"`: compare every rewrite and every kernel of a call with the NumPy reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from symgraph.compile.eager import evaluate, run
from symgraph.compile.sized import Sizing
from symgraph.compile.specialise import specialise
from symgraph.core.errors import VerifyError
from symgraph.core.node import Node, describe
from symgraph.core.rewrite import Table, rewrite
from symgraph.dims.dim import Atom
from symgraph.loops.interp import run_program
from symgraph.rewrites import optimise, tables
from symgraph.testing.tolerances import mismatch

if TYPE_CHECKING:
    from symgraph.compile.version import Version


# Whole functions add up rounding errors of many kernels; relative to the largest entry.
CHAIN = {"float16": 2e-2, "float32": 1e-4, "float64": 1e-9, "complex64": 1e-4, "complex128": 1e-9}
CHAIN |= {"bfloat16": 0.1}


def _differs(actual: np.ndarray, expected: np.ndarray) -> str | None:
    return mismatch(actual, expected, relative=CHAIN.get(str(expected.dtype)))


def check_version(
    original: Sequence[Node],
    rewritten: Sequence[Node],
    version: Version,
    arrays: Mapping[Node, np.ndarray],
    native: Sequence[np.ndarray],
    numerics: str,
) -> None:
    """Raise VerifyError where a rewrite or a kernel changed a value beyond its class.

    `arrays` are the inputs and the old values of shared variables; `native` the results of the
    call followed by the new values of updated shared variables.
    """
    exact = evaluate(original, arrays)
    after = evaluate(rewritten, arrays)
    for k, (a, b, node) in enumerate(zip(exact, after, original, strict=True)):
        wrong = _differs(b, a)
        if wrong is not None and _only_more_finite(original, k, arrays, numerics, a, b):
            continue
        if wrong is not None:
            raise VerifyError(
                f"debug mode: rewriting changed result {k}, `{describe(node)}` made at "
                f"{node.source}: {wrong}"
            )
    values = {version.leaf_map.get(n, n): a for n, a in arrays.items()}
    sizes = _run_time_sizes(version, values)
    graph, now = specialise(version.graph, sizes.get)
    done: dict[Node, np.ndarray] = {}
    given = {now.get(n, n): a for n, a in values.items()}
    reference = run(graph, given, done.__setitem__)
    _check_lowering(version, values, sizes, {n: done[m] for n, m in now.items() if m in done})
    for k, (a, b, node) in enumerate(zip(reference, native, version.graph, strict=True)):
        wrong = _differs(b, a)
        if wrong is not None:
            raise VerifyError(
                f"debug mode: native code and NumPy disagree in result {k}, `{describe(node)}` "
                f"made at {node.source}: {wrong}{_kernels(version)}"
            )


def _only_more_finite(
    original: Sequence[Node],
    k: int,
    arrays: Mapping[Node, np.ndarray],
    numerics: str,
    exact: np.ndarray,
    after: np.ndarray,
) -> bool:
    """Tell whether result k differs where it overflowed only, by rules that are there for that."""
    lost = ~np.isfinite(exact) & np.isfinite(after)
    if _differs(np.where(lost, exact, after), exact) is not None:
        return False
    others = [
        Table(phase, [r for r in rules if r.numeric != "stable"], numerics)
        for phase, rules in tables().items()
    ]
    without = evaluate(rewrite([original[k]], others), arrays)[0]
    with_all = evaluate(optimise([original[k]], numerics), arrays)[0]
    return _differs(without, exact) is None and _differs(after, with_all) is None


def _check_lowering(
    version: Version,
    values: Mapping[Node, np.ndarray],
    sizes: Mapping[Atom, int],
    done: Mapping[Node, np.ndarray],
) -> None:
    """Run the loop program with NumPy, and compare each stored node with its reference in `done`.

    The loops of a generic version run with the sizes of this call.
    """
    stages = version.stages
    assert stages.program is not None
    sizing = Sizing(sizes)
    program = sizing.program(stages.program)
    arrays = {b: _held(values[n]) for n, b in stages.leaf_buffers.items() if n in values}
    arrays |= stages.constant_arrays
    data = {sizing.buffer(b): a for b, a in arrays.items()}
    aliases = {sizing.buffer(b): sizing.buffer(t) for b, t in stages.aliases.items()}
    memory = run_program(program, data, aliases)
    for node, buffer in stages.node_buffers.items():
        target = sizing.buffer(stages.aliases.get(buffer, buffer))
        if node not in done or target not in memory:
            continue
        got = memory[target].reshape(done[node].shape)
        wrong = _differs(got, np.asarray(done[node]))
        if wrong is not None:
            raise VerifyError(
                f"debug mode: the loops of `{describe(node)}` made at {node.source} do not compute "
                f"{node.op.name}: {wrong}"
            )


def _held(array: np.ndarray) -> np.ndarray:
    """Return an array as loops see it: complex numbers as pairs, bfloat16 as its bits."""
    if array.dtype.kind == "c":
        return np.stack([array.real, array.imag], -1)
    return array.view(np.uint16) if array.dtype.name == "bfloat16" else array


def _run_time_sizes(version: Version, values: Mapping[Node, np.ndarray]) -> dict[Atom, int]:
    """Return the sizes that a generic version finds in its arguments; none for an exact one."""
    arrays = [values[n] for n in version.stages.leaf_buffers]
    count = len(version.entry.spec.args)
    found = version.bind(arrays[:count], arrays[count:]) or {}
    return {atom: found[k] for k, atom in enumerate(version.symbols) if k in found}


def _kernels(version: Version) -> str:
    """Name the kernels that could be at fault."""
    names = [
        f"{k.name} ({describe(k.origin[0], 2)})"
        for k in version.module.kernels
        if k.origin and isinstance(k.origin[0], Node)
    ]
    return "\n  kernels: " + ", ".join(names[:12])
