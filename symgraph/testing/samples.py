"""Small graphs that together meet every part of the code generator, and their native modules.

The tests emit them for other machines, and compare the hash of their text with a recorded one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import symgraph as sg
from symgraph.core.node import Node, new_input
from symgraph.core.record import dataclass
from symgraph.cpu.programs.module import Module
from symgraph.debug import stages
from symgraph.dims.dim import Dim, symbol


@dataclass(frozen=True, slots=True)
class Sample:
    """Results and updates of one function; `sizes` are its run-time sizes, none for exact ones."""

    outputs: tuple[Node, ...]
    updates: tuple[tuple[Node, Node], ...] = ()
    sizes: tuple[Dim, ...] = ()

    @property
    def leaves(self) -> list[Node]:
        """Return inputs, then shared variables."""
        return stages.leaves_of(self.outputs, self.updates)


def _matrix(rows: int | Dim, columns: int | Dim, dtype: str = "float32", name: str = "x") -> Node:
    return new_input(dtype, (rows, columns), name)


def _vector(n: int | Dim, dtype: str = "float32", name: str = "x") -> Node:
    return new_input(dtype, (n,), name)


def _one(node: Node) -> Sample:
    return Sample((node,))


def _elementwise(fn: Callable[[Node], Node], dtype: str = "float32") -> Callable[[], Sample]:
    return lambda: _one(fn(_vector(37, dtype)))


def _layer_norm() -> Sample:
    x = _matrix(8, 50)
    centred = x - x.mean(1, keepdims=True)
    return _one(centred / sg.sqrt((centred**2).mean(1, keepdims=True) + 1e-5))


def _step() -> Sample:
    """One step of gradient descent on a small network: products, broadcasts, updates in place."""
    x, labels = _matrix(16, 20), new_input("int64", (16,), "labels")
    w = sg.shared(np.zeros((20, 5), "float32"), "w")
    b = sg.shared(np.zeros(5, "float32"), "b")
    loss = sg.cross_entropy(sg.tanh(x @ w + b), labels).mean()
    steps = tuple((p, p - 0.1 * g) for p, g in zip((w, b), sg.grad(loss, [w, b]), strict=True))
    return Sample((loss,), steps)


def _random() -> Sample:
    rng = sg.random.RandomStream(7)
    return _one(rng.normal((40,)) + rng.uniform((40,)))


def _generic(fn: Callable[[Dim, Dim], Node]) -> Callable[[], Sample]:
    def make() -> Sample:
        m, n = symbol("m", low=2), symbol("n", low=2)
        return Sample((fn(m, n),), (), (m, n))

    return make


def _where() -> Sample:
    x, y = _matrix(7, 9), _matrix(7, 9, name="y")
    return Sample((sg.where((x > y) & (y > 0), x, -y), (x > y).any(0), (x >= y).all(1)))


def _conv() -> Sample:
    x, k = new_input("float32", (2, 3, 9, 11)), new_input("float32", (3, 1, 3, 3))
    return _one(sg.conv2d(x, k, groups=3))


def _conv_gradients() -> Sample:
    x, k = new_input("float32", (2, 3, 9, 11)), new_input("float32", (4, 3, 3, 3))
    return Sample(tuple(sg.grad(sg.square(sg.conv2d(x, k, 2, 1)).sum(), [x, k])))


def _pool() -> Sample:
    x = sg.max_pool2d(new_input("float32", (2, 3, 8, 12), "x"), (2, 2))
    return _one(x)


def _pool_gradient() -> Sample:
    x = new_input("float32", (2, 3, 8, 12), "x")
    return _one(sg.grad((sg.max_pool2d(x, (2, 2)) ** 2).sum(), x))


def _gather() -> Sample:
    x, k = _matrix(12, 7), new_input("int64", (5,), "k")
    return Sample((x[k], sg.grad((x[k] ** 2).sum(), x)))


def _product(m: int, k: int, n: int, dtype: str = "float32") -> Callable[[], Sample]:
    return lambda: _one(_matrix(m, k, dtype) @ _matrix(k, n, dtype, "y"))


SAMPLES: dict[str, Callable[[], Sample]] = {
    "add": _elementwise(lambda x: x + 1),
    "polynomial_f64": _elementwise(lambda x: ((2 * x + 3) * x - 1) * x, "float64"),
    "exp": _elementwise(sg.exp),
    "log1p_f64": _elementwise(sg.log1p, "float64"),
    "tanh": _elementwise(sg.tanh),
    "sin": _elementwise(sg.sin),
    "erf": _elementwise(sg.erf),
    "power": _elementwise(lambda x: sg.power(sg.abs(x), 1.7)),
    "sigmoid_f16": _elementwise(sg.sigmoid, "float16"),
    "int8": _elementwise(lambda x: x * 3 + (x >> 1), "int8"),
    "uint32": _elementwise(lambda x: x // 7 + x % 5, "uint32"),
    "cast": _elementwise(lambda x: sg.cast(x, "int16")),
    "sum": _elementwise(lambda x: x.sum()),
    "sum_f16": _elementwise(lambda x: x.sum(), "float16"),
    "long_sum": lambda: _one(_vector(100_000).sum()),
    "rows": lambda: _one(_matrix(9, 33).max(1)),
    "columns": lambda: _one(_matrix(33, 70).sum(0)),
    "softmax": lambda: _one(sg.softmax(_matrix(6, 33))),
    "log_softmax": lambda: _one(sg.log_softmax(_matrix(6, 33, "float64"))),
    "layer_norm": _layer_norm,
    "argmax": lambda: _one(sg.argmax(_matrix(6, 33), 1)),
    "where_bool": _where,
    "transpose": lambda: _one(_matrix(40, 24).T + 1),
    "reversed": lambda: _one(_vector(50)[::-1] * 2),
    "strided": lambda: _one(_vector(64)[::2] + _vector(64, name="y")[1::2]),
    "concatenate": lambda: _one(sg.concatenate([_matrix(3, 8), _matrix(4, 8, name="y")])),
    "pad": lambda: _one(sg.pad(_matrix(5, 8), 1)),
    "cumsum": lambda: _one(sg.cumsum(_matrix(6, 12), 1)),
    "gather": _gather,
    "one_hot": lambda: _one(sg.one_hot(new_input("int64", (9,), "k"), 11)),
    "matmul_tile": _product(12, 16, 24),
    "matmul_f64": _product(8, 12, 10, "float64"),
    "matmul_library": _product(64, 80, 96),
    "dot": lambda: _one(_vector(100) @ _vector(100, name="y")),
    "row_times_matrix": _product(1, 64, 64),
    "conv2d": _conv,
    "conv2d_gradients": _conv_gradients,
    "max_pool": _pool,
    "max_pool_gradient": _pool_gradient,
    "random": _random,
    "training_step": _step,
    "generic_softmax": _generic(lambda m, n: sg.softmax(_matrix(m, n))),
    "generic_columns": _generic(lambda m, n: _matrix(m, n).sum(0)),
    "generic_product": _generic(lambda m, n: _matrix(m, n) @ _matrix(n, m, name="y")),
    "generic_join": _generic(
        lambda m, n: sg.concatenate([_vector(m), _vector(n, name="y")]) * 2
    ),
}


def emitted(sample: Sample, vector_bytes: int) -> Module:
    """Return the native module of a sample for vectors of `vector_bytes`."""
    return stages.emitted(sample.outputs, sample.updates, sample.sizes, vector_bytes)
