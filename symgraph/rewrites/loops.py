"""Rewrites of loops: their bodies, what they carry and keep, and loops that can run as one.

Each function takes and returns the outputs of a graph. `improve_loops` runs them in order, with the
rules of the other files on every body: results that nobody reads are dropped, values that do not
change are moved out, sums of products become one product after the loop, what needs no carry is
computed for all steps at once, the last row of a trace becomes a final state, and loops over the
same steps are merged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from symgraph.core.node import CONSTANT, Node, new_input
from symgraph.core.op import o
from symgraph.core.source import made_from
from symgraph.core.vectorise import Batched, vectorise
from symgraph.core.walk import substitute, toposort
from symgraph.dims.dim import provably_le
from symgraph.ops.branch import BRANCH, make_branch
from symgraph.ops.loop import FOR, LOOP, RESULT, WHILE, Parts, loops, make_loop, results_of

Optimise = Callable[[Sequence[Node]], list[Node]]


def improve_loops(outputs: Sequence[Node], optimise: Optimise) -> list[Node]:
    """Return outputs of the same values whose loops do less per step; `optimise` is for bodies."""
    outputs = branches(list(outputs), optimise)
    for change in (last_rows, lambda x: improved_bodies(x, optimise), merged, last_rows):
        outputs = optimise(change(outputs))
    return improved_bodies(outputs, optimise)


Results = Callable[[Any], Node]


def branches(outputs: list[Node], optimise: Optimise) -> list[Node]:
    """Optimise the sides of branches; what is computed outside in any case is taken from there."""
    done: set[Node] = set()
    while True:
        order = toposort(outputs)
        node = next((n for n in reversed(order) if n.op is BRANCH and n not in done), None)
        if node is None:
            return outputs
        inside = [body.apply(node.inputs[1:]) for body in node.params]
        count = len(inside[0])
        roots = [*inside[0], *inside[1]]
        roots = improve_loops(roots, optimise) if has_compounds(roots) else optimise(roots)
        new = make_branch(node.inputs[0], roots[:count], roots[count:], order)
        outputs = substitute(outputs, dict(zip(results_of(node), new, strict=True)))
        done |= {node, new[0].inputs[0]}


def has_compounds(outputs: Sequence[Node]) -> bool:
    """Tell whether there are loops or branches to improve."""
    return any(n.op.compound for n in toposort(outputs))


class Opened:
    """A loop with its body over variables of its own, to be changed and built again.

    Carries and rows have keys: those that were there the numbers of their results.
    """

    def __init__(self, node: Node) -> None:
        self.node, self.params = node, node.params
        p = Parts.of(node)
        variables, outputs = node.params.body.open()
        p.set_body(node.params, variables, outputs)
        fill = dict(zip(p.fixed, p.constants, strict=True))
        roots = substitute([*p.next, *p.rows, *([] if p.go_on is None else [p.go_on])], fill)
        n = len(p.carries)
        self.step, self.header = p.step, p.header
        self.go_on = None if p.go_on is None else roots.pop()
        self.sequences = dict(zip(p.elements, p.sequences, strict=True))
        # key -> (variable, initial value, next value)
        self.carries: dict[Any, tuple[Node, Node, Node]] = {
            k: c for k, c in enumerate(zip(p.carries, p.initial, roots[:n], strict=True))
        }
        self.rows: dict[Any, Node] = dict(enumerate(roots[n:], n))
        # results that are computed from others (or from none), given a function key -> result
        self.instead: dict[int, Callable[[Results], Node]] = {}
        self.updates: list[tuple[Node, Any]] = list(node.params.updates)

    def roots(self) -> list[Node]:
        """Return all that a step computes."""
        found = [*(new for _, _, new in self.carries.values()), *self.rows.values()]
        return found if self.go_on is None else [*found, self.go_on]

    def set_roots(self, roots: Sequence[Node]) -> None:
        """Replace what a step computes by equal values."""
        left = iter(roots)
        self.carries = {k: (x, start, next(left)) for k, (x, start, _) in self.carries.items()}
        self.rows = {k: next(left) for k in self.rows}
        if self.go_on is not None:
            self.go_on = next(left)

    def row(self, value: Node) -> Any:
        """Return the key of a trace of `value`; a new one where there is none."""
        for k, row in self.rows.items():
            if row is value:
                return k
        key = f"row{len(self.rows)}"
        self.rows[key] = value
        return key

    def moving(self) -> set[Node]:
        """Return the nodes that depend on carries."""
        found = {x for x, _, _ in self.carries.values()}
        for n in toposort(self.roots()):
            if any(i in found for i in n.inputs):
                found.add(n)
        return found

    def build(self) -> dict[Node, Node]:
        """Return the loop's old results and what they are now."""
        return self.build_with({})[0]

    def build_with(self, keys: Mapping[Any, Any]) -> tuple[dict[Node, Node], dict[Any, Node]]:
        """Return the same, and the result of each key among the values of `keys`."""
        places: dict[Any, Node] = {}
        if self.carries or self.rows or self.go_on is not None:
            loop = self._loop()
            order = (*self.carries, *self.rows, "steps")
            places = {k: RESULT(loop, index=place) for place, k in enumerate(order)}
        else:
            places["steps"] = self._steps()
        count = _steps_index(self.node)
        found = {k: places[k] for k in places if isinstance(k, int)} | {count: places["steps"]}
        for k, value in self.instead.items():
            found[k] = value(lambda key: places[key] if key in places else found[key])
        old = {RESULT(self.node, index=k): new for k, new in found.items()}
        return old, {name: places[key] for name, key in keys.items()}

    def _steps(self) -> Node:
        """Return how many steps a loop does that need not be run to know it."""
        length = self.params.length
        if self.header is None:
            return o.dim_value(length)
        least = o.maximum(self.header, 0)
        return least if length is None else o.minimum(least, o.dim_value(length))

    def _loop(self) -> Node:
        used = set(toposort(self.roots()))
        sequences = {x: array for x, array in self.sequences.items() if x in used}
        updates = [
            (target, list(self.carries).index(k))
            for target, k in self.updates
            if k in self.carries
        ]
        return make_loop(
            [self.step, *sequences, *(x for x, _, _ in self.carries.values())],
            [new for _, _, new in self.carries.values()],
            list(self.rows.values()),
            list(sequences.values()),
            [start for _, start, _ in self.carries.values()],
            self.params.length,
            self.header,
            self.go_on,
            self.params.reverse,
            updates,
            self.params.recompute,
        )


