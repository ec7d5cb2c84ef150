"""Functions of NumPy's names against NumPy: values by both backends, and derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import linalg

import symgraph as sg
from symgraph.autodiff.grad import Rop, grad
from symgraph.compile import eager
from symgraph.core.config import config
from symgraph.core.node import new_input

RNG = np.random.default_rng(0)
M = RNG.normal(size=(3, 4))
V = RNG.normal(size=(5,))
W = RNG.normal(size=(7,))
T = RNG.normal(size=(2, 3, 4))
SORTED = np.sort(RNG.normal(size=6))
HOLES = np.where(RNG.random((4, 5)) < 0.3, np.nan, RNG.normal(size=(4, 5)))
HOLES[2, 3] = 1.5
I = np.array([3, -1, 0, 7, 2, 3, 3])  # noqa: E741
J = np.array([12, 18, 0, -35, 9, 1, 0])
ODD = np.array([0.0, -0.0, 1.0, -1.5, np.inf, -np.inf, np.nan, 5e-324, 1e300, -2.5])
Pair = tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]


def same(name: str, *arrays: Any, **options: Any) -> Pair:
    """Return a case in which both libraries have the same call."""
    return (
        lambda *x: getattr(sg, name)(*x, **options),
        lambda *x: getattr(np, name)(*x, **options),
        arrays,
    )


PAIRS: dict[str, Pair] = {
    "block_diag": (sg.block_diag, linalg.block_diag, (M, V, np.array(2.0), M[:, :0], M[:2])),
    "block_diag of one": (sg.block_diag, linalg.block_diag, (M,)),
    "block_diag of nothing": (sg.block_diag, linalg.block_diag, ()),
    "block_diag of ints": (sg.block_diag, linalg.block_diag, (I[None], J)),
    "linspace of ints": (
        lambda: sg.linspace(-2, 5, 6, dtype="int64"), lambda: np.linspace(-2, 5, 6, dtype=int), ()),
    # sorting
    "sort": same("sort", T, axis=1), "sort of all": same("sort", M, axis=None),
    "sort rows": same("sort", M), "sort ints": same("sort", I),
    "sort with NaN": same("sort", HOLES, axis=0),
    "sort down": (lambda x: sg.sort(x, descending=True), lambda x: np.sort(x)[..., ::-1], (M,)),
    "topk": (lambda x: sg.topk(x, 2)[0], lambda x: np.sort(x)[..., :-3:-1], (M,)),
    "least": (
        lambda x: sg.topk(x, 2, 0, False)[1], lambda x: np.argsort(x, 0, kind="stable")[:2], (M,)),
    "lexsort": (lambda a, b: sg.lexsort((a, b)), lambda a, b: np.lexsort((a, b)), (J, I)),
    "unique": (lambda x: sg.unique(x, 5), np.unique, (I,)),
    "unique and all": (
        lambda x: sg.unique(x, 5, None, True, True, True),
        lambda x: np.unique(x, True, True, True), (I,)),
    "unique with NaN": (
        lambda x: sg.unique(x, 3, 0.5), lambda x: np.array([1.0, np.nan, 0.5]),
        (np.array([np.nan, 1.0, np.nan]),)),
    "unique, too many": (lambda x: sg.unique(x, 3), lambda x: np.unique(x)[:3], (I,)),
    # searching
    "searchsorted": same("searchsorted", SORTED, T),
    "searchsorted right": same("searchsorted", np.sort(I), I, side="right"),
    "digitize": same("digitize", T, SORTED), "digitize right": same("digitize", I, np.sort(J)[1:]),
    "interp": same("interp", np.linspace(-3, 3, 23), SORTED, RNG.normal(size=6)),
    "interp with ends": same("interp", V * 2, SORTED, SORTED**2, left=7.0, right=-7.0),
    "interp at the points": same("interp", SORTED, SORTED, SORTED**3),
    "histogram": (lambda x: sg.histogram(x, 4), lambda x: np.histogram(x, 4), (T,)),
    "histogram in a range": (
        lambda x: sg.histogram(x, 5, (-1.0, 0.5)), lambda x: np.histogram(x, 5, (-1.0, 0.5)), (T,)),
    "histogram with edges": (
        lambda x, e: sg.histogram(x, e, density=True),
        lambda x, e: np.histogram(x, e, density=True), (T, SORTED)),
    "histogram with weights": (
        lambda x, w: sg.histogram(x, 3, weights=w)[0],
        lambda x, w: np.histogram(x, 3, weights=w)[0], (V, V**2)),
    "histogram of ints": (lambda x: sg.histogram(x)[0], lambda x: np.histogram(x)[0], (I,)),
    "bincount": (
        lambda x: sg.bincount(x, length=9), lambda x: np.bincount(x, minlength=9),
        (I[[0, 2, 3, 5]],)),
    "bincount weights": (
        lambda x, w: sg.bincount(x, w, 4), lambda x, w: np.bincount(x, w, 4),
        (I[[0, 2, 4, 5, 6]], V)),
    # statistics
    "median": same("median", T, axis=(0, 2)), "median of all": same("median", M),
    "median keepdims": same("median", M, axis=1, keepdims=True),
    "median with NaN": same("median", HOLES, axis=1),
    "quantile": same("quantile", T, q=np.array([0.1, 0.5, 1.0]), axis=1),
    "percentile": same("percentile", M, q=37.0, axis=0, keepdims=True),
    **{
        f"quantile {m}": same("quantile", W, q=np.array([0.0, 0.3, 0.5, 0.75]), method=m)
        for m in ("lower", "higher", "midpoint", "nearest")
    },
    "nanmedian": same("nanmedian", HOLES, axis=1), "nanmedian of all": same("nanmedian", HOLES),
    "nanquantile": same("nanquantile", HOLES, q=np.array([0.2, 0.9]), axis=0),
    "nanpercentile": same("nanpercentile", HOLES, q=40.0),
    **{
        f"{f} {axis}": same(f, HOLES, axis=axis)
        for f in ("nansum", "nanprod", "nanmax", "nanmin", "nanmean", "nanvar", "nanstd")
        for axis in (None, 1)
    },
    "nanargmax": same("nanargmax", HOLES, axis=1), "nanargmin": same("nanargmin", HOLES),
    "nancumsum": same("nancumsum", HOLES, axis=1), "nancumprod": same("nancumprod", HOLES, axis=0),
    "nanvar ddof": same("nanvar", HOLES, axis=0, ddof=1),
    "ptp": same("ptp", T, axis=1),
    "average": same("average", M, axis=0), "average weighted": (
        lambda x, w: sg.average(x, 1, w), lambda x, w: np.average(x, 1, w), (M, V[:4] ** 2)),
    "average of all": (
        lambda x, w: sg.average(x, weights=w), lambda x, w: np.average(x, weights=w), (M, M**2)),
    "cov": same("cov", M), "cov of two": same("cov", M[0], M[1]),
    "cov of columns": same("cov", M, rowvar=False, bias=True), "cov of one": same("cov", V, ddof=0),
    "corrcoef": same("corrcoef", M),
    # calculus
    "diff": same("diff", T, axis=1), "diff twice": same("diff", W, n=2),
    "diff of bools": same("diff", M > 0),
    "diff with ends": (
        lambda x: sg.diff(x, prepend=0.5, append=x[:, :2]),
        lambda x: np.diff(x, prepend=0.5, append=x[:, :2]), (M,)),
    "ediff1d": same("ediff1d", M),
        "ediff1d with ends": same("ediff1d", V, to_end=[1.0, 2.0], to_begin=0.0),
    "gradient": same("gradient", M), "gradient of an axis": same("gradient", T, axis=2),
    "gradient spaced": (
        lambda x, h: sg.gradient(x, h, edge_order=2),
        lambda x, h: np.gradient(x, h, edge_order=2), (V[:5], SORTED[:5])),
    "gradient with steps": (
        lambda x: sg.gradient(x, 0.5, 2.0), lambda x: np.gradient(x, 0.5, 2.0), (M,)),
    "trapezoid": same("trapezoid", T, axis=1, dx=0.5),
    "trapezoid over points": (
        sg.trapezoid, np.trapezoid, (M, SORTED[:4])),
    "cross": same("cross", M[:, :3], RNG.normal(size=3)),
    "cross of an axis": same("cross", M, M[::-1].copy(), axis=0),
    "cross in the plane": (
        sg.cross, lambda a, b: a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0],
        (M[:, :2], M[:, 2:])),
    "inner": same("inner", T, M), "inner of vectors": same("inner", V, V[::-1].copy()),
    "vander": same("vander", V), "vander of ints": (
        lambda x: sg.vander(x, 3, True), lambda x: np.vander(x, 3, True), (I,)),
    "polyval": same("polyval", V, M),
    "polyadd": same("polyadd", V, W), "polyadd turned": same("polyadd", W, V),
    "polysub": same("polysub", V, W), "polymul": same("polymul", V, W),
    "polyder": same("polyder", W), "polyder twice": same("polyder", V, m=2),
    "polyder to nothing": same("polyder", V[:2], m=3),
    "polyint": same("polyint", W), "polyint twice": same("polyint", V, m=2, k=[3.0, -1.0]),
    "polyfit": same("polyfit", W, np.arange(7.0) ** 1.5, deg=3),
    "polyfit weighted": (
        lambda x, y, w: sg.polyfit(x, y, 2, w), lambda x, y, w: np.polyfit(x, y, 2, w=w),
        (W, RNG.normal(size=(7, 2)), RNG.uniform(0.5, 2, 7))),
    # windows
    **{f"{w} of {n}": (lambda w=w, n=n: getattr(sg, w)(n), lambda w=w, n=n: getattr(np, w)(n), ())
       for w in ("bartlett", "hanning", "hamming", "blackman") for n in (0, 1, 2, 7, 8)},
    **{f"kaiser of {n}": (lambda b, n=n: sg.kaiser(n, b), lambda b, n=n: np.kaiser(n, float(b)),
        (np.array(8.6),)) for n in (1, 2, 7, 8)},
    # products of vectors
    "vecdot": same("vecdot", T, M), "vecdot of an axis": same("vecdot", M, M + 1, axis=0),
    "matvec": same("matvec", T, V[:4]), "vecmat": same("vecmat", M[:2, :3], T),
    # masks
    "flatnonzero": (
        lambda x: sg.flatnonzero(x, 8, -1), lambda x: np.r_[np.flatnonzero(x), -1, -1],
        (I,)),
    "flatnonzero of few": (lambda x: sg.flatnonzero(x < 0, 2), lambda x: np.flatnonzero(x < 0)[:2],
        (V,)),
    "compress": (
        lambda x: sg.compress([True, False, True], x, 2, 0),
        lambda x: np.compress([True, False, True], x, 0), (M,)),
    "compress and fill": (
        lambda x: sg.compress([0, 1, 1, 0], x, 3, 1, 7.0),
        lambda x: np.c_[np.compress([0, 1, 1, 0], x, 1), np.full(3, 7.0)], (M,)),
    "extract": (
        lambda x: sg.extract(sg.as_tensor(M > 0), x, int((M > 0).sum())),
        lambda x: np.extract(M > 0, x), (M,)),
    "isin": same("isin", I[:, None], J), "isin of nothing": same("isin", I, J[:0]),
    "isin inverted": same("isin", np.array([1.0, np.nan, 3.5]), [3.5, np.nan], invert=True),
    "isin of other dtypes": same("isin", I, np.array([3.0, 2.5])),
    **{f"convolve {m}": same("convolve", W, V, mode=m) for m in ("full", "same", "valid")},
    **{f"convolve {m} turned": same("convolve", V, W, mode=m) for m in ("full", "same", "valid")},
    **{f"correlate {m}": same("correlate", W, V[:4], mode=m) for m in ("full", "same", "valid")},
    **{f"correlate {m} turned": same("correlate", V[:4], W, mode=m) for m in ("full", "same",
        "valid")},
    "convolve ints": same("convolve", I, J),
    "unwrap": same("unwrap", np.cumsum(RNG.uniform(-3, 4, 20)) % 6.0),
    "unwrap an axis": same("unwrap", RNG.uniform(-9, 9, (4, 3)), axis=0, discont=4.0),
    "unravel_index": (
        lambda x: sg.unravel_index(x, (3, 4)), lambda x: np.unravel_index(x, (3, 4)),
        (np.array([0, 5, 11]),)),
    "ravel_multi_index": (
        lambda a, b: sg.ravel_multi_index((a, b), (8, 9)),
        lambda a, b: np.ravel_multi_index((a, b), (8, 9)), (I[2:5], I[3:6])),
    # layout
    **{f: (lambda a, b, f=f: getattr(sg, f)([a, b]), lambda a, b, f=f: getattr(np, f)([a, b]),
        (M, M + 1))
       for f in ("hstack", "vstack", "dstack", "column_stack")},
    "hstack of vectors": (lambda a, b: sg.hstack([a, b]), lambda a, b: np.hstack([a, b]), (V, W)),
    "columns": (lambda a: sg.column_stack([a, 2 * a]), lambda a: np.column_stack([a, 2 * a]), (V,)),
    "dstack of vectors": (lambda a: sg.dstack([a, a]), lambda a: np.dstack([a, a]), (V,)),
    "append": same("append", M, M, axis=1), "append flat": same("append", M, V),
    "delete": (lambda x: sg.delete(x, [0, 2], 1), lambda x: np.delete(x, [0, 2], 1), (M,)),
    "insert": (lambda x: sg.insert(x, 1, 5.0, 0), lambda x: np.insert(x, 1, 5.0, 0), (M,)),
    "insert row": (lambda x, v: sg.insert(x, -1, v, 1), lambda x, v: np.insert(x, -1, v, 1),
        (M, V[:3])),
    "array_split": (lambda x: sg.array_split(x, 3), lambda x: np.array_split(x, 3), (W,)),
    "hsplit": (lambda x: sg.hsplit(x, 2), lambda x: np.hsplit(x, 2), (M,)),
    "vsplit": (lambda x: sg.vsplit(x, [1]), lambda x: np.vsplit(x, [1]), (M,)),
    "dsplit": (lambda x: sg.dsplit(x, 2), lambda x: np.dsplit(x, 2), (T,)),
    "unstack": (lambda x: sg.unstack(x, 1), lambda x: list(np.moveaxis(x, 1, 0)), (T,)),
    "fliplr": same("fliplr", M), "flipud": same("flipud", M),
    **{f"rot90 {k}": same("rot90", T, k=k, axes=(0, 2)) for k in range(-1, 4)},
    "rollaxis": same("rollaxis", T, axis=2, start=1),
        "rollaxis back": same("rollaxis", T, axis=0, start=3),
    "roll axes": (lambda x: sg.roll(x, (1, 2), (0, 1)), lambda x: np.roll(x, (1, 2), (0, 1)), (M,)),
    "diagflat": same("diagflat", M, k=1),
    "fill_diagonal": (
        lambda x: sg.fill_diagonal(x, 2.0),
        lambda x: np.where(np.eye(3, 4, dtype=bool), 2.0, x), (M,)),
    "broadcast_arrays": same("broadcast_arrays", M, V[:4]),
    "choose": (
        lambda i, a, b: sg.choose(i, [a, b, a * b]), lambda i, a, b: np.choose(i, [a, b, a * b]),
        (np.array([[0, 1, 2, 1], [2, 2, 0, 0], [1, 0, 1, 2]]), M, V[:4])),
    "choose wrapped": (

               lambda i: sg.choose(i, [1, 2, 3], "wrap"),
        lambda i: np.choose(i, [1, 2, 3], mode="wrap"), (I,)),
    "piecewise": (
        lambda x: sg.piecewise(x, [x < 0, x > 1], [lambda v: v**2, 5.0, lambda v: 2 * v]),
        lambda x: np.piecewise(x, [x < 0, x > 1], [lambda v: v**2, 5.0, lambda v: 2 * v]), (M,)),
    "piecewise of ints": (
        lambda x: sg.piecewise(x, [x < 2, x < 1], [lambda v: v * 2, -1]),
        lambda x: np.piecewise(x, [x < 2, x < 1], [lambda v: v * 2, -1]), (I,)),
    "block": (
        lambda a, b: sg.block([[a, a], [b, b]]), lambda a, b: np.block([[a, a], [b, b]]),
        (M, M[:1])),
    "block of mixed ranks": (
        lambda a, b: sg.block([[a, b], [2.0, b * 2]]),
        lambda a, b: np.block([[a, b], [2.0, b * 2]]), (np.array([[1.5]]), V)),
    "block of a row": (lambda a, t: sg.block([t, t]), lambda a, t: np.block([t, t]), (M, T)),
    **{f"resize to {n}": (lambda x, n=n: sg.resize(x, n), lambda x, n=n: np.resize(x, n), (M,))
       for n in (5, (3, 5), (2, 0))},
    "resize of none": (lambda x: sg.resize(x, (2, 2)), lambda x: np.resize(x, (2, 2)), (V[:0],)),
    "fix": same("fix", M * 3), "empty_like": (sg.empty_like, np.zeros_like, (M,)),
    "tril_indices": (lambda x: x[tuple(sg.tril_indices(3, 1, 4))],
        lambda x: x[np.tril_indices(3, 1, 4)], (M,)),
    "triu_indices": (lambda x: x[tuple(sg.triu_indices_from(x, -1))],
        lambda x: x[np.triu_indices_from(x, -1)], (M,)),
    "tril_indices_from": (lambda x: x[tuple(sg.tril_indices_from(x))],
        lambda x: x[np.tril_indices_from(x)], (M,)),
    "diag_indices": (lambda x: x[tuple(sg.diag_indices(3))], lambda x: x[np.diag_indices(3)],
        (M,)),
    "histogram2d": (
        lambda x, y: sg.histogram2d(x, y, 4), lambda x, y: np.histogram2d(x, y, 4), (W, W**2)),
    "histogram2d of edges": (
        lambda x, y: sg.histogram2d(x, y, [[-1.0, 0.0, 2.0], 3], ((-1, 2), (-2, 2)), density=True),
        lambda x, y: np.histogram2d(x, y, [[-1.0, 0.0, 2.0], 3], ((-1, 2), (-2, 2)), density=True),
        (W, W[::-1].copy())),
    "histogram2d of weights": (
        lambda x, y, w: sg.histogram2d(x, y, (2, 3), weights=w),
        lambda x, y, w: np.histogram2d(x, y, (2, 3), weights=w), (W, W**2, W + 3)),
    "partition": (lambda x: sg.partition(x, 1)[..., 1], lambda x: np.partition(x, 1)[..., 1], (M,)),
    "argpartition": (
        lambda x: sg.argpartition(x, 1, 0)[1], lambda x: np.argpartition(x, 1, 0)[1], (T,)),
    "select": (
        lambda x: sg.select([x > 1, x > 0], [x, -x], 9.0),
        lambda x: np.select([x > 1, x > 0], [x, -x], 9.0), (M,)),
    "atleast_3d": same("atleast_3d", M), "atleast_3d of a vector": same("atleast_3d", V),
    "logspace": (lambda x: x * sg.logspace(-1, 2, 5), lambda x: x * np.logspace(-1, 2, 5), (V,)),
    "geomspace": (lambda x: x * sg.geomspace(-1, -32, 5), lambda x: x * np.geomspace(-1, -32, 5),
        (V,)),
    "indices": (lambda x: x * sg.indices((3, 4)), lambda x: x * np.indices((3, 4)), (M,)),
    # elementwise
    "frexp": same("frexp", ODD), "modf": same("modf", ODD), "signbit": same("signbit", ODD),
    "ldexp": (sg.ldexp, np.ldexp, (ODD[[0, 2, 3, 9]], np.array([1, -3, 40, 1000]))),
    "ldexp at the limits": (
        sg.ldexp, np.ldexp,
        (np.array([1.0, 1.5, 3e-308, 1e-300]), np.array([-1030, 1023, 2000, 2000]))),
    "spacing": same("spacing", ODD[[0, 2, 3, 7, 8, 9]]),
    "logaddexp2": same("logaddexp2", V, V[::-1] * 500),
    "heaviside": same("heaviside", ODD, np.full(10, 0.25)),
    "fmax": (sg.fmax, np.fmax, (ODD, ODD[::-1].copy())),
    "fmin": (sg.fmin, np.fmin, (ODD, ODD[::-1].copy())),
    "float_power": same("float_power", I.astype(float), 2), "fabs": same("fabs", I),
    "degrees": same("degrees", V), "radians": same("radians", V),
    "isposinf": same("isposinf", ODD), "isneginf": same("isneginf", ODD),
    "isclose": same("isclose", ODD, ODD * (1 + 1e-6)),
    "isclose NaN": same("isclose", ODD, ODD, equal_nan=True),
    "allclose": same("allclose", V, V + 1e-9), "array_equal": same("array_equal", I, J),
    "array_equal NaN": same("array_equal", HOLES, HOLES, equal_nan=True),
    "gcd": same("gcd", I * 6, J), "lcm": same("lcm", I, J), "bit_count": (
        sg.bit_count, np.bitwise_count, (np.array([0, 1, -128, 127, -1], "int8"),)),
    "bit_count of words": (sg.bit_count, np.bitwise_count, (J * 123456789012345,)),
}  # fmt: skip


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def built(name: str) -> tuple[list[Any], list[Any], list[np.ndarray], list[Any]]:
    ours, numpys, given = PAIRS[name]
    arrays = [np.asarray(a) for a in given]
    inputs = [new_input(a.dtype, a.shape, f"x{k}") for k, a in enumerate(arrays)]
    with config.override(floatX="float64"):
        results = _list(ours(*inputs))
    with np.errstate(all="ignore"):
        expected = _list(numpys(*arrays))
    return inputs, results, arrays, expected


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(PAIRS))
def test_value(name: str) -> None:
    inputs, results, arrays, expected = built(name)
    with config.override(floatX="float64", numerics="strict"):
        f = sg.function(inputs, results, on_unused_input="ignore")
    native = f(*arrays)
    by_numpy = eager.evaluate(results, dict(zip(inputs, arrays, strict=True)))
    assert len(results) == len(expected)
    wanted = map(np.asarray, expected)
    for node, a, b, e in zip(results, native, by_numpy, wanted, strict=True):
        assert node.type.shape == e.shape == a.shape
        assert node.dtype.kind == e.dtype.kind or {node.dtype.kind, e.dtype.kind} == {"i", "u"}
        for value in (a, b):
            np.testing.assert_allclose(value, e, rtol=1e-11, atol=1e-13)
            assert np.array_equal(np.signbit(value), np.signbit(e)) or name != "modf"


FLAT = (
    *("of nothing", "of ints", "least", "lexsort", "unique", "search", "digitize", "histogram"),
    *("NaN", "nan", "flatnonzero", "fix", "empty_like", "argpartition"),
    *("bartlett", "hanning", "hamming", "blackman", "piecewise of ints"),
    *("bincount", "bools", "frexp", "modf", "signbit", "ldexp", "spacing", "heaviside", "fm", "is"),
    *("allclose", "array_equal", "gcd", "lcm", "bit_count", "index", "choose", "sort ints", "fabs"),
    *("interp at the points", "convolve ints", "float_power", "logaddexp2"),
)
SMOOTH = [n for n in sorted(PAIRS) if not any(f in n for f in FLAT)]


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives(name: str) -> None:
    """Forward and reverse mode against central differences of NumPy's function."""
    inputs, results, arrays, _ = built(name)
    rng = np.random.default_rng(1)
    results = [r for r in results if r.dtype.is_float]
    weights = [rng.normal(size=r.type.shape) for r in results]
    cost = sum((r * w).sum() for r, w in zip(results, weights, strict=True))
    values = dict(zip(inputs, arrays, strict=True))
    steps = [rng.normal(size=a.shape) for a in arrays]
    gradients = grad(cost, inputs, disconnected_inputs="ignore")
    us = [new_input("float64", a.shape, "u") for a in arrays]
    values |= dict(zip(us, steps, strict=True))
    *found, forward = eager.evaluate([*gradients, Rop(cost, inputs, us)], values)
    _, numpys, _ = PAIRS[name]

    def total(h: float) -> float:
        moved = _list(numpys(*(a + h * d for a, d in zip(arrays, steps, strict=True))))
        return sum(float((m * w).sum()) for m, w in zip(moved, weights, strict=True))

    expected = (total(1e-6) - total(-1e-6)) / 2e-6
    reverse = sum(float((g * d).sum()) for g, d in zip(found, steps, strict=True))
    assert abs(reverse - expected) < 1e-6 * (1 + abs(expected))
    assert abs(float(forward) - reverse) < 1e-10 * (1 + abs(expected))


