"""Write the catalogue of ops: python -m symgraph.debug.catalogue > symgraph/ops/catalogue.py.

The catalogue says which module makes each op and function, so that a name can be looked up before
its module is loaded. It is written from the modules themselves and compared with them by the tests.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import textwrap
from collections.abc import Iterable
from typing import Any

import symgraph.ops
from symgraph.core.op import o, ops

HEAD = '''"""Where each function and op is made; by `python -m symgraph.debug.catalogue`."""

from __future__ import annotations
'''


def load_all() -> None:
    """Load every module of `symgraph.ops`, those of a stale catalogue and new ones."""
    for module in pkgutil.iter_modules(symgraph.ops.__path__, "symgraph.ops."):
        importlib.import_module(module.name)


def maker(made: Any) -> str:
    """Return the module that made a function or an op."""
    op = ops.get(made.__name__.rstrip("_")) if hasattr(made, "__name__") else made
    return str(getattr(op, "module", "") or made.__module__)


def table(title: str, names: Iterable[tuple[str, Any]]) -> str:
    """Return the source of one table: module -> names separated by spaces."""
    found: dict[str, list[str]] = {}
    for name, made in names:
        found.setdefault(maker(made), []).append(name)
    lines = [f"\n{title} = {{"]
    for module in sorted(found):
        words = " ".join(sorted(found[module]))
        rows = textwrap.wrap(words, 88, break_on_hyphens=False)
        rows = [f"{row} " for row in rows[:-1]] + rows[-1:]
        if len(rows) == 1 and len(module) + len(rows[0]) < 88:
            lines.append(f'    "{module}": "{rows[0]}",')
        else:
            lines.append(f'    "{module}": (')
            lines += [f'        "{row}"' for row in rows]
            lines.append("    ),")
    return "\n".join([*lines, "}"])


def catalogue() -> str:
    """Return the source of symgraph/ops/catalogue.py."""
    load_all()
    functions = [(name, getattr(o, name)) for name in o.names()]
    return "\n".join(
        [HEAD + table("FUNCTIONS", functions), table("OPS", sorted(ops.items())).lstrip("\n"), ""]
    )


if __name__ == "__main__":
    sys.stdout.write(catalogue())