# -- one loop ------------------------------------------------------------------------------------
def improved_bodies(outputs: Sequence[Node], optimise: Optimise) -> list[Node]:
    """Optimise every body, and drop, move out and simplify what its results allow."""
    outputs = list(outputs)
    done: set[Node] = set()
    while True:
        order = toposort(outputs)
        loop = next((n for n in reversed(order) if n.op is LOOP and n not in done), None)
        if loop is None:
            return outputs
        used = {n.params.index for n in order if n.op is RESULT and n.inputs[0] is loop}
        with made_from(loop.source):
            single = loop.params.kind == FOR and loop.params.length == 1
            new = _single_step(loop) if single else _improved(loop, used, optimise)
        outputs = substitute(outputs, new)
        done |= {loop, *(n.inputs[0] for n in new.values() if n.op is RESULT)}


def _single_step(loop: Node) -> dict[Node, Node]:
    """A loop of one step is its body."""
    p = Parts.of(loop)
    values = [o.dim_value(0), *(x[0] for x in p.sequences), *p.initial, *p.constants]
    found = loop.params.body.apply(values)
    count = loop.params.n_carries
    rows = [o.expand_dims(row, 0) for row in found[count:]]
    results = [*found[:count], *rows, o.dim_value(1)]
    return {RESULT(loop, index=k): new for k, new in enumerate(results)}


def _improved(loop: Node, used: set[int], optimise: Optimise) -> dict[Node, Node]:
    opened = Opened(loop)
    _drop_unused(opened, used)
    roots = opened.roots()
    opened.set_roots(improve_loops(roots, optimise) if has_compounds(roots) else optimise(roots))
    _drop_unused(opened, used)
    _constant_carries(opened)
    if loop.params.kind == FOR:
        _products_of_sums(opened)
        _rows_after(opened)
        _rows_before(opened)
    _equal_rows(opened)
    return opened.build()


