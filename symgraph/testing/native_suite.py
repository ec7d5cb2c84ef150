"""Native code against the NumPy references: one function per op and dtype, many outputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from symgraph.autodiff.grad import Lop
from symgraph.compile import eager
from symgraph.compile.function import function
from symgraph.core.config import config
from symgraph.core.node import Node, new_input
from symgraph.core.op import Op
from symgraph.dims.dim import symbol
from symgraph.testing import tolerances as tol
from symgraph.testing.cases import Case, cases

# ops whose code takes LLVM long: a quick run takes a part of their cases
LONG_CODE = {
    "beta", "beta_weight", "betainc", "betaln", "cofactor_bend", "cofactor_rate", "cofactors",
    "conv2d_filter", "conv2d_input", "cosint", "dft", "digamma", "eig_vectors", "expm",
    "faddeeva_imag", "faddeeva_real", "gammainc", "gammaincc", "hyp1f1", "hyp2f1", "irdft", "k1e",
    "max_pool2d", "owens_t", "pinv", "poch", "poisson_weight", "polygamma", "power", "rdft",
    "schur_form", "schur_vectors", "searchsorted", "solve", "sqrtm", "sum_pool2d",
}  # fmt: skip


def native_failures(
    op: Op, gradients: bool = True, generic: bool = False, most: int | None = None
) -> list[str]:
    """Return what differs between native code and NumPy for one op, over all of its cases.

    generic: inputs have symbolic sizes, and the version with run-time sizes is used. most: cases
    per dtype of ops with long code, evenly chosen; None takes all.
    """
    groups: dict[str, list[Case]] = defaultdict(list)
    for case in cases(op):
        if case.kind == "smooth" and not gradients:
            continue
        groups[str(case.arrays[0].dtype) if case.arrays else "none"].append(case)
    found: list[str] = []
    for group in groups.values():
        if most is not None and len(group) > most and op.name in LONG_CODE:
            group = group[:: -(-len(group) // most)]  # noqa: PLW2901
        for part in (group[k : k + 40] for k in range(0, len(group), 40)):
            found += _compare(part, gradients, generic)
    return found


def _compare(group: Sequence[Case], gradients: bool, generic: bool) -> list[str]:
    inputs: list[Node] = []
    arrays: list[np.ndarray] = []
    outputs: list[Node] = []
    labels: list[tuple[Case, str, float | None]] = []
    for case in group:
        nodes = _inputs(case, generic)
        node = case.apply(nodes)
        inputs += nodes
        arrays += case.arrays
        outputs.append(node)
        limit = tol.ulp_limit(case.op, node.dtype)
        labels.append((case, "value", None if limit is None else limit))
        if case.kind == "smooth" and gradients:
            for part in _gradients(node, nodes):
                outputs.append(part)
                labels.append((case, "gradient", None))
    with config.override(numerics="strict"):
        f = function(
            inputs, outputs, on_unused_input="ignore", shapes="generic" if generic else "exact"
        )
    actual = f(*arrays)
    expected = eager.evaluate(outputs, dict(zip(inputs, arrays, strict=True)))
    found = []
    for (case, what, limit), a, e in zip(labels, actual, expected, strict=True):
        slack = 2 if e.dtype.itemsize == 2 else 10
        relative = None if limit is not None else slack * tol.RELATIVE.get(str(e.dtype), 0)
        wrong = tol.mismatch(a, e, ulp=limit, relative=relative)
        if wrong is not None:
            found.append(f"{case} {what}: {wrong}")
    return found


def _gradients(node: Node, inputs: Sequence[Node]) -> list[Node]:
    moving = [x for x in inputs if x.dtype.is_float]
    if node.op.not_differentiable or not node.dtype.is_float or not moving:
        return []
    g = node * 0.5 + 1.0  # some cotangent of the right shape
    result: list[Node] = Lop(node, moving, g, disconnected_inputs="ignore")
    return result


def _inputs(case: Case, generic: bool) -> list[Node]:
    if not generic:
        return case.inputs()
    sizes: dict[int, object] = {}
    result = []
    for k, a in enumerate(case.arrays):
        # equal lengths share a symbol: where an op needs equal sizes it must be able to see that
        shape = tuple(
            n if n < 2 else sizes.setdefault(n, symbol(f"n{n}")) for n in a.shape
        )
        result.append(new_input(a.dtype, shape, f"x{k}"))
    return result
