"""The report: what every operator of PyTorch's database is here, and how it compared."""

from __future__ import annotations

import ast
import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from types import ModuleType
from typing import Any

import symgraph as sg
from symgraph.testing.torch_map.compare import Result
from symgraph.testing.torch_map.entry import Entry, Reason

LONG = 12  # lines of an adapter that is more than a translation
KINDS = (
    "a function as it is",
    "an expression",
    "a function with its arguments translated, or a few lines",
    f"a composition of more than {LONG} lines",
)
HEAD = """\
# Agreement with PyTorch

Every operator of PyTorch's own database of operators and samples (`op_db` of torch {torch}), and
what it is here. Written on {date} by

    python -m symgraph.testing.torch_map --out docs/reference/torch.md

with at most {most} samples of each operator, seeded, none with a tensor of more than {largest}
elements, in {dtype} where the operator has it.

Compared are values, the gradient of a fixed random projection of all results by every input, and
the gradient of a random projection of that gradient. The table counts the samples in which each
agrees, within {limits} times the largest entry (of the array, the arrays
it was derived from, and the inputs). Nothing under "second" means that torch has none there.
The tests compare samples in float32 and int64 as well. Operators that have complex dtypes are
compared in these too: gradients in PyTorch's convention, of the real part of the projection.

| | |
|---|---:|
| operators in the database | {total} |
| mapped | {mapped} |
{kinds}
| passing | {passing} |
| wrong | {wrong} |
| samples compared | {samples} |
| samples of mapped operators left out, with a reason | {left_out} |
| samples of which a derivative is not compared: a stated convention | {conventions} |
"""


def report(
    rows: dict[str, Entry | Reason],
    names: list[str],
    results: dict[str, Result],
    facts: Any,
    more: dict[str, dict[str, Result]] | None = None,
) -> str:
    """Return the page: counts, reasons, conventions, and a table of all operators `names`.

    `more` are results in further dtypes.
    """
    more = more or {}
    mapped = [n for n in names if isinstance(rows[n], Entry)]
    bad = [n for n in mapped if results[n].wrong]
    head = HEAD.format(
        total=len(names), mapped=len(mapped), passing=len(mapped) - len(bad), wrong=len(bad),
        samples=sum(r.samples for r in results.values()),
        left_out=sum(sum(r.unsupported.values()) for r in results.values()),
        conventions=sum(sum(r.conventions.values()) for r in results.values()),
        kinds="\n".join(f"| - {kind} | {n} |" for kind, n in _kinds(rows, mapped)),
        **facts,
    )  # fmt: skip
    parts = [
        head,
        *_longest(rows, mapped),
        *_reasons(rows, names),
        *_differences(rows, results),
        *_further(more),
        *_failures(results, *more.values()),
    ]
    parts += ["## All operators\n", *_table(rows, names, results, more)]
    return "\n".join(parts) + "\n"


def _kinds(rows: dict[str, Entry | Reason], mapped: list[str]) -> list[tuple[str, int]]:
    found = Counter(_kind(row.call) for n in mapped if isinstance(row := rows[n], Entry))
    return [(kind, found[kind]) for kind in KINDS]


def _longest(rows: dict[str, Entry | Reason], mapped: list[str]) -> Iterator[str]:
    long = [n for n in mapped if isinstance(row := rows[n], Entry) and _kind(row.call) == KINDS[3]]
    names = ", ".join(f"`{n}`" for n in long)
    yield f"Composed in more than {LONG} lines, as no function has all their arguments: {names}.\n"


def _kind(call: Callable[..., Any]) -> str:
    """Return how much an adapter does: one of KINDS."""
    if not call.__module__.startswith("symgraph.testing."):
        return KINDS[0]
    if call.__name__ == "<lambda>" and call.__qualname__ == "<lambda>":
        return KINDS[1]
    return KINDS[3] if len(inspect.getsource(call).splitlines()) > LONG else KINDS[2]


def _reasons(rows: dict[str, Entry | Reason], names: list[str]) -> Iterator[str]:
    unmapped: dict[str, list[str]] = {}
    for name in names:
        row = rows[name]
        if isinstance(row, Reason):
            unmapped.setdefault(row.text, []).append(name)
    yield "## Not mapped\n\n| operators | reason | which |\n|---:|---|---|"
    for text, which in sorted(unmapped.items(), key=lambda item: -len(item[1])):
        yield f"| {len(which)} | {text} | {', '.join(f'`{n}`' for n in which)} |"


def _differences(rows: dict[str, Entry | Reason], results: dict[str, Result]) -> Iterator[str]:
    yield "\n## Samples left out\n\n| samples | reason |\n|---:|---|"
    yield from _counted(r.unsupported for r in results.values())
    yield "\n## Stated conventions\n\nFrom the order that is named on, these are not compared.\n"
    yield "| samples | convention |\n|---:|---|"
    yield from _counted(r.conventions for r in results.values())
    yield "\n## Wider tolerances\n\n| operator | factor | reason |\n|---|---:|---|"
    for name, row in rows.items():
        if isinstance(row, Entry) and row.loose != 1:
            yield f"| `{name}` | {row.loose:g} | {row.why} |"
    yield ""


