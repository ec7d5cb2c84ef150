"""Operators against PyTorch on PyTorch's own samples, as the map in symgraph.testing says."""

from __future__ import annotations

import random
from typing import Any

import pytest

import symgraph as sg
from symgraph.testing.torch_map.compare import compare
from symgraph.testing.torch_map.entry import REASONS, Convention, Entry, Reason
from symgraph.testing.torch_map.report import described, report
from symgraph.testing.torch_map.samples import database
from symgraph.testing.torch_map.table import merged

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

ROWS = merged()
MAPPED = [name for name, row in ROWS.items() if isinstance(row, Entry)]
FEW, SEVERAL, MANY = 2, 5, 20
PARTS, SOME, COMPLEX_PARTS = 4, 12, 8


@pytest.fixture(scope="module")
def operators() -> dict[str, Any]:
    return database()


def test_every_operator_has_a_row(operators: dict[str, Any]) -> None:
    assert not operators.keys() ^ ROWS.keys()
    assert database().keys() == operators.keys()  # asked for once more in one process
    assert len(MAPPED) >= 600


def test_every_difference_has_a_reason() -> None:
    for name, row in ROWS.items():
        if isinstance(row, Entry):
            assert row.loose == 1 or row.why, name
            assert all(c.text for c in row.conventions), name
        else:
            assert row.text, name
    assert len({r.text for r in REASONS}) == len(REASONS)


@pytest.mark.parametrize("name", MAPPED)
def test_agrees(name: str, operators: dict[str, Any], full: bool) -> None:
    result = compare(operators[name], ROWS[name], MANY if full else FEW)
    assert not result.problems
    assert result.samples or result.unsupported


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_agrees_in(dtype: str, part: int, operators: dict[str, Any], full: bool) -> None:
    """A quick run takes a seeded choice of the operators that have the dtype, one sample each."""
    names = [n for n in MAPPED if getattr(torch, dtype) in operators[n].dtypes][part::PARTS]
    if not full:
        names = random.Random(part).sample(names, SOME)
    wrong = []
    for name in names:
        result = compare(operators[name], ROWS[name], SEVERAL if full else 1, dtype)
        wrong += [f"{name}: {p}" for p in result.problems]
    assert not wrong


@pytest.mark.parametrize("part", range(COMPLEX_PARTS))
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_agrees_in_complex(
    dtype: str, part: int, operators: dict[str, Any], full: bool
) -> None:
    """Every operator that has the dtype: values and gradients as PyTorch defines them."""
    names = [n for n in MAPPED if getattr(torch, dtype) in operators[n].dtypes]
    assert len(names) > 350
    wrong = []
    for name in names[part::COMPLEX_PARTS]:
        result = compare(operators[name], ROWS[name], SEVERAL if full else FEW, dtype)
        wrong += [f"{name}: {p}" for p in result.problems]
    assert not wrong


# -- that the comparison can fail -----------------------------------------------------------------
def _without_second(f: Any) -> Any:
    """Return f with the first derivative only."""
    return sg.custom_vjp(f, lambda inputs, outputs, g: [sg.stop_gradient(sg.cos(inputs[0])) * g[0]])


WRONG: dict[str, tuple[str, Entry, str]] = {
    "value": ("exp", Entry(lambda x: sg.exp(x) * (1 + 1e-9)), "values"),
    "gradient": ("exp", Entry(lambda x: sg.stop_gradient(sg.exp(x))), "gradient"),
    "second": (
        "sin", Entry(_without_second(sg.sin)), "second derivative"),
    "dtype": ("argmax", Entry(lambda x, **how: sg.zeros((), "int32")), "values"),
    "shape": ("neg", Entry(lambda x: -x[None]), "shape"),
    "error": ("neg", Entry(lambda x: x.no_such_thing), "AttributeError"),
    "number of results": ("frexp", Entry(lambda x: sg.frexp(x)[0]), "results"),
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(WRONG))
def test_wrong_row_is_found(kind: str, operators: dict[str, Any]) -> None:
    name, entry, text = WRONG[kind]
    result = compare(operators[name], entry, 2)
    assert result.wrong and all(text in p for p in result.problems), result.problems


def test_conjugated_gradient_is_found(operators: dict[str, Any]) -> None:
    """JAX's convention, and the derivative of the conjugate, are wrong here."""
    turned = sg.custom_vjp(sg.exp, lambda inputs, outputs, g: [sg.conj(sg.exp(inputs[0]) * g[0])])
    result = compare(operators["exp"], Entry(turned), 2, "complex128")
    assert result.agree[0] == 2 and result.wrong == 2
    assert all("gradient" in p for p in result.problems), result.problems


def test_convention_is_counted_and_ends_the_comparison(operators: dict[str, Any]) -> None:
    bad = Entry(
        lambda x: sg.stop_gradient(sg.exp(x)),
        conventions=(Convention("no derivative here", 1, lambda x: x.ndim == 1),),
    )
    result = compare(operators["exp"], bad, 3)
    assert result.conventions == {"no derivative here": 1}
    assert result.agree[0] == 3 and result.agree[2] < 3


def test_report_says_what_happened(operators: dict[str, Any]) -> None:
    rows = {"neg": ROWS["neg"], "exp": WRONG["value"][1], "item": ROWS["item"]}
    results = {n: compare(operators[n], rows[n], 2) for n in ("neg", "exp")}
    facts = {"date": "d", "torch": "t", "most": 2, "largest": 1, "dtype": "float64", "limits": "l"}
    more = {"complex128": {"neg": compare(operators["neg"], rows["neg"], 2, "complex128")}}
    text = report(rows, list(rows), results, facts, more)
    assert "| mapped | 2 |" in text and "| passing | 1 |" in text and "| wrong | 1 |" in text
    assert "`sg.exp(x) * (1 + 1e-09)` **wrong**" in text
    assert "not mapped: a Python number" in text
    samples = more["complex128"]["neg"].samples
    assert samples and f"| complex128 | 1 | 1 | 0 | {samples} | 0 | 0 |" in text


def test_adapters_are_described() -> None:
    entries = {n: r for n, r in ROWS.items() if isinstance(r, Entry)}
    assert described(entries["exp"].call) == "sg.exp"
    assert described(entries["rsqrt"].call) == "1 / sg.sqrt(x)"
    assert described(entries["sum"].call) == "reduction(sg.sum)"
    assert not [n for n, e in entries.items() if described(e.call) in ("", "lambda")]
    assert all(isinstance(r, (Entry, Reason)) for r in ROWS.values())
