"""x[key], and `set` and `inc` of it: slices, integers, None, integer arrays, masks."""

from __future__ import annotations

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from symgraph.core.dtype import BOOL, INT64
from symgraph.core.errors import BoundsError, SymbolicValueError
from symgraph.core.node import CONSTANT, Node, as_node, describe
from symgraph.core.op import function, o
from symgraph.core.walk import toposort
from symgraph.dims.dim import maximum, minimum, provably_le
from symgraph.ops.base import Size, cast_to
from symgraph.ops.gather import Gather, Scatter
from symgraph.ops.permute import inverse
from symgraph.ops.shape import as_size, broadcast_shapes_of
from symgraph.ops.slices import Place, SetSlice, Slice, out_of_bounds


class Key(NamedTuple):
    """A parsed index: slices of every axis, axes to drop and insert, integer arrays left over."""

    starts: tuple[Size, ...]
    steps: tuple[int, ...]
    lengths: tuple[Size, ...]
    drop: tuple[int, ...]  # axes of the slice that an integer removed
    insert: tuple[int, ...]  # axes of the result that None inserted
    arrays: dict[int, Node]  # axis of the basic result -> integer array
    moving: dict[int, Node]  # axis of the basic result -> positions of a slice with a moving start
    mask: Node | None  # where it is all there is in the brackets


_indexed: WeakKeyDictionary[Node, tuple[Node, Key]] = WeakKeyDictionary()
_final_rows: WeakKeyDictionary[Node, Node] = WeakKeyDictionary()  # trace of a loop -> last row


def parse(x: Node, key: Any) -> Key:
    """Parse what stands in the brackets; raises IndexError / SymbolicValueError."""
    items = list(key) if isinstance(key, tuple) else [key]
    items = [np.zeros(np.shape(i), np.int64) if _is_empty_list(i) else i for i in items]
    if len(items) == 1 and _is_mask(items[0]):
        mask = cast_to(as_node(items[0]), BOOL)
        return Key((), (), (), (), (), {}, {}, mask)
    used = sum(1 for i in items if i is not None and i is not Ellipsis)
    if used > x.ndim:
        raise IndexError(
            f"too many indices: `{describe(x)}` has {x.ndim} axes, {used} were indexed\n"
            f"  input:  {x.type}, made at {x.source}"
        )
    if any(i is Ellipsis for i in items):
        at = next(k for k, i in enumerate(items) if i is Ellipsis)
        items[at : at + 1] = [slice(None)] * (x.ndim - used)
    else:
        items += [slice(None)] * (x.ndim - used)
    # beside an array, an integer is an index array too: it decides where the block of axes goes
    fancy = any(_is_array(i) for i in items)
    starts, steps, lengths, drop, insert, arrays, moving = [], [], [], [], [], {}, {}
    place = axis = 0
    for item in items:
        if item is None:
            insert.append(place)
            place += 1
            continue
        n = x.type.shape[axis]
        start, step, length = 0, 1, n
        if isinstance(item, slice):
            start, step, length, dynamic = _slice(x, axis, item, n)
            if dynamic is not None:
                moving[place] = dynamic
            place += 1
        elif isinstance(item, (int, np.integer)) and not isinstance(item, bool):
            start, length = _integer(x, axis, int(item), n), 1
            if fancy:
                arrays[place] = as_node(0)
                place += 1
            else:
                drop.append(axis)
        else:
            node = as_node(item)
            if node.dtype.is_bool:
                raise SymbolicValueError(
                    "a bool mask among other indices selects a number of elements that depends on "
                    "data; use sg.where(mask, x, other)"
                )
            if not node.dtype.is_integer:
                raise IndexError(f"indices must be integers or slices, got {node.dtype}")
            arrays[place] = node
            place += 1
        starts.append(start)
        steps.append(step)
        lengths.append(length)
        axis += 1
    return Key(
        tuple(starts),
        tuple(steps),
        tuple(lengths),
        tuple(drop),
        tuple(insert),
        arrays,
        moving,
        None,
    )


