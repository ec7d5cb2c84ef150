"""Rewrites of loops: their bodies, what they carry and keep, and loops that can run as one.

Each function takes and returns the outputs of a graph. `improve_loops` runs them in order, with the
rules of the other files on every body: results that nobody reads are dropped, values that do not
change are moved out, sums of products become one product after the loop, what needs no carry is
computed for all steps at once, the last row of a trace becomes a final state, and loops over the
same steps are merged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from symgraph.core.node import Node, new_input
from symgraph.core.op import o
from symgraph.core.source import made_from
from symgraph.core.walk import substitute, toposort
from symgraph.ops.branch import BRANCH, make_branch
from symgraph.ops.loop import FOR, LOOP, RESULT, Parts, results_of
from symgraph.rewrites.last_rows import last_rows, started
from symgraph.rewrites.merge_loops import merged
from symgraph.rewrites.opened import Opened, Results, for_all_steps, steps_index
from symgraph.rewrites.recurrences import without_loop

MOST_HELD = 256  # elements of an outer product that a loop adds up in registers
Optimise = Callable[[Sequence[Node]], list[Node]]


class Rules:
    """What is done to bodies, and which loops have been improved.

    Bodies are closed, so the loops in a body are the same whenever it is opened again: each is
    improved once, however deep it lies.
    """

    def __init__(self, optimise: Optimise, strict: bool) -> None:
        self.optimise, self.strict = optimise, strict
        self.improved: set[Any] = set()  # the parameters of loops that are at their best


def improve_loops(
    outputs: Sequence[Node], optimise: Optimise, strict: bool = False
) -> list[Node]:
    """Return outputs of the same values whose loops do less per step.

    `optimise` is for bodies; `strict`: only rewrites that give the same bits.
    """
    return _improve(outputs, Rules(optimise, strict))


def _improve(outputs: Sequence[Node], rules: Rules) -> list[Node]:
    outputs = branches(list(outputs), rules)
    for change in (last_rows, lambda x: improved_bodies(x, rules), merged, last_rows):
        outputs = rules.optimise(change(outputs))
    return improved_bodies(outputs, rules)


def branches(outputs: list[Node], rules: Rules) -> list[Node]:
    """Optimise the sides of branches; what is computed outside in any case is taken from there."""
    done: set[Node] = set()
    while True:
        order = toposort(outputs)
        node = next((n for n in reversed(order) if n.op is BRANCH and n not in done), None)
        if node is None:
            return outputs
        inside = [body.apply(node.inputs[1:]) for body in node.params]
        count = len(inside[0])
        roots = _optimised_within([*inside[0], *inside[1]], order, rules)
        new = make_branch(node.inputs[0], roots[:count], roots[count:], order)
        outputs = substitute(outputs, dict(zip(results_of(node), new, strict=True)))
        done |= {node, new[0].inputs[0]}


def _optimised_within(
    roots: Sequence[Node], around: Sequence[Node], rules: Rules
) -> list[Node]:
    """Return what sides compute at its best; loops around are left as they are.

    Improved once more they would be other loops than those around, and be done again in the sides.
    """
    outside = set(around)
    held = {
        n: new_input(n.dtype, n.type.shape, n.name)
        for n in toposort(roots)
        if n.op is RESULT and n.inputs[0] in outside
    }
    found = _optimised(substitute(roots, held), rules)
    return substitute(found, {v: n for n, v in held.items()})


def _optimised(roots: Sequence[Node], rules: Rules) -> list[Node]:
    """Return the outputs of a body at their best, its own loops and branches included."""
    if any(n.op.compound for n in toposort(roots)):
        return _improve(roots, rules)
    return rules.optimise(roots)


# -- one loop ------------------------------------------------------------------------------------
def improved_bodies(outputs: Sequence[Node], rules: Rules) -> list[Node]:
    """Optimise every body, and drop, move out and simplify what its results allow."""
    outputs = list(outputs)
    seen: set[Node] = set()
    while True:
        order = toposort(outputs)
        found = [n for n in order if n.op is LOOP and n not in seen]
        if not found:
            return outputs
        loop = found[-1]
        seen.add(loop)
        used = {n.params.index for n in order if n.op is RESULT and n.inputs[0] is loop}
        if loop.params in rules.improved and _all_used(loop, used):
            continue
        with made_from(loop.source):
            if loop.params.length == 0:
                new = _no_steps(loop)
            elif loop.params.kind == FOR and loop.params.length == 1:
                new = _single_step(loop)
            else:
                new = _improved(loop, used, rules)
        outputs = substitute(outputs, new)
        made = {n.inputs[0] for n in new.values() if n.op is RESULT}
        seen |= made
        rules.improved |= {n.params for n in made if n.op is LOOP}


def _all_used(loop: Node, used: set[int]) -> bool:
    """Tell whether all traces of a loop are read."""
    return used.issuperset(range(loop.params.n_carries, steps_index(loop)))


def _no_steps(loop: Node) -> dict[Node, Node]:
    """A loop of no steps ends as it starts."""
    kinds = loop.op.result_types(loop)  # type: ignore[attr-defined]
    traces = [o.zeros(t.shape, t.dtype) for t in kinds[loop.params.n_carries : -1]]
    results = [*Parts.of(loop).initial, *traces, o.dim_value(0)]
    return {RESULT(loop, index=k): new for k, new in enumerate(results)}


def _single_step(loop: Node) -> dict[Node, Node]:
    """A loop of one step is its body."""
    p = Parts.of(loop)
    values = [o.dim_value(0), *(x[0] for x in p.sequences), *p.initial, *p.constants]
    found = loop.params.body.apply(values)
    count = loop.params.n_carries
    rows = [o.expand_dims(row, 0) for row in found[count:]]
    results = [*found[:count], *rows, o.dim_value(1)]
    return {RESULT(loop, index=k): new for k, new in enumerate(results)}


def _improved(loop: Node, used: set[int], rules: Rules) -> dict[Node, Node]:
    opened = Opened(loop)
    _drop_unused(opened, used)
    opened.set_roots(_optimised(opened.roots(), rules))
    _drop_unused(opened, used)
    _constant_carries(opened, used)
    if loop.params.kind == FOR and not rules.strict:
        started(opened)
    if loop.params.kind == FOR and not without_loop(opened, rules.strict):
        if not rules.strict:  # another order of the sum
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


def _constant_carries(opened: Opened, used: set[int]) -> None:
    """A carry that no step changes is a constant.

    A loop without a limit of which only such are wanted stays as it is: it may never end, and then
    they have no value.
    """
    while True:
        still = {k: c for k, c in opened.carries.items() if c[2] is c[0] or c[2] is c[1]}
        endless = opened.params.length is None and used <= opened.instead.keys() | still.keys()
        if not still or endless:
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
    start = first(result)
    products = [_stacked_product(result(a), result(b)) for a, b in pairs]
    return _total([start, *(o.sum_to(x, start) for x in products)])


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
    """Return the factors of a product of matrices if stacking them pays, None otherwise.

    Sums over axes that a size found at run time may have broadcast are taken of the product.
    """
    if term.op.name == "sum_to" and term.ndim == term.inputs[0].ndim:
        return _factors(term.inputs[0])
    if term.op.name == "permute_dims" and term.ndim == 2:
        found = _factors(term.inputs[0])
        if found is None or term.params.axes != (1, 0):
            return found
        a, b = found
        return (b, a) if a.ndim == 1 else (o.matrix_transpose(b), o.matrix_transpose(a))
    if term.op.name == "mul" and term.ndim == 2:
        return _column_and_row(term)
    if term.op.name != "matmul" or term.ndim != 2:
        return None
    a, b = term.inputs
    (p, m), q = a.type.shape, b.type.shape[1]
    if all(isinstance(n, int) for n in (p, m, q)) and m * (p + q) >= 2 * p * q:
        return None
    return a, b


def _column_and_row(term: Node) -> tuple[Node, Node] | None:
    """Return the vectors of an outer product in which a gradient of x @ w adds up.

    One of few elements stays in registers: it is dearer to store its factors.
    """
    p, q = term.type.shape
    if isinstance(p, int) and isinstance(q, int) and p * q <= MOST_HELD:
        return None
    for column, row in (term.inputs, term.inputs[::-1]):
        if column.type.shape == (p, 1) and row.type.shape in ((q,), (1, q)) and 1 not in (p, q):
            a, b = _vector(column), _vector(row)
            return None if a is None or b is None else (a, b)
    return None


def _vector(x: Node) -> Node | None:
    """Return the vector that `x` shows with axes of length 1."""
    while x.ndim > 1 and x.op.name in ("expand_dims", "permute_dims", "reshape"):
        (x,) = x.inputs
    return x if x.ndim == 1 else None


def _stacked_product(a: Node, b: Node) -> Node:
    """Return sum_t a[t] @ b[t] as one product: a (T, p, m), b (T, m, q) -> (p, q).

    Vectors (T, p) and (T, q) are columns and rows: m is 1.
    """
    if a.ndim == 2:
        return o.matmul(o.matrix_transpose(a), b)
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
    held = moving | _of_the_step(opened)
    for k, row in list(opened.rows.items()):
        if row in inside and row in held:
            continue
        below = toposort([row], stop=inside.__contains__)
        own = [n for n in below if n not in inside]
        free = row not in moving
        if any(n.op.compound or n.op.opaque for n in own):
            continue
        if not free and not any(n.op.loops for n in own):
            continue
        traces = [n for n in below if n in inside and n in held]
        if len(traces) > 3:
            continue
        keys = {n: opened.row(n) for n in traces}
        del opened.rows[k]
        opened.instead[k] = partial(_over_traces, opened, row, keys)


def _of_the_step(opened: Opened) -> set[Node]:
    """Return what only the step can compute: random draws, inner loops, what depends on them."""
    found = {n for n in toposort(opened.roots()) if n.op.compound or n.op.opaque}
    for n in toposort(opened.roots()):
        if not found.isdisjoint(n.inputs):
            found.add(n)
    return found


def _over_traces(opened: Opened, row: Node, keys: dict[Node, Any], result: Results) -> Node:
    return for_all_steps(opened, row, {n: (result(key), 0) for n, key in keys.items()})


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
        opened.sequences[fresh] = for_all_steps(opened, n, {})
        mapping[n] = fresh
    if mapping:
        opened.set_roots(substitute(opened.roots(), mapping))
