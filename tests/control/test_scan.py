"""Scans against the same recurrence written out step by step: values, derivatives, native code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scan_rig import close

import symgraph as sg
from symgraph.compile import pipeline
from symgraph.ops.loop import Parts, loops

STEPS = 5


def inputs(seed: int = 0) -> dict[Any, np.ndarray]:
    """Return variables X (5, 3), h (3,), W (3, 3) of unknown sizes, with values."""
    rng = np.random.default_rng(seed)
    d = "float64"
    variables = (sg.matrix("X", dtype=d), sg.vector("h", dtype=d), sg.matrix("W", dtype=d))
    shapes = ((STEPS, 3), (3,), (3, 3))
    return {v: rng.normal(size=s) for v, s in zip(variables, shapes, strict=True)}


def agree(ours: list[Any], theirs: list[Any], values: dict[Any, np.ndarray]) -> None:
    """Compare graphs: eager against eager, native (exact and generic sizes) against eager."""
    wanted = [t.eval(values) for t in theirs]
    for a, b in zip(ours, wanted, strict=True):
        close(a.eval(values), b)
    for shapes in ("exact", "generic"):
        f = sg.function(list(values), ours, shapes=shapes, on_unused_input="ignore")
        for a, b in zip(f(*values.values()), wanted, strict=True):
            close(a, b)


def plain(X: Any, h: Any, W: Any) -> tuple[Any, Any]:
    """A recurrent layer: by scan, and written out."""
    scanned = sg.scan(lambda x, s: sg.tanh(x + s @ W), X, h)
    rows = []
    for t in range(STEPS):
        h = sg.tanh(X[t] + h @ W)
        rows.append(h)
    return scanned, sg.stack(rows)


def taps(X: Any, h: Any, W: Any) -> tuple[Any, Any]:
    """Sequence taps -1, 1 and output taps -3, -1."""
    start = sg.stack([h, 2.0 * h, h * h])
    scanned = sg.scan(
        lambda before, after, old, last: sg.sin(before * after) + 0.5 * old + last @ W,
        dict(input=X, taps=[-1, 1]),
        dict(initial=start, taps=[-3, -1]),
    )
    state = [h, 2.0 * h, h * h]
    for t in range(STEPS - 2):
        state.append(sg.sin(X[t] * X[t + 2]) + 0.5 * state[-3] + state[-1] @ W)
    return scanned, sg.stack(state[3:])


def several(X: Any, h: Any, W: Any) -> tuple[Any, Any]:
    """Two states and a mapped output."""

    def step(x: Any, a: Any, b: Any) -> list[Any]:
        new = sg.tanh(x @ W + b)
        return [new, a * sg.cos(b), (new * x).sum()]

    first, second, third = sg.scan(step, X, [h, h + 1.0, None])
    rows: list[list[Any]] = [[], [], []]
    a, b = h, h + 1.0
    for t in range(STEPS):
        a, b, c = step(X[t], a, b)
        for r, v in zip(rows, (a, b, c), strict=True):
            r.append(v)
    weight = sg.sqrt(sg.abs(third) + 1.0)
    by_hand = [sg.stack(r) for r in rows]
    other = sg.sqrt(sg.abs(by_hand[2]) + 1.0)
    return first * second * weight[:, None], by_hand[0] * by_hand[1] * other[:, None]


def backwards(X: Any, h: Any, W: Any) -> tuple[Any, Any]:
    scanned = sg.scan(lambda x, s: sg.tanh(x * s) + s @ W, X, h, go_backwards=True)
    rows = []
    for t in reversed(range(STEPS)):
        h = sg.tanh(X[t] * h) + h @ W
        rows.append(h)
    return scanned, sg.stack(rows)


def nested(X: Any, h: Any, W: Any) -> tuple[Any, Any]:
    """A loop over rows around a loop over the elements of the state."""

    def inner(x: Any, s: Any) -> Any:
        return sg.scan(lambda v, acc: sg.tanh(acc * v + x.sum()), s, x[0])

    scanned = sg.scan(lambda x, s: inner(x, s) @ W, X, h)
    rows = []
    for t in range(STEPS):
        acc, parts = X[t][0], []
        for k in range(3):
            acc = sg.tanh(acc * h[k] + X[t].sum())
            parts.append(acc)
        h = sg.stack(parts) @ W
        rows.append(h)
    return scanned, sg.stack(rows)


def last_only(X: Any, h: Any, W: Any) -> tuple[Any, Any]:
    scanned, rows = plain(X, h, W)
    return scanned[-1], rows[-1]


def folded(X: Any, h: Any, W: Any) -> tuple[Any, Any]:
    _, rows = plain(X, h, W)
    return sg.reduce(lambda x, s: sg.tanh(x + s @ W), X, h), rows[-1]


def stopped(X: Any, h: Any, W: Any) -> tuple[Any, Any]:
    """`until` after three steps: the other rows repeat the third."""
    k = sg.arange(STEPS)
    scanned = sg.scan(
        lambda i, x, s: (sg.tanh(x + s @ W), sg.until(i >= 2)), [k, X], h
    )
    rows = []
    for t in range(3):
        h = sg.tanh(X[t] + h @ W)
        rows.append(h)
    return scanned, sg.stack([*rows, rows[-1], rows[-1]])


CASES = [plain, taps, several, backwards, nested, last_only, folded, stopped]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.__name__)
def test_values_and_derivatives(case: Callable[..., Any]) -> None:
    values = inputs()
    ours, theirs = case(*values)
    agree([ours], [theirs], values)
    variables = list(values)
    costs = [(y**2).sum() for y in (ours, theirs)]
    first = [sg.grad(c, variables) for c in costs]
    agree(first[0], first[1], values)
    rng = np.random.default_rng(1)
    directions = [sg.as_tensor(rng.normal(size=v.shape)) for v in values.values()]
    pushed = [sg.Rop(y, variables, directions) for y in (ours, theirs)]
    agree([pushed[0]], [pushed[1]], values)
    second = [sg.hvp(c, variables, directions) for c in costs]
    agree(second[0], second[1], values)
    both = [sg.grad(sum((g**2).sum() for g in part), variables) for part in first]
    agree(both[0], both[1], values)


def test_debug_mode_checks_every_kernel_of_a_loop() -> None:
    values = inputs()
    scanned, rows = plain(*values)
    cost = (scanned**2).sum()
    f = sg.function(list(values), [cost, *sg.grad(cost, list(values))], mode="debug")
    close(f(*values.values())[0], (rows**2).sum().eval(values))


@pytest.mark.parametrize("last", [0, 2, STEPS, STEPS + 2])
def test_truncated_gradient(last: int) -> None:
    values = inputs()
    X, h, W = values
    scanned = sg.scan(lambda x, s: sg.tanh(x + s @ W), X, h, truncate_gradient=last)
    state, rows = h, []
    for t in range(STEPS):
        if t and t == STEPS - last:  # with all steps among the last ones nothing is cut
            state = sg.stop_gradient(state)
        state = sg.tanh(X[t] + state @ W)
        rows.append(state if t >= STEPS - last else sg.stop_gradient(state))
    agree([scanned], [sg.stack(rows)], values)
    costs = [(scanned**2).sum(), (sg.stack(rows) ** 2).sum()]
    options = {"disconnected_inputs": "ignore"}
    agree(*[sg.grad(c, list(values), **options) for c in costs], values)


def test_no_steps() -> None:
    x = sg.vector("x", dtype="float64")
    total = sg.scan(lambda v, s: s + v, x, np.float64(3))
    last = sg.foldl(lambda v, s: s + v, x, np.float64(3))
    f = sg.function([x], [total, last])
    empty = np.zeros(0)
    assert f(empty)[0].shape == (0,) and f(empty)[1] == 3.0
    assert sg.grad(last, x).eval({x: empty}).shape == (0,)
    fixed = sg.scan(lambda v, s: sg.tanh(s + v), sg.zeros((0,), "float64"), np.float64(3))
    assert not loops(pipeline.prepare([fixed], "default")) and fixed.eval().shape == (0,)


def test_the_number_of_steps_may_be_an_argument() -> None:
    n = sg.lscalar("n")
    powers = sg.scan(lambda s: 2 * s, outputs_info=np.float64(1), n_steps=n)
    f = sg.function([n], powers)
    for k in (3, 1, 0, 7, 5, 11, 6):
        np.testing.assert_array_equal(f(k), 2.0 ** np.arange(1, k + 1))


def test_map_and_foldr() -> None:
    x = sg.vector("x", dtype="float64")
    f = sg.function([x], [sg.map(lambda v: v * v, x), sg.foldr(lambda v, s: 2 * s + v, x, 0.0)])
    squares, digits = f(np.array([1.0, 2.0, 3.0]))
    close(squares, [1.0, 4.0, 9.0])
    close(digits, 1 + 2 * (2 + 2 * 3.0))


def test_while_loop_and_its_limit() -> None:
    x = sg.scalar("x", dtype="float64")
    doubled = sg.while_loop(lambda v: v < 100.0, lambda v: 2 * v, x)
    capped, steps = sg.while_loop(
        lambda v, k: v < 100.0, lambda v, k: [2 * v, k + 1], [x, sg.as_tensor(0)], max_steps=4
    )
    f = sg.function([x], [doubled, capped, steps])
    close(f(3.0)[0], 192.0)
    assert [float(v) for v in f(3.0)] == [192.0, 48.0, 4.0]
    assert [float(v) for v in f(200.0)] == [200.0, 200.0, 0.0]
    close(sg.function([x], sg.grad(capped, x))(3.0), 16.0)


def test_a_last_state_needs_no_trace() -> None:
    n = 1_000_000
    x = sg.scalar("x", dtype="float64")
    states = sg.scan(lambda s: 0.5 * s + x, outputs_info=np.float64(0), n_steps=n)
    f = sg.function([x], states[-1])
    close(f(1.0), 2.0)
    (version,) = f.compiled.version_list
    assert version.module.arena < 1024


def test_products_leave_the_loop() -> None:
    """Input projections and gradients of weights are one product each, not one per step."""
    values = inputs()
    X, h, W = values
    V = sg.matrix("V", dtype="float64")
    values[V] = np.random.default_rng(2).normal(size=(3, 3))
    scanned = sg.scan(lambda x, s: sg.tanh(x @ V + s @ W), X, h)
    cost = (scanned**2).sum()
    f = sg.function([X, h, W, V], sg.grad(cost, [W, V]))
    got = f(*values.values())
    for a, b in zip(got, sg.grad(cost, [W, V]), strict=True):
        close(a, b.eval(values))
    (version,) = f.compiled.version_list
    loops = [n for n in sg.ops.loop.loops(version.stages.graph)]
    inside = [m for n in loops for m in sg.ops.loop.body_nodes(n) if m.op.name == "matmul"]
    assert len(loops) == 2 and len(inside) == 2  # s @ W forward, and its transpose on the way back


@pytest.mark.parametrize("shapes", ["exact", "generic"])
@pytest.mark.parametrize("width", [4, 20])
@pytest.mark.parametrize("known", [True, False])
def test_outer_products_leave_the_loop(known: bool, width: int, shapes: str) -> None:
    """Gradients of weights that a vector meets: one product unless registers hold the sum."""
    rng = np.random.default_rng(3)
    sizes = [(6, width), (width,), (width, 2 * width), (2 * width, width)]
    arrays = [rng.normal(size=size) / width for size in sizes]
    names = "XhVW"
    symbols = [
        sg.tensor(n, size if known else (None,) * len(size), "float64")
        for n, size in zip(names, sizes, strict=True)
    ]
    X, h, V, W = symbols
    cost = (sg.scan(lambda x, s: sg.tanh(sg.sin(x + s) @ V) @ W, X, h) ** 2).sum()
    gradients = sg.grad(cost, [V, W])
    f = sg.function(symbols, gradients, shapes=shapes)
    for a, b in zip(f(*arrays), gradients, strict=True):
        close(a, b.eval(dict(zip(symbols, arrays, strict=True))))
    (version,) = f.compiled.version_list
    loops = sg.ops.loop.loops(version.stages.graph)
    carried = [n for m in loops for n in sg.ops.loop.body_nodes(m) if n.op.name == "add"]
    held = [n for n in carried if n.ndim == 2 and 1 not in n.type.shape]
    assert bool(held) == (known and width == 4)


# -- what reverse mode keeps -----------------------------------------------------------------------
CHUNKS: list[tuple[Any, int | None]] = [
    *((m, None) for m in ("sqrt", 2, STEPS, 9, "1KB", (4, 2))), (2, 0), ((4, 2), 3), ("log", 2)
]  # fmt: skip


@pytest.mark.parametrize(("memory", "last"), CHUNKS)
def test_recomputing_changes_no_derivative(memory: Any, last: int | None) -> None:
    """Kept in chunks of all kinds; with `until`, a loop that ends after step `last`."""
    values = inputs()
    X, h, W = values

    def step(k: Any, x: Any, s: Any) -> Any:
        new = sg.tanh(x + s @ W)
        return new if last is None else (new, sg.until(k >= last))

    k = sg.arange(X.shape[0])
    ours, theirs = sg.scan(step, [k, X], h, memory=memory), sg.scan(step, [k, X], h)
    if last is not None:
        steps = sg.scan(step, [k, X], h, memory=memory, return_steps=True)[1]
        assert sg.function([X, h, W], steps, on_unused_input="ignore")(*values.values()) == last + 1
    agree([ours], [theirs], values)
    variables = list(values)
    first = [sg.grad((y**2).sum() + y[-1].sum(), variables) for y in (ours, theirs)]
    agree(*first, values)
    if memory in (2, (4, 2)) and last is None:
        directions = [sg.as_tensor(np.ones(v.shape)) for v in values.values()]
        agree(*[sg.hvp((y**2).sum(), variables, directions) for y in (ours, theirs)], values)


def test_memory_of_a_long_recurrence_stays_in_its_limit() -> None:
    n, width = 100_000, 32
    w, h = sg.vector("w", dtype="float64"), sg.tensor("h", (width,), "float64")

    def cost(memory: Any) -> Any:
        last = sg.scan(lambda s: sg.tanh(s * w + 0.1), outputs_info=h, n_steps=n, memory=memory)[-1]
        return sg.grad((last**2).sum(), [w, h])

    limited = sg.function([w, h], cost("16MB"))
    rng = np.random.default_rng(0)
    point = rng.uniform(0.5, 1.2, width), rng.normal(size=width)
    got = limited(*point)
    (version,) = limited.compiled.version_list
    assert version.module.arena < 16 << 20
    free = sg.function([w, h], cost("save_all"))
    for a, b in zip(got, free(*point), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)
    assert free.compiled.version_list[0].module.arena > 16 << 20


@pytest.mark.parametrize("memory", ["save_all", "16MB", "sqrt"])
def test_the_last_of_an_unknown_number_of_steps_is_a_state(memory: Any) -> None:
    """No trace is made for it, and none for its derivative; no step is an error."""
    h, n = sg.vector("h", dtype="float64"), sg.scalar("n", dtype="int64")
    last = sg.scan(lambda s: sg.tanh(s * 0.9 + 0.1), outputs_info=h, n_steps=n, memory=memory)[-1]
    slope = sg.grad((last**2).sum(), h)
    f, g = (sg.function([h, n], [last, slope], shapes=s) for s in ("generic", "exact"))
    value = np.linspace(-1.0, 1.0, 5)
    for steps in (1, 2, 127, 128, 300):
        for a, b in zip(f(value, steps), g(value, steps), strict=True):
            close(a, b)
    loops_ = [x for x in loops(pipeline.prepare([last], "default"))]
    assert all(len(x.params.body.outputs) == x.params.n_carries for x in loops_)
    with pytest.raises(IndexError, match="no last step"):
        f(value, 0)


def test_the_last_row_can_be_set() -> None:
    x = sg.tensor("x", (4,), "float64")
    total = sg.scan(lambda v, s: s + v, x, np.float64(0))
    f = sg.function([x], [total[-1].set(7.0), total[-1].inc(1.0)])
    a, b = f(np.ones(4))
    close(a, [1.0, 2.0, 3.0, 7.0])
    close(b, [1.0, 2.0, 3.0, 5.0])


def test_derivative_of_a_loop_without_a_limit() -> None:
    """Newton's iteration for a square root, differentiated through however many steps it took."""
    v, start = sg.scalar("v", dtype="float64"), sg.scalar("start", dtype="float64")
    root = sg.while_loop(lambda r: abs(r * r - v) > 1e-13, lambda r: 0.5 * (r + v / r), start)
    first = sg.grad(root, [v, start])
    second = sg.grad(first[0], v)
    outputs = [root, *first, second]
    eager = sg.function([v, start], outputs, mode="eager")(2.0, 1.0)
    native = sg.function([v, start], outputs)(2.0, 1.0)
    for a, b in zip(eager, native, strict=True):
        close(a, b)
    r = np.sqrt(2.0)
    close(native[0], r)
    close(native[1], 0.5 / r)
    assert abs(native[2]) < 1e-6  # the start is forgotten
    np.testing.assert_allclose(native[3], -0.25 / r**3, rtol=1e-5)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("row", [-1, slice(-1, None)])
