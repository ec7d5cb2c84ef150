"""symgraph_rl: reinforcement learning on symgraph. This version reserves the name and holds nothing."""

from __future__ import annotations

__all__: list[str] = []
