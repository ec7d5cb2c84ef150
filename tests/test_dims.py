"""Arithmetic of symbolic sizes against integers put in their place."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from symgraph.dims import bounds, dim
from symgraph.dims.dim import Dim

OPERATIONS = {
    "+": operator.add, "-": operator.sub, "*": operator.mul,
    "min": dim.minimum, "max": dim.maximum,
}  # fmt: skip
NUMERIC = {**OPERATIONS, "min": min, "max": max, "//": operator.floordiv, "%": operator.mod}
A, B, C = (dim.symbol(n) for n in "abc")
SYMBOLS = {"a": A, "b": B, "c": C}
# A tree: a symbol, a number, (operation, tree, tree), or a division by a positive number.
trees = st.recursive(
    st.sampled_from("abc") | st.integers(-5, 9),
    lambda t: (
        st.tuples(st.sampled_from(sorted(OPERATIONS)), t, t)
        | st.tuples(st.sampled_from(["//", "%"]), t, st.integers(1, 7))
    ),
    max_leaves=8,
)


def build(tree: Any) -> Any:
    if isinstance(tree, tuple):
        name, x, y = tree
        return {**NUMERIC, **OPERATIONS}[name](build(x), build(y))
    return SYMBOLS[tree] if isinstance(tree, str) else tree


def number(tree: Any, values: dict[str, int]) -> int:
    if isinstance(tree, tuple):
        return NUMERIC[tree[0]](number(tree[1], values), number(tree[2], values))
    return values[tree] if isinstance(tree, str) else tree


def atoms(values: dict[str, int]) -> dict[Any, int]:
    return {SYMBOLS[n].terms[0][0][0]: v for n, v in values.items()}


sizes = st.fixed_dictionaries({n: st.integers(0, 12) for n in "abc"})


@given(trees, sizes)
def test_arithmetic_is_that_of_integers(tree: Any, values: dict[str, int]) -> None:
    assert dim.evaluate(build(tree), atoms(values)) == number(tree, values)


@given(trees, sizes)
def test_lower_bound_holds(tree: Any, values: dict[str, int]) -> None:
    low = dim.lower_bound(build(tree))
    assert low is None or low <= number(tree, values)


@given(trees, trees, sizes)
def test_provable_order_holds(x: Any, y: Any, values: dict[str, int]) -> None:
    if dim.provably_le(build(x), build(y)):
        assert number(x, values) <= number(y, values)


@given(trees, sizes)
def test_partial_substitution_commutes(tree: Any, values: dict[str, int]) -> None:
    size = build(tree)
    table = atoms(values)
    first = {k: v for k, v in table.items() if k.name == "a"}
    assert dim.evaluate(dim.substitute(size, first.get), table) == number(tree, values)


@given(trees)
def test_equal_forms_are_one_object(tree: Any) -> None:
    x = build(tree)
    assert build(tree) is x or isinstance(x, int)
    if isinstance(x, Dim):
        assert x + A - A is x
        assert (x * 3) // 3 is x
        assert (x * A) % A == 0


def test_folding_to_numbers() -> None:
    assert A - A == 0 and isinstance(A - A, int)
    assert (A * B) // A is B
    assert (A * 4 + 8) // 4 is A + 2
    assert (A * 2 - 1) // 2 is A - 1 and (A * 6 + B + 5) // 3 is A * 2 + (B + 5) // 3
    assert dim.exact_div(A + 1, 2) is None
    assert (A + B) * (A - B) is A * A - B * B


def test_broadcast_of_sizes() -> None:
    assert dim.broadcast(A, A) is A
    assert dim.broadcast(1, A) is A and dim.broadcast(A, 1) is A
    with pytest.raises(ValueError, match="3 and 4"):
        dim.broadcast(3, 4)
    both = dim.broadcast(A, B)
    assert dim.evaluate(both, atoms({"a": 1, "b": 7, "c": 0})) == 7
    with pytest.raises(ValueError, match="do not broadcast"):
        dim.evaluate(both, atoms({"a": 2, "b": 7, "c": 0}))


def test_broadcast_takes_each_size_once() -> None:
    both = dim.broadcast(A, B)
    assert dim.broadcast(A, both) is both and dim.broadcast(both, B) is both
    assert dim.broadcast(both, dim.broadcast(C, A)) is dim.broadcast(both, C)
    assert dim.broadcast(3, dim.broadcast(A, 3)) is dim.broadcast(A, 3)
    with pytest.raises(ValueError, match="do not broadcast"):
        dim.broadcast(dim.broadcast(A, 3), dim.broadcast(B, 4))


@given(st.lists(st.sampled_from(["a", "b", "c", 1, 5]), min_size=2, max_size=9), st.data())
def test_broadcast_of_many_is_that_of_numpy(sizes: list[Any], data: Any) -> None:
    values = {name: data.draw(st.sampled_from([1, 5])) for name in "abc"}
    total, at = sizes, 0
    while len(total) > 1:  # in any order of joining
        at = data.draw(st.integers(0, len(total) - 2))
        pair = [SYMBOLS.get(n, n) for n in total[at : at + 2]]
        total = [*total[:at], dim.broadcast(*pair), *total[at + 2 :]]
    result = SYMBOLS.get(total[0], total[0])
    numbers = [values.get(n, n) for n in sizes]
    assert dim.evaluate(result, atoms(values)) == np.broadcast_shapes(*((n,) for n in numbers))[0]


def test_sizes_that_share_parts_are_walked_once() -> None:
    n: Any = A
    for _ in range(200):  # as a tree this has 2^200 leaves
        n = dim.maximum(n - dim.minimum(1, n), n // 2)
    assert dim.symbols(n) == set(atoms({"a": 0}))
    assert dim.evaluate(n, atoms({"a": 150, "b": 1, "c": 1})) == 0



def test_truth_is_refused() -> None:
    with pytest.raises(TypeError, match="symbolic"):
        bool(A)
    with pytest.raises(KeyError, match="without a value"):
        dim.evaluate(A + B, atoms({"a": 1}))


FACTS = {"a": (2, 12, 2), "b": (3, None, 3), "c": (0, 9, 1)}  # low, high, multiple
P, Q, R = (dim.symbol(n, *facts) for n, facts in FACTS.items())
allowed = st.fixed_dictionaries(
    {
        "a": st.sampled_from(range(2, 13, 2)),
        "b": st.sampled_from(range(3, 40, 3)),
        "c": st.integers(0, 9),
    }
)


def with_facts(tree: Any) -> Any:
    """Build a tree over the symbols that have facts."""
    if isinstance(tree, tuple):
        name, x, y = tree
        return {**NUMERIC, **OPERATIONS}[name](with_facts(x), with_facts(y))
    return {"a": P, "b": Q, "c": R}[tree] if isinstance(tree, str) else tree


@given(trees, allowed)
def test_bounds_and_divisors_hold(tree: Any, values: dict[str, int]) -> None:
    size, n = with_facts(tree), number(tree, values)
    low, high = bounds.interval(size)
    assert (low is None or low <= n) and (high is None or n <= high)
    divisor = bounds.multiple(size)
    assert n == 0 if divisor == 0 else n % divisor == 0
    table = {d.terms[0][0][0]: values[k] for k, d in zip("abc", (P, Q, R), strict=True)}
    assert dim.evaluate(size, table) == n


def test_facts_fold_sizes() -> None:
    assert P % 2 == 0 and (P * Q) % 6 == 0 and bounds.divides(12, P * Q * 2)
    assert not bounds.divides(4, P) and isinstance(P % 4, Dim)
    assert P // 13 == 0 and dim.minimum(P, 12) is P and dim.maximum(P, 2) is P
    assert bounds.interval(P * 2 - 1) == (3, 23)
    assert bounds.interval(Q - P) == (-9, None)
    assert bounds.interval(dim.minimum(P, Q)) == (2, 12)
    atom = P.terms[0][0][0]
    assert atom.facts == "a multiple of 2 and at least 2 and at most 12"
    assert [n for n in range(15) if atom.admits(n)] == [2, 4, 6, 8, 10, 12]
    assert dim.as_symbol(P) is atom
    assert dim.as_symbol(P * 2) is None and dim.as_symbol(P // 4) is None


def test_symbols_of_nested_calls() -> None:
    found = dim.symbols((A + 1) // 3 + dim.minimum(B, 5) * 2)
    assert {s.name for s in found} == {"a", "b"}
    assert dim.symbols(7) == set()


def test_division_by_a_symbol() -> None:
    values = atoms({"a": 3, "b": 10, "c": 0})
    assert dim.evaluate(B // A, values) == 3
    assert dim.evaluate(B % A, values) == 1
    assert dim.evaluate(17 // A, values) == 5
    assert dim.evaluate(17 % A, values) == 2
