"""Charts of runs: success per task, learning curves, where the time went."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from configs import UsageError
from pages.contents import EvaluatedRun, Picture, Table
from reporting.plots import read_curves
from reporting.rows import read_rows

_PUBLISHED_COLUMNS = {"network", "run", "env_steps", "success_rate"}
_LINES = ("-", "--", ":", "-.")
_PARTS = ("simulate", "sample", "learn", "evaluate", "checkpoint", "other")

Curve = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Environment steps `[k]` and success `[k]`."""


def success_per_task(runs: Sequence[EvaluatedRun]) -> Picture:
    """A point with its interval for each task and run."""
    tasks = list(dict.fromkeys(task for run in runs for task in run.report["tasks"]))
    figure, axes = _axes(height=1.1 + 0.24 * len(tasks) * (1 + 0.3 * (len(runs) - 1)))
    rows: dict[str, list[str]] = {task: [task] for task in (*tasks, "mean")}
    for index, run in enumerate(runs):
        shift = (index - (len(runs) - 1) / 2) * 0.7 / len(runs)
        own = [(place, task) for place, task in enumerate(tasks) if task in run.report["tasks"]]
        found = [run.report["tasks"][task] for _, task in own]
        rates = np.array([task["success_rate"] for task in found])
        ends = np.array([task["success_rate_ci95"] for task in found])
        axes.errorbar(
            100 * rates,
            [place + shift for place, _ in own],
            xerr=100 * np.abs(ends.T - rates),
            fmt="osD^v"[index % 5],
            markersize=4,
            elinewidth=1,
            label=_legend_label(run.name),
        )
        for task in tasks:
            rows[task].append(_rate(run, task))
        low, high = run.report["mean_success_rate_ci95"]
        rows["mean"].append(_percent(run.report["mean_success_rate"], low, high))
    axes.set_yticks(range(len(tasks)), tasks)
    axes.set(xlim=(-3, 103), ylim=(len(tasks) - 0.5, -0.5), xlabel="success rate [%]")
    axes.grid(axis="x", alpha=0.3)
    _legend(figure, len(runs))
    means = ", ".join(f"{run.name} {run.report['mean_success_rate']:.1%}" for run in runs)
    return Picture(
        figure,
        f"Success rate of every task. Mean over tasks: {means}.",
        "Success of every task: the flag was set at any step. Bars are 95 % Wilson intervals over goals.",
        Table(("task", *(run.name for run in runs)), [tuple(row) for row in rows.values()]),
    )


def learning_curves(
    runs: Sequence[EvaluatedRun], published: Mapping[str, Sequence[Curve]]
) -> Picture | None:
    """Mean success in the evaluations while training; nothing where no run has any.

    Of tasks one after the other there is no such curve: most of their evaluations are of one task.
    """
    found = {
        run.name: _mean_curve(run.metrics)
        for run in runs
        if run.metrics is not None and run.config.env.schedule == "together"
    }
    curves = {name: curve for name, curve in found.items() if curve is not None}
    if not curves:
        return None
    entries = len(curves) + len(published)
    figure, axes = _axes(height=3.0 + 0.2 * entries * (entries > 1))
    for index, (name, (steps, rates)) in enumerate(curves.items()):
        style, label = _LINES[index % 4] if len(steps) > 1 else "o", _legend_label(name)
        axes.plot(
            steps / 1e6, 100 * rates, style, label=label, color=f"C{index % 7}", linewidth=1.8
        )
    for index, (network, lines) in enumerate(published.items()):
        label, style = f"{network} ({len(lines)} published runs)", _LINES[1 + index % 3]
        for number, (steps, rates) in enumerate(lines):
            named = _legend_label(label) if number == 0 else None
            axes.plot(steps / 1e6, 100 * rates, style, color="0.55", lw=0.7, label=named)
    axes.set(xlabel="environment steps, all tasks [million]", ylabel="mean success rate [%]")
    axes.set(ylim=(-3, 103))
    axes.grid(alpha=0.3)
    _legend(figure, entries)
    rows = [
        (f"{step:,}", *(_at(curve, step) for curve in curves.values()))
        for step in _thinned(curves.values())
    ]
    ends = ", ".join(f"{name} ends at {rates[-1]:.0%}" for name, (_, rates) in curves.items())
    return Picture(
        figure,
        f"Mean success against environment steps while training: {ends}.",
        f"Mean success in the evaluations while training, on {_goals([run for run in runs if run.name in curves])} of each task.",
        Table(("environment steps", *curves), rows),
    )


