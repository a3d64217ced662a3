"""All fifty tasks at once: the preset trains, evaluates and reports, with the goals of the benchmark."""

from __future__ import annotations

import csv
import json
import pickle
from pathlib import Path

import metaworld
import numpy as np
import pytest

import train_mt10
from configs import MT50, load_config
from envs import make_goal_lists
from training.forecast import simulator_bytes

FLAGS = [
    *("--config", "mt50"),
    *("--env.copies-per-task", "1"),
    *("--env.horizon", "20"),
    *("--exploration.random-env-steps", "200"),
    *("--replay.capacity", "10000"),
    *("--replay.batch-size", "100"),
    *("--recording.log-interval-env-steps", "500"),
    *("--evaluation.interval-env-steps", "500"),
    *("--evaluation.goals", "1"),
    *("--evaluation.report-goals", "1"),
    *("--evaluation.horizon", "10"),
    *("--machine.compile", "never"),
    *("--machine.start-method", "fork"),
]


def test_the_preset_asks_for_all_fifty_tasks_and_fits_a_small_machine() -> None:
    config = load_config("mt50")
    assert config.env.task_names == MT50
    environments = 50 * (config.env.copies_per_task + config.evaluation.copies_per_task)
    assert simulator_bytes(environments, 3, 50) < 3e9


@pytest.mark.slow
def test_fifty_tasks_train_evaluate_and_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train_mt10.main([*FLAGS, "--total-env-steps", "1000", "--out", str(run)]) == 0
    report = json.loads((run / "report.json").read_text())
    assert tuple(report["tasks"]) == MT50
    printed = capsys.readouterr().out
    assert all(f"| {task} " in printed for task in MT50)

    rows = list(csv.DictReader((run / "metrics.csv").open()))
    returns = [float(rows[-1][f"eval/return/{task}"]) for task in MT50]
    assert min(returns) >= 0
    assert len(set(returns)) > 40  # each task has a reward of its own; some are 0 so early
    assert float(rows[-1]["replay/transitions"]) == int(rows[-1]["env_steps"]) >= 1000
    assert np.isfinite([float(rows[-1][f"values/q/{task}"]) for task in MT50]).all()

    goal_lists = make_goal_lists(MT50, seed=0)  # which the run has drawn and kept
    drawn: dict[str, list[np.ndarray]] = {}
    for task in metaworld.MT50(seed=0).train_tasks:
        drawn.setdefault(task.env_name, []).append(pickle.loads(task.data)["rand_vec"])
    assert list(goal_lists) == list(drawn)
    for name, goals in goal_lists.items():
        np.testing.assert_array_equal(goals, drawn[name], err_msg=name)
