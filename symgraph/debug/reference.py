"""Write the reference of all functions and ops: python -m symgraph.debug.reference > ops.md."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any

from symgraph.core.op import Op, o, ops
from symgraph.ops import load_all
from symgraph.ops.base import Elementwise

HEAD = """# Functions and ops

Made by `python -m symgraph.debug.reference`; do not edit. Every function takes variables, NumPy
arrays, Python numbers and nested lists. *Derivative* says where the derivative comes from:
`partials` (one factor per input), `linear` (the op's transpose), `rule` (a rule of its own),
`expansion` (that of the simpler ops it is made of), `composed` (the function is made of ops that
have one), or why there is none.

*Error* is the largest error of float32 / float64 results in units in the last place (ulp) that the
tests allow, against 60 digits and the tables of NumPy and SciPy; ops without an entry round
correctly, or add and multiply as they say. Of `beta`, `betainc`, `beta_weight`, `gammainc`,
`gammaincc` and `poisson_weight` in float64 it is one ulp more for each unit of the logarithm of the
result, of `polygamma` n ulp more. Beside zeros it is that of the size around them: of Bessel
functions sqrt(2 / (pi x)), of `digamma` and `polygamma` of negative x a maximum between poles (at
least 1), of `gammaln` of negative x the larger of 1 and log Gamma(|x|).
"""


def derivative(op: Op) -> str:
    """Return in a word or two where the derivative of an op comes from."""
    if op.not_differentiable:
        return f"none: {op.not_differentiable}"
    if op.partials is not None:
        return "partials"
    if op.linear:
        return f"linear in {', '.join(map(str, op.linear))}"
    return "rule" if op.jvp is not None or op.vjp is not None else "expansion"


def family(f: Callable[..., Any], op: Op | None) -> str:
    """Return the module that defines a function."""
    module = getattr(op, "module", "") or f.__module__
    return str(module).rpartition(".")[2]


def signature(name: str, f: Callable[..., Any], op: Op | None) -> str:
    """Return the call as one writes it, without annotations."""
    if isinstance(op, Elementwise) and hasattr(op, "scalar"):
        return f"{name}({', '.join('xyz'[: op.arity])})"
    parameters = [p.replace(annotation=p.empty) for p in inspect.signature(f).parameters.values()]
    return f"{name}{inspect.Signature(parameters)}"


def entries() -> Iterator[tuple[str, str, Callable[..., Any], list[str]]]:
    """Yield (family, name, function, aliases) of every function."""
    names: dict[Callable[..., Any], list[str]] = {}
    for name in o.names():
        names.setdefault(getattr(o, name), []).append(name)
    for f, spelled in names.items():
        own = f.__name__.rstrip("_")
        yield family(f, ops.get(own)), own, f, sorted(set(spelled) - {own})


def error(op: Op | None) -> str:
    """Return the stated ulp of float32 and float64."""
    ulp = getattr(op, "ulp", None) or {}
    return " / ".join(f"{ulp[k]:g}" for k in ("float32", "float64") if k in ulp)


def row(name: str, f: Callable[..., Any], aliases: list[str]) -> str:
    """Return the line of one function in its table."""
    op = ops.get(name)
    doc = (inspect.getdoc(f) or "").split("\n\n")[0].replace("\n", " ")
    dtypes = getattr(op, "dtypes", "bool int float") if op is not None else ""
    kind = "composed" if op is None else derivative(op)
    cells = (f"`{signature(name, f, op)}`", ", ".join(aliases), doc, dtypes, kind, error(op))
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"


def inner_row(op: Op) -> str:
    """Return the line of an op that has no function of its own name."""
    cells = (f"`{op.name}`", ", ".join(op.params), op.doc, derivative(op))
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"


def reference() -> str:
    """Return the whole page as Markdown."""
    load_all()
    families: dict[str, list[str]] = {}
    for where, name, f, aliases in sorted(entries(), key=lambda e: e[:2]):
        families.setdefault(where, []).append(row(name, f, aliases))
    parts = [HEAD]
    for where, rows in families.items():
        parts.append(f"\n## {where}\n\n| call | aliases | what | dtypes | derivative | error |")
        parts.append("|---|---|---|---|---|---|\n" + "\n".join(rows))
    inner = sorted((op for op in ops.values() if op.name not in o), key=lambda op: op.name)
    parts.append("\n## Ops inside of graphs\n\n| op | parameters | what | derivative |")
    parts.append("|---|---|---|---|")
    parts.append("\n".join(map(inner_row, inner)))
    return "\n".join(parts) + "\n"


def main() -> None:
    sys.stdout.write(reference())


if __name__ == "__main__":
    main()
