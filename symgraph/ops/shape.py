"""Ops that only move the index: views. They never cost a loop of their own.

Sizes in parameters may be numbers or symbolic dims; `as_size` turns a user's size into either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symgraph.core.dtype import INT64
from symgraph.core.errors import ShapeError, SymbolicValueError
from symgraph.core.namespace import Namespace
from symgraph.core.node import CONSTANT, INPUT, Node, as_node, describe
from symgraph.core.op import Op, alias, function, normal_axes, normal_axis, o, register
from symgraph.core.types import TensorType
from symgraph.dims.dim import Dim, broadcast, exact_div, must_equal, symbol
from symgraph.ops.base import Size, as_nodes, batch_front, clash

Index = tuple[Any, ...]


# -- sizes --------------------------------------------------------------------------------------
@register
class DimValue(Op):
    name = "dim_value"
    doc = "A size as an int64 scalar; depends on the shapes of inputs, not on their values."
    params = ("dim",)
    not_differentiable = "the result is an integer"

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        yield (), {"dim": 3}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return TensorType(INT64, ())

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return np.asarray(node.params.dim, np.int64)

    def lower(self, s: Any, node: Node, index: Index, read: Any) -> Any:
        return s.as_value(node.params.dim, INT64)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        return node, None


@function
def dim_value(n: Size) -> Node:
    """Return the size `n` (a number or a symbolic dim) as an int64 scalar node."""
    return as_node(n) if isinstance(n, int) else DimValue.instance(dim=n)


@function
def shape(x: Any) -> tuple[Any, ...]:
    """Return the sizes of `x`: a Python int where known, else an int64 scalar node."""
    return tuple(n if isinstance(n, int) else dim_value(n) for n in as_node(x).type.shape)


_ARITHMETIC = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "floordiv": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
}


@function
def as_size(value: Any) -> Size:
    """Return a user's size as an `int` or a `Dim`.

    Accepts integers, sizes taken from `x.shape`, integer scalar inputs (their value then belongs to
    the shape) and sums, products and quotients of these. Anything computed from array values raises
    `SymbolicValueError`: the shape of a result cannot depend on data.
    """
    if isinstance(value, (int, np.integer, Dim)):
        return int(value) if not isinstance(value, Dim) else value
    if isinstance(value, Node) and value.ndim == 0 and value.dtype.kind in "iu":
        if value.op is CONSTANT:
            return int(value.data)
        if value.op.name == "dim_value":
            return value.params.dim
        if value.op.name == "cast":
            return as_size(value.inputs[0])
        if value.op is INPUT:
            if value.data is None:
                value.data = symbol(describe(value))
            return value.data
        if value.op.name in _ARITHMETIC:
            return _ARITHMETIC[value.op.name](*map(as_size, value.inputs))
    what = describe(value) if isinstance(value, Node) else repr(value)
    raise SymbolicValueError(
        f"{what} cannot be a size: a size is an integer, an element of x.shape, an integer scalar "
        "input, or arithmetic on these; it cannot depend on the values of arrays"
    )


def as_shape(value: Any) -> tuple[Size, ...]:
    """Return a user's shape (one size or a sequence) as a tuple of sizes."""
    if isinstance(value, (int, np.integer, Node, Dim)) and not (
        isinstance(value, Node) and value.ndim == 1
    ):
        return (as_size(value),)
    return tuple(as_size(n) for n in value)


def product(shape: Sequence[Size]) -> Size:
    """Return the number of elements."""
    n: Size = 1
    for extent in shape:
        n = n * extent
    return n


def strides(shape: Sequence[Size]) -> list[Size]:
    """Return element strides of a contiguous array."""
    result: list[Size] = [1] * len(shape)
    for k in range(len(shape) - 2, -1, -1):
        result[k] = result[k + 1] * shape[k + 1]
    return result


def is_one(n: Size) -> bool:
    return isinstance(n, int) and n == 1


class View(Op):
    """Base of views: linear in their one input."""

    view = True
    linear = (0,)
    takes_complex = True


