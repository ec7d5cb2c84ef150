"""Nodes: identity, conversion of Python values, names, and the errors of symbolic truth."""

from __future__ import annotations

import gc
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import symgraph.ops  # noqa: F401 - gives nodes their operators
from symgraph.core import dtype as dt
from symgraph.core import node as nd
from symgraph.core.config import config
from symgraph.core.errors import DTypeError, SymbolicValueError
from symgraph.core.node import as_node, constant, describe, new_input
from symgraph.core.op import o
from symgraph.dims.dim import symbol


def test_equal_expressions_are_one_node() -> None:
    x, y = new_input("float64", (3,)), new_input("float64", (3,))
    assert x * y + 1 is x * y + 1
    assert x * y is not y * x
    assert x is not y
    assert constant(2.0) is constant(2.0)
    assert constant(0.0) is not constant(-0.0)
    assert constant(np.float32(2)) is not constant(np.float64(2))


def test_dead_nodes_leave_the_table() -> None:
    x = new_input("float64", (3,))
    gc.collect()
    before = len(nd._interned)
    y = x
    for _ in range(50):
        y = o.sin(y)
    assert len(nd._interned) == before + 50
    del y
    gc.collect()
    assert len(nd._interned) == before


def test_constants_are_frozen_copies() -> None:
    a = np.arange(3.0)
    c = constant(a)
    a[0] = 9
    assert c.data[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        c.data[0] = 1


def test_weak_numbers_take_the_dtype_of_the_other_operand() -> None:
    x = new_input("float32", (3,))
    i = new_input("int8", (3,))
    assert (x * 2.5).dtype == "float32" and (x + 1).dtype == "float32"
    assert (i + 1).dtype == "int8" and (i + True).dtype == "int8"
    assert (i * 0.5).dtype == config.floatX
    assert (i + np.int32(1)).dtype == "int32"
    assert (x + np.float64(1)).dtype == "float64"
    assert (x + [1, 2, 3]).dtype == "float32"
    with pytest.raises(OverflowError, match="300"):
        i + 300


def test_lists_with_nodes_are_stacked() -> None:
    x = new_input("float64", ())
    node = as_node([x, x * 2])
    assert node.type.shape == (2,)


@pytest.mark.parametrize("use", [bool, int, float, np.asarray, lambda x: [1][x]])
def test_symbolic_values_are_refused(use: object) -> None:
    x = new_input("int64", (), "k")
    with pytest.raises(SymbolicValueError, match="k is symbolic"):
        use(x)  # type: ignore[operator]


def test_length_and_iteration() -> None:
    x, y = new_input("int64", (3, 2)), new_input("int64", (symbol("n"),))
    assert len(x) == 3 and len(list(x)) == 3
    with pytest.raises(SymbolicValueError):
        len(y)
    with pytest.raises(SymbolicValueError):
        iter(y)
    with pytest.raises(TypeError):
        len(new_input("int64", ()))


def test_description_and_pickling() -> None:
    x = new_input("float64", (3,), "x")
    assert describe(o.sin(x) + 1) == "add(sin(x), 1.0)"
    assert repr(x) == "x: vector float64 (3,)"
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(x)


def test_operators() -> None:
    x = new_input("int64", (2, 3))
    y = new_input("int64", (2, 3))
    for name in (
        "+",
        "-",
        "*",
        "/",
        "//",
        "%",
        "**",
        "&",
        "|",
        "^",
        "<<",
        ">>",
        "<",
        "<=",
        ">",
        ">=",
    ):
        forward = eval(f"x {name} y")  # noqa: S307
        reverse = eval(f"2 {name} y")  # noqa: S307
        assert forward.type.shape == reverse.type.shape == (2, 3)
    assert (-x).op.name == "neg" and (~x).op.name == "bitwise_not" and abs(x).op.name == "abs"
    assert x.T.type.shape == (3, 2)
    assert divmod(x, y)[0] is x // y


# -- promotion -----------------------------------------------------------------------------------
def expected_common(a: dt.DType, b: dt.DType) -> dt.DType | None:
    """The rule of the manual, written down a second time; None is an error."""
    kinds = {"b": 0, "u": 1, "i": 1, "f": 2}
    if kinds[a.kind] != kinds[b.kind]:
        return max(a, b, key=lambda d: kinds[d.kind])
    if a.kind == b.kind:
        return max(a, b, key=lambda d: d.bits)
    signed, unsigned = (a, b) if a.kind == "i" else (b, a)
    bits = max(signed.bits, 2 * unsigned.bits)
    return None if bits > 64 else dt.as_dtype(f"int{bits}")


@given(st.sampled_from(dt.ALL), st.sampled_from(dt.ALL))
def test_promotion_table(a: dt.DType, b: dt.DType) -> None:
    expected = expected_common(a, b)
    if expected is None:
        with pytest.raises(DTypeError, match="no common integer type"):
            dt.promote(a, b)
    else:
        assert dt.promote(a, b) is expected
        assert dt.promote(b, a) is expected


@given(st.sampled_from(dt.ALL), st.sampled_from(dt.ALL))
def test_operations_promote_by_the_table(a: dt.DType, b: dt.DType) -> None:
    x, y = new_input(a, (2,)), new_input(b, (2,))
    if expected_common(a, b) is not None:
        assert (x + y).dtype is expected_common(a, b)
        assert o.where(o.eq(x, x), x, y).dtype is expected_common(a, b)
        assert o.concatenate([x, y]).dtype is expected_common(a, b)


def test_unknown_dtypes_are_named() -> None:
    with pytest.raises(DTypeError, match="datetime64"):
        dt.as_dtype("datetime64")
    with pytest.raises(DTypeError, match="nonsense"):
        dt.as_dtype("nonsense")
    assert dt.as_dtype(int) is dt.INT64 and dt.as_dtype(np.float32) is dt.FLOAT32
    assert dt.as_dtype(float) is dt.FLOAT64 and dt.as_dtype(bool) is dt.BOOL


def test_holds() -> None:
    assert dt.holds(dt.FLOAT64, dt.INT32) and not dt.holds(dt.FLOAT32, dt.INT32)
    assert dt.holds(dt.INT16, dt.UINT8) and not dt.holds(dt.INT8, dt.UINT8)


def test_notebooks_show_expression_and_type() -> None:
    x = new_input("float32", (3, 4), "a<b")
    assert (x + 1)._repr_html_() == (
        "<code>add(a&lt;b, 1.0)</code> <small>matrix float32 (3, 4)</small>"
    )
