"""Indexing: slices and their transposes, gathers and scatters, set and inc, flip, roll, pad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from symgraph.core.dtype import BOOL, INT64
from symgraph.core.errors import BoundsError, ShapeError, SymbolicValueError
from symgraph.core.namespace import Namespace
from symgraph.core.node import CONSTANT, Node, as_node, describe
from symgraph.core.op import Op, function, normal_axis, o, register
from symgraph.core.types import TensorType
from symgraph.core.walk import toposort
from symgraph.dims.dim import maximum, minimum, must_equal, provably_le
from symgraph.ops.base import Size, batch_front, cast_to
from symgraph.ops.shape import View, as_size, broadcast_shapes_of, inverse, is_one, product


# -- slices -------------------------------------------------------------------------------------
@register
class Slice(View):
    name, doc = "slice", "Elements starts + i * steps along each axis, i < lengths."
    params = ("starts", "steps", "lengths")

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        yield ((7, 9),), {"starts": (1, 8), "steps": (2, -1), "lengths": (3, 9)}
        yield ((40,),), {"starts": (3,), "steps": (1,), "lengths": (33,)}
        yield ((4,),), {"starts": (0,), "steps": (1,), "lengths": (0,)}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x = inputs[0]
        for axis, n in enumerate(x.type.shape):
            start, step = params.starts[axis], params.steps[axis]
            _inside(x, axis, n, start, start + step * (params.lengths[axis] - 1), params)
        return x.type.with_shape(params.lengths)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return arrays[0][_numpy_slices(node.params)]

    def lower(self, s: Any, node: Node, index: tuple[Any, ...], read: Any) -> Any:
        p = node.params
        old = [
            s.iadd(s.imul(i, step), start)
            for i, start, step in zip(index, p.starts, p.steps, strict=True)
        ]
        return read(0, tuple(old))

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        p = node.params
        return Place.instance(g, starts=p.starts, steps=p.steps, shape=node.inputs[0].type.shape)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        x, p = batch_front(o, inputs[0], axes[0], node.inputs[0].ndim), node.params
        n = x.type.shape[0]
        return self(x, starts=(0, *p.starts), steps=(1, *p.steps), lengths=(n, *p.lengths)), 0


def _inside(x: Node, axis: int, n: Size, first: Size, last: Size, params: Any) -> None:
    """Raise where a slice leaves its array; where that is not known yet, ask for it.

    `getitem` clips slices, so what can leave are single elements and the sequences of scans.
    """
    length = params.lengths[axis]
    if isinstance(n, int) and isinstance(first, int) and isinstance(last, int):
        inside = 0 <= min(first, last) <= max(first, last) < n
        if isinstance(length, int) and length == 1 and not inside:
            raise _out_of_bounds(x, axis, first if first >= 0 else first - n, n)
        if isinstance(length, int) and length > 0 and not inside:
            raise BoundsError(
                f"`{describe(x)}` of type {x.type} has no elements {first} to {last} on axis {axis}"
            )
    elif isinstance(length, int) and length > 0:
        for end in (first, last):
            if not provably_le(end + 1, n):
                must_equal(minimum(end + 1, n), end + 1)
            if not provably_le(0, end):
                must_equal(minimum(end, 0), 0)


def _numpy_slices(p: Any) -> tuple[slice, ...]:
    result = []
    for start, step, n in zip(p.starts, p.steps, p.lengths, strict=True):
        stop = start + step * n
        result.append(slice(start, None if stop < 0 else stop, step) if n else slice(0, 0))
    return tuple(result)


def _sources(s: Any, index: tuple[Any, ...], p: Any, lengths: tuple[Size, ...]) -> Any:
    """Return each element's position in the slice, and the guard that it has one."""
    guard, source = None, []
    for i, start, step, n in zip(index, p.starts, p.steps, lengths, strict=True):
        offset = s.isub(i, start) if step > 0 else s.isub(start, i)
        conditions = []
        if abs(step) != 1:
            conditions.append(s.eq(s.imod(offset, abs(step)), s.index(0)))
            inside = s.inside(offset, (n - 1) * abs(step) + 1)
            offset = s.ifloordiv(offset, abs(step))
        else:
            inside = s.inside(offset, n)
        if inside is not None:
            conditions.append(inside)
        for c in conditions:
            guard = c if guard is None else guard & c
        source.append(0 if is_one(n) else offset)
    return tuple(source), guard


