"""Run a call of LAPACK in a loop program with the NumPy reference of the node that made it.

The lowering copied the inputs of the node to where LAPACK overwrites them; they are read there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symgraph.loops.expr import Buffer
from symgraph.loops.statements import LibraryCall

Place = Callable[[Buffer], np.ndarray]  # flat memory of a buffer
Inputs = Callable[[Place, LibraryCall, int, Any], list[np.ndarray]]


def run_lapack(call: LibraryCall, place: Place) -> None:
    """Compute the result; raises the error of the reference where a matrix has none."""
    node = call.origin[0]
    work, count, values, (is_complex, *options) = call.params
    lead = work[: node.inputs[0].ndim - 2]
    if is_complex:
        node = node.op.inner(node)
    inputs = _INPUTS[call.name](_numbers(place) if is_complex else place, call, count, values)
    shaped = [a.reshape((*lead, *a.shape[1:])) for a in inputs]
    target = call.outputs[4] if call.name == "syevd" and not options[0] else call.outputs[0]
    value = np.asarray(node.op.numpy(node, *shaped))
    if np.iscomplexobj(value):
        value = np.stack([value.real, value.imag], -1)
    place(target)[:] = value.ravel()
    for buffer in call.outputs:
        if str(buffer.dtype) == "int64":
            place(buffer)[:] = 0


def _numbers(place: Place) -> Place:
    """Return the memory of a buffer as complex numbers."""
    return lambda b: place(b).view(f"c{2 * place(b).itemsize}")


def _in_place(rows: int, columns: int, extra: int = 0, transposed: bool = False) -> Inputs:
    """Read matrices of values[rows] rows, in stacks of `extra` more rows, from the result."""

    def inputs(place: Place, call: LibraryCall, count: int, values: Any) -> list[np.ndarray]:
        m, n = values[rows], values[columns]
        x = place(call.inputs[0]).reshape(count, m + extra, n)[:, :m].copy()
        return [x.transpose(0, 2, 1) if transposed else x]

    return inputs


def _symmetric(place: Place, call: LibraryCall, count: int, values: Any) -> list[np.ndarray]:
    return _in_place(0, 0, 1 if call.params[3][1] else 0)(place, call, count, values)


def _triangular(place: Place, call: LibraryCall, count: int, values: Any) -> list[np.ndarray]:
    n, k, row, offset, stride = values
    node, (is_complex, lower, _, _) = call.origin[0], call.params[3]
    params = node.op.inner(node).params if is_complex else node.params
    flat = place(call.inputs[1])
    steps = (stride, row, 1) if lower == bool(params.lower) else (stride, 1, row)
    bytes_ = tuple(s * flat.itemsize for s in steps)
    a = np.lib.stride_tricks.as_strided(flat[offset:], (count, n, n), bytes_)
    return [a.copy(), place(call.inputs[0]).reshape(count, n, k).copy()]


def _factors(place: Place, call: LibraryCall, count: int, values: Any) -> list[np.ndarray]:
    m, n = values[:2]
    return [place(call.inputs[1]).reshape(count, n + 1, m).copy()]


def _columns(parts: int) -> Inputs:
    """Read columns of square matrices, the first of `parts` of the result."""

    def inputs(place: Place, call: LibraryCall, count: int, values: Any) -> list[np.ndarray]:
        n, (_, *options) = values[0], call.params[3]
        rows = n * (parts if all(options) else 1)
        x = place(call.inputs[0]).reshape(count, rows, n)[:, :n]
        return [x.transpose(0, 2, 1).copy()]

    return inputs


_INPUTS: dict[str, Inputs] = {
    "potrf": _in_place(0, 0),
    "trsm": _triangular,
    "getrf": _in_place(1, 0, 3, transposed=True),
    "syevd": _symmetric,
    "gesdd": _in_place(0, 1),
    "geqrf": _in_place(1, 0, 1, transposed=True),
    "orgqr": _factors,
    "geev": _in_place(0, 0, transposed=True),
    "gehrd": _columns(2),
    "gees": _columns(2),
}
