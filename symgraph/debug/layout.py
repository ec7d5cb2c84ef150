"""A layered layout of an acyclic graph (Sugiyama et al. 1981): rows, their order, positions."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from symgraph.core.record import dataclass

SWEEPS = 12
GAP_X, GAP_Y = 18.0, 44.0  # clear space between boxes, in points
Key = Hashable


@dataclass(frozen=True, slots=True)
class Placed:
    """The layout: centre of each box, and the bends of each edge, from its source to its target."""

    centres: dict[Key, tuple[float, float]]
    bends: dict[tuple[Key, Key], list[tuple[float, float]]]
    width: float
    height: float


@dataclass(slots=True)
class _Rows:
    """Boxes and the stand-ins of long edges, row by row."""

    rows: list[list[Key]]
    above: dict[Key, list[Key]]
    below: dict[Key, list[Key]]
    chains: dict[tuple[Key, Key], list[Key]]


def place(sizes: dict[Key, tuple[float, float]], edges: Sequence[tuple[Key, Key]]) -> Placed:
    """Return positions for boxes of the given (width, height); every edge leads down.

    `sizes` lists the boxes in an order in which sources stand before targets.
    """
    rank = _ranks(list(sizes), edges)
    rows = _make_rows(rank, edges)
    _order(rows)
    extent = {k: sizes.get(k, (6.0, 0.0)) for row in rows.rows for k in row}
    x = _abscissae(rows, extent)
    centres, top = {}, 0.0
    for row in rows.rows:
        height = max(extent[k][1] for k in row)
        for k in row:
            centres[k] = (x[k], top + height / 2)
        top += height + GAP_Y
    low = min(centres[k][0] - extent[k][0] / 2 for k in centres)
    centres = {k: (a - low, b) for k, (a, b) in centres.items()}
    width = max(centres[k][0] + extent[k][0] / 2 for k in centres)
    bends = {edge: [centres[k] for k in chain] for edge, chain in rows.chains.items()}
    return Placed({k: centres[k] for k in sizes}, bends, width, top - GAP_Y)


def _ranks(keys: list[Key], edges: Sequence[tuple[Key, Key]]) -> dict[Key, int]:
    """Return the row of each box: below all its sources; those without sources stand just above."""
    sources: dict[Key, list[Key]] = {k: [] for k in keys}
    targets: dict[Key, list[Key]] = {k: [] for k in keys}
    for a, b in edges:
        sources[b].append(a)
        targets[a].append(b)
    rank: dict[Key, int] = {}
    for k in keys:
        rank[k] = 1 + max((rank[a] for a in sources[k]), default=-1)
    for k in keys:
        if not sources[k] and targets[k]:
            rank[k] = min(rank[b] for b in targets[k]) - 1
    return rank


def _make_rows(rank: dict[Key, int], edges: Sequence[tuple[Key, Key]]) -> _Rows:
    """Cut edges that cross rows into steps of one row."""
    rows: list[list[Key]] = [[] for _ in range(max(rank.values()) + 1)]
    for k, r in rank.items():
        rows[r].append(k)
    above: dict[Key, list[Key]] = {k: [] for k in rank}
    below: dict[Key, list[Key]] = {k: [] for k in rank}
    chains: dict[tuple[Key, Key], list[Key]] = {}
    for a, b in dict.fromkeys(edges):
        chain: list[Key] = []
        last = a
        for r in range(rank[a] + 1, rank[b]):
            bend = ("bend", a, b, r)
            rows[r].append(bend)
            above[bend], below[bend] = [last], []
            below[last].append(bend)
            chain.append(bend)
            last = bend
        below[last].append(b)
        above[b].append(last)
        chains[a, b] = chain
    return _Rows(rows, above, below, chains)


def _order(rows: _Rows) -> None:
    """Sort each row by the mean place of its neighbours, down and up; keep the best found."""
    best, fewest = [list(r) for r in rows.rows], _crossings(rows)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        neighbours = rows.above if down else rows.below
        order = range(1, len(rows.rows)) if down else range(len(rows.rows) - 2, -1, -1)
        for r in order:
            fixed = rows.rows[r - 1 if down else r + 1]
            rows.rows[r] = _by_mean_place(rows.rows[r], fixed, neighbours)
        count = _crossings(rows)
        if count < fewest:
            best, fewest = [list(r) for r in rows.rows], count
    rows.rows = best


def _by_mean_place(row: list[Key], fixed: list[Key], neighbours: dict[Key, list[Key]]) -> list[Key]:
    """Return a row sorted by the mean place of each box's neighbours in the fixed row."""
    place_of = {k: i for i, k in enumerate(fixed)}
    wish = {k: _mean([place_of[n] for n in neighbours[k]], i) for i, k in enumerate(row)}
    return sorted(row, key=wish.__getitem__)


def _crossings(rows: _Rows) -> int:
    """Count the pairs of edges between neighbouring rows that cross."""
    total = 0
    for upper, lower in zip(rows.rows, rows.rows[1:], strict=False):
        place_below = {k: i for i, k in enumerate(lower)}
        ends = [sorted(place_below[b] for b in rows.below[a]) for a in upper]
        flat = [e for group in ends for e in group]
        total += sum(a > b for i, a in enumerate(flat) for b in flat[i + 1 :])
    return total


def _abscissae(rows: _Rows, extent: dict[Key, tuple[float, float]]) -> dict[Key, float]:
    """Return the centre of each box in its row: near its neighbours, without overlap."""
    x: dict[Key, float] = {}
    for row in rows.rows:
        at = 0.0
        for k in row:
            x[k] = at + extent[k][0] / 2
            at += extent[k][0] + GAP_X
    for sweep in range(2 * SWEEPS):
        down = sweep % 2 == 0
        neighbours = rows.above if down else rows.below
        for row in rows.rows if down else reversed(rows.rows):
            wish = [_mean([x[n] for n in neighbours[k]], x[k]) for k in row]
            for k, value in zip(row, _spread(wish, [extent[k][0] for k in row]), strict=True):
                x[k] = value
    return x


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _spread(wish: list[float], widths: list[float]) -> list[float]:
    """Return the positions nearest to `wish` (least squares) that keep the order and the gaps.

    Isotonic regression by pooling neighbours that violate the order (Barlow et al. 1972).
    """
    offsets = [0.0]
    for a, b in zip(widths, widths[1:], strict=False):
        offsets.append(offsets[-1] + (a + b) / 2 + GAP_X)
    blocks: list[tuple[float, int]] = []  # mean, count
    for w, shift in zip(wish, offsets, strict=True):
        mean, count = w - shift, 1
        while blocks and blocks[-1][0] > mean:
            other, n = blocks.pop()
            mean, count = (mean * count + other * n) / (count + n), count + n
        blocks.append((mean, count))
    flat = [mean for mean, count in blocks for _ in range(count)]
    return [value + shift for value, shift in zip(flat, offsets, strict=True)]
