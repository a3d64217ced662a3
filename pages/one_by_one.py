"""What a run kept of tasks that it learned one after the other: the matrix R in a picture."""

from __future__ import annotations

import numpy as np

from configs import UsageError
from continual.matrix_files import heat_map
from continual.metrics import measure_rows
from pages.contents import EvaluatedRun, Picture, Table
from reporting.one_by_one import measure_phases
from reporting.plots import read_curves


def kept(run: EvaluatedRun) -> Picture | None:
    """R as far as it was measured; nothing for tasks together, or before the first phase has ended."""
    if run.metrics is None or run.config.env.schedule == "together":
        return None
    part = measure_phases(run.metrics.parent, run.config, _last_evaluation_of_all(run))
    if not part:
        return None
    matrix, tasks = np.array(part["matrix"]), list(run.report["tasks"])[: len(part["matrix"])]
    measured = "; ".join(f"{name}: {rate}" for name, rate in measure_rows(part, "success"))
    goals = run.config.evaluation.goals
    return Picture(
        heat_map(matrix, tasks),
        f"Success on each task after each task's phase. {measured}.",
        f"Success in per cent, on {goals} goal{'s' * (goals > 1)} of each task: a row after each task's phase. Left of "
        f"the diagonal are tasks that were learned before, right of it those still to come. In all: {measured}.",
        Table(
            ("after", *tasks),
            [
                (task, *(f"{rate:.1%}" for rate in row))
                for task, row in zip(tasks, matrix, strict=True)
            ],
        ),
    )


def _last_evaluation_of_all(run: EvaluatedRun) -> int:
    """In environment steps; 0 without one. A run that is stopped may lack that of its last phase."""
    assert run.metrics is not None
    try:
        curve = read_curves(run.metrics).get("", [])
    except UsageError:  # no evaluation yet
        return 0
    trained = run.report["env_steps_trained"]
    return max((step for step, _ in curve if step <= trained), default=0)
