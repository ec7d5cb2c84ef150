"""Stated differences for samples of integers: what torch does with them, and we do not."""

from __future__ import annotations

from typing import Any

import numpy as np

from symgraph.testing.torch_map.entry import Convention
from symgraph.testing.torch_map.samples import leaves


def integers(*args: Any, **kwargs: Any) -> bool:
    """Tell whether the first array of a sample holds integers."""
    arrays = [v for v in leaves((args, kwargs)) if isinstance(v, np.ndarray)]
    return bool(arrays) and arrays[0].dtype.kind in "iu"


def scaled(*args: Any, **options: Any) -> bool:
    return integers(*args) and any(isinstance(v, float) for v in options.values())


def tied(x: np.ndarray, *args: Any, **options: Any) -> bool:
    return integers(x) and np.unique(x).size < x.size


def inverted(x: np.ndarray, *args: Any) -> bool:
    return integers(x) and bool((x < 0).any())


def integral(*args: Any, dtype: str = "", **options: Any) -> bool:
    return "int" in str(dtype)


MEANS = Convention("means of integers are floats here", 0, integers)
SCALES = Convention("integers times a float factor are floats here", 0, scaled)
TIES = Convention("which of equal elements is named is not defined", 0, tied)
POWERS = Convention("an integer to a negative power is 0 here", 0, inverted)
COARSE = Convention("torch computes integers in float32, with errors of its own", 0, integers)
ROUNDED = Convention("torch makes the result integers again", 0, integers)
STEPS = Convention("torch steps in integers or rounds towards zero, NumPy and we round down", 0,
                   integral)  # fmt: skip

POOL = "nn.functional.avg_pool{}d"
INTEGERS: dict[str, Convention] = {
    **{POOL.format(rank): MEANS for rank in (1, 2, 3)},
    **dict.fromkeys(("index_reduce:mean", "scatter_reduce:mean"), MEANS),
    **dict.fromkeys(("addmv", "addbmm", "baddbmm", "addmm", "addr", "addmm:decomposed"), SCALES),
    **dict.fromkeys(("kthvalue", "topk", "sort", "argsort"), TIES),
    "__rpow__": POWERS,
    **dict.fromkeys(("sinc", "nn.functional.local_response_norm"), COARSE),
    "masked.logsumexp": ROUNDED,
    **dict.fromkeys(("arange", "linspace", "linspace:tensor_overload"), STEPS),
}