def _counted(tables: Any) -> Iterator[str]:
    total: Counter[str] = Counter()
    for table in tables:
        total.update(table)
    for text, count in total.most_common():
        yield f"| {count} | {text} |"


def _further(more: dict[str, dict[str, Result]]) -> Iterator[str]:
    """Yield the counts of further dtypes, and why samples are left out there."""
    if not more:
        return
    yield "## Complex numbers\n"
    yield "Mapped operators that have the dtype; values and both derivatives.\n"
    yield "| dtype | mapped | passing | wrong | samples | left out | conventions |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for dtype, results in more.items():
        rs = results.values()
        wrong = sum(bool(r.wrong) for r in rs)
        counts = (
            len(rs), len(rs) - wrong, wrong, sum(r.samples for r in rs),
            sum(sum(r.unsupported.values()) for r in rs),
            sum(sum(r.conventions.values()) for r in rs),
        )  # fmt: skip
        yield f"| {dtype} | {' | '.join(map(str, counts))} |"
    every = [r for results in more.values() for r in results.values()]
    yield "\n| samples | left out, or a convention |\n|---:|---|"
    yield from _counted([*(r.unsupported for r in every), *(r.conventions for r in every)])
    yield ""


def _failures(*tables: dict[str, Result]) -> Iterator[str]:
    for results in tables:
        for name, r in results.items():
            for text in r.problems[:3]:
                yield f"Wrong: `{name}`: {_one_line(text)[:200]}\n"


def _table(
    rows: dict[str, Entry | Reason],
    names: list[str],
    results: dict[str, Result],
    more: dict[str, dict[str, Result]],
) -> Iterator[str]:
    """Yield the rows: samples that agree in each order, and in values in further dtypes."""
    yield f"| operator | here | samples | values | gradient | second |{_joined(more)}"
    yield f"|---|---|---:|---:|---:|---:|{_joined('---:' for _ in more)}"
    for name in names:
        row = rows[name]
        if isinstance(row, Reason):
            yield f"| `{name}` | not mapped: {row.text} | | | | |{_joined('' for _ in more)}"
            continue
        r = results[name]
        others = [by_name[name] for by_name in more.values() if name in by_name]
        mark = " **wrong**" if r.wrong or any(x.wrong for x in others) else ""
        counts = " | ".join(str(n) if n else "" for n in r.agree)
        further = (f"{m[name].agree[0] or ''}" if name in m else "" for m in more.values())
        here = _code(described(row.call))
        yield f"| `{name}` | {here}{mark} | {r.samples} | {counts} |{_joined(further)}"


def _joined(cells: Iterable[str]) -> str:
    """Return more cells of a row of a table."""
    return "".join(f" {cell} |" for cell in cells)


def _code(text: str) -> str:
    return f"`{_one_line(text)}`".replace("|", "\\|")


def _one_line(text: str) -> str:
    return " ".join(text.split())


# -- what an adapter says -------------------------------------------------------------------------
def described(call: Callable[..., Any]) -> str:
    """Return an adapter as it is written: a function's name, a lambda's text, or what made it."""
    name = getattr(call, "__name__", "")
    module = getattr(call, "__module__", None) or ""
    if module.startswith("symgraph") and not module.startswith("symgraph.testing."):
        return f"sg.{_public_name(call) or name}"
    made = [p for p in call.__qualname__.split(".") if p != "<locals>"]
    if len(made) > 1:
        kept = [c.cell_contents for c in call.__closure__ or ()]
        inside = [described(c) for c in kept if callable(c) and c is not call]
        return f"{made[0]}({', '.join(inside)})"
    return _lambda_text(call) if name == "<lambda>" else name


def _public_name(call: Callable[..., Any]) -> str | None:
    for module in ("", "linalg", "special", "fft"):
        for name, value in vars(getattr(sg, module) if module else sg).items():
            if value is call:
                return f"{module}.{name}" if module else name
    return None


def _lambda_text(call: Callable[..., Any]) -> str:
    """Return the source of a lambda: the one on its line whose arguments have the same names."""
    code = call.__code__
    module = inspect.getmodule(call)
    assert isinstance(module, ModuleType)
    for node in _lambdas(inspect.getsource(module)):
        args = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
        if node.lineno == code.co_firstlineno and args == [*code.co_varnames[: code.co_argcount]]:
            return ast.unparse(node.body)
    return "lambda"


@cache
def _lambdas(source: str) -> tuple[ast.Lambda, ...]:
    return tuple(n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Lambda))
