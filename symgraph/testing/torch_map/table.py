"""The whole map: operators of PyTorch's database by name, and what each is here."""

from __future__ import annotations

from symgraph.testing.torch_map.activations import ACTIVATING
from symgraph.testing.torch_map.creation import CREATING
from symgraph.testing.torch_map.elementwise import ELEMENTWISE
from symgraph.testing.torch_map.entry import Entry, Reason, Row, as_entry
from symgraph.testing.torch_map.functions import SPECIAL
from symgraph.testing.torch_map.images import IMAGES
from symgraph.testing.torch_map.indexing import INDEXING
from symgraph.testing.torch_map.integers import INTEGERS
from symgraph.testing.torch_map.linear_algebra import LINEAR_ALGEBRA
from symgraph.testing.torch_map.losses import LOSSES
from symgraph.testing.torch_map.masks import MASKED
from symgraph.testing.torch_map.products import MULTIPLYING
from symgraph.testing.torch_map.reductions import REDUCING
from symgraph.testing.torch_map.sampling import SAMPLED
from symgraph.testing.torch_map.shapes import SHAPING
from symgraph.testing.torch_map.transforms import TRANSFORMS

TABLES: tuple[dict[str, Row], ...] = (
    ELEMENTWISE, SPECIAL, REDUCING, MASKED, SHAPING, INDEXING, CREATING, MULTIPLYING,
    LINEAR_ALGEBRA, TRANSFORMS, ACTIVATING, LOSSES, IMAGES, SAMPLED,
)  # fmt: skip


def merged() -> dict[str, Entry | Reason]:
    """Return all tables as one; ValueError where an operator stands in two."""
    rows: dict[str, Entry | Reason] = {}
    for table in TABLES:
        twice = rows.keys() & table.keys()
        if twice:
            raise ValueError(f"mapped twice: {sorted(twice)}")
        rows |= {name: _with_integers(name, as_entry(row)) for name, row in table.items()}
    return rows


def _with_integers(name: str, row: Entry | Reason) -> Entry | Reason:
    """Return a row with what is stated about samples of integers."""
    stated = INTEGERS.get(name)
    if stated is None or not isinstance(row, Entry):
        return row
    conventions = (*row.conventions, stated)
    return Entry(row.call, row.theirs, row.arrays, row.loose, row.why, conventions, row.order)
