"""Rows bound by memory beside a plain stream of as many bytes: `python -m benchmarks.streams`.

Three things are timed in turn, in one process: a stream (NumPy reads and writes as many bytes as
the row's arguments and results have, by negating, filling and dot products, on as many threads),
the row with its results given (`out=`), and the row with fresh results, in which the pool of
results shows. The table has median times and, of each, the median of stream / row: 100 % is the
limit of a row whose arrays do not fit the caches.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import timeit
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

import symgraph as sg
from benchmarks import rows
from benchmarks.peers import with_symgraph

ROWS = ("chain.1e7", "rows", "reduce", "move")
SAMPLE = 0.03  # seconds of one sample
EXAMPLES = """\
examples:
  python -m benchmarks.streams
  python -m benchmarks.streams 'reduce.*' --threads 2 --repeat 15
"""
Call = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Line:
    """Median seconds of a row by name of what was timed, and the medians of stream / row."""

    name: str
    seconds: dict[str, float]
    ratios: dict[str, float]


def stream(read: int, written: int, threads: int, pool: ThreadPoolExecutor) -> Call:
    """Return a call that reads and writes so many bytes of float32, a part on each thread."""
    both, more, rest = min(read, written), max(0, read - written), max(0, written - read)
    parts = [
        tuple(np.ones(n // 4 // threads, np.float32) for n in (both, both, more, rest))
        for _ in range(threads)
    ]

    def part(arrays: tuple[np.ndarray, ...]) -> None:
        source, target, read_only, filled = arrays
        if source.size:
            np.negative(source, out=target)
        if read_only.size:
            np.dot(read_only, read_only)
        if filled.size:
            filled.fill(2.0)

    if threads == 1:
        return lambda: part(parts[0])
    return lambda: list(pool.map(part, parts))


def measure(row: rows.Row, threads: int, repeat: int, pool: ThreadPoolExecutor) -> Line:
    """Time a row and its stream in turn."""
    data = rows.make(row)
    program = with_symgraph.build(row, data)
    assert program is not None
    f, arrays = program.names["f"], data.inputs
    outs = f(*arrays)
    several = isinstance(outs, list)
    outs = [np.empty_like(r) for r in outs] if several else np.empty_like(outs)
    written = sum(r.nbytes for r in outs) if several else outs.nbytes
    calls: dict[str, Call] = {
        "stream": stream(sum(a.nbytes for a in arrays), written, threads, pool),
        "out=": lambda: f(*arrays, out=outs),
        "fresh": lambda: f(*arrays),
    }
    timers = {name: timeit.Timer(call) for name, call in calls.items()}
    numbers = {n: max(1, int(SAMPLE / max(1e-9, t.timeit(3) / 3))) for n, t in timers.items()}
    samples = [
        {n: t.timeit(numbers[n]) / numbers[n] for n, t in timers.items()} for _ in range(repeat)
    ]
    seconds = {n: statistics.median(s[n] for s in samples) for n in timers}
    ratios = {n: statistics.median(s["stream"] / s[n] for s in samples) for n in timers}
    return Line(row.name, seconds, ratios)


def table(lines: Sequence[Line]) -> str:
    """Return the lines as Markdown."""
    head = "| row | stream us | out= us | of the stream | fresh us | of the stream |"
    found = [head, "|---|---:|---:|---:|---:|---:|"]
    for line in lines:
        cells = [f"{1e6 * line.seconds['stream']:.4g}"]
        for name in ("out=", "fresh"):
            cells += [f"{1e6 * line.seconds[name]:.4g}", f"{100 * line.ratios[name]:.0f} %"]
        found.append(f"| {line.name} | {' | '.join(cells)} |")
    return "\n".join(found)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print the table; 2 for a pattern that matches nothing."""
    options = parser().parse_args(arguments)
    try:
        chosen = rows.select(options.patterns or ROWS)
    except KeyError as missing:
        sys.stderr.write(f"no row matches {missing}\n")
        return 2
    sg.set_threads(options.threads)
    lines = []
    with ThreadPoolExecutor(options.threads) as pool:
        for row in chosen:
            lines.append(measure(row, options.threads, options.repeat, pool))
            sys.stderr.write(f"{row.name}\n")
    print(table(lines))
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks.streams",
        description=(__doc__ or "").split("\n\n")[1],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("patterns", nargs="*", help=f"rows or groups (default: {' '.join(ROWS)})")
    top.add_argument("--threads", type=int, default=1)
    top.add_argument("--repeat", type=int, default=9, help="rounds (default 9)")
    return top


if __name__ == "__main__":
    if "OPENBLAS_NUM_THREADS" not in os.environ:  # NumPy has read it before this line
        one = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.streams", *sys.argv[1:]], one)
    sys.exit(main())