# -- reshape ------------------------------------------------------------------------------------
@register
class Reshape(View):
    name, doc = "reshape", "The same elements in row-major order under another shape."
    params = ("shape",)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for old, new in (((6,), (2, 3)), ((2, 3, 4), (6, 4)), ((2, 3, 4), (4, 6)), ((1,), ())):
            yield (old,), {"shape": new}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x = inputs[0]
        old, new = product(x.type.shape), product(params.shape)
        if isinstance(old, int) and isinstance(new, int) and old != new:
            raise ShapeError(
                f"cannot reshape `{describe(x)}` of {old} elements {x.type.shape} to "
                f"{params.shape} of {new}.\n  input:  {x.type}, made at {x.source}"
            )
        must_equal(old, new)
        return x.type.with_shape(params.shape)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return arrays[0].reshape(node.params.shape)

    def lower(self, s: Any, node: Node, index: Index, read: Any) -> Any:
        flat: Any = 0
        for i, stride in zip(index, strides(node.type.shape), strict=True):
            flat = s.iadd(flat, s.imul(i, stride))
        shape = node.inputs[0].type.shape
        if any(isinstance(n, int) and n == 0 for n in shape):
            return read(0, (0,) * len(shape))  # no element is ever read
        old = []
        for k, (n, stride) in enumerate(zip(shape, strides(shape), strict=True)):
            i = s.ifloordiv(flat, stride) if not is_one(stride) else s.index(flat)
            old.append(0 if is_one(n) else (i if k == 0 else s.imod(i, n)))
        return read(0, tuple(old))

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return o.reshape(g, node.inputs[0].type.shape)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        x = batch_front(o, inputs[0], axes[0], node.inputs[0].ndim)
        return self(x, shape=(x.type.shape[0], *node.params.shape)), 0


@function
def reshape(x: Any, shape: Any, ndim: int | None = None) -> Node:
    """Return the elements of `x` under `shape`; one size may be -1."""
    node = as_node(x)
    new = list(as_shape(shape))
    if ndim is not None and len(new) != ndim:
        raise ShapeError(f"reshape to {new} has {len(new)} axes, ndim says {ndim}")
    unknown = [k for k, n in enumerate(new) if isinstance(n, int) and n == -1]
    if len(unknown) > 1:
        raise ShapeError(f"reshape to {tuple(new)}: only one size may be -1")
    if unknown:
        k = unknown[0]
        rest = product(new[:k] + new[k + 1 :])
        total = product(node.type.shape)
        known = isinstance(rest, int) and isinstance(total, int)
        if known and (rest == 0 or total % rest):
            raise ShapeError(
                f"cannot reshape `{describe(node)}` {node.type.shape} to {tuple(new)}: "
                f"{total} elements do not divide by {rest}"
            )
        exact = exact_div(total, rest)
        new[k] = exact if exact is not None else total // rest
    shape = tuple(new)
    return node if shape == node.type.shape else Reshape.instance(node, shape=shape)


@function
def flatten(x: Any, ndim: int = 1) -> Node:
    """Return `x` with its trailing axes joined so that `ndim` axes are left (Theano's flatten)."""
    node = as_node(x)
    keep = node.type.shape[: ndim - 1]
    return reshape(node, (*keep, product(node.type.shape[ndim - 1 :])))


@function
def ravel(x: Any) -> Node:
    """Return `x` as a vector in row-major order."""
    return flatten(x)


# -- permutation, insertion and removal of axes ---------------------------------------------------
@register
class PermuteDims(View):
    name, doc = "permute_dims", "Axes in another order: axis k of the result is axes[k] of x."
    params = ("axes",)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for old, axes in (((3, 4), (1, 0)), ((2, 3, 4), (2, 0, 1)), ((2, 3, 4), (0, 2, 1))):
            yield (old,), {"axes": axes}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return inputs[0].type.with_shape(tuple(inputs[0].type.shape[a] for a in params.axes))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return arrays[0].transpose(node.params.axes)

    def lower(self, s: Any, node: Node, index: Index, read: Any) -> Any:
        old: list[Any] = [0] * len(index)
        for i, a in zip(index, node.params.axes, strict=True):
            old[a] = i
        return read(0, tuple(old))

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return o.permute_dims(g, inverse(node.params.axes))

    def specialise(self, o: Namespace, node: Node) -> Node:
        """Return one exchange for two: an expansion may have ended with another one."""
        x = node.inputs[0]
        if x.op is not self:
            return node
        return o.permute_dims(x.inputs[0], [x.params.axes[a] for a in node.params.axes])

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        x = batch_front(o, inputs[0], axes[0], node.inputs[0].ndim)
        return self(x, axes=(0, *(a + 1 for a in node.params.axes))), 0


