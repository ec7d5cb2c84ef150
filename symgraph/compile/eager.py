"""Evaluate a graph node by node with the NumPy references: the oracle, and `mode="eager"`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from symgraph.compile.specialise import bind_sizes, specialise
from symgraph.core.dtype import BFLOAT16
from symgraph.core.errors import MissingInputError
from symgraph.core.evaluator import evaluator
from symgraph.core.lazy import lazy
from symgraph.core.node import CONSTANT, Node, describe
from symgraph.core.walk import leaves, toposort

bfloat16: Any = lazy("symgraph.rewrites.bfloat16")
Watch = Callable[[Node, np.ndarray], None]


@evaluator
def evaluate(
    outputs: Sequence[Node], arrays: Mapping[Node, np.ndarray], watch: Watch | None = None
) -> list[np.ndarray]:
    """Return the values of `outputs` from arrays for every input and shared variable.

    `watch(node, value)` is called for each computed node.
    """
    found = [n for n in leaves(outputs) if n.op is not CONSTANT]
    for leaf in found:
        if leaf not in arrays:
            raise MissingInputError(f"no value for `{describe(leaf)}`, made at {leaf.source}")
    sizes = bind_sizes(arrays, arrays)  # also inputs of which only the shape is used
    if any(n.op.compound or n.dtype is BFLOAT16 for n in toposort(outputs)):
        outputs = bfloat16.widened(outputs)
    new_outputs, new = specialise(outputs, sizes.get)
    values = {new[leaf]: np.asarray(arrays[leaf]) for leaf in found}
    return run(new_outputs, values, watch)


def run(
    outputs: Sequence[Node], values: Mapping[Node, np.ndarray], watch: Watch | None = None
) -> list[np.ndarray]:
    """Return the values of graph nodes whose sizes are all numbers."""
    done = dict(values)
    for node in toposort(outputs):
        if node in done:
            continue
        if node.op is CONSTANT:
            done[node] = node.data
        else:
            done[node] = node.op.numpy(node, *(done[i] for i in node.inputs))
        if watch is not None and not node.op.compound:
            watch(node, done[node])
    return [done[n] for n in outputs]
