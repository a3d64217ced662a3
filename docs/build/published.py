"""The published curves that ours are compared with: docs/results/published/."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from docs.build.runs import RESULTS, read_csv

Curve = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Environment steps over all ten tasks `[k]`, and success `[runs, k]`."""


def read_published() -> dict[str, Curve]:
    """The curve of each published agent: active_dendrites, mlp, brc."""
    runs: dict[str, dict[int, list[float]]] = {}  # network -> environment steps -> success of runs
    for row in read_csv(RESULTS / "published" / "active_dendrites_mt10_curves.csv"):
        by_step = runs.setdefault(row["network"], {})
        by_step.setdefault(int(row["env_steps"]), []).append(float(row["success_rate"]))
    runs["brc"] = _read_brc()
    return {
        network: (np.array(list(by_step)), np.array(list(by_step.values())).T)
        for network, by_step in runs.items()
    }


def _read_brc() -> dict[int, list[float]]:
    """Environment steps over its ten tasks, and their mean success in each run."""
    rows = read_csv(RESULTS / "published" / "brc_metaworld_mt50_joint_run_mt10_tasks.csv")
    num_tasks = len({row["task"] for row in rows})
    rates: dict[int, dict[str, list[float]]] = {}  # steps -> seed -> success of tasks
    for row in rows:
        by_seed = rates.setdefault(num_tasks * int(row["env_steps_per_task"]), {})
        by_seed.setdefault(row["seed"], []).append(float(row["success_rate"]))
    return {
        steps: [float(np.mean(tasks)) for tasks in by_seed.values()]
        for steps, by_seed in rates.items()
    }


def read_published_tasks() -> dict[str, dict[str, float]]:
    """Mean success of each published network by task, without the version of the task's name."""
    values: dict[str, dict[str, list[float]]] = {}
    for row in read_csv(RESULTS / "published" / "active_dendrites_mt10_per_task.csv"):
        by_task = values.setdefault(row["network"], {})
        task = row["task"].removesuffix("-v2")
        by_task.setdefault(task, []).append(float(row["success_rate_last_10_evaluations"]))
    return {
        network: {task: float(np.mean(rates)) for task, rates in by_task.items()}
        for network, by_task in values.items()
    }
