"""In which order the statements of a program run.

They keep the order in which the graph was walked, but for two wishes. Updates come last, each
behind the readers of its old value and all that can fail. And what gives memory back comes as soon
as it can: the graph of a gradient is walked down to the first weights before anything else, so
that products that only wait for a gradient of activations would keep them all. Where the rest of
a temporary's readers can run, and free more than they need, they run. Both give way to the data.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence

from symgraph.dims.dim import Atom, evaluate, symbols
from symgraph.loops.expr import Buffer, Size
from symgraph.loops.inplace import Accesses, can_fail
from symgraph.loops.statements import Statement

MOST_READERS = 8  # of a temporary, left over, that are asked whether they free memory
USUAL = 1000  # elements along an axis whose size is not known
LEAST = 1 << 15  # bytes: what is smaller stays in the near caches anyway


def run_order(
    statements: Sequence[Statement], accesses: Accesses, updates: Sequence[tuple[Buffer, Buffer]]
) -> list[int]:
    """Return the places of the statements in the order in which they run.

    `accesses` are the buffers that each reads and writes, `updates` the buffers of new values with
    those of the old ones.
    """
    order = _Order(statements, accesses, updates)
    while order.left:
        order.run(order.next())
        while (several := order.group()) is not None:
            for k in several:
                order.run(k)
    return order.done


class _Order:
    """What has run, what can run, and who still uses each temporary."""

    def __init__(
        self,
        statements: Sequence[Statement],
        accesses: Accesses,
        updates: Sequence[tuple[Buffer, Buffer]],
    ) -> None:
        self.touched = [r | w for r, w in accesses]
        self.done: list[int] = []
        self.left = len(statements)
        checks = [k for k, s in enumerate(statements) if can_fail(s)]
        before, readers = _dependences(accesses, checks)
        self.waits = [len(b) for b in before]
        self.after: dict[int, list[int]] = defaultdict(list)
        for k, earlier in enumerate(before):
            for j in earlier:
                self.after[j].append(k)
        self.wishes = _wishes(accesses, updates, readers, checks)  # of the updates
        self.wished: dict[int, list[int]] = defaultdict(list)
        for k, earlier in self.wishes.items():
            for j in earlier:
                self.wished[j].append(k)
        news = {new for new, _ in updates}
        self.users: dict[Buffer, set[int]] = defaultdict(set)  # that have not run, of temporaries
        for k, buffers in enumerate(self.touched):
            for b in buffers:
                if b.kind == "temporary" and b not in news:
                    self.users[b].add(k)
        self.begun: set[Buffer] = set()
        self.looked_at: dict[Buffer, None] = {}  # temporaries whose readers may be able to run now
        self.ready: set[int] = set()
        self.queue: list[int] = []
        self.last: list[int] = []  # updates that can run
        for k, count in enumerate(self.waits):
            if not count:
                self._free(k)

    def next(self) -> int:
        """Return the statement to run next where memory does not matter."""
        while self.queue:
            k = heapq.heappop(self.queue)
            if k in self.ready:
                return k
        at = next((k for k in self.last if not self.wishes[k]), self.last[0])
        self.last.remove(at)
        return at

    def run(self, k: int) -> None:
        """Note that a statement has run."""
        self.done.append(k)
        self.left -= 1
        self.ready.discard(k)
        for b in self._temporaries(k):
            self.begun.add(b)
            self.users[b].remove(k)
            self.looked_at[b] = None
        for j in self.wished.get(k, ()):
            self.wishes[j].discard(k)
        for j in self.after.get(k, ()):
            self.waits[j] -= 1
            if not self.waits[j]:
                self._free(j)

    def group(self) -> list[int] | None:
        """Return the readers that are left of a temporary, where they free more than they need."""
        while self.looked_at:
            b, _ = self.looked_at.popitem()
            users = self.users[b]
            if 0 < len(users) <= MOST_READERS and users <= self.ready and self._pays(users):
                return sorted(users)
        return None

    def _pays(self, group: set[int]) -> bool:
        buffers = {b for k in group for b in self._temporaries(k)}
        taken = _bytes(b for b in buffers if b not in self.begun)
        freed = _bytes(b for b in buffers if self.users[b] <= group)
        return taken + LEAST <= freed

    def _free(self, k: int) -> None:
        if k in self.wishes:
            self.last.append(k)
            return
        self.ready.add(k)
        heapq.heappush(self.queue, k)
        self.looked_at.update(dict.fromkeys(self._temporaries(k)))

    def _temporaries(self, k: int) -> Iterable[Buffer]:
        return (b for b in self.touched[k] if b in self.users)


def _dependences(
    accesses: Accesses, checks: Sequence[int]
) -> tuple[list[set[int]], dict[Buffer, list[int]]]:
    """Return what has to run before each statement, and all readers of each buffer.

    What stands behind a check may rely on it: no index is looked up before it is known to be good.
    """
    last_write: dict[Buffer, int] = {}
    since: dict[Buffer, list[int]] = defaultdict(list)  # readers since the last write
    readers: dict[Buffer, list[int]] = defaultdict(list)
    found: list[set[int]] = []
    failing = set(checks)
    check: int | None = None
    for k, (r, w) in enumerate(accesses):
        before = {last_write[b] for b in (*r, *w) if b in last_write}
        before.update(j for b in w for j in since[b])
        before.update(() if check is None else (check,))
        found.append(before - {k})
        for b in r:
            since[b].append(k)
            readers[b].append(k)
        for b in w:
            last_write[b] = k
            since[b] = [k] if b in r else []
        if k in failing:
            check = k
    return found, readers


def _wishes(
    accesses: Accesses,
    updates: Sequence[tuple[Buffer, Buffer]],
    readers: dict[Buffer, list[int]],
    checks: Sequence[int],
) -> dict[int, set[int]]:
    """Return, for each statement that alone makes a new value, what should run before it."""
    writers: dict[Buffer, list[int]] = defaultdict(list)
    for k, (_, w) in enumerate(accesses):
        for b in w:
            writers[b].append(k)
    found: dict[int, set[int]] = {}
    for new, old in updates:
        if len(writers[new]) == 1:
            (k,) = writers[new]
            found.setdefault(k, set()).update((*readers.get(old, ()), *checks))
            found[k].discard(k)
    return found


def _bytes(buffers: Iterable[Buffer]) -> int:
    total: Size = 0
    for b in buffers:
        total = total + b.size * b.dtype.itemsize
    try:
        return evaluate(total, {a: _usual(a) for a in symbols(total)})
    except ZeroDivisionError:  # a quotient by a size that is none at the usual numbers
        return 0


def _usual(symbol: Atom) -> int:
    """Return a number for a size that is not known: the order is no matter of right and wrong."""
    high = USUAL if symbol.high is None else min(USUAL, symbol.high)
    return max(high, symbol.low or 0)
