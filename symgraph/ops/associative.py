"""`sg.associative_scan`: all prefixes of a sequence under an associative function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from symgraph.core.dtype import INT64
from symgraph.core.errors import DTypeError, ShapeError
from symgraph.core.node import Node, as_node, describe, new_input
from symgraph.core.op import function, normal_axis, o
from symgraph.dims.dim import minimum, must_equal
from symgraph.ops.loop import make_loop, results_of


@function
def associative_scan(
    fn: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0
) -> Any:
    """Return all prefixes of `elems` along `axis` under the associative function `fn`.

    elems: an array, or a list, tuple or dict of arrays of the same length along `axis`. fn(a, b)
    combines two such structures, whose arrays keep `axis` (elements that can be combined
    independently of each other lie along it), and returns one of the same shapes and dtypes.

        result[0] = elems[0],   result[k] = fn(result[k - 1], elems[k])

    With `reverse` from the last element on: result[k] = fn(result[k + 1], elems[k]).

    Functions that are running sums, products, extrema, log-sum-exps or linear recurrences (also
    in pairs, `(a1 * a2, a2 * b1 + b2)`) run without a loop; others as one native loop. As `fn` is
    associative, results may be combined in another order than the formula's.

    Raises ShapeError / DTypeError where `fn` changes a shape or dtype, ValueError where it returns
    another number of arrays.

    >>> x = sg.vector("x", dtype="float64")
    >>> sg.associative_scan(sg.maximum, x).eval({x: np.array([1.0, 3.0, 2.0])})
    array([1., 3., 3.])
    """
    nodes = _leaves(elems)
    if not nodes:
        raise ValueError("associative_scan needs at least one array")
    axes = [_axis(x, axis) for x in nodes]
    length = _length(nodes, axes)
    arrays = [x if a == 0 else o.moveaxis(x, a, 0) for x, a in zip(nodes, axes, strict=True)]
    if isinstance(length, int) and length <= 1:
        return _like(elems, nodes)
    if reverse:
        arrays = [o.flip(x, 0) for x in arrays]
    prefixes = _prefixes(_Combine(fn, elems, axes), arrays, length)
    if reverse:
        prefixes = [o.flip(x, 0) for x in prefixes]
    return _like(
        elems, [x if a == 0 else o.moveaxis(x, 0, a) for x, a in zip(prefixes, axes, strict=True)]
    )


class _Combine:
    """The user's function for single elements, without the axis along which they lie."""

    def __init__(self, fn: Callable[[Any, Any], Any], elems: Any, axes: Sequence[int]) -> None:
        self.fn, self.elems, self.axes = fn, elems, axes

    def __call__(self, left: Sequence[Node], right: Sequence[Node]) -> list[Node]:
        """Return the combination of two elements."""
        value = self.fn(*(_like(self.elems, self._with_axis(side)) for side in (left, right)))
        found = _leaves(value)
        if len(found) != len(left):
            raise ValueError(
                f"the function of associative_scan returned {len(found)} arrays for {len(left)}"
            )
        results = []
        for old, new, a in zip(self._with_axis(right), found, self.axes, strict=True):
            _same_type(old, new)
            results.append(o.squeeze(new, a))
        return results

    def _with_axis(self, values: Sequence[Node]) -> list[Node]:
        return [o.expand_dims(x, a) for x, a in zip(values, self.axes, strict=True)]


def _prefixes(combine: _Combine, arrays: Sequence[Node], length: Any) -> list[Node]:
    """Return the prefixes along the first axis, computed one after the other.

    The state before the first element is not used: it is the first element itself, so that no
    function is computed where it is not defined. (It is read as a sum of at most one element, which
    there is also of none.)
    """
    some = 1 if isinstance(length, int) else minimum(length, 1)
    step = new_input(INT64, (), "step")
    elements = [new_input(x.dtype, x.type.shape[1:], x.name and f"{x.name}[k]") for x in arrays]
    carries = [new_input(x.dtype, x.type.shape, "prefix") for x in elements]
    first = o.eq(step, 0)
    new = [
        o.where(first, x, both)
        for x, both in zip(elements, combine(carries, elements), strict=True)
    ]
    starts = [o.stop_gradient(_first(x, some)) for x in arrays]
    loop = make_loop([step, *elements, *carries], new, new, arrays, starts, length)
    return results_of(loop)[len(new) : -1]


def _first(x: Node, some: Any) -> Node:
    rows = o.slice_axis(x, 0, 0, some)
    if isinstance(some, int):
        return o.squeeze(rows, 0)
    return o.any(rows, 0) if x.dtype.is_bool else o.sum(rows, 0, dtype=x.dtype)


# -- structures ----------------------------------------------------------------------------------
def _leaves(value: Any) -> list[Node]:
    """Return the arrays of a structure, in order."""
    if isinstance(value, Mapping):
        return [n for v in value.values() for n in _leaves(v)]
    if isinstance(value, (list, tuple)):
        return [n for v in value for n in _leaves(v)]
    return [as_node(value)]


def _like(structure: Any, values: Sequence[Node]) -> Any:
    """Return values in the places of the arrays of a structure."""
    return _filled(structure, iter(values))


def _filled(structure: Any, values: Any) -> Any:
    if isinstance(structure, Mapping):
        return {k: _filled(v, values) for k, v in structure.items()}
    if isinstance(structure, (list, tuple)):
        parts = [_filled(v, values) for v in structure]
        if hasattr(structure, "_fields"):
            return type(structure)(*parts)
        return tuple(parts) if isinstance(structure, tuple) else parts
    return next(values)


def _axis(x: Node, axis: int) -> int:
    if x.ndim == 0:
        raise ShapeError(
            f"associative_scan walks axis {axis} of its arrays; `{describe(x)}` is a scalar"
        )
    return normal_axis(axis, x.ndim)


def _length(nodes: Sequence[Node], axes: Sequence[int]) -> Any:
    length: Any = nodes[0].type.shape[axes[0]]
    for x, a in zip(nodes, axes, strict=True):
        n = x.type.shape[a]
        if isinstance(n, int) and isinstance(length, int) and n != length:
            raise ShapeError(
                f"associative_scan: `{describe(nodes[0])}` has {length} elements along its axis, "
                f"`{describe(x)}` of type {x.type} has {n}"
            )
        must_equal(length, n)
        length = n if isinstance(n, int) else length
    return length


def _same_type(old: Node, new: Node) -> None:
    if old.dtype is not new.dtype:
        raise DTypeError(
            f"the function of associative_scan makes {new.dtype} of {old.dtype}: `{describe(new)}`"
        )
    if old.ndim != new.ndim or any(
        isinstance(a, int) and isinstance(b, int) and a != b
        for a, b in zip(old.type.shape, new.type.shape, strict=True)
    ):
        raise ShapeError(
            f"the function of associative_scan makes {new.type} of elements of {old.type}, made at "
            f"{new.source}"
        )
