"""The figures and tables of the documents, from the files in docs/results/.

    python -m reporting.results

A run's files are its metrics.csv and report.json, copied there as NAME-seedN.csv and .json. A table stands in
a document between `<!-- table NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from configs import MT10_TASKS
from reporting.comparison import (
    NETWORKS,
    comparison_costs_table,
    comparison_table,
    comparison_tasks_table,
    read_comparison,
)
from reporting.figures import draw_comparison, draw_on_published, draw_soak
from reporting.reliability import read_soak, reliability_tables
from reporting.report import align_table, format_table
from reporting.runs import RESULTS, Run, read_csv, read_runs
from reporting.statistics import mean_interval

ROOT = RESULTS.parent.parent
PRESETS = ("mt10", "mlp", "quick")
DOCUMENTS = ("README.md", "docs/results.md", "docs/reliability.md")


def read_published() -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Environment steps over the ten tasks `[k]` and success `[runs, k]` of the published agents."""
    curves: dict[str, dict[int, list[float]]] = {}
    for row in read_csv(RESULTS / "published" / "active_dendrites_mt10_curves.csv"):
        by_step = curves.setdefault(row["network"], {})
        by_step.setdefault(int(row["env_steps"]), []).append(float(row["success_rate"]))
    tasks: dict[int, dict[str, list[float]]] = {}
    for row in read_csv(RESULTS / "published" / "brc_metaworld_mt50_joint_run_mt10_tasks.csv"):
        by_seed = tasks.setdefault(len(MT10_TASKS) * int(row["env_steps_per_task"]), {})
        by_seed.setdefault(row["seed"], []).append(float(row["success_rate"]))
    curves["brc"] = {
        steps: [float(np.mean(rates)) for rates in by_seed.values()]
        for steps, by_seed in tasks.items()
    }
    return {
        network: (np.array(list(by_step)), np.array(list(by_step.values())).T)
        for network, by_step in curves.items()
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


def runs_table(runs: list[Run]) -> str:
    """What each run took and reached."""
    lines = [
        "| seed | environment steps | gradient steps | hours | success, 50 goals per task | interval |",
        "|---|---|---|---|---|---|",
    ]
    for run in runs:
        low, high = run.report["mean_success_rate_ci95"]
        lines.append(
            f"| {run.seed} | {run.report['env_steps_trained']:,} | {run.gradient_steps:,} | "
            f"{run.hours[-1]:.2f} | {run.report['mean_success_rate']:.1%} | {low:.1%} - {high:.1%} |"
        )
    means = np.array([run.report["mean_success_rate"] for run in runs])
    if len(means) > 1:
        low, high = mean_interval(means)
        interval = f"{low:.1%} - {high:.1%}" if low < high else "-"
        lines.append(f"| **mean** | | | | **{means.mean():.1%}** | {interval} |")
    return align_table(lines)


def tasks_table(runs: list[Run]) -> str:
    """Success of every task and run, beside the published figures."""
    published = read_published_tasks()
    seeds = " | ".join(f"seed {run.seed}" for run in runs)
    lines = [
        f"| task | {seeds} | published dendrites | published MLP |",
        "|---" * (len(runs) + 3) + "|",
    ]
    for task in MT10_TASKS:
        own = " | ".join(f"{run.report['tasks'][task]['success_rate']:.0%}" for run in runs)
        name = task.removesuffix("-v3")
        others = " | ".join(
            f"{published[network][name]:.0%}" for network in ("active_dendrites", "mlp")
        )
        lines.append(f"| {name} | {own} | {others} |")
    return align_table(lines)


def tuning_table(name: str, column: str, marks: tuple[int, ...], window: int) -> str:
    """Training success of the runs in NAME.csv where `column` reaches each mark.

    Each cell is the mean of the rows within the `window` before its mark.
    """
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in read_csv(RESULTS / f"{name}.csv"):
        point = int(row[column]), float(row["train_success_rate"])
        curves.setdefault(row["change"], []).append(point)
    lines = [f"| change | {' | '.join(f'{mark:,}' for mark in marks)} |"]
    lines.append("|---" * (len(marks) + 1) + "|")
    for change, points in curves.items():
        cells = []
        for mark in marks:
            near = [rate for count, rate in points if mark - window < count <= mark]
            reached = max(count for count, _ in points) >= mark - window // 10
            cells.append(f"{np.mean(near):.0%}" if reached else "")
        lines.append(f"| {change} | {' | '.join(cells)} |")
    return align_table(lines)


def insert_tables(text: str, tables: dict[str, str]) -> str:
    """The document with every `<!-- table NAME -->` filled in.

    Raises:
        KeyError: a marker names a table that there is not.
    """

    def fill(match: re.Match[str]) -> str:
        return f"<!-- table {match[1]} -->\n\n{tables[match[1]]}\n\n<!-- end -->"

    return re.sub(r"<!-- table (\S+) -->.*?<!-- end -->", fill, text, flags=re.DOTALL)


def make_tables() -> dict[str, str]:
    """Every table, by the name in its marker."""
    tables: dict[str, str] = {}
    for name in PRESETS:
        runs = read_runs(name)
        tables |= {
            f"{name}-report": format_table(runs[0].report),
            f"{name}-runs": runs_table(runs),
            f"{name}-tasks": tasks_table(runs),
        }
    comparison = read_comparison()
    gradient_steps = (3_000, 5_400, 7_800, 11_400, 16_200)
    env_steps = (250_000, 475_000, 750_000, 1_000_000, 1_400_000)
    tables |= reliability_tables()
    return tables | {
        "comparison": comparison_table(comparison),
        "comparison-costs": comparison_costs_table(comparison),
        "comparison-tasks": comparison_tasks_table(comparison),
        "tuning": tuning_table("tuning", "gradient_steps", gradient_steps, window=3_600),
        "exploration": tuning_table("exploration", "env_steps", env_steps, window=75_000),
        "hard-tasks": tuning_table(
            "hard_tasks",
            "env_steps",
            (200_000, 300_000, 500_000, 1_000_000, 1_700_000),
            window=50_000,
        ),
    }


def main() -> None:
    """Write the figures, and the tables into the documents."""
    images = ROOT / "docs" / "images"
    published = read_published()
    for name in PRESETS:
        runs = [(run.seed, run.env_steps, run.hours, run.success) for run in read_runs(name)]
        draw_on_published(name, runs, published, images / f"{name}.png")
    comparison = {
        NETWORKS[network]: [(run.env_steps, run.hours, run.success) for run in own]
        for network, own in read_comparison().items()
    }
    draw_comparison(comparison, images / "comparison.png")
    draw_soak(read_soak(), images / "soak.png")
    tables = make_tables()
    for name in DOCUMENTS:
        path = ROOT / name
        path.write_text(insert_tables(path.read_text(encoding="utf-8"), tables), encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
