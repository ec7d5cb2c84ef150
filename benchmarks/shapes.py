"""What sizes known only at run time cost: `python -m benchmarks.shapes [PATTERN ...]`.

Each row is compiled three times: for exact sizes; as a class in which the axes as long as the
first one of the first array vary (a batch); and generic, with all sizes as run-time sizes. The
three are timed in turn on the same arrays. The table shows the median time of a call, and the
medians of the ratios to the exact version. Exit status 1 where a row bound by memory is slower
than LIMIT times that.
"""

from __future__ import annotations

import argparse
import fnmatch
import statistics
import sys
import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import symgraph as sg
from benchmarks.models import decay_step, gru_step

LIMIT = 1.3  # times the exact version, for rows bound by memory
SAMPLE = 0.02  # seconds of one sample
KINDS = ("exact", "class", "generic")


@dataclass(frozen=True, slots=True)
class Case:
    """A function of float32 arrays of `shapes`; `bound` says what it waits for."""

    name: str
    build: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    bound: str = "memory"


def chain(x: Any, y: Any) -> Any:
    """Ten operations on each element."""
    t = sg.tanh(x * y + 1)
    return sg.log1p(sg.exp(-(t * t))) * x - y * 0.5


def layer_norm(x: Any, g: Any, b: Any) -> Any:
    """Rows with mean 0 and variance 1, scaled."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / sg.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5) * g + b


def step(x: Any, y: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> list[Any]:
    """Gradient of the squared error of a network with one hidden layer."""
    out = sg.relu(x @ w1 + b1) @ w2 + b2
    return sg.grad(((out - y) ** 2).mean(), [w1, b1, w2, b2])


def decay(x: Any, h: Any) -> Any:
    """A recurrence without products."""
    return sg.scan(lambda row, state: decay_step(sg, row, state), x, h)


def gru(x: Any, h: Any, w: Any, u: Any, b: Any) -> Any:
    """A gated recurrent unit, 32 wide."""
    return sg.scan(lambda row, state: gru_step(sg, row, state, w, u, b), x, h)


def softmax_grad(x: Any, y: Any) -> Any:
    """Derivative of the squared distance of a softmax."""
    return sg.grad(((sg.softmax(x, -1) - y) ** 2).sum(), x)


def _cases() -> list[Case]:
    found = []
    for rows, columns in ((32, 32), (50, 333), (300, 1024), (1000, 1000), (100_000, 10)):
        name, m = f"{rows}x{columns}", (rows, columns)
        found += [
            Case(f"add.{name}", lambda x, y: x + y, (m, m)),
            Case(f"chain.{name}", chain, (m, m), "arithmetic"),
            Case(f"bias_relu.{name}", lambda x, b: sg.relu(x + b), (m, (columns,))),
            Case(f"scale_rows.{name}", lambda x, s: x * s[:, None], (m, (rows,))),
            Case(f"softmax.{name}", lambda x: sg.softmax(x, -1), (m,)),
            Case(f"softmax_grad.{name}", softmax_grad, (m, m)),
            Case(f"logsumexp.{name}", lambda x: sg.logsumexp(x, -1), (m,)),
            Case(f"layer_norm.{name}", layer_norm, (m, (columns,), (columns,))),
            Case(f"sum_all.{name}", lambda x: x.sum(), (m,)),
            Case(f"sum_rows.{name}", lambda x: x.sum(1), (m,)),
            Case(f"sum_columns.{name}", lambda x: x.sum(0), (m,)),
            Case(f"max_rows.{name}", lambda x: x.max(1), (m,)),
            Case(f"argmax.{name}", lambda x: x.argmax(1), (m,)),
            Case(f"variance.{name}", lambda x: x.var(1), (m,)),
            Case(f"transpose.{name}", lambda x: x.T, (m,)),
            Case(f"add_transposed.{name}", lambda x, y: x.T + y, (m, (columns, rows))),
        ]
    net = ((128, 784), (128, 10), (784, 256), (256,), (256, 10), (10,))
    small = ((32, 32), (32, 10), (32, 64), (64,), (64, 10), (10,))
    width = ((32, 96), (32, 96), (96,))
    found += [
        Case("vector.add.1e3", lambda x, y: x + y, ((1000,), (1000,))),
        Case("vector.sum.1e6", lambda x: x.sum(), ((1_000_000,),)),
        Case("tensor.permute", lambda x: sg.permute_dims(x, (0, 2, 1)), ((16, 200, 300),)),
        Case("tensor.heads", lambda x: sg.permute_dims(x, (0, 2, 1, 3)), ((8, 128, 8, 64),)),
        Case("mlp.128x784x256", step, net, "products"),
        Case("mlp.32x32x64", step, small, "products"),
        Case("scan.decay", decay, ((1000, 32), (32,)), "arithmetic"),
        Case("scan.gru", gru, ((100, 32), (32,), *width), "products"),
    ]
    return found


CASES = {case.name: case for case in _cases()}


def compiled(case: Case, kind: str, arrays: Sequence[np.ndarray]) -> Any:
    """Return a function of the case in which no, some or all sizes are run-time sizes."""
    batch = arrays[0].shape[0]
    inputs = [
        sg.tensor(f"x{k}", [n if kind == "class" and n != batch else None for n in a.shape])
        for k, a in enumerate(arrays)
    ]
    shapes = "exact" if kind == "exact" else "generic"
    return sg.function(inputs, case.build(*inputs), shapes=shapes)


def compare(case: Case, repeat: int) -> tuple[float, list[float]]:
    """Return the seconds of an exact call, and the median ratios of the other KINDS to it."""
    rng = np.random.default_rng(3)
    arrays = [0.5 * rng.standard_normal(s, dtype=np.float32) for s in case.shapes]
    names = {f"x{k}": a for k, a in enumerate(arrays)}
    call = f"f({', '.join(names)})"
    timers = []
    for kind in KINDS:
        f = compiled(case, kind, arrays)
        f(*arrays)
        timers.append(timeit.Timer(call, globals={"f": f.raw, **names}))
    once = [min(t.timeit(1) for _ in range(3)) for t in timers]
    number = [max(1, int(SAMPLE / s)) for s in once]
    times = [
        [t.timeit(n) / n for t, n in zip(timers, number, strict=True)] for _ in range(repeat)
    ]
    ratios = [statistics.median(t[k] / t[0] for t in times) for k in range(1, len(KINDS))]
    return statistics.median(t[0] for t in times), ratios


def chosen(patterns: Sequence[str]) -> list[Case]:
    """Return the cases matched by names or shell patterns; all for none."""
    if not patterns:
        return list(CASES.values())
    return [c for c in CASES.values() if any(fnmatch.fnmatch(c.name, p) for p in patterns)]


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shapes", description=__doc__)
    parser.add_argument("names", nargs="*", help="names or patterns: 'softmax.*'")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=11)
    options = parser.parse_args(arguments)
    if not chosen(options.names):
        parser.error(f"no case matches {', '.join(options.names)}")
    sg.set_threads(options.threads)
    late = []
    print("| case | bound by | exact us | class | generic |\n|---|---|---:|---:|---:|")
    for case in chosen(options.names):
        exact, ratios = compare(case, options.repeat)
        if case.bound == "memory" and max(ratios) > LIMIT:
            late.append(case.name)
        cells = " | ".join(f"{r:.2f}{' !' if r > LIMIT else ''}" for r in ratios)
        print(f"| {case.name} | {case.bound} | {1e6 * exact:.4g} | {cells} |", flush=True)
    if late:
        sys.stderr.write(f"slower than {LIMIT} times exact: {', '.join(late)}\n")
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