def _drop_unused(opened: Opened, used: set[int]) -> None:
    """Keep the carries and rows that a used result, or the condition to go on, depends on."""
    opened.rows = {k: row for k, row in opened.rows.items() if k in used}
    kept = {k for k in opened.carries if k in used}
    while True:
        roots = [*(opened.carries[k][2] for k in kept), *opened.rows.values()]
        roots += [] if opened.go_on is None else [opened.go_on]
        below = set(toposort(roots))
        more = {k for k, (x, _, _) in opened.carries.items() if x in below} - kept
        if not more:
            break
        kept |= more
    opened.carries = {k: c for k, c in opened.carries.items() if k in kept}


def _constant(value: Node, result: Results) -> Node:
    return value


def _looked_up(key: Any, result: Results) -> Node:
    return result(key)


def _constant_carries(opened: Opened) -> None:
    """A carry that no step changes is a constant."""
    while True:
        still = {k: c for k, c in opened.carries.items() if c[2] is c[0] or c[2] is c[1]}
        if not still:
            return
        for k, (_, start, _) in still.items():
            del opened.carries[k]
            opened.instead[k] = partial(_constant, start)
        opened.set_roots(substitute(opened.roots(), {x: start for x, start, _ in still.values()}))


def _equal_rows(opened: Opened) -> None:
    """Two traces of the same value are one."""
    first: dict[Node, Any] = {}
    for k, row in list(opened.rows.items()):
        if row in first:
            del opened.rows[k]
            opened.instead[k] = partial(_looked_up, first[row])
        else:
            first[row] = k


# -- sums of products ----------------------------------------------------------------------------
def _products_of_sums(opened: Opened) -> None:
    """c += a_t @ b_t becomes one product of the stacked factors, after the loop."""
    for k, (x, start, new) in list(opened.carries.items()):
        terms = _terms(new)
        if terms.count(x) != 1:
            continue
        others = [t for t in terms if t is not x]
        rest = [r for r in opened.roots() if r is not new]
        if x in toposort([*others, *rest]) or opened.roots().count(new) > 1:
            continue
        products = [f for f in map(_factors, others) if f is not None]
        if not products:
            continue
        sums = [t for t in others if _factors(t) is None]
        pairs = [(opened.row(a), opened.row(b)) for a, b in products]
        if sums:
            inner = ("sum", k)
            del opened.carries[k]
            opened.carries[inner] = (x, start, _total([x, *sums]))
            opened.instead[k] = partial(_with_products, partial(_looked_up, inner), pairs)
        else:
            del opened.carries[k]
            opened.instead[k] = partial(_with_products, partial(_constant, start), pairs)


def _with_products(
    first: Callable[[Results], Node], pairs: Sequence[tuple[Any, Any]], result: Results
) -> Node:
    products = [_stacked_product(result(a), result(b)) for a, b in pairs]
    return _total([first(result), *products])


def _total(terms: Sequence[Node]) -> Node:
    total = terms[0]
    for t in terms[1:]:
        total = o.add(total, t)
    return total


def _terms(x: Node) -> list[Node]:
    """Return the terms of a sum."""
    if x.op.name == "add" and all(i.type.shape == x.type.shape for i in x.inputs):
        return [t for i in x.inputs for t in _terms(i)]
    return [x]


def _factors(term: Node) -> tuple[Node, Node] | None:
    """Return the factors of a product of matrices if stacking them pays, None otherwise."""
    if term.op.name == "permute_dims" and term.ndim == 2:
        found = _factors(term.inputs[0])
        if found is None or term.params.axes != (1, 0):
            return found
        return o.matrix_transpose(found[1]), o.matrix_transpose(found[0])
    if term.op.name != "matmul" or term.ndim != 2:
        return None
    a, b = term.inputs
    (p, m), q = a.type.shape, b.type.shape[1]
    if all(isinstance(n, int) for n in (p, m, q)) and m * (p + q) >= 2 * p * q:
        return None
    return a, b


def _stacked_product(a: Node, b: Node) -> Node:
    """Return sum_t a[t] @ b[t] as one product: a (T, p, m), b (T, m, q) -> (p, q)."""
    steps, p, m = a.type.shape
    q = b.type.shape[2]
    left = o.reshape(o.permute_dims(a, (1, 0, 2)), (p, steps * m))
    return o.matmul(left, o.reshape(b, (steps * m, q)))


