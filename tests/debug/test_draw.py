"""Pictures of graphs: the layout keeps its promises, the files are what they say."""

from __future__ import annotations

import itertools
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import symgraph as sg
from symgraph.debug.draw import draw, to_networkx
from symgraph.debug.layout import GAP_X, place

Edges = list[tuple[int, int]]


def random_graph(n: int, seed: int) -> tuple[dict[int, tuple[float, float]], Edges]:
    rng = np.random.default_rng(seed)
    edges = [(int(a), b) for b in range(1, n) for a in rng.choice(b, min(b, 2), replace=False)]
    return {k: (float(rng.integers(20, 120)), 30.0) for k in range(n)}, edges


@pytest.mark.parametrize("seed", range(5))
def test_edges_lead_down_and_boxes_do_not_overlap(seed: int) -> None:
    sizes, edges = random_graph(40, seed)
    placed = place(sizes, edges)
    assert all(placed.centres[a][1] < placed.centres[b][1] for a, b in edges)
    for a, b in itertools.combinations(sizes, 2):
        (ax, ay), (bx, by) = placed.centres[a], placed.centres[b]
        if ay == by:
            assert abs(ax - bx) >= (sizes[a][0] + sizes[b][0]) / 2 + GAP_X - 1e-6
    for k, (width, _) in sizes.items():
        assert width / 2 - 1e-6 <= placed.centres[k][0] <= placed.width - width / 2 + 1e-6


def test_crossing_is_removed() -> None:
    placed = place({k: (20.0, 20.0) for k in "abcd"}, [("a", "d"), ("b", "c")])
    x = {k: c[0] for k, c in placed.centres.items()}
    assert (x["a"] < x["b"]) == (x["d"] < x["c"])


def example() -> sg.Variable:
    w = sg.shared(np.zeros((3, 2), "float32"), name="w")
    return sg.tanh(sg.matrix("x") @ w * 0.5 + np.ones(2, "float32"))


def test_svg_has_a_box_per_node_and_inlines_scalars(tmp_path: Path) -> None:
    path = draw(example(), tmp_path / "g.svg", title="a < b")
    root = ElementTree.parse(path).getroot()
    space = "{http://www.w3.org/2000/svg}"
    notes = [t.text or "" for t in root.iter(f"{space}title")]
    assert len(notes) == 7  # x, w, matmul, mul, constant, add, tanh; not 0.5
    texts = [t.text for t in root.iter(f"{space}text")]
    assert "a < b" in texts and "Mul(·, 0.5)" in texts or "Mul(0.5, ·)" in texts
    assert "test_draw.py" in " ".join(notes)


def test_function_shows_its_updates(tmp_path: Path) -> None:
    w = sg.shared(np.float32(1), name="w")
    f = sg.function([], updates={w: w * 2})
    assert "→ w" in draw(f, tmp_path / "g.svg").read_text(encoding="utf-8")


def test_png_and_pdf_are_written(tmp_path: Path) -> None:
    assert draw(example(), tmp_path / "g.png").read_bytes().startswith(b"\x89PNG")
    assert draw(example(), tmp_path / "g.pdf").read_bytes().startswith(b"%PDF")


def test_other_endings_and_huge_graphs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="svg, .png or .pdf"):
        draw(example(), tmp_path / "g.gif")
    x = sg.scalar("x")
    for k in range(700):
        x = sg.sin(x) if k % 2 else sg.cos(x)
    with pytest.raises(ValueError, match="too many"):
        draw(x, tmp_path / "g.svg")


def test_networkx_keeps_positions() -> None:
    x, y = sg.vector("x"), sg.vector("y")
    graph = to_networkx(x - y)
    by_label = {d["label"]: n for n, d in graph.nodes(data=True)}
    result = next(n for n, d in graph.nodes(data=True) if d["kind"] == "output")
    assert graph.edges[by_label["x"], result, 0]["position"] == 0
    assert graph.edges[by_label["y"], result, 0]["position"] == 1
    assert graph.nodes[by_label["x"]]["kind"] == "input"
