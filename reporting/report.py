"""The success-rate report: report.json (schema in docs/report.md), report.csv, report.md."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le
from pydantic import AllowInfNan, StringConstraints, TypeAdapter, ValidationError
from tabulate import tabulate
from typing_extensions import TypedDict

from configs.errors import UsageError
from configs.schema import Config, EvaluationConfig
from continual.metrics import measure_rows
from envs.rollout import EpisodeResults
from machine.versions import package_versions
from reporting.statistics import mean_success_interval, wilson_interval

SCHEMA_VERSION: Literal[1] = 1
_MAX_BYTES = 2**22

Rate = Annotated[float, Ge(0), Le(1)]
Finite = Annotated[float, AllowInfNan(False)]
Count = Annotated[int, Ge(0), Le(2**53)]
Name = Annotated[str, StringConstraints(pattern=r"^[\w.+-]{1,100}$")]  # fit for a table


class TaskReport(TypedDict):
    """One task's part of a report; docs/report.md has the meanings."""

    success_rate: Rate
    success_rate_ci95: tuple[Rate, Rate]
    final_step_success_rate: Rate
    mean_return: Finite
    episodes: Count
    mean_episode_length: Finite
    median_steps_to_success: Finite | None
    failed_goals: list[Count]


class Facts(TypedDict):
    """How the episodes of a report came about."""

    actions: Literal["mean", "sample"]
    goals: Count
    episodes_per_goal: Count
    horizon: Count
    seed: Count
    env_steps_trained: Count
    metaworld_version: Name
    mujoco_version: Name


class OneByOne(TypedDict, total=False):
    """What there is in addition for tasks one after the other (reporting/one_by_one.py)."""

    scenario: Annotated[str, StringConstraints(max_length=100)]
    matrix: list[list[Rate]]
    areas: list[Rate]
    acc: Rate
    bwt: Finite
    forgetting: Finite
    min_acc: Rate


class Report(Facts, OneByOne):
    """The contents of report.json."""

    schema_version: Literal[1]
    mean_success_rate: Rate
    mean_success_rate_ci95: tuple[Rate, Rate]
    mean_final_step_success_rate: Rate
    mean_return: Finite
    tasks: dict[Name, TaskReport]


_SCHEMA = TypeAdapter(Report)


def make_report(
    results: EpisodeResults, facts: Facts, one_by_one: OneByOne | None = None
) -> Report:
    """Summarise episodes; `facts`, and what there is of tasks one by one, are taken over as they are."""
    tasks: dict[str, TaskReport] = {}
    for index, name in enumerate(results.tasks):
        success, steps = results.success[index], results.steps_to_success[index]
        low, high = wilson_interval(int(success.sum()), len(success))
        tasks[name] = {
            "success_rate": float(success.mean()),
            "success_rate_ci95": (low, high),
            "final_step_success_rate": float(results.final_success[index].mean()),
            "mean_return": float(results.returns[index].mean()),
            "episodes": len(success),
            "mean_episode_length": float(results.length[index].mean()),
            "median_steps_to_success": float(np.median(steps[success])) if success.any() else None,
            "failed_goals": sorted({int(goal) for goal in results.goal[index][~success]}),
        }
    low, high = mean_success_interval(results.success)
    return {
        "schema_version": SCHEMA_VERSION,
        "mean_success_rate": float(results.success.mean()),
        "mean_success_rate_ci95": (low, high),
        "mean_final_step_success_rate": float(results.final_success.mean()),
        "mean_return": float(results.returns.mean()),
        **facts,
        "tasks": tasks,
        **(OneByOne() if one_by_one is None else one_by_one),
    }


def report_facts(config: Config, env_steps_trained: int, evaluation: EvaluationConfig) -> Facts:
    """How the episodes came about; the same for training and evaluate.py."""
    versions = package_versions()
    return {
        "actions": evaluation.actions,
        "goals": evaluation.report_goals,
        "episodes_per_goal": evaluation.distinct_episodes_per_goal,
        "horizon": evaluation.horizon,
        "seed": config.seed,
        "env_steps_trained": env_steps_trained,
        "metaworld_version": versions["metaworld"],
        "mujoco_version": versions["mujoco"],
    }