# -- all steps at once ---------------------------------------------------------------------------
def _rows_after(opened: Opened) -> None:
    """Rows that feed no carry, and are dear, are computed from traces after the loop.

    Rows that depend on no carry at all are computed outside of it whatever they cost.
    """
    carried = toposort([new for _, _, new in opened.carries.values()])
    inside = {*carried, *(x for x, _, _ in opened.carries.values())}
    moving = opened.moving()
    for k, row in list(opened.rows.items()):
        if row in inside and row in moving:
            continue
        below = toposort([row], stop=inside.__contains__)
        own = [n for n in below if n not in inside]
        free = row not in moving
        if any(n.op.compound or n.op.opaque for n in own):
            continue
        if not free and not any(n.op.loops for n in own):
            continue
        traces = [n for n in below if n in inside and n in moving]
        if len(traces) > 3:
            continue
        keys = {n: opened.row(n) for n in traces}
        del opened.rows[k]
        opened.instead[k] = partial(_over_traces, opened, row, keys)


def _over_traces(opened: Opened, row: Node, keys: dict[Node, Any], result: Results) -> Node:
    return _for_all_steps(opened, row, {n: (result(key), 0) for n, key in keys.items()})


def _rows_before(opened: Opened) -> None:
    """Products of what needs no carry are computed for all steps before the loop."""
    moving = opened.moving()
    varying = {opened.step, *opened.sequences}
    order = toposort(opened.roots())
    for n in order:
        if n not in moving and any(i in varying for i in n.inputs):
            varying.add(n)
    dear: set[Node] = set()
    for n in order:
        if n in varying and not n.op.is_leaf and (
            n.op.loops or any(i in dear for i in n.inputs)
        ):
            dear.add(n)
    roots = set(opened.roots())
    top = [
        n for n in order
        if n in dear and (n in roots or any(n in u.inputs and u not in dear for u in order))
    ]
    mapping: dict[Node, Node] = {}
    for n in top:
        if any(m.op.compound or m.op.opaque for m in toposort([n]) if m in varying):
            continue
        fresh = new_input(n.dtype, n.type.shape, n.name)
        opened.sequences[fresh] = _for_all_steps(opened, n, {})
        mapping[n] = fresh
    if mapping:
        opened.set_roots(substitute(opened.roots(), mapping))


def _for_all_steps(opened: Opened, value: Node, traces: Mapping[Node, Batched]) -> Node:
    """Return a value of the body for every step, along a new first axis."""
    steps = o.arange(opened.params.length)
    batches: dict[Node, Batched] = {opened.step: (steps, 0)}
    batches |= {x: (array, 0) for x, array in opened.sequences.items()}
    ((node, axis),) = vectorise([value], {**batches, **traces})
    if axis is None:
        return o.broadcast_to(node, (opened.params.length, *node.type.shape))
    return node if axis == 0 else o.moveaxis(node, axis, 0)


# -- final states instead of traces --------------------------------------------------------------
def last_rows(outputs: Sequence[Node]) -> list[Node]:
    """Where of a trace only the last row is read, carry it instead of storing all."""
    outputs = list(outputs)
    order = toposort(outputs)
    users: dict[Node, list[Node]] = {}
    for n in order:
        for i in n.inputs:
            users.setdefault(i, []).append(n)
    plain = set(outputs)
    wanted: dict[Node, list[Node]] = {}
    for n in order:
        if n.op is RESULT and n.inputs[0].op is LOOP and n not in plain:
            loop = n.inputs[0]
            if n.params.index >= loop.params.n_carries and all(
                _reads_last(u, loop.params) for u in users.get(n, [])
            ):
                wanted.setdefault(loop, []).append(n)
    for loop, traces in wanted.items():
        if loop.params.kind != FOR or not _some_steps(loop.params.length):
            continue
        opened = Opened(loop)
        keys = {}
        for trace in traces:
            if trace.params.index in opened.rows:
                keys[trace] = _final(opened, trace.params.index)
        if not keys:
            continue
        found = opened.build_with(keys)
        mapping = dict(found[0])
        for trace, final in found[1].items():
            for u in users[trace]:
                mapping[u] = o.expand_dims(final, 0)
        return last_rows(substitute(outputs, mapping))
    return outputs


def _some_steps(length: Any) -> bool:
    return bool(provably_le(1, length))


def _reads_last(user: Node, params: Any) -> bool:
    if user.op.name != "slice":
        return False
    lengths, starts = user.params.lengths, user.params.starts
    whole = user.inputs[0].type.shape[1:]
    if lengths[0] != 1 or tuple(lengths[1:]) != tuple(whole) or any(s != 0 for s in starts[1:]):
        return False
    return bool(starts[0] == (0 if params.reverse else params.length - 1))


