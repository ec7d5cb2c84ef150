"""Errors of special functions in units in the last place, against mpmath at 60 digits."""

from __future__ import annotations

import math

import mpmath
import numpy as np

import symgraph as sg
from symgraph.testing.oracles_special import SPECIAL

COUNT = 120


def linear(low, high):
    return lambda rng: rng.uniform(low, high, COUNT)


def by_size(low, high):
    return lambda rng: np.exp(rng.uniform(np.log(low), np.log(high), COUNT))


def exact(name, *arrays):
    """Return mpmath's values as extended precision numbers."""
    out = []
    with mpmath.workdps(60):
        for x in zip(*arrays, strict=True):
            value = mpmath.mpf(SPECIAL[name](mpmath, *(mpmath.mpf(float(v)) for v in x)))
            high = float(value)
            rest = float(value - mpmath.mpf(high)) if math.isfinite(high) else 0.0
            out.append(np.longdouble(high) + np.longdouble(rest))
    return np.array(out)


def native(name, dtype, *arrays):
    inputs = [sg.vector(f"x{k}", dtype=dtype) for k in range(len(arrays))]
    return sg.function(inputs, getattr(sg, name)(*inputs))(*arrays)


def worst(name, dtype, floor, *arrays):
    """Return the largest error in ulp and where it is; results outside of the dtype are left."""
    arrays = [a.astype(dtype) for a in arrays]
    got, want = native(name, dtype, *arrays), exact(name, *arrays)
    info = np.finfo(dtype)
    keep = (np.abs(want) < info.max) & (np.abs(want) > info.tiny * 4)
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(want), 0 if floor is None else floor(*arrays)).astype(dtype)
        error = np.abs(got.astype(np.longdouble) - want) / np.spacing(np.maximum(size, info.tiny))
    error = np.where(keep, np.where(np.isnan(error), np.inf, error), 0)
    k = int(np.argmax(error))
    return float(error[k]), [a[k] for a in arrays], got[k], want[k]


def points(dtype, draw, full):
    """Return what is drawn, in a quick run a third: mpmath takes long for some."""
    x = draw(np.random.default_rng(11)).astype(dtype)[:: 1 if full else 3]
    return x[np.isfinite(x) & (x != 0)]
