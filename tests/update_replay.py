"""Record the hash of the code emitted for each sample graph: `python -m tests.update_replay`.

`--print` writes the hashes to the standard output instead, `--reversed` makes the samples in the
opposite order, which must not matter.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from symgraph.testing.samples import SAMPLES, emitted

RECORD = Path(__file__).with_name("golden") / "replay.json"
VECTOR_BYTES = 32


def hashes(backwards: bool = False) -> dict[str, str]:
    """Return the SHA-256 of the module text of every sample, for AVX2-wide vectors."""
    names = sorted(SAMPLES, reverse=backwards)
    found = {
        name: hashlib.sha256(emitted(SAMPLES[name](), VECTOR_BYTES).text.encode()).hexdigest()
        for name in names
    }
    return dict(sorted(found.items()))


def main(arguments: list[str]) -> None:
    """Write the record, or print it."""
    text = json.dumps(hashes("--reversed" in arguments), indent=1) + "\n"
    if "--print" in arguments:
        sys.stdout.write(text)
    else:
        RECORD.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
