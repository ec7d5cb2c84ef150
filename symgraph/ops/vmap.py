"""Batching as the user sees it: `sg.vmap`, and how a loop runs for a whole batch at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from symgraph.core.dtype import BOOL
from symgraph.core.errors import ShapeError
from symgraph.core.node import Node, as_node, describe, new_input
from symgraph.core.op import function, normal_axis, o
from symgraph.core.vectorise import Batched, vectorise
from symgraph.dims.dim import must_equal
from symgraph.ops.loop import COUNT, WHILE, Parts, make_loop, results_of, split_inputs


@function
def vmap(fn: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """Return a function that applies `fn` to every element of a batch, as one graph.

    `in_axes` says along which axis of each argument the batch lies (one number for all, or one per
    argument; None: the same value for every element); `out_axes` where it lies in the results (one
    number for all, or one per result). `fn` takes variables and returns one, a list, a tuple or a
    dict; it may use outer variables, take derivatives, contain scans and other vmaps. A random draw
    without batched parameters is one draw for all elements: for a draw of each, make it outside
    with the shape of the batch, and pass it as an argument.

    Raises ValueError and ShapeError where axes, their number or the sizes of the batch do not fit.

    >>> x = sg.matrix("x", dtype="float64")
    >>> w = sg.vector("w", dtype="float64")
    >>> each = sg.vmap(lambda row: sg.grad(sg.tanh(row @ w), w))(x)  # per-example gradients
    >>> each.eval({x: np.zeros((2, 3)), w: np.ones(3)}).shape
    (2, 3)
    """

    def batched(*args: Any) -> Any:
        nodes = [as_node(a) for a in args]
        given = [in_axes] * len(nodes) if in_axes is None or isinstance(in_axes, int) else in_axes
        if len(given) != len(nodes):
            raise ValueError(
                f"vmap: in_axes has {len(given)} entries for {len(nodes)} arguments\n"
                "  mend:   give one axis (or None) for each argument, or one number for all"
            )
        axes = [_axis(x, a, k) for k, (x, a) in enumerate(zip(nodes, given, strict=True))]
        size = _batch_size(nodes, axes)
        elements = [
            x if a is None else _without_axis(x, a) for x, a in zip(nodes, axes, strict=True)
        ]
        batches = {
            e: (x, a)
            for e, x, a in zip(elements, nodes, axes, strict=True)
            if a is not None
        }
        return _mapped(fn(*elements), batches, size, out_axes)

    return batched


def _axis(x: Node, axis: int | None, k: int) -> int | None:
    if axis is None:
        return None
    if x.ndim == 0:
        raise ShapeError(
            f"vmap: argument {k}, `{describe(x)}`, is a scalar and has no axis {axis}\n"
            "  mend:   in_axes=None for an argument that is the same for all"
        )
    return normal_axis(axis, x.ndim, f"vmap, argument {k}")


def _batch_size(nodes: Sequence[Node], axes: Sequence[int | None]) -> Any:
    size: Any = None
    for x, a in zip(nodes, axes, strict=True):
        if a is None:
            continue
        n = x.type.shape[a]
        if isinstance(n, int) and isinstance(size, int) and n != size:
            raise ShapeError(
                f"vmap: the batch has {size} elements in one argument, but `{describe(x)}` of type "
                f"{x.type} has {n} along axis {a}"
            )
        if size is not None:
            must_equal(size, n)
        size = n if size is None or isinstance(n, int) else size
    if size is None:
        raise ValueError(
            "vmap needs at least one argument with an axis\n"
            "  mend:   in_axes=0 for an argument that holds the batch along its first axis"
        )
    return size


def _without_axis(x: Node, axis: int) -> Node:
    shape = (*x.type.shape[:axis], *x.type.shape[axis + 1 :])
    element = new_input(x.dtype, shape, x.name and f"{x.name}[i]")
    if x.test_value is not None and x.test_value.shape[axis]:
        element.test_value = x.test_value.take(0, axis)
    return element


def _mapped(value: Any, batches: Mapping[Node, Batched], size: Any, out_axes: Any) -> Any:
    """Return results of the user's function for the whole batch, in the same structure."""
    if isinstance(value, Mapping):
        mapped = _mapped(list(value.values()), batches, size, out_axes)
        return dict(zip(value, mapped, strict=True))
    outputs = [as_node(v) for v in (value if isinstance(value, (list, tuple)) else [value])]
    places = [out_axes] * len(outputs) if isinstance(out_axes, int) else out_axes
    if not isinstance(places, (list, tuple)) or len(places) != len(outputs):
        raise ValueError(
            f"vmap: out_axes is {out_axes!r} for {len(outputs)} results\n"
            "  mend:   give one number for each result, or one for all"
        )
    found = []
    for (node, axis), place in zip(vectorise(outputs, batches), places, strict=True):
        whole = _at_front(node, axis, size)
        front = normal_axis(place, whole.ndim, "vmap, out_axes")
        found.append(o.moveaxis(whole, 0, front) if front else whole)
    return type(value)(found) if isinstance(value, (list, tuple)) else found[0]


