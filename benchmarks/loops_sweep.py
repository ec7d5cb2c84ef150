"""Loops of many lengths and widths beside other libraries: `python -m benchmarks.loops_sweep`.

Each row is a recurrence over `steps` rows of `width` numbers, or (`_grad`) the gradient of the sum
of its squared states by everything it is given. Workers take turns, as in `python -m benchmarks
run`; the table has median times in microseconds and the factor by which symgraph is quicker.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import measure, results, rows
from benchmarks.peers import OURS
from benchmarks.recurrences import RECURRENCES

EXAMPLES = """\
examples:
  python -m benchmarks.loops_sweep
  python -m benchmarks.loops_sweep --kinds gru --widths 32 --steps 1000 --repeat 15
  python -m benchmarks.loops_sweep --against jax,pytensor --out runs/loops.json
"""
PEERS = (OURS, "jax", "pytensor")
WIDTHS, STEPS = (8, 32, 64, 128, 256), (100, 1000, 10000)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print the table; 1 where a row of ours failed or is wrong, 2 wrong usage."""
    options = parser().parse_args(arguments)
    peers = [OURS, *(p for p in options.against.split(",") if p)]
    if set(peers) - set(PEERS) or set(options.kinds) - set(RECURRENCES):
        sys.stderr.write(f"libraries: {', '.join(PEERS)}; kinds: {', '.join(RECURRENCES)}\n")
        return 2
    chosen = [
        rows.recurrence(kind, width, steps, grad)
        for kind in options.kinds
        for grad in (False, True)
        for width in options.widths
        for steps in options.steps
    ]
    plan = measure.Plan(chosen, peers, [options.threads], options.repeat, options.budget)
    found = measure.run(plan)
    if options.out:
        results.write(found, options.out)
    print(table(found, peers[1:]))
    bad = results.bad_cells(found)
    sys.stderr.write("".join(f"FAILED {line}\n" for line in bad))
    return 1 if bad else 0


def table(found: results.Results, peers: list[str]) -> str:
    """Return the times of a run as Markdown: ours, and times of peers with their ratios to ours."""
    heads = "".join(f" {p} | ratio |" for p in peers)
    lines = [f"| row | {OURS} us |{heads}", "|---|---:|" + "---:|---:|" * len(peers)]
    for line in found["rows"]:
        cells = line["cells"]
        mine = cells[OURS].get("median")
        text = f"| {line['row']} | {_time(mine)} |"
        for peer in peers:
            other = cells.get(peer, {}).get("median")
            ratio = f"{other / mine:.2f}" if mine and other else ""
            text += f" {_time(other)} | {ratio} |"
        lines.append(text)
    return "\n".join(lines)


def _time(seconds: float | None) -> str:
    return "" if seconds is None else f"{1e6 * seconds:.4g}"


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks.loops_sweep",
        description=(__doc__ or "").split("\n\n")[1],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--kinds", nargs="+", default=list(RECURRENCES), metavar="KIND")
    top.add_argument("--widths", nargs="+", type=int, default=WIDTHS, metavar="N")
    top.add_argument("--steps", nargs="+", type=int, default=STEPS, metavar="N")
    top.add_argument("--against", default="jax", help="libraries, by commas (default: jax)")
    top.add_argument("--threads", type=int, default=1)
    top.add_argument("--repeat", type=int, default=5, help="rounds (default 5)")
    top.add_argument("--budget", type=float, default=0.05, help="seconds of a sample")
    top.add_argument("--out", type=Path, metavar="FILE", help="also write the results there")
    return top


if __name__ == "__main__":
    sys.exit(main())
