"""A graph as a picture (SVG of our own, PNG and PDF through matplotlib) or as a networkx graph."""

from __future__ import annotations

import os
from types import ModuleType
from typing import TYPE_CHECKING, Any

from symgraph.core.lazy import lazy
from symgraph.core.node import Node, describe
from symgraph.core.record import dataclass
from symgraph.core.walk import toposort
from symgraph.debug.layout import Placed, place

if TYPE_CHECKING:
    from pathlib import Path

html: Any = lazy("html")
pathlib: Any = lazy("pathlib")

FONT, LINE, CHARACTER = 12.0, 15.0, 6.9  # points; the widths of the fonts used are close to this
MARGIN = 16.0
MOST_NODES = 600  # a layered picture of more cannot be read, and ordering its rows takes long
# Okabe and Ito's colours, lightened: told apart with any colour vision.
FILL = {
    "input": "#cfe8fb",
    "shared": "#fde5bf",
    "constant": "#ececec",
    "op": "#ffffff",
    "output": "#cdeee3",
}
STROKE = {
    "input": "#0072b2",
    "shared": "#d98a00",
    "constant": "#888888",
    "op": "#555555",
    "output": "#009e73",
}
LEGEND = {
    "input": "input",
    "shared": "shared variable",
    "constant": "constant",
    "op": "operation",
    "output": "output",
}


@dataclass(frozen=True, slots=True)
class Box:
    """One drawn node: its lines of text, what it is, and the text shown when pointed at."""

    lines: tuple[str, ...]
    kind: str
    note: str

    @property
    def size(self) -> tuple[float, float]:
        return max(map(len, self.lines)) * CHARACTER + 18, len(self.lines) * LINE + 10


def draw(x: Any, path: str | os.PathLike[str], title: str | None = None) -> Path:
    """Write a picture of a variable, a list of them or a compiled function; return its path.

    The ending decides: ".svg" (no package needed), ".png" or ".pdf" (through matplotlib). Of a
    function the rewritten graph is drawn. Scalars that are constant stand in the box that uses
    them. Raises ValueError for another ending and for more than 600 nodes.
    """
    target: Path = pathlib.Path(path)
    boxes, edges = _boxes(_roots(x), _updated(x))
    if len(boxes) > MOST_NODES:
        raise ValueError(
            f"{len(boxes)} nodes are too many for one picture (at most {MOST_NODES}); draw a part, "
            "or take symgraph.debug.draw.to_networkx"
        )
    placed = place({n: b.size for n, b in boxes.items()}, edges)
    if target.suffix == ".svg":
        target.write_text(_svg(boxes, placed, title), encoding="utf-8")
    elif target.suffix in (".png", ".pdf"):
        _plot(boxes, placed, title, target)
    else:
        raise ValueError(f"the name must end in .svg, .png or .pdf, got {target.name!r}")
    return target


def to_networkx(x: Any) -> Any:
    """Return the graph as a networkx.MultiDiGraph, from inputs to outputs.

    Nodes are numbers with the attributes label, op, kind, type and source; edges have `position`,
    the place among the operation's inputs.
    """
    roots = _roots(x)
    graph = _networkx().MultiDiGraph()
    number: dict[Node, int] = {}
    for node in toposort(roots):
        number[node] = len(number)
        graph.add_node(
            number[node],
            label=describe(node),
            op=node.op.name,
            kind=_kind(node, roots),
            type=str(node.type),
            source=str(node.source),
        )
        for position, source in enumerate(node.inputs):
            graph.add_edge(number[source], number[node], position=position)
    return graph


def _roots(x: Any) -> list[Node]:
    compiled = getattr(x, "compiled", None)
    if compiled is not None:
        return list(compiled.values)
    return [x] if isinstance(x, Node) else list(x)