def format_table(report: Report) -> str:
    """The report as a plain-text table, also valid Markdown."""
    rows = []
    for name, task in report["tasks"].items():
        low, high = task["success_rate_ci95"]
        steps = task["median_steps_to_success"]
        rows.append(
            (
                name,
                f"{task['success_rate']:.1%}",
                f"{low:.1%} - {high:.1%}",
                f"{task['final_step_success_rate']:.1%}",
                f"{task['mean_return']:.0f}",
                "-" if steps is None else f"{steps:.0f}",
            )
        )
    low, high = report["mean_success_rate_ci95"]
    final, mean_return = report["mean_final_step_success_rate"], report["mean_return"]
    success = f"**{report['mean_success_rate']:.1%}**"
    interval = f"{low:.1%} - {high:.1%}"
    rows.append(("**mean**", success, interval, f"{final:.1%}", f"{mean_return:.0f}", ""))
    headers = ("task", "success", "95 % interval", "at last step", "return", "steps to success")
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def format_report(report: Report) -> str:
    """The table of tasks and, for tasks learned one after the other, that of what is kept."""
    return f"{format_table(report)}{_format_kept(report)}"


def write_report(report: Report, folder: Path) -> None:
    """Write report.json, report.csv (a row per task) and report.md into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    with (folder / "report.csv").open("w", newline="", encoding="utf-8") as file:
        columns = [
            "task",
            "success_rate",
            "success_rate_low",
            "success_rate_high",
            "final_step_success_rate",
            "mean_return",
            "episodes",
            "median_steps_to_success",
        ]
        writer = csv.DictWriter(file, columns, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        for name, task in report["tasks"].items():
            low, high = task["success_rate_ci95"]
            writer.writerow(
                {"task": name, **task, "success_rate_low": low, "success_rate_high": high}
            )
    (folder / "report.md").write_text(_markdown(report), encoding="utf-8")


def read_report(path: Path) -> Report:
    """The contents of a report.json.

    Raises:
        UsageError: not a report, or of another version.
    """
    try:
        if not path.exists():
            raise UsageError(f"{path}: no such file; a run has a report when it has ended")
        if not path.is_file():  # a pipe, say
            raise ValueError("not a file")
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ValueError(f"longer than {_MAX_BYTES} bytes")
        return _SCHEMA.validate_json(content)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise UsageError(
            f"{path}: not a report of this version ({where:.80}: {problem['msg']:.200})"
        ) from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a report of this version ({error})") from error


def goals_in_words(report: Report) -> str:
    """`50 goals per task`, `1 goal per task, 3 episodes on each`."""
    goals, episodes = report["goals"], report["episodes_per_goal"]
    on_each = f", {episodes} episodes on each" if episodes > 1 else ""
    return f"{goals} goal{'' if goals == 1 else 's'} per task{on_each}"


def _format_kept(report: Report) -> str:
    if "matrix" not in report:
        return ""
    rows = measure_rows(report, "success")
    table = tabulate(rows, headers=("", ""), tablefmt="github", disable_numparse=True)
    return (
        "\n\nOne task after the other, measured on the first goals at the end of each task's phase:"
        f"\n\n{table}"
    )


def _markdown(report: Report) -> str:
    return (
        "# Success-rate report\n\n"
        f"{report['env_steps_trained']:,} environment steps trained; {goals_in_words(report)}, "
        f"{report['actions']} actions, {report['horizon']} steps per episode, goal list of seed "
        f"{report['seed']}; metaworld {report['metaworld_version']}, mujoco "
        f"{report['mujoco_version']}.\n\n"
        f"{format_table(report)}\n\n"
        "Success: Meta-World's flag was set at any step of the episode. Intervals: Wilson per task, "
        "from these for the mean; one training run."
        f"{_format_kept(report)}\n"
    )
