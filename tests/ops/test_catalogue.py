"""The catalogue of ops: what it announces is what the modules make; nothing else is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import symgraph as sg
from symgraph.core.namespace import Namespace
from symgraph.core.op import o, ops
from symgraph.debug.catalogue import catalogue
from symgraph.ops.catalogue import FUNCTIONS, OPS

ROOT = Path(__file__).parents[2]
# Each family is imported in a child of its own, which has seen no other one.
ALONE = """
import importlib, os, sys
import symgraph
from symgraph.core.op import o, ops
from symgraph.ops.catalogue import FUNCTIONS, OPS

assert not [m for m in {**FUNCTIONS, **OPS} if m in sys.modules]
for module in {**FUNCTIONS, **OPS}:
    if not os.fork():
        importlib.import_module(module)
        missing = [n for n in FUNCTIONS.get(module, "").split() if n not in vars(o)]
        missing += [n for n in OPS.get(module, "").split() if n not in ops]
        if missing:
            print(module, missing, flush=True)
        os._exit(0)
    os.wait()
"""


def test_the_catalogue_is_that_of_the_modules() -> None:
    path = ROOT / "symgraph" / "ops" / "catalogue.py"
    command = "python -m symgraph.debug.catalogue > catalogue.py; mv catalogue.py symgraph/ops"
    assert path.read_text() == catalogue(), f"run: {command}"


def test_each_family_makes_what_is_announced() -> None:
    done = subprocess.run([sys.executable, "-c", ALONE], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_name_has_one_function() -> None:
    names = [n for table in FUNCTIONS.values() for n in table.split()]
    assert len(names) == len(set(names)) and set(names) == set(o.names())
    kinds = [n for table in OPS.values() for n in table.split()]
    assert len(kinds) == len(set(kinds)) and set(kinds) == set(ops)
    space = Namespace()
    space.enter("twice", len)
    space.enter("twice", len)
    with pytest.raises(TypeError, match="two functions are called 'twice'"):
        space.enter("twice", max)


def test_names_that_nobody_knows() -> None:
    with pytest.raises(AttributeError, match="no op or function is called 'nothing'"):
        o.nothing  # noqa: B018
    with pytest.raises(KeyError):
        ops["nothing"]
    with pytest.raises(AttributeError, match="module 'symgraph' has no attribute 'nothing'"):
        sg.nothing  # noqa: B018
    assert "nothing" not in o and "loop_pull_back" in o and not hasattr(sg, "loop_pull_back")


def test_public_names_are_seen_before_they_are_loaded() -> None:
    code = "import symgraph as sg; print('stft' in dir(sg), 'fft' in dir(sg), sg.fft.rfft.__name__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["True", "True", "rfft"], done.stderr