def _updated(x: Any) -> dict[Node, str]:
    """Return the names of the shared variables that outputs of a function are stored in."""
    compiled = getattr(x, "compiled", None)
    if compiled is None:
        return {}
    updates = compiled.definition.updates
    values = compiled.values[len(compiled.values) - len(updates) :]
    return {v: describe(target) for (target, _), v in zip(updates, values, strict=True)}


def _kind(node: Node, roots: list[Node]) -> str:
    if node.op.is_leaf:
        return str(node.op.name)
    return "output" if node in roots else "op"


def _boxes(
    roots: list[Node], updated: dict[Node, str]
) -> tuple[dict[Node, Box], list[tuple[Node, Node]]]:
    boxes: dict[Node, Box] = {}
    edges = []
    for node in toposort(roots):
        if _is_small(node) and node not in roots:
            continue
        kind = _kind(node, roots)
        lines = _lines(node)
        if node in updated:
            lines = (f"{lines[0]}  → {updated[node]}", *lines[1:])
        note = f"{describe(node)}: {node.type}, made at {node.source}"
        boxes[node] = Box(lines, kind, note)
        edges += [(i, node) for i in node.inputs if i in boxes]
    return boxes, edges


def _is_small(node: Node) -> bool:
    return node.op.name == "constant" and node.data.ndim == 0


def _lines(node: Node) -> tuple[str, ...]:
    if node.op.is_leaf:
        return describe(node), str(node.type)
    title = node.op.name.title().replace("_", "")
    if any(map(_is_small, node.inputs)):
        given = (f"{i.data.item():.6g}" if _is_small(i) else "·" for i in node.inputs)
        title += f"({', '.join(given)})"
    if node.params:
        pairs = zip(node.op.params, node.params, strict=True)
        title += " " + ", ".join(f"{k}={v}" for k, v in pairs)
    title = title if len(title) <= 40 else title[:39] + "…"
    return (f"{title}  [{node.name}]" if node.name else title), str(node.type)


def _route(a: Node, b: Node, boxes: dict[Node, Box], placed: Placed) -> list[tuple[float, float]]:
    """Return the points of an edge: bottom of the source, bends, top of the target."""
    (ax, ay), (bx, by) = placed.centres[a], placed.centres[b]
    start, end = (ax, ay + boxes[a].size[1] / 2), (bx, by - boxes[b].size[1] / 2)
    return [start, *placed.bends[a, b], end]


