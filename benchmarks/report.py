"""Tables and a chart from a result file."""

from __future__ import annotations

import importlib
import math
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers import MODULES, OURS
from benchmarks.results import Change, Results

TITLES = {
    "call": "Call overhead",
    "chain": "Fused elementwise chains",
    "rows": "Softmax, norms, log-sum-exp of rows",
    "reduce": "Reductions and running sums",
    "move": "Data movement",
    "matmul": "Matrix products",
    "conv": "Convolutions",
    "fft": "Fourier transforms",
    "train": "Training steps",
    "hvp": "Hessian-vector products",
    "scan": "Recurrences",
    "higher": "Jacobians, Hessians, gradients per example",
    "compile": "From definition to the first result, fresh process",
    "memory": "Peak memory of training steps above that of the imports, fresh process",
}
# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLOURS = {
    "torch": "#E69F00",
    "torch.compile": "#D55E00",
    "jax": "#0072B2",
    "pytensor": "#009E73",
    "numpy": "#999999",
}
ROWS_SHOWN = 60  # rows of a panel up to which each has bars of its own
MARKER = "<!-- Below: written by `python -m benchmarks report FILE --into THIS`. -->"
GROWS_FROM = 50  # below, what every compilation costs hides the growth
Line = dict[str, Any]


def duration(seconds: float) -> str:
    """Write a time with three digits and a unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{_digits(seconds / scale)} {unit}"
    return f"{_digits(seconds * 1e9)} ns"


def amount(row: str, value: float) -> str:
    """Write the figure of a row: a time, or bytes."""
    return f"{_digits(value * 1e-6)} MB" if row.startswith("memory.") else duration(value)


def _digits(value: float) -> str:
    places = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:.{places}f}"


def best_peer(line: Line) -> tuple[str, float] | None:
    """Return the fastest other library of a line with its median."""
    times = {p: c["median"] for p, c in line["cells"].items() if p != OURS and good(c)}
    if not times:
        return None
    name = min(times, key=lambda p: times[p])
    return name, times[name]


def good(cell: dict[str, Any]) -> bool:
    """Tell whether a cell holds the time of a right result."""
    return "median" in cell and "wrong" not in cell


def disturbed(cell: dict[str, Any]) -> bool:
    """Tell whether other work on the machine may have made a cell too slow."""
    return bool(cell.get("disturbed", 0) > 0.5)


def advantage(line: Line) -> float | None:
    """Return best peer's time / our time: above 1 we are first."""
    peer, mine = best_peer(line), line["cells"].get(OURS, {})
    return peer[1] / mine["median"] if peer and good(mine) else None


def columns(results: Results) -> list[str]:
    """Return the libraries that have any cell, in the usual order."""
    seen = {p for line in results["rows"] for p in line["cells"]}
    return [p for p in MODULES if p in seen]


def markdown(results: Results) -> str:
    """Return the tables of a result file, one per group and thread count."""
    parts = [header(results)]
    keys = dict.fromkeys((li["row"].split(".")[0], li["threads"]) for li in results["rows"])
    order = list(TITLES)
    for group, threads in sorted(keys, key=lambda k: (order.index(k[0]), k[1])):
        lines = [
            li
            for li in results["rows"]
            if li["row"].split(".")[0] == group and li["threads"] == threads
        ]
        plural = "thread" if threads == 1 else "threads"
        parts.append(f"## {TITLES[group]}, {threads} {plural}\n\n" + "\n".join(table(lines)))
        if group == "compile":
            parts += [imports(lines), growth(lines), compiler_memory(lines)]
            parts.append(warm_compilations(lines))
        if group == "memory":
            parts.append(arenas(lines))
    parts.append(notes(results))
    return "\n\n".join(p for p in parts if p) + "\n"


def insert(document: str, tables: str) -> str:
    """Return a document with all after its marker line replaced by tables.

    Raises ValueError where the document has no marker.
    """
    before, marker, _ = document.partition(MARKER)
    if not marker:
        raise ValueError(f"the document has no line {MARKER!r}")
    return f"{before}{marker}\n\n{tables}"


