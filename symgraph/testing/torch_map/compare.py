"""The comparison: samples of one operator compiled as one function, values and two derivatives."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from symgraph.autodiff.grad import grad
from symgraph.compile.function import function
from symgraph.core.node import Node, as_node, new_input
from symgraph.core.op import o
from symgraph.core.record import dataclass, field
from symgraph.testing.tolerances import AGAINST_TORCH, mismatch
from symgraph.testing.torch_map.entry import Entry, Unsupported
from symgraph.testing.torch_map.samples import Sample, array, chosen, leaves, measure, torch, tree

ORDERS = ("values", "gradient", "second derivative")


@dataclass(slots=True)
class Result:
    """What became of the samples of one operator.

    agree: how many samples agree in values, gradient, second derivative; wrong: how many differ
    anywhere, with the first few `problems`; left_out: samples by the reason why they, or their
    derivatives, are not compared.
    """

    samples: int = 0
    agree: list[int] = field(default_factory=lambda: [0, 0, 0])
    wrong: int = 0
    problems: list[str] = field(default_factory=list)
    unsupported: dict[str, int] = field(default_factory=dict)
    conventions: dict[str, int] = field(default_factory=dict)

    def problem(self, text: str) -> None:
        self.wrong += 1
        self.problems.append(text)


@dataclass(slots=True)
class Built:
    """A sample and our expressions for it: inputs with their arrays, outputs with torch's."""

    sample: Sample
    order: int
    inputs: list[Node]
    arrays: list[np.ndarray]
    outputs: list[Node]
    expected: list[tuple[int, np.ndarray, float]]


def compare(info: Any, entry: Entry, most: int = 20, dtype: str | None = None) -> Result:
    """Compare an operator of the database with its entry on at most `most` samples."""
    result = Result()
    built = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k, raw in enumerate(chosen(info, most, dtype)):
            try:
                made = _build(info, entry, raw, result)
            except Unsupported as e:
                _count(result.unsupported, str(e))
                continue
            except Exception as e:  # a failure of ours is a result, and the others shall run
                result.samples += 1
                result.problem(f"sample {k}: {type(e).__name__}: {str(e)[:300]}")
                continue
            if made is not None:
                built.append((k, made))
        result.samples += len(built)
        for k, made, values in _run(built, result):
            _judge(k, made, values, entry, result)
    return result


def _count(table: dict[str, int], reason: str) -> None:
    table[reason] = table.get(reason, 0) + 1


