"""The code emitted for a graph is always the same text, and changes only when someone means it to.

After a change of the code generator that is meant: `python -m tests.update_replay`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import update_replay

from symgraph.core.dtype import INT64
from symgraph.loops.expr import Buffer
from symgraph.loops.interned import Builder
from symgraph.testing.samples import SAMPLES, emitted

ROOT = Path(__file__).parents[1]


def printed(seed: str, *options: str) -> dict[str, str]:
    """Return the hashes that a fresh process finds."""
    script = str(Path(__file__).with_name("update_replay.py"))
    command = [sys.executable, script, "--print", *options]
    environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_recorded_code_is_what_is_emitted() -> None:
    recorded = json.loads(update_replay.RECORD.read_text(encoding="utf-8"))
    found = update_replay.hashes()
    changed = [name for name in found if recorded.get(name) != found[name]]
    assert not changed and recorded.keys() == found.keys(), (
        f"the code of {changed} changed; if that is meant: python -m tests.update_replay"
    )


def test_code_depends_neither_on_hashes_nor_on_what_was_compiled_before() -> None:
    assert printed("1") == printed("2", "--reversed") == update_replay.hashes()


def test_another_program_has_another_hash() -> None:
    texts = {emitted(SAMPLES[name](), 32).text for name in SAMPLES}
    assert len(texts) == len(SAMPLES)
    assert emitted(SAMPLES["exp"](), 16).text != emitted(SAMPLES["exp"](), 32).text


def test_order_of_gathered_indices_is_that_of_their_making() -> None:
    """Terms of an address that loops tell apart no further: sorting them by address was a bug."""
    for _ in range(20):
        s = Builder()
        i = s.at(s.axis("i", 8))
        rows = [Buffer(f"k{k}", INT64, (8,), "input", k) for k in range(3)]
        parts = [s.as_index(s.load(b, i)) for b in rows]
        kept = [object() for _ in range(50)]  # moves what is allocated next
        total = s.iadd(s.iadd(parts[2], parts[0]), parts[1])
        names = [a.args[0].data.name for a in total.args]
        assert names == ["k0", "k1", "k2"], kept