def _final(opened: Opened, k: int) -> Any:
    """Return the key of a carry that ends as the last row of trace k."""
    row = opened.rows[k]
    for key, (_, _, new) in opened.carries.items():
        if new is row:
            return key
    variable = new_input(row.dtype, row.type.shape, row.name)
    key = ("last", k)
    opened.carries[key] = (variable, o.zeros(row.type.shape, row.dtype), row)
    return key


# -- several loops as one ------------------------------------------------------------------------
def merged(outputs: Sequence[Node]) -> list[Node]:
    """Run loops over the same steps as one, where neither needs the other's results."""
    outputs = list(outputs)
    while True:
        found = loops(outputs)
        below = {n: set(toposort([n])) for n in found}
        pair = next(
            (
                (a, b)
                for j, b in enumerate(found)
                for a in found[:j]
                if _mergeable(a, b) and a not in below[b] and b not in below[a]
            ),
            None,
        )
        if pair is None:
            return outputs
        outputs = substitute(outputs, _merge(*pair))


def _mergeable(a: Node, b: Node) -> bool:
    """Tell whether two loops do the same number of steps, in one order, on some common input."""
    p, q = a.params, b.params
    if (p.kind, p.length, p.reverse, p.recompute) != (q.kind, q.length, q.reverse, q.recompute):
        return False
    x, y = Parts.of(a), Parts.of(b)
    if x.header is not y.header:
        return False
    if p.kind == WHILE:
        return _same_condition(a, b)
    mine = {n for n in (*x.sequences, *x.initial) if n.op is not CONSTANT}
    return any(n in mine for n in (*y.sequences, *y.initial))


def _same_condition(a: Node, b: Node) -> bool:
    first, second = Opened(a), Opened(b)
    mapping = _shared_variables(first, second)
    assert first.go_on is not None and second.go_on is not None
    return substitute([second.go_on], mapping)[0] is first.go_on


def _shared_variables(a: Opened, b: Opened) -> dict[Node, Node]:
    """Return the variables of b that are those of a: same sequence, or a carry that stays equal."""
    mapping: dict[Node, Node] = {b.step: a.step}
    arrays = {array: x for x, array in reversed(a.sequences.items())}
    mapping |= {x: arrays[array] for x, array in b.sequences.items() if array in arrays}
    pairs = {
        kb: ka
        for kb, (_, start, _) in b.carries.items()
        for ka, (_, other, _) in a.carries.items()
        if start is other
    }
    while True:  # assume that the pairs stay equal, until no step parts them
        trial = mapping | {b.carries[kb][0]: a.carries[ka][0] for kb, ka in pairs.items()}
        nexts = substitute([b.carries[kb][2] for kb in pairs], trial)
        parted = [
            kb
            for (kb, ka), new in zip(pairs.items(), nexts, strict=True)
            if new is not a.carries[ka][2]
        ]
        if not parted:
            return trial
        for kb in parted:
            del pairs[kb]


def _merge(a: Node, b: Node) -> dict[Node, Node]:
    with made_from(a.source):
        first, second = Opened(a), Opened(b)
        mapping = _shared_variables(first, second)
        mine = {x: k for k, (x, _, _) in first.carries.items()}
        where: dict[int, Any] = {}
        new = substitute([n for _, _, n in second.carries.values()], mapping)
        for (k, (x, start, _)), value in zip(second.carries.items(), new, strict=True):
            if x in mapping:
                where[k] = mine[mapping[x]]
            else:
                where[k] = ("other", k)
                first.carries[where[k]] = (x, start, value)
        rows = substitute(list(second.rows.values()), mapping)
        for k, row in zip(second.rows, rows, strict=True):
            where[k] = ("other", k)
            first.rows[where[k]] = row
        first.sequences |= {x: s for x, s in second.sequences.items() if x not in mapping}
        first.updates += [(t, where[k]) for t, k in second.updates]
        own, others = first.build_with(where)
        found = {RESULT(b, index=k): n for k, n in others.items()}
        found[RESULT(b, index=_steps_index(b))] = own[RESULT(a, index=_steps_index(a))]
        return own | found


def _steps_index(loop: Node) -> int:
    return len(loop.params.body.outputs) - int(loop.params.kind == WHILE)