def inverse(axes: Sequence[int]) -> tuple[int, ...]:
    """Return the inverse permutation."""
    result = [0] * len(axes)
    for k, a in enumerate(axes):
        result[a] = k
    return tuple(result)


@function
def permute_dims(x: Any, axes: Sequence[int] | None = None) -> Node:
    """Return `x` with its axes in the order `axes` (reversed when None)."""
    node = as_node(x)
    order = tuple(range(node.ndim))[::-1] if axes is None else tuple(axes)
    order = tuple(normal_axis(int(a), node.ndim) for a in order)
    if sorted(order) != list(range(node.ndim)):
        raise ShapeError(f"axes {axes} are no permutation of the {node.ndim} axes of x")
    return node if order == tuple(range(node.ndim)) else PermuteDims.instance(node, axes=order)


@function
def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Node:
    """Return `x` with one axis, or each of several, moved to another place."""
    node = as_node(x)
    origins, places = (
        [normal_axis(a, node.ndim) for a in ([v] if isinstance(v, (int, np.integer)) else v)]
        for v in (source, destination)
    )
    if len(origins) != len(places) or len(set(origins)) != len(set(places)):
        raise ValueError(f"moveaxis of axes {source} to {destination}")
    order = [k for k in range(node.ndim) if k not in origins]
    for place, origin in sorted(zip(places, origins, strict=True)):
        order.insert(place, origin)
    return permute_dims(node, order)


@function
def swapaxes(x: Any, a: int, b: int) -> Node:
    """Return `x` with two axes exchanged."""
    node = as_node(x)
    order = list(range(node.ndim))
    order[a], order[b] = order[b], order[a]
    return permute_dims(node, order)


@function
def matrix_transpose(x: Any) -> Node:
    """Return `x` with its last two axes exchanged."""
    return swapaxes(x, -1, -2)


@register
class ExpandDims(View):
    name, doc = "expand_dims", "Insert axes of length 1 at the given places of the result."
    params = ("axes",)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        yield ((3, 4),), {"axes": (0, 2)}
        yield ((),), {"axes": (0,)}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        rest = iter(inputs[0].type.shape)
        ndim = inputs[0].ndim + len(params.axes)
        return inputs[0].type.with_shape(
            tuple(1 if k in params.axes else next(rest) for k in range(ndim))
        )

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return np.expand_dims(arrays[0], node.params.axes)

    def lower(self, s: Any, node: Node, index: Index, read: Any) -> Any:
        return read(0, tuple(i for k, i in enumerate(index) if k not in node.params.axes))

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return o.squeeze(g, node.params.axes)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        x = batch_front(o, inputs[0], axes[0], node.inputs[0].ndim)
        return self(x, axes=tuple(a + 1 for a in node.params.axes)), 0


@function
def expand_dims(x: Any, axis: int | Sequence[int] = 0) -> Node:
    """Return `x` with axes of length 1 inserted at the places `axis` of the result."""
    node = as_node(x)
    given = (axis,) if isinstance(axis, int) else tuple(axis)
    axes = normal_axes(given, node.ndim + len(given))
    return ExpandDims.instance(node, axes=axes) if axes else node


@register
class Squeeze(View):
    name, doc = "squeeze", "Remove axes of length 1."
    params = ("axes",)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        yield ((3, 1, 4, 1),), {"axes": (1, 3)}
        yield ((1,),), {"axes": (0,)}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x = inputs[0]
        for a in params.axes:
            n = x.type.shape[a]
            if isinstance(n, int) and n != 1:
                raise ShapeError(
                    f"cannot squeeze axis {a} of `{describe(x)}`: its length is {n}, not 1.\n"
                    f"  input:  {x.type}, made at {x.source}"
                )
        kept = tuple(n for k, n in enumerate(x.type.shape) if k not in params.axes)
        return x.type.with_shape(kept)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return np.squeeze(arrays[0], node.params.axes)

    def lower(self, s: Any, node: Node, index: Index, read: Any) -> Any:
        rest = iter(index)
        ndim = node.inputs[0].ndim
        return read(0, tuple(0 if k in node.params.axes else next(rest) for k in range(ndim)))

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return o.expand_dims(g, node.params.axes)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        x = batch_front(o, inputs[0], axes[0], node.inputs[0].ndim)
        return self(x, axes=tuple(a + 1 for a in node.params.axes)), 0