def _curve(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return control points of cubic curves through the points, upright at each of them."""
    curve = [points[0]]
    for (ax, ay), (bx, by) in zip(points, points[1:], strict=False):
        middle = (ay + by) / 2
        curve += [(ax, middle), (bx, middle), (bx, by)]
    return curve


def _svg(boxes: dict[Node, Box], placed: Placed, title: str | None) -> str:
    head = 26.0 if title else 0.0
    kinds = [k for k in LEGEND if any(b.kind == k for b in boxes.values())]
    width = max(placed.width, sum(len(LEGEND[k]) * CHARACTER + 40 for k in kinds)) + 2 * MARGIN
    height = placed.height + 2 * MARGIN + head + 34
    shift = (width - placed.width) / 2
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="{FONT:g}">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7"'
        ' markerHeight="7" orient="auto"><path d="M0 0.8L7.5 4L0 7.2z"'
        ' fill="#777"/></marker></defs>',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    if title:
        head_line = html.escape(title)
        out.append(f'<text x="{MARGIN}" y="{MARGIN + 8}" font-size="15">{head_line}</text>')
    out.append(f'<g transform="translate({shift:.1f} {MARGIN + head:.1f})">')
    for a, b in placed.bends:
        start, *rest = _curve(_route(a, b, boxes, placed))  # type: ignore[arg-type]
        path = f"M{start[0]:.1f} {start[1]:.1f}C" + " ".join(f"{x:.1f} {y:.1f}" for x, y in rest)
        out.append(f'<path d="{path}" fill="none" stroke="#777" marker-end="url(#tip)"/>')
    for node, box in boxes.items():
        out.append(_svg_box(box, *placed.centres[node]))
    out.append("</g>")
    at, y = MARGIN, height - MARGIN - 6
    for kind in kinds:
        out.append(
            f'<rect x="{at:.1f}" y="{y - 10:.1f}" width="14" height="12" rx="3" '
            f'fill="{FILL[kind]}" stroke="{STROKE[kind]}"/>'
            f'<text x="{at + 20:.1f}" y="{y:.1f}" fill="#444">{LEGEND[kind]}</text>'
        )
        at += len(LEGEND[kind]) * CHARACTER + 40
    return "\n".join([*out, "</svg>", ""])


def _svg_box(box: Box, x: float, y: float) -> str:
    w, h = box.size
    rect = (
        f'<rect x="{x - w / 2:.1f}" y="{y - h / 2:.1f}" width="{w:.1f}" height="{h:.1f}" rx="5" '
        f'fill="{FILL[box.kind]}" stroke="{STROKE[box.kind]}"/>'
    )
    first = y - (len(box.lines) - 1) * LINE / 2 + 4
    texts = "".join(
        f'<text x="{x:.1f}" y="{first + k * LINE:.1f}" text-anchor="middle" '
        f'fill="{"#111" if k == 0 else "#666"}">{html.escape(line)}</text>'
        for k, line in enumerate(box.lines)
    )
    return f"<g><title>{html.escape(box.note)}</title>{rect}{texts}</g>"


def _plot(boxes: dict[Node, Box], placed: Placed, title: str | None, target: Path) -> None:
    """Draw the same picture with matplotlib; a point of the layout is a point on paper."""
    mpl = _matplotlib()
    width, height = placed.width + 2 * MARGIN, placed.height + 2 * MARGIN + 60
    figure = mpl.figure.Figure(figsize=(width / 72, height / 72))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(-MARGIN, placed.width + MARGIN), ylim=(placed.height + MARGIN + 26, -MARGIN - 34))
    ax.axis("off")
    path = mpl.path.Path
    for a, b in placed.bends:
        points = _curve(_route(a, b, boxes, placed))  # type: ignore[arg-type]
        codes = [path.MOVETO, *[path.CURVE4] * (len(points) - 1)]
        ax.add_patch(
            mpl.patches.FancyArrowPatch(
                path=path(points, codes),
                arrowstyle="-|>",
                mutation_scale=8,
                color="#777777",
                lw=0.9,
            )
        )
    for node, box in boxes.items():
        (x, y), (w, h) = placed.centres[node], box.size
        ax.add_patch(
            mpl.patches.FancyBboxPatch(
                (x - w / 2 + 4, y - h / 2 + 4), w - 8, h - 8, boxstyle="round,pad=4",
                fc=FILL[box.kind], ec=STROKE[box.kind], lw=0.9,
            )
        )  # fmt: skip
        for k, line in enumerate(box.lines):
            at = y + (k - (len(box.lines) - 1) / 2) * LINE
            colour = "#111111" if k == 0 else "#666666"
            ax.text(x, at, line, ha="center", va="center", size=FONT - 2, color=colour)
    if title:
        ax.text(0, -MARGIN - 12, title, size=13, va="center")
    kinds = [k for k in LEGEND if any(b.kind == k for b in boxes.values())]
    handles = [mpl.patches.Patch(fc=FILL[k], ec=STROKE[k], label=LEGEND[k]) for k in kinds]
    ax.legend(handles=handles, loc="lower left", ncols=len(kinds), frameon=False, fontsize=9)
    figure.savefig(target, dpi=110)


def _networkx() -> ModuleType:
    """Import networkx (heavy)."""
    import networkx

    module: ModuleType = networkx
    return module


def _matplotlib() -> ModuleType:
    """Import matplotlib (heavy); raises ImportError with the cure."""
    try:
        import matplotlib.figure
        import matplotlib.patches
        import matplotlib.path
    except ImportError:
        raise ImportError('a PNG or PDF needs matplotlib: pip install "symgraph[nn]"') from None
    return matplotlib
