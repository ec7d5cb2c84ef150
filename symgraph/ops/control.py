"""Ops that are the identity in value but not in the derivative, and checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node
from symgraph.core.op import Op, alias, function, register
from symgraph.core.types import TensorType


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


@function
def stop_gradient(x: Any) -> Node:
    """Return `x`; derivatives treat it as a constant."""
    return StopGradient.instance(as_node(x))


@function
def grad_clip(x: Any, low: float, high: float) -> Node:
    """Return `x`; in reverse mode the derivative that passes is clipped to [low, high]."""
    return GradClip.instance(as_node(x), low=low, high=high)


alias(stop_gradient, "disconnected_grad", "zero_grad")