@function
def squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Node:
    """Return `x` without axes of length 1 (those known to be 1 when axis is None)."""
    node = as_node(x)
    if axis is None:
        axes = tuple(k for k, n in enumerate(node.type.shape) if is_one(n))
    else:
        axes = normal_axes(axis, node.ndim)
    return Squeeze.instance(node, axes=axes) if axes else node


@function
def dimshuffle(x: Any, *pattern: Any) -> Node:
    """Return `x` with axes permuted, dropped and inserted ("x"), as Theano's dimshuffle."""
    node = as_node(x)
    order = pattern[0] if len(pattern) == 1 and isinstance(pattern[0], (list, tuple)) else pattern
    kept = [int(p) for p in order if p != "x"]
    dropped = tuple(k for k in range(node.ndim) if k not in kept)
    node = squeeze(node, dropped) if dropped else node
    rank = {a: k for k, a in enumerate(sorted(kept))}
    node = permute_dims(node, [rank[a] for a in kept])
    inserted = tuple(k for k, p in enumerate(order) if p == "x")
    return expand_dims(node, inserted) if inserted else node


# -- broadcast and its transpose ----------------------------------------------------------------
@register
class BroadcastTo(View):
    name, doc = "broadcast_to", "Repeat along new axes and axes of length 1, as NumPy broadcasts."
    params = ("shape",)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for old, new in (((), (3,)), ((1, 4), (3, 4)), ((4,), (2, 3, 4)), ((3, 1), (3, 5))):
            yield (old,), {"shape": new}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x = inputs[0]
        if x.ndim > len(params.shape):
            raise ShapeError(f"cannot broadcast `{describe(x)}` {x.type} to {params.shape}")
        for k, n in enumerate(x.type.shape):
            m = params.shape[len(params.shape) - x.ndim + k]
            if isinstance(n, int) and isinstance(m, int) and n not in (1, m):
                raise ShapeError(
                    f"cannot broadcast `{describe(x)}` {x.type.shape} to {params.shape}: axis {k} "
                    f"has length {n}.\n  input:  {x.type}, made at {x.source}"
                )
            if not is_one(n):
                must_equal(n, m)
        return x.type.with_shape(params.shape)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return np.broadcast_to(arrays[0], node.params.shape)

    def lower(self, s: Any, node: Node, index: Index, read: Any) -> Any:
        x = node.inputs[0]
        tail = index[len(index) - x.ndim :]
        return read(
            0, tuple(0 if is_one(n) else i for i, n in zip(tail, x.type.shape, strict=True))
        )

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return o.sum_to(g, node.inputs[0])

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        x = batch_front(o, inputs[0], axes[0], node.ndim)
        return self(x, shape=(x.type.shape[0], *node.params.shape)), 0


@function
def broadcast_to(x: Any, shape: Any) -> Node:
    """Return `x` repeated to `shape` under NumPy's rule."""
    node, new = as_node(x), as_shape(shape)
    return node if new == node.type.shape else BroadcastTo.instance(node, shape=new)


@register
class SumTo(Op):
    takes_complex = True
    name, doc = "sum_to", "Sum over the axes that broadcasting from `shape` repeated."
    params = ("shape",)
    linear = (0,)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for old, new in (((3,), ()), ((3, 4), (1, 4)), ((2, 3, 4), (4,)), ((3, 5), (3, 1))):
            yield (old,), {"shape": new}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return inputs[0].type.with_shape(params.shape)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        g, shape = arrays[0], node.params.shape
        with np.errstate(all="ignore"):
            g = g.sum(tuple(range(g.ndim - len(shape)))) if g.ndim > len(shape) else g
            axes = tuple(k for k, n in enumerate(shape) if n == 1 and g.shape[k] != 1)
            return np.asarray(g.sum(axes, keepdims=True) if axes else g).astype(node.dtype.numpy)

    @staticmethod
    def expand(o: Namespace, node: Node) -> Node:
        """Sum over the axes known to be repeated; a symbolic axis counts as not repeated."""
        g, shape = node.inputs[0], node.params.shape
        lead = g.ndim - len(shape)
        ones = tuple(
            lead + k
            for k, n in enumerate(shape)
            if is_one(n) and not is_one(g.type.shape[lead + k])
        )
        value = o.sum(g, (*range(lead), *ones), g.dtype)
        return o.expand_dims(value, tuple(a - lead for a in ones)) if ones else value

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        return o.broadcast_to(g, node.inputs[0].type.shape)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        x, ndim = inputs[0], node.inputs[0].ndim
        x = batch_front(o, x, axes[0], ndim)
        lead = tuple(range(1, 1 + ndim - len(node.params.shape)))
        x = o.sum(x, lead, x.dtype) if lead else x
        return self(x, shape=(x.type.shape[0], *node.params.shape)), 0


