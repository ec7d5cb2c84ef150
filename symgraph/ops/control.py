"""Ops that are the identity in value but not in the derivative, and checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.errors import BoundsError, ShapeError
from symgraph.core.namespace import Namespace
from symgraph.core.node import Node, as_node, describe
from symgraph.core.op import Op, alias, function, o, register
from symgraph.core.types import TensorType
from symgraph.dims.dim import must_equal, must_reach, provably_le
from symgraph.ops.shape import as_shape


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
class UndefinedGrad(Identity):
    takes_complex = True
    name, doc = "undefined_grad", "The identity; derivatives that would pass are an error."
    not_differentiable = "it is declared undefined, by sg.undefined_grad"


@register
class Behind(Identity):
    """For values that are to be computed late, and not shared with those computed early."""

    takes_complex = True
    name, doc = "behind", "The first input, computed behind the others."
    linear = (0,)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        yield ((3, 4), (2,)), {}

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return g


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


@register
class SpecifyShape(Identity):
    takes_complex = True
    name, doc = "specify_shape", "The identity; an error where the sizes are not those of `shape`."
    params = ("shape",)
    linear = (0,)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        yield ((3, 4),), {"shape": (3, 4)}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        (x,) = inputs
        pairs = list(zip(x.type.shape, params.shape, strict=False))
        if len(params.shape) != x.ndim or any(
            isinstance(n, int) and isinstance(m, int) and n != m for n, m in pairs
        ):
            raise ShapeError(
                f"`{describe(x)}` is {x.type}, not of shape {params.shape}\n"
                f"  made at {x.source}\n  mend:   sg.reshape and sg.broadcast_to change shapes"
            )
        for n, m in pairs:
            must_equal(n, m)
        return x.type.with_shape(params.shape)

    @staticmethod
    def specialise(o: Namespace, node: Node) -> Node:
        (x,) = node.inputs
        return x if x.type.shape == node.params.shape else node

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return g

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        (x,), (axis,) = inputs, axes
        assert axis is not None
        shape = list(node.params.shape)
        shape.insert(axis, x.type.shape[axis])
        return self(x, shape=tuple(shape)), axis


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
def specify_shape(x: Any, shape: Sequence[Any]) -> Node:
    """Return `x` as a tensor of known sizes (None: as it is), which are checked when it is called.

    >>> x = sg.matrix("x")
    >>> sg.specify_shape(x, (None, 3)).type.shape[1]
    3
    """
    node = as_node(x)
    given = [n for n in shape if n is not None]
    known = iter(as_shape(given))
    if len(shape) != node.ndim:
        new = as_shape(given)
    else:
        pairs = zip(shape, node.type.shape, strict=True)
        new = tuple(old if n is None else next(known) for n, old in pairs)
    return node if new == node.type.shape else SpecifyShape.instance(node, shape=new)


@function
def stop_gradient(x: Any) -> Node:
    """Return `x`; derivatives treat it as a constant."""
    return StopGradient.instance(as_node(x))


@function
def behind(x: Any, *others: Node) -> Node:
    """Return `x`, as a value that is not shared and waits for the others."""
    return Behind.instance(as_node(x), *others)


@function
def grad_scale(x: Any, factor: Any) -> Node:
    """Return `x`; the derivatives that pass are multiplied by a scalar, in both modes.

    -1 turns them round, as in domain-adversarial training (Ganin et al. 2016).

    >>> x = sg.scalar("x", dtype="float64")
    >>> float(sg.grad(sg.grad_scale(x, -0.5) ** 2, x).eval({x: 3.0}))
    -3.0
    """
    scaled = o.custom_jvp(lambda v, k: v, lambda i, t: [t[0] * o.cast(i[1], i[0].dtype)])
    found: Node = scaled(x, factor)
    return found


@function
def undefined_grad(x: Any) -> Node:
    """Return `x`; a derivative that would pass here raises NotDifferentiableError.

    For values whose derivative would mislead, such as those of an iteration that was cut short.
    """
    return UndefinedGrad.instance(as_node(x))


@function
def grad_clip(x: Any, low: float, high: float) -> Node:
    """Return `x`; in reverse mode the derivative that passes is clipped to [low, high]."""
    return GradClip.instance(as_node(x), low=low, high=high)


alias(stop_gradient, "disconnected_grad", "zero_grad")