def _with_positions(x: Node, key: Any) -> tuple[Node, Any]:
    """Return x and the key with the positions of what constant masks select in place of these.

    The axes of x that a mask covers have its lengths from then on: others are an error of reshape.
    """
    items = list(key) if isinstance(key, tuple) else [key]
    if not any(_is_known_mask(i) for i in items):
        return x, key
    masks = [np.asarray(_value(i)) if _is_known_mask(i) else None for i in items]
    uses = [
        0 if i is None or i is Ellipsis else 1 if m is None else m.ndim
        for i, m in zip(items, masks, strict=True)
    ]
    shape, axis = list(x.type.shape), 0
    found: list[Any] = []
    for item, mask, used in zip(items, masks, uses, strict=True):
        axis += x.ndim - sum(uses) if item is Ellipsis else 0
        if mask is not None:
            for k, n in enumerate(mask.shape, axis):
                if k >= x.ndim or (isinstance(shape[k], int) and shape[k] != n):
                    raise BoundsError(
                        f"a mask of shape {mask.shape} does not fit `{describe(x)}` from axis "
                        f"{axis} on\n  input:  {x.type}, made at {x.source}"
                    )
                shape[k] = n
            found += mask.nonzero()
        else:
            found.append(item)
        axis += used
    return o.reshape(x, shape), tuple(found)


def _value(item: Any) -> Any:
    return item.data if isinstance(item, Node) else item


def _is_known_mask(item: Any) -> bool:
    if isinstance(item, Node):
        return item.op is CONSTANT and _is_mask(item)
    return isinstance(item, (np.ndarray, list)) and _is_mask(np.asarray(item))


def _is_empty_list(item: Any) -> bool:
    """Tell whether an index is a list without numbers: it selects nothing, as in NumPy."""
    return isinstance(item, list) and (not item or all(map(_is_empty_list, item)))


def _is_array(item: Any) -> bool:
    if item is None or item is Ellipsis or isinstance(item, (slice, int, np.integer)):
        return False
    return as_node(item).ndim > 0


def _is_mask(item: Any) -> bool:
    dtype = getattr(item, "dtype", None)
    return dtype is not None and str(dtype) == "bool" and getattr(item, "ndim", 0) > 0


def _integer(x: Node, axis: int, i: int, n: Size) -> Size:
    if isinstance(n, int) and not -n <= i < n:
        raise out_of_bounds(x, axis, i, n)
    return i if i >= 0 else n + i


def _slice(x: Node, axis: int, item: slice, n: Size) -> tuple[Size, int, Size, Node | None]:
    """Return (start, step, length, None), or a whole axis and the positions of a moving slice."""
    step = 1 if item.step is None else int(item.step)
    if step == 0:
        raise ValueError("slice step cannot be zero")
    if isinstance(n, int) and not any(isinstance(v, Node) for v in (item.start, item.stop)):
        start, stop, step = item.indices(n)
        return start, step, len(range(start, stop, step)), None
    length = _fixed_length(x, item, step) if _moves(item.start) else None
    if length is not None:
        first = cast_to(as_node(item.start), INT64)
        return 0, 1, n, first + o.iota((length,)) * step
    if step < 0:
        start = n - 1 if item.start is None else _clipped_back(item.start, n)
        stop = -1 if item.stop is None else _clipped_back(item.stop, n)
        whole = item.start is None and item.stop is None
        length = n if whole else maximum(start - stop, 0)
        return start, step, (length + (-step - 1)) // -step, None
    start = _clipped(item.start, n, 0)
    stop = _clipped(item.stop, n, n)
    length = stop - start
    if not provably_le(start, stop):
        length = maximum(length, 0)
    if step != 1:
        length = (length + (step - 1)) // step
    return start, step, length, None


def _moves(bound: Any) -> bool:
    """Tell whether a slice bound depends on a value that should not be compiled in."""
    if not isinstance(bound, Node):
        return False
    return any(v.op.name in ("input", "shared") for v in toposort([bound]))