@function
def sum_to(g: Any, like: Any) -> Node:
    """Return `g` summed over the axes along which `like` was broadcast to the shape of `g`."""
    node = as_node(g)
    shape = like.type.shape if isinstance(like, Node) else as_shape(like)
    return node if shape == node.type.shape else SumTo.instance(node, shape=shape)


@function
def zeros_like(x: Any, dtype: Any = None) -> Node:
    """Return zeros of the shape (and dtype) of `x`."""
    node = as_node(x)
    return o.full(node.type.shape, 0, dtype or node.dtype)


@function
def ones_like(x: Any, dtype: Any = None) -> Node:
    """Return ones of the shape (and dtype) of `x`."""
    node = as_node(x)
    return o.full(node.type.shape, 1, dtype or node.dtype)


# -- joining ------------------------------------------------------------------------------------
@register
class Concatenate(Op):
    takes_complex = True
    name, doc = "concatenate", "Join arrays along an existing axis."
    params = ("axis",)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        yield ((2, 3), (4, 3)), {"axis": 0}
        yield ((2, 3), (2, 1), (2, 20)), {"axis": 1}
        yield ((0,), (4,)), {"axis": 0}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        shape = list(inputs[0].type.shape)
        for node in inputs[1:]:
            if node.ndim != len(shape):
                lines = [
                    f"\n  input:  {describe(i)}  {i.type}, made at {i.source}"
                    for i in (inputs[0], node)
                ]
                raise ShapeError(
                    f"cannot concatenate `{describe(inputs[0])}` with {len(shape)} axes and "
                    f"`{describe(node)}` with {node.ndim}.{''.join(lines)}\n"
                    "  mend:   insert an axis: x[None]"
                )
            for k, n in enumerate(node.type.shape):
                if k == params.axis:
                    shape[k] = shape[k] + n
                elif isinstance(n, int) and isinstance(shape[k], int) and n != shape[k]:
                    raise clash("concatenate", inputs, k, node.ndim)
                else:
                    must_equal(n, shape[k])
                    shape[k] = n if isinstance(n, int) else shape[k]
        return inputs[0].type.with_shape(tuple(shape))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return np.concatenate(arrays, node.params.axis)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        parts = [
            o.zeros_like(x) if t is None else t for x, t in zip(node.inputs, tangents, strict=True)
        ]
        return o.concatenate(parts, node.params.axis)

    @staticmethod
    def vjp(o: Namespace, node: Node, g: Node) -> tuple[Node, ...]:
        axis, start, parts = node.params.axis, 0, []
        for x in node.inputs:
            n = x.type.shape[axis]
            parts.append(o.slice_axis(g, axis, start, n))
            start = start + n
        return tuple(parts)

    def statements(self, low: Any, node: Node, out: Any) -> None:
        """Each part is stored straight into its region of the result."""
        start: Size = 0
        for k, x in enumerate(node.inputs):
            low.store_region(node, out, k, node.params.axis, start)
            start = start + x.type.shape[node.params.axis]

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        n = next(x.type.shape[a] for x, a in zip(inputs, axes, strict=True) if a is not None)
        full = [
            o.broadcast_to(x, (n, *x.type.shape)) if a is None else o.moveaxis(x, a, 0)
            for x, a in zip(inputs, axes, strict=True)
        ]
        return self(*full, axis=node.params.axis + 1), 0


@function
def concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Node:
    """Return the arrays joined along `axis` (None: flattened ones)."""
    nodes = as_nodes(tuple(arrays))
    if axis is None:
        nodes, axis = [ravel(n) for n in nodes], 0
    if not nodes or nodes[0].ndim == 0:
        raise ShapeError("concatenate needs at least one array with at least one axis; use stack")
    if len(nodes) == 1:
        return nodes[0]
    return Concatenate.instance(*nodes, axis=normal_axis(axis, nodes[0].ndim))


@function
def stack(arrays: Sequence[Any], axis: int = 0) -> Node:
    """Return the arrays joined along a new axis."""
    nodes = as_nodes(tuple(arrays))
    axis = normal_axis(axis, nodes[0].ndim + 1)
    return concatenate([expand_dims(n, axis) for n in nodes], axis)


