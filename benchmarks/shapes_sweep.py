"""Generic versions beside exact ones over many shapes: `python -m benchmarks.shapes_sweep`.

Every op is compiled once for run-time sizes and once for each shape; the two are timed in turn on
the same arrays. Shapes are rows x columns from one to a million rows and from one to 100 000
columns, of sizes that fit the first cache and of sizes that fit none; `--seed` draws others from
the same ranges. The table has the median time of the exact version and the median ratio of the
generic one; below it are the ops with their geometric means. Exit status 1 where a ratio is above
`--limit`.
"""

from __future__ import annotations

import argparse
import fnmatch
import math
import random
import statistics
import sys
import timeit
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import symgraph as sg
from benchmarks.shapes import layer_norm, softmax_grad

LIMIT = 1.3  # times the exact version
SAMPLE = 0.004  # seconds of one sample
EXAMPLES = """\
examples:
  python -m benchmarks.shapes_sweep
  python -m benchmarks.shapes_sweep 'softmax' 'row*' --shapes 1000x3,7x10000 --repeat 15
  python -m benchmarks.shapes_sweep --seed 7
"""
SHAPES = (
    *((1000, 1), (1000, 2), (1000, 3), (1000, 5), (1000, 8), (333, 10), (200, 17), (100, 33)),
    *((1, 1000), (2, 1000), (3, 700), (10, 100), (30, 100), (31, 257)),
    *((100_000, 1), (100_000, 3), (100_000, 7), (50_000, 17), (10_000, 40), (3000, 129)),
    *((1, 100_000), (3, 30_000), (17, 10_000), (300, 1024), (1000, 1000)),
    *((1_000_000, 3), (300_000, 10), (30, 100_000), (2000, 2000)),
)
Build = Callable[..., Any]
Size = tuple[int, ...]


def gather(x: Any, i: Any) -> Any:
    """Rows by number."""
    return x[i]


def recurrence(x: Any, s: Any) -> Any:
    """All states of a loop over the rows."""
    return sg.scan(lambda row, h: sg.maximum(0.5 * h * h + row, 0.1 * h), x, s)


# Of each op, the function and the shapes of its float32 arguments for m rows of n columns.
OPS: dict[str, tuple[Build, Callable[[int, int], tuple[Size, ...]]]] = {
    "row": (lambda x, b: sg.relu(x + b), lambda m, n: ((m, n), (n,))),
    "column": (lambda x, s: x * s, lambda m, n: ((m, n), (m, 1))),
    "outer": (lambda x, y: x + y, lambda m, n: ((m, 1), (1, n))),
    "sum_rows": (lambda x: x.sum(1), lambda m, n: ((m, n),)),
    "sum_columns": (lambda x: x.sum(0), lambda m, n: ((m, n),)),
    "max_rows": (lambda x: x.max(1), lambda m, n: ((m, n),)),
    "max_columns": (lambda x: x.max(0), lambda m, n: ((m, n),)),
    "argmax": (lambda x: x.argmax(1), lambda m, n: ((m, n),)),
    "centred": (lambda x: x - x.sum(1, keepdims=True), lambda m, n: ((m, n),)),
    "centred_down": (lambda x: x - x.mean(0), lambda m, n: ((m, n),)),
    "softmax": (lambda x: sg.softmax(x, -1), lambda m, n: ((m, n),)),
    "softmax_grad": (softmax_grad, lambda m, n: ((m, n), (m, n))),
    "logsumexp": (lambda x: sg.logsumexp(x, -1), lambda m, n: ((m, n),)),
    "layer_norm": (layer_norm, lambda m, n: ((m, n), (n,), (n,))),
    "transpose": (lambda x: x.T, lambda m, n: ((m, n),)),
    "add_transposed": (lambda x, y: x.T + y, lambda m, n: ((m, n), (n, m))),
    "concat_columns": (lambda x, y: sg.concatenate([x, y], 1), lambda m, n: ((m, n), (m, n))),
    "concat_rows": (lambda x, y: sg.concatenate([x, y], 0), lambda m, n: ((m, n), (m, n))),
    "cumsum_rows": (lambda x: sg.cumsum(x, 1), lambda m, n: ((m, n),)),
    "cumsum_down": (lambda x: sg.cumsum(x, 0), lambda m, n: ((m, n),)),
    "reversed": (lambda x: x[:, ::-1] * 2, lambda m, n: ((m, n),)),
    "slice": (lambda x: x[:, 1:] - x[:, :-1], lambda m, n: ((m, n + 1),)),
    "gather": (gather, lambda m, n: ((m, n), (m,))),
    "recurrence": (recurrence, lambda m, n: ((m, n), (n,))),
}


