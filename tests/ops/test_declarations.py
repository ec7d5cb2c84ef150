"""What type checkers are told about nodes and about `o` is what is there when a program runs."""

from __future__ import annotations

import ast
import inspect
import warnings
from types import ModuleType

import numpy as np

import symgraph as sg
from symgraph.core import namespace, operators
from symgraph.core.node import Node
from symgraph.core.op import o


def declared(module: ModuleType, cls: str) -> dict[str, ast.stmt]:
    """Return the names that a class declares for type checkers only."""
    tree = ast.parse(inspect.getsource(module))
    body = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == cls).body
    block = next(n for n in body if isinstance(n, ast.If))
    names: dict[str, ast.stmt] = {}
    for n in block.body:
        if isinstance(n, ast.FunctionDef):
            names[n.name] = n
        elif isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name):
            names[n.target.id] = n
    return names


def test_declared_operators_are_those_of_nodes() -> None:
    names = declared(operators, "Operators")
    assert len(names) > 60
    missing = [n for n in names if n not in vars(Node)]
    assert missing == []
    installed = {n for n, v in vars(Node).items() if callable(v) or isinstance(v, property)}
    own = set(ast.walk(ast.parse(inspect.getsource(Node))))
    defined = {n.name for n in own if isinstance(n, ast.FunctionDef)}
    # divmod(number, node) and NumPy's protocols are nobody's business
    rest = installed - defined - set(names) - {"__array_ufunc__", "__array_function__"}
    assert {n for n in rest if n not in vars(object)} == set()


def test_declared_functions_return_no_single_node() -> None:
    for name in declared(namespace, "Namespace"):
        assert name in o, name
        annotation = inspect.signature(getattr(o, name)).return_annotation
        assert annotation != "Node", name
    for name in o.names():
        if name not in declared(namespace, "Namespace"):
            assert inspect.signature(getattr(o, name)).return_annotation in ("Node", Node), name


def test_reference_of_sum_to_does_not_warn() -> None:
    x, v = sg.matrix("x"), sg.vector("v")
    f = sg.function([x, v], sg.grad((x * v).sum(), v), mode="eager")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inf = np.array([[np.inf, 1], [-np.inf, 1]], "float32")
        assert np.isnan(f(inf, np.ones(2, "float32"))[0])
