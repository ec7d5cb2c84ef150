"""The public names are frozen: a change of `__all__` must be meant.

`python tests/test_api.py` writes the present names to tests/golden/api.json; CHANGELOG.md says what
changed.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

GOLDEN = Path(__file__).parent / "golden" / "api.json"
PACKAGES = ("symgraph", "symgraph_nn", "symgraph_rl", "symgraph_nn.losses", "symgraph_nn.optim")


def names(name: str) -> list[str]:
    """Return the public names of a module: `__all__`, or what it defines without underscore."""
    module = importlib.import_module(name)
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    return sorted(k for k, v in vars(module).items() if _is_own(k, v, module))


def _is_own(name: str, value: object, module: ModuleType) -> bool:
    return (
        callable(value)
        and not name.startswith("_")
        and (getattr(value, "__module__", None) == module.__name__)
    )


@pytest.mark.parametrize("name", PACKAGES)
def test_public_names_are_frozen(name: str) -> None:
    frozen, now = set(json.loads(GOLDEN.read_text())[name]), set(names(name))
    assert (sorted(now - frozen), sorted(frozen - now)) == ([], []), (
        "added, removed; see the docstring"
    )


@pytest.mark.parametrize("name", PACKAGES)
def test_public_names_exist(name: str) -> None:
    module = importlib.import_module(name)
    assert not [n for n in names(name) if not hasattr(module, n)]


@pytest.mark.parametrize("name", PACKAGES)
def test_public_functions_have_docstrings(name: str) -> None:
    module = importlib.import_module(name)
    bare = [n for n in names(name) if callable(v := getattr(module, n)) and not v.__doc__]
    assert not bare


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps({name: names(name) for name in PACKAGES}, indent=0) + "\n")
