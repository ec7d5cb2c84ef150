"""Compare with PyTorch's operator database and write the report.

Needs the pinned torch (`./dev test --torch` installs it).
"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from symgraph.testing.tolerances import AGAINST_TORCH
from symgraph.testing.torch_map.compare import Result, compare
from symgraph.testing.torch_map.entry import Entry
from symgraph.testing.torch_map.report import report
from symgraph.testing.torch_map.samples import LARGEST, database, torch
from symgraph.testing.torch_map.table import merged

EXAMPLES = """\
examples:
  python -m symgraph.testing.torch_map --out docs/reference/torch.md
  python -m symgraph.testing.torch_map --only softmax linalg.svd
  python -m symgraph.testing.torch_map --dtype float32 --samples 5
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the comparison; exit status 0 all agree, 1 something is wrong, 2 wrong usage."""
    options = parser().parse_args(arguments)
    rows, operators = merged(), database()
    unknown = set(options.only or ()) - operators.keys()
    if unknown:
        sys.stderr.write(f"not in the database: {', '.join(sorted(unknown))}\n")
        return 2
    results: dict[str, Result] = {}
    names = [n for n in operators if not options.only or n in options.only]
    for name in names:
        row = rows[name]
        if not isinstance(row, Entry) or not _has(operators[name], options.dtype):
            continue
        start = time.perf_counter()
        r = results[name] = compare(operators[name], row, options.samples, options.dtype)
        seconds = time.perf_counter() - start
        if r.wrong or options.only:
            print(f"{name}: {r.samples} samples, agree {r.agree}, wrong {r.wrong}, {seconds:.1f} s")
            print(*(f"    {text}" for text in r.problems), sep="\n", end="\n" if r.wrong else "")
    wrong = sum(bool(r.wrong) for r in results.values())
    print(f"{len(results)} operators compared, {wrong} wrong")
    if options.out:
        names = [n for n in names if n in results or not isinstance(rows[n], Entry)]
        Path(options.out).write_text(report(rows, names, results, facts(options)), "utf-8")
    return 1 if wrong else 0


def _has(info: object, dtype: str | None) -> bool:
    return dtype is None or getattr(torch, dtype) in info.dtypes  # type: ignore[attr-defined]


def facts(options: argparse.Namespace) -> dict[str, object]:
    """Return what the head of the report says about the run."""
    dtype = options.dtype or "float64"
    return {
        "date": datetime.now(UTC).date(),
        "torch": torch.__version__.split("+")[0],
        "most": options.samples,
        "largest": LARGEST,
        "dtype": dtype,
        "limits": ", ".join(f"{v:g}" for v in AGAINST_TORCH.get(dtype, (0, 0, 0))),
    }


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(
        prog="python -m symgraph.testing.torch_map",
        description=(__doc__ or "").split("\n\n")[0],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--out", metavar="PATH", help="write the report there")
    top.add_argument("--samples", type=int, default=20, help="most samples of one operator (20)")
    top.add_argument("--only", nargs="+", metavar="NAME", help="only these operators")
    top.add_argument("--dtype", help="in this dtype, operators that have it (default: float64)")
    return top


if __name__ == "__main__":
    sys.exit(main())
