"""Functions against the tables of correctly rounded values that NumPy and SciPy ship for theirs."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

import symgraph as sg
from symgraph.core.op import o

NUMPY = Path(np.__file__).parent / "_core/tests/data"
OURS = {
    "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh", "arctan": "atan",
    "arctanh": "atanh",
}  # fmt: skip
FILES = sorted(p.name for p in NUMPY.glob("umath-validation-set-*.csv"))


def stated(node) -> float:
    """Return the ulp that the op says it may be off; half an ulp is the table's own rounding."""
    return node.op.ulp[str(node.dtype)] + 0.5


def ulps(found, wanted):
    with np.errstate(all="ignore"):
        wide = np.longdouble
        error = np.abs(found.astype(wide) - wanted.astype(wide)) / np.spacing(np.abs(wanted))
    same = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
    return np.where(same, 0, np.where(np.isnan(error), np.inf, error))


@pytest.mark.skipif(not FILES, reason="this NumPy comes without its tables")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("file", FILES)
def test_numpys_table(file, dtype):
    name = file.removesuffix(".csv").rpartition("-")[2]
    rows = [line.strip().split(",") for line in (NUMPY / file).read_text().splitlines()]
    rows = [r for r in rows if r[0] == f"np.{dtype}"]
    bits = np.dtype(dtype.replace("float", "uint"))
    x, y = (np.array([int(r[k], 16) for r in rows], bits).view(dtype) for k in (1, 2))
    v = sg.tensor("v", (None,), dtype)
    node = getattr(o, OURS.get(name, name))(v)
    error = ulps(sg.function([v], node)(x), y)
    worst = int(np.argmax(error))
    assert error[worst] <= stated(node), (x[worst], y[worst])


PLACES = ("near_0", "near_1", "near_2", "near_m10", "near_m55", "factorials")
GAMMAS = [f"test_gamma_data_ipp-{k}" for k in PLACES]


def boost(*names):
    return [f"{n}_data_ipp-{n}_data" for n in names]


# function, tables, columns of the operands, column of the value; and which rows: (column, value)
TABLES = [
    ("gamma", GAMMAS, (0,), 1, None),
    ("gammaln", GAMMAS, (0,), 2, None),
    ("digamma", boost("digamma", "digamma_neg", "digamma_root", "digamma_small"), (0,), 1, None),
    ("erf", boost("erf", "erf_large", "erf_small"), (0,), 1, None),
    ("erfc", boost("erf", "erf_large", "erf_small"), (0,), 2, None),
    ("erfinv", boost("erf_inv"), (0,), 1, None),
    ("erfcinv", boost("erfc_inv", "erfc_inv_big"), (0,), 1, None),
    ("cbrt", boost("cbrt"), (1,), 0, None),
    ("beta", boost("beta_exp", "beta_med"), (0, 1), 2, None),
    ("betainc", boost("ibeta_small", "ibeta", "ibeta_int", "ibeta_large"), (0, 1, 2), 5, None),
    ("gammainc", boost("igamma_small", "igamma_med", "igamma_int", "igamma_big"), (0, 1), 5, None),
    ("gammaincc", boost("igamma_small", "igamma_med", "igamma_int", "igamma_big"), (0, 1), 3, None),
    ("log1p", boost("log1p_expm1"), (0,), 1, None),
    ("expm1", boost("log1p_expm1"), (0,), 2, None),
    *((f"i{n}", boost("bessel_i_int", "bessel_i"), (1,), 2, (0, n)) for n in (0, 1)),
    *((f"j{n}", boost("bessel_j_int", "bessel_j_large"), (1,), 2, (0, n)) for n in (0, 1)),
    *((f"k{n}", boost("bessel_k_int"), (1,), 2, (0, n)) for n in (0, 1)),
    *((f"y{n}", boost("bessel_y01", "bessel_yn"), (1,), 2, (0, n)) for n in (0, 1)),
]
# their error in far tails is that of an exponent: one ulp per unit of the value's logarithm
EXPONENTS = {"beta", "betainc", "gammainc", "gammaincc"}


@functools.cache
def shipped():
    special = pytest.importorskip("scipy.special")
    file = Path(special.__file__).parent / "tests/data/boost.npz"
    if not file.exists():
        pytest.skip("this SciPy comes without its tables")
    return np.load(file)


@pytest.mark.parametrize(("name", "tables", "operands", "value", "rows"), TABLES)
def test_scipys_tables(name, tables, operands, value, rows):
    given = [np.asarray(shipped()[t], np.float64) for t in tables if t in shipped()]
    if rows is not None:
        given = [t[t[:, rows[0]] == rows[1]] for t in given]
    assert given
    xs = [np.concatenate([t[:, k] for t in given]) for k in operands]
    y = np.concatenate([t[:, value] for t in given])
    fits = functools.reduce(np.logical_and, [np.abs(x) > 1e-300 for x in xs] if name == "erfcinv"
                            else [np.isfinite(y)])  # some arguments do not fit into a float64
    xs, y = [x[fits] for x in xs], y[fits]
    variables = [sg.tensor(f"v{k}", (None,), "float64") for k in range(len(xs))]
    node = getattr(o, name)(*variables)
    f = sg.function(variables, node)
    found = f(*xs)
    # arguments were rounded when the table was stored: what half an ulp of each does is no error
    slack = np.zeros_like(y)
    for k, x in enumerate(xs):
        up, down = (f(*[np.nextafter(v, end) if i == k else v for i, v in enumerate(xs)])
                    for end in (np.inf, -np.inf))  # fmt: skip
        with np.errstate(all="ignore"):
            slack += np.nan_to_num(np.abs(up - down) / 4, nan=0.0, posinf=0.0)
        assert x.shape == y.shape
    with np.errstate(all="ignore"):
        limit = stated(node) + (np.abs(np.log(np.abs(y))) if name in EXPONENTS else 0)
        error = np.maximum(ulps(found, y) - slack / np.spacing(np.abs(y)), 0)
    worst = int(np.argmax(error - np.nan_to_num(limit, posinf=1e30)))
    place = ([x[worst] for x in xs], found[worst], y[worst])
    assert (error <= limit)[np.isfinite(limit)].all(), place
