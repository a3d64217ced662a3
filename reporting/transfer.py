"""Forward transfer of a run whose tasks come one after the other, as Continual World defines it.

    python -m reporting.transfer runs/RUN runs/first-*

How fast a task is learned after others is set against how fast it is learned when nothing came before. A
reference run of a task is one whose order begins with it; its first phase alone is needed. It has the same
tasks, so its networks are as large, its learning rates fall over as many steps, and it is measured as often, at the
same steps of a phase: `evaluation.interval_env_steps` has to divide `env.steps_per_task`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from configs import UsageError, exit_on_error
from configs.command_line import parse_command
from configs.loading import parse_recorded_config
from configs.plain_yaml import read_yaml
from configs.schema import Config
from configs.settings import flatten
from continual.metrics import continual_world
from reporting.report import Report, read_report

_MAY_DIFFER = (
    *("seed", "total_env_steps", "env.tasks", "evaluation.report_goals", "recording.", "machine."),
    *("replay.rehearsal", "protection.", "agent.protects", "training.reset_optimizer"),
)
"""Settings, or beginnings of them. The last four do nothing in a first phase."""


@dataclass(frozen=True)
class TransferCommand:
    """Print average performance, forgetting and forward transfer (arXiv 2105.10919)."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a run whose tasks came one after the other."""
    references: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of runs that begin with its tasks, one for each task or more."""


def forward_transfer(run: Path, references: Sequence[Path]) -> dict[str, float]:
    """Continual World's measures of a run, beside reference runs that begin with each of its tasks.

    Args:
        run: folder of a finished run, one task after the other.
        references: folders of runs of the same settings, whose first phase is over; where several begin
            with a task, the mean counts.

    Returns:
        average_performance, forgetting and forward_transfer (continual/metrics.py).

    Raises:
        UsageError: a folder has no run in phases, a reference has other settings than the run, or a task
            has no reference.
    """
    report, config = _read(run)
    if config.env.steps_per_task % config.evaluation.interval_env_steps:
        raise UsageError(
            f"{run}: evaluation.interval_env_steps is {config.evaluation.interval_env_steps}, which does not divide "
            f"env.steps_per_task = {config.env.steps_per_task}; so phases were measured at other steps than first ones"
        )
    tasks = config.env.task_names[: len(report["matrix"])]
    areas: dict[str, list[float]] = {task: [] for task in tasks}
    for folder in references:
        reference, settings = _read(folder)
        _require_same(config, settings, run, folder)
        first = settings.env.task_names[0]
        if first in areas:
            areas[first].append(reference["areas"][0])
    for task, found in areas.items():
        if not found:
            raise UsageError(
                f"{run}: no reference run begins with {task}; train one, with {task} first in --env.tasks"
            )
    alone = [float(np.mean(areas[task])) for task in tasks]
    return continual_world(report["matrix"], report["areas"], alone)


def _read(folder: Path) -> tuple[Report, Config]:
    settings = folder / "config.yaml"
    config = parse_recorded_config(read_yaml(settings), str(settings))
    report = read_report(folder / "report.json")
    if config.env.schedule != "one_by_one":
        raise UsageError(f"{folder}: its tasks were not learned one after the other")
    matrix, areas = report.get("matrix", []), report.get("areas", [])
    if not matrix:
        raise UsageError(f"{folder}: its first phase is not over; resume it")
    if not len(matrix) == len(areas) == len(config.env.task_names[: len(matrix)]) or any(
        len(row) != len(matrix) for row in matrix
    ):
        raise UsageError(f"{folder}/report.json: matrix and areas are not those of such a run")
    return report, config


def _require_same(config: Config, other: Config, run: Path, folder: Path) -> None:
    if sorted(config.env.task_names) != sorted(other.env.task_names):
        raise UsageError(f"{folder}: has other tasks than {run}; only their order may differ")
    mine = dict(flatten(asdict(config)))
    for key, value in flatten(asdict(other)):
        if value != mine[key] and not key.startswith(_MAY_DIFFER):
            raise UsageError(f"{folder}: {key} is {value!r}, {run} has {mine[key]!r}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: returns the exit code. `arguments` are those of the command line by default."""
    command = parse_command(TransferCommand, sys.argv[1:] if arguments is None else arguments)
    for name, value in forward_transfer(command.run, command.references).items():
        print(f"{name.replace('_', ' '):20} {value:+.3f}")
    return 0


if __name__ == "__main__":
    exit_on_error(main)