def arrays_of(name: str, shape: tuple[int, int]) -> list[np.ndarray]:
    """Return arguments of an op for so many rows and columns."""
    rng = np.random.default_rng(3)
    arrays = [0.5 * rng.standard_normal(s, dtype=np.float32) for s in OPS[name][1](*shape)]
    if name == "gather":
        arrays[1] = rng.integers(0, shape[0], shape[0])
    return arrays


def compiled(name: str, shapes: str) -> Any:
    """Return an op of arrays whose sizes are not known, as exact or generic versions."""
    build, sizes = OPS[name]
    known = [[1 if n == 1 else None for n in s] for s in sizes(2, 2)]
    inputs = [sg.tensor(f"x{k}", s) for k, s in enumerate(known)]
    if name == "gather":
        inputs[1] = sg.lvector("i")
    return sg.function(inputs, build(*inputs), shapes=shapes)


def compare(
    functions: Sequence[Any], arrays: Sequence[np.ndarray], repeat: int
) -> tuple[float, float]:
    """Return the seconds of a call of the first function, and the ratio of the second to it."""
    names = {f"x{k}": a for k, a in enumerate(arrays)}
    call = f"f({', '.join(names)})"
    timers = []
    for f in functions:
        f(*arrays)
        timers.append(timeit.Timer(call, globals={"f": f.raw, **names}))
    number = max(1, int(SAMPLE / min(timers[0].timeit(1) for _ in range(3))))
    pairs = [[t.timeit(number) / number for t in timers] for _ in range(repeat)]
    return statistics.median(a for a, _ in pairs), statistics.median(b / a for a, b in pairs)


def drawn(seed: int, count: int = 24) -> Iterator[tuple[int, int]]:
    """Yield shapes with sizes spread over the ranges: 1e3 to 1e7 elements."""
    rng = random.Random(seed)
    while count:
        total, columns = 10 ** rng.uniform(3, 6.7), round(10 ** rng.uniform(0, 5))
        rows = round(total / columns)
        if 1 <= rows <= 1_000_000:
            count -= 1
            yield rows, columns


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    options = parser().parse_args(arguments)
    names = [n for n in OPS if any(fnmatch.fnmatch(n, p) for p in options.ops or ["*"])]
    if not names:
        parser().error(f"no op matches {', '.join(options.ops)}")
    shapes = list(SHAPES if options.seed is None else drawn(options.seed))
    if options.shapes:
        shapes = [(int(m), int(n)) for m, n in (s.split("x") for s in options.shapes.split(","))]
    sg.set_threads(options.threads)
    found: dict[str, list[float]] = {}
    late = 0
    print("| op | shape | exact us | generic / exact |\n|---|---|---:|---:|", flush=True)
    for name in names:
        generic = compiled(name, "generic")
        for shape in shapes:
            arrays = arrays_of(name, shape)
            pair = [compiled(name, "exact"), generic]
            exact, ratio = compare(pair, arrays, options.repeat)
            if ratio > options.limit:  # once more, with more rounds: a neighbour may have come
                exact, ratio = compare(pair, arrays, 2 * options.repeat + 1)
            found.setdefault(name, []).append(ratio)
            late += ratio > options.limit
            if options.all or ratio > options.limit:
                text = f"| {name} | {shape[0]}x{shape[1]} | {1e6 * exact:.4g} | {ratio:.2f} |"
                print(text, flush=True)
    print("\n| op | mean | largest | above |\n|---|---:|---:|---:|")
    for name, ratios in found.items():
        mean = math.exp(statistics.fmean(map(math.log, ratios)))
        above = sum(r > options.limit for r in ratios)
        print(f"| {name} | {mean:.2f} | {max(ratios):.2f} | {above} of {len(ratios)} |")
    return 1 if late else 0


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks.shapes_sweep",
        description=(__doc__ or "").split("\n\n")[1],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("ops", nargs="*", help="names or patterns (default: all)")
    top.add_argument("--shapes", help="ROWSxCOLUMNS, by commas (default: a fixed list)")
    top.add_argument("--seed", type=int, help="draw the shapes")
    top.add_argument("--limit", type=float, default=LIMIT)
    top.add_argument("--all", action="store_true", help="print rows within the limit too")
    top.add_argument("--threads", type=int, default=1)
    top.add_argument("--repeat", type=int, default=5)
    return top


if __name__ == "__main__":
    sys.exit(main())
