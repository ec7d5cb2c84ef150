"""The driver of rewrite rules: a memoised bottom-up map, to a fixed point inside each phase.

A rule only looks at a node and what is below it, and nodes are immutable. So once all inputs of a
node are in normal form, one visit settles it; only the nodes that a rule makes are visited again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import Any

from symgraph.core.errors import VerifyError
from symgraph.core.node import Node, _interned, describe
from symgraph.core.op import Op, ops
from symgraph.core.pattern import ANY, ELEMENTWISE, Match, Rule, heads, matcher

# Pushed by hand: a context manager for each visited node would cost more than its matching.
from symgraph.core.source import _override as source_stack

BUDGET = 400  # fires while one node of the graph is brought to normal form
ROUNDS = 12  # passes over all phases until nothing changes


class Report:
    """Counters of one run: rule name -> [tried, fired, seconds]."""

    def __init__(self) -> None:
        self.rules: dict[str, list[Any]] = {}

    def rows(self) -> list[tuple[str, int, int, float]]:
        """Return (rule, tried, fired, seconds), the most expensive first."""
        found = [(name, *row) for name, row in self.rules.items()]
        return sorted(found, key=lambda r: (-r[3], r[0]))


class Table:
    """The rules of one phase under one numerics setting, indexed by root op and child ops."""

    def __init__(self, phase: str, rules: Iterable[Rule], numerics: str = "default") -> None:
        self.phase = phase
        self.rules = [r for r in rules if allowed(r, numerics)]
        self.numerics = numerics
        self.uses = any(r.uses for r in self.rules)
        self._functions: dict[str, Match] = {}
        # by root: an op's name, or what stands for many ops
        self._by_root: dict[str, list[tuple[int, Rule, tuple[str, ...]]]] = {}
        self.candidates: dict[tuple[Any, ...], tuple[tuple[Rule, Match], ...]] = {}
        # key of a node -> which phases of a list that starts with this one have rules for it
        self.hits: dict[tuple[Table, ...], dict[tuple[Any, ...], tuple[int, ...]]] = {}
        for k, r in enumerate(self.rules):
            roots, children = heads(r)
            for name in dict.fromkeys(roots):
                self._by_root.setdefault(name, []).append((k, r, children))

    def find(self, node: Node) -> tuple[tuple[Rule, Match], ...]:
        """Return the rules that may match the node, in the order in which they were defined."""
        kinds = tuple(i.op for i in node.inputs[:3])
        key = (node.op, *kinds)
        found = self.candidates.get(key)
        if found is None:
            below = {name for k in kinds for name in _stands_for(k)}
            rules = {
                k: r
                for name in _stands_for(node.op)
                for k, r, children in self._by_root.get(name, ())
                if not children or not below.isdisjoint(children)
            }
            found = tuple((rules[k], self._function(rules[k])) for k in sorted(rules))
            self.candidates[key] = found
        return found

    def _function(self, r: Rule) -> Match:
        if r.name not in self._functions:
            guarded = r.numeric == "algebraic" and self.numerics == "default"
            self._functions[r.name] = matcher(r, r.harmless if guarded else None)
        return self._functions[r.name]


def allowed(r: Rule, numerics: str) -> bool:
    """Tell whether a rule runs: strict: exact ones; default: all but algebraic ones; fast: all.

    An algebraic rule that states when it is harmless also runs by default, where that is proved.
    """
    if numerics == "strict":
        return r.numeric == "exact"
    return numerics == "fast" or r.numeric != "algebraic" or r.harmless is not None


def _stands_for(op: Op) -> tuple[str, ...]:
    """Return the names under which rules mean an op: its own, and those for many.

    Leaves and what only passes make (such as views of complex arrays as pairs) are no registered
    ops: no rule for many is meant for them.
    """
    if ops.get(op.name) is not op:
        return (op.name,)
    return (op.name, ANY, ELEMENTWISE) if hasattr(op, "arity") else (op.name, ANY)


def rewrite(
    outputs: Sequence[Node], phases: Sequence[Table], report: Report | None = None
) -> list[Node]:
    """Return outputs equal in value, in normal form under the rules of all phases.

    The phases run in order, each to its fixed point, and all of them again until nothing changes,
    so the result is a fixed point of the whole. Raises `VerifyError` naming the rule when a
    replacement has another type, or when rules go on for ever.
    """
    outputs = list(outputs)
    plan = _Plan(outputs, phases)
    settled: dict[str, set[Node]] = {t.phase: set() for t in phases}
    unchanged, fired = 0, ""
    for turn in range(len(phases) * ROUNDS):
        if unchanged == len(phases):
            return outputs
        at = turn % len(phases)
        table = phases[at]
        unchanged += 1
        if plan.places[at]:
            run = _Run(table, settled[table.phase], report, plan)
            if run.visit(plan.places[at]):
                outputs = [run.changed.get(n, n) for n in outputs]
                plan = _Plan(outputs, phases)
                fired = run.fired
                # a phase that counts users may find something new in its own result
                unchanged = 0 if table.uses else 1
    if unchanged == len(phases):
        return outputs
    raise VerifyError(
        f"the phases {[t.phase for t in phases]} undo each other; last rule fired: {fired}"
    )


class _Plan:
    """The nodes in topological order, and for each phase the places of nodes it has rules for."""

    def __init__(self, outputs: Sequence[Node], phases: Sequence[Table]) -> None:
        self.order: list[Node] = []
        self.position: dict[Node, int] = {}
        self.places: list[list[int]] = [[] for _ in phases]
        order, position = self.order, self.position
        known = phases[0].hits.setdefault(tuple(phases), {})
        stack = list(outputs)
        while stack:
            node = stack[-1]
            if node in position:
                stack.pop()
                continue
            inputs = node.inputs
            below = [i for i in inputs if i not in position]
            if below:
                stack.extend(below)
                continue
            stack.pop()
            k = position[node] = len(order)
            order.append(node)
            if len(inputs) == 2:
                key: Any = (node.op, inputs[0].op, inputs[1].op)
            elif not inputs and node.op.is_leaf:
                continue
            else:
                key = (node.op, *[i.op for i in inputs[:3]])
            hits = known.get(key)
            if hits is None:
                hits = tuple(p for p, t in enumerate(phases) if t.find(node))
                known[key] = hits
            for p in hits:
                self.places[p].append(k)


class _Run:
    """One pass of one phase."""

    def __init__(
        self, table: Table, settled: set[Node], report: Report | None, plan: _Plan
    ) -> None:
        self.table, self.report, self.plan = table, report, plan
        # how often a node is used may change between rounds, so such a phase looks again
        self.settled: set[Node] = set() if table.uses else settled
        self.changed: dict[Node, Node] = {}
        self.counts: dict[Node, int] = {}
        self.fires = 0
        self.fired = ""
        self.now = 0  # nodes before this place of the order are final

    def visit(self, places: Sequence[int]) -> bool:
        """Bring every node to normal form; tell whether anything changed.

        `places` are the nodes that rules may match. From the first change on, the nodes that use
        what has changed are visited too.
        """
        order, settled, changed = self.plan.order, self.settled, self.changed
        if self.table.uses:
            self._count(order)
        first = len(order)
        for k in places:
            if order[k] not in settled:
                self._settle(k, order[k])
                if changed:
                    first = k + 1
                    break
        mine = set(places) if changed else set()
        for k in range(first, len(order)):
            node = order[k]
            for i in node.inputs:
                if i in changed:
                    self._settle(k, node)
                    break
            else:
                if k in mine and node not in settled:
                    self._settle(k, node)
        return bool(changed)

    def _settle(self, k: int, node: Node) -> None:
        """Try the one frequent case, a node that no rule changes, before the general one."""
        self.now, self.fires = k, 0
        if node in self.changed:
            return
        new = self._step(node)
        if new is None:
            self.settled.add(node)
        else:
            self._normalise(node, new)

    def _count(self, order: Sequence[Node]) -> None:
        counts = self.counts
        for node in order:
            for i in node.inputs:
                counts[i] = counts.get(i, 0) + 1

    def uses(self, node: Node) -> int:
        """Return how many inputs of other nodes the node is (1 for nodes made in this phase)."""
        return self.counts.get(node, 1)

    def _final(self, node: Node) -> bool:
        """Tell whether a node is in normal form, or known to be replaced."""
        if node in self.settled or node in self.changed:
            return True
        return self.plan.position.get(node, self.now) < self.now

    def _normalise(self, root: Node, first: Node) -> None:
        """Settle `root`, which `first` replaces, and all that rules make on the way."""
        changed, final = self.changed, self._final
        waiting: dict[Node, Node] = {root: first}
        stack = [root] if final(first) else [root, first]
        while stack:
            node = stack[-1]
            if final(node):
                stack.pop()
                continue
            new = waiting.get(node)
            if new is None:
                open_inputs = [i for i in node.inputs if not final(i)]
                if open_inputs:
                    stack.extend(open_inputs)
                    continue
                new = self._step(node)
                if new is None:
                    self.settled.add(node)
                    stack.pop()
                    continue
                if new in waiting:
                    raise VerifyError(f"rewrite rule {self.fired} goes in a circle at {new!r}")
            if final(new):
                changed[node] = changed.get(new, new)
                stack.pop()
            else:
                waiting[node] = new
                stack.append(new)

    def _step(self, node: Node) -> Node | None:
        """Return what replaces a node whose inputs are settled: it on new inputs, or a rule's."""
        changed = self.changed
        if changed:
            for i in node.inputs:
                if i in changed:
                    new = with_equal_inputs(node, tuple([changed.get(i, i) for i in node.inputs]))
                    if self.counts:
                        self.counts[new] = max(self.uses(node), self.counts.get(new, 0))
                    return new
        found = self.table.find(node)
        if not found:
            return None
        source_stack.append(node.source)
        try:
            return self._apply(found, node) if self.report is None else self._timed(found, node)
        finally:
            source_stack.pop()

    def _apply(self, found: Sequence[tuple[Rule, Match]], node: Node) -> Node | None:
        for r, match in found:
            new = match(node, self.uses) if r.uses else match(node)
            if new is not None and new is not node:
                return self._accepted(r, node, new)
        return None

    def _timed(self, found: Sequence[tuple[Rule, Match]], node: Node) -> Node | None:
        assert self.report is not None
        for r, match in found:
            row = self.report.rules.setdefault(r.name, [0, 0, 0.0])
            start = perf_counter()
            new = match(node, self.uses) if r.uses else match(node)
            row[0] += 1
            row[2] += perf_counter() - start
            if new is not None and new is not node:
                row[1] += 1
                return self._accepted(r, node, new)
        return None

    def _accepted(self, r: Rule, node: Node, new: Node) -> Node:
        """Check the type of a replacement, count the fire, and pass the name on."""
        old, got = node.type, new.type
        if got is not old and (got.dtype is not old.dtype or got.shape != old.shape):
            raise VerifyError(
                f"rewrite rule {r.name} changed the type of `{describe(node)}`: {old} to {got}\n"
                f"  result: {describe(new)}\n  made at {node.source}"
            )
        self.fired = r.name
        self.fires += 1
        if self.fires > BUDGET:
            raise VerifyError(
                f"rewrite rule {r.name} does not come to an end: {BUDGET} replacements for one node"
                f"\n  last:   {describe(node)}, made at {node.source}"
            )
        if self.counts:
            self.counts[new] = max(self.uses(node), self.counts.get(new, 0))
        if new._name is None and node._name is not None and not _known(self, new):
            new._name = node._name
        return new


def _known(run: _Run, node: Node) -> bool:
    """Tell whether the node was there before: it keeps its own name then."""
    return node.op.is_leaf or node in run.plan.position or node in run.settled


def with_equal_inputs(node: Node, inputs: tuple[Node, ...]) -> Node:
    """Return the same operation on inputs of the same types, without inferring its type again."""
    op = node.op
    if type(op).rebuild is not Op.rebuild:
        return op.rebuild(node, inputs)
    key = (op, inputs, node.params, node.uid, None, None)
    new = _interned.get(key)
    if new is None:
        new = Node()
        new.op, new.inputs, new.params, new.uid, new.data = op, inputs, node.params, node.uid, None
        new._name, new.source, new.type = node._name, node.source, node.type
        new.test_value = node.test_value
        _interned[key] = new
    elif new._name is None:
        new._name = node._name
    return new


