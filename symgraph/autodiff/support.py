"""Adjoints that know where they can differ from zero, so that no 0 * inf leaks out of a `where`.

The side of a `where` that was not chosen has adjoint zero there, and its own derivative may be
infinite or NaN. Multiplying the two gives NaN. So an adjoint carries its support: a boolean node
that is false only where the adjoint is exactly zero. Products are chosen by it, not multiplied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from symgraph.core.node import Node
from symgraph.core.op import o
from symgraph.core.record import dataclass
from symgraph.dims.dim import provably_le

# Ops whose transpose only moves and adds up elements, with factors that are not negative.
_MOVES = frozenset(
    {
        *("reshape", "permute_dims", "expand_dims", "squeeze", "broadcast_to", "sum_to"),
        *("concatenate", "slice", "place", "set_slice", "gather", "scatter", "cumsum"),
        *("sum_pool2d", "sum_pool2d_grad", "cast", "stop_gradient", "last_state"),
    }
)
_PARTS = frozenset({"real", "imag", "conj", "magnitude", "angle", "unit"})  # of complex numbers
_FOLDS = frozenset({"sum", "max", "min", "logsumexp"})  # x[..., k, ...] gets the adjoint of its row
_ROWS = frozenset({"softmax", "log_softmax"})  # every element of a row reaches every other
_TESTS = frozenset({"isnan", "isinf", "isfinite", "eq", "ne"})  # what a guard against NaN asks

Pull = Callable[[Node], Sequence[Node | None]]


@dataclass(frozen=True, slots=True)
class Adjoint:
    """A derivative of the cost: `value` where `support` is true, exactly zero elsewhere.

    support: bool, broadcasts to the shape of `value`; None is true everywhere. clean: `value` is
    already zero outside of the support; otherwise it may be anything there.
    """

    value: Node
    support: Node | None = None
    clean: bool = True

    def node(self) -> Node:
        """Return the derivative as one node."""
        if self.support is None or self.clean:
            return self.value
        return o.where(self.support, self.value, o.zeros((), self.value.dtype))

    def times(self, p: Any) -> Adjoint:
        """Return the product with a partial derivative: a node of the same shape, or a number."""
        if isinstance(p, Node):
            return Adjoint(self.value * p, self.support, False)
        if p == 1:
            return self
        return Adjoint(-self.value if p == -1 else self.value * p, self.support, self.clean)

    def summed_to(self, like: Node) -> Adjoint:
        """Return the sum over the axes along which `like` was broadcast."""
        if self.value.type.shape == like.type.shape:
            return self.converted(like)
        value = o.sum_to(self.node(), like)
        summed = Adjoint(value, None if self.support is None else _any_to(self, like.type.shape))
        return summed.converted(like)

    def converted(self, like: Node) -> Adjoint:
        """Return the adjoint in the dtype of `like`; that of a real node is real."""
        if self.value.dtype is like.dtype:
            return self
        value = self.value if like.dtype.is_complex else o.real(self.value)
        return Adjoint(o.cast(value, like.dtype), self.support, self.clean)

    def __add__(self, other: Adjoint) -> Adjoint:
        """Return the sum of two uses of one node; its support is where either has its own."""
        a, b = self.support, other.support
        if a is b:
            return Adjoint(self.value + other.value, a, self.clean and other.clean)
        total = self.node() + other.node()
        return Adjoint(total, None if a is None or b is None else _either(a, b))


def chosen(node: Node, g: Adjoint) -> tuple[Adjoint | None, Adjoint, Adjoint]:
    """Return the adjoints of the inputs of a `where`."""
    c, x, y = node.inputs
    sides = []
    for side, here in ((x, c), (y, o.logical_not(c))):
        support = here if g.support is None else o.logical_and(g.support, here)
        sides.append(Adjoint(g.value, support, False).summed_to(side))
    return None, sides[0], sides[1]


def spread(node: Node, support: Node | None, pull: Pull) -> tuple[Node | None, ...]:
    """Return the support of each input's adjoint from that of a node that is not elementwise.

    `pull` maps an adjoint of the node to those of its inputs. None: unknown, so everywhere.
    """
    count, name = len(node.inputs), node.op.name
    if support is None:
        return (None,) * count
    if support.ndim == 0 and name in _MOVES | _FOLDS | _ROWS:
        return (support,) * count
    if name in _MOVES:
        full = o.broadcast_to(o.cast(support, node.dtype), node.type.shape)
        return tuple(None if p is None else o.gt(o.real(p), 0) for p in pull(full))
    if name in _PARTS:
        return (support,)
    if name in _FOLDS:
        full = o.broadcast_to(support, node.type.shape)
        return (o.expand_dims(full, node.params.axes) if node.params.axes else full,)
    if name in _ROWS:
        full = o.broadcast_to(support, node.type.shape)
        return (o.any(full, node.params.axes, keepdims=True) if node.params.axes else full,)
    if name == "cross_entropy_rows":
        return (o.expand_dims(o.broadcast_to(support, node.type.shape), node.ndim), None)
    return (support if name == "grad_clip" else None,) * count


def pull_product(
    node: Node, g: Adjoint, transpose: Callable[[Node, int, Node], Node]
) -> tuple[Adjoint, Adjoint]:
    """Return the adjoints of both operands of a matrix product.

    dA = g B^T and dB = A^T g, where columns of B and rows of A that meet only zeros of g are
    replaced by zeros: an infinity there stands behind no element that was chosen.
    """
    a, b = node.inputs
    value, support = g.node(), g.support
    if support is None or _is_activation(support, node):
        return Adjoint(transpose(node, 0, value)), Adjoint(transpose(node, 1, value))
    rows, columns = _any(support, -1), _any(support, -2)
    used_b = _used(b, _any_within(columns, (*b.type.shape[:-2], 1, b.type.shape[-1])))
    used_a = _used(a, _any_within(rows, (*a.type.shape[:-2], a.type.shape[-2], 1)))
    safe = node.op.rebuild(node, (used_a, used_b))
    return (
        Adjoint(transpose(safe, 0, value), _any_within(rows, a.type.shape)),
        Adjoint(transpose(safe, 1, value), _any_within(columns, b.type.shape)),
    )


def _used(x: Node, mask: Node | None) -> Node:
    return x if mask is None else o.where(mask, x, o.zeros((), x.dtype))


def _is_activation(support: Node, product: Node) -> bool:
    """Tell whether a support comes from a threshold of the product itself, or from chance.

    `where(z > 0, z, 0)` and dropout guard nothing; passes over whole operands would only cost.
    """
    stack, seen = [support], {support}
    while stack:
        node = stack.pop()
        if node is product or node.op.name == "random_bits":
            return True
        if node.op.name in _TESTS or node.op.loops:
            continue
        fresh = [i for i in node.inputs if i not in seen]
        seen.update(fresh)
        stack.extend(fresh)
    return False


def _either(a: Node, b: Node) -> Node | None:
    """Return a or b; None where they are opposites, so that both sides of a choice meet."""
    for x, y in ((a, b), (b, a)):
        if x.op.name == "logical_not" and x.inputs[0] is y:
            return None
    return o.logical_or(a, b)


def _any(mask: Node | None, axis: int) -> Node | None:
    """Return whether any element along a (negative) axis is true; the axis stays, with length 1.

    None where that is known to be so in all places.
    """
    if mask is None or -axis > mask.ndim or mask.type.shape[axis] == 1:
        return mask
    return None if _some_along(mask, mask.ndim + axis) else o.any(mask, axis, keepdims=True)


def _some_along(mask: Node, axis: int) -> bool:
    """Tell whether a mask is known to have a true element along an axis, wherever one looks.

    So have causal masks, the attention of a position to itself and those before it.
    """
    mask = _whole(mask)
    while mask.op.name == "expand_dims":
        added: tuple[int, ...] = mask.params.axes
        if axis in added:
            return False
        axis -= sum(a < axis for a in added)
        mask = _whole(mask.inputs[0])
    if mask.op.name not in ("ge", "le"):
        return False
    pair = mask.inputs if mask.op.name == "ge" else mask.inputs[::-1]
    large, small = (_position(x, mask.ndim) for x in pair)
    if large is None or small is None or large[0] == small[0]:
        return False
    # the first place is at most any other one; the last one is at least any of no longer axis
    return axis == small[0] or (axis == large[0] and provably_le(small[1], large[1]))


def _whole(x: Node) -> Node:
    """Return what x is a slice of, where it is all of it in its order."""
    while x.op.name == "slice" and set(x.params.steps) <= {1} and x.type == x.inputs[0].type:
        (x,) = x.inputs
    return x


def _position(x: Node, ndim: int) -> tuple[int, Any] | None:
    """Return (axis among the last `ndim`, its length) where x is the position along an axis."""
    axes = list(range(ndim - x.ndim, ndim))
    x = _whole(x)
    while x.op.name == "expand_dims":
        axes = [a for k, a in enumerate(axes) if k not in x.params.axes]
        x = _whole(x.inputs[0])
    if x.op.name != "iota":
        return None
    return axes[x.params.axis], x.params.shape[x.params.axis]


def _any_to(g: Adjoint, shape: tuple[Any, ...]) -> Node | None:
    """Return the support of a sum of `g` to `shape`, where a symbolic size may turn out to be 1."""
    support, full = g.support, g.value.type.shape
    assert support is not None
    pairs = zip(reversed(shape), reversed(full), strict=False)
    if all(isinstance(n, int) or n is m or n == m for n, m in pairs):
        return _any_within(support, shape)
    counts = o.broadcast_to(o.cast(support, g.value.dtype.part), full)
    return o.gt(o.sum_to(counts, shape), 0)


def _any_within(mask: Node | None, shape: tuple[Any, ...]) -> Node | None:
    """Return `mask` joined along the axes that `shape` lacks or has with length 1."""
    if mask is None:
        return None
    extra = mask.ndim - len(shape)
    if extra > 0:
        mask = o.any(mask, tuple(range(extra)))
    for axis in range(-mask.ndim, 0):
        if shape[axis] == 1:
            mask = _any(mask, axis)
    return mask
