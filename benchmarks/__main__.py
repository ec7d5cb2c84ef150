"""Command line: python -m benchmarks list | run | compare | report | setup."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from benchmarks import measure, report, results, rows, workers
from benchmarks.peers import MODULES, OURS

EXAMPLES = """\
examples:
  python -m benchmarks list
  python -m benchmarks run call chain --against numpy,torch --threads 1
  python -m benchmarks run train.mlp_b128 --repeat 15 --out runs/mlp
  python -m benchmarks compare runs/old/results.json runs/new/results.json
  python -m benchmarks report benchmarks/results/results.json
  python -m benchmarks setup pytensor

exit status: 0 fine, 1 failed or regressed, 2 wrong usage
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; 0 fine, 1 something failed or is slower, 2 wrong usage."""
    options = parser().parse_args(arguments)
    try:
        return int(options.action(options))
    except (KeyError, ValueError) as error:
        text = f"no row matches {error}" if isinstance(error, KeyError) else str(error)
        sys.stderr.write(f"{text}\n")
        return 2
    except BrokenPipeError:  # who reads has enough; the interpreter must not flush at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure symgraph beside other libraries.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        examples = [line for line in EXAMPLES.splitlines() if f"benchmarks {name}" in line]
        return verbs.add_parser(
            name,
            help=text,
            description=text,
            epilog="\n".join(["example:", *examples]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    listing = add("list", "the rows there are")
    listing.set_defaults(action=list_rows)
    running = add("run", "measure rows; all by default")
    add_run_options(running)
    running.set_defaults(action=run)
    comparing = add("compare", "exit 1 where NEW is slower than BASE")
    comparing.add_argument("base", type=Path, metavar="BASE")
    comparing.add_argument("new", type=Path, metavar="NEW")
    comparing.set_defaults(action=compare)
    reporting = add("report", "Markdown on stdout, a chart beside FILE")
    reporting.add_argument("file", type=Path, metavar="FILE")
    reporting.add_argument("--into", type=Path, metavar="DOC", help="also put the tables there")
    reporting.set_defaults(action=write_report)
    setting = add("setup", "install a library that needs its own environment")
    setting.add_argument("peer", choices=("pytensor",))
    setting.set_defaults(action=lambda _: workers.setup_pytensor())
    return top


def add_run_options(running: argparse.ArgumentParser) -> None:
    """Add what `run` understands."""
    running.add_argument(
        "names", nargs="*", help="names, groups or patterns: call chain.1e5 'matmul.*'"
    )
    running.add_argument("--against", help="libraries, separated by commas; none: symgraph alone")
    running.add_argument("--threads", default="1,2", help="thread counts (default 1,2)")
    running.add_argument("--repeat", type=int, default=7, help="rounds (default 7)")
    running.add_argument("--quick", action="store_true", help="3 short rounds on one thread")
    running.add_argument("--out", type=Path, help="folder for results.json, table.md, chart.png")
    running.add_argument("--json", action="store_true", help="print the results as JSON")


def list_rows(options: argparse.Namespace) -> int:
    """Print the names of the rows and what they are."""
    width = max(len(name) for name in rows.ROWS)
    for row in rows.ROWS.values():
        print(f"{row.name:{width}}  {row.text}")
    return 0


def plan_of(options: argparse.Namespace) -> measure.Plan:
    """Check the options of `run`."""
    peers = [p for p in MODULES if p != OURS]
    if options.against:
        peers = [p for p in options.against.split(",") if p != "none"]
        unknown = [p for p in peers if p not in MODULES]
        if unknown:
            raise ValueError(f"unknown library {unknown[0]!r}; known: {', '.join(MODULES)}")
    threads = [int(t) for t in options.threads.split(",")]
    if options.repeat < 1 or min(threads) < 1:
        raise ValueError("--repeat and --threads must be at least 1")
    quick = {"threads": [1], "repeat": 3, "budget": 0.01} if options.quick else {}
    settings = {"threads": threads, "repeat": options.repeat} | quick
    chosen = list(dict.fromkeys([OURS, *peers]))
    return measure.Plan(rows.select(options.names), chosen, **settings)


def run(options: argparse.Namespace) -> int:
    """Measure, print, and write files where asked to."""
    found = measure.run(plan_of(options))
    if options.out:
        results.write(found, options.out / "results.json")
        (options.out / "table.md").write_text(report.markdown(found))
        report.chart(found, options.out / "chart.png")
    print(json.dumps(found) if options.json else report.summary(found))
    bad = results.bad_cells(found)
    sys.stderr.write("".join(f"FAILED {line}\n" for line in bad))
    return 1 if bad else 0


def compare(options: argparse.Namespace) -> int:
    """Print the changes between two files; 1 where one is a regression."""
    changes, failures = results.compare(results.read(options.base), results.read(options.new))
    if not changes and not failures:
        raise ValueError("the two files have no row in common")
    print(report.changes_table(changes))
    sys.stderr.write("".join(f"FAILED {line}\n" for line in failures))
    return 1 if failures or any(c.verdict == "slower" for c in changes) else 0


def write_report(options: argparse.Namespace) -> int:
    """Print the tables of a file and draw its chart."""
    found = results.read(options.file)
    tables = report.markdown(found)
    if options.into:
        options.into.write_text(report.insert(options.into.read_text(), tables))
    sys.stdout.write(tables)
    report.chart(found, options.file.with_name("chart.png"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