def test_the_derivative_by_a_last_row_is_no_array(backwards: bool, strict: bool, row: Any) -> None:
    """The length is not known when the derivative is taken; the way back starts with the row."""
    values = inputs()
    X, h, W = values
    y = sg.scan(lambda x, s: sg.tanh(x + s @ W), X, h, go_backwards=backwards)
    gradient = sg.grad((y[row] ** 2).sum(), list(values))
    with sg.config.override(numerics="strict" if strict else "default"):
        f = sg.function(list(values), gradient, shapes="exact")
    for a, b in zip(f(*values.values()), gradient, strict=True):
        close(a, b.eval(values))
    graph = f.compiled.version_list[0].graph
    places = [p for n in loops(graph) for p in n.inputs if p.op.name == "place"]
    assert bool(places) == (strict and row != -1)


def crossed(x: Any, a: Any, b: Any) -> Any:
    return [sg.tanh(x + b), a * sg.sin(x) + b]


def memory(x: Any, a: Any, b: Any) -> Any:
    b = sg.sigmoid(x - a) * b + sg.sigmoid(x) * sg.tanh(a + x)
    return [sg.sigmoid(x + a) * sg.tanh(b), b]


@pytest.mark.parametrize("step", [crossed, memory])
def test_states_that_start_alike_are_computed_once(step: Any) -> None:
    """A gradient runs the forward loop too: with the same states, whatever they begin with."""
    values = inputs()
    x, h, _ = values
    states = sg.scan(step, x, [h, h])
    cost = (states[0] ** 2).sum() + states[1].sum()
    outputs = [states[0], cost, sg.grad(cost, x)]
    found = loops(pipeline.prepare(outputs, "default"))
    assert len(found) == 2
    assert all(carries(n) == 2 for n in found)
    rows, a, b = [], h, h
    for t in range(STEPS):
        a, b = step(x[t], a, b)
        rows.append((a, b))
    first = sg.stack([r[0] for r in rows])
    other = (first**2).sum() + sum(r[1].sum() for r in rows)
    agree(outputs, [first, other, sg.grad(other, x)], values)


