"""Compare with PyTorch's operator database and write the report.

Needs the pinned torch (`./dev test --torch` installs it).
"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from symgraph.testing.tolerances import AGAINST_TORCH
from symgraph.testing.torch_map.compare import Result, compare
from symgraph.testing.torch_map.entry import Entry
from symgraph.testing.torch_map.report import report
from symgraph.testing.torch_map.samples import LARGEST, database, torch
from symgraph.testing.torch_map.table import merged

COMPLEX = ("complex64", "complex128")  # compared besides the dtype that each operator prefers
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
    names = [n for n in operators if not options.only or n in options.only]
    results = {
        dtype: _compared(rows, {n: operators[n] for n in names}, options, dtype)
        for dtype in ([options.dtype] if options.dtype else [None, *COMPLEX])
    }
    first = next(iter(results.values()))
    if options.out:
        names = [n for n in names if n in first or not isinstance(rows[n], Entry)]
        more = {dtype: results[dtype] for dtype in COMPLEX if dtype in results}
        Path(options.out).write_text(report(rows, names, first, facts(options), more), "utf-8")
    return int(any(r.wrong for by_name in results.values() for r in by_name.values()))


def _compared(
    rows: dict[str, Any], operators: dict[str, Any], options: argparse.Namespace, dtype: str | None
) -> dict[str, Result]:
    """Compare the operators that are mapped and have the dtype; print what is wrong."""
    results: dict[str, Result] = {}
    for name, operator in operators.items():
        row = rows[name]
        if not isinstance(row, Entry) or not _has(operator, dtype):
            continue
        start = time.perf_counter()
        r = results[name] = compare(operator, row, options.samples, dtype)
        seconds = time.perf_counter() - start
        if r.wrong or options.only:
            print(f"{name}: {r.samples} samples, agree {r.agree}, wrong {r.wrong}, {seconds:.1f} s")
            print(*(f"    {text}" for text in r.problems), sep="\n", end="\n" if r.wrong else "")
    wrong = sum(bool(r.wrong) for r in results.values())
    kind = f" in {dtype}" if dtype else ""
    print(f"{len(results)} operators compared{kind}, {wrong} wrong")
    return results


def _has(info: Any, dtype: str | None) -> bool:
    return dtype is None or getattr(torch, dtype) in info.dtypes


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
    top.add_argument(
        "--dtype", help="in this dtype only (default: float64, complex64 and complex128)"
    )
    return top


if __name__ == "__main__":
    sys.exit(main())
