"""The figures of the documents. Needs matplotlib (it is in the lock file)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

Steps = NDArray[np.int64]
Rates = NDArray[np.float64]

# Iyer et al. 2022: 15 million environment steps in 26.5 hours on one GPU.
_PUBLISHED_HOURS_PER_STEP = 26.5 / 15e6
_PUBLISHED = {
    "active_dendrites": ("published: active dendrites, one goal per task", "C0"),
    "mlp": ("published: MLP, one goal per task", "C7"),
}


def draw_on_published(
    name: str,
    runs: list[tuple[int, Steps, Rates, Rates]],
    published: dict[str, tuple[Steps, Rates]],
    out: Path,
) -> None:
    """Success against environment steps and against hours, ours on the published curves.

    Args:
        name: preset of our runs.
        runs: seed, environment steps `[k]`, hours `[k]`, success rate `[k]` of each of our runs.
        published: environment steps `[k]` and success `[runs, k]` by network.
        out: picture to write.
    """
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    by_steps, by_hours = figure.subplots(1, 2, sharey=True)
    for network, (steps, success) in published.items():
        label, colour = _PUBLISHED[network]
        mean, spread = success.mean(axis=0), success.std(axis=0, ddof=1)
        for axes, x in (
            (by_steps, steps / 1e6),
            (by_hours, steps * _PUBLISHED_HOURS_PER_STEP),
        ):
            axes.plot(x, mean, color=colour, linewidth=1.2, label=label)
            axes.fill_between(
                x, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0
            )
    for index, (seed, steps, hours, rates) in enumerate(runs):
        style = {
            "color": f"C{1 + index}",
            "linewidth": 2.0,
            "label": f"{name}, seed {seed}, 50 goals per task",
        }
        by_steps.plot(np.r_[0, steps] / 1e6, np.r_[0, rates], **style)
        by_hours.plot(hours, rates, **style)
    by_steps.set(xlabel="environment steps [million]", ylabel="mean success rate")
    by_hours.set(xscale="log", xlabel="wall-clock [hours]: ours 2 CPU cores, published 1 GPU")
    for axes in (by_steps, by_hours):
        axes.set(ylim=(-0.02, 1.02))
        axes.grid(alpha=0.3)
    by_steps.legend(loc="lower right", frameon=True, fontsize=8)
    figure.savefig(out, dpi=130)