def _fixed_length(x: Node, item: slice, step: int) -> Size | None:
    """Return the length of a slice where its moving part cancels; None for sizes, as in `x[n:]`.

    Raises SymbolicValueError for anything else.
    """
    try:
        start = as_size(item.start)
        length = None if item.stop is None else as_size(item.stop) - start
    except SymbolicValueError:
        raise SymbolicValueError(
            "the length of a slice with a computed start must be known: write x[i:i + 32], or "
            f"x[i * b:(i + 1) * b] with a number b\n  input:  {describe(x)}  {x.type}, made at "
            f"{x.source}"
        ) from None
    return (length + step - 1) // step if isinstance(length, int) else None


def _clipped(bound: Any, n: Size, default: Size) -> Size:
    if bound is None:
        return default
    size = as_size(bound)
    if isinstance(size, int) and size < 0:
        return maximum(n + size, 0)
    return size if provably_le(size, n) else minimum(size, n)


@function
def with_final_row(trace: Node, last: Node) -> Node:
    """Return the trace of a loop, of which `trace[-1]` is the final state: no trace is needed."""
    if trace.type.shape[0] != 0:
        _final_rows[trace] = last
    return trace


def _clipped_back(bound: Any, n: Size) -> Size:
    """Return where a backward slice begins, or before which element it ends."""
    size = as_size(bound)
    return maximum(n + size, -1) if isinstance(size, int) and size < 0 else minimum(size, n - 1)


@function
def getitem(x: Any, key: Any) -> Node:
    """Return x[key] with NumPy's rules: integers, slices, None, Ellipsis, arrays of integers.

    An index that is out of range is an `IndexError` (at build time where known). A bool mask is an
    array or a constant; a variable one raises `SymbolicValueError`, since the shape of the result
    depends on data; `x[mask].set(v)` is fine.
    """
    node = as_node(x)
    whole = node, key
    node, key = _with_positions(node, key)
    first, *more = key if isinstance(key, tuple) and key else (key,)
    if node in _final_rows and isinstance(first, (int, np.integer)) and first == -1:
        last = o.last_state(_final_rows[node], node.type.shape[0])
        found = getitem(last, tuple(more)) if more else last
        if isinstance(found, Node):
            _indexed[found] = (node, parse(node, key))
        return found
    parsed = parse(node, key)
    if parsed.mask is not None:
        result: Node = Masked(node, parsed.mask)  # type: ignore[assignment]
        return result
    result = _gathered(_basic(node, parsed), parsed)
    if key is not whole[1] and not isinstance(whole[1], tuple):
        parsed = parsed._replace(mask=as_node(_value(whole[1])))
    _indexed[result] = (node, parsed)
    return result


class Masked:
    """x[mask] of a variable: only `.set` and `.inc` have a shape that does not depend on data."""

    def __init__(self, x: Node, mask: Node) -> None:
        self.x, self.mask = x, mask

    def set(self, value: Any) -> Node:
        """Return x with `value` where the mask is true."""
        return o.where(self._spread(), value, self.x)

    def inc(self, value: Any) -> Node:
        """Return x with `value` added where the mask is true."""
        return o.where(self._spread(), self.x + value, self.x)

    def _spread(self) -> Node:
        return o.expand_dims(self.mask, tuple(range(self.mask.ndim, self.x.ndim)))

    def __getattr__(self, name: str) -> Any:
        return self._refuse()

    def _refuse(self, *operands: Any) -> Any:
        raise SymbolicValueError(
            f"`{describe(self.x)}[mask]` has a length that depends on data; use "
            "sg.where(mask, x, y), "
            "or x[mask].set(v) / x[mask].inc(v)"
        )


# Python looks for operators in the class only.
for _name in (
    "add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "pow", "rpow", "matmul",
    "rmatmul", "neg", "abs", "lt", "le", "gt", "ge", "getitem", "len", "iter",
):  # fmt: skip
    setattr(Masked, f"__{_name}__", Masked._refuse)