def header(results: Results) -> str:
    """Return what was measured, where and when."""
    machine, load = results["machine"], results["load"]
    versions = ", ".join(f"{k} {v}" for k, v in results["versions"].items())
    return (
        f"Measured {results['started']} to {results['finished']} on {machine['cpu']}, "
        f"{machine['cores']} cores ({', '.join(machine['vectors'])}), {machine['system']}, "
        f"source {machine['revision']}. Versions: {versions}. "
        f"Load average {load[0]:.1f} before, {load[1]:.1f} after; "
        f"{results['settings']['repeat']} rounds."
    )


def table(lines: list[Line]) -> Iterator[str]:
    """Yield the lines of one Markdown table."""
    peers = [p for p in MODULES if any(p in li["cells"] for li in lines)]
    yield f"| row | {' | '.join(peers)} | best peer / symgraph |"
    yield "|---" * (len(peers) + 2) + "|"
    for line in lines:
        times = [c["median"] for c in line["cells"].values() if good(c)]
        best = min(times, default=0.0)
        cells = [cell_text(line["row"], line["cells"].get(p), best) for p in peers]
        ratio = advantage(line)
        peer = best_peer(line)
        verdict = f"{ratio:.2f} ({peer[0]})" if ratio and peer else "-"
        if peer and any(disturbed(line["cells"].get(p, {})) for p in (OURS, peer[0])):
            verdict += " ~"
        verdict = f"**{verdict}**" if ratio and ratio < 1 else verdict
        yield f"| {line['row']} | {' | '.join(cells)} | {verdict} |"


def cell_text(row: str, cell: dict[str, Any] | None, best: float) -> str:
    """Write a cell: median and half the quartile range in per cent; ~ where disturbed."""
    if cell is None:
        return "-"
    if "median" not in cell:
        return "failed"
    spread = (cell["q3"] - cell["q1"]) / 2 / cell["median"]
    text = amount(row, cell["median"])
    text = f"**{text}**" if good(cell) and cell["median"] == best else text
    text += f" ±{100 * spread:.0f}%" if cell["n"] > 1 else " (once)"
    text += " ~" if disturbed(cell) else ""
    return text + (" wrong" if "wrong" in cell else "")


def imports(lines: list[Line]) -> str:
    """Return the imports that the start rows do not include."""
    found: dict[str, list[float]] = {}
    for line in lines:
        for peer, cell in line["cells"].items():
            if "import_s" in cell:
                kept = found.setdefault(peer, [math.inf, math.inf])
                found[peer] = [min(kept[0], cell["import_s"]), min(kept[1], cell["llvm_s"])]
    texts = [
        f"{p} {duration(v[0])}" + (f" (LLVM's own {duration(v[1])})" if p == OURS else "")
        for p, v in found.items()
    ]
    return f"Imports, which are not in these figures (least of all processes): {', '.join(texts)}."


def growth(lines: list[Line]) -> str:
    """Return how compile time grows with the size that ends a row's name: fitted exponents."""
    series: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for line in lines:
        match = re.fullmatch(r"compile\.(\w+)_(\d+)\.cold", line["row"])
        for peer, cell in line["cells"].items() if match else ():
            if match and good(cell) and int(match[2]) >= GROWS_FROM:
                point = (math.log(int(match[2])), math.log(cell["median"]))
                series.setdefault((match[1], peer), []).append(point)
    texts = [f"{kind}, {peer} {slope(s):.2f}" for (kind, peer), s in series.items() if len(s) > 1]
    what = f"Exponents of the growth with n, from n = {GROWS_FROM} on, empty cache"
    return f"{what}: {'; '.join(texts)}." if texts else ""


