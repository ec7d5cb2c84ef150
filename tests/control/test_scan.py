"""Scans against the same recurrence written out step by step: values, derivatives, native code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

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


def close(a: Any, b: Any, bound: float = 1e-9) -> None:
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=bound, atol=bound)


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


def test_updates_and_random_draws_ride_on_the_scan() -> None:
    count = sg.shared(np.int64(0), name="count")
    rng = sg.random.RandomStream(3)

    def step(s: Any) -> Any:
        draw = rng.uniform((), dtype="float64")
        return s + draw, {count: count + 2}

    walk = sg.scan(step, outputs_info=np.float64(0), n_steps=6)
    f = sg.function([], walk)
    a, b = f(), f()
    assert int(count.get_value()) == 24
    draws = np.concatenate([np.diff(a, prepend=0.0), np.diff(b, prepend=0.0)])
    assert len(np.unique(draws)) == 12 and (draws > 0).all() and (draws < 1).all()
    rng.seed(3)
    close(f(), a)


def test_random_steps_do_not_depend_on_nesting() -> None:
    rng = sg.random.RandomStream(5)
    table = sg.scan(
        lambda: sg.scan(lambda: rng.uniform((2,), dtype="float64"), n_steps=3), n_steps=4
    )
    f = sg.function([], table)
    a, b = f(), f()
    assert a.shape == (4, 3, 2) and len(np.unique(np.concatenate([a, b]))) == 48


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


# -- bad input -------------------------------------------------------------------------------------
def test_a_step_must_keep_the_type_of_its_state() -> None:
    x = sg.matrix("x", dtype="float32")
    with pytest.raises(sg.DTypeError, match="changes the dtype"):
        sg.scan(lambda v, s: sg.cast(s + v, "float64"), x, sg.zeros((3,), "float32"))
    with pytest.raises(sg.ShapeError, match="changes the shape"):
        sg.scan(lambda v, s: sg.concatenate([s, s]), x, sg.zeros((3,), "float32"))


def test_clear_errors() -> None:
    x, w = sg.vector("x"), sg.scalar("w")
    with pytest.raises(ValueError, match="cannot do -1 steps"):
        sg.scan(lambda s: s, outputs_info=w, n_steps=-1)
    with pytest.raises(ValueError, match="needs sequences or n_steps"):
        sg.scan(lambda s: s, outputs_info=w)
    with pytest.raises(sg.ShapeError, match="needs 2 values"):
        sg.scan(lambda a: a, outputs_info=dict(initial=sg.zeros((3,)), taps=[-2]), n_steps=3)
    with pytest.raises(ValueError, match="taps must be negative"):
        sg.scan(lambda a: a, outputs_info=dict(initial=w, taps=[0]), n_steps=3)
    with pytest.raises(ValueError, match="returned 2 outputs"):
        sg.scan(lambda v, s: [v, s], x, [w])
    with pytest.raises(sg.MissingInputError, match="`w`"):
        sg.scan(lambda v: v * w, x, strict=True)
    sg.scan(lambda v, c: v * c, x, non_sequences=[w], strict=True)
    with pytest.raises(sg.ShapeError, match="is a scalar"):
        sg.scan(lambda v: v, w)
    with pytest.raises(sg.ShapeError, match="sg.until needs a scalar"):
        sg.until(x > 0)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (dict(input=1, tap=[1]), "'tap'"),
        (dict(taps=[1]), "input"),
        (dict(input=1, taps=[]), "at least one"),
        (dict(input=1, taps=[1.5]), "integers"),
    ],
)
def test_entries_that_are_not_understood(entry: Any, message: str) -> None:
    x = sg.vector("x", dtype="float64")
    for key, word in (("input", "sequences"), ("initial", "outputs_info")):
        given = {key if k == "input" else k: x if k == "input" else v for k, v in entry.items()}
        with pytest.raises(ValueError, match=message.replace("input", key)):
            sg.scan(lambda *a: a[0], n_steps=2, **{word: given})


def test_bad_limits() -> None:
    w = sg.scalar("w")
    with pytest.raises(ValueError, match="cannot do -1 steps"):
        sg.while_loop(lambda v: v < 3, lambda v: v + 1, w, max_steps=-1)
    with pytest.raises(TypeError, match="truncate_gradient"):
        sg.scan(lambda v: v + 1, outputs_info=w, n_steps=3, truncate_gradient=1.5)


def test_updates_of_inner_scans_travel() -> None:
    count = sg.shared(np.float64(0), name="count")

    def inner(s: Any) -> Any:
        return sg.scan(lambda v: (v + 1.0, {count: count + 1.0}), outputs_info=s, n_steps=3)[-1]

    f = sg.function([], sg.scan(inner, outputs_info=np.float64(0), n_steps=4))
    close(f(), [3.0, 6.0, 9.0, 12.0])
    assert count.get_value() == 12.0
    f = sg.function([], sg.while_loop(lambda v: v < 9.0, inner, np.float64(0)))
    close(f(), 9.0)
    assert count.get_value() == 21.0


def test_an_inner_scan_made_in_a_step_is_done_in_every_step() -> None:
    """Whether it depends on the step or not; one made outside of the step is done once."""
    count = sg.shared(np.float64(0), name="count")

    def three() -> Any:
        return sg.scan(lambda v: (v + 1.0, {count: count + 1.0}), outputs_info=np.float64(0),
                       n_steps=3)[-1]  # fmt: skip

    f = sg.function([], sg.scan(lambda s: s + three(), outputs_info=np.float64(0), n_steps=4))
    close(f(), [3.0, 6.0, 9.0, 12.0])
    assert count.get_value() == 12.0
    outside = three()
    f = sg.function([], sg.scan(lambda s: s + outside, outputs_info=np.float64(0), n_steps=4))
    close(f(), [3.0, 6.0, 9.0, 12.0])
    assert count.get_value() == 15.0


def test_two_scans_that_update_one_variable_are_an_error() -> None:
    x, y = sg.vector("x", dtype="float64"), sg.vector("y", dtype="float64")
    count = sg.shared(np.float64(0), name="count")

    def total(sequence: Any) -> Any:
        return sg.scan(lambda v, s: (s + v, {count: count + 1.0}), sequence, np.float64(0))

    first = total(x)
    second = total(y)
    with pytest.raises(ValueError, match="two scans update `count`") as error:
        sg.function([x, y], [first, second])
    assert "first = total(x)" not in str(error.value)  # the line is that of sg.scan
    assert str(error.value).count("sg.scan(lambda v, s") == 2
    with pytest.raises(ValueError, match="two scans update `count`"):
        sg.scan(lambda s: s + total(x)[-1] * total(y)[-1], outputs_info=np.float64(0), n_steps=2)
    f = sg.function([x, y], [first, second], updates={count: count + 5.0})
    f(np.ones(3), np.ones(2))
    assert count.get_value() == 5.0


@pytest.mark.parametrize("memory", ["save_all", 2, (4, 2), "log"])
@pytest.mark.parametrize("stops", [False, True])
def test_a_scan_and_its_derivatives_update_once(memory: Any, stops: bool) -> None:
    x = sg.vector("x", dtype="float64")
    count = sg.shared(np.float64(0), name="count")

    def step(v: Any, s: Any) -> Any:
        results = [sg.tanh(s + v * count)], {count: count + 1.0}
        return (*results, sg.until(s > 50.0)) if stops else results

    rows = sg.scan(step, x, np.float64(0), memory=memory)
    slope = sg.grad((rows**2).sum(), x)
    second = sg.grad((slope**2).sum(), x)
    f = sg.function([x], [rows, slope, second, sg.Rop(rows, x, x), sg.jacobian(rows, x)])
    f(np.ones(7))
    assert count.get_value() == 7.0


@pytest.mark.parametrize("memory", ["save_all", 2, (4, 2)])
def test_draws_of_a_while_loop_in_a_step_are_all_new(memory: Any) -> None:
    """Of steps of which each does another number of turns, in a branch, and for a batch."""
    stream = sg.random.RandomStream(1)
    h, H = sg.scalar("h", dtype="float64"), sg.vector("H", dtype="float64")

    def last_draw(s: Any) -> Any:
        draw = lambda i, u: [i - 1.0, stream.uniform((), dtype="float64")]  # noqa: E731
        return sg.while_loop(lambda i, u: i > 0.0, draw, [1.0 + s * 4.0, s * 0.0])[1]

    rows = sg.scan(last_draw, outputs_info=h, n_steps=7, memory=memory)
    f = sg.function([h], rows)
    eager = sg.function([h], rows, mode="eager")
    seen = []
    for _ in range(3):
        state = [c.get_value() for c in stream._counters]
        seen.append(f(0.9))
        for c, value in zip(stream._counters, state, strict=True):
            c.set_value(value)
        close(eager(0.9), seen[-1])
    assert len(np.unique(np.concatenate(seen))) == 21
    side = sg.function([h], sg.cond(h > 0, lambda: last_draw(h), lambda: h))
    assert len({float(side(0.9)) for _ in range(4)}) == 4
    each = sg.function([H], sg.vmap(last_draw)(H))
    a, b = each(np.array([0.9, 0.1, 0.9])), each(np.array([0.9, 0.1, 0.9]))
    assert a[0] == a[2] != a[1] and len(np.unique([a[:2], b[:2]])) == 4


def test_rows_of_draws_are_not_computed_for_all_steps_at_once() -> None:
    """Draws of a step whose rows move behind a loop of unknown length."""
    stream, n = sg.random.RandomStream(2), sg.scalar("n", dtype="int64")
    h = sg.vector("h", dtype="float64")

    def step(s: Any) -> Any:
        e = stream.normal((3,), dtype="float64")
        inner = sg.scan(lambda z: sg.tanh(z + e), outputs_info=s, n_steps=2)[-1]
        return [sg.tanh(s * 0.5 + inner), sg.sin(s * e).sum() * e]

    results = sg.scan(step, outputs_info=[h, None], n_steps=n)
    slope = sg.grad((results[1] ** 2).sum(), h)
    f, g = (sg.function([h, n], [*results, slope], mode=m) for m in ("native", "eager"))
    native = f(np.ones(3), 5)
    for c in stream._counters:
        c.set_value(np.uint64(0))
    for a, b in zip(native, g(np.ones(3), 5), strict=True):
        close(a, b)


def test_updates_under_vmap() -> None:
    X = sg.matrix("X", dtype="float64")
    count = sg.shared(np.float64(0), name="count")

    def sums(row: Any, change: Callable[[Any], Any]) -> Any:
        return sg.scan(lambda v, s: (s + v, {count: change(v)}), row, np.float64(0))

    f = sg.function([X], sg.vmap(lambda row: sums(row, lambda v: count + 1.0))(X))
    close(f(np.ones((2, 5))), [np.arange(1.0, 6.0)] * 2)
    assert count.get_value() == 5.0
    with pytest.raises(sg.ShapeError, match="per element of the batch"):
        sg.vmap(lambda row: sums(row, lambda v: count + v))(X)


def test_a_sequence_that_is_too_short_at_run_time() -> None:
    x = sg.vector("x", dtype="float64")
    f = sg.function([x], sg.scan(lambda v, s: v + s, x, np.float64(0), n_steps=4))
    close(f(np.ones(6)), [1.0, 2.0, 3.0, 4.0])
    with pytest.raises((sg.ShapeError, IndexError)):
        f(np.ones(3))


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


def test_random_numbers_and_updates_with_recomputation() -> None:
    count = sg.shared(np.int64(0), name="count")

    def draws(memory: Any) -> Any:
        rng = sg.random.RandomStream(7)
        x = sg.scalar("x", dtype="float64")

        def step(s: Any) -> Any:
            return s * rng.uniform((), 0.5, 1.5, dtype="float64") + x, {count: count + 1}

        states = sg.scan(step, outputs_info=np.float64(1), n_steps=7, memory=memory)
        return sg.function([x], [states, sg.grad(states.sum(), x)])(0.3)

    plain, chunked = draws("save_all"), draws(3)
    for a, b in zip(plain, chunked, strict=True):
        close(a, b)
    assert int(count.get_value()) == 14


def test_memory_must_be_understood() -> None:
    with pytest.raises(ValueError, match="memory must be"):
        sg.scan(lambda s: s, outputs_info=np.float64(1), n_steps=3, memory="a lot")


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


def test_updates_of_a_scan_in_a_side_of_a_branch_are_an_error():
    c, x = sg.shared(np.float32(0), name="c"), sg.vector("x")
    rows = sg.scan(lambda r: (r * c, {c: c + 1}), x, return_list=True)[0]
    side = sg.cond(x[0] > 0, lambda: rows, lambda: x)
    with pytest.raises(ValueError, match="side of cond updates `c`, which would be lost"):
        sg.function([x], side)
    for updates, expected in (({c: c + 5}, 5), (None, 8)):
        f = sg.function([x], side if updates else [side, rows], updates=updates)
        f(np.ones(3, "float32"))
        assert c.get_value() == expected


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


@pytest.mark.parametrize("shapes", ["auto", "generic"])
def test_a_version_for_other_lengths_refuses_what_leaves_a_sequence(shapes: str) -> None:
    x, n = sg.vector("x", dtype="float64"), sg.scalar("n", dtype="int64")
    f = sg.function(
        [x, n], sg.scan(lambda v, s: sg.tanh(v + s), x, np.float64(0), n_steps=n), shapes=shapes
    )
    for steps in (4, 5, 3, 2):
        assert f(np.ones(5), steps).shape == (steps,)
    for steps in (6, 100_000):
        with pytest.raises(sg.ShapeError, match="x.*has no elements 0 to"):
            f(np.ones(5), steps)
    backwards = sg.scan(lambda v: v * 2.0, x, n_steps=n, go_backwards=True)
    g = sg.function([x, n], backwards, shapes=shapes)
    close(g(np.arange(5.0), 3), [8.0, 6.0, 4.0])
    with pytest.raises(sg.ShapeError, match="has no elements"):
        g(np.arange(5.0), 6)


@pytest.mark.parametrize("shapes", ["auto", "generic"])
def test_arrays_that_do_not_fit_their_taps(shapes: str) -> None:
    x = sg.vector("x", dtype="float64")
    f = sg.function([x], sg.scan(lambda a, b: a + b, dict(input=x, taps=[-2, 0])), shapes=shapes)
    assert [len(f(np.ones(k))) for k in (5, 4, 3, 2)] == [3, 2, 1, 0]
    for k in (1, 0):
        with pytest.raises(sg.ShapeError, match="too short on axis 0"):
            f(np.ones(k))
    taps = dict(initial=x, taps=[-2, -1])
    g = sg.function([x], sg.scan(lambda a, b: a + b, outputs_info=taps, n_steps=2), shapes=shapes)
    close(g(np.ones(2)), [2.0, 3.0])
    for k in (1, 3, 5):
        with pytest.raises(sg.ShapeError, match=rf"`x` of {k} elements"):
            g(np.ones(k))


def test_what_a_step_may_not_return() -> None:
    x = sg.vector("x", dtype="float64")
    with pytest.raises(TypeError, match="returned None"):
        sg.scan(lambda v: None, x)
    with pytest.raises(TypeError, match="returned Until"):
        sg.scan(lambda v: (sg.until(v > 0), v), x)
