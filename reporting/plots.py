"""Learning curves from metrics.csv.

    python -m reporting.plots runs/RUN/metrics.csv --out curve.png

Needs matplotlib (`pip install matplotlib`; it is in the lock file).
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from configs import MT10_TASKS, UsageError, exit_on_usage_error
from configs.command_line import parse_command

_KEYS = {"eval/success_rate": ""} | {f"eval/success_rate/{task}": task for task in MT10_TASKS}
_MAX_BYTES = 2**26
_MAX_COLUMNS = 1000


@dataclass(frozen=True)
class PlotCommand:
    """Plot the evaluation success rate of a run, per task and on average."""

    metrics: Annotated[Path, tyro.conf.Positional]
    """metrics.csv of a run."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("curve.png")
    """Picture to write; the ending decides the format."""


def read_curves(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Points (environment steps, success rate) by task; the mean under an empty name.

    Raises:
        UsageError: not a metrics.csv, or no evaluation in it yet.
    """
    curves: dict[str, list[tuple[int, float]]] = {}
    try:
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"not a file of at most {_MAX_BYTES} bytes")
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            columns = next(rows, [])
            if len(columns) > _MAX_COLUMNS:
                raise ValueError(f"more than {_MAX_COLUMNS} columns")
            tasks = {columns.index(key): task for key, task in _KEYS.items() if key in columns}
            step_column = columns.index("env_steps")
            for row in rows:
                for column, task in tasks.items():
                    if row[column]:
                        steps, rate = int(row[step_column]), float(row[column])
                        if not (0 <= rate <= 1 and 0 <= steps <= 2**53):
                            raise ValueError(f"success {rate:g} at step {row[step_column]:.20}")
                        curves.setdefault(task, []).append((steps, rate))
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise UsageError(f"{path}: not a metrics.csv ({error})") from error
    if not curves:
        raise UsageError(f"{path}: no evaluation in it yet")
    return curves


def plot(curves: dict[str, list[tuple[int, float]]], out: Path) -> None:
    """Mean curve in black, tasks in colour, and write the picture.

    Raises:
        UsageError: `out` has not the ending of a picture's format.
    """
    from matplotlib.figure import Figure  # heavy, and needed here only

    figure = Figure(figsize=(8, 4.2), layout="constrained")
    formats = figure.canvas.get_supported_filetypes()
    if out.suffix[1:] not in formats:
        raise UsageError(f"--out {out}: not a picture's ending; use one of {', '.join(formats)}")
    axes = figure.add_subplot()
    for index, (task, points) in enumerate(sorted(curves.items())):
        steps, rates = zip(*points, strict=True)
        axes.plot(
            [s / 1e6 for s in steps],
            rates,
            label=task or "mean of the tasks",
            color=f"C{index % 10}" if task else "black",
            linewidth=1.2 if task else 3.0,
        )
    axes.set(xlabel="environment steps [million]", ylabel="success rate", ylim=(-0.03, 1.03))
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
    figure.savefig(out, dpi=140)


def main() -> int:
    """The command: returns the exit code."""
    command = parse_command(PlotCommand, sys.argv[1:])
    plot(read_curves(command.metrics), command.out)
    print(command.out)
    return 0


if __name__ == "__main__":
    exit_on_usage_error(main)
