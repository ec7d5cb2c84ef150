"""Choose how a nest runs: loop order, the vector axis, register tiling, the parallel axis.

A schedule is data; correctness never depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from symgraph.core.dtype import BOOL, FLOAT32, FLOAT64
from symgraph.core.record import dataclass, replace
from symgraph.dims.bounds import interval
from symgraph.dims.dim import exact_div, maximum
from symgraph.loops.amount import body_cost, nest_amount
from symgraph.loops.expr import COMPARE, Axis, Expr, Size, walk
from symgraph.loops.statements import Nest, Store, row_stores

FEW = 4  # elements of an axis below which vectors along it are mostly empty
LONG_SUM = 8  # terms from which vectors along a sum are fuller than those
INNER_WEIGHT = 8  # a load inside a reduction counts this many times a load outside
TILE_REGISTERS = 12  # accumulators of a register tile (AVX2 has 16 registers, AVX-512 32)
BUSY_REGISTERS = 8  # accumulators that hide the time of a multiply-add: two begin in each cycle
MOST_CHAINS = 4  # of a sum of unknown length: what they leave over is added term by term
MOST_TILED = 2  # contractions whose accumulators a tile holds at once
ROW_TILE = 2  # rows that share a loop along them: each has its own accumulators
WINDOW_TILE = 3  # the same where rows are many and short: sums over several axes
ROW_REGISTERS = 8  # registers of a column sum: 256 bytes of each row at a time
COLUMN_BLOCK = 1 << 14  # bytes of accumulators of column sums that walk whole rows,
COLUMN_CHUNK = 1 << 11  # and of those that a thread has at least: shorter stretches cost more
COLUMN_BYTES = 1 << 18  # of an operand, above which it is walked row by row
SHORT = 64  # elements of an axis whose sums down columns stay in registers
STRIP = 128  # columns of a strip, where loads run across the rows
STRIP_ROWS = 64  # of the result that a thread should take from strips at least
MANY_ROWS = 8 * STRIP_ROWS  # that threads share, rather than the strips
RUNNING_ROWS = 4  # rows of running sums that share a loop: an addition takes three to four cycles
CHEAP_STEP = 8  # operations of a point; more of them fill those cycles
LEAST_TILE = 8  # rows of a tile where there are not as many as a vector has lanes
MASKED_BYTES = 64  # of vectors from which a masked store takes no longer than another (AVX-512)
SHUFFLE_STRIDE = 4  # elements this far apart are loaded together and picked out
MASKED_TURNS = 2  # stores that take turns, at most, where only some lanes count
PARALLEL_WORK = 250_000  # operations (5 us or more on one core) below which one thread does all
CHUNK = 1 << 13  # elements of one chunk of a long reduction
CHUNK_AXIS = "c"  # the name of the loop over such chunks
STREAMS = 3  # arrays that a column reduction may read
STREAM_COST = 40  # operations per element of such a reduction: more would spill
SIGNAL_WORK = 50_000_000  # operations of a serial nest (some 50 ms) between two looks at signals
NEVER_SHARED = 1 << 62  # iterations: more than any loop has
GRAIN_WORK = 125_000  # operations that one chunk should have at least


@dataclass(frozen=True, slots=True)
class Schedule:
    """`order`: the loops, outermost first; `vector` is one of them, the last, or None."""

    order: tuple[Axis, ...]
    vector: Axis | None
    lanes: int
    unroll: Axis | None = None  # the axis of which `tile` iterations share each inner loop
    tile: int = 1
    parallel: bool = False
    grain: Size = 1
    block: int = 0  # columns whose accumulators lie in memory while rows are added (0: none)
    chains: int = 1  # accumulators that take the terms of each sum in turn
    strip: int = 0  # columns of a strip, where loads run across the rows (0: none do)
    shared_strips: bool = False  # threads share the strips, not the outermost of `order`

    def over(self, axes: Mapping[Axis, Axis]) -> Schedule:
        """Return the same schedule with other axes."""
        vector = None if self.vector is None else axes[self.vector]
        unroll = None if self.unroll is None else axes[self.unroll]
        order = tuple(axes[a] for a in self.order)
        return replace(self, order=order, vector=vector, unroll=unroll)

    def tiled(self, unroll: Axis, tile: int) -> Schedule:
        """Return the same schedule with another tile."""
        return replace(self, unroll=unroll, tile=tile)


def choose_schedule(nest: Nest, vector_bytes: int) -> Schedule:
    """Return the schedule of a nest for vectors of `vector_bytes`."""
    values = [e for t in nest.stores for e in (t.value, t.address)]
    exprs = walk(values)
    accesses = _accesses(nest, exprs)
    axes = nest.axes
    scan_axis = axes[-1] if nest.scan else None
    candidates = [a for a in axes if a is not scan_axis]
    if nest.serial:
        candidates = [a for a in candidates[-1:] if _safe_in_serial(nest, a)]
    flat = [a for a in candidates if all(_fills(t, a, nest) for t in nest.stores)]
    reductions = [e for e in exprs if e.op == "reduce"]
    vector = _vector_axis(flat or candidates, nest, accesses, reductions)
    itemsize = element_bytes(exprs)
    base = max(1, vector_bytes // itemsize)
    cost = body_cost(nest, exprs)
    lanes = 1
    if vector is not None:
        # two registers per value hide latency; long bodies would spill. A short row is one turn:
        # long chains of operations then overlap
        single = len(axes) == 1 and not reductions and _at_most(vector.extent, 4 * base)
        registers = 4 if single else 2 if cost < 400 else 1
        lanes = fit_lanes(base * registers, base, vector.extent)
    block = strip = 0
    unroll, tile = _tile(nest, axes, vector, lanes // base or 1, reductions, exprs)
    if vector is not None and tile == 1 and _streams_rows(vector, reductions):
        if not nest.scan and _many_rows(nest, vector, reductions):  # no axis inside the columns
            lanes = fit_lanes(base * 2, base, vector.extent)
            block = max(1, COLUMN_BLOCK // itemsize // len(reductions) // lanes) * lanes
        elif isinstance(vector.extent, int) or short_axis(vector):  # else the rest is as wide
            lanes = fit_lanes(base * ROW_REGISTERS // len(reductions), base, vector.extent)
    in_order = nest.scan or nest.serial  # tiles would change the order of the points
    if unroll is None and vector is not None and not reductions and not in_order:
        unroll = _transposed_axis(nest, vector, exprs)
        if unroll is not None:
            most = interval(unroll.extent)[1]
            square = most is None or most >= base
            lanes, tile, strip = base, base if square else LEAST_TILE, STRIP
    order = _order(nest, vector, scan_axis)
    least = min(COLUMN_CHUNK // itemsize, block) if block else lanes  # columns of a chunk
    parallel, grain = _parallel(nest, order, vector, least)
    if block and parallel and not isinstance(grain, int):
        grain = maximum(grain, least)
    shared = False
    if strip and parallel and order[0] is unroll:
        assert vector is not None
        shared = _fewer_rows(unroll.extent, vector.extent)
        least_strips = maximum(1, GRAIN_WORK // (unroll.extent * strip))
        grain = least_strips if shared else maximum(grain, STRIP_ROWS)
    chains = 1 if block else _chains(vector, reductions, max(1, lanes // base) * tile)
    return Schedule(
        order, vector, lanes, unroll, tile, parallel, grain, block, chains, strip, shared
    )


def _order(nest: Nest, vector: Axis | None, scan_axis: Axis | None) -> tuple[Axis, ...]:
    """Return the axes from the outermost loop to the innermost."""
    order = tuple(a for a in nest.axes if a is not vector)
    if nest.serial or vector is None:
        return nest.axes if nest.serial else order
    return (*order[:-1], vector, scan_axis) if scan_axis else (*order, vector)


def _at_most(size: Size, n: int) -> bool:
    """Tell whether a size is known to be no more than a number."""
    most = interval(size)[1]
    return most is not None and most <= n


def _fewer_rows(rows: Size, columns: Size) -> bool:
    """Tell whether threads share the strips of a nest rather than its rows, of which it has few."""
    if not isinstance(rows, int) or rows >= MANY_ROWS:
        return False
    least = interval(columns)[0]
    return least is not None and least // STRIP > rows // STRIP_ROWS


def _chains(vector: Axis | None, reductions: Sequence[Expr], registers: int) -> int:
    """Return how many accumulators take the terms of a sum in turn, where one alone would wait.

    That is so in a product of a vector and a matrix of few columns: x[k] w[k, j]. Sums are in
    order; the order of such products is free.
    """
    if vector is None or len(reductions) != 1:
        return 1
    (kind, axes), (value,) = reductions[0].data, reductions[0].args
    extent = axes[0].extent
    if kind != "free" or len(axes) != 1 or value.op != "mul":
        return 1
    factors = sorted(value.args, key=lambda e: e.free & vector.bit)
    moving = [bool(e.free & vector.bit) for e in factors]
    inside = all(e.op == "load" and e.free & axes[0].bit for e in factors)
    if moving != [False, True] or not inside or value.dtype not in (FLOAT32, FLOAT64):
        return 1
    chains, most = 1, interval(extent)[1]
    while registers * chains < BUSY_REGISTERS and (most is None or most >= 4 * chains):
        chains *= 2
    return chains if isinstance(extent, int) else min(chains, MOST_CHAINS)


def fit_lanes(lanes: int, base: int, extent: Size) -> int:
    """Shrink the lanes to a short axis: one masked turn instead of a mostly empty vector."""
    most = interval(extent)[1]
    if most is None:
        return lanes
    while lanes > base and most <= lanes // 2:
        lanes //= 2
    return lanes


def element_bytes(exprs: Sequence[Expr]) -> int:
    """Return the width of the widest float (else integer) value that a body computes with."""
    floats = [e.dtype.itemsize for e in exprs if e.dtype.is_float and e.op != "const"]
    if floats:
        return max(4, *floats)
    ints = [
        e.dtype.itemsize
        for e in exprs
        if e.dtype.is_integer and e.op not in ("affine", "axis", "ifloordiv", "imod", "const")
    ]
    return max([4, *ints])


def _accesses(nest: Nest, exprs: Sequence[Expr]) -> list[tuple[Expr, int]]:
    """Return (address, weight) of each load; those that move with a reduction weigh more."""
    weight: dict[Expr, int] = {}
    for e in exprs:
        if e.op == "reduce":
            points = _points(e.data[1])
            w = INNER_WEIGHT if points is None else min(INNER_WEIGHT, points)
            bits = sum(a.bit for a in e.data[1])
            for x in walk([e.args[0]]):
                if x.op == "load" and x.free & bits:
                    weight[x] = max(weight.get(x, 1), w)
    return [(e.args[0], weight.get(e, 1)) for e in exprs if e.op == "load"]


def stride(address: Expr, axis: Axis) -> int | None:
    """Return the coefficient of an axis in an address: 0, a number, or None (not known)."""
    found = coefficient(address, axis)
    return found if isinstance(found, int) else None


def coefficient(address: Expr, axis: Axis) -> Size | None:
    """Return the coefficient of an axis in an address, None where it is not affine in it."""
    if not address.free & axis.bit:
        return 0
    found: Size | None = None
    for atom, c in zip(address.args, address.data[0], strict=True):
        if atom.op == "axis" and atom.data is axis:
            found = c
        elif atom.free & axis.bit:
            return None
    return found


def _vector_axis(
    candidates: Sequence[Axis],
    nest: Nest,
    accesses: Sequence[tuple[Expr, int]],
    reductions: Sequence[Expr],
) -> Axis | None:
    """Return the axis along which most accesses are contiguous, None if none gains."""
    if row_stores(nest):
        return nest.axes[-1]  # along the rows
    best, best_score = None, 0
    for axis in candidates:
        if isinstance(axis.extent, int) and axis.extent < 2:
            continue
        score = sum(4 if _fills(t, axis, nest) else -4 for t in nest.stores)
        score += sum(_gain(address, axis, 1) for address, weight in accesses if weight == 1)
        if reductions:  # the order of a sum must not depend on how much is outside of it
            score = max(-4, min(4, score))
        score += sum(_gain(address, axis, weight) for address, weight in accesses if weight > 1)
        if isinstance(axis.extent, int) and axis.extent < FEW:
            score -= 4
            if any(_runs_along(r) for r in reductions):
                continue
        if score > best_score or (score == best_score and best is not None):
            best, best_score = axis, score
    return best


def _gain(address: Expr, axis: Axis, weight: int) -> int:
    """Return how well an access suits vectors along an axis."""
    c = stride(address, axis)
    if c in (1, -1):
        return 2 * weight
    if c == 0 or (c is not None and 1 < c <= SHUFFLE_STRIDE):
        return 0
    return -weight if weight == 1 else -3 * weight


def _runs_along(r: Expr) -> bool:
    """Tell whether vectors along the last axis of a sum fill all lanes: a long one, contiguous."""
    axis = r.data[1][-1]
    loads = [e for e in walk([r.args[0]]) if e.op == "load"]
    long = not isinstance(axis.extent, int) or axis.extent >= LONG_SUM
    return r.data[0] == "sum" and long and all(stride(e.args[0], axis) in (0, 1) for e in loads)


def _fills(store: Store, axis: Axis, nest: Nest) -> bool:
    """Tell whether vectors along an axis are stored whole: contiguous ones, or some in turns."""
    return whole_stores(nest.stores, axis)[nest.stores.index(store)]


def whole_stores(stores: Sequence[Store], axis: Axis, most: int = SHUFFLE_STRIDE) -> list[bool]:
    """Tell which stores write whole vectors along an axis: one by one, or up to `most` in turns."""
    whole: list[Store] = []
    left = list(stores)
    while left:
        group = interleaved(left, axis, most)
        if len(group) > 1 or stride(group[0].address, axis) == 1:
            whole += group
        left = [t for t in left if all(t is not u for u in group)]
    return [any(t is u for u in whole) for t in stores]


def interleaved(stores: Sequence[Store], axis: Axis, most: int = SHUFFLE_STRIDE) -> list[Store]:
    """Return those stores that fill every place along an axis together with the first, in order.

    The parts of complex numbers are two of them, the columns of few rows are some. Only the first
    if there are none, or if it takes more than `most`.
    """
    first = stores[0]
    step = stride(first.address, axis)
    if step is None or not 1 < step <= most or first.accumulate or first.buffer.dtype is BOOL:
        return [first]
    s, found = first.address.builder, [first]
    for k in range(1, step):
        place = s.iadd(first.address, k)
        same = (t for t in stores if t.buffer is first.buffer and t.address is place)
        found += [t for t in same if not t.accumulate][:1]
    return found if len(found) == step else [first]


def _safe_in_serial(nest: Nest, axis: Axis) -> bool:
    return all(stride(t.address, axis) == 1 for t in nest.stores)


def _streams_rows(vector: Axis, reductions: Sequence[Expr]) -> bool:
    """Tell whether this is a column reduction of few operations on contiguous loads."""
    if not 1 <= len(reductions) <= 2:
        return False
    for r in reductions:
        loads = [e for e in walk([r.args[0]]) if e.op == "load" and e.free & vector.bit]
        if not r.free & vector.bit or not 1 <= len(loads) <= STREAMS:
            return False
        if any(stride(load.args[0], vector) != 1 for load in loads) or r.args[0].cost > STREAM_COST:
            return False
    return True


def _many_rows(nest: Nest, vector: Axis, reductions: Sequence[Expr]) -> bool:
    """Tell whether a column reduction reads more than a near cache holds (or may do so)."""
    if any(t.value.dtype is BOOL for t in nest.stores) or short_axis(vector):
        return False
    axes = reductions[0].data[1]
    if len(axes) != 1 or any(r.data[1] != axes or r.dtype is BOOL for r in reductions):
        return False
    if short_axis(axes[0]):
        return False
    if any(e.op == "reduce" for e in walk([r.args[0] for r in reductions])):
        return False  # one of them needs the other
    most = interval(vector.extent * axes[0].extent)[1]
    return most is None or most * reductions[0].dtype.itemsize >= COLUMN_BYTES


def _transposed_axis(nest: Nest, vector: Axis, exprs: Sequence[Expr]) -> Axis | None:
    """Return the axis along which a load is contiguous that runs across the vector axis.

    Several rows of it are stored together, so that each cache line is used while it is there.
    """
    for axis in nest.axes:
        most = interval(axis.extent)[1]
        wide = axis is not vector and (most is None or most >= LEAST_TILE)
        if wide and any(turns_round(e, axis, vector) for e in exprs):
            return axis
    return None


def turns_round(e: Expr, axis: Axis, vector: Axis) -> bool:
    """Tell whether a load is contiguous along one axis and runs across its rows along the other."""
    if e.op != "load" or stride(e.args[0], axis) != 1:
        return False
    return coefficient(e.args[0], vector) not in (0, 1, -1, None)


def _tile(
    nest: Nest,
    axes: Sequence[Axis],
    vector: Axis | None,
    registers: int,
    reductions: Sequence[Expr],
    exprs: Sequence[Expr],
) -> tuple[Axis | None, int]:
    """Share the operands of a contraction, loaded or compared, among several rows: a tile."""
    if nest.scan and vector is None and not reductions:
        return _running_rows(nest, exprs)
    if nest.scan or nest.serial or not reductions or len(nest.stores) != 1:
        return None, 1
    body = walk([r.args[0] for r in reductions])
    if len(reductions) > MOST_TILED or any(e.op == "reduce" for e in body):
        return None, 1
    registers *= len(reductions)
    rows = WINDOW_TILE if all(len(r.data[1]) > 1 for r in reductions) else ROW_TILE
    loads = [e for e in body if (e.op == "load" or e.op in COMPARE) and e.free]
    if len(loads) < 2 and vector is not None:
        return None, 1
    best: tuple[Axis | None, int] = (None, 1)
    for axis in axes:
        if axis is vector or not isinstance(axis.extent, int) or axis.extent < 2:
            continue
        if not all(r.free & axis.bit for r in reductions):
            continue
        if all(e.free & axis.bit for e in loads):
            continue  # rows of their own: each has accumulators enough
        limit = TILE_REGISTERS // registers if vector is not None else rows
        tile = min(axis.extent, max(1, limit))
        for t in range(tile, max(1, tile // 2), -1):  # prefer a tile without remainder
            if axis.extent % t == 0:
                tile = t
                break
        if tile >= best[1]:
            best = (axis, tile)
    return best


def _running_rows(nest: Nest, exprs: Sequence[Expr]) -> tuple[Axis | None, int]:
    """Run through several rows at once where each number waits for the one before it in its row."""
    if not nest.scan or nest.scan == "linear" or nest.serial or len(nest.axes) < 2:
        return None, 1
    rows = nest.axes[-2]
    most = interval(rows.extent)[1]
    if len(nest.stores) > 1 or body_cost(nest, exprs) > CHEAP_STEP:
        return None, 1
    if most is not None and most < 2:
        return None, 1
    return rows, RUNNING_ROWS if most is None else min(RUNNING_ROWS, most)


def work(nest: Nest) -> int | None:
    """Estimate the scalar operations of a nest; None when sizes are not known."""
    amount = nest_amount(nest)
    return amount if isinstance(amount, int) else None


def short_axis(axis: Axis) -> bool:
    """Tell whether an axis of unknown length is known to be short: one vector or little more."""
    most = interval(axis.extent)[1]
    return not isinstance(axis.extent, int) and most is not None and most <= SHORT


def _points(axes: Sequence[Axis]) -> int | None:
    n = 1
    for a in axes:
        if not isinstance(a.extent, int):
            return None
        n *= a.extent
    return n


def _parallel(
    nest: Nest, order: Sequence[Axis], vector: Axis | None, least: int
) -> tuple[bool, Size]:
    """Return whether the outermost loop is shared among threads, and the iterations of a chunk.

    Chunks of the vector axis are multiples of `least`.
    """
    running = bool(nest.scan and order and order[0] is nest.axes[-1])
    if not order or (running and any(t.buffer.dtype is not t.value.dtype for t in nest.stores)):
        return False, 1
    total = nest_amount(nest)
    if nest.serial or running:  # one thread does it, but looks at signals between parts
        most = interval(total)[1]
        return (most is None or most >= SIGNAL_WORK), NEVER_SHARED
    outer = order[0]
    most = interval(total)[1]
    if (most is not None and most < PARALLEL_WORK) or outer.extent == 1:
        return False, 1
    if not isinstance(total, int):
        return True, _run_time_grain(outer.extent, total, least if outer is vector else 1)
    if not isinstance(outer.extent, int) or outer.extent < 2:
        return False, 1
    per = max(1, total // outer.extent)
    grain = max(1, -(-GRAIN_WORK // per))
    if outer is vector:
        grain = max(least, grain - grain % least)
    if grain >= outer.extent:
        return False, 1
    return True, grain


def _run_time_grain(extent: Size, total: Size, least: int) -> Size:
    """Return the grain of a loop as a size, by one division: less than PARALLEL_WORK is no two."""
    exact = exact_div(total, extent)
    per = maximum(1, total // maximum(1, extent) if exact is None else exact)
    grain = (per + (PARALLEL_WORK // 2 - 1)) // per
    return (grain + (least - 1)) // least * least
