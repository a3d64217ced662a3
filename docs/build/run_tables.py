"""Tables of our runs: what they took and reached, task by task, and on the way there."""

from __future__ import annotations

import numpy as np

from docs.build.markdown import table
from docs.build.published import read_published_tasks
from docs.build.runs import RESULTS, ROOT, Run, read_csv, read_runs
from reporting.report import format_table, read_report
from reporting.statistics import has_spread, mean_rate_interval


def run_tables(name: str) -> dict[str, str]:
    """The tables of the runs NAME, by the name in their markers."""
    runs = read_runs(name)
    return {
        f"{name}-runs": runs_table(runs),
        f"{name}-tasks": tasks_table(runs),
    }


def shipped_table() -> str:
    """The report of the policy that comes with the project."""
    return format_table(read_report(ROOT / "pretrained" / "mt10" / "report.json"))


def tuning_tables() -> dict[str, str]:
    """The tables of the short runs that the settings were chosen with."""
    gradient_steps = (3_000, 5_400, 7_800, 11_400, 16_200)
    env_steps = (250_000, 475_000, 750_000, 1_000_000, 1_400_000)
    share_steps = (300_000, 600_000, 900_000, 1_200_000, 1_500_000, 1_800_000)
    hard_steps = (200_000, 300_000, 500_000, 1_000_000, 1_700_000)
    return {
        "tuning": tuning_table("tuning", "gradient_steps", gradient_steps, window=3_600),
        "exploration": tuning_table("exploration", "env_steps", env_steps, window=75_000),
        "shares": tuning_table("shares", "env_steps", share_steps, window=50_000),
        "consolidation": consolidation_table(),
        "hard-tasks": tuning_table("hard_tasks", "env_steps", hard_steps, window=50_000),
    }


def runs_table(runs: list[Run]) -> str:
    """What each run took and reached."""
    goals = runs[0].report["goals"]
    headers = ("seed", "environment steps", "gradient steps", "hours")
    rows = []
    for run in runs:
        low, high = run.report["mean_success_rate_ci95"]
        rows.append(
            (
                f"{run.seed}",
                f"{run.report['env_steps_trained']:,}",
                f"{run.gradient_steps:,}",
                f"{run.hours[-1]:.2f}",
                f"{run.report['mean_success_rate']:.1%}",
                f"{low:.1%} - {high:.1%}",
            )
        )
    means = np.array([run.report["mean_success_rate"] for run in runs])
    if len(means) > 1:
        low, high = mean_rate_interval(means)
        interval = f"{low:.1%} - {high:.1%}" if has_spread(means) else "-"
        rows.append(("**mean**", "", "", "", f"**{means.mean():.1%}**", interval))
    return table((*headers, f"success, {goals} goals per task", "interval"), rows)


def tasks_table(runs: list[Run]) -> str:
    """Success of every task and run, beside the published figures where there are any."""
    published = read_published_tasks()
    rows = []
    for task in runs[0].tasks:
        name = task.removesuffix("-v3")
        own = [f"{run.report['tasks'][task]['success_rate']:.0%}" for run in runs]
        others = [
            f"{published[network][name]:.0%}" if name in published[network] else ""
            for network in ("active_dendrites", "mlp")
        ]
        rows.append((name, *own, *others))
    seeds = [f"seed {run.seed}" for run in runs]
    return table(("task", *seeds, "published dendrites", "published MLP"), rows)


def consolidation_table() -> str:
    """What was tried so that easy goals do not fail at the end: one run or average in each row."""
    rows = read_csv(RESULTS / "consolidation.csv")
    shares = ("success", "reach")
    cells = [[f"{float(v):.1%}" if k in shares else v for k, v in row.items()] for row in rows]
    return table(list(rows[0]), cells)


def tuning_table(name: str, column: str, marks: tuple[int, ...], window: int) -> str:
    """Training success of the runs in NAME.csv where `column` reaches each mark.

    Each cell is the mean of the rows within the `window` before its mark.
    """
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in read_csv(RESULTS / f"{name}.csv"):
        point = int(row[column]), float(row["train_success_rate"])
        curves.setdefault(row["change"], []).append(point)
    rows = []
    for change, points in curves.items():
        cells = []
        for mark in marks:
            near = [rate for count, rate in points if mark - window < count <= mark]
            reached = max(count for count, _ in points) >= mark - window // 10
            cells.append(f"{np.mean(near):.0%}" if reached else "")
        rows.append((change, *cells))
    return table(("change", *(f"{mark:,}" for mark in marks)), rows)