def read_published(path: Path) -> dict[str, list[Curve]]:
    """Published curves by network.

    Args:
        path: CSV with the columns network, run, env_steps, success_rate.

    Raises:
        UsageError: it is not such a file.
    """
    points: dict[tuple[str, str], list[tuple[int, float]]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = _PUBLISHED_COLUMNS - set(reader.fieldnames or ())
            if missing:
                raise ValueError(f"no column {', '.join(sorted(missing))}")
            for row in reader:
                point = int(row["env_steps"]), float(row["success_rate"])
                if not 0 <= point[1] <= 1:
                    raise ValueError(f"a success rate of {point[1]:g}")
                points.setdefault((row["network"], row["run"]), []).append(point)
        if not points:
            raise ValueError("no rows")
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise UsageError(f"--published {path}: not a file of curves ({error})") from error
    found: dict[str, list[Curve]] = {}
    for (network, _), line in points.items():
        steps, rates = zip(*line, strict=True)
        found.setdefault(network, []).append((np.array(steps), np.array(rates)))
    return found


def time_spent(runs: Sequence[EvaluatedRun]) -> Picture | None:
    """Where the wall-clock of the training went; nothing without any metrics.csv."""
    spent = {run.name: _time_of(run.metrics) for run in runs if run.metrics is not None}
    if not spent:
        return None
    figure, axes = _axes(height=1.3 + 0.35 * len(spent))
    left = np.zeros(len(spent))
    hatches = ("", "///", "", "...", "xxx", "\\\\")
    for index, part in enumerate(_PARTS):
        minutes = np.array([60 * hours[part] for hours in spent.values()])
        axes.barh(range(len(spent)), minutes, left=left, label=part, color=f"C{index}", height=0.6)
        for bar in axes.containers[-1]:
            bar.set_hatch(hatches[index])
        left += minutes
    axes.set_yticks(range(len(spent)), list(spent))
    axes.invert_yaxis()
    axes.set(xlabel="minutes of training")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    rows = [(part, *(f"{60 * hours[part]:.1f} min" for hours in spent.values())) for part in _PARTS]
    total = ", ".join(f"{name} {60 * sum(own.values()):.0f} minutes" for name, own in spent.items())
    return Picture(
        figure,
        f"Where the time of the training went, {total} in all.",
        "Where the wall-clock of the training went. Simulators play while the learner learns: "
        "'simulate' is the time in which the learner waited for them.",
        Table(("part", *spent), rows),
    )


def read_training(path: Path) -> None:
    """Raise `UsageError` if the page could not be made from this metrics.csv: before anything is played."""
    _mean_curve(path)
    _time_of(path)


def _mean_curve(path: Path) -> Curve | None:
    """Mean success; `None` before the first evaluation, and where the file has no such column."""
    points = read_curves(path).get("")
    if not points:
        return None
    steps, rates = zip(*points, strict=True)
    return np.array(steps), np.array(rates)


def _time_of(path: Path) -> dict[str, float]:
    """Hours of each part: its fraction of the time between two rows, summed over the rows."""
    hours, before = dict.fromkeys(_PARTS, 0.0), 0.0
    try:
        for row in read_rows(path):
            if not row.get("time/elapsed_hours"):
                continue
            now = float(row["time/elapsed_hours"])
            for part in _PARTS:
                hours[part] += (now - before) * float(row.get(f"time/fraction_{part}") or 0)
            before = now
    except (ValueError, csv.Error) as error:
        raise UsageError(f"{path}: not a metrics.csv ({error})") from error
    return hours


def _axes(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.2, height), layout="constrained")
    return figure, figure.subplots()


def _legend_label(name: str) -> str:
    """Matplotlib leaves names out of a legend that begin with `_`: a space of no width goes before it."""
    return f"\u200b{name}" if name.startswith("_") else name


def _legend(figure: Figure, entries: int) -> None:
    if entries > 1:
        figure.legend(frameon=False, fontsize=8, loc="outside lower center")


def _rate(run: EvaluatedRun, task: str) -> str:
    if task not in run.report["tasks"]:
        return ""
    own = run.report["tasks"][task]
    return _percent(own["success_rate"], *own["success_rate_ci95"])


def _percent(rate: float, low: float, high: float) -> str:
    return f"{rate:.1%} ({low:.1%} to {high:.1%})"


def _thinned(curves: Iterable[Curve], most: int = 20) -> list[int]:
    """Up to so many steps of the curves, evenly spread, with the last."""
    steps = np.unique(np.concatenate([steps for steps, _ in curves]))
    picked = np.linspace(0, len(steps) - 1, min(most, len(steps))).round().astype(int)
    return [int(step) for step in steps[picked]]


def _goals(runs: Sequence[EvaluatedRun]) -> str:
    """Of an evaluation while training, for a caption."""
    numbers = sorted({run.config.evaluation.goals for run in runs})
    return f"{' or '.join(map(str, numbers))} goal{'' if numbers == [1] else 's'}"


def _at(curve: Curve, step: int) -> str:
    steps, rates = curve
    place = np.flatnonzero(steps == step)
    return f"{rates[place[0]]:.1%}" if len(place) else ""
