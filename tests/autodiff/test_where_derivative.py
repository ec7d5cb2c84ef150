"""The branch that `where` does not choose stays out of derivatives, wherever its op stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from symgraph.autodiff import support
from symgraph.core.node import Node
from symgraph.core.walk import toposort

inf, nan = np.inf, np.nan
ROWS = np.array([[True, False, True], [False, False, True]])
FIRST = np.array([[True], [False], [False]])
BAD_ROWS = np.array([[1, 2.0], [inf, 1], [nan, 3]])
B = np.array([[1.0, 2, 3], [4, 5, 6]])
ROOTS = np.array([4.0, 0, 1])
Case = tuple[Callable[..., Node], list[Any], list[Any]]

# expression, values of its arguments, derivatives of its sum worked out by hand
CASES: dict[str, Case] = {
    "sum": (lambda x: sg.where(x > 0, sg.log(x), 0), [[-1.0, 0, 2]], [[0, 0, 0.5]]),
    "broadcast": (lambda v: sg.where(ROWS, sg.sqrt(v)[None, :], 0), [ROOTS], [[0.25, 0, 1]]),
    "reduction": (lambda v: sg.where(v.sum() > 9, sg.sqrt(v).sum(), 0.0), [ROOTS], [[0, 0, 0]]),
    "two uses": (
        lambda v: sg.where(v > 0, sg.sqrt(v), 0) + sg.where(v > 2, sg.log(v), 0),
        [ROOTS],
        [[0.5, 0, 0.5]],
    ),
    "both sides": (lambda v: sg.where(v > 0, sg.sqrt(v), -v), [ROOTS], [[0.25, -1, 0.5]]),
    "row norm": (
        lambda v: sg.where((v * v).sum(1) > 0, sg.sqrt((v * v).sum(1)), 0.0),
        [[[3.0, 4], [0, 0]]],
        [[[0.6, 0.8], [0, 0]]],
    ),
    "quotient": (
        lambda a, b: sg.where(sg.ne(b, 0), a / b, 0.0),
        [[[3.0, 4], [0, 0]], [2.0, 0]],
        [[[0.5, 0], [0.5, 0]], [-0.75, 0]],
    ),
    "product of finite rows": (
        lambda a, b: sg.where(sg.isfinite(a @ b), a @ b, 0.0),
        [BAD_ROWS, B],
        [[[6, 15], [0, 0], [0, 0]], [[1, 1, 1], [2, 2, 2]]],
    ),
    "rows of a product": (
        lambda a, b: sg.where(FIRST, a @ b, 0.0),
        [BAD_ROWS, B],
        [[[6, 15], [0, 0], [0, 0]], [[1, 1, 1], [2, 2, 2]]],
    ),
    "columns of a product": (
        lambda a, b: sg.where(np.array([True, False]), a @ b, 0.0),
        [[[1.0, 2]], [[1.0, inf], [3, nan]]],
        [[[1, 3]], [[1, 0], [2, 0]]],
    ),
    "stacked product": (
        lambda a, b: sg.where(FIRST, a @ b, 0.0),
        [np.stack([BAD_ROWS, BAD_ROWS]), B],
        [[[[6, 15], [0, 0], [0, 0]]] * 2, [[2, 2, 2], [4, 4, 4]]],
    ),
    "function below a product": (
        lambda a, b: sg.where(a[:, :1] > 0, sg.log(a) @ b, 0.0),
        [[[1.0, 1], [-1, 1], [0, 3]], B],
        [[[6, 15], [0, 0], [0, 0]], np.zeros((2, 3))],
    ),
    "scalar condition": (
        lambda a, b: sg.where(sg.all(sg.isfinite(a)), a @ b, 0.0),
        [BAD_ROWS, B],
        [np.zeros((3, 2)), np.zeros((2, 3))],
    ),
    "softmax": (
        lambda a: sg.where(np.array([[True], [False]]), sg.softmax(a), 0.0),
        [[[1.0, 1], [nan, 1]]],
        [[[0, 0], [0, 0]]],
    ),
    "maximum": (
        lambda a: sg.where(a.max(1) > 0, sg.sqrt(a.max(1)), 0.0),
        [[[4.0, 1], [0, -1]]],
        [[[0.25, 0], [0, 0]]],
    ),
    "gather": (lambda v: sg.where(v > 0, sg.sqrt(v)[[0, 1, 2]], 0), [ROOTS], [[0.25, 0, 0.5]]),
    "concatenate": (
        lambda v: sg.where(
            np.array([1, 0, 1, 1, 0, 1], bool), sg.concatenate([sg.sqrt(v), v]), 0.0
        ),
        [ROOTS],
        [[1.25, 0, 1.5]],
    ),
    "cumulative sum": (
        lambda v: sg.where(np.array([True, False]), sg.cumsum(sg.sqrt(v)), 0.0),
        [[4.0, 0]],
        [[0.25, 0]],
    ),
    "product of elements": (
        lambda v: sg.where(np.array([True, False]), sg.prod(sg.sqrt(v), 1), 0.0),
        [[[4.0, 1], [0, 1]]],
        [[[0.25, 1], [0, 0]]],
    ),
    "nested": (
        lambda v: sg.where(v > 0, sg.where(v < 3, sg.log(v), sg.sqrt(3 - v)), 0.0),
        [[-1.0, 2, 4]],
        [[0, 0.5, nan]],  # the NaN of the chosen branch stays
    ),
}


def inputs(values: list[Any]) -> tuple[list[Node], list[np.ndarray]]:
    arrays = [np.asarray(v, np.float64) for v in values]
    return [sg.tensor(f"x{k}", a.shape, "float64") for k, a in enumerate(arrays)], arrays


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("sizes", ["known", "unknown"])
def test_reverse_mode(name: str, sizes: str) -> None:
    make, values, expected = CASES[name]
    xs, arrays = inputs(values)
    if sizes == "unknown":
        xs = [sg.tensor(x.name, (None,) * x.ndim, "float64") for x in xs]
    gradients = sg.grad(make(*xs).sum(), xs, disconnected_inputs="ignore")
    for mode in ("native", "eager"):
        f = sg.function(xs, gradients, mode=mode, on_unused_input="ignore")
        for got, wanted in zip(f(*arrays), expected, strict=True):
            np.testing.assert_allclose(got, wanted, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in CASES if n != "nested"])
def test_forward_mode_and_second_order(name: str) -> None:
    make, values, _ = CASES[name]
    xs, arrays = inputs(values)
    ones = [np.ones(a.shape) for a in arrays]
    y = make(*xs)
    tangent = sg.Rop(y, xs, ones)
    gradients = sg.grad(y.sum(), xs, disconnected_inputs="ignore")
    over_reverse = sg.hvp(y.sum(), xs, ones)
    twice = sg.grad(sum((g * g).sum() for g in gradients), xs, disconnected_inputs="ignore")
    results = sg.function(xs, [tangent, *over_reverse, *twice], on_unused_input="ignore")(*arrays)
    for got in results:
        assert np.isfinite(got).all()


def test_second_derivative_has_the_right_value() -> None:
    x = sg.vector("x", dtype="float64")
    cost = sg.where(x > 0, sg.log(x), 0).sum()
    second = sg.grad(sg.grad(cost, x).sum(), x)
    assert second.eval({x: np.array([-1.0, 0, 2])}).tolist() == [0, 0, -0.25]


@pytest.mark.parametrize("slope", [None, 0.1])
def test_activations_cost_no_pass_over_the_weights(slope: float | None) -> None:
    x, w = sg.tensor("x", (8, 4)), sg.tensor("w", (4, 5))
    z = x @ w
    g = sg.grad(sg.where(z > 0, z, 0 if slope is None else slope * z).sum(), [x, w])
    products = [n for n in toposort(g) if n.op.name == "matmul" and n is not z]
    assert len(products) == 2
    for n in products:
        assert not any(i.op.name == "where" and w in i.inputs for i in n.inputs)
        assert not any(n.op.name == "any" for n in toposort(g))


def test_dropout_costs_no_pass_over_the_weights() -> None:
    x, w = sg.tensor("x", (8, 4)), sg.tensor("w", (4, 5))
    keep = sg.random.RandomStream(1).uniform((8, 5)) < 0.5
    g = sg.grad(sg.where(keep, x @ w, 0).sum(), [x, w])
    assert not any(n.op.name == "any" for n in toposort(g))


def test_support_of_sizes_that_may_be_one() -> None:
    """A symbolic axis may be broadcast at run time: its support is then the sum of a column."""
    a, b = sg.matrix("a", dtype="float64"), sg.matrix("b", dtype="float64")
    y = sg.where(a > 0, a * sg.sqrt(b), 0)
    f = sg.function([a, b], sg.grad(y.sum(), b))
    many = np.array([[1.0, -1], [1, -1]])
    np.testing.assert_allclose(f(many, np.array([[4.0, 0]])), [[0.5, 0]])
    np.testing.assert_allclose(f(many, np.array([[4.0, 0], [1, 0]])), [[0.25, 0], [0.5, 0]])


def test_no_where_no_support() -> None:
    x = sg.vector("x")
    plain = support.Adjoint(x)
    assert plain.times(2).node() is x * 2 and plain.times(1) is plain


def _causal(n: Any) -> dict[str, Any]:
    at = sg.arange(n)
    return {
        "triangle": sg.tri(n, dtype="bool"),
        "positions": at[:, None] >= at[None, :],
        "turned": at[None, :] <= at[:, None],
        "with axes": sg.tri(n, dtype="bool")[None, None],
    }


@pytest.mark.parametrize("size", [6, None])
@pytest.mark.parametrize("kind", list(_causal(3)))
def test_causal_masks_leave_no_masks_in_products(kind: str, size: int | None) -> None:
    """Each row and each column of a causal mask has a true element: operands are as they are."""
    x = sg.tensor("x", (2, 3, size, 4))
    q, k = 1.5 * x, x - 1
    scores = q @ k.swapaxes(-1, -2)

    def slope(mask: Any) -> Any:
        return sg.grad((sg.softmax(sg.where(mask, scores, -np.inf), -1) ** 2).sum(), x)

    names = [n.op.name for n in toposort([slope(_causal(x.shape[2])[kind])])]
    assert "any" not in names
    assert names.count("where") == 2  # the scores, and their adjoint
    a = np.random.default_rng(0).standard_normal((2, 3, 6, 4)).astype("float32")
    f = sg.function([x], slope(_causal(x.shape[2])[kind]))
    g = sg.function([x], slope(sg.as_tensor(np.tri(6, dtype=bool))))  # nothing is known of its rows
    np.testing.assert_allclose(f(a), g(a), rtol=1e-5, atol=1e-6)


def test_masks_with_empty_rows_still_guard() -> None:
    """Below the diagonal the first row sees nothing: what is infinite there must not leak."""
    x, w = sg.matrix("x"), sg.matrix("w")
    mask = sg.tri(3, k=-1, dtype="bool")
    slope = sg.grad(sg.where(mask, x @ w, 0.0).sum(), w)
    a = np.ones((3, 3), "float32")
    a[0] = np.inf
    assert np.isfinite(sg.function([x, w], slope)(a, np.ones((3, 3), "float32"))).all()


@pytest.mark.parametrize("sizes", ["known", "unknown"])
@pytest.mark.parametrize("m, n", [(2, 4), (4, 2), (3, 3)])
@pytest.mark.parametrize("kind", ["ge", "le"])
def test_positions_that_see_nothing_still_guard(kind: str, m: int, n: int, sizes: str) -> None:
    """A row or column of a comparison of positions may be empty where the axes differ in length."""
    x, w = (sg.tensor(k, s if sizes == "known" else (None, None), "float64")
            for k, s in (("x", (m, 3)), ("w", (3, n))))  # fmt: skip
    rows, columns = sg.arange(x.shape[0])[:, None], sg.arange(w.shape[1])[None, :]
    mask = rows >= columns if kind == "ge" else rows <= columns
    f = sg.function([x, w], sg.grad(sg.where(mask, x @ w, 0.0).sum(), [x, w]))
    r, c = np.arange(m)[:, None], np.arange(n)[None, :]
    sees = r >= c if kind == "ge" else r <= c
    a, b = np.random.default_rng(0).normal(size=(2, 4, 4))
    a, b = a[:m, :3].copy(), b[:3, :n].copy()
    wanted = f(a, b)
    a[~sees.any(1)], b[:, ~sees.any(0)] = np.inf, np.inf
    for found, expected in zip(f(a, b), wanted, strict=True):
        np.testing.assert_array_equal(found, expected)
