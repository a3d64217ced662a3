"""The figures of the documents. Needs matplotlib (it is in the lock file)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

Steps = NDArray[np.int64]
Rates = NDArray[np.float64]

# Iyer et al. 2022: 15 million environment steps in 26.5 hours on one GPU.
_PUBLISHED_STEPS_PER_HOUR = 15e6 / 26.5
# Label, colour, and whether its time is known.
_PUBLISHED = {
    "active_dendrites": ("Iyer et al.: active dendrites, one goal per task", "C0", True),
    "mlp": ("Iyer et al.: MLP, one goal per task", "C7", True),
    "brc": ("BRC: these ten tasks in its run on fifty", "C4", False),
}

_OURS = ("C1", "C3", "C2", "C5", "C6")  # those that the published curves leave


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
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    by_steps, by_hours = figure.subplots(1, 2, sharey=True)
    for network, (steps, success) in published.items():
        label, colour, has_hours = _PUBLISHED[network]
        mean, spread = success.mean(axis=0), success.std(axis=0, ddof=1)
        panels: list[tuple[Axes, NDArray]] = [(by_steps, steps / 1e6)]
        if has_hours:
            panels.append((by_hours, steps / _PUBLISHED_STEPS_PER_HOUR))
        for axes, x in panels:
            axes.plot(x, mean, color=colour, linewidth=1.2, label=label)
            axes.fill_between(
                x, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0
            )
    for index, (seed, steps, hours, rates) in enumerate(runs):
        style = {
            "color": _OURS[index % len(_OURS)],
            "linewidth": 2.0,
            "label": f"{name}, seed {seed}, 50 goals per task",
        }
        by_steps.plot(steps / 1e6, rates, **style)
        by_hours.plot(hours, rates, **style)
    by_steps.set(
        xscale="log",
        xlabel="environment steps, all ten tasks [million]",
        ylabel="mean success rate",
    )
    by_hours.set(xscale="log", xlabel="wall-clock [hours]: ours 2 CPU cores, Iyer et al. 1 GPU")
    by_steps.set_xlim(left=0.09)
    by_hours.set_xlim(left=0.02)
    for axes in (by_steps, by_hours):
        axes.set(ylim=(-0.02, 1.02))
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_formatter("{x:g}")
    figure.legend(*by_steps.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.savefig(out, dpi=130)


def draw_comparison(
    runs: dict[str, list[tuple[Steps, Rates, Rates]]],
    out: Path,
) -> None:
    """Success of several networks against environment steps and against hours, the seeds behind.

    Args:
        runs: environment steps `[k]`, hours `[k]` and success rate `[k]` of each run, by label.
        out: picture to write.
    """
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    by_steps, by_hours = figure.subplots(1, 2, sharey=True)
    for index, (label, own) in enumerate(runs.items()):
        colour = f"C{index}"
        for steps, hours, rates in own:
            by_steps.plot(steps / 1e6, rates, color=colour, linewidth=0.7, alpha=0.4)
            by_hours.plot(hours, rates, color=colour, linewidth=0.7, alpha=0.4)
        steps, hours, rates = (np.mean(values, axis=0) for values in zip(*own, strict=True))
        by_steps.plot(steps / 1e6, rates, color=colour, linewidth=2.2, label=label)
        by_hours.plot(hours, rates, color=colour, linewidth=2.2)
    by_steps.set(
        xlabel="environment steps, all ten tasks [million]",
        ylabel="mean success rate",
        ylim=(-0.02, 1.02),
    )
    by_hours.set(xlabel="wall-clock [hours], two runs side by side on 2 CPU cores")
    for axes in (by_steps, by_hours):
        axes.grid(alpha=0.3)
    figure.legend(*by_steps.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(out, dpi=130)


def draw_soak(samples: dict[str, Rates], out: Path) -> None:
    """Memory, speed, files and disk of a run against hours.

    Args:
        samples: columns of reliability/soak.py, each `[k]`.
        out: picture to write.
    """
    panels = (
        ("memory [MB]", {"trainer_mb": "trainer", "workers_mb": "simulators"}),
        ("environment steps per second", {"env_steps_per_second": "speed"}),
        ("open files, processes", {"open_files": "open files", "processes": "processes"}),
        ("on disk [MB]", {"run_folder_mb": "run folder"}),
    )
    figure = Figure(figsize=(10, 5), layout="constrained")
    for axes, (label, columns) in zip(figure.subplots(2, 2, sharex=True).flat, panels, strict=True):
        for column, name in columns.items():
            axes.plot(samples["hours"], samples[column], label=name)
        axes.set(ylabel=label)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        if len(columns) > 1:
            axes.legend(frameon=False)
    figure.supxlabel("hours")
    figure.savefig(out, dpi=110)
