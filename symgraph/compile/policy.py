"""When to compile for which sizes: the policy behind `shapes="auto" | "exact" | "generic"`.

"auto": the first two shapes get exact versions. From the third on, the sizes that have changed so
far become run-time sizes of a class version, and those that never changed stay constants. A call
that no version takes widens the class once more: if another size changes, all become run-time
sizes. At most MOST_LIVE versions are kept, exact ones go first, and after MOST_MADE what remains is
replayed node by node.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from symgraph.core.record import dataclass
from symgraph.dims.dim import Atom

MOST_EXACT = 2  # exact versions that "auto" makes before the first class
MOST_LIVE = 4
MOST_MADE = 6  # versions that "auto" ever compiles: the exact ones dropped, and the live ones
KEPT = 3  # distinct values remembered of each size


@dataclass(frozen=True, slots=True)
class Choice:
    """What to do about a call: `kind` "exact", "class" or "replay"; the sizes that may vary."""

    kind: str
    why: str
    moving: frozenset[Atom] = frozenset()


class History:
    """The sizes of the calls that no version took."""

    def __init__(self) -> None:
        self.values: dict[Atom, list[int]] = {}  # KEPT distinct ones at most, the last one last
        self.largest: dict[Atom, int] = {}

    def with_call(self, sizes: Mapping[Atom, int]) -> History:
        """Return the history with one more call; a call that fails leaves the old one."""
        new = History()
        new.values = {a: list(seen) for a, seen in self.values.items()}
        new.largest = dict(self.largest)
        for atom, n in sizes.items():
            new.largest[atom] = max(n, new.largest.get(atom, 0))
            seen = new.values.setdefault(atom, [])
            if n not in seen:
                del seen[1 : 2 - KEPT + len(seen)]
                seen.append(n)
        return new

    @property
    def moved(self) -> list[Atom]:
        """The sizes that were not the same in all calls."""
        return [a for a, seen in self.values.items() if len(seen) > 1]

    def describe(self, atoms: Collection[Atom], sizes: Mapping[Atom, int]) -> str:
        """Return "x.0 is 17 after 8, 9" for each of `atoms`: its size, and others that it had."""
        parts = []
        for a in atoms:
            others = ", ".join(str(n) for n in self.values[a] if n != sizes[a])
            parts.append(f"{a.name} is {sizes[a]} after {others}")
        return "; ".join(parts)


def choose(
    shapes: str,
    history: History,
    sizes: Mapping[Atom, int],
    made: Sequence[tuple[str, frozenset[Atom]]],
) -> Choice:
    """Return what to do about a call with these sizes, which are in the history already.

    made: kind and varying sizes of all versions compiled so far, also of those dropped since.
    """
    large = frozenset(a for a, n in sizes.items() if n > 1)
    if shapes == "exact" or not sizes:
        return Choice("exact", _reason(made, history, sizes))
    if shapes == "generic":
        return Choice("class", "shapes='generic': all sizes are run-time sizes", large)
    if sum(kind == "exact" for kind, _ in made) < MOST_EXACT and not any(m for _, m in made):
        return Choice("exact", _reason(made, history, sizes))
    if 0 in sizes.values():
        return Choice("replay", "empty arrays: nothing to compile for")
    if len(made) >= MOST_MADE:
        return Choice("replay", f"{MOST_MADE} versions were compiled and none takes these sizes")
    moved = frozenset(history.moved)
    new = moved - frozenset().union(*(m for _, m in made))
    changed = history.describe([a for a in history.moved if a in (new or moved)], sizes)
    if not any(m for _, m in made):
        return Choice("class", f"third shape: {changed}", moved)
    if new:
        return Choice("class", f"another size changed: {changed}", moved | large)
    return Choice("class", f"other facts than before: {changed}", moved)


def _reason(made: Sequence[object], history: History, sizes: Mapping[Atom, int]) -> str:
    if not sizes:
        return "all sizes are known"
    if not made:
        return "first shape"
    changed = [a for a in history.moved if history.values[a][-1] == sizes[a]]
    return f"shape {len(made) + 1}: {history.describe(changed, sizes)}"
