"""Search for the first position where a condition holds: a loop that ends at the first hit.

An argmax is the smallest of the positions that hold the maximum, `min(where(hit, k, huge))`. The
positions ascend, so the first hit decides: there is nothing to compare, and half of a row to read.
"""

from __future__ import annotations

from symgraph.core.dtype import INT64
from symgraph.cpu.kernels.loop_text import Loops
from symgraph.cpu.kernels.scope import Scope, Vector
from symgraph.loops.expr import Axis, Expr

HUGE = 1 << 61  # at least this stands for "nowhere": no position is as large
SEARCH_LANES = 32  # elements tested together: their conditions fill one word


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


class Searches(Loops):
    """Emits loops that end at the first hit."""

    def _search(self, r: Expr, home: Scope) -> str:
        """Return the first position, or the value of no hit."""
        found = first_position(r)
        assert found is not None
        condition, position, nowhere = found
        axis: Axis = r.data[1][0]
        hit, join = self._label("hit"), self._label("sought")
        edges: list[tuple[str, str, str]] = []  # (block, position, bits of the conditions)
        miss = self._search_blocks(condition, axis, home, hit, edges)
        home.lines.extend([f"  br label %{join}", f"{hit}:"])
        starts = ", ".join(f"[ {at}, %{block} ]" for block, at, _ in edges)
        words = ", ".join(f"[ {bits}, %{block} ]" for block, _, bits in edges)
        home.label = hit
        start = self._new(home, f"phi i64 {starts}")
        bits = self._new(home, f"phi i{SEARCH_LANES} {words}")
        name = f"@llvm.cttz.i{SEARCH_LANES}"
        self.declared.add(f"declare i{SEARCH_LANES} {name}(i{SEARCH_LANES}, i1)")
        lane = self._new(home, f"call i{SEARCH_LANES} {name}(i{SEARCH_LANES} {bits}, i1 true)")
        lane = self._new(home, f"zext i{SEARCH_LANES} {lane} to i64")
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
        hit: str,
        edges: list[tuple[str, str, str]],
    ) -> str:
        """Test whole blocks, then the rest; return the block that is reached without a hit."""
        end = self._size(axis.extent)
        if end.isdigit():
            whole = str(int(end) - int(end) % SEARCH_LANES)
            rest = int(end) % SEARCH_LANES
        else:
            whole, rest = self._new(home, f"and i64 {end}, {-SEARCH_LANES}"), -1
        after_blocks = self._label("rest")
        if whole != "0":
            head, again = self._label("seek"), self._label("on")
            at, following = self._name(), self._name()
            inner = Scope(home, head, home.bits | axis.bit, Vector(axis, SEARCH_LANES, None))
            inner.positions[axis] = at
            bits = self._hits(inner, condition, None)
            some = self._new(inner, f"icmp ne i{SEARCH_LANES} {bits}, 0")
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
                f"  {following} = add nsw i64 {at}, {SEARCH_LANES}",
                f"  {more} = icmp slt i64 {following}, {whole}",
                f"  br i1 {more}, label %{head}, label %{after_blocks}",
                f"{after_blocks}:",
            ])  # fmt: skip
            home.label = after_blocks
        if rest:
            self._search_rest(condition, axis, home, hit, edges, (whole, end), rest)
        return home.label

    def _search_rest(
        self,
        condition: Expr,
        axis: Axis,
        home: Scope,
        hit: str,
        edges: list[tuple[str, str, str]],
        bounds: tuple[str, str],
        count: int,
    ) -> None:
        """Test the last elements under a mask."""
        first, _ = bounds
        vector = self._rest_vector(home, axis, SEARCH_LANES, bounds, count)
        block, none = self._label("last"), self._label("none")
        inner = Scope(home, block, home.bits | axis.bit, vector)
        inner.positions[axis] = first
        bits = self._hits(inner, condition, vector.mask)
        some = self._new(inner, f"icmp ne i{SEARCH_LANES} {bits}, 0")
        edges.append((inner.label, first, bits))
        home.lines.extend([f"  br label %{block}", f"{block}:", *inner.lines])
        home.lines.extend([f"  br i1 {some}, label %{hit}, label %{none}", f"{none}:"])
        home.label = none

    def _hits(self, scope: Scope, condition: Expr, mask: str | None) -> str:
        kind = f"<{SEARCH_LANES} x i1>"
        test = self.value(condition, scope)
        if mask is not None:
            test = self._new(scope, f"and {kind} {test}, {mask}")
        return self._new(scope, f"bitcast {kind} {test} to i{SEARCH_LANES}")
