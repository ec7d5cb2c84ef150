"""Search for the first position where a condition holds: a loop that ends at the first hit.

An argmax is the smallest of the positions that hold the maximum, `min(where(hit, k, huge))`. The
positions ascend, so the first hit decides: there is nothing to compare, and half of a row to read.
"""

from __future__ import annotations

from symgraph.core.dtype import INT64
from symgraph.cpu.kernels.loop_text import Loops
from symgraph.cpu.kernels.scope import Scope, Vector
from symgraph.dims.bounds import interval
from symgraph.loops.expr import Axis, Expr, Size

HUGE = 1 << 61  # at least this stands for "nowhere": no position is as large
SEARCH_LANES = 32  # elements tested together: their conditions fill one word
LEAST_LANES = 8  # of a short row


def first_position(r: Expr) -> tuple[Expr, Expr, Expr] | None:
    """Return (condition, position, value of no hit) of a reduction that finds a first position."""
    kind, axes = r.data
    value = r.args[0]
    if kind != "min" or len(axes) != 1 or value.op != "select" or value.dtype is not INT64:
        return None
    condition, position, nowhere = value.args
    if nowhere.op != "const" or nowhere.data < HUGE or position.op != "affine":
        return None
    (axis,) = axes
    if not condition.free & axis.bit:
        return None
    for atom, c in zip(position.args, position.data[0], strict=True):
        if atom.op == "axis" and atom.data is axis:
            return (condition, position, nowhere) if isinstance(c, int) and c > 0 else None
        if atom.free & axis.bit:
            return None
    return None


def search_lanes(extent: Size) -> int:
    """Return how many elements are tested together: all of a row that is known to be short."""
    most = interval(extent)[1]
    lanes = SEARCH_LANES
    while most is not None and lanes > LEAST_LANES and most <= lanes // 2:
        lanes //= 2
    return lanes


class Searches(Loops):
    """Emits loops that end at the first hit."""

    def _search(self, r: Expr, home: Scope) -> str:
        """Return the first position, or the value of no hit."""
        found = first_position(r)
        assert found is not None
        condition, position, nowhere = found
        axis: Axis = r.data[1][0]
        lanes = search_lanes(axis.extent)
        hit, join = self._label("hit"), self._label("sought")
        edges: list[tuple[str, str, str]] = []  # (block, position, bits of the conditions)
        miss = self._search_blocks(condition, axis, home, lanes, hit, edges)
        home.lines.extend([f"  br label %{join}", f"{hit}:"])
        starts = ", ".join(f"[ {at}, %{block} ]" for block, at, _ in edges)
        words = ", ".join(f"[ {bits}, %{block} ]" for block, _, bits in edges)
        home.label = hit
        start = self._new(home, f"phi i64 {starts}")
        word = f"i{lanes}"
        bits = self._new(home, f"phi {word} {words}")
        self.declared.add(f"declare {word} @llvm.cttz.{word}({word}, i1)")
        lane = self._new(home, f"call {word} @llvm.cttz.{word}({word} {bits}, i1 true)")
        lane = self._new(home, f"zext {word} {lane} to i64")
        inner = Scope(home, hit, home.bits | axis.bit, None)
        inner.positions[axis] = self._new(home, f"add i64 {start}, {lane}")
        at = self.value(position, inner)
        home.lines.extend([*inner.lines, f"  br label %{join}", f"{join}:"])
        home.label = join
        other = self.value(nowhere, home)
        return self._new(home, f"phi i64 [ {other}, %{miss} ], [ {at}, %{hit} ]")

    def _search_blocks(
        self,
        condition: Expr,
        axis: Axis,
        home: Scope,
        lanes: int,
        hit: str,
        edges: list[tuple[str, str, str]],
    ) -> str:
        """Test whole blocks, then the rest; return the block that is reached without a hit."""
        end = self._size(axis.extent)
        if self._short(axis, lanes):
            whole, rest = "0", -1
        elif end.isdigit():
            whole = str(int(end) - int(end) % lanes)
            rest = int(end) % lanes
        else:
            whole, rest = self._new(home, f"and i64 {end}, {-lanes}"), -1
        after_blocks = self._label("rest")
        if whole != "0":
            head, again = self._label("seek"), self._label("on")
            at, following = self._name(), self._name()
            inner = Scope(home, head, home.bits | axis.bit, Vector(axis, lanes, None))
            inner.positions[axis] = at
            bits = self._hits(inner, condition, None)
            some = self._new(inner, f"icmp ne i{lanes} {bits}, 0")
            edges.append((inner.label, at, bits))
            enough = self._new(home, f"icmp slt i64 0, {whole}")
            home.lines.append(f"  br i1 {enough}, label %{head}, label %{after_blocks}")
            home.lines.append(f"{head}:")
            home.lines.append(
                f"  {at} = phi i64 [ 0, %{home.label} ], [ {following}, %{again} ]"
            )
            home.lines.extend([*inner.lines, f"  br i1 {some}, label %{hit}, label %{again}"])
            more = self._name()
            home.lines.extend([
                f"{again}:",
                f"  {following} = add nsw i64 {at}, {lanes}",
                f"  {more} = icmp slt i64 {following}, {whole}",
                f"  br i1 {more}, label %{head}, label %{after_blocks}",
                f"{after_blocks}:",
            ])  # fmt: skip
            home.label = after_blocks
        if rest:
            self._search_rest(condition, axis, home, lanes, hit, edges, (whole, end), rest)
        return home.label

    def _search_rest(
        self,
        condition: Expr,
        axis: Axis,
        home: Scope,
        lanes: int,
        hit: str,
        edges: list[tuple[str, str, str]],
        bounds: tuple[str, str],
        count: int,
    ) -> None:
        """Test the last elements under a mask."""
        first, _ = bounds
        if self._short(axis, lanes):
            vector = self._short_vector(axis, lanes)
        else:
            vector = self._rest_vector(home, axis, lanes, bounds, count)
        block, none = self._label("last"), self._label("none")
        inner = Scope(home, block, home.bits | axis.bit, vector)
        inner.positions[axis] = first
        bits = self._hits(inner, condition, vector.mask)
        some = self._new(inner, f"icmp ne i{lanes} {bits}, 0")
        edges.append((inner.label, first, bits))
        home.lines.extend([f"  br label %{block}", f"{block}:", *inner.lines])
        home.lines.extend([f"  br i1 {some}, label %{hit}, label %{none}", f"{none}:"])
        home.label = none

    def _hits(self, scope: Scope, condition: Expr, mask: str | None) -> str:
        assert scope.vector is not None
        lanes = scope.vector.lanes
        kind = f"<{lanes} x i1>"
        test = self.value(condition, scope)
        if mask is not None:
            test = self._new(scope, f"and {kind} {test}, {mask}")
        return self._new(scope, f"bitcast {kind} {test} to i{lanes}")