def carries(loop: Any) -> int:
    """Return the number of states of a loop."""
    return len(Parts.of(loop).initial)


def test_states_that_part_later_are_not_one() -> None:
    """Both begin with h, and stay equal for one step."""
    values = inputs()
    x, h, _ = values

    def step(row: Any, n: Any, a: Any) -> Any:
        return [n + 1, sg.where(n < 1, sg.tanh(a), sg.tanh(a) + row)]

    def other(row: Any, n: Any, a: Any) -> Any:
        return [n + 1, sg.where(n < 1, sg.tanh(a), sg.tanh(a) - row)]

    both = [sg.scan(s, x, [sg.as_tensor(0), h])[1] for s in (step, other)]
    assert [carries(n) for n in loops(pipeline.prepare(both, "default"))] == [3]
    agree(both, [written_out(s, x, h) for s in (step, other)], values)


def written_out(step: Any, x: Any, h: Any) -> Any:
    n, rows = sg.as_tensor(0), []
    for t in range(STEPS):
        n, h = step(x[t], n, h)
        rows.append(h)
    return sg.stack(rows)


@pytest.mark.parametrize("n", [3, 8, 17])
def test_a_running_op_of_rows_that_are_the_same_in_every_lane(n: int) -> None:
    x = sg.vector("x", dtype="float64")
    rows = sg.broadcast_to(-x[:, None], (x.shape[0], n))
    found = [f(rows, 0) for f in (sg.cumsum, sg.cumprod, sg.cummin, sg.logcumsumexp)]
    agree(found, [f(-x, 0)[:, None] * sg.ones((1, n)) for f in
                  (sg.cumsum, sg.cumprod, sg.cummin, sg.logcumsumexp)], {x: np.arange(1.0, 6.0)})


