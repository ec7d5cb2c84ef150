"""Run rows: rounds alternate between the workers, results are compared, medians are kept."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from benchmarks.peers import OURS
from benchmarks.program import difference
from benchmarks.rows import Row
from benchmarks.workers import ROOT, Worker, WorkerError, interpreter, start_once

FORMAT = 1
CALM_SAMPLES = 3  # rounds go on, up to MORE_ROUNDS times as many, until every cell has so many
MORE_ROUNDS = 3
BUSY = 0.05  # a sample whose threads waited longer for a core (as part of its time) is disturbed
SLOW_START = 5.0  # seconds; a start that takes longer is not repeated
# Relative to the largest entry; float32 sums differ.
TOLERANCES = {"train": 1e-4, "step": 1e-4, "hvp": 1e-3, "net_hvp": 1e-3, "ggn": 1e-3, "loop": 1e-3}
TOLERANCES |= {"adaptive": 1e-3, "mala": 1e-3}  # a test may fall the other way by a rounding error
TOLERANCES |= {"jacobian": 1e-4}  # sums of 1000 terms: torch and symgraph are 1e-5 from float64
# Rounding grows from step to step: JAX and symgraph are 2e-4 from float64, which agree to 1e-15.
TOLERANCES |= {"train.resnet18_b16": 1e-3, "train.vgg_a": 3e-3}
TOLERANCE = 1e-5
START_THREADS = 2
REFERENCES = ("numpy", "torch", "jax", "pytensor", "torch.compile", OURS)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run: rows, libraries, thread counts, rounds, and seconds of one sample."""

    rows: Sequence[Row]
    peers: Sequence[str]
    threads: Sequence[int] = (1, 2)
    repeat: int = 7
    budget: float = 0.1


@dataclass(slots=True)
class Run:
    """A run in progress."""

    plan: Plan
    log: TextIO
    caches: Path
    pythons: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Tell the progress, on the standard error."""
        self.log.write(text + "\n")
        self.log.flush()


def run(plan: Plan, log: TextIO = sys.stderr) -> dict[str, Any]:
    """Measure a plan and return everything about it as plain data (see `benchmarks.results`)."""
    with tempfile.TemporaryDirectory(prefix="symgraph-bench-") as folder:
        job = Run(plan, log, Path(folder))
        for peer in plan.peers:
            found = interpreter(peer)
            if found is None:
                job.say(f"{peer} is not installed: no column")
            else:
                job.pythons[peer] = found
        before, started = os.getloadavg()[0], now()
        for threads in plan.threads:
            steady = [r for r in plan.rows if not r.start]
            if steady:
                run_steady(job, steady, threads)
        starts = [r for r in plan.rows if r.start]
        if starts:
            run_starts(job, starts)
        return {
            "format": FORMAT,
            "started": started,
            "finished": now(),
            "load": [before, os.getloadavg()[0]],
            "machine": machine(),
            "versions": {"python": platform.python_version(), **job.versions},
            "settings": {"repeat": plan.repeat, "budget_s": plan.budget, "peers": [*job.pythons]},
            "rows": job.lines,
        }


def run_steady(job: Run, rows: Sequence[Row], threads: int) -> None:
    """Time calls that are warm, all libraries side by side."""
    workers: dict[str, Worker | None] = dict.fromkeys(job.pythons)
    try:
        for k, row in enumerate(rows):
            for peer in job.pythons:
                if workers[peer] is None:
                    workers[peer] = begin(job, peer, threads)
            alive = {p: w for p, w in workers.items() if w is not None}
            line = measure(job, row, threads, alive)
            job.lines.append(line)
            job.say(f"[{k + 1}/{len(rows)}, {threads} threads] {summary(line)}")
            for peer, worker in alive.items():
                if line["cells"].get(peer, {}).get("lost"):
                    worker.close()
                    workers[peer] = None
    finally:
        for worker in workers.values():
            if worker is not None:
                worker.close()


def begin(job: Run, peer: str, threads: int) -> Worker | None:
    """Start a worker; None where its library does not come up, which ends its column."""
    worker = Worker(peer, threads, job.pythons[peer], job.caches)
    try:
        answer = worker.ask("hello")
    except WorkerError as error:
        answer = {"failed": str(error)}
    if "failed" in answer:
        job.say(f"{peer} does not start: {answer['failed']}")
        worker.close()
        del job.pythons[peer]
        return None
    job.versions.update(answer["versions"])
    return worker


def measure(job: Run, row: Row, threads: int, workers: dict[str, Worker]) -> dict[str, Any]:
    """Build a row everywhere, then take samples in turn; returns one line of the results."""
    cells: dict[str, dict[str, Any]] = {}
    load = os.getloadavg()[0]
    for peer, worker in workers.items():
        answer = ask(worker, "prepare", row=row.name, budget=job.plan.budget)
        if not answer.get("absent"):
            cells[peer] = answer
    active = [p for p, c in cells.items() if "failed" not in c]
    samples: dict[str, list[dict[str, Any]]] = {p: [] for p in active}
    for turn in range(MORE_ROUNDS * job.plan.repeat):
        if turn >= job.plan.repeat and all(enough(s) for s in samples.values()):
            break
        for peer in active[turn % len(active) :] + active[: turn % len(active)] if active else ():
            if "failed" in cells[peer]:
                continue
            answer = ask(workers[peer], "time", row=row.name)
            if "failed" in answer:
                cells[peer] = answer
            else:
                samples[peer].append(answer)
    for peer, worker in workers.items():
        if not cells.get(peer, {}).get("lost"):
            ask(worker, "drop", row=row.name)
    compare_results(row, cells)
    for peer in active:
        if "failed" not in cells[peer]:
            cells[peer].update(statistic(samples[peer]))
    return {"row": row.name, "text": row.text, "threads": threads, "load": load, "cells": cells}


def enough(samples: Sequence[dict[str, Any]]) -> bool:
    """Tell whether a cell has samples that other work did not disturb, or had its chance."""
    calm = sum(s["waited"] <= BUSY for s in samples)
    return calm >= min(CALM_SAMPLES, len(samples))


def ask(worker: Worker, do: str, **what: Any) -> dict[str, Any]:
    """Ask, and turn the loss of a worker into an answer."""
    try:
        return worker.ask(do, **what)
    except WorkerError as error:
        return {"failed": str(error), "lost": True}


def compare_results(row: Row, cells: dict[str, dict[str, Any]]) -> None:
    """Replace the digests by the difference from a reference; a wrong result is a failure."""
    digests = {p: c.pop("digest") for p, c in cells.items() if "digest" in c}
    reference = next((p for p in REFERENCES if p in digests), None)
    named = (TOLERANCES[name] for name in (row.name, row.group, row.kind) if name in TOLERANCES)
    limit = next(named, TOLERANCE)
    for peer, value in digests.items():
        error = difference(value, digests[reference]) if reference else 0.0
        if error > limit:
            cells[peer]["wrong"] = f"differs from {reference} by {error:.1e}, allowed {limit:.0e}"
        cells[peer]["error"] = error if error < float("inf") else None


def statistic(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return median and quartiles (seconds a call) of the undisturbed samples.

    Where fewer than three are undisturbed, those of all samples; "disturbed" is then true.
    """
    calm = [s["s"] for s in samples if s["waited"] <= BUSY]
    times = calm if len(calm) >= CALM_SAMPLES else [s["s"] for s in samples]
    return {**quartiles(times), "disturbed": not enough(samples)}