def _at_front(node: Node, axis: int | None, size: Any) -> Node:
    """Return a value with the batch along its first axis."""
    if axis is None:
        return o.broadcast_to(node, (size, *node.type.shape))
    return node if axis == 0 else o.moveaxis(node, axis, 0)


# -- loops ---------------------------------------------------------------------------------------
@function
def batched_loop(node: Node, inputs: Sequence[Node], axes: Sequence[int | None]) -> list[Batched]:
    """Return each result of a loop for a whole batch of some of its inputs."""
    return _BatchedLoop(node, inputs, axes).results()


class _BatchedLoop:
    """The loop that carries a whole batch from step to step."""

    def __init__(
        self, node: Node, inputs: Sequence[Node], axes: Sequence[int | None]
    ) -> None:
        self.node, self.params = node, node.params
        self.size = next(
            x.type.shape[a] for x, a in zip(inputs, axes, strict=True) if a is not None
        )
        self.p = Parts.of(node)
        variables, outputs = node.params.body.open()
        self.p.set_body(node.params, variables, outputs)
        self.header, self.sequences, self.initial, self.constants = split_inputs(
            list(zip(inputs, axes, strict=True)), node.params
        )
        self.fresh: dict[Node, Node] = {}
        self.moves = [axis is not None for _, axis in self.initial]
        self.counting = {place for target, place, by in node.params.updates if by is target}
        self.step_outputs = self._fixpoint()

    def _fixpoint(self) -> list[Batched]:
        """Return what the body computes; a carry is batched if it starts so or becomes so."""
        p = self.p
        while True:
            batches: dict[Node, Batched] = {}
            for x, (_, axis) in zip(p.elements, self.sequences, strict=True):
                if axis is not None:
                    batches[x] = (self._wide(x), 0)
            for x, moves in zip(p.carries, self.moves, strict=True):
                if moves:
                    batches[x] = (self._wide(x), 0)
            batches |= dict(zip(p.fixed, self.constants, strict=True))
            go_on = [] if p.go_on is None else [p.go_on]
            found = vectorise([*p.next, *p.rows, *go_on], batches)
            parted = self._parted(found)
            now = [
                m or (parted and k not in self.counting) or axis is not None
                for k, (m, (_, axis)) in enumerate(zip(self.moves, found, strict=False))
            ]
            if now == self.moves:
                return found
            self.moves = now

    def _parted(self, found: Sequence[Batched]) -> bool:
        """Tell whether elements of the batch end after different numbers of steps."""
        header = self.header is not None and self.header[1] is not None
        return header or (self.p.go_on is not None and found[-1][1] is not None)

    def _wide(self, x: Node) -> Node:
        if x not in self.fresh:
            self.fresh[x] = new_input(x.dtype, (self.size, *x.type.shape), x.name)
        return self.fresh[x]

    def results(self) -> list[Batched]:
        """Build the loop and return its results."""
        p, n = self.p, len(self.p.carries)
        found = self.step_outputs
        next_ = [
            _at_front(v, a, self.size) if m else v
            for m, (v, a) in zip(self.moves, found[:n], strict=True)
        ]
        traced = found[n : n + len(p.rows)]
        rows = [v if a is None else _at_front(v, a, self.size) for v, a in traced]
        row_axes: list[int | None] = [None if a is None else 1 for _, a in traced]
        carries = [self._wide(x) if m else x for x, m in zip(p.carries, self.moves, strict=True)]
        elements = [
            x if axis is None else self._wide(x)
            for x, (_, axis) in zip(p.elements, self.sequences, strict=True)
        ]
        arrays = [
            x if axis is None else o.moveaxis(x, axis, 1) for x, axis in self.sequences
        ]
        initial = [
            _at_front(x, axis, self.size) if m else x
            for m, (x, axis) in zip(self.moves, self.initial, strict=True)
        ]
        header = None if self.header is None else self.header[0]
        go_on = None if p.go_on is None else found[-1][0]
        self._check_updates()
        if self._parted(found):
            return self._masked(elements, carries, next_, rows, row_axes, arrays, initial)
        loop = self._loop(elements, carries, next_, rows, arrays, initial, header, go_on)
        *values, steps = results_of(loop)
        finals: list[Batched] = [
            (v, 0 if m else None) for v, m in zip(values, self.moves, strict=False)
        ]
        return [*finals, *zip(values[n:], row_axes, strict=True), (steps, None)]

    def _loop(
        self,
        elements: Sequence[Node],
        carries: Sequence[Node],
        next_: Sequence[Node],
        rows: Sequence[Node],
        arrays: Sequence[Node],
        initial: Sequence[Node],
        header: Node | None,
        go_on: Node | None,
    ) -> Node:
        return make_loop(
            [self.p.step, *elements, *carries],
            next_,
            rows,
            arrays,
            initial,
            self.params.length,
            header,
            go_on,
            self.params.reverse,
            self.params.updates,
            self.params.recompute,
        )

    def _check_updates(self) -> None:
        """Raise where the elements of the batch disagree on the new value of a shared variable."""
        for target, place, _ in self.params.updates:
            if self.moves[place]:
                raise ShapeError(
                    f"a scan under vmap updates `{describe(target)}` ({target.type}) with a value "
                    f"per element of the batch\n  node:   loop, made at {self.node.source}\n"
                    "  mend:   the update must not depend on what is batched, nor the number of "
                    "steps; return the value as an output instead"
                )

    def _masked(
        self,
        elements: list[Node],
        carries: list[Node],
        next_: list[Node],
        rows: list[Node],
        row_axes: list[int | None],
        arrays: list[Node],
        initial: list[Node],
    ) -> list[Batched]:
        """Go on until the last element of the batch is done; those that are done stand still."""
        assert self.header is not None
        n = len(carries)
        node, axis = self.header
        first = _at_front(node, axis, self.size)
        active: Node
        if self.params.kind == COUNT:
            active = o.gt(first, self.p.step)
            header, go_on, extra, more = o.max(o.maximum(first, 0)), None, [], []
        else:
            active = new_input(BOOL, (self.size,), "active")
            node, axis = self.step_outputs[-1]
            following = active & _at_front(node, axis, self.size)
            done = new_input("int64", (self.size,), "steps")
            extra, more = [active, done], [following, done + o.cast(active, "int64")]
            header, go_on = o.any(first), o.any(following)
            initial = [*initial, first, o.zeros((self.size,), "int64")]
        next_ = [
            _where(active, new, old) if m else new
            for m, new, old in zip(self.moves, next_, carries, strict=True)
        ]
        rows = [
            _where(active, _at_front(r, None if a is None else 0, self.size), None)
            for r, a in zip(rows, row_axes, strict=True)
        ]
        loop = self._loop(
            elements, [*carries, *extra], [*next_, *more], rows, arrays, initial, header, go_on
        )
        values = results_of(loop)
        if self.params.kind == WHILE:
            steps = values[n + 1]
        else:
            steps = o.maximum(first, 0)
            if self.params.length is not None:
                steps = o.minimum(steps, o.dim_value(self.params.length))
        last = n + len(extra)
        finals: list[Batched] = [
            (v, 0 if m else None) for m, v in zip(self.moves, values, strict=False)
        ]
        return [*finals, *((v, 1) for v in values[last:-1]), (steps, 0)]


def _where(active: Node, new: Node, old: Node | None) -> Node:
    """Choose per element of the batch; zeros where there is no old value."""
    mask = o.expand_dims(active, tuple(range(1, new.ndim))) if new.ndim > 1 else active
    return o.where(mask, new, o.zeros((), new.dtype) if old is None else old)


