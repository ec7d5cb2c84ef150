"""The measuring side of the worker processes: start them, ask them, let only one run at a time.

Every library has a process of its own (`benchmarks/worker.py` has the protocol), so libraries
whose requirements clash can be measured in one run, and no library's thread pool meets another's.
Between its turns a worker is stopped (SIGSTOP): threads that spin after their work cost nobody.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import OURS, PACKAGES

ROOT = Path(__file__).resolve().parents[1]
PYTENSOR = ROOT / ".venv-pytensor"
PYTENSOR_NEEDS = ("numpy>=2", "numba", "pytensor>=3")
ANSWER_SECONDS = 120.0
# A machine's setting for one library must not choose the kernels of another; and modules are read
# as an installation leaves them, compiled.
FOREIGN = (
    "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "NVPL_BLAS_DEBUG_CPU_TYPE", "PYTHONPATH",
    "PYTHONDONTWRITEBYTECODE",
)  # fmt: skip


class WorkerError(RuntimeError):
    """A worker died or did not answer in time."""


def environment(threads: int, caches: Path) -> dict[str, str]:
    """Return the environment of a worker: threads of every library, and caches of its own."""
    settings = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    for name in ("OMP", "MKL", "OPENBLAS", "NUMBA", "NUMEXPR", "BLIS", "VECLIB_MAXIMUM"):
        settings[f"{name}_NUM_THREADS"] = str(threads)
    settings |= {
        "PYTHONPATH": str(ROOT),
        "SYMGRAPH_FLAGS": f"threads={threads},cache_dir={caches / 'symgraph'}",
        "TORCHINDUCTOR_CACHE_DIR": str(caches / "inductor"),
        "TORCHINDUCTOR_FX_GRAPH_CACHE": "1",
        "TORCHINDUCTOR_AUTOGRAD_CACHE": "1",
        "TRITON_CACHE_DIR": str(caches / "triton"),
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(caches / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "PYTENSOR_FLAGS": f"base_compiledir={caches / 'pytensor'},floatX=float32,mode=NUMBA",
        "NUMBA_CACHE_DIR": str(caches / "numba"),
        "CUDA_VISIBLE_DEVICES": "",
    }
    return settings


def interpreter(peer: str) -> str | None:
    """Return the Python in which a peer is installed, or None where there is none."""
    if peer == "pytensor":
        own = PYTENSOR / "bin" / "python"
        if own.exists():
            return str(own)
    if peer == OURS:
        return sys.executable
    package = PACKAGES.get(peer, peer)
    code = f"import importlib.util as u, sys; sys.exit(u.find_spec({package!r}) is None)"
    missing = subprocess.call([sys.executable, "-c", code], cwd=tempfile.gettempdir())
    return None if missing else sys.executable


def command(python: str, peer: str, threads: int, *rows: str) -> list[str]:
    """Return the command of a worker process."""
    return [python, "-m", "benchmarks.worker", peer, str(threads), *rows]


def setup_pytensor() -> int:
    """Make an environment of its own for PyTensor: its numba needs another llvmlite than ours."""
    python = PYTENSOR / "bin" / "python"
    if not python.exists() and subprocess.call([sys.executable, "-m", "venv", str(PYTENSOR)]):
        return 1
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return 1 if subprocess.call([*pip, *PYTENSOR_NEEDS]) else 0


class Worker:
    """A process that builds and times rows with one library."""

    def __init__(self, peer: str, threads: int, python: str, caches: Path) -> None:
        self.peer = peer
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        self._process = subprocess.Popen(
            command(python, peer, threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=ROOT,
            env=environment(threads, caches),
        )
        self._rest = b""

    def ask(self, do: str, seconds: float = ANSWER_SECONDS, **what: Any) -> dict[str, Any]:
        """Send a request and return the answer; the process runs only in between.

        Raises WorkerError where the process dies or is silent for `seconds`; it is ended then.
        """
        assert self._process.stdin is not None
        try:
            self._process.send_signal(signal.SIGCONT)
            self._process.stdin.write(json.dumps({"do": do, **what}).encode() + b"\n")
            self._process.stdin.flush()
            line = self._line(time.monotonic() + seconds)
        except OSError as error:
            raise WorkerError(f"{self.peer} ended: {self._tail()}") from error
        self._process.send_signal(signal.SIGSTOP)
        return dict(json.loads(line))

    def _line(self, end: float) -> bytes:
        assert self._process.stdout is not None
        while b"\n" not in self._rest:
            left = end - time.monotonic()
            ready = select.select([self._process.stdout], [], [], max(0.0, left))[0]
            if not ready:
                self.close()
                raise WorkerError(f"{self.peer} gave no answer in time")
            part = os.read(self._process.stdout.fileno(), 1 << 16)
            if not part:
                raise WorkerError(f"{self.peer} ended: {self._tail()}")
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _tail(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "no message"

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._log.close()


def start_once(
    peer: str, threads: int, python: str, caches: Path, rows: Sequence[str]
) -> dict[str, Any]:
    """Run rows once in a fresh process; returns its report, or {"failed": text}."""
    try:
        done = subprocess.run(
            command(python, peer, threads, *rows),
            capture_output=True,
            cwd=ROOT,
            env=environment(threads, caches),
            timeout=ANSWER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"no result in {ANSWER_SECONDS:.0f} s"}
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        return {"failed": lines[-1][:300] if lines else f"exit status {done.returncode}"}
    return dict(json.loads(done.stdout))
