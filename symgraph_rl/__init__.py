"""symgraph_rl: reinforcement learning on symgraph. This version holds nothing but the name."""

from __future__ import annotations

__all__: list[str] = []