def test_the_place_of_a_maximum_is_found_again_on_the_way_back() -> None:
    """The states are a recurrence, which rounds otherwise than the step does."""
    s = sg.matrix("s", dtype="float64")

    def step(state: Any) -> list[Any]:
        new = ((state * 0.5 + state * 0.7) * 0.5 + state * 0.7) * 0.3
        return [new, new.max()]

    slope = sg.grad(sg.scan(step, outputs_info=[s, None], n_steps=5)[1].sum(), s)
    value = np.random.default_rng(0).normal(size=(3, 1))
    for k in range(1, 4):
        agree([slope], [sg.where(sg.eq(s, s.max()), slope.max(), 0.0)], {s: value * k})


def test_bfloat16_and_complex_states_in_loops_of_loops() -> None:
    s, z = sg.tensor("s", (), "bfloat16"), sg.scalar("z", dtype="complex128")
    states = [s, z]
    by_scan = sg.scan(lambda a, b: [sg.tanh(a * 0.5 + a), b * (0.5 + 0.1j)], outputs_info=states,
                      n_steps=4, memory=2)  # fmt: skip
    value, turned = np.asarray(0.5).astype(s.dtype.numpy), 1j
    native = sg.function(states, by_scan)(value, turned)
    eager = sg.function(states, by_scan, mode="eager")(value, turned)
    assert native[0].tobytes() == eager[0].tobytes()
    close(native[1], eager[1])


@pytest.mark.parametrize("steps", [2, 3, 200])
def test_products_of_as_many_rows_as_there_are_whole_chunks(steps: int) -> None:
    """A generic version for no whole chunk, and one for several."""
    X, W = sg.matrix("X", dtype="float64"), sg.matrix("W", dtype="float64")
    rows = sg.scan(lambda x, s: sg.tanh(x @ W + s), X, X[0], memory="sqrt")
    f = sg.function([X, W], sg.grad((rows**2).sum(), W), shapes="generic")
    plain = sg.scan(lambda x, s: sg.tanh(x @ W + s), X, X[0])
    values = [np.random.default_rng(k).normal(size=n) for k, n in enumerate([(steps, 3), (3, 3)])]
    close(f(*values), sg.function([X, W], sg.grad((plain**2).sum(), W), mode="eager")(*values))
