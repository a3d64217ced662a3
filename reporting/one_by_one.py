"""What a run keeps of tasks learned one after the other: the matrix R, and how fast each was learned.

Everything is read from metrics.csv, which a resumed run goes on with byte for byte. All tasks are evaluated
at the end of each task's phase: a row of R. Within the phase the task itself is evaluated now and then: its
curve, whose area says how fast it was learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from configs.errors import UsageError
from configs.schema import Config
from continual.metrics import measures
from reporting.plots import Curves, read_curves
from reporting.report import OneByOne

SCENARIO = "task-incremental: the task is known in training and at test; one network, one head"
"""In the terms of van de Ven & Tolias 2019 (arXiv 1904.07734): the networks are given the task's one-hot."""


def measure_phases(folder: Path, config: Config, env_steps: int) -> OneByOne:
    """The part of a run's report; nothing for tasks together, or before the first phase has ended.

    Args:
        folder: of the run.
        config: of the run.
        env_steps: that the run has made.

    Raises:
        UsageError: metrics.csv is missing, or lacks an evaluation of a phase that has ended.
    """
    env = config.env
    ended = env_steps // env.steps_per_task
    if env.schedule == "together" or not ended:
        return {}
    tasks, path = env.task_names[:ended], folder / "metrics.csv"
    matrix = success_matrix(path, tasks, env.steps_per_task)
    areas = [
        area_of(path, task, index * env.steps_per_task, env.steps_per_task)
        for index, task in enumerate(tasks)
    ]
    part: OneByOne = {"scenario": SCENARIO, "matrix": matrix.tolist(), "areas": areas}
    found = measures(matrix)
    part["acc"] = found["acc"]
    if ended > 1:
        part["bwt"], part["forgetting"] = found["bwt"], found["forgetting"]
        part["min_acc"] = found["min_acc"]
    return part


def success_matrix(path: Path, tasks: Sequence[str], steps_per_task: int) -> NDArray[np.float64]:
    """R `[T, T]`: success on task j, in the evaluation at the end of the phase of task i.

    Args:
        path: metrics.csv.
        tasks: those whose phase has ended, in order.
        steps_per_task: environment steps of a phase.

    Raises:
        UsageError: an evaluation is not there.
    """
    at = {task: dict(curve) for task, curve in read_curves(path).items()}
    ends = [(index + 1) * steps_per_task for index in range(len(tasks))]
    try:
        return np.array([[at[task][end] for task in tasks] for end in ends])
    except KeyError as error:
        raise UsageError(f"{path}: no evaluation of all tasks at the end of each phase") from error


def area_of(path: Path, task: str, begins: int, length: int) -> float:
    """The area under a task's success curve, as a fraction of its largest.

    The curve is straight between evaluations, and begins at 0: a task that nothing was learned of yet.

    Args:
        path: metrics.csv.
        task: its name.
        begins: environment steps of the run before the first of the curve.
        length: of the curve [environment steps].

    Raises:
        UsageError: the last evaluation is before the end of the curve.
    """
    curve = [(step, rate) for step, rate in _curve(path, task) if step > begins]
    end = begins + length
    if not curve or curve[-1][0] < end:
        raise UsageError(f"{path}: no evaluation of {task} at step {end} or later")
    steps, rates = np.array([(begins, 0.0), *curve]).T
    at = np.append(steps[steps < end], end)
    return float(np.trapezoid(np.interp(at, steps, rates), at) / length)


def _curve(path: Path, task: str) -> list[tuple[int, float]]:
    curves: Curves = read_curves(path)
    return curves.get(task, [])
