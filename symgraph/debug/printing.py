"""`sg.dprint`: a graph as an indented tree; nodes met before are only named."""

from __future__ import annotations

import io
import math
import sys
from typing import Any, NamedTuple, TextIO

from symgraph.core.body import bodies
from symgraph.core.node import Node, describe


def dprint(
    x: Any,
    depth: int | None = None,
    types: bool = True,
    file: TextIO | str | None = None,
    *,
    shapes: bool | None = None,
    memory: bool = False,
    inner: bool = True,
) -> str | None:
    """Print the graph of a variable, a list of them, or a compiled function.

    Each node has a number; a node met again is shown as `[number]...`. The bodies of loops and
    branches follow below unless `inner` is False. `depth` limits the tree, `types` adds rank and
    dtype, `shapes` sizes (by default with types), `memory` bytes. file="str" returns the text
    instead.

    >>> x = sg.vector("x")
    >>> print(sg.dprint(sg.exp(x) + x, types=False, file="str"))
    Add [0]
    ├─ Exp [1]
    │  └─ x
    └─ x
    """
    compiled = getattr(x, "compiled", None)
    if compiled is not None:
        roots = list(compiled.values)
    else:
        roots = [x] if isinstance(x, Node) else list(x)
    out = io.StringIO()
    seen: dict[Node, int] = {}
    kind = _Kind(types, types if shapes is None else shapes, memory)
    for root in roots:
        _tree(root, depth, kind, out, seen)
    shown: set[Node] = set()
    while inner and (owners := [n for n in seen if n.op.compound and n not in shown]):
        for owner in owners:
            shown.add(owner)
            for k, body in enumerate(bodies(owner)):
                out.write(f"body {k} of {owner.op.name.title()} [{seen[owner]}]\n")
                for root in body.outputs:
                    _tree(root, depth, kind, out, seen)
    text = out.getvalue().rstrip("\n")
    if file == "str":
        return text
    stream = sys.stdout if file is None else file
    stream.write(text + "\n")  # type: ignore[union-attr]
    return None


class _Kind(NamedTuple):
    """What to say of the kind of a node."""

    types: bool
    shapes: bool
    memory: bool

    def text(self, node: Node) -> str:
        kind, _, sizes = str(node.type).partition(" (")
        words = [kind] if self.types else []
        if self.shapes:
            words.append(f"({sizes}")
        if self.memory:
            words.append(f"{math.prod(node.type.shape) * node.dtype.itemsize} bytes")
        return "  " + " ".join(words) if words else ""


def _tree(
    root: Node, depth: int | None, kind: _Kind, out: io.StringIO, seen: dict[Node, int]
) -> None:
    stack: list[tuple[Node, str, str, int]] = [(root, "", "", 0)]
    while stack:
        node, first, rest, level = stack.pop()
        again = node in seen
        out.write(first + _label(node, kind, seen) + "\n")
        if node.op.is_leaf or again or (depth is not None and level >= depth):
            continue
        last = len(node.inputs) - 1
        for k in reversed(range(len(node.inputs))):
            elbow, line = ("└─ ", "   ") if k == last else ("├─ ", "│  ")
            stack.append((node.inputs[k], rest + elbow, rest + line, level + 1))


def _label(node: Node, kind: _Kind, seen: dict[Node, int]) -> str:
    if node.op.is_leaf:
        return describe(node) + kind.text(node)
    title = node.op.name.title().replace("_", "")
    if node in seen:
        return f"{title} [{seen[node]}]..."
    seen[node] = len(seen)
    name = f" `{node.name}`" if node.name else ""
    params = ""
    if node.params:
        pairs = zip(node.op.params, node.params, strict=True)
        params = "{" + ", ".join(f"{k}={v}" for k, v in pairs) + "}"
    return f"{title}{params} [{seen[node]}]{name}{kind.text(node)}"
