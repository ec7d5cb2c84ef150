"""One measured process: `python -m benchmarks.worker PEER THREADS`, requests as JSON lines.

    {"do": "hello"}                                  -> {"versions": {...}, "import_s": s}
    {"do": "prepare", "row": name, "budget": s}      -> {"first_s": s, "calls": n, "digest": [...]}
                                                        or {"absent": true}
    {"do": "time", "row": name}                      -> {"s": seconds a call, "waited": fraction}
    {"do": "drop", "row": name}, {"do": "quit"}      -> {}

An error answers {"failed": "Type: text"}. `waited` is the part of the sample in which threads of
this process were ready but had no core, though the process did not fill its cores itself: a
measure of how busy the machine was with other work.

`python -m benchmarks.worker PEER THREADS ROW ...` instead builds and calls the rows once, prints
one JSON line with the seconds of each, and ends.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import itertools
import json
import os
import sys
import time
import timeit
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

WARM_SECONDS, WARM_CALLS, PROBE_SECONDS = 0.05, 3, 0.01


def main(arguments: list[str]) -> int:
    """Serve requests until the end of the input, or time the start of rows."""
    peer, threads, *rows = arguments
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    settle(int(threads))
    if rows:
        channel.write(json.dumps(time_start(peer, rows)) + "\n")
        channel.flush()
        return 0
    server = Server(peer, int(threads))
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "quit":
            break
        try:
            answer = getattr(server, request.pop("do"))(**request)
        except Exception as error:  # noqa: BLE001 - any failure of a peer is a result
            answer = {"failed": f"{type(error).__name__}: {str(error)[:300]}"}
        channel.write(json.dumps(answer) + "\n")
        channel.flush()
    return 0


def settle(threads: int) -> None:
    """Keep to `threads` cores, before any library looks; die with the parent process."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, set(cores[-threads:]))
        ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL


class Server:
    """The programs built so far and how to time them."""

    def __init__(self, peer: str, threads: int) -> None:
        start = time.perf_counter()
        self.threads = threads
        self.module = load(peer, threads)
        self.import_s = time.perf_counter() - start
        self.programs: dict[str, tuple[timeit.Timer, int]] = {}

    def hello(self) -> dict[str, Any]:
        """Say what is measured."""
        return {"versions": self.module.versions(), "import_s": self.import_s}

    def prepare(self, row: str, budget: float) -> dict[str, Any]:
        """Build a row, keep what it computes, warm it up, and choose the calls of a sample."""
        rows, program = (importlib.import_module(f"benchmarks.{m}") for m in ("rows", "program"))
        found = rows.find(row)
        data = [rows.make(found, turn) for turn in range(found.turns)]
        start = time.perf_counter()
        built = self.module.build(found, data[0])
        if built is None:
            return {"absent": True}
        digest = program.digest(built.results())
        first = time.perf_counter() - start
        timer = timeit.Timer(built.statement, globals=built.names)
        if found.turns > 1:
            timer = self.in_turn([built, *(self.module.build(found, d) for d in data[1:])])
        end, done, calls = time.perf_counter() + WARM_SECONDS, 0, 1
        while done < WARM_CALLS or time.perf_counter() < end:
            once = timer.timeit(calls) / calls
            calls = max(calls, min(int(PROBE_SECONDS / max(once, 1e-9)), 10 * calls))
            done += 1
        calls = max(1, int(budget / once))
        self.programs[row] = (timer, calls)
        return {"first_s": first, "calls": calls, "digest": digest}

    def in_turn(self, programs: Sequence[Any]) -> timeit.Timer:
        """Return a timer of which each call runs the next of several programs."""
        for p in programs:
            p.results()
        codes = [(compile(p.statement, "statement", "eval"), p.names) for p in programs]
        names = {"turn": itertools.cycle(codes).__next__}
        return timeit.Timer("eval(*turn())", globals=names)

    def time(self, row: str) -> dict[str, Any]:
        """Take one sample: the mean of the chosen number of calls."""
        timer, calls = self.programs[row]
        before = (queue_wait(), time.perf_counter(), time.process_time())
        seconds = timer.timeit(calls)
        after = (queue_wait(), time.perf_counter(), time.process_time())
        waited, whole, used = (b - a for a, b in zip(before, after, strict=True))
        idle = max(0.0, self.threads * whole - used)
        return {"s": seconds / calls, "waited": min(waited, idle) / whole}

    def drop(self, row: str) -> dict[str, Any]:
        """Forget a row and free its memory."""
        self.programs.pop(row, None)
        gc.collect()
        return {}


def queue_wait() -> float:
    """Return the seconds that threads of this process have waited for a core so far (Linux)."""
    total = 0
    for path in Path("/proc/self/task").glob("*/schedstat"):
        try:
            total += int(path.read_text().split()[1])
        except (OSError, IndexError):
            continue
    return total * 1e-9


def forget_peak() -> int:
    """Let the peak of memory begin anew at what the process holds now, which is returned."""
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def memory(name: str) -> int:
    """Return a line of the process's status in bytes (Linux; 0 elsewhere)."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024 * int(v.split()[1]) for v in lines if v.startswith(f"{name}:")), 0)


def load(peer: str, threads: int) -> ModuleType:
    """Import a peer and set its threads."""
    peers = importlib.import_module("benchmarks.peers")
    module = peers.load(peer)
    module.start(threads)
    return module


def time_start(peer: str, names: list[str]) -> dict[str, Any]:
    """Time, in this fresh process, the imports and the way from definition to the first results.

    Returns seconds: "numpy_s", "import_s" (the library), "llvm_s" (LLVM's own import, where the
    library has left it to the first function), and "rows": from definition to results, per row.
    "peak" are the bytes that the process held at most above those after the imports, and "facts"
    what the last program says of itself; rows of memory run three times.
    """
    marks = [time.perf_counter()]
    rows = importlib.import_module("benchmarks.rows")
    data = {name: rows.make(rows.ROWS[name]) for name in names}
    marks.append(time.perf_counter())
    # Without start(): it would load back ends early. The environment has set the threads.
    module = importlib.import_module("benchmarks.peers").load(peer)
    marks.append(time.perf_counter())
    if peer == "symgraph":
        importlib.import_module("llvmlite.binding")
    marks.append(time.perf_counter())
    before = forget_peak()
    found: dict[str, float] = {}
    for name in names:
        start = time.perf_counter()
        built = module.build(rows.ROWS[name], data[name])
        if built is None:
            return {"absent": True}
        namespace = dict(built.names)
        exec(built.statement, namespace)  # noqa: S102 - the first call, as it is timed elsewhere
        found[name] = time.perf_counter() - start
        if rows.ROWS[name].start == "memory":
            timeit.Timer(built.statement, globals=namespace).timeit(2)
    steps = [b - a for a, b in zip(marks, marks[1:], strict=False)]
    return {
        **dict(zip(("numpy_s", "import_s", "llvm_s"), steps, strict=True)),
        "rows": found,
        "peak": memory("VmHWM") - before,
        "facts": built.facts(),
        "versions": module.versions(),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