@register
class Place(Op):
    takes_complex = True
    name, doc = "place", "Zeros of `shape` with x at starts + i * steps: the transpose of a slice."
    params = ("starts", "steps", "shape")
    linear = (0,)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        yield ((3, 9),), {"starts": (1, 8), "steps": (2, -1), "shape": (7, 9)}
        yield ((20,),), {"starts": (5,), "steps": (1,), "shape": (40,)}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return inputs[0].type.with_shape(params.shape)

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        out = np.zeros(node.params.shape, arrays[0].dtype)
        p = Slice.instance.Params(node.params.starts, node.params.steps, arrays[0].shape)
        out[_numpy_slices(p)] = arrays[0]
        return out

    def lower(self, s: Any, node: Node, index: tuple[Any, ...], read: Any) -> Any:
        source, guard = _sources(s, index, node.params, node.inputs[0].type.shape)
        if guard is None:
            return read(0, source)
        return s.select(guard, read(0, source, guard), s.const(0, node.dtype))

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        p = node.params
        lengths = node.inputs[0].type.shape
        return Slice.instance(g, starts=p.starts, steps=p.steps, lengths=lengths)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        x, p = batch_front(o, inputs[0], axes[0], node.inputs[0].ndim), node.params
        n = x.type.shape[0]
        return self(x, starts=(0, *p.starts), steps=(1, *p.steps), shape=(n, *p.shape)), 0


@function
def place(x: Any, starts: Any, steps: Any, shape: Any) -> Node:
    """Return zeros of `shape` with `x` at starts + i * steps along each axis."""
    return Place.instance(as_node(x), starts=tuple(starts), steps=tuple(steps), shape=tuple(shape))


@register
class SetSlice(Op):
    takes_complex = True
    name, doc = "set_slice", "x with y in the places starts + i * steps."
    params = ("starts", "steps")
    linear = (0, 1)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        yield ((7, 9), (3, 9)), {"starts": (1, 8), "steps": (2, -1)}
        yield ((40,), (21,)), {"starts": (3,), "steps": (1,)}

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        return inputs[0].type

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        out = arrays[0].copy()
        p = Slice.instance.Params(node.params.starts, node.params.steps, arrays[1].shape)
        out[_numpy_slices(p)] = arrays[1]
        return out

    def lower(self, s: Any, node: Node, index: tuple[Any, ...], read: Any) -> Any:
        source, guard = _sources(s, index, node.params, node.inputs[1].type.shape)
        if guard is None:
            return read(1, source)
        return s.select(guard, read(1, source, guard), read(0, index))

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        p, y = node.params, node.inputs[1]
        if k == 1:
            return Slice.instance(g, starts=p.starts, steps=p.steps, lengths=y.type.shape)
        return SetSlice.instance(g, o.zeros_like(y), starts=p.starts, steps=p.steps)

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        dx, dy = (
            o.zeros_like(x) if t is None else t for x, t in zip(node.inputs, tangents, strict=True)
        )
        return SetSlice.instance(dx, dy, starts=node.params.starts, steps=node.params.steps)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        x, y = _both_batched(o, inputs, axes)
        return self(x, y, starts=(0, *node.params.starts), steps=(1, *node.params.steps)), 0


def _both_batched(o: Namespace, inputs: Sequence[Node], axes: Sequence[int | None]) -> list[Node]:
    n = next(x.type.shape[a] for x, a in zip(inputs, axes, strict=True) if a is not None)
    return [
        o.broadcast_to(x, (n, *x.type.shape)) if a is None else o.moveaxis(x, a, 0)
        for x, a in zip(inputs, axes, strict=True)
    ]