def _build(info: Any, entry: Entry, raw: Any, result: Result) -> Built | None:
    """Return our expressions for one sample, None where all of it is left out."""
    tensors = [v for v in leaves((raw.input, raw.args, raw.kwargs)) if isinstance(v, torch.Tensor)]
    if any(t.layout != torch.strided or t.is_quantized for t in tensors):
        raise Unsupported("sparse or quantised tensors")
    order = _order(info, entry, raw, result)
    if order < 0:
        return None
    sample = measure(info, entry, raw, order)
    wanted = [sample.gradients, sample.seconds][:order]
    if sample.wanted and any(v is None for v in wanted):
        _count(result.conventions, "torch fails to take this derivative")
    if any(v.dtype.kind not in "biufc" for v in sample.values):
        raise Unsupported("a dtype that symgraph does not have")
    nodes = [new_input(str(t.dtype)[6:], tuple(t.shape), f"x{k}") for k, t in _numbered(sample)]
    table = {id(t): n for t, n in zip(sample.tensors, nodes, strict=True)}

    def ours(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            constant = array(value)
            return constant if constant.dtype.kind in entry.arrays else table[id(value)]
        return str(value)[6:] if isinstance(value, torch.dtype) else value

    (args, kwargs) = tree(sample.arguments, ours)
    outputs = [as_node(v) for v in leaves(entry.call(*args, **kwargs))]
    return _with_derivatives(sample, order, nodes, outputs)


def _numbered(sample: Sample) -> Iterator[tuple[int, Any]]:
    return enumerate(sample.tensors)


def _order(info: Any, entry: Entry, raw: Any, result: Result) -> int:
    """Return the highest derivative to be compared, -1 where not even values are."""
    order = entry.order if info.supports_autograd else 0
    if order == 2 and not info.supports_gradgrad:
        order = 1
    plain = tree(
        ((raw.input, *raw.args), raw.kwargs),
        lambda v: array(v) if isinstance(v, torch.Tensor) else v,
    )
    for convention in entry.conventions:
        if convention.order <= order and convention.when(*plain[0], **plain[1]):
            _count(result.conventions, convention.text)
            order = convention.order - 1
    return order


def _with_derivatives(sample: Sample, order: int, nodes: list[Node], outputs: list[Node]) -> Built:
    """Add the gradient of sum(results * weights), and that of sum(gradient * directions)."""
    if len(outputs) != len(sample.values):
        raise ValueError(f"{len(outputs)} results, torch has {len(sample.values)}")
    arrays = [array(t) for t in sample.tensors]
    made = Built(sample, order, list(nodes), arrays, list(outputs), [])
    made.expected += [(0, v, 0.0) for v in sample.values]
    wrt = [nodes[k] for k in sample.wanted]
    scale = _largest((*sample.values, *(arrays[k] for k in sample.wanted)))
    stages = ((sample.gradients, sample.weights), (sample.seconds, sample.directions))
    current = outputs
    for stage, (expected, weights) in enumerate(stages, 1):
        if expected is None:
            break
        cost = _projection(made, current, weights)
        current = (
            [o.zeros(x.type.shape, x.dtype) for x in wrt]
            if cost is None
            else grad(cost, wrt, disconnected_inputs="ignore")
        )
        made.outputs += current
        made.expected += [(stage, v, scale) for v in expected]
        scale = max(scale, _largest(expected))
    return made


def _largest(arrays: Any) -> float:
    """Return the largest finite magnitude: the scale against which a difference counts."""
    found = [np.abs(a[np.isfinite(a)]).max(initial=0) for a in arrays if a.dtype.kind in "fc"]
    return float(max(found, default=0.0))


def _projection(made: Built, values: list[Node], weights: Any) -> Node | None:
    """Return the real part of sum(values * weights), weights as new inputs; None without floats."""
    total: Node | None = None
    for v, w in zip(values, weights, strict=True):
        if not (v.dtype.is_float or v.dtype.is_complex):
            continue
        weight = new_input(str(w.dtype), w.shape, "weight")
        made.inputs.append(weight)
        made.arrays.append(w)
        term = o.real(o.sum(v * o.cast(weight, v.dtype)))
        total = term if total is None else total + term
    return total


def _run(built: list[tuple[int, Built]], result: Result) -> Iterator[tuple[int, Built, list[Any]]]:
    """Yield the samples with our numbers; all in one function, or one by one if that fails."""
    try:
        yield from _run_together(built)
        return
    except Exception as e:
        if len(built) == 1:
            text = f"sample {built[0][0]}: {type(e).__name__}: {str(e)[:300]}"
            result.problem(text)
            return
    for one in built:
        yield from _run([one], result)


def _run_together(built: list[tuple[int, Built]]) -> list[tuple[int, Built, list[Any]]]:
    inputs = [x for _, b in built for x in b.inputs]
    outputs = [y for _, b in built for y in b.outputs]
    if not outputs:
        return []
    f = function(inputs, outputs, on_unused_input="ignore", shapes="exact")
    values = iter(f(*(a for _, b in built for a in b.arrays)))
    return [(k, b, [next(values) for _ in b.outputs]) for k, b in built]


def _judge(k: int, made: Built, values: list[Any], entry: Entry, result: Result) -> None:
    """Compare the numbers of one sample with torch's."""
    failed: dict[int, str] = {}
    for value, (stage, expected, scale) in zip(values, made.expected, strict=True):
        limit = AGAINST_TORCH.get(str(expected.dtype), (0, 0, 0))
        text = mismatch(value, expected, relative=entry.loose * limit[stage], least=scale)
        if text and stage not in failed:
            failed[stage] = text
    present = {stage for stage, _, _ in made.expected}
    for stage in sorted(present):
        if stage in failed:
            break
        result.agree[stage] += 1
    if failed:
        stage = min(failed)
        result.problem(f"sample {k}: {ORDERS[stage]}: {failed[stage]}")