def quartiles(times: Sequence[float]) -> dict[str, Any]:
    """Return the median, the quartiles and the number of some times in seconds."""
    low, high = times[0], times[0]
    if len(times) > 1:
        low, _, high = statistics.quantiles(times, n=4, method="inclusive")
    return {"median": statistics.median(times), "q1": low, "q3": high, "n": len(times)}


def run_starts(job: Run, rows: Sequence[Row]) -> None:
    """Time the way from definition to the first result, each time in a fresh process."""
    lines = {
        r.name: {"row": r.name, "text": r.text, "threads": START_THREADS, "cells": {}} for r in rows
    }
    for row in rows:
        if any(r.after == row.name for r in rows):
            continue  # the row after it runs it too
        names = [row.after, row.name] if row.after else [row.name]
        for peer, python in job.pythons.items():
            reports = repeat_start(job, peer, python, row, names)
            for name in names:
                cell = start_cell(reports, name, row.start == "memory")
                if cell is not None and name in lines:
                    lines[name]["cells"][peer] = cell
        for name in names:
            if name in lines:
                job.lines.append({**lines[name], "load": os.getloadavg()[0]})
                job.say(f"[start] {summary(lines[name])}")


def repeat_start(
    job: Run, peer: str, python: str, row: Row, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Start a row some times, with an empty cache each time or with the first one's cache."""
    reports: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=job.caches) as shared:
        if row.start != "cold":  # the report of the run that fills the cache is not kept
            first = start_once(peer, START_THREADS, python, Path(shared), names)
            if "rows" not in first:
                return [first]
        for _ in range(min(3, job.plan.repeat)):
            with tempfile.TemporaryDirectory(dir=job.caches) as empty:
                caches = Path(empty if row.start == "cold" else shared)
                reports.append(start_once(peer, START_THREADS, python, caches, names))
            if "rows" not in reports[-1] or max(reports[-1]["rows"].values()) > SLOW_START:
                break
    job.versions.update(reports[-1].get("versions", {}))
    return reports


def start_cell(
    reports: Sequence[dict[str, Any]], name: str, memory: bool = False
) -> dict[str, Any] | None:
    """Return a cell from the reports of fresh processes; None where the peer has no such row.

    Its figures are seconds, or the peaks of memory in bytes.
    """
    if "failed" in reports[-1]:
        return {"failed": reports[-1]["failed"]}
    if "absent" in reports[-1]:
        return None
    cell = quartiles([r["peak"] if memory else r["rows"][name] for r in reports])
    for part in ("numpy_s", "import_s", "llvm_s", "peak"):
        cell[part] = statistics.median(r[part] for r in reports)
    return cell | {"facts": reports[-1]["facts"]}


def summary(line: dict[str, Any]) -> str:
    """Return a line of progress."""
    cells = []
    for peer, cell in line["cells"].items():
        unit, scale = ("MB", 1e-6) if line["row"].startswith("memory.") else ("us", 1e6)
        text = f"{cell['median'] * scale:.4g} {unit}" if "median" in cell else "failed"
        cells.append(f"{peer} {text}{' WRONG' if 'wrong' in cell else ''}")
    return f"{line['row']}: {', '.join(cells)}"


def now() -> str:
    """Return the time in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def machine() -> dict[str, Any]:
    """Return what is known of this machine and of the state of the source."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    names = [v.split(":", 1)[1].strip() for v in text.splitlines() if v.startswith("model name")]
    flags = next((v for v in text.splitlines() if v.startswith("flags")), "").split()
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "vectors": [f for f in ("avx2", "fma", "avx512f") if f in flags],
        "system": platform.platform(terse=True),
        "revision": git.stdout.strip(),
    }
