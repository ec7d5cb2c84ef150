"""Properties of complex numbers: drawn expressions, layouts and values against NumPy."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import symgraph as sg

KINDS = ("complex64", "complex128", "float32", "float64", "int32", "bool")
SMOOTH = ("complex128", "float64")
SHAPES = ((2, 3, 4), (3, 4), (4,), (1, 4), (3, 1), (2, 1, 1), (), (2, 3, 1))
EMPTY = ((2, 0, 4), (0, 4), (4,), (1, 4), (0, 1), (2, 1, 1), ())
PERTURBED = 3  # oracle runs with inputs an eps away, which tell how ill-conditioned a value is
Array = np.ndarray
Both = Callable[[Any, Any], Any]  # f(library, values ...), the library NumPy or symgraph


# -- what expressions are made of -----------------------------------------------------------------
def _size(x: Any, lib: Any) -> Any:
    """Return |x|^2 in either library."""
    return lib.real(x) * lib.real(x) + lib.imag(x) * lib.imag(x)


def _last(x: Any) -> Any:
    return x if x.ndim == 0 else x[..., ::-1]


UNARY: dict[str, Callable[[Any, Any], Any]] = {
    "neg": lambda lib, x: 0 - x,
    "conj": lambda lib, x: lib.conj(x * 1),
    "real": lambda lib, x: lib.real(x * 1),
    "imag": lambda lib, x: lib.imag(x * 1j),
    "abs": lambda lib, x: lib.abs(x + 0.5j),
    "times i": lambda lib, x: x * 1j,
    "exp": lambda lib, x: lib.exp(x * 0.3),
    "sin, cos": lambda lib, x: lib.sin(x * 0.5) - 1j * lib.cos(x * 0.25),
    "sqrt": lambda lib, x: lib.sqrt(_size(x, lib) + 1),
    "tanh": lambda lib, x: lib.tanh(x * 0.1),
    "square": lambda lib, x: lib.square(x * 0.5),
    "power": lambda lib, x: (x * 0.5) ** 3,
    "quotient": lambda lib, x: x / (_size(x, lib) + 2 + 1j),
    "sign": lambda lib, x: (x * 1) / lib.sqrt(_size(x, lib) + 1),
    "sum": lambda lib, x: lib.sum(x * 1.0, axis=-1, keepdims=True) if x.ndim else x,
    "sum of all": lambda lib, x: lib.sum(x * 1.0),
    "mean": lambda lib, x: lib.mean(x * 1.0, axis=0) if x.ndim else x,
    "prod": lambda lib, x: lib.prod(x * 0.5, axis=-1) if x.ndim else x,
    "cumsum": lambda lib, x: lib.cumsum(x * 1.0, axis=-1) if x.ndim else x,
    "flip": lambda lib, x: _last(x),
    "every other": lambda lib, x: x[..., ::2] if x.ndim else x,
    "transpose": lambda lib, x: x.T,
    "ravel": lambda lib, x: lib.reshape(x, (-1,)) if 0 not in x.shape else x,
    "join": lambda lib, x: lib.concatenate([x, x * 1j], 0) if x.ndim else x,
    "roll": lambda lib, x: lib.roll(x, 1, axis=-1) if x.ndim else x,
    "new axis": lambda lib, x: x[None],
    "gram": lambda lib, x: x * 1.0 @ lib.conj(x * 1.0).T if x.ndim == 2 else x,
}
BINARY: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add": lambda lib, x, y: x * 1.0 + y,
    "sub": lambda lib, x, y: x * 1.0 - y,
    "mul": lambda lib, x, y: x * 1.0 * y,
    "div": lambda lib, x, y: x / (_size(y, lib) + 2 - 1j),
    "where": lambda lib, x, y: lib.where(MASK, x * 1.0, y * 1.0),
    "matmul": lambda lib, x, y: lib.matmul(x * 1.0, y.T * 1.0) if _match(x, y) else x,
    "outer": lambda lib, x, y: x[..., None] * (y * 1.0) if x.ndim < 3 and y.ndim < 2 else x,
}
MASK = np.array([True, False, False, True])


def _match(x: Any, y: Any) -> bool:
    return x.ndim == 2 and y.ndim == 2 and x.shape[-1] == y.shape[-1]


Tree = Any  # an index of a leaf, (name, tree) or (name, tree, tree)


def trees(leaves: int) -> Any:
    base = st.integers(0, leaves - 1)
    grown = st.recursive(
        base,
        lambda inner: st.one_of(
            st.tuples(st.sampled_from(sorted(UNARY)), inner),
            st.tuples(st.sampled_from(sorted(BINARY)), inner, inner),
        ),
        max_leaves=4,
    )
    return grown.filter(lambda t: not isinstance(t, int))


def computed(tree: Tree, leaves: Sequence[Any], lib: Any) -> Any:
    """Return the value of a tree; operands that do not broadcast leave the first one."""
    if isinstance(tree, int):
        return leaves[tree]
    name, *parts = tree
    values = [computed(p, leaves, lib) for p in parts]
    if len(values) == 1:
        return UNARY[name](lib, values[0])
    x, y = values
    shapes = [tuple(v.type.shape) if lib is sg else v.shape for v in values]
    if name == "where":
        shapes.append(MASK.shape)
    if name not in ("matmul", "outer"):
        try:
            np.broadcast_shapes(*shapes)
        except ValueError:
            return x
    return BINARY[name](lib, x, y)


# -- leaves ---------------------------------------------------------------------------------------
def drawn(rng: np.random.Generator, shape: Any, kind: str, layout: int) -> Array:
    """Return numbers of one dtype that lie in memory in one of several ways."""
    wide = (*shape[:-1], 2 * shape[-1]) if shape else shape
    x = rng.uniform(-2, 2, wide) + 1j * rng.uniform(-2, 2, wide)
    if kind == "bool":
        whole: Array = np.asarray(x.real > 0)
    else:
        whole = np.asarray(x if kind.startswith("c") else x.real).astype(kind)
    if not shape:
        return whole
    if layout == 0:
        return np.ascontiguousarray(whole[..., : shape[-1]])
    if layout == 1:
        return whole[..., ::-2]
    if layout == 2:
        return np.asfortranarray(whole[..., ::2])
    return np.broadcast_to(whole[..., :1], shape)


def perturbed(rng: np.random.Generator, x: Array, eps: float) -> Array:
    if x.dtype.kind not in "fc":
        return x
    noise = 1 + eps * rng.choice([-1.0, 1.0], x.shape)
    return np.asarray(x * noise)


def wide(x: Array) -> Array:
    """Return the array in the widest type of its kind, for the oracle."""
    return x.astype({"c": "complex128", "f": "float64", "i": "int64", "b": "bool"}[x.dtype.kind])


leaf = st.tuples(st.sampled_from(range(len(EMPTY))), st.sampled_from(KINDS), st.integers(0, 3))


@settings(max_examples=60, deadline=None)
@given(st.lists(leaf, min_size=1, max_size=3), st.data(), st.integers(0, 2**32), st.booleans())
def test_expressions_are_those_of_numpy(
    specs: Any, data: Any, seed: int, empty: bool
) -> None:
    rng = np.random.default_rng(seed)
    arrays = [drawn(rng, (EMPTY if empty else SHAPES)[k], *rest) for k, *rest in specs]
    tree = data.draw(trees(len(arrays)))
    inputs = [sg.tensor(f"x{k}", a.shape, a.dtype) for k, a in enumerate(arrays)]
    y = computed(tree, inputs, sg)
    value = sg.function(inputs, y, on_unused_input="ignore")(*arrays)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the mean of nothing
        expected = np.asarray(computed(tree, [wide(a) for a in arrays], np))
        eps = float(np.finfo(np.float32 if value.dtype.itemsize < 16 else np.float64).eps)
        # integers too become float32 where an expression makes real numbers of them
        narrow = any(a.dtype not in ("float64", "complex128") for a in arrays)
        if narrow or value.dtype in ("complex64", "float32"):
            eps = float(np.finfo(np.float32).eps)
        others = [
            np.asarray(computed(tree, [perturbed(rng, wide(a), eps) for a in arrays], np))
            for _ in range(PERTURBED)
        ]
    assert value.shape == expected.shape and value.dtype == y.dtype
    assert (value.dtype.kind == "c") == (expected.dtype.kind == "c")
    close(value, expected, others, eps)


def close(value: Array, expected: Array, others: list[Array], eps: float) -> None:
    """Rounding may do what changes of the inputs by an eps do, some times over."""
    if not expected.size:
        return
    value, expected = value * 1.0, expected * 1.0  # numbers of bools and integers
    scale = np.abs(np.where(np.isfinite(expected), expected, 0)).max() + 1
    moved = max(float(np.abs(o - expected).max()) for o in others)
    limit = 200 * eps * scale + 100 * moved
    assert np.array_equal(np.isnan(value), np.isnan(expected))
    assert not (np.abs(value - expected) > limit).any()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(range(len(SHAPES))), st.sampled_from(SMOOTH), st.just(0)),
        min_size=1, max_size=2,
    ),
    st.data(),
    st.integers(0, 2**32),
)  # fmt: skip
def test_gradients_are_slopes_in_both_parts(specs: Any, data: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = [drawn(rng, SHAPES[k], *rest) for k, *rest in specs]
    tree = data.draw(trees(len(arrays)))
    inputs = [sg.tensor(f"x{k}", a.shape, a.dtype) for k, a in enumerate(arrays)]
    y = computed(tree, inputs, sg)
    weights = rng.normal(size=y.type.shape) + 1j * rng.normal(size=y.type.shape)
    cost = sg.sum(sg.real(y * sg.as_tensor(weights)))
    gradients = sg.grad(cost, inputs, disconnected_inputs="ignore")
    ways = [drawn(rng, a.shape, str(a.dtype), 0) for a in arrays]
    tangent = sg.Rop(cost, inputs, [sg.as_tensor(w) for w in ways])
    f = sg.function(inputs, [cost, tangent, *gradients], on_unused_input="ignore")
    _, forward, *gs = f(*arrays)
    slope = sum(float((g.conj() * w).real.sum()) for g, w in zip(gs, ways, strict=True))
    assert [g.dtype for g in gs] == [a.dtype for a in arrays]

    def at(h: float) -> float:
        moved = [a + h * w for a, w in zip(arrays, ways, strict=True)]
        return float(np.sum((np.asarray(computed(tree, moved, np)) * weights).real))

    step = 1e-4  # two step lengths: the error of order h^2 cancels
    rough, fine = ((at(h) - at(-h)) / (2 * h) for h in (2 * step, step))
    numeric = (4 * fine - rough) / 3
    # rounding of the cost, and what is left of the cancelled error
    limit = 1e-11 / step * (1 + abs(at(0.0)) + float(np.abs(weights).sum()))
    limit += 1e-6 * (1 + abs(numeric)) + abs(fine - rough)
    assert abs(slope - numeric) <= limit
    assert abs(slope - forward) <= 1e-9 * (1 + sum(float(np.abs(g).sum()) for g in gs))


# -- values that are not numbers ------------------------------------------------------------------
def _product(x: Array, y: Array) -> Array:
    """Return x y by its definition; NumPy's own fuses operations on some processors only.

    1e300 * 1e300 - inf is NaN, and -inf where it is one operation.
    """
    z = np.empty(x.shape, complex)
    z.real = x.real * y.real - x.imag * y.imag
    z.imag = x.real * y.imag + x.imag * y.real
    return z


PARTS = (0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan, 1e-310, 1e300)
SPECIAL: dict[str, Callable[..., Any]] = {
    "add": lambda lib, x, y: x + y,
    "sub": lambda lib, x, y: x - y,
    "mul": lambda lib, x, y: x * y if lib is sg else _product(x, y),
    "neg": lambda lib, x, y: -x,
    "conj": lambda lib, x, y: lib.conj(x),
    "abs": lambda lib, x, y: lib.abs(x),
    "real, imag": lambda lib, x, y: lib.real(x) + lib.imag(y),
    "equal": lambda lib, x, y: lib.equal(x, y),
    "differ": lambda lib, x, y: lib.not_equal(x, y),
    "isnan": lambda lib, x, y: lib.isnan(x),
    "isfinite": lambda lib, x, y: lib.isfinite(x),
    "exp": lambda lib, x, y: lib.exp(x),
    "sqrt": lambda lib, x, y: lib.sqrt(x),
    "where": lambda lib, x, y: lib.where(lib.isnan(x), y, x),
    "sum": lambda lib, x, y: lib.sum(lib.stack([x, y]), axis=0),
}
part_value = st.sampled_from(PARTS)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(SPECIAL)),
    st.lists(st.tuples(*[part_value] * 4), min_size=1, max_size=12),
)
def test_infinities_and_nan_are_those_of_numpy(name: str, rows: Any) -> None:
    table = np.array(rows)
    x, y = np.empty(len(table), complex), np.empty(len(table), complex)
    x.real, x.imag, y.real, y.imag = table.T
    a, b = sg.tensor("a", x.shape, "complex128"), sg.tensor("b", x.shape, "complex128")
    value = sg.function([a, b], SPECIAL[name](sg, a, b), on_unused_input="ignore")(x, y)
    expected = np.asarray(SPECIAL[name](np, x, y))
    assert value.dtype == expected.dtype
    value, expected = value + 0.0, expected + 0.0
    for mine, theirs in ((value.real, expected.real), (value.imag, expected.imag)):
        same = (mine == theirs) | (np.isnan(mine) & np.isnan(theirs))
        near = np.abs(np.where(same, 0, mine - theirs)) <= 1e-13 * np.abs(expected)
        assert (same | near).all(), (x, y, value, expected)
