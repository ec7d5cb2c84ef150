"""PyTorch's side: the operator database, its samples, and results with two derivatives."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import random
import sys
import unittest
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any
from zlib import crc32

import numpy as np

from symgraph.core.lazy import lazy
from symgraph.core.record import dataclass

torch: Any = lazy("torch")
LARGEST = 100_000  # elements; samples with a larger tensor are left out
FIRST = 300  # samples that are made; a few operators have more than a thousand
FORMAT_ONLY = {"device", "layout", "requires_grad", "pin_memory", "memory_format"}


def database() -> dict[str, Any]:
    """Return PyTorch's operators by name, "name:variant" for variants, in its order."""
    if "expecttest" not in sys.modules and importlib.util.find_spec("expecttest") is None:
        # torch's test classes derive from this package's; none of them is run here
        stand_in = ModuleType("expecttest")
        stand_in.__dict__["TestCase"] = unittest.TestCase
        sys.modules["expecttest"] = stand_in
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = importlib.import_module("torch.testing._internal.common_methods_invocations")
    return {key(info): info for info in found.op_db}


def key(info: Any) -> str:
    """Return the name of an entry of the database."""
    variant = info.variant_test_name
    return f"{info.name}:{variant}" if variant else str(info.name)


def tree(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """Return nested lists, tuples, dicts and slices with `leaf` applied to what they hold."""
    if isinstance(value, (list, tuple)):
        return (
            [tree(v, leaf) for v in value]
            if isinstance(value, list)
            else tuple(tree(v, leaf) for v in value)
        )
    if isinstance(value, dict):
        return {k: tree(v, leaf) for k, v in value.items()}
    if isinstance(value, slice):
        return slice(*(tree(v, leaf) for v in (value.start, value.stop, value.step)))
    return leaf(value)


def leaves(value: Any) -> Iterator[Any]:
    """Yield what nested lists, tuples and dicts hold, in order."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for v in value:
            yield from leaves(v)
    else:
        yield value


@dataclass(frozen=True, slots=True)
class Sample:
    """One call of an operator: its arguments, and what torch makes of them.

    tensors: the distinct tensors among the arguments, float64 ones that want a gradient first
    noted in `wanted` (positions). values: results as arrays; gradients: of the sum of results times
    `weights`, by each wanted tensor; seconds: the same once more with `directions` (None where
    there is no derivative of that order).
    """

    arguments: tuple[Any, dict[str, Any]]
    tensors: tuple[Any, ...]
    wanted: tuple[int, ...]
    values: tuple[np.ndarray, ...]
    weights: tuple[np.ndarray, ...]
    gradients: tuple[np.ndarray, ...] | None
    directions: tuple[np.ndarray, ...]
    seconds: tuple[np.ndarray, ...] | None


def chosen(info: Any, most: int, dtype: str | None = None) -> list[Any]:
    """Return at most `most` of the operator's samples, a seeded choice of the first FIRST."""
    name = key(info)
    seed = crc32(name.encode())
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    kind = getattr(torch, dtype or dtype_of(info))
    wants = info.supports_autograd and is_inexact(kind)
    made = info.sample_inputs("cpu", kind, requires_grad=wants)
    found = [s for s in itertools.islice(made, FIRST) if _fits(s)]
    if len(found) <= most:
        return found
    # a seeded choice: evenly spaced samples miss parameters that vary with that period
    picked = sorted(random.Random(seed).sample(range(len(found)), most))
    return [found[k] for k in picked]


def is_inexact(kind: Any) -> bool:
    """Tell whether torch differentiates by and through numbers of a dtype."""
    return bool(kind.is_floating_point or kind.is_complex)


def dtype_of(info: Any) -> str:
    """Return the dtype in which an operator is compared: float64 where it has that."""
    for name in ("float64", "float32", "int64", "int32", "bool"):
        if getattr(torch, name) in info.dtypes:
            return name
    return "complex128"


def _fits(sample: Any) -> bool:
    parts = (sample.input, sample.args, sample.kwargs)
    return all(v.numel() <= LARGEST for v in leaves(parts) if isinstance(v, torch.Tensor))


def array(tensor: Any) -> np.ndarray:
    """Return a tensor's numbers as a NumPy array of its own."""
    return np.array(tensor.detach().resolve_conj().resolve_neg().numpy(force=True))


def measure(info: Any, entry: Any, sample: Any, order: int) -> Sample:
    """Return a sample with torch's results and derivatives up to `order`."""
    parts = (sample.input, *sample.args)
    kwargs = {k: v for k, v in sample.kwargs.items() if k not in FORMAT_ONLY}
    tensors: dict[int, Any] = {}

    def fresh(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        if id(value) not in tensors:
            copy = value.detach().clone()
            copy.requires_grad_(value.requires_grad and is_inexact(value.dtype))
            tensors[id(value)] = copy
        return tensors[id(value)]

    first, *rest = tree(parts, fresh)
    used = tree(kwargs, fresh)
    full = {k: used.get(k, v) for k, v in sample.kwargs.items()}
    kept = tuple(tensors.values())
    result = info.gradcheck_wrapper(info.op, first, *rest, **full)
    result = (entry.theirs or sample.output_process_fn_grad)(result)
    outputs = [v if isinstance(v, torch.Tensor) else torch.tensor(v) for v in leaves(result)]
    rng = np.random.default_rng(crc32(key(info).encode()))
    values = tuple(array(v) for v in outputs)
    weights = tuple(_direction(rng, v) for v in values)
    wanted = tuple(k for k, t in enumerate(kept) if t.requires_grad)
    inputs = [kept[k] for k in wanted]
    gradients = _derivative(outputs, weights, inputs, order >= 1)
    directions = tuple(_direction(rng, array(t)) for t in inputs)
    seconds = None
    if gradients is not None and order >= 2:
        seconds = _derivative(gradients, directions, inputs, True)
    return Sample(
        ((first, *rest), used), kept, wanted, values, weights,
        None if gradients is None else tuple(array(g) for g in gradients), directions,
        None if seconds is None else tuple(array(g) for g in seconds),
    )  # fmt: skip


def _direction(rng: Any, value: np.ndarray) -> np.ndarray:
    """Return random weights for an array: no sign, so that little cancels."""
    if value.dtype.kind == "c":
        parts = [rng.uniform(0.5, 1.5, value.shape) for _ in range(2)]
        return np.asarray(parts[0] + 1j * parts[1], value.dtype)
    kind = value.dtype if value.dtype.kind == "f" else np.float64
    return np.asarray(rng.uniform(0.5, 1.5, value.shape), kind)


def _derivative(values: Any, weights: Any, inputs: list[Any], wanted: bool) -> Any:
    """Return the gradient of the real part of sum(values * weights) by `inputs`, None without."""
    if not inputs or not wanted:
        return None
    terms = [
        _real((v * torch.as_tensor(w, dtype=v.dtype)).sum())
        for v, w in zip(values, weights, strict=True)
        if is_inexact(v.dtype) and v.requires_grad
    ]
    if not terms:
        return [torch.zeros_like(x) for x in inputs]
    try:
        return torch.autograd.grad(
            sum(terms), inputs, create_graph=True, allow_unused=True, materialize_grads=True
        )
    except RuntimeError:  # some of torch's operators have no (second) derivative after all
        return None


def _real(value: Any) -> Any:
    return value.real if value.dtype.is_complex else value