def slope(points: list[tuple[float, float]]) -> float:
    """Return the slope of the line of least squares."""
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def compiler_memory(lines: list[Line]) -> str:
    """Return the peaks of memory of compilation and first run."""
    texts = [
        f"{line['row'].removeprefix('compile.').removesuffix('.cold')} "
        + ", ".join(f"{p} {_digits(c['peak'] * 1e-6)}" for p, c in cells.items())
        for line in lines
        if line["row"].endswith(".cold")
        and (cells := {p: c for p, c in line["cells"].items() if c.get("peak")})
    ]
    what = "Peak memory of compilation and first result above that of the imports, MB, empty cache"
    return f"{what}: {'; '.join(texts)}." if texts else ""


def arenas(lines: list[Line]) -> str:
    """Return the arenas of our functions and what their temporaries would take one by one."""
    texts = [
        f"{line['row'].removeprefix('memory.')} {_digits(facts['arena'] * 1e-6)} of "
        f"{_digits(facts['temporaries'] * 1e-6)}"
        for line in lines
        if (facts := line["cells"].get(OURS, {}).get("facts"))
    ]
    return f"Arena of symgraph and the sum of its temporaries, MB: {'; '.join(texts)}."


def warm_compilations(lines: list[Line]) -> str:
    """Return what our compilation takes of the warm starts."""
    texts = [
        f"{line['row'].removeprefix('compile.').removesuffix('.warm')} "
        f"{duration(facts['compile_s'])}"
        for line in lines
        if line["row"].endswith(".warm")
        and "compile_s" in (facts := line["cells"].get(OURS, {}).get("facts") or {})
    ]
    what = (
        "Compilation itself by symgraph, of warm starts (the rest is the definition of the model, "
        "the copy of its parameters and the first step)"
    )
    return f"{what}: {'; '.join(texts)}." if texts else ""


def notes(results: Results) -> str:
    """Return what failed or came out wrong, and where the machine was busy."""
    found = []
    for line in results["rows"]:
        where = f"{line['row']}, {line['threads']} threads"
        for peer, cell in line["cells"].items():
            for problem in ("failed", "wrong"):
                if problem in cell:
                    found.append(f"- {where}, {peer}: {' '.join(str(cell[problem]).split())}")
    busy = [
        f"{li['row']} ({li['threads']})"
        for li in results["rows"]
        if any(disturbed(c) for c in li["cells"].values())
    ]
    if busy:
        found.append(f"- disturbed by other work (`~`): {', '.join(busy)}")
    return "## Notes\n\n" + "\n".join(found) if found else ""


def summary(results: Results) -> str:
    """Return a short table: our time, the best peer, and the ratio of every row."""
    width = max((len(li["row"]) for li in results["rows"]), default=3)
    texts = [f"{'row':{width}}  thr  {OURS:>18}  {'best peer':>28}  ratio"]
    for line in results["rows"]:
        mine, peer, ratio = line["cells"].get(OURS, {}), best_peer(line), advantage(line)
        left = cell_text(line["row"], mine or None, -1.0)
        right = f"{amount(line['row'], peer[1])} {peer[0]}" if peer else "-"
        texts.append(
            f"{line['row']:{width}}  {line['threads']:>3}  {left:>18}  {right:>28}  "
            + (f"{ratio:5.2f}" if ratio else "    -")
        )
    return "\n".join(texts)


def changes_table(changes: list[Change]) -> str:
    """Return the comparison of two files, the worst first."""
    ordered = sorted(changes, key=lambda c: -c.ratio)
    width = max((len(c.row) for c in ordered), default=3)
    lines = [f"{'row':{width}}  thr  {'base':>9}  {'new':>9}  new/base"]
    for c in ordered:
        times = f"{amount(c.row, c.old):>9}  {amount(c.row, c.new):>9}"
        text = f"{c.row:{width}}  {c.threads:>3}  {times}  {c.ratio:8.2f}  {c.verdict}"
        lines.append(text.rstrip())
    return "\n".join(lines)


def _pyplot() -> Any:
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    return importlib.import_module("matplotlib.pyplot")


