"""`f.profile`: where the time of a function goes, by kernel, op and line of the user's code."""

from __future__ import annotations

import ctypes
import functools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symgraph.core.lazy import lazy
from symgraph.core.node import Node, describe
from symgraph.core.record import dataclass
from symgraph.cpu import jit

if TYPE_CHECKING:
    from symgraph.compile.function import Compiled
    from symgraph.compile.version import Version

json: Any = lazy("json")

CALIBRATION = 0.02  # seconds over which the clock counter is compared with the clock


@dataclass(frozen=True, slots=True)
class Timing:
    """Time of one statement of one version: the nodes it computes, calls, seconds in all."""

    version: str
    origin: tuple[Node, ...]
    calls: int
    seconds: float

    @property
    def name(self) -> str:
        return " + ".join(describe(n, 2) for n in self.origin) or "copy"


class Profile:
    """The times of a function made with `profile=True`; counted from its first call on."""

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled

    def rows(self) -> list[Timing]:
        """Return the timings of all statements that ran, in the order in which they run."""
        scale = 1.0 / clock_rate()
        found = []
        for version in self._compiled.version_list:
            counts = _counts(version)
            for k, origin in enumerate(version.module.timed):
                cycles, calls = counts[2 * k], counts[2 * k + 1]
                if calls:
                    nodes = tuple(n for n in origin if isinstance(n, Node))
                    found.append(Timing(version.name, nodes, calls, cycles * scale))
        return found

    def table(self, by: str = "kernel") -> str:
        """Return a table, the most expensive first: by "kernel", "op" or "line".

        A kernel that computes several ops or lines counts for the one that it ends with.
        """
        rows = self.rows()
        if by not in ("kernel", "op", "line"):
            raise ValueError(f'by must be "kernel", "op" or "line", got {by!r}')
        groups: dict[str, list[float]] = {}
        for row in rows:
            total = groups.setdefault(_group(row, by), [0.0, 0])
            total[0] += row.seconds
            total[1] += row.calls
        whole = sum(t for t, _ in groups.values()) or 1.0
        lines = [f"{'share':>6}  {'total ms':>9}  {'calls':>7}  {'us a call':>9}  {by}"]
        for name, (seconds, calls) in sorted(groups.items(), key=lambda g: -g[1][0]):
            lines.append(
                f"{100 * seconds / whole:5.1f}%  {1e3 * seconds:9.3f}  {int(calls):7d}  "
                f"{1e6 * seconds / calls:9.2f}  {name}"
            )
        return "\n".join(lines)

    def to_chrome_trace(self, path: Any) -> None:
        """Write one average call as a trace that Chrome and Perfetto open (JSON, microseconds)."""
        events: list[dict[str, Any]] = []
        at: dict[str, float] = {}
        threads: dict[str, int] = {}
        for row in self.rows():
            start = at.get(row.version, 0.0)
            duration = 1e6 * row.seconds / row.calls
            at[row.version] = start + duration
            events.append({
                "name": row.name, "ph": "X", "ts": start, "dur": duration, "pid": 1,
                "tid": threads.setdefault(row.version, len(threads) + 1),
                "args": {"calls": row.calls, "line": _line(row.origin), "version": row.version},
            })  # fmt: skip
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


def _group(row: Timing, by: str) -> str:
    if by == "kernel":
        return row.name
    if by == "op":
        return row.origin[-1].op.name if row.origin else "copy"
    return _line(row.origin)


def _line(origin: Sequence[Node]) -> str:
    return str(origin[-1].source) if origin else "copy"


def _counts(version: Version) -> Any:
    """Return (cycles, calls) of every statement as one array over the counters themselves."""
    size = 2 * len(version.module.timed)
    address = version.entry.loaded.address("profile") if size else 0
    return (ctypes.c_int64 * size).from_address(address) if size else (ctypes.c_int64 * 0)()


def statement_times(version: Version) -> list[float]:
    """Return the average seconds of every statement, 0 where none ran; [] without profiling."""
    counts = _counts(version)
    scale = 1.0 / clock_rate() if len(counts) else 0.0
    pairs = [(counts[2 * k], counts[2 * k + 1]) for k in range(len(version.module.timed))]
    return [cycles * scale / calls if calls else 0.0 for cycles, calls in pairs]


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
