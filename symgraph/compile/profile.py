"""`f.profile`: where the time of a function goes, by kernel, op and line of the user's code."""

from __future__ import annotations

import ctypes
import functools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symgraph.core.lazy import lazy
from symgraph.core.node import Node, describe
from symgraph.core.record import dataclass
from symgraph.cpu.native import jit

if TYPE_CHECKING:
    from symgraph.compile.function import Compiled
    from symgraph.compile.version import Version

json: Any = lazy("json")

CALIBRATION = 0.02  # seconds over which the clock counter is compared with the clock


@dataclass(frozen=True, slots=True)
class Timing:
    """Time of one statement of one version: the nodes it computes, calls, seconds in all.

    A statement that `checks` looks whether the positions that its node reads are in bounds.

    A loop has the timings of the statements `inside` of it, whose calls are steps; its own seconds
    are the whole. A look at the clock, some ten nanoseconds, counts for each statement of a step.
    """

    version: str
    origin: tuple[Node, ...]
    calls: int
    seconds: float
    inside: tuple[Timing, ...] = ()
    checks: bool = False

    @property
    def name(self) -> str:
        return title(self.origin, self.checks)

    @property
    def own(self) -> float:
        """Seconds that no statement inside accounts for."""
        return max(0.0, self.seconds - sum(t.seconds for t in self.inside))

    def walk(self) -> Iterator[Timing]:
        """Yield the timing and those of all statements inside of it."""
        yield self
        for timing in self.inside:
            yield from timing.walk()


class Profile:
    """The times of a function made with `profile=True`; counted from its first call on."""

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled

    def rows(self) -> list[Timing]:
        """Return the timings of all statements that ran, in the order in which they run."""
        found = [t for version in self._compiled.version_list for t in timings(version)]
        return [t for t in found if t.calls]

    def table(self, by: str = "kernel") -> str:
        """Return a table, the most expensive first: by "kernel", "op" or "line".

        A kernel that computes several ops or lines counts for the one that it ends with. Kernels
        inside a loop are rows like others, summed over its steps; the loop has what is left.
        """
        if by not in ("kernel", "op", "line"):
            raise ValueError(f'by must be "kernel", "op" or "line", got {by!r}')
        groups: dict[str, list[float]] = {}
        for row in self.rows():
            for timing in row.walk():
                total = groups.setdefault(_group(timing, by), [0.0, 0])
                total[0] += timing.own
                total[1] += timing.calls
        whole = sum(t for t, _ in groups.values()) or 1.0
        lines = [f"{'share':>6}  {'total ms':>9}  {'calls':>7}  {'us a call':>9}  {by}"]
        for name, (seconds, calls) in sorted(groups.items(), key=lambda g: -g[1][0]):
            lines.append(
                f"{100 * seconds / whole:5.1f}%  {1e3 * seconds:9.3f}  {int(calls):7d}  "
                f"{1e6 * seconds / calls:9.2f}  {name}"
            )
        return "\n".join(lines)

    def to_chrome_trace(self, path: Any) -> None:
        """Write one average call as a trace that Chrome and Perfetto open (JSON, microseconds).

        The statements of a loop lie inside of it, each as one event with the time of all its steps.
        """
        events: list[dict[str, Any]] = []
        at: dict[str, float] = {}
        threads: dict[str, int] = {}
        for row in self.rows():
            thread = threads.setdefault(row.version, len(threads) + 1)
            at[row.version] = _trace(row, at.get(row.version, 0.0), row.calls, thread, events)
        target = Path(path)
        beside = target.with_name(target.name + ".new")
        beside.write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}))
        beside.replace(target)

    def reset(self) -> None:
        """Start counting anew."""
        for version in self._compiled.version_list:
            counts = _counts(version)
            ctypes.memset(counts, 0, ctypes.sizeof(counts))

    def __repr__(self) -> str:
        return self.table()


def _trace(row: Timing, start: float, runs: int, thread: int, events: list[Any]) -> float:
    """Append the events of a statement, averaged over the runs of the function; return its end."""
    duration = 1e6 * row.seconds / runs
    events.append({
        "name": row.name, "ph": "X", "ts": start, "dur": duration, "pid": 1, "tid": thread,
        "args": {"calls": row.calls, "line": _line(row.origin), "version": row.version},
    })  # fmt: skip
    at = start
    for timing in row.inside:
        at = _trace(timing, at, runs, thread, events)
    return start + duration


def title(origin: Sequence[Node], checks: bool) -> str:
    """Return what a statement does: the values it computes, stores or checks the positions of."""
    if not origin:
        return "copy"
    what = " + ".join(describe(n, 2) for n in origin)
    return f"{_verb(origin, checks)}{what}"


def _verb(origin: Sequence[Node], checks: bool) -> str:
    if checks:
        return "check of "
    return "copy of " if all(n.op.is_leaf for n in origin) else ""


def _group(row: Timing, by: str) -> str:
    if by == "kernel":
        return f"{row.name}: the loop itself" if row.inside else row.name
    if by == "line":
        return _line(row.origin)
    if not row.origin or all(n.op.is_leaf for n in row.origin):
        return "copy"
    return f"{_verb(row.origin, row.checks)}{row.origin[-1].op.name}"


def _line(origin: Sequence[Node]) -> str:
    return str(origin[-1].source) if origin else "copy"


def _counts(version: Version) -> Any:
    """Return (cycles, calls) of every statement as one array over the counters themselves."""
    size = 2 * len(version.module.timed)
    address = version.entry.loaded.address("profile") if size else 0
    return (ctypes.c_int64 * size).from_address(address) if size else (ctypes.c_int64 * 0)()


def timings(version: Version) -> list[Timing]:
    """Return the timing of every statement of the program, ran or not; [] without profiling."""
    counts, timed = _counts(version), version.module.timed
    scale = 1.0 / clock_rate() if timed else 0.0
    inside: dict[int | None, list[Timing]] = {}
    for k in range(len(timed) - 1, -1, -1):  # what is inside of a loop has a later place
        nodes = tuple(n for n in timed[k].origin if isinstance(n, Node))
        parts = tuple(t for t in reversed(inside.get(k, [])) if t.calls)
        calls, seconds = counts[2 * k + 1], counts[2 * k] * scale
        timing = Timing(version.name, nodes, calls, seconds, parts, timed[k].checks)
        inside.setdefault(timed[k].loop, []).append(timing)
    return inside.get(None, [])[::-1]


_CLOCK = """
declare i64 @llvm.readcyclecounter()
define i64 @cycles() {
  %now = call i64 @llvm.readcyclecounter()
  ret i64 %now
}
"""


@functools.cache
def clock_rate() -> float:
    """Return how many times a second the cycle counter counts."""
    loaded = jit.build(_CLOCK, ("cycles",))
    cycles = ctypes.CFUNCTYPE(ctypes.c_int64)(loaded.address("cycles"))
    begin, first = time.perf_counter(), cycles()
    while time.perf_counter() - begin < CALIBRATION:
        pass
    return float((cycles() - first) / (time.perf_counter() - begin))
