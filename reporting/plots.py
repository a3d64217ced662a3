"""Learning curves from metrics.csv.

    python -m reporting.plots runs/RUN/metrics.csv --out curve.png

Up to ten tasks are lines in one picture; more are rows of a heat map, below the mean of all. Needs
matplotlib (`pip install matplotlib`; it is in the lock file).
"""

from __future__ import annotations

import csv
import re
import sys
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro

from configs import UsageError, exit_on_error
from configs.command_line import parse_command

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_MEAN = "eval/success_rate"
_TASK = re.compile(rf"{_MEAN}/([\w.+-]{{1,100}})")
_MAX_BYTES = 2**26
_MAX_COLUMNS = 2000
_MAX_TASKS = 50
_MOST_LINES = 10  # as many colours as can be told apart

Curves = dict[str, list[tuple[int, float]]]
"""Points (environment steps, success rate) by task, in the file's order; the mean of all under ""."""


@dataclass(frozen=True)
class PlotCommand:
    """Plot the evaluation success rate of a run, per task and on average."""

    metrics: Annotated[Path, tyro.conf.Positional]
    """metrics.csv of a run."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("curve.png")
    """Picture to write; the ending decides the format."""


def read_curves(path: Path) -> Curves:
    """The curves of a metrics.csv, which may be written to at this moment; a task without an evaluation is left out.

    Raises:
        UsageError: not a metrics.csv.
    """
    curves: Curves = {}
    try:
        if path.is_dir():
            raise ValueError(f"a folder; give {path / 'metrics.csv'}")
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"not a file of at most {_MAX_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
        rows = csv.reader(StringIO(text[: text.rfind("\n") + 1], newline=""))  # whole lines
        columns = next(rows, [])
        if "env_steps" not in columns:
            raise ValueError("no column env_steps; only runs of train_mt10.py have these curves")
        found, step_column = _find_columns(columns), columns.index("env_steps")
        for row in rows:
            # One task after the other, the "mean" is of the one task that plays.
            all_played = all(row[column] for task, column in found.items() if task)
            for task, column in found.items():
                if row[column] and (task or all_played):
                    point = _read_point(row[step_column], row[column])
                    curves.setdefault(task, []).append(point)
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise UsageError(f"{path}: not a metrics.csv ({error})") from error
    return curves


def _find_columns(columns: list[str]) -> dict[str, int]:
    """Where each task's success rate stands, and the mean's under an empty name."""
    if len(columns) > _MAX_COLUMNS:
        raise ValueError(f"more than {_MAX_COLUMNS} columns")
    found: dict[str, int] = {}
    for column, key in enumerate(columns):
        task = _TASK.fullmatch(key)
        if task or key == _MEAN:
            found.setdefault(task[1] if task else "", column)
    if len(found.keys() - {""}) > _MAX_TASKS:
        raise ValueError(f"more than {_MAX_TASKS} tasks")
    return found


def _read_point(steps: str, rate: str) -> tuple[int, float]:
    point = int(steps), float(rate)
    if not (0 <= point[1] <= 1 and 0 <= point[0] <= 2**53):
        raise ValueError(f"success {point[1]:g} at step {steps:.20}")
    return point


def plot(curves: Curves, out: Path) -> None:
    """Draw the curves and write the picture.

    Raises:
        UsageError: `out` has not the ending of a picture's format.
    """
    from matplotlib.figure import Figure  # heavy, and needed here only

    tasks = {task: points for task, points in curves.items() if task}
    mean = curves.get("", [])
    figure = Figure(layout="constrained")
    formats = figure.canvas.get_supported_filetypes()
    if out.suffix[1:] not in formats:
        raise UsageError(f"--out {out}: not a picture's ending; use one of {', '.join(formats)}")
    if len(tasks) <= _MOST_LINES:
        _draw_lines(figure, tasks, mean)
    else:
        _draw_heat_map(figure, tasks, mean)
    figure.savefig(out, dpi=140)


def _draw_lines(figure: Figure, tasks: Curves, mean: list[tuple[int, float]]) -> None:
    """Every task in its colour, the mean in black on top of them."""
    figure.set_size_inches(8, 4.2)
    axes = figure.add_subplot()
    for index, (task, points) in enumerate(tasks.items()):
        _draw_curve(axes, points, label=task, color=f"C{index}", linewidth=1.2)
    _draw_mean(axes, mean)
    axes.set(xlabel="environment steps [million]", ylabel="success rate")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)


def _draw_heat_map(figure: Figure, tasks: Curves, mean: list[tuple[int, float]]) -> None:
    """The mean above; below it a row for each task, the best at the end on top."""
    names, steps, rates = _as_grid(tasks)
    height = 0.165 * len(names)  # [inches] as much as the smallest readable label
    figure.set_size_inches(9, 2.6 + height)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, height))
    _draw_mean(above, mean)
    above.set(ylabel="success rate", title=f"mean of the {len(names)} tasks")
    mesh = below.pcolormesh(
        _edges(steps / 1e6), np.arange(len(names) + 1), rates, vmin=0, vmax=1, cmap="viridis"
    )
    below.invert_yaxis()
    middles = np.arange(len(names)) + 0.5
    below.set_yticks(middles, names, fontsize=8)
    below.tick_params(axis="y", length=0)
    below.set(xlabel="environment steps [million]")
    at_the_end = below.secondary_yaxis("right")
    labels = ["" if np.isnan(rate) else f"{rate:.0%}" for rate in rates[:, -1]]
    at_the_end.set_yticks(middles, labels, fontsize=8)
    at_the_end.tick_params(axis="y", length=0)
    bar = figure.colorbar(mesh, ax=below, location="bottom", aspect=60, pad=0.01)
    bar.set_label("success rate; at the right: in the last evaluation")


def _draw_mean(axes: Axes, mean: list[tuple[int, float]]) -> None:
    if mean:
        _draw_curve(axes, mean, label="mean of the tasks", color="black", linewidth=3.0)
    axes.set(ylim=(-0.03, 1.03))
    axes.grid(alpha=0.3)


def _draw_curve(axes: Axes, points: list[tuple[int, float]], **style: Any) -> None:
    """A line; a dot while there is one point only."""
    x, y = [steps / 1e6 for steps, _ in points], [rate for _, rate in points]
    axes.plot(x, y, marker="o" if len(points) == 1 else None, **style)


def _as_grid(tasks: Curves) -> tuple[list[str], NDArray[np.int64], NDArray[np.float64]]:
    """Names by falling success at the end, steps `[k]`, and success `[tasks, k]`, NaN where unknown."""
    steps = sorted({step for points in tasks.values() for step, _ in points})
    place = {step: index for index, step in enumerate(steps)}
    rates = np.full((len(tasks), len(steps)), np.nan)
    for row, points in zip(rates, tasks.values(), strict=True):
        for step, rate in points:
            row[place[step]] = rate
    # Tasks that are equal at the end are sorted by the last fifth of the run, then by all of it.
    last = max(1, len(steps) // 5)
    keys = np.nan_to_num([rates.mean(axis=1), rates[:, -last:].mean(axis=1), rates[:, -1]])
    order = np.lexsort(keys)[::-1]
    return [list(tasks)[row] for row in order], np.array(steps), rates[order]


def _edges(middles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ends `[k + 1]` of the cells around each of `middles [k]`."""
    between = (middles[1:] + middles[:-1]) / 2
    first, last = (0.5, 0.5) if len(middles) == 1 else np.diff(middles)[[0, -1]] / 2
    return np.concatenate([[middles[0] - first], between, [middles[-1] + last]])


def main() -> int:
    """The command: returns the exit code."""
    command = parse_command(PlotCommand, sys.argv[1:])
    curves = read_curves(command.metrics)
    if not curves:
        raise UsageError(f"{command.metrics}: no evaluation in it yet")
    plot(curves, command.out)
    print(command.out)
    return 0


if __name__ == "__main__":
    exit_on_error(main)
