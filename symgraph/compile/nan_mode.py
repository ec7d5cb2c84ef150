"""`mode="nan"`: evaluate node by node and stop at the first NaN or infinity, wherever it appears.

Every node is looked at: in gradients, inside of loops, branches and functions of one's own. What is
reported is where a bad value comes from: its inputs are still good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from symgraph.compile.specialise import bind_sizes, specialise
from symgraph.core.body import Body
from symgraph.core.errors import NanError
from symgraph.core.node import CONSTANT, Node, describe
from symgraph.core.walk import leaves, toposort


def evaluate(outputs: Sequence[Node], arrays: Mapping[Node, np.ndarray]) -> list[np.ndarray]:
    """Return the values of `outputs`; raises NanError at the first NaN, or infinity made of finite
    numbers. Constants may hold infinities: masks do."""
    for leaf, value in arrays.items():
        kind = _worst(value)
        if kind:
            raise NanError(
                f"{_counted(value, kind)} in the input `{describe(leaf)}` of type {leaf.type}\n"
                f"  made at {leaf.source}"
            )
    sizes = bind_sizes(arrays, arrays)
    new_outputs, new = specialise(outputs, sizes.get)
    used = [n for n in leaves(outputs) if n.op is not CONSTANT]
    values = {new[leaf]: np.asarray(arrays[leaf]) for leaf in used}
    return _Guard().run(new_outputs, toposort(new_outputs), values)


class _Guard:
    """Evaluates graphs, and knows in which steps of which loops it is."""

    def __init__(self) -> None:
        self.around: list[str] = []

    def run(
        self, outputs: Sequence[Node], order: Sequence[Node], values: Mapping[Node, np.ndarray]
    ) -> list[np.ndarray]:
        """Return the values of `outputs`, nodes of `order`."""
        done = dict(values)
        for node in order:
            if node in done:
                continue
            if node.op is CONSTANT:
                done[node] = node.data
                continue
            arrays = [done[i] for i in node.inputs]
            if node.op.compound:
                done[node] = node.op.compute(node, arrays, self.body)  # type: ignore[attr-defined]
                continue
            with np.errstate(all="ignore"):
                done[node] = node.op.numpy(node, *arrays)
            if node.op.name != "result":
                self.check(node, done[node], arrays)
        return [done[n] for n in outputs]

    def body(
        self, body: Body, order: Sequence[Node], values: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Evaluate a body; the first value of a loop's body is the number of the step."""
        is_step = bool(body.args) and body.args[0].name == "step"
        self.around.append(f"step {int(values[0])} of a loop" if is_step else "a branch")
        found = self.run(body.outputs, order, dict(zip(body.args, values, strict=True)))
        self.around.pop()
        return found

    def check(self, node: Node, value: np.ndarray, arrays: Sequence[np.ndarray]) -> None:
        """Raise where a value is bad and none of its inputs is as bad."""
        kind = _worst(value)
        if not kind or any(_worst(a) >= kind for a in arrays):
            return
        lines = [f"{_counted(value, kind)} in `{describe(node)}` of type {node.type}"]
        lines.append(f"  node:   {node.op.name}, made at {node.source}")
        lines += [f"  in:     {place}" for place in reversed(self.around)]
        for x, a in zip(node.inputs, arrays, strict=True):
            lines.append(f"  input:  `{describe(x)}` {_range(a)}")
        raise NanError("\n".join(lines))


def _worst(value: np.ndarray) -> int:
    """Return 2 for an array with a NaN, 1 for one with an infinity, else 0."""
    if value.dtype.kind not in "fc" or np.isfinite(value).all():
        return 0
    return 2 if np.isnan(value).any() else 1


def _counted(value: np.ndarray, kind: int) -> str:
    bad = np.isnan(value) if kind == 2 else np.isinf(value)
    name = "NaN" if kind == 2 else "infinity"
    if value.ndim == 0:
        return name
    first = tuple(int(k) for k in np.argwhere(bad)[0])
    return f"{name} at {int(bad.sum())} of {value.size} places, the first at {list(first)},"


def _range(value: np.ndarray) -> str:
    if value.ndim == 0:
        return f"= {value.item()!r}"
    if not value.size:
        return f"of shape {value.shape}"
    return f"of shape {value.shape}, from {value.min()} to {value.max()}"
