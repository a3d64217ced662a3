"""Robots' tasks one by one: which of them make the difference between arms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pages.contents import Picture, Table
from reporting.rows import read_rows
from sweeps.results import MEASURES, Result

NOT_LEARNED = 0.5
"""A task counts as not learned with less success than this at the end."""
_MOST_NUMBERS = 12
"""Tasks up to which the cells hold their numbers."""
_DARK = 0.45
"""Success below which a cell's colour needs white numbers."""


@dataclass(frozen=True)
class TaskResult:
    """One task in one run: a row of tasks.csv.

    Attributes:
        arm: name.
        seed: of the run.
        task: name.
        area: mean of its curve over the run, a fraction.
        final: success in the report, a fraction.
    """

    arm: str
    seed: int
    task: str
    area: float
    final: float


def task_results(results: Sequence[Result]) -> list[TaskResult]:
    """Of all tasks of all runs, in the order of the runs; none of images, whose tasks are all of one kind."""
    return [
        TaskResult(result.run.arm, result.run.seed, task, *found)
        for result in results
        for task, found in result.tasks.items()
    ]


def read_task_results(path: Path) -> list[TaskResult]:
    """From a tasks.csv."""
    return [
        TaskResult(
            row["arm"], int(row["seed"]), row["task"], float(row["area"]), float(row["final"])
        )
        for row in read_rows(path)
    ]


def heat_map(found: Sequence[TaskResult], measure: str) -> Picture:
    """Means over seeds: a row for each task, a column for each arm.

    Args:
        found: at least one.
        measure: `area` or `final`.
    """
    rates = _rates(found, measure)
    tasks, arms = (list(dict.fromkeys(names)) for names in zip(*rates, strict=True))
    means = np.array([[rates[task, arm].mean() for arm in arms] for task in tasks])
    in_words = MEASURES[measure]
    caption = f"Success on each task, {in_words}, in per cent. Means over an arm's runs."
    if measure == "final":
        caption += f" In the table: how many runs end below {NOT_LEARNED:.0%} on a task."
    return Picture(
        _draw(means, tasks, arms),
        f"Success on {len(tasks)} tasks of {len(arms)} arms, {in_words}.",
        caption,
        task_table(found, measure),
    )


def task_table(found: Sequence[TaskResult], measure: str) -> Table:
    """The numbers of the heat map; at the end, also how many runs have not learned a task."""
    rates = _rates(found, measure)
    tasks, arms = (list(dict.fromkeys(names)) for names in zip(*rates, strict=True))
    rows = [(task, *(_cell(rates[task, arm], measure) for arm in arms)) for task in tasks]
    return Table(("task", *arms), rows)


def _rates(found: Sequence[TaskResult], measure: str) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Task and arm -> its runs' success `[n]`."""
    rates: dict[tuple[str, str], list[float]] = defaultdict(list)
    for one in found:
        rates[one.task, one.arm].append(getattr(one, measure))
    return {cell: np.array(own) for cell, own in rates.items()}


def _cell(rates: NDArray[np.float64], measure: str) -> str:
    below = np.count_nonzero(rates < NOT_LEARNED)
    return f"{rates.mean():.1%}" + (
        f" ({below} of {len(rates)})" if measure == "final" and below else ""
    )


def _draw(means: NDArray[np.float64], tasks: Sequence[str], arms: Sequence[str]) -> Figure:
    """Of means `[T, A]`."""
    figure = Figure(figsize=(2.9 + 0.72 * len(arms), 1.2 + 0.3 * len(tasks)), layout="constrained")
    axes = figure.subplots()
    cells = axes.imshow(100 * means, vmin=0, vmax=100, cmap="viridis", aspect="auto")
    figure.colorbar(cells, ax=axes, label="success [%]")
    axes.set_xticks(range(len(arms)), arms, rotation=30, ha="right")
    axes.set_yticks(range(len(tasks)), tasks)
    if len(tasks) <= _MOST_NUMBERS:
        for (row, column), mean in np.ndenumerate(means):
            colour = "white" if mean < _DARK else "black"
            text = f"{100 * mean:.0f}"
            axes.text(column, row, text, color=colour, ha="center", va="center", fontsize=8)
    return figure
