"""Einsum and chains of products: NumPy's results in the cheapest order."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import symgraph as sg
from symgraph.core.walk import toposort
from symgraph.ops.contract_order import chain_order, einsum_order

CASES = [
    ("ij,jk", ((3, 4), (4, 5))),
    ("ij,jk->ki", ((3, 4), (4, 5))),
    ("bij,bjk->bik", ((2, 3, 4), (2, 4, 5))),
    ("ii->i", ((3, 3),)),
    ("ii", ((3, 3),)),
    ("iji->j", ((3, 2, 3),)),
    ("...ij,...jk->...ik", ((2, 3, 4), (5, 1, 4, 3))),
    ("i,j->ij", ((3,), (4,))),
    ("ij->", ((3, 4),)),
    ("ijk,jl,kl,il->", ((3, 4, 5), (4, 6), (5, 6), (3, 6))),
    ("iij,jk->ik", ((3, 3, 4), (4, 2))),
    ("ij,ij->i", ((3, 4), (3, 4))),
    ("i...,i...->...", ((3, 4), (3, 1))),
    ("ij,kj,kj->ik", ((2, 3), (4, 3), (4, 3))),
    ("aa,ab,b->", ((3, 3), (3, 4), (4,))),
    (",ij", ((), (3, 4))),
    ("ij,j->i", ((3, 4), (1,))),
    ("ab, bc -> ca", ((0, 3), (3, 2))),
    ("...i->...", ((2, 3),)),
    ("a,b,c,d,e,f,g,h,i->", ((2,),) * 9),
]


def arrays(shapes: Any, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=s) for s in shapes]


@pytest.mark.parametrize(("text", "shapes"), CASES)
def test_agrees_with_numpy(text: str, shapes: Any) -> None:
    values = arrays(shapes)
    inputs = [sg.tensor("x", s, "float64") for s in shapes]
    found = sg.function(inputs, sg.einsum(text, *inputs))(*values)
    expected = np.einsum(text, *values)
    assert found.shape == expected.shape
    assert np.allclose(found, expected, rtol=1e-12, atol=1e-12)


@st.composite
def subscripts(draw: Any) -> tuple[str, list[tuple[int, ...]]]:
    letters = "abcde"
    sizes = {c: draw(st.integers(1, 3)) for c in letters}
    terms = [
        "".join(draw(st.lists(st.sampled_from(letters), max_size=3)))
        for _ in range(draw(st.integers(1, 4)))
    ]
    known = sorted(set("".join(terms)))
    output = "".join(draw(st.lists(st.sampled_from(known), unique=True))) if known else ""
    return ",".join(terms) + "->" + output, [tuple(sizes[c] for c in t) for t in terms]


@settings(max_examples=60, deadline=None)
@given(subscripts())
def test_random_subscripts(case: tuple[str, list[tuple[int, ...]]]) -> None:
    text, shapes = case
    values = arrays(shapes)
    inputs = [sg.tensor("x", s, "float64") for s in shapes]
    value = sg.einsum(text, *inputs).eval(dict(zip(inputs, values, strict=True)))
    assert np.allclose(value, np.einsum(text, *values), rtol=1e-10, atol=1e-10)


def test_unknown_sizes_and_derivatives() -> None:
    a, b, c = (sg.tensor(n, (None, None), "float64") for n in "abc")
    y = sg.einsum("ij,jk,kl->il", a, b, c)
    values = arrays(((3, 4), (4, 5), (5, 2)))
    found, g = sg.function([a, b, c], [y, sg.grad((y**2).sum(), b)])(*values)
    expected = values[0] @ values[1] @ values[2]
    assert np.allclose(found, expected)
    assert np.allclose(g, 2 * values[0].T @ expected @ values[2].T)


def test_wrong_subscripts() -> None:
    x = sg.tensor("x", (2, 3))
    for text in ("ij,jk", "ijk", "ij->ik", "ij->ii", "i1", "...->", "i"):
        with pytest.raises(ValueError, match="einsum"):
            sg.einsum(text, x)
    with pytest.raises(sg.ShapeError, match="'i' has length 2"):
        sg.einsum("ii", x)


def cost_of(order: Any, terms: list[str], output: str, sizes: dict[str, int]) -> int:
    """Count the multiplications of an order by playing it."""
    rest = list(enumerate(terms))

    def play(part: Any) -> tuple[str, int]:
        if isinstance(part, int):
            rest.remove((part, terms[part]))
            return terms[part], 0
        (a, p), (b, q) = play(part[0]), play(part[1])
        others = set(output) | {c for t in pending(part) for c in t}
        both = set(a) | set(b)
        return "".join(both & others), p + q + int(np.prod([sizes[c] for c in both]))

    def leaves(part: Any) -> set[int]:
        return {part} if isinstance(part, int) else leaves(part[0]) | leaves(part[1])

    def pending(part: Any) -> list[str]:
        return [t for k, t in enumerate(terms) if k not in leaves(part)]

    return play(order)[1]


def all_orders(parts: list[Any]) -> list[Any]:
    if len(parts) == 1:
        return parts
    found = []
    for i, j in permutations(range(len(parts)), 2):
        if i < j:
            rest = [p for k, p in enumerate(parts) if k not in (i, j)]
            found += all_orders([*rest, (parts[i], parts[j])])
    return found


def test_order_is_the_cheapest() -> None:
    terms, output = ["ab", "bc", "cd", "da", "ae"], "e"
    rng = np.random.default_rng(0)
    for _ in range(5):
        sizes = {c: int(rng.integers(1, 20)) for c in "abcde"}
        cost, order = einsum_order(terms, output, sizes)
        assert cost == cost_of(order, terms, output, sizes)
        assert cost == min(cost_of(p, terms, output, sizes) for p in all_orders(list(range(5))))


def test_chain_order_is_the_textbook_one() -> None:
    cost, order = chain_order([30, 35, 15, 5, 10, 20, 25])  # Cormen et al., section 15.2
    assert cost == 15125
    assert order == ((0, (1, 2)), ((3, 4), 5))


def test_chain_is_reordered_by_the_compiler() -> None:
    a, b = sg.tensor("a", (50, 50), "float64"), sg.tensor("b", (50, 50), "float64")
    v = sg.tensor("v", (50,), "float64")
    f = sg.function([a, b, v], a @ b @ v)
    values = arrays(((50, 50), (50, 50), (50,)))
    assert np.allclose(f(*values), values[0] @ (values[1] @ values[2]))
    assert "50, 50" not in [str(n.type) for n in toposort([sg.multi_dot([a, b, v])])]
    text = f.explain("graph")
    assert all("(50, 50)" not in line.rsplit(":", 1)[-1] for line in text.splitlines()
               if "matmul" in line), text
