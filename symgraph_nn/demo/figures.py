"""The picture of the learning curves."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np

from symgraph_nn.train import History

COLOURS = ("#0072b2", "#d55e00")  # Okabe and Ito's blue and vermilion


def learning_curves(runs: dict[str, list[History]], source: str, path: Path) -> Path:
    """Draw loss and test accuracy over epochs; thin lines are seeds, the thick one their median."""
    plot = _pyplot()
    figure, axes = plot.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for (title, histories), colour in zip(runs.items(), COLOURS, strict=False):
        for ax, values in (
            (axes[0], [h.loss for h in histories]),
            (axes[1], [[100 * m for m in h.metrics] for h in histories]),
        ):
            epochs = np.arange(1, len(values[0]) + 1)
            for line in values:
                ax.plot(epochs, line, color=colour, alpha=0.3, lw=0.9)
            label = f"{title} ({len(values)} seed{'s' if len(values) > 1 else ''})"
            ax.plot(epochs, np.median(values, axis=0), color=colour, lw=2, label=label)
    axes[0].set(title="Training loss", xlabel="epoch", ylabel="cross-entropy (nats)", yscale="log")
    # The first epochs are far below: the scale begins where the slower net is after the second.
    low = min(
        100 * np.median([h.metrics[min(1, len(h.metrics) - 1)] for h in r]) for r in runs.values()
    )
    axes[1].set(title="Test accuracy", xlabel="epoch", ylabel="right answers (%)")
    axes[1].set_ylim(max(0, min(low - 2, 94)), 100)
    axes[1].axhline(97, color="#777777", lw=0.8, ls="--")
    axes[1].annotate(
        "97 %", (1, 97), (2, 2), textcoords="offset points", color="#555555", fontsize=9
    )
    for ax in axes:
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, loc="lower right" if ax is axes[1] else "upper right")
        ax.xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle(f"Data: {source}", fontsize=10, color="#444444")
    figure.savefig(path, dpi=130)
    plot.close(figure)
    return path


def _pyplot() -> ModuleType:
    """Import matplotlib (heavy), drawing to files only."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot

    return matplotlib.pyplot
