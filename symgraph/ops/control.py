"""Ops that are the identity in value but not in the derivative, and checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.errors import BoundsError, ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import Op, alias, function, register
from symgraph.core.types import TensorType
from symgraph.dims.dim import must_reach, provably_le


class Identity(Op):
    """Base of value-preserving ops; hidden from algebra so that their derivative survives."""

    view = True

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        yield ((3, 4),), {}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return inputs[0].type

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return arrays[0]

    def lower(self, s: Any, node: Node, index: tuple[Any, ...], read: Any) -> Any:
        return read(0, index)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        return self.rebuild(node, tuple(inputs)), axes[0]


@register
class StopGradient(Identity):
    takes_complex = True
    name, doc = "stop_gradient", "The identity, with derivative zero."
    not_differentiable = "by definition"
    partials = staticmethod(lambda o, node: (None,))


@register
class GradClip(Identity):
    name, doc = (
        "grad_clip",
        "The identity; the derivative that flows back is clipped to [low, high].",
    )
    params = ("low", "high")

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        yield ((3, 4),), {"low": -100.0, "high": 100.0}

    @staticmethod
    def vjp(o: Namespace, node: Node, g: Node) -> tuple[Node]:
        return (o.clip(g, node.params.low, node.params.high),)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Node, ...]) -> Node:
        return tangents[0]


@register
class LastState(Identity):
    takes_complex = True
    name, doc = "last_state", "The state behind the last of `steps` steps; an error if none."
    params = ("steps",)
    linear = (0,)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        yield ((3, 4),), {"steps": 2}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        if isinstance(params.steps, int) and params.steps < 1:
            raise BoundsError(
                "index -1 is out of bounds for axis 0 with size 0: there is no last step\n"
                f"  state:  `{describe(inputs[0])}` {inputs[0].type}, made at {inputs[0].source}\n"
                "  mend:   ask for one step at least; sg.reduce and sg.while_loop give the initial "
                "state where there is none"
            )
        must_reach(params.steps, 1)
        return inputs[0].type

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return g


@register
class Fits(Identity):
    """For functions made of slices, which would be empty without a word."""

    takes_complex = True
    name, doc = "fits", "The identity; an error where `size` is less than 1: `what` does not fit."
    params = ("size", "what")
    linear = (0,)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        yield ((3, 4),), {"size": 2, "what": "a window of 3"}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        if isinstance(params.size, int) and params.size < 1:
            raise ShapeError(
                f"{params.what} does not fit\n"
                f"  input:  `{describe(inputs[0])}` {inputs[0].type}, made at {inputs[0].source}\n"
                "  mend:   make it longer, or add padding"
            )
        must_reach(params.size, 1)
        return inputs[0].type

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return Fits.instance(g, size=node.params.size, what=node.params.what)


def fitting(x: Node, size: Any, what: str) -> Node:
    """Return `x`, checked: an error where the `size` of a result is less than 1."""
    if isinstance(size, int) and size >= 1:
        return x
    return Fits.instance(x, size=size, what=what)


@function
def last_state(state: Node, steps: Any) -> Node:
    """Return the state of a loop behind its last step, of at least one."""
    return state if provably_le(1, steps) else LastState.instance(state, steps=steps)


@function
def stop_gradient(x: Any) -> Node:
    """Return `x`; derivatives treat it as a constant."""
    return StopGradient.instance(as_node(x))


@function
def grad_clip(x: Any, low: float, high: float) -> Node:
    """Return `x`; in reverse mode the derivative that passes is clipped to [low, high]."""
    return GradClip.instance(as_node(x), low=low, high=high)


alias(stop_gradient, "disconnected_grad", "zero_grad")