def chart(results: Results, path: Path) -> None:
    """Draw how much longer the peers take than symgraph; one panel per threads.

    Bars of all peers for each row; for many rows, a dot for the best peer of each, by groups.
    """
    plt = _pyplot()
    counts = sorted({li["threads"] for li in results["rows"]})
    panels = [[li for li in results["rows"] if li["threads"] == c] for c in counts]
    many = max(map(len, panels)) > ROWS_SHOWN
    height = 8.0 if many else 1.8 + 0.42 * max(len(p) for p in panels)
    figure, axes = plt.subplots(
        1, len(panels), figsize=(7.5 * len(panels), height), squeeze=False, layout="constrained"
    )
    for axis, lines, count in zip(axes[0], panels, counts, strict=True):
        if many:
            draw_groups(axis, lines)
        else:
            draw_panel(axis, lines, [p for p in columns(results) if p != OURS])
        axis.set_title(f"{count} thread{'s' if count > 1 else ''}")
    peers = [p for p in columns(results) if p != OURS]
    handles = [plt.Rectangle((0, 0), 1, 1, color=COLOURS.get(p, "k")) for p in peers]
    handles.append(plt.Rectangle((0, 0), 1, 1, color="k", alpha=0.25))
    labels = [*peers, "pale: disturbed by other work"]
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(f"Time of other libraries / time of symgraph ({results['started'][:10]})")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_groups(axis: Any, lines: list[Line]) -> None:
    """Draw a dot for the best peer of each row, and a line at each group's geometric mean."""
    groups: dict[str, list[Line]] = {}
    for line in lines:
        if best_peer(line) is not None and good(line["cells"].get(OURS, {})):
            groups.setdefault(line["row"].split(".")[0], []).append(line)
    for y, rows in enumerate(groups.values()):
        ratios = []
        for k, line in enumerate(rows):
            peer, seconds = best_peer(line) or ("", math.nan)
            ratios.append(seconds / line["cells"][OURS]["median"])
            pale = disturbed(line["cells"][peer]) or disturbed(line["cells"][OURS])
            place = y + 0.7 * ((k + 0.5) / len(rows) - 0.5)
            colour, alpha = COLOURS.get(peer, "k"), 0.25 if pale else 0.9
            axis.plot(ratios[-1], place, "o", color=colour, alpha=alpha, markersize=5, mew=0)
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        axis.plot([mean, mean], [y - 0.42, y + 0.42], color="black", linewidth=1.5)
        axis.annotate(f"{mean:.2g}", (mean, y - 0.44), ha="center", va="bottom", fontsize=8)
    names = [f"{TITLES.get(g, g)} ({len(rows)})" for g, rows in groups.items()]
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.7)
    scale(axis)


def scale(axis: Any) -> None:
    """Let an axis show ratios, 1 being equal."""
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(lambda value, place: f"{value:g}")
    axis.axvline(1, color="black", linewidth=1)
    axis.set_xlabel("left: the other is faster   |   right: symgraph is faster")
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)


def draw_panel(axis: Any, lines: list[Line], peers: list[str]) -> None:
    """Draw grouped bars from 1, to the right where symgraph is faster."""
    shown = [li for li in lines if good(li["cells"].get(OURS, {}))]
    thick = 0.8 / max(1, len(peers))
    for k, peer in enumerate(peers):
        places, ratios, clear = [], [], []
        for row, line in enumerate(shown):
            cell = line["cells"].get(peer, {})
            if good(cell):
                places.append(row + (k - (len(peers) - 1) / 2) * thick)
                ratios.append(cell["median"] / line["cells"][OURS]["median"])
                clear.append(not disturbed(cell) and not disturbed(line["cells"][OURS]))
        bars = axis.barh(places, [r - 1 for r in ratios], thick, left=1, label=peer)
        for bar, sure in zip(bars, clear, strict=True):
            bar.set(color=COLOURS.get(peer, "k"), alpha=1.0 if sure else 0.25)
    scale(axis)
    axis.set_yticks(range(len(shown)), [li["row"] for li in shown])
    axis.set_ylim(len(shown) - 0.5, -0.5)
    for row in range(1, len(shown)):
        same = shown[row]["row"].split(".")[0] == shown[row - 1]["row"].split(".")[0]
        axis.axhline(row - 0.5, color="black", linewidth=0.2 if same else 0.8)
