"""The figures of the documents. Needs matplotlib (it is in the lock file)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from configs import MT10
from docs.build.published import Curve
from docs.build.runs import Run

# Iyer et al. 2022: 15 million environment steps in 26.5 hours on one GPU.
_PUBLISHED_STEPS_PER_HOUR = 15e6 / 26.5
# Label, colour, and whether its time is known.
_PUBLISHED = {
    "active_dendrites": ("Iyer et al.: active dendrites, one goal per task", "C0", True),
    "mlp": ("Iyer et al.: MLP, one goal per task", "0.5", True),
    "brc": ("BRC: these ten tasks in its run on fifty", "C4", False),
}

_OURS = ("C1", "C3", "C2", "C5")  # those that the published curves leave


def draw_on_published(name: str, runs: list[Run], published: dict[str, Curve], out: Path) -> None:
    """Success against environment steps and against hours, ours on the published curves.

    The published curves are of MT10, and left out where the runs are of other tasks.

    Args:
        name: preset of our runs.
        runs: all on the same tasks.
        published: by network.
        out: picture to write.
    """
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    by_steps, by_hours = figure.subplots(1, 2, sharey=True)
    if set(runs[0].tasks) == set(MT10):
        _draw_published(by_steps, by_hours, published)
    for index, run in enumerate(runs):
        colour = _OURS[index % len(_OURS)]
        label = f"{name.replace('_', ' ')}, seed {run.seed}"
        by_steps.plot(run.env_steps / 1e6, run.success, color=colour, linewidth=2.0, label=label)
        by_hours.plot(run.hours, run.success, color=colour, linewidth=2.0)
    _label_axes(by_steps, by_hours, len(runs[0].tasks))
    by_steps.set(xscale="log", xlim=(0.09, None))
    hours = "wall-clock [hours]: ours 2 CPU cores, Iyer et al. 1 GPU"
    by_hours.set(xscale="log", xlim=(0.01, None), xlabel=hours)
    for axes in (by_steps, by_hours):
        axes.xaxis.set_major_formatter("{x:g}")
    figure.legend(*by_steps.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.savefig(out, dpi=130)


def _draw_published(by_steps: Axes, by_hours: Axes, published: dict[str, Curve]) -> None:
    """Mean and standard deviation of each published agent's runs."""
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


def draw_comparison(runs: dict[str, list[Run]], out: Path) -> None:
    """Success of several networks, by label, against steps and hours; the seeds behind the means."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    by_steps, by_hours = figure.subplots(1, 2, sharey=True)
    for index, (label, own) in enumerate(runs.items()):
        colour = f"C{index}"
        for run in own:
            by_steps.plot(run.env_steps / 1e6, run.success, color=colour, linewidth=0.7, alpha=0.4)
            by_hours.plot(run.hours, run.success, color=colour, linewidth=0.7, alpha=0.4)
        steps, hours, success = (
            np.mean([getattr(run, column) for run in own], axis=0)
            for column in ("env_steps", "hours", "success")
        )
        by_steps.plot(steps / 1e6, success, color=colour, linewidth=2.2, label=label)
        by_hours.plot(hours, success, color=colour, linewidth=2.2)
    _label_axes(by_steps, by_hours, len(next(iter(runs.values()))[0].tasks))
    by_hours.set(xlabel="wall-clock [hours], two runs side by side on 2 CPU cores")
    figure.legend(*by_steps.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(out, dpi=130)


def _label_axes(by_steps: Axes, by_hours: Axes, num_tasks: int) -> None:
    steps = f"environment steps, all {num_tasks} tasks [million]"
    by_steps.set(xlabel=steps, ylabel="mean success rate", ylim=(-0.02, 1.02))
    for axes in (by_steps, by_hours):
        axes.grid(alpha=0.3)


def draw_soak(samples: dict[str, NDArray[np.float64]], out: Path) -> None:
    """Memory, speed, files and disk of a run against hours.

    Args:
        samples: columns of tests/stress/soak.py, each `[k]`.
        out: picture to write.
    """
    panels = (
        ("memory [MB]", {"trainer_mb": "trainer", "workers_mb": "simulators"}),
        ("environment steps/s", {"env_steps_per_second": "speed"}),
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
