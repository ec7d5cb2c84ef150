"""One module per library that is measured: `start(threads)`, `versions()`, `build(row, data)`."""

from __future__ import annotations

import importlib
from types import ModuleType

MODULES = {
    "symgraph": "with_symgraph",
    "torch": "with_torch",
    "torch.compile": "with_torch_compile",
    "jax": "with_jax",
    "pytensor": "with_pytensor",
    "numpy": "with_numpy",
}
PACKAGES = {"torch.compile": "torch"}  # where it is not the peer's name
OURS = "symgraph"


def load(name: str) -> ModuleType:
    """Import a peer's module, and its library with it."""
    return importlib.import_module(f"benchmarks.peers.{MODULES[name]}")