def _basic(x: Node, key: Key) -> Node:
    value = Slice.instance(x, starts=key.starts, steps=key.steps, lengths=key.lengths)
    value = o.squeeze(value, key.drop) if key.drop else value
    return o.expand_dims(value, key.insert) if key.insert else value


def _layout(key: Key, ndim: int) -> tuple[list[int], list[Node], list[int]]:
    """Return how a gather realises the key on the basic result of `ndim` axes.

    The order that brings indexed axes to the front; the index arrays, so that moving slices are
    orthogonal to the block of the others; the order of the gather's axes that NumPy's result has.
    """
    fancy, moving = sorted(key.arrays), sorted(key.moving)
    rest = [k for k in range(ndim) if k not in key.arrays and k not in key.moving]
    m = len(moving)
    block = len(broadcast_shapes_of(*key.arrays.values())) if fancy else 0
    indices = [_trailing(key.arrays[k], m) for k in fancy]
    indices += [_trailing(key.moving[k], m - 1 - j) for j, k in enumerate(moving)]
    source = {k: block + j for j, k in enumerate([*moving, *rest])}
    back = [source[k] for k in sorted([*moving, *rest])]
    adjacent = bool(fancy) and fancy == list(range(fancy[0], fancy[0] + len(fancy)))
    place = fancy[0] if adjacent else 0
    back[place:place] = range(block)
    return [*fancy, *moving, *rest], indices, back


def _trailing(node: Node, n: int) -> Node:
    """Return the node with `n` axes of length 1 behind its own."""
    return o.expand_dims(node, tuple(range(node.ndim, node.ndim + n))) if n else node


def _gathered(value: Node, key: Key) -> Node:
    if not (key.arrays or key.moving):
        return value
    order, indices, back = _layout(key, value.ndim)
    return o.permute_dims(Gather.instance(o.permute_dims(value, order), *indices), back)


def _scattered(x: Node, key: Key, y: Node, mode: str) -> Node:
    """Return x with y set / added at key (x has passed the basic part already)."""
    order, indices, back = _layout(key, x.ndim)
    moved, values = o.permute_dims(x, order), o.permute_dims(y, inverse(back))
    new = Scatter.instance(moved, values, *indices, mode=mode)
    return o.permute_dims(new, inverse(order))


def _write(indexed: Any, value: Any, mode: str) -> Node:
    if isinstance(indexed, Masked):
        return indexed.set(value) if mode == "set" else indexed.inc(value)
    if indexed not in _indexed:
        raise TypeError(
            f"`{describe(indexed)}` is not of the form x[index]; write x[index].set(v) or "
            "sg.set_subtensor(x[index], v)"
        )
    x, key = _indexed[indexed]
    if key.mask is not None and as_node(value, (x.dtype,)).ndim == 0:
        return _write(Masked(x, key.mask), value, mode)
    y = o.broadcast_to(cast_to(as_node(value, (x.dtype,)), x.dtype), indexed.type.shape)
    if key.arrays or key.moving:
        inner = _basic(x, key)
        if inner.op is Slice.instance and inner.type.shape == x.type.shape and not key.drop:
            inner = x if all(s == 1 for s in key.steps) else inner
        if inner is x:
            return _scattered(x, key, y, mode)
        y, mode = _scattered(inner, key, y, mode), "set"
    y = o.squeeze(y, key.insert) if key.insert else y
    y = o.expand_dims(y, key.drop) if key.drop else y
    if mode == "set":
        return SetSlice.instance(x, y, starts=key.starts, steps=key.steps)
    return x + Place.instance(y, starts=key.starts, steps=key.steps, shape=x.type.shape)


@function
def set_subtensor(indexed: Any, value: Any) -> Node:
    """Return the array behind `x[index]` with `value` there (a new variable; x is unchanged)."""
    return _write(indexed, value, "set")


@function
def inc_subtensor(indexed: Any, value: Any) -> Node:
    """Return the array behind `x[index]` with `value` added there; duplicate indices add up."""
    return _write(indexed, value, "add")