@function
def tile(x: Any, reps: Any) -> Node:
    """Return `x` repeated `reps` times along each axis."""
    node = as_node(x)
    times = as_shape(reps)
    node = (
        expand_dims(node, tuple(range(len(times) - node.ndim))) if len(times) > node.ndim else node
    )
    times = (1,) * (node.ndim - len(times)) + times
    old = node.type.shape
    doubled = [n for t, m in zip(times, old, strict=True) for n in (t, m)]
    wide = reshape(node, tuple(n for m in old for n in (1, m)))
    return reshape(broadcast_to(wide, doubled), [t * m for t, m in zip(times, old, strict=True)])


@function
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Node:
    """Return `x` with each element along `axis` repeated `repeats` times.

    `repeats` is a number for all, or numbers (no variables), one for each element.
    """
    node = as_node(x)
    if axis is None:
        node, axis = ravel(node), 0
    axis = normal_axis(axis, node.ndim)
    if not isinstance(repeats, Node) and np.ndim(repeats):
        times = np.asarray(repeats, np.int64)
        shape = list(node.type.shape)
        shape[axis] = len(times)  # a clash of lengths is an error of reshape
        if len(times) > 1:
            return o.take(reshape(node, shape), np.repeat(np.arange(len(times)), times), axis)
        repeats = int(times[0])
    n, shape = as_size(repeats), list(node.type.shape)
    wide = broadcast_to(expand_dims(node, axis + 1), (*shape[: axis + 1], n, *shape[axis + 1 :]))
    shape[axis] = shape[axis] * n
    return reshape(wide, shape)


@function
def split(x: Any, sections: int | Sequence[int], axis: int = 0) -> list[Node]:
    """Return parts of `x`: `sections` equal ones, or cut at the given places.

    Places beyond the end give empty parts where the length is known now; where it is not, they are
    an error of the call.
    """
    node = as_node(x)
    axis = normal_axis(axis, node.ndim)
    n = node.type.shape[axis]
    if isinstance(sections, (int, np.integer)):
        if sections < 1 or (isinstance(n, int) and n % sections):
            raise ShapeError(
                f"axis {axis} of `{describe(node)}` with length {n} does not split into {sections} "
                f"equal parts\n  input:  {node.type}, made at {node.source}\n"
                "  mend:   sg.array_split makes parts that are equal but for one element"
            )
        size, shape = n // int(sections), node.type.shape
        if isinstance(n, int):
            return [o.slice_axis(node, axis, size * k, size) for k in range(sections)]
        parts = reshape(node, (*shape[:axis], int(sections), size, *shape[axis + 1 :]))
        return [squeeze(o.slice_axis(parts, axis, k, 1), axis) for k in range(sections)]
    cuts = [0, *sections, n]
    places = [c for c in cuts[:-1] if isinstance(c, (int, np.integer))]
    falls = len(places) < len(cuts) - 1 or places == sorted(places)
    if isinstance(n, int) and len(places) == len(cuts) - 1 or not falls:
        before = (slice(None),) * axis
        return [o.getitem(node, (*before, slice(*ab))) for ab in zip(cuts, cuts[1:], strict=False)]
    return [o.slice_axis(node, axis, a, b - a) for a, b in zip(cuts, cuts[1:], strict=False)]


@function
def atleast_nd(x: Any, ndim: int) -> Node:
    """Return `x` with axes of length 1 in front until it has `ndim`."""
    node = as_node(x)
    return expand_dims(node, tuple(range(ndim - node.ndim))) if node.ndim < ndim else node


@function
def broadcast_shapes_of(*arrays: Any) -> tuple[Size, ...]:
    """Return the common shape of the arrays under NumPy's rule."""
    nodes = [as_node(a) for a in arrays]
    ndim = max(n.ndim for n in nodes)
    result: list[Size] = [1] * ndim
    for node in nodes:
        for k, n in enumerate(node.type.shape, ndim - node.ndim):
            result[k] = broadcast(result[k], n)
    return tuple(result)


@function
def size(x: Any) -> Any:
    """Return the number of elements: an int where known, else an int64 scalar node."""
    n = product(as_node(x).type.shape)
    return n if isinstance(n, int) else dim_value(n)


alias(permute_dims, "transpose")
alias(concatenate, "concat")