@function
def slice_axis(x: Any, axis: int, start: Size, length: Size, step: int = 1) -> Node:
    """Return `length` elements along one axis, from `start` with `step`."""
    node = as_node(x)
    axis = normal_axis(axis, node.ndim)
    lengths = list(node.type.shape)
    if lengths[axis] is length and is_zero(start) and step == 1:
        return node
    starts, steps = [0] * node.ndim, [1] * node.ndim
    starts[axis], steps[axis], lengths[axis] = start, step, length
    return Slice.instance(node, starts=tuple(starts), steps=tuple(steps), lengths=tuple(lengths))


def is_zero(n: Size) -> bool:
    return isinstance(n, int) and n == 0


# -- gather and scatter -------------------------------------------------------------------------
def _integer_samples(rng: Any, dtype: Any) -> Any:
    """Index arrays in range, with negative entries and duplicates."""
    yield ((7, 5), rng.integers(-7, 7, (4,))), {}
    yield ((7, 5), rng.integers(-7, 7, (2, 3)), rng.integers(-5, 5, (3,))), {}
    yield ((9,), rng.integers(0, 9, ())), {}


@register
class Gather(Op):
    takes_complex = True
    name = "gather"
    doc = "x[i0, i1, ...]: integer arrays, broadcast together, index the leading axes."
    linear = (0,)
    samples = staticmethod(_integer_samples)

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x, indices = inputs[0], inputs[1:]
        check_constant_indices(x, indices)
        return x.type.with_shape((*broadcast_shapes_of(*indices), *x.type.shape[len(indices) :]))

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        return np.asarray(arrays[0][tuple(arrays[1:])])

    def lower(self, s: Any, node: Node, index: tuple[Any, ...], read: Any) -> Any:
        x, indices = node.inputs[0], node.inputs[1:]
        block = node.ndim - (x.ndim - len(indices))
        where = wrapped(s, x, indices, index[:block], lambda k, i: read(k + 1, i))
        return read(0, (*where, *index[block:]))

    def checks(self, low: Any, node: Node) -> None:
        low.check_indices(node, node.inputs[0], node.inputs[1:])

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        x = node.inputs[0]
        return Scatter.instance(o.zeros_like(x), g, *node.inputs[1:], mode="add")

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        """A batch of x gets its number as one more index in front."""
        x, indices = inputs[0], list(inputs[1:])
        n = next(v.type.shape[a] for v, a in zip(inputs, axes, strict=True) if a is not None)
        block = node.ndim - (node.inputs[0].ndim - len(indices))
        indices = [
            v if a is None else batch_front(o, v, a, block)
            for v, a in zip(indices, axes[1:], strict=True)
        ]
        if axes[0] is None:
            return self(x, *indices), 0
        number = o.iota((n,) + (1,) * block, 0)
        return self(o.moveaxis(x, axes[0], 0), number, *indices), 0


def wrapped(
    s: Any, x: Node, indices: Sequence[Node], block: tuple[Any, ...], read: Any
) -> list[Any]:
    """Return the index expressions of a gather; a negative one counts from the end."""
    result = []
    for k, node in enumerate(indices):
        tail = block[len(block) - node.ndim :]
        at = tuple(0 if is_one(n) else i for i, n in zip(tail, node.type.shape, strict=True))
        value = s.cast(read(k, at), INT64)
        n = s.as_value(x.type.shape[k], INT64)
        if node.dtype.kind == "i" and not (node.op is CONSTANT and (node.data >= 0).all()):
            value = s.select(value < 0, value + n, value)
        result.append(s.as_index(value))
    return result


def check_constant_indices(x: Node, indices: Sequence[Node]) -> None:
    """Raise IndexError at build time where a constant index is outside a known length."""
    for k, node in enumerate(indices):
        n = x.type.shape[k]
        if node.op is CONSTANT and isinstance(n, int) and node.data.size:
            low, high = int(node.data.min()), int(node.data.max())
            if low < -n or high >= n:
                bad = high if high >= n else low
                raise IndexError(
                    f"index {bad} is out of bounds for axis {k} of `{describe(x)}` with size {n}\n"
                    f"  input:  {x.type}, made at {x.source}"
                )