@pytest.mark.parametrize("shapes", ["exact", "auto", "eager"])
@pytest.mark.parametrize("mode", ["edge", "reflect", "symmetric", "wrap"])
def test_padding_an_empty_axis_says_so(mode: str, shapes: str) -> None:
    x = sg.vector("x", dtype="float64")
    how = {"mode": "eager"} if shapes == "eager" else {"shapes": shapes}
    f = sg.function([x], sg.pad(x, 2, mode=mode), **how)
    for n in (3, 5, 7, 9):  # then a size no version was made for
        f(np.zeros(n))
    says = r"(?s)its axis 0 has none.*test_numpy_functions\.py.*mend:"
    with pytest.raises(IndexError, match=says):
        f(np.zeros(0))


@pytest.mark.parametrize("shapes", ["auto", "generic"])
def test_the_inverse_of_unique_has_the_shape_of_the_array(shapes: Any) -> None:
    a = np.array([[3, 1, 3], [2, 2, 1]])
    x = sg.tensor("x", (None, None), "int64")
    f = sg.function([x], sg.unique(x, 3, return_inverse=True), shapes=shapes)
    for found, wanted in zip(f(a), np.unique(a, return_inverse=True), strict=True):
        assert np.array_equal(found, wanted)


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_functions_of_vectors_are_applied_along_an_axis(axis: int, static: bool) -> None:
    a = RNG.normal(size=(4, 3, 2))
    x = sg.tensor("x", a.shape if static else (None,) * 3, "float64")
    for ours, theirs in (
        (lambda v: sg.sum(v**2), lambda v: np.sum(v**2)),
        (sg.cumsum, np.cumsum),
        (lambda v: sg.outer(v, v), lambda v: np.outer(v, v)),
    ):
        y = sg.apply_along_axis(ours, axis, x)
        value, g = sg.function([x], [y, sg.grad(sg.sum(y), x)])(a)
        assert np.allclose(value, np.apply_along_axis(theirs, axis, a))
        assert g.shape == a.shape


def test_unions_and_edges_of_bins() -> None:
    x, y = sg.vector("x", dtype="int64"), sg.vector("y", dtype="int64")
    a, b = np.array([3, 1, 3]), np.array([2, 1, 7])
    assert np.array_equal(sg.function([x, y], sg.union1d(x, y, 4))(a, b), np.union1d(a, b))
    v = sg.vector("v", dtype="float64")
    values = RNG.normal(size=20)
    for bins, limits in ((5, None), (3, (-1.0, 2.0))):
        found = sg.function([v], sg.histogram_bin_edges(v, bins, limits), on_unused_input="ignore")
        assert np.allclose(found(values), np.histogram_bin_edges(values, bins, limits))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: sg.tril_indices(sg.lscalar("n")), "which is not known"),
        (lambda: sg.block([[1.0], []]), "nested 2 deep"),
        (lambda: sg.block([[1.0], 2.0]), "nested 2 deep"),
        (lambda: sg.partition(sg.tensor("q", (3,)), 3), "has no place 3"),
        (lambda: sg.polyfit(sg.vector(), sg.vector(), -1), "deg >= 0"),
        (lambda: sg.polyadd(sg.matrix("p"), sg.vector()), "coefficients are a vector"),
        (lambda: sg.piecewise(sg.vector(), [], [1, 2]), "2 functions were given for 0"),
        (lambda: sg.hanning(3, "int32"), "needs a float dtype"),
    ],
)
def test_errors(make: Callable[[], Any], text: str) -> None:
    with pytest.raises((ValueError, TypeError), match=text):
        make()


def test_unknown_sizes() -> None:
    x = sg.vector("x", dtype="float64")
    n = x.shape[0]
    values = [
        sg.flatnonzero(x > 0, 3, -1), sg.compress(x > 0, x, 3), sg.isin(x, x[:1]),
        sg.polyadd(x, [1.0, 2.0, 3.0]), sg.polyder(x), sg.kaiser(n, 5.0, "float64"),
        sg.resize(x, (2, 5)), sg.histogram2d(x, x * 2, 3)[0],
    ]  # fmt: skip
    rng = np.random.default_rng(3)
    for shapes in ("auto", "generic"):
        f = sg.function([x], values, shapes=shapes)
        for size in (5, 2, 9, 1, 4):
            a = rng.normal(size=size)
            up = np.flatnonzero(a > 0)[:3]
            wanted = [
                np.r_[up, [-1] * (3 - len(up))], np.r_[a[up], [0.0] * (3 - len(up))],
                np.isin(a, a[:1]), np.polyadd(a, [1.0, 2.0, 3.0]), np.polyder(a),
                np.kaiser(size, 5.0), np.resize(a, (2, 5)), np.histogram2d(a, a * 2, 3)[0],
            ]  # fmt: skip
            for got, want in zip(f(a), wanted, strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-12)