@register
class Scatter(Op):
    takes_complex = True
    name = "scatter"
    doc = "x with y added to (or set at) x[i0, i1, ...]; duplicates add up, the last set wins."
    params = ("mode",)
    linear = (0, 1)

    @staticmethod
    def samples(rng: Any, dtype: Any) -> Any:
        for mode in ("add", "set"):
            yield ((7, 5), (4, 5), rng.integers(-7, 7, (4,))), {"mode": mode}
            yield (
                ((7, 5), (2, 3), rng.integers(-7, 7, (2, 3)), rng.integers(-5, 5, (3,))),
                {"mode": mode},
            )

    def infer(self, inputs: tuple[Node, ...], params: Any) -> TensorType:
        x, y, indices = inputs[0], inputs[1], inputs[2:]
        check_constant_indices(x, indices)
        expected = (*broadcast_shapes_of(*indices), *x.type.shape[len(indices) :])
        if len(expected) != y.ndim or any(
            isinstance(a, int) and isinstance(b, int) and a != b
            for a, b in zip(expected, y.type.shape, strict=True)
        ):
            raise ShapeError(f"scatter into {x.type} at {expected} got values {y.type}")
        for a, b in zip(expected, y.type.shape, strict=True):
            must_equal(a, b)
        return x.type

    def numpy(self, node: Node, *arrays: np.ndarray) -> np.ndarray:
        out = arrays[0].copy()
        if node.params.mode == "set":
            out[tuple(arrays[2:])] = arrays[1]
        else:
            np.add.at(out, tuple(arrays[2:]), arrays[1])
        return out

    def statements(self, low: Any, node: Node, out: Any) -> None:
        low.copy(node, out, 0)
        low.scatter(node, out, node.inputs[2:], "sum" if node.params.mode == "add" else "")

    def checks(self, low: Any, node: Node) -> None:
        low.check_indices(node, node.inputs[0], node.inputs[2:])

    @staticmethod
    def transpose(o: Namespace, node: Node, k: int, g: Node) -> Node:
        x, y, indices = node.inputs[0], node.inputs[1], node.inputs[2:]
        if k == 0:
            if node.params.mode == "add":
                return g
            return Scatter.instance(g, o.zeros_like(y), *indices, mode="set")
        taken = Gather.instance(g, *indices)
        if node.params.mode == "add":
            return taken
        # Only the last of duplicate writes reached the result.
        block = broadcast_shapes_of(*indices)
        number = o.reshape(o.iota((product(block),)), block)
        whole = o.zeros(x.type.shape[: len(indices)], INT64)
        winner = o.eq(
            Gather.instance(Scatter.instance(whole, number, *indices, mode="set"), *indices), number
        )
        winner = o.expand_dims(winner, tuple(range(winner.ndim, y.ndim)))
        return o.where(winner, taken, o.zeros((), g.dtype))

    @staticmethod
    def jvp(o: Namespace, node: Node, tangents: tuple[Any, ...]) -> Node:
        dx, dy = (
            o.zeros_like(x) if t is None else t
            for x, t in zip(node.inputs[:2], tangents[:2], strict=True)
        )
        return Scatter.instance(dx, dy, *node.inputs[2:], mode=node.params.mode)

    def batch(
        self, o: Namespace, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> Any:
        n = next(v.type.shape[a] for v, a in zip(inputs, axes, strict=True) if a is not None)
        x, y = _both_batched(o, [*inputs[:2], o.iota((n,))], [*axes[:2], 0])[:2]
        block = y.ndim - 1 - (node.inputs[0].ndim - len(inputs[2:]))
        indices = [
            v if a is None else batch_front(o, v, a, block)
            for v, a in zip(inputs[2:], axes[2:], strict=True)
        ]
        return self(x, y, o.iota((n,) + (1,) * block, 0), *indices, mode=node.params.mode), 0


# -- x[key] -------------------------------------------------------------------------------------
class Key(NamedTuple):
    """A parsed index: slices of every axis, axes to drop and insert, integer arrays left over."""

    starts: tuple[Size, ...]
    steps: tuple[int, ...]
    lengths: tuple[Size, ...]
    drop: tuple[int, ...]  # axes of the slice that an integer removed
    insert: tuple[int, ...]  # axes of the result that None inserted
    arrays: dict[int, Node]  # axis of the basic result -> integer array
    moving: dict[int, Node]  # axis of the basic result -> positions of a slice with a moving start
    mask: Node | None


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


def _out_of_bounds(x: Node, axis: int, i: int, n: int) -> BoundsError:
    return BoundsError(
        f"index {i} is out of bounds for axis {axis} of `{describe(x)}` with size {n}\n"
        f"  input:  {x.type}, made at {x.source}\n"
        f"  mend:   indices of this axis lie in [{-n}, {n})"
    )


def _integer(x: Node, axis: int, i: int, n: Size) -> Size:
    if isinstance(n, int) and not -n <= i < n:
        raise _out_of_bounds(x, axis, i, n)
    return i if i >= 0 else n + i


def _slice(x: Node, axis: int, item: slice, n: Size) -> tuple[Size, int, Size, Node | None]:
    """Return (start, step, length, None), or a whole axis and the positions of a moving slice."""
    step = 1 if item.step is None else int(item.step)
    if step == 0:
        raise ValueError("slice step cannot be zero")
    if isinstance(n, int) and not any(isinstance(v, Node) for v in (item.start, item.stop)):
        start, stop, step = item.indices(n)
        return start, step, len(range(start, stop, step)), None
    if _moves(item.start):
        length = _fixed_length(item, step)
        first = cast_to(as_node(item.start), INT64)
        return 0, 1, n, first + o.iota((length,)) * step
    if step < 0:
        if item.start is not None or item.stop is not None:
            raise SymbolicValueError("a backward slice with bounds needs an axis of known length")
        return n - 1, step, (n + (-step - 1)) // -step, None
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


def _fixed_length(item: slice, step: int) -> Size:
    """Return stop - start where the moving part cancels; raises SymbolicValueError otherwise."""
    try:
        length = as_size(item.stop) - as_size(item.start)
    except SymbolicValueError:
        length = None
    if not isinstance(length, int):
        raise SymbolicValueError(
            "the length of a slice with a computed start must be known: write x[i:i + 32], or "
            "x[i * b:(i + 1) * b] with a number b"
        )
    return (length + step - 1) // step


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
    if provably_le(1, trace.type.shape[0]):
        _final_rows[trace] = last
    return trace


@function
def getitem(x: Any, key: Any) -> Node:
    """Return x[key] with NumPy's rules: integers, slices, None, Ellipsis, integer arrays.

    An index that is out of range is an `IndexError` (at build time where known). A bool mask raises
    `SymbolicValueError`, since the shape of its result depends on data; `x[mask].set(v)` is fine.
    """
    node = as_node(x)
    first, *more = key if isinstance(key, tuple) and key else (key,)
    if node in _final_rows and isinstance(first, (int, np.integer)) and first == -1:
        last = _final_rows[node]
        found = getitem(last, tuple(more)) if more else last
        if isinstance(found, Node):
            _indexed[found] = (node, parse(node, key))
        return found
    parsed = parse(node, key)
    if parsed.mask is not None:
        result: Node = Masked(node, parsed.mask)  # type: ignore[assignment]
        return result
    result = _gathered(_basic(node, parsed), parsed)
    _indexed[result] = (node, parsed)
    return result


class Masked:
    """x[mask]: only `.set` and `.inc` have a shape that does not depend on data."""

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
        raise SymbolicValueError(
            f"`{describe(self.x)}[mask]` has a length that depends on data; use "
            "sg.where(mask, x, y), "
            "or x[mask].set(v) / x[mask].inc(v)"
        )


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
